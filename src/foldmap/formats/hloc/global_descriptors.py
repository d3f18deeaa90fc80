"""hloc's HDF5 files of global descriptors: global_descriptor (G,) an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from foldmap.errors import MapInputError, WriteError
from foldmap.formats.hloc.hdf5 import ImageGroups
from foldmap.types import AnyArray, FloatArray

_WHAT = "an hloc file of global descriptors"


class HlocGlobals(ImageGroups):
    """Global descriptors in an hloc file.

    Args:
        path: the HDF5 file; it stays open until `close`.

    Raises:
        MapInputError: the file is missing, truncated, or no HDF5.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, "global_descriptor", _WHAT)

    def load(self, name: str) -> FloatArray:
        """Read one image's descriptor, float32 (G,).

        Raises:
            MapInputError: there is none of that image, or it is damaged, empty or not finite.
        """
        vector: FloatArray = self.array(name, "global_descriptor", 1).astype(np.float32)
        if not np.isfinite(vector).all() or not vector.any():
            raise MapInputError(
                f"the global descriptor of {name!r} in {self.path} is empty, NaN or all zero", "compute it again"
            )
        return vector

    def stack(self, names: Sequence[str]) -> FloatArray:
        """Read the descriptors of several images, float32 (I, G).

        Raises:
            MapInputError: as in `load`, or two have different lengths.
        """
        vectors = [self.load(name) for name in names]
        if not vectors:
            raise MapInputError("no image is asked for", "name at least one")
        for name, vector in zip(names, vectors, strict=True):
            if len(vector) != len(vectors[0]):
                raise MapInputError(
                    f"{self.path}: {name!r} has {len(vector)} values, {names[0]!r} {len(vectors[0])}",
                    "use one network for all images",
                )
        return np.stack(vectors)


def write_globals(path: Path | str, names: Sequence[str], descriptors: AnyArray) -> None:
    """Write global descriptors (I, G) in hloc's layout; same input, same bytes.

    Raises:
        MapInputError: there is not one finite row an image.
        WriteError: the file cannot be written, or an image comes twice.
    """
    rows = np.asarray(descriptors)
    if rows.ndim != 2 or len(rows) != len(names) or not np.isfinite(rows).all():
        raise MapInputError(f"global descriptors have shape {rows.shape} for {len(names)} images, or NaN", "check them")
    try:
        with h5py.File(path, "w", track_order=False) as file:
            for name, row in zip(names, rows, strict=True):
                file.create_group(name).create_dataset("global_descriptor", data=row, track_times=False)
    except (OSError, ValueError) as error:
        raise WriteError(f"{path} cannot be written: {error}", "check the folder, and name each image once") from error
