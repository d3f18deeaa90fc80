"""Chamfer distance between the vertices of lane graphs, for a pair and exactly for thousands times thousands.

The matrix is exact, not looked up in a raster: for each graph a grid of cells holds, made when first asked for, the few
vertices that can be nearest to any point of the cell (those no farther from its centre than the nearest plus its
diagonal; found among those of a wider cell around it). A point then compares with those alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from foldmap.errors import InputError
from foldmap.metrics.street_sampled import EMPTY_M
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray

_CELL_M = 0.5
_WIDE = 8
_MOST_CELLS = 1 << 18
_BLOCK = 256


@dataclass(frozen=True)
class PointSets:
    """Many sets of points in one array."""

    points_m: DoubleArray  # float64 (P, 2)
    offset: IntArray  # int64 (N + 1,), set n is `points_m[offset[n]:offset[n + 1]]`; sets may be empty

    def __len__(self) -> int:
        return len(self.offset) - 1

    @staticmethod
    def of(sets_m: Sequence[DoubleArray]) -> PointSets:
        """Pack sets (P, 2) each; `InputError` for another shape, or coordinates that are not finite."""
        for number, points in enumerate(sets_m):
            if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
                raise InputError(f"point set {number} of shape {points.shape} is unusable", "give finite (P, 2)")
        counts = np.array([len(points) for points in sets_m], np.int64)
        return PointSets(
            np.concatenate([np.zeros((0, 2)), *sets_m]).astype(np.float64), np.concatenate([[0], np.cumsum(counts)])
        )

    def part(self, first: int, last: int) -> PointSets:
        """Sets first to last - 1."""
        low, high = self.offset[first], self.offset[last]
        return PointSets(self.points_m[low:high], self.offset[first : last + 1] - low)


def chamfer_m(one_m: DoubleArray, other_m: DoubleArray, cap_m: float = EMPTY_M) -> float:
    """Chamfer distance of two point sets (A, 2) and (B, 2): the mean of the two directed means, metres.

    ``0.5 (mean_a min_b |a - b| + mean_b min_a |a - b|)``, each distance at most `cap_m` (half the window's diagonal,
    `street_sampled.empty_m`). Not squared, so in metres. Two empty sets are 0 apart, an empty one and another `cap_m`.
    """
    return float(chamfer_matrix(PointSets.of([one_m]), PointSets.of([other_m]), cap_m)[0, 0])


def directed_chamfer_matrix(
    queries: PointSets, library: PointSets, cap_m: float = EMPTY_M, wanted: BoolArray | None = None
) -> FloatArray:
    """Mean distance from the points of each query to the nearest point of each library set, float32 (Q, N), metres.

    A query without points is 0 from an empty set and `cap_m` from another; a set without points is `cap_m` away. Each
    distance counts at most `cap_m`. Only those that are ``wanted``, bool (Q, N), are computed; the others are infinite.
    """
    if wanted is None:
        wanted = np.ones((len(queries), len(library)), bool)
    out = np.full(wanted.shape, np.inf, np.float32)
    low, high = np.zeros(2), np.zeros(2)
    if len(queries.points_m):
        low, high = queries.points_m.min(0) - 1e-6, queries.points_m.max(0) + 1e-6
    size = high - low
    cell_m = max(_CELL_M, float(np.sqrt(size[0] * size[1] / _MOST_CELLS)), float(size.max()) / _MOST_CELLS)
    shape = np.floor(size / cell_m).astype(np.int64) + 1
    at = np.minimum(np.floor((queries.points_m - low) / cell_m).astype(np.int64), shape - 1)
    cell = at[:, 0] * shape[1] + at[:, 1]
    # Points of a query in the order of their cells: neighbours share a list that is then in the cache.
    order = np.lexsort((cell, np.repeat(np.arange(len(queries)), np.diff(queries.offset))))
    points, others = np.ascontiguousarray(queries.points_m[order]), np.ascontiguousarray(library.points_m)
    rows, cols = (int(n) for n in shape)
    _directed(
        points, cell[order], queries.offset, others, library.offset, low, cell_m, rows, cols, cap_m,
        np.ascontiguousarray(wanted), out,
    )  # fmt: skip
    return out


def chamfer_matrix(queries: PointSets, library: PointSets, cap_m: float = EMPTY_M) -> FloatArray:
    """`chamfer_m` of each query with each library set, float32 (Q, N), metres."""
    there = directed_chamfer_matrix(queries, library, cap_m)
    back = directed_chamfer_matrix(library, queries, cap_m)
    return np.float32(0.5) * (there + back.T)


@dataclass(frozen=True)
class Best:
    """The nearest library set of each query."""

    index: IntArray  # int64 (Q,), -1 where nothing was allowed
    chamfer_m: FloatArray  # float32 (Q,), infinite there


def best_in_library(
    queries: PointSets, library: PointSets, allowed: BoolArray | None = None, cap_m: float = EMPTY_M
) -> Best:
    """The oracle: the library set with the least Chamfer distance to each query, the first of equals.

    ``allowed``, bool (Q, N), says which candidates may answer which query (other tiles only, not within 40 m, ...).
    """
    if allowed is not None and allowed.shape != (len(queries), len(library)):
        raise InputError(f"allowed has shape {allowed.shape}", f"give {(len(queries), len(library))}")
    index = np.full(len(queries), -1, np.int64)
    best = np.full(len(queries), np.inf, np.float32)
    for first in range(0, len(queries), _BLOCK if len(library) else max(1, len(queries))):
        last = min(first + _BLOCK, len(queries))
        if not len(library):
            break
        part = queries.part(first, last)
        distance = _bounded(part, library, None if allowed is None else allowed[first:last], cap_m)
        nearest = distance.argmin(1)
        best[first:last] = distance[np.arange(last - first), nearest]
        index[first:last] = np.where(np.isfinite(best[first:last]), nearest, -1)
    return Best(index, best)


def _bounded(queries: PointSets, library: PointSets, allowed: BoolArray | None, cap_m: float) -> FloatArray:
    """`chamfer_matrix` where it can be the least of its row, infinite elsewhere.

    Half of one direction bounds the whole from below. The set with the least bound gives a distance that is really
    there; only sets with a bound below that need the other direction.
    """
    there = directed_chamfer_matrix(queries, library, cap_m, allowed)
    likely = np.zeros(there.shape, bool)
    likely[np.arange(len(there)), there.argmin(1)] = True
    likely &= np.isfinite(there)
    known = np.float32(0.5) * (there + directed_chamfer_matrix(library, queries, cap_m, likely.T).T).min(1)
    wanted = np.isfinite(there) & (np.float32(0.5) * there <= known[:, None] * np.float32(1.000001))
    return np.float32(0.5) * (there + directed_chamfer_matrix(library, queries, cap_m, wanted.T).T)


@njit(cache=True, nogil=True)
def _directed(points, cell, offset, others, other_offset, low, cell_m, rows, cols, cap_m, wanted, out):  # type: ignore[no-untyped-def]
    wide_cols = (cols + _WIDE - 1) // _WIDE
    wide_start = np.empty(((rows + _WIDE - 1) // _WIDE) * wide_cols, np.int64)
    wide_stop = np.empty(len(wide_start), np.int64)
    start, stop = np.empty(rows * cols, np.int64), np.empty(rows * cols, np.int64)
    wide, kept = np.empty((1024, 2), np.float64), np.empty((4096, 2), np.float64)
    for j in range(len(other_offset) - 1):
        first, last = other_offset[j], other_offset[j + 1]
        start[:] = -1
        wide_start[:] = -1
        wide_filled, filled = 0, 0
        squared = np.empty(last - first, np.float64)
        for i in range(len(offset) - 1):
            if not wanted[i, j]:
                continue
            if offset[i] == offset[i + 1] or first == last:
                out[i, j] = cap_m if (offset[i] < offset[i + 1]) != (first < last) else 0.0
                continue
            total = 0.0
            for p in range(offset[i], offset[i + 1]):
                c = cell[p]
                if start[c] < 0:
                    row, col = c // cols, c % cols
                    w = (row // _WIDE) * wide_cols + col // _WIDE
                    if wide_start[w] < 0:
                        wide = _room(wide, wide_filled, last - first)
                        wide_start[w] = wide_filled
                        x = low[0] + (row // _WIDE + 0.5) * _WIDE * cell_m
                        y = low[1] + (col // _WIDE + 0.5) * _WIDE * cell_m
                        wide_filled = _near(x, y, _WIDE * cell_m, others, first, last, squared, wide, wide_filled)
                        wide_stop[w] = wide_filled
                    kept = _room(kept, filled, last - first)
                    start[c] = filled
                    x, y = low[0] + (row + 0.5) * cell_m, low[1] + (col + 0.5) * cell_m
                    filled = _near(x, y, cell_m, wide, wide_start[w], wide_stop[w], squared, kept, filled)
                    stop[c] = filled
                x, y = points[p, 0], points[p, 1]
                least = np.inf
                for k in range(start[c], stop[c]):
                    dx, dy = kept[k, 0] - x, kept[k, 1] - y
                    least = min(least, dx * dx + dy * dy)
                total += min(np.sqrt(least), cap_m)
            out[i, j] = total / (offset[i + 1] - offset[i])


@njit(cache=True, nogil=True)
def _room(kept, filled, more):  # type: ignore[no-untyped-def]
    if filled + more <= len(kept):
        return kept
    larger = np.empty((2 * (filled + more), 2), np.float64)
    for i in range(filled):  # not a slice of a slice: numba takes seconds to compile that
        larger[i, 0], larger[i, 1] = kept[i, 0], kept[i, 1]
    return larger


@njit(cache=True, nogil=True, fastmath=True)
def _squared(x, y, others, first, last, squared):  # type: ignore[no-untyped-def]
    """Squared distances to each of the others, and the least of them; reordered freely, so it runs as vectors."""
    least = 1e300
    for k in range(last - first):
        dx, dy = others[first + k, 0] - x, others[first + k, 1] - y
        squared[k] = dx * dx + dy * dy
        least = min(least, squared[k])
    return least


@njit(cache=True, nogil=True)
def _near(x, y, cell_m, others, first, last, squared, kept, filled):  # type: ignore[no-untyped-def]
    """Keep those of the others that can be nearest to a point of the cell around (x, y)."""
    least = _squared(x, y, others, first, last, squared)
    # Twice the half diagonal, and a hair for rounding: who is nearest to a point of the cell is within it.
    reach = np.sqrt(least) + 1.41421357 * cell_m + 1e-9 * (np.abs(x) + np.abs(y) + 1.0)
    reach *= reach
    for k in range(last - first):
        if squared[k] <= reach:
            kept[filled, 0] = others[first + k, 0]
            kept[filled, 1] = others[first + k, 1]
            filled += 1
    return filled
