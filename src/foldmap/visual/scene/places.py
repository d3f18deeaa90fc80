"""Places in an image where several keypoints lie, and the observations there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldmap.types import AnyArray, BoolArray, IntArray
from foldmap.visual.scene.consensus import Choices


@dataclass(frozen=True)
class Places:
    """Candidates of each observation of one image.

    Attributes:
        candidate: bool (R, K), which of the K nearest keypoints may be the observation's.
        keypoint: int64 (R, K), those keypoints, nearest first.
    """

    candidate: BoolArray
    keypoint: IntArray

    @property
    def several(self) -> BoolArray:
        """Observations that have a choice, bool (R,)."""
        several: BoolArray = self.candidate.sum(axis=1) > 1
        return several

    def _sorted(self) -> tuple[IntArray, IntArray, IntArray]:
        """Candidates in ascending order (R, K), filled up with a large number; how many; observations there (R,)."""
        none = np.iinfo(np.int64).max
        ascending = np.sort(np.where(self.candidate, self.keypoint, none), axis=1)
        _, place, crowd = np.unique(ascending, axis=0, return_inverse=True, return_counts=True)
        return ascending, place.reshape(-1), crowd

    def by_rank(self, index: IntArray) -> tuple[BoolArray, IntArray]:
        """Tell keypoints in one place apart by their order, where all of them were observed.

        Args:
            index: int64 (R,), the observations' keypoint indices in the model: wrong by what the model left out, yet
                in the same order.

        Returns:
            bool (R,), where that decides; int64 (R,), the keypoint there.
        """
        ascending, place, crowd = self._sorted()
        order = np.lexsort((index, place))
        first = np.concatenate([[0], np.cumsum(crowd)[:-1]])
        rank = np.empty(len(place), dtype=np.int64)
        rank[order] = np.arange(len(place)) - first[place[order]]
        decided = self.several & (crowd[place] == self.candidate.sum(axis=1)) & (index >= 0)
        keypoint = ascending[np.arange(len(place)), np.minimum(rank, ascending.shape[1] - 1)]
        return decided, np.where(decided, keypoint, 0)

    def choices(self, chosen: BoolArray, row: IntArray, descriptors: AnyArray) -> Choices:
        """The choices of some observations, candidates in ascending order.

        Args:
            chosen: bool (R,), which observations.
            row: int64 (R,), their numbers among all of the model.
            descriptors: (N, D) of the image.
        """
        ascending, place, _ = self._sorted()
        ascending, place = ascending[chosen], place[chosen]
        real = ascending != np.iinfo(np.int64).max
        first = np.concatenate([[0], np.cumsum(real.sum(axis=1))]).astype(np.int64)
        return Choices(row[chosen], first, descriptors[ascending[real]], _twins(place, real.sum(axis=1)))


def _twins(place: IntArray, count: IntArray) -> IntArray:
    """For each choice the other one in its place, if just two observations share just two keypoints; else -1."""
    twin = np.full(len(place), -1)
    order = np.argsort(place, kind="stable")
    _, first, crowd = np.unique(place[order], return_index=True, return_counts=True)
    one, two = order[first[crowd == 2]], order[first[crowd == 2] + 1]
    pair = count[one] == 2
    twin[one[pair]], twin[two[pair]] = two[pair], one[pair]
    return twin
