"""Pairwise Frank-Wolfe on the capped simplex with a kernel of compact support, in memory linear in the points.

    min_v  v'Kv - tau d'v    with  sum v = 1,  0 <= v_i <= cap

A step moves mass from the point j that holds some and has the largest gradient to the point i that has room and the
smallest one (a pairwise Frank-Wolfe step over pairs of coordinates, which is what SMO does for a one-class SVM). K is
never stored: it vanishes beyond the bandwidth, so a step touches the 27 cells around i and around j of a grid whose
cells are one bandwidth wide. Each cell remembers its best candidates and a tournament tree over the cells gives the
best of all.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, allow-any-generics
# (compiled loops: numba infers their types)

from dataclasses import dataclass

import numpy as np
from numba import njit

from foldmap.types import AnyArray, DoubleArray, IntArray

_BITS = 21


@dataclass(frozen=True)
class KernelCells:
    """Points sorted into cubes of one bandwidth, so that what a kernel row touches is nine runs of cells."""

    order: IntArray  # int64 (P,), sorted row -> point
    xyz: DoubleArray  # float64 (P, 3), sorted and divided by the bandwidth
    first: IntArray  # int64 (C + 1,), rows of cell c are first[c] to first[c + 1]
    cell: AnyArray  # int32 (P,), cell of a sorted row
    runs: AnyArray  # int32 (C, 9, 2), cells around a cell: runs from, to (exclusive)


def cells_of(points_world: DoubleArray, bandwidth_world: float) -> KernelCells:
    """Sort points into cells one bandwidth wide."""
    scaled = (points_world - points_world.min(0)) / bandwidth_world
    # Clipping is monotone and never moves two points apart, so neighbours stay in touching cells.
    index = np.clip(np.floor(scaled), 0, 2**_BITS - 4).astype(np.int64) + 1
    key = (index[:, 0] << 2 * _BITS) | (index[:, 1] << _BITS) | index[:, 2]
    order = np.argsort(key, kind="stable").astype(np.int64)
    keys, first = np.unique(key[order], return_index=True)
    first = np.append(first, len(key)).astype(np.int64)
    runs = np.empty((len(keys), 9, 2), np.int32)
    steps = [(dx << 2 * _BITS) + (dy << _BITS) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    for slot, step in enumerate(steps):
        runs[:, slot, 0] = np.searchsorted(keys, keys + step - 1, side="left")
        runs[:, slot, 1] = np.searchsorted(keys, keys + step + 1, side="right")
    cell = np.repeat(np.arange(len(keys), dtype=np.int32), np.diff(first))
    return KernelCells(order, np.ascontiguousarray(scaled[order]), first, cell, runs)


@njit(cache=True, inline="always")
def wendland(squared):
    """Wendland's C2 function (1 - r)^4 (4 r + 1) of r^2: positive definite in three dimensions, zero from r = 1 on."""
    if squared >= 1.0:
        return 0.0
    r = np.sqrt(squared)
    near = (1.0 - r) * (1.0 - r)
    return near * near * (4.0 * r + 1.0)


@njit(cache=True)
def _raise(tree, leaf, value):
    """Set a leaf of a tournament tree of minima and renew its parents as far as they change."""
    node = leaf + len(tree) // 2
    tree[node] = value
    node //= 2
    while node >= 1:
        best = min(tree[2 * node], tree[2 * node + 1])
        if tree[node] == best:
            return
        tree[node] = best
        node //= 2


@njit(cache=True)
def _winner(tree):
    """Leaf with the smallest value; of equal ones the first."""
    node = 1
    half = len(tree) // 2
    while node < half:
        node *= 2
        if tree[node + 1] < tree[node]:
            node += 1
    return node - half


@njit(cache=True)
def _renew(c, first, v, gradient, cap, room, held):
    """Best gradient to gain mass and best to lose it in a cell, put into both trees."""
    gain, lose = np.inf, np.inf
    for row in range(first[c], first[c + 1]):
        if v[row] < cap and gradient[row] < gain:
            gain = gradient[row]
        if v[row] > 0.0 and -gradient[row] < lose:
            lose = -gradient[row]
    _raise(room, c, gain)
    _raise(held, c, lose)


