"""hloc's HDF5 files of matches: matches0 (N0,) and matching_scores0 (N0,) a pair of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.hloc.hdf5 import ImageGroups
from foldmap.types import FloatArray, IntArray

_WHAT = "an hloc matches file"


class HlocMatches(ImageGroups):
    """Matches in an hloc file.

    A pair's group is called after both images with ``/`` turned into ``-``: ``a-1.jpg/b-2.jpg``, or ``a-1.jpg_b-2.jpg``
    in files of older versions. A pair is found in either order.

    Args:
        path: the HDF5 file; it stays open until `close`.

    Raises:
        MapInputError: the file is missing, truncated, or no HDF5.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, "matches0", _WHAT)

    def load(self, name0: str, name1: str) -> tuple[IntArray, FloatArray]:
        """Read the matches of a pair.

        Returns:
            int64 (M, 2), keypoint of the first and of the second image; float32 (M,) scores (1 where the file has
            none).

        Raises:
            MapInputError: the pair is not in the file, or its arrays are damaged; indices below -1 come from images
                of more than 32,767 keypoints, which hloc's int16 cannot name.
        """
        key, turned = self._key(name0, name1)
        other = self.array(key, "matches0", 1).astype(np.int64)
        if len(other) and other.min() < -1:
            raise MapInputError(
                f"{self.path}: matches of {name0!r} and {name1!r} have negative indices, an overflow of int16",
                "extract at most 32,767 keypoints an image and match again",
            )
        scores = np.ones(len(other), dtype=np.float32)
        if self.find(f"{key}/matching_scores0") is not None:
            scores = self.array(key, "matching_scores0", 1).astype(np.float32)
        if len(scores) != len(other):
            raise MapInputError(
                f"{self.path}: {len(other)} matches and {len(scores)} scores of {name0!r} and {name1!r}",
                f"give {_WHAT}",
            )
        if not np.isfinite(scores).all():
            raise MapInputError(
                f"{self.path}: scores of {name0!r} and {name1!r} hold NaN or infinite values", "match them again"
            )
        first = np.flatnonzero(other >= 0)
        pairs = np.stack([first, other[first]], axis=1)
        return (pairs[:, ::-1] if turned else pairs).copy(), scores[first]

    def _key(self, name0: str, name1: str) -> tuple[str, bool]:
        flat0, flat1 = name0.replace("/", "-"), name1.replace("/", "-")
        for joint in "/_":
            for turned, key in enumerate((f"{flat0}{joint}{flat1}", f"{flat1}{joint}{flat0}")):
                if self.find(f"{key}/matches0") is not None:
                    return key, bool(turned)
        raise MapInputError(
            f"{self.path} has no matches of {name0!r} and {name1!r}", "match them, or check the pairs list"
        )
