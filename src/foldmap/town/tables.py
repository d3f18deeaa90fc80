"""Streets packed into flat arrays that compiled loops walk."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from foldmap.town.marks import COLUMNS, RECT, RING, street_marks
from foldmap.town.plan import Street
from foldmap.types import DoubleArray, IntArray

BIN_S_M, BIN_D_M, BINS_D = 3.0, 1.2, 36
"""Marks are looked up in bins of this arc length and width; so many bins lie across."""
MARGIN_M = 0.5
"""Half of the largest footprint for which marks are found."""

(HALF, EXTRA_L, EXTRA_R, RAMP_0, RAMP_1, WALK_L, WALK_R, TONE, LANE, LANES, AXIS, SEED, LENGTH, PAVING, SLAB, KERB) = (
    range(16)
)
STREET_COLUMNS = 16


class StreetTable(NamedTuple):
    """Flat arrays of some streets; see the column names above."""

    points_m: DoubleArray
    arc_m: DoubleArray
    first: IntArray  # (E + 1,), delimits each street's points
    streets: DoubleArray
    marks: DoubleArray
    bin_first: IntArray  # (E,), first bin of each street
    bin_ptr: IntArray  # delimits the marks of each bin
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
    counts, bin_marks = _fill_bins(_extent_bins(marks), math.ceil(street.length_m / BIN_S_M) + 2, BINS_D)
    row = np.zeros(STREET_COLUMNS)
    row[[HALF, EXTRA_L, EXTRA_R]] = street.base_half_m, *street.extra_m
    row[[RAMP_0, RAMP_1]] = street.setback_m[0] + 8.0, street.length_m - street.setback_m[1] - 8.0
    row[[WALK_L, WALK_R]] = street.sidewalk_m
    row[[TONE, LANE, LANES]] = street.tone, street.style.lane_width_m, street.style.lanes_each_way
    row[[AXIS, SEED, LENGTH]] = street.key[2], street.seed, street.length_m
    row[PAVING] = np.clip(rng.normal(0.28, 0.05), 0.14, 0.45)
    row[SLAB] = rng.choice([0.3, 0.4, 0.5, 0.0], p=[0.25, 0.3, 0.2, 0.25])
    row[KERB] = np.clip(rng.normal(0.36, 0.06), 0.2, 0.55)
    return PackedStreet(row, marks, counts, bin_marks)


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


def _extent_bins(marks: DoubleArray) -> IntArray:
    """First and last bin along and across that each mark touches, int64 (M, 4), with a margin for coarse pixels."""
    assert marks.shape[1] == COLUMNS
    kind = marks[:, 0]
    grow = np.where(kind == RECT, MARGIN_M, MARGIN_M + marks[:, 6])
    spans = []
    for first, size, shift in ((1, BIN_S_M, 1.0), (3, BIN_D_M, 0.5 * BINS_D)):
        low, high = np.minimum(marks[:, first], marks[:, first + 1]), np.maximum(marks[:, first], marks[:, first + 1])
        low = np.where(kind == RING, marks[:, first] - marks[:, 2], low) - grow
        high = np.where(kind == RING, marks[:, first] + marks[:, 2], high) + grow
        spans += [np.floor(low / size + shift), np.floor(high / size + shift)]
    return np.stack(spans, axis=1).astype(np.int64)


@njit(cache=True)
def _fill_bins(spans, bins_s, bins_d):
    """Marks of every bin, in drawing order: counts (bins_s * bins_d,) and the concatenated indices."""
    counts = np.zeros(bins_s * bins_d, np.int64)
    for fill in range(2):
        if fill == 1:
            place = np.cumsum(counts) - counts
            chosen = np.empty(counts.sum(), np.int64)
        for m in range(len(spans)):
            for i in range(max(spans[m, 0], 0), min(spans[m, 1], bins_s - 1) + 1):
                for j in range(max(spans[m, 2], 0), min(spans[m, 3], bins_d - 1) + 1):
                    b = i * bins_d + j
                    if fill == 0:
                        counts[b] += 1
                    else:
                        chosen[place[b]] = m
                        place[b] += 1
    return counts, chosen
