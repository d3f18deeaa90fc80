"""Chooses among several descriptors of an observation the one that its track agrees on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from foldmap.types import AnyArray, BoolArray, FloatArray, IntArray
from foldmap.visual.source import unit_descriptors

_ROUNDS = 2
_NOTHING = 1e-5
"""A sum of unit descriptors below this is rounding."""


@dataclass(frozen=True)
class Choices:
    """Observations with several candidates.

    Attributes:
        row: int64 (A,), the observation.
        first: int64 (A + 1,), its candidates are rows ``first[a]`` to ``first[a + 1]`` of `descriptors`.
        descriptors: (C, D).
        twin: int64 (A,), another choice between the same two candidates, of which each can be taken once; or -1.
    """

    row: IntArray
    first: IntArray
    descriptors: AnyArray
    twin: IntArray

    @staticmethod
    def stack(parts: Sequence[Choices], like: AnyArray) -> Choices:
        """Choices of several images as one; ``like`` (O, D) gives type and dimension when there are none."""
        if not parts:
            none = np.zeros(0, dtype=np.int64)
            return Choices(none, np.zeros(1, dtype=np.int64), like[:0], none)
        counts = np.concatenate([np.diff(part.first) for part in parts])
        before = np.cumsum([0, *(len(part.row) for part in parts[:-1])])
        return Choices(
            row=np.concatenate([part.row for part in parts]),
            first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            descriptors=np.concatenate([part.descriptors for part in parts]),
            twin=np.concatenate(
                [np.where(part.twin < 0, -1, part.twin + shift) for part, shift in zip(parts, before, strict=True)]
            ),
        )


def choose(choices: Choices, point: IntArray, joined: BoolArray, descriptors: AnyArray) -> None:
    """Write the best candidate of each choice into the observations' descriptors, in place.

    A track looks like the mean of its unit descriptors that left no choice; a candidate's agreement is its cosine with
    that. Where all observations of a track have a choice, a candidate of the first one speaks for the track. Two
    observations in one place share its two keypoints so that their agreement is largest together: such tracks are two
    looks of one thing. The choices then vote too, each without its own vote, in two more rounds.

    Args:
        choices: what is to be chosen.
        point: int64 (O,), the track of each observation.
        joined: bool (O,), observations that have a descriptor.
        descriptors: (O, D), with the nearest candidate's where there is a choice.
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
    sums: FloatArray = gather @ unit
    return sums


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
