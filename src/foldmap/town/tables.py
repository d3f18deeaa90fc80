"""Streets packed into flat arrays that compiled loops walk."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from foldmap.town.marks import COLUMNS, RECT, RING, street_marks
from foldmap.town.plan import Street
from foldmap.types import DoubleArray, IntArray

BIN_M = 6.0
"""Marks are looked up in bins of this arc length."""

(HALF, EXTRA_L, EXTRA_R, RAMP_0, RAMP_1, WALK_L, WALK_R, TONE, LANE, LANES, AXIS, SEED, LENGTH, PAVING, SLAB, KERB) = range(16)
STREET_COLUMNS = 16


class StreetTable(NamedTuple):
    """Flat arrays of some streets; see the column names above.

    ``first`` (E + 1,) delimits each street's points, ``bin_first`` (E,) its first bin, ``bin_ptr`` the marks of each bin.
    """

    points_m: DoubleArray
    arc_m: DoubleArray
    first: IntArray
    streets: DoubleArray
    marks: DoubleArray
    bin_first: IntArray
    bin_ptr: IntArray
    bin_marks: IntArray


class PackedStreet(NamedTuple):
    """One street's rows of a `StreetTable`; mark indices count from the street's first mark."""

    row: DoubleArray
    marks: DoubleArray
    bin_counts: IntArray
    bin_marks: IntArray


def pack_street(street: Street) -> PackedStreet:
    """Pack one street (its marks are generated here)."""
    rng = np.random.default_rng([street.seed, 5])
    marks = street_marks(street)
    bins = math.ceil(street.length_m / BIN_M) + 2
    low, high = _arc_span(marks)
    chosen: list[list[int]] = [[] for _ in range(bins)]
    for index in range(len(marks)):
        first = max(int(low[index] // BIN_M) + 1, 0)
        for k in range(first, min(int(high[index] // BIN_M) + 1, bins - 1) + 1):
            chosen[k].append(index)
    row = np.zeros(STREET_COLUMNS)
    row[[HALF, EXTRA_L, EXTRA_R]] = street.base_half_m, *street.extra_m
    row[[RAMP_0, RAMP_1]] = street.setback_m[0] + 8.0, street.length_m - street.setback_m[1] - 8.0
    row[[WALK_L, WALK_R]] = street.sidewalk_m
    row[[TONE, LANE, LANES]] = street.tone, street.style.lane_width_m, street.style.lanes_each_way
    row[[AXIS, SEED, LENGTH]] = street.key[2], street.seed, street.length_m
    row[PAVING] = np.clip(rng.normal(0.28, 0.05), 0.14, 0.45)
    row[SLAB] = rng.choice([0.3, 0.4, 0.5, 0.0], p=[0.25, 0.3, 0.2, 0.25])
    row[KERB] = np.clip(rng.normal(0.36, 0.06), 0.2, 0.55)
    counts = np.array([len(c) for c in chosen], np.int64)
    return PackedStreet(row, marks, counts, np.array([m for c in chosen for m in c], np.int64))


def join_streets(streets: list[Street], packed: list[PackedStreet]) -> StreetTable:
    """Concatenate streets into one table; at least one street."""
    first = np.cumsum([0, *(len(s.points_m) for s in streets)]).astype(np.int64)
    mark_first = np.cumsum([0, *(len(p.marks) for p in packed)])
    bin_first = np.cumsum([0, *(len(p.bin_counts) for p in packed)]).astype(np.int64)
    counts = np.concatenate([p.bin_counts for p in packed])
    return StreetTable(
        np.concatenate([s.points_m for s in streets]),
        np.concatenate([s.arc_m for s in streets]),
        first,
        np.stack([p.row for p in packed]),
        np.concatenate([p.marks for p in packed]),
        bin_first[:-1],
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([p.bin_marks + base for p, base in zip(packed, mark_first[:-1], strict=True)]),
    )


def _arc_span(marks: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """First and last arc length that each mark touches, with a margin for coarse pixels."""
    if not len(marks):
        return np.zeros(0), np.zeros(0)
    assert marks.shape[1] == COLUMNS
    kind, margin = marks[:, 0], 0.7
    low, high = np.minimum(marks[:, 1], marks[:, 2]), np.maximum(marks[:, 1], marks[:, 2])
    ring = kind == RING
    low = np.where(ring, marks[:, 1] - marks[:, 2], low)
    high = np.where(ring, marks[:, 1] + marks[:, 2], high)
    grow = np.where(kind == RECT, margin, margin + marks[:, 6])
    return low - grow, high + grow
