"""A lane between two bounds: which way they run, and the line in the middle."""

from __future__ import annotations

import numpy as np
from numba import njit

from foldmap.errors import MapInputError
from foldmap.types import DoubleArray

LONGEST_M = 1_000_000.0
"""No lane is longer; lines are drawn in steps, which takes memory by their length."""
_SAMPLE_M = 0.5
_MOST_SAMPLES = 4000


def aligned(left_m: DoubleArray, right_m: DoubleArray) -> tuple[bool, bool]:
    """Whether to turn the left bound (P, 2) of a lanelet round, and the right one, after Lanelet2's rule.

    Files hold bounds in either direction. Both run in driving direction when the left one has the right one on its
    right: the left bound is turned if the middle of the right one is not to its right, then the right bound if the
    middle of the left one is not to its left.
    """
    turn_left = not side(left_m, _middle(right_m)) < 0
    return turn_left, not side(right_m, _middle(left_m[::-1] if turn_left else left_m)) > 0


def _middle(line: DoubleArray) -> DoubleArray:
    """The vertex half-way through the list; the middle of both ends where there are only those."""
    found: DoubleArray = line[len(line) // 2] if len(line) > 2 else line[[0, -1]].mean(0)
    return found


def side(line_m: DoubleArray, point_m: DoubleArray) -> float:
    """Signed distance of a point from a polyline: positive on the left.

    Where a corner is nearest, the point is on the left if it is left of both pieces (a corner to the left) or of either
    (a corner to the right).
    """
    a, step = line_m[:-1], np.diff(line_m, axis=0)
    square = (step**2).sum(1)
    share = np.divide(((point_m - a) * step).sum(1), square, out=np.zeros(len(a)), where=square > 0).clip(0, 1)
    off = point_m - (a + share[:, None] * step)
    distance = np.hypot(*off.T)
    at = int(distance.argmin())
    cross = _cross(step, point_m - a)
    left = cross[at] > 0
    other = at + 1 if share[at] == 1 else at - 1 if share[at] == 0 else -1
    if 0 <= other < len(a) and np.isclose(distance[other], distance[at]):
        before, after = min(at, other), max(at, other)
        bend_left = _cross(step[[before]], step[[after]])[0] > 0
        left = (cross[[at, other]] > 0).all() if bend_left else (cross[[at, other]] > 0).any()
    if distance[at] == 0 or (cross[at] == 0 and other < 0):
        return 0.0
    return float(distance[at]) if left else -float(distance[at])


def _cross(a: DoubleArray, b: DoubleArray) -> DoubleArray:
    found: DoubleArray = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return found


def middle_line(left_m: DoubleArray, right_m: DoubleArray, step_m: float) -> tuple[DoubleArray, float]:
    """The line in the middle of two bounds (P, 2) that run in driving direction, and their mean distance.

    Both bounds are sampled finely and matched in order such that the sum of squared widths is least (dynamic time
    warping): at equal shares of their lengths the inner and outer bound of a turn would be at different places of it.
    Vertices of the line (Q, 2) are at most ``step_m`` apart.
    """
    left, right = _sampled(left_m), _sampled(right_m)
    pairs = _warp(left, right)
    middles = (left[pairs[:, 0]] + right[pairs[:, 1]]) / 2
    length = np.hypot(*np.diff(middles, axis=0).T)
    wide = np.hypot(*(left[pairs[:, 0]] - right[pairs[:, 1]]).T)
    total = length.sum()
    width = float(((wide[1:] + wide[:-1]) / 2 * length).sum() / total) if total > 0 else float(wide.mean())
    return at_steps(middles, step_m), width


def _sampled(line: DoubleArray) -> DoubleArray:
    """The line's own vertices and more between, no further apart than a sample; few enough to match all with all."""
    length = np.hypot(*np.diff(line, axis=0).T)
    step = max(_SAMPLE_M, 2 * float(length.sum()) / _MOST_SAMPLES)
    pieces = np.maximum(1, np.ceil(length / step).astype(np.int64))
    if pieces.sum() > _MOST_SAMPLES:
        return at_steps(line, 2 * float(length.sum()) / _MOST_SAMPLES)
    of = np.repeat(np.arange(len(length)), pieces)
    rank = np.arange(len(of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    inner = line[of] + (rank / pieces[of])[:, None] * (line[of + 1] - line[of])
    return np.concatenate([inner, line[-1:]])


def pieces_of(length_m: float, step_m: float) -> int:
    """How many steps of at most `step_m` a line takes, 1 or more; no lane is longer than `LONGEST_M`."""
    if not length_m <= LONGEST_M:
        raise MapInputError(f"a line of {length_m / 1000:,.0f} km is no lane", "mend its coordinates, in metres")
    return max(1, int(np.ceil(length_m / step_m - 1e-9)))


def distances_along(line_m: DoubleArray) -> DoubleArray:
    """Distance of each vertex (P,) from the first, along the polyline."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line_m, axis=0).T))])


def at_shares(line_m: DoubleArray, count: int) -> DoubleArray:
    """Points at equal shares of the length of a polyline, both ends included, float64 (count, 2)."""
    distance = distances_along(line_m)
    at = np.linspace(0.0, distance[-1], count)
    return np.stack([np.interp(at, distance, line_m[:, axis]) for axis in range(2)], 1)


def at_steps(line_m: DoubleArray, step_m: float) -> DoubleArray:
    """A polyline at equal steps of at most `step_m` along it; its ends stay."""
    return at_shares(line_m, 1 + pieces_of(float(distances_along(line_m)[-1]), step_m))


@njit(cache=True)
def _warp(left, right):  # type: ignore[no-untyped-def]
    n, m = len(left), len(right)
    came = np.zeros((n, m), np.uint8)
    before = np.full(m, np.inf)
    for i in range(n):
        now = np.full(m, np.inf)
        for j in range(m):
            wide = (left[i, 0] - right[j, 0]) ** 2 + (left[i, 1] - right[j, 1]) ** 2
            best, way = np.inf, 0
            if i == 0 and j == 0:
                best = 0.0
            if i > 0 and j > 0 and before[j - 1] < best:
                best, way = before[j - 1], 1
            if i > 0 and before[j] < best:
                best, way = before[j], 2
            if j > 0 and now[j - 1] < best:
                best, way = now[j - 1], 3
            now[j] = best + wide
            came[i, j] = way
        before = now
    pairs = np.empty((n + m, 2), np.int64)
    i, j, count = n - 1, m - 1, 0
    while True:
        pairs[count, 0], pairs[count, 1] = i, j
        count += 1
        way = came[i, j]
        if way == 0:
            break
        if way != 3:
            i -= 1
        if way != 2:
            j -= 1
    return pairs[:count][::-1]