@njit(cache=True)
def _add(row, amount, xyz, first, cell, runs, v, gradient, cap, room, held):
    """Add 2 * amount * K[row] to the gradient and renew the cells that it touches."""
    x, y, z = xyz[row, 0], xyz[row, 1], xyz[row, 2]
    for slot in range(9):
        for c in range(runs[cell[row], slot, 0], runs[cell[row], slot, 1]):
            for k in range(first[c], first[c + 1]):
                dx, dy, dz = xyz[k, 0] - x, xyz[k, 1] - y, xyz[k, 2] - z
                squared = dx * dx + dy * dy + dz * dz
                if squared < 1.0:
                    gradient[k] += 2.0 * amount * wendland(squared)
            _renew(c, first, v, gradient, cap, room, held)


@njit(cache=True)
def _best(tree, first, v, gradient, cap, gaining):
    """Row of the winning cell that holds the winning value."""
    c = _winner(tree)
    for row in range(first[c], first[c + 1]):
        if gaining and v[row] < cap and gradient[row] == tree[1]:
            return row
        if not gaining and v[row] > 0.0 and -gradient[row] == tree[1]:
            return row
    return -1


@njit(cache=True)
def starting_weights(xyz, first, cell, runs, pull, cap):
    """Fill points to the cap one after another, each time the one with the smallest gradient.

    `pull` is tau d, sorted like the rows. Returns weights, gradient, and the trees of rows with room and of rows that
    hold something.
    """
    cells = len(first) - 1
    half = 1
    while half < cells:
        half *= 2
    room, held = np.full(2 * half, np.inf), np.full(2 * half, np.inf)
    v, gradient = np.zeros(len(xyz)), -pull
    for c in range(cells):
        _renew(c, first, v, gradient, cap, room, held)
    left = 1.0
    while left > 0.0:
        row = _best(room, first, v, gradient, cap, True)
        amount = cap if cap < left * (1 + 1e-12) else left
        v[row] = amount
        left = left - amount if left - amount > cap * 1e-9 else 0.0
        _add(row, amount, xyz, first, cell, runs, v, gradient, cap, room, held)
    return v, gradient, room, held


@njit(cache=True)
def improve(xyz, first, cell, runs, v, gradient, room, held, cap, steps):
    """Pairwise steps in place until none gains any more, or `steps` are done; returns how many were taken."""
    for done in range(steps):
        if not -held[1] - room[1] > 0.0:
            return done
        i = _best(room, first, v, gradient, cap, True)
        j = _best(held, first, v, gradient, cap, False)
        dx, dy, dz = xyz[i, 0] - xyz[j, 0], xyz[i, 1] - xyz[j, 1], xyz[i, 2] - xyz[j, 2]
        curvature = 4.0 * (1.0 - wendland(dx * dx + dy * dy + dz * dz))
        most = min(cap - v[i], v[j])
        slope = gradient[j] - gradient[i]
        move = most if slope >= curvature * most else slope / curvature
        # Exact ends keep a full point full and an empty one empty in spite of rounding.
        v[i] = cap if move == cap - v[i] else v[i] + move
        v[j] = 0.0 if move == v[j] else v[j] - move
        _add(i, move, xyz, first, cell, runs, v, gradient, cap, room, held)
        _add(j, -move, xyz, first, cell, runs, v, gradient, cap, room, held)
    return steps


@njit(cache=True)
def kernel_times(xyz, first, cell, runs, v):
    """K v, computed afresh."""
    result = np.zeros(len(xyz))
    for row in range(len(xyz)):
        if v[row] > 0.0:
            for slot in range(9):
                around = runs[cell[row], slot]
                for k in range(first[around[0]], first[around[1]]):
                    dx, dy, dz = xyz[k, 0] - xyz[row, 0], xyz[k, 1] - xyz[row, 1], xyz[k, 2] - xyz[row, 2]
                    squared = dx * dx + dy * dy + dz * dz
                    if squared < 1.0:
                        result[k] += v[row] * wendland(squared)
    return result
