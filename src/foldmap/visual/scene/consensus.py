"""Keypoints in one place of an image: the choice among their descriptors is what the track agrees on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from foldmap.types import AnyArray, BoolArray, FloatArray, IntArray
from foldmap.visual.source import unit_descriptors

_ROUNDS = 2
_NOTHING = 1e-5  # a sum of unit descriptors below this is rounding


@dataclass(frozen=True)
class Choices:
    """Observations with several candidates."""

    row: IntArray  # int64 (A,), the observation
    first: IntArray  # int64 (A + 1,), its candidates are rows `first[a]` to `first[a + 1]` of `descriptors`
    descriptors: AnyArray  # (C, D)
    twin: IntArray  # int64 (A,), another choice between the same two candidates, of which each can be taken once; or -1

    @staticmethod
    def stack(parts: Sequence[Choices], like: AnyArray) -> Choices:
        """Choices of several images as one; ``like`` (O, D) gives type and dimension when there are none."""
        none = np.zeros(0, dtype=np.int64)
        parts = [Choices(none, np.zeros(1, dtype=np.int64), like[:0], none), *parts]
        counts = np.concatenate([np.diff(part.first) for part in parts])
        before = np.cumsum([0, *(len(part.row) for part in parts[:-1])])
        twins = [np.where(part.twin < 0, -1, part.twin + shift) for part, shift in zip(parts, before, strict=True)]
        return Choices(
            row=np.concatenate([part.row for part in parts]),
            first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            descriptors=np.concatenate([part.descriptors for part in parts]),
            twin=np.concatenate(twins),
        )


@dataclass(frozen=True)
class Candidates:
    """Which keypoints each observation of one image may have been: several where they lie in one place."""

    candidate: BoolArray  # bool (R, K), which of the K nearest keypoints may be the observation's
    keypoint: IntArray  # int64 (R, K), those keypoints, nearest first

    @property
    def several(self) -> BoolArray:
        """Observations that have a choice, bool (R,)."""
        return np.asarray(self.candidate.sum(axis=1) > 1)

    def _sorted(self) -> tuple[IntArray, IntArray, IntArray]:
        """Candidates in ascending order (R, K), filled up with a large number; how many; observations there (R,)."""
        none = np.iinfo(np.int64).max
        ascending = np.sort(np.where(self.candidate, self.keypoint, none), axis=1)
        _, place, crowd = np.unique(ascending, axis=0, return_inverse=True, return_counts=True)
        return ascending, place.reshape(-1), crowd

    def by_rank(self, index: IntArray) -> tuple[BoolArray, IntArray]:
        """Tell keypoints in one place apart by their order, where all of them were observed.

        The observations' keypoint indices in the model, int64 (R,), are wrong by what the model left out, yet in the
        same order. Gives where that decides, bool (R,), and the keypoint there, int64 (R,).
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
        """The choices of the observations that are ``chosen``, bool (R,), candidates in ascending order.

        ``row`` are their numbers among all of the model, int64 (R,); descriptors (N, D) are of the image.
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


def choose(choices: Choices, point: IntArray, joined: BoolArray, descriptors: AnyArray) -> None:
    """Write the best candidate of each choice into the observations' descriptors, in place.

    A track looks like the mean of its unit descriptors that left no choice; a candidate's agreement is its cosine with
    that. Where all observations of a track have a choice, a candidate of the first one speaks for the track. Two
    observations in one place share its two keypoints so that their agreement is largest together: such tracks are two
    looks of one thing. The choices then vote too, each without its own vote, in two more rounds.

    Of each observation are given its track, int64 (O,), whether it has a descriptor, bool (O,), and that descriptor
    (O, D): the nearest candidate's where there is a choice.
    """
    if not len(choices.row):
        return
    # everything below is about the tracks that have a choice, numbered anew
    tracks, track = np.unique(point[choices.row], return_inverse=True)
    renumber = np.full(int(point.max()) + 1, -1)
    renumber[tracks] = np.arange(len(tracks))
    clear = joined.copy()
    clear[choices.row] = False
    clear &= renumber[point] >= 0
    without_choice = _sum_by(renumber[point[clear]], unit_descriptors(descriptors[clear]), len(tracks))
    look = without_choice.copy()
    _seed(look, renumber[point[clear]], choices, track)
    owner = np.repeat(np.arange(len(choices.row)), np.diff(choices.first))
    best = _agreeing(choices, owner, look[track])
    for _ in range(_ROUNDS):
        votes = unit_descriptors(choices.descriptors[best])
        everyone = without_choice + _sum_by(track, votes, len(tracks))
        best = _agreeing(choices, owner, everyone[track] - votes, best)
    descriptors[choices.row] = choices.descriptors[best]


def _sum_by(track: IntArray, unit: FloatArray, count: int) -> FloatArray:
    """Sum of rows by track, float32 (count, D)."""
    ones = np.ones(len(track), dtype=np.float32)
    gather = coo_array((ones, (track, np.arange(len(track)))), shape=(count, len(track))).tocsr()
    return np.asarray(gather @ unit)


def _seed(look: FloatArray, clear_track: IntArray, choices: Choices, track: IntArray) -> None:
    """Give tracks without an unambiguous observation the look of one candidate, twins that of different ones."""
    empty = np.bincount(clear_track, minlength=len(look)) == 0
    _, speaker = np.unique(track, return_index=True)  # the first choice of each track
    second = (choices.twin[speaker] >= 0) & (choices.twin[speaker] < speaker)
    look[empty] = unit_descriptors(choices.descriptors[(choices.first[speaker] + second)[empty]])


def _agreeing(choices: Choices, owner: IntArray, look: FloatArray, previous: IntArray | None = None) -> IntArray:
    """The candidate row of each choice that agrees best with its track's look (A, D); the earlier one on ties."""
    block = 1 << 16
    score = np.empty(len(owner))
    for start in range(0, len(owner), block):
        part = slice(start, start + block)
        score[part] = np.einsum("cd,cd->c", unit_descriptors(choices.descriptors[part]), look[owner[part]])
    first = choices.first[:-1]
    top = np.maximum.reduceat(score, first)
    hits = np.flatnonzero(score >= top[owner])
    _, earliest = np.unique(owner[hits], return_index=True)
    best: IntArray = hits[earliest]
    if previous is not None:
        # a choice that is its track's only observation hears nobody: it keeps what it had
        alone = ~(np.abs(look) > _NOTHING).any(axis=1)
        best = np.where(alone, previous, best)
    one = np.flatnonzero(choices.twin > np.arange(len(first)))
    two = choices.twin[one]
    straight = score[first[one]] + score[first[two] + 1] >= score[first[one] + 1] + score[first[two]]
    best[one], best[two] = first[one] + ~straight, first[two] + straight
    return best
