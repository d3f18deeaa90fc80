"""Which of a map's images see which of its points: what matchers of image pairs need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from foldmap.types import BoolArray, IntArray


@dataclass(frozen=True)
class Sights:
    """Some images of a map, best first, and which points they see.

    Images in sequence share one visibility in a folded map, so a point may be said to be seen by an image that stands
    beside one that saw it: project it to know.

    Attributes:
        images: int64 (I,), numbers of the map's images.
        visible: bool (P, V), which points are seen by whom.
        column: int64 (I,), the column of ``visible`` of each image.
    """

    images: IntArray
    visible: BoolArray
    column: IntArray

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[tuple[int, IntArray]]:
        """Number of each image, and its points: int64, ascending."""
        for image, column in zip(self.images.tolist(), self.column.tolist(), strict=True):
            yield image, np.flatnonzero(self.visible[:, column])


def interleaved(rankings: list[IntArray]) -> IntArray:
    """The images of several rankings, each once: all first places first, then the second ones, and so on."""
    places = [image for place in range(max(map(len, rankings), default=0)) for image in _at(rankings, place)]
    return np.array(list(dict.fromkeys(places)), dtype=np.int64)


def _at(rankings: list[IntArray], place: int) -> list[int]:
    return [int(ranking[place]) for ranking in rankings if place < len(ranking)]
