"""hloc's HDF5 files of global descriptors: global_descriptor (G,) an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.hloc.hdf5 import ImageGroups
from foldmap.types import FloatArray


class HlocGlobals(ImageGroups):
    """Global descriptors in an hloc file; it stays open until `close`."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, "global_descriptor", "an hloc file of global descriptors")

    def load(self, name: str) -> FloatArray:
        """Read one image's descriptor, float32 (G,)."""
        vector: FloatArray = self.array(name, "global_descriptor", 1).astype(np.float32)
        if not np.isfinite(vector).all() or not vector.any():
            raise MapInputError(
                f"the global descriptor of {name!r} in {self.path} is empty, NaN or all zero", "compute it again"
            )
        return vector

    def stack(self, names: Sequence[str]) -> FloatArray:
        """Read the descriptors of several images, all of one length, float32 (I, G)."""
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
