"""Upright surfaces near a camera, indexed: walls where the height of the town jumps, poles and vehicles."""

from typing import NamedTuple

import numpy as np
from numba import njit

from foldmap.town.ground import LOT_M, obstacle_m
from foldmap.town.hashing import unit_hash
from foldmap.town.plan import Street
from foldmap.town.render import CELL_M, locate
from foldmap.town.tables import SEED
from foldmap.town.world import Neighbourhood
from foldmap.types import AnyArray, DoubleArray

WALL_STEP_M = 0.25
"""Length of the pieces of which walls are made; they follow a street's curves."""

BIN_M = 1.0
"""Side of the bins through which rays walk."""

(X0, Y0, X1, Y1, LOW, HIGH, U0, U1, FRONT, WALL_SEED) = range(10)
_WALL_COLUMNS = 10
_POLE_SLOT_M = 7.0
_BUILT_M = 6.0
_BEHIND_M = 0.9  # poles stand nearer to the kerb
_BISECTIONS = 16
_LOOK_ASIDE_M = (0.01, 0.05, 0.13)


class Surfaces(NamedTuple):
    """Walls, vehicles and poles with their index."""

    west_m: float
    south_m: float
    bins: int
    walls: DoubleArray  # (W, 10), higher ground to the left of its direction
    boxes: DoubleArray  # (B, 8), as `traffic.parked_boxes` with a seed
    poles: DoubleArray  # (Q, 4): x, y, radius, seed
    first: AnyArray  # delimits the items of each bin
    items: AnyArray  # walls first, then boxes, then poles


def find_walls(near: Neighbourhood, west_m: float, south_m: float, side_m: float) -> DoubleArray:
    """Trace every jump of the town's height inside a square; rows as in `Surfaces`."""
    count = int(side_m / WALL_STEP_M)
    walls: DoubleArray = _trace(west_m, south_m, count, tuple(near))
    return walls


