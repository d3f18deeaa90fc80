"""hloc's HDF5 files: keypoints (N, 2), descriptors (D, N), scores (N,), image_size (2,) or global_descriptor (G,)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import h5py
import numpy as np

from foldmap.errors import MapInputError, WriteError
from foldmap.formats.features import features_of
from foldmap.formats.hloc.hdf5 import ImageGroups
from foldmap.types import AnyArray, FloatArray
from foldmap.visual.source import Features

MAX_KEYPOINTS = 32767
"""hloc stores matches as int16: no later keypoint of an image can be named in a matches file."""

_CORNER_PX = 0.5
"""hloc's first pixel has its centre at (0, 0), COLMAP's at (0.5, 0.5)."""

_KNOWN = ("superpoint", "aliked-n16rot", "aliked-n16", "aliked-n32", "xfeat", "disk", "r2d2", "d2net", "sosnet", "sift")


class HlocFeatures(ImageGroups):
    """Local features in an hloc file, which stays open until `close`, read one image at a time (a FeatureSource).

    ``feature`` is which extractor made it; by default the file's ``feature`` attribute, else what hloc's file name says
    (``feats-superpoint-n4096-r1024.h5``), else "unknown".
    """

    def __init__(self, path: Path | str, feature: str | None = None) -> None:
        super().__init__(path, "keypoints", "an hloc features file")
        stem = self.path.stem.lower()
        by_name = next((known for known in _KNOWN if known in stem), "unknown")
        self.feature = feature or self.attributes.get("feature") or by_name

    def load(self, name: str) -> Features:
        """Read one image's features, 32,767 at most; keypoints become COLMAP pixels."""
        at = f"{name!r} in {self.path}"
        keypoints = self.array(name, "keypoints", 2)
        if keypoints.shape[1] != 2:
            raise MapInputError(f"keypoints of {at} have shape {keypoints.shape}", "give x and y a keypoint")
        count = len(keypoints)
        if count > MAX_KEYPOINTS:
            said = f"{at} has {count} keypoints, more than the {MAX_KEYPOINTS} that hloc's matches can name"
            raise MapInputError(said, "extract fewer an image")
        descriptors = self.array(name, "descriptors", 2)
        if descriptors.shape[1] != count:
            turned = " (transposed?)" if descriptors.shape[0] == count else ""
            said = f"descriptors of {at} have shape {descriptors.shape}{turned} for {count} keypoints"
            raise MapInputError(said, "give one column a keypoint")
        if descriptors.dtype.kind == "f" and descriptors.dtype.itemsize > 4:
            descriptors = descriptors.astype(np.float32)
        scored = self.find(f"{name}/scores") is not None
        scores = self.array(name, "scores", 1).astype(np.float32) if scored else None
        xy_px = keypoints.astype(np.float32) + np.float32(_CORNER_PX)
        return features_of(at, xy_px, np.ascontiguousarray(descriptors.T), scores)

    def image_size(self, name: str) -> tuple[int, int] | None:
        """Width and height of an image in px, where the file says them."""
        if self.find(f"{name}/image_size") is None:
            return None
        values = self.array(name, "image_size", 1)
        return (int(values[0]), int(values[1])) if len(values) == 2 and np.isfinite(values).all() else None


class HlocFeatureWriter:
    """Writes features in hloc's layout, an image at a time; the file appears when the writer closes without error.

    Same features in the same order give the same bytes. Which extractor made them is kept in the file's ``feature``
    attribute. Floating-point descriptors and scores are stored in half precision, as hloc does, unless ``half`` is
    False; keypoints stay float32.
    """

    def __init__(self, path: Path | str, feature: str, half: bool = True) -> None:
        self.path = Path(path)
        self._partial = self.path.with_name(f".{self.path.name}.partial")
        self._half = half
        try:
            self._file = h5py.File(self._partial, "w", track_order=False)
            self._file.attrs["feature"] = feature
        except OSError as error:
            raise self._unwritable(error) from error

    def add(self, name: str, features: Features, image_size_px: tuple[int, int] | None = None) -> None:
        """Add one image, each once; folders in its name become groups, keypoints are COLMAP pixels, 32,767 at most."""
        if len(features.xy_px) > MAX_KEYPOINTS:
            raise MapInputError(f"{name!r} has {len(features.xy_px)} keypoints", f"give at most {MAX_KEYPOINTS}")
        arrays: dict[str, AnyArray] = {
            "keypoints": (features.xy_px - np.float32(_CORNER_PX)).astype(np.float32),
            "descriptors": self._stored(features.descriptors.T),
        }
        if features.scores is not None:
            arrays["scores"] = self._stored(features.scores)
        if image_size_px is not None:
            arrays["image_size"] = np.array(image_size_px, dtype=np.int64)
        try:
            group = self._file.create_group(name)
            for key, array in arrays.items():
                group.create_dataset(key, data=array, track_times=False)
        except (OSError, ValueError) as error:
            raise WriteError(f"{name!r} cannot be added to {self.path}: {error}", "add each image once") from error

    def close(self) -> None:
        """Finish the file and put it in its place."""
        try:
            self._file.close()
            os.replace(self._partial, self.path)
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def _stored(self, array: AnyArray) -> AnyArray:
        return array.astype(np.float16) if self._half and array.dtype.kind == "f" else array

    def _unwritable(self, error: OSError) -> WriteError:
        return WriteError(f"{self.path} cannot be written: {error}", "check the folder and its rights")


class HlocGlobals(ImageGroups):
    """Global descriptors in an hloc file; it stays open until `close`."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, "global_descriptor", "an hloc file of global descriptors")

    def load(self, name: str) -> FloatArray:
        """Read one image's descriptor, float32 (G,)."""
        vector: FloatArray = self.array(name, "global_descriptor", 1).astype(np.float32)
        if not np.isfinite(vector).all() or not vector.any():
            said = f"the global descriptor of {name!r} in {self.path} is empty, NaN or all zero"
            raise MapInputError(said, "compute it again")
        return vector

    def stack(self, names: Sequence[str]) -> FloatArray:
        """Read the descriptors of several images, all of one length, float32 (I, G)."""
        vectors = [self.load(name) for name in names]
        if not vectors:
            raise MapInputError("no image is asked for", "name at least one")
        for name, vector in zip(names, vectors, strict=True):
            if len(vector) != len(vectors[0]):
                said = f"{self.path}: {name!r} has {len(vector)} values, {names[0]!r} {len(vectors[0])}"
                raise MapInputError(said, "use one network for all images")
        return np.stack(vectors)