def find_poles(streets: list[Street], near: Neighbourhood, low_m: DoubleArray, high_m: DoubleArray) -> DoubleArray:
    """Lamp posts and trunks inside a box, float64 (Q, 4): x, y, radius, seed; those that `ground.obstacle_m` has."""
    found = []
    for street in streets:
        for slot in range(int(street.length_m // _POLE_SLOT_M) + 1):
            for side in (1, -1):
                seed = street.seed + (1 if side > 0 else 2)
                at = (slot + 0.2 + 0.6 * unit_hash(slot, 4, seed)) * _POLE_SLOT_M
                if unit_hash(slot, 3, seed) >= 0.35 or at >= street.length_m:
                    continue
                for extra in (street.extra_m[0 if side > 0 else 1], 0.0):
                    lateral = side * (street.base_half_m + extra + 0.6)
                    x, y = street.offset_path(np.array([at]), lateral)[0]
                    inside = low_m[0] + 1 < x < high_m[0] - 1 and low_m[1] + 1 < y < high_m[1] - 1
                    if inside and height_at(x, y, tuple(near)) == 5.0:
                        radius = 0.08 + 0.17 * unit_hash(slot, 5, seed)
                        found.append([x, y, radius, seed + 1000 * slot])
                        break
    return np.array(found, np.float64).reshape(-1, 4)


def index_surfaces(
    walls: DoubleArray, boxes: DoubleArray, poles: DoubleArray, west_m: float, south_m: float, side_m: float
) -> Surfaces:
    """Sort everything into bins."""
    bins = int(np.ceil(side_m / BIN_M))
    reach, radius = np.hypot(boxes[:, 4], boxes[:, 5])[:, None], poles[:, 2:3]
    low = [np.minimum(walls[:, :2], walls[:, 2:4]), boxes[:, :2] - reach, poles[:, :2] - radius]
    high = [np.maximum(walls[:, :2], walls[:, 2:4]), boxes[:, :2] + reach, poles[:, :2] + radius]
    extents = np.column_stack([np.concatenate(low), np.concatenate(high)])
    cells = np.floor((extents - np.array([west_m, south_m] * 2)) / BIN_M + np.array([-1e-6, -1e-6, 1e-6, 1e-6]))
    first, items = _fill(np.clip(cells, -1, bins).astype(np.int64), bins)
    return Surfaces(west_m, south_m, bins, walls, boxes, poles, first, items)


@njit(cache=True)
def _fill(cells, bins):
    counts = np.zeros(bins * bins + 1, np.int64)
    items = np.empty(0, np.int32)
    for fill in range(2):
        if fill == 1:
            first = np.cumsum(counts)
            place = first.copy()
            items = np.empty(first[-1], np.int32)
        for n in range(len(cells)):
            for j in range(max(cells[n, 1], 0), min(cells[n, 3], bins - 1) + 1):
                for i in range(max(cells[n, 0], 0), min(cells[n, 2], bins - 1) + 1):
                    if fill == 0:
                        counts[j * bins + i + 1] += 1
                    else:
                        items[place[j * bins + i]] = n
                        place[j * bins + i] += 1
    return first, items


@njit(cache=True)
def place_of(x, y, near, s_all, d_all):
    """Kerb distance and street of a point, as `render.locate`; street -1 also outside the cells of ``near``."""
    cell0_x, cell0_y, cells_x, cells, table = near
    i, j = int(np.floor(x / CELL_M)) - cell0_x, int(np.floor(y / CELL_M)) - cell0_y
    if i < 0 or j < 0 or i >= cells_x or j * cells_x + i >= len(cells):
        return 1e9, -1
    return locate(x, y, cells[j * cells_x + i], table[0], table[1], table[2], table[3], s_all, d_all)


@njit(cache=True)
def height_at(x, y, near):
    """Height of what stands at a point, poles included; 0 on open ground."""
    count = len(near[4][2]) - 1
    return _height(x, y, near, np.empty(count), np.empty(count), 0.35)


@njit(cache=True)
def _height(x, y, near, s_all, d_all, beyond_m):
    """Height of what stands farther than that behind the kerb."""
    k, e = place_of(x, y, near, s_all, d_all)
    if e < 0:
        return _BUILT_M
    return obstacle_m(k, near[4][3][e], s_all[e], d_all[e]) if k > beyond_m else 0.0


@njit(cache=True)
def _trace(west, south, count, near):
    streets = len(near[4][2]) - 1
    s_all, d_all = np.empty(streets), np.empty(streets)
    heights = np.empty((count, count))
    for j in range(count):
        for i in range(count):
            x, y = west + (i + 0.5) * WALL_STEP_M, south + (j + 0.5) * WALL_STEP_M
            heights[j, i] = _height(x, y, near, s_all, d_all, _BEHIND_M)
    out = np.empty((1024, _WALL_COLUMNS))
    n = 0
    cut = np.empty((4, 2))
    for j in range(count - 1):
        for i in range(count - 1):
            crossings = 0
            for k in range(4):
                ai, aj = i + (1 if k in (1, 2) else 0), j + (1 if k in (2, 3) else 0)
                bi, bj = i + (1 if k in (0, 1) else 0), j + (1 if k in (1, 2) else 0)
                if bj * count + bi < aj * count + ai:  # both cells of an edge find the same crossing
                    ai, aj, bi, bj = bi, bj, ai, aj
                label = heights[aj, ai]
                if label == heights[bj, bi]:
                    continue
                low, high = 0.0, 1.0
                for _ in range(_BISECTIONS):
                    middle = 0.5 * (low + high)
                    x = west + (ai + 0.5 + middle * (bi - ai)) * WALL_STEP_M
                    y = south + (aj + 0.5 + middle * (bj - aj)) * WALL_STEP_M
                    if _height(x, y, near, s_all, d_all, _BEHIND_M) == label:
                        low = middle
                    else:
                        high = middle
                cut[crossings, 0] = west + (ai + 0.5 + high * (bi - ai)) * WALL_STEP_M
                cut[crossings, 1] = south + (aj + 0.5 + high * (bj - aj)) * WALL_STEP_M
                crossings += 1
            if crossings < 2:
                continue
            if n + 4 > len(out):
                out = np.concatenate((out, np.empty_like(out)))
            pieces = 1 if crossings == 2 else crossings
            cx, cy = cut[:crossings, 0].mean(), cut[:crossings, 1].mean()
            for k in range(pieces):
                ex, ey = (cut[1, 0], cut[1, 1]) if crossings == 2 else (cx, cy)
                n += _wall(cut[k, 0], cut[k, 1], ex, ey, out[n], near, s_all, d_all)
    return out[:n].copy()


@njit(cache=True)
def _wall(ax, ay, bx, by, out, near, s_all, d_all):
    """Describe one piece of wall; returns 0 where the ground is equally high on both sides."""
    length = np.hypot(bx - ax, by - ay)
    if length < 1e-6:
        return 0
    mx, my = 0.5 * (ax + bx), 0.5 * (ay + by)
    left, right, nx, ny = 0.0, 0.0, 0.0, 0.0
    for away in _LOOK_ASIDE_M:  # a piece cuts corners: look farther aside until both sides are told apart
        nx, ny = -(by - ay) / length * away, (bx - ax) / length * away
        left = _height(mx + nx, my + ny, near, s_all, d_all, _BEHIND_M)
        right = _height(mx - nx, my - ny, near, s_all, d_all, _BEHIND_M)
        if left != right:
            break
    if left == right:
        return 0
    if left < right:
        ax, ay, bx, by, nx, ny = bx, by, ax, ay, -nx, -ny
    _, e = place_of(mx + nx, my + ny, near, s_all, d_all)
    out[X0], out[Y0], out[X1], out[Y1] = ax, ay, bx, by
    out[LOW], out[HIGH] = min(left, right), max(left, right)
    out[U0], out[U1], out[FRONT], out[WALL_SEED] = 0.0, length, 0.0, 77.0
    if e < 0:
        return 1
    side = 1 if d_all[e] > 0 else 2
    lot = np.floor(s_all[e] / LOT_M)
    k0, _ = place_of(ax + nx, ay + ny, near, s_all, d_all)
    s0 = s_all[e]
    k1, _ = place_of(bx + nx, by + ny, near, s_all, d_all)
    s1 = s_all[e]
    along = abs(s1 - s0) >= abs(k1 - k0)
    out[U0], out[U1] = (s0 - lot * LOT_M, s1 - lot * LOT_M) if along else (k0, k1)
    out[FRONT] = 1.0 if along else 0.0
    out[WALL_SEED] = np.floor(unit_hash(int(lot), side + (0 if along else 40), int(near[4][3][e, SEED])) * 1e8)
    return 1
