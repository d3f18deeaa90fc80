"""The ground at a point: reflectance, height and obstacles, evaluated from the streets around it by compiled loops.

Marks are box-filtered analytically over the pixel's footprint, so a paint edge is placed to a fraction of a pixel.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from foldmap.town.hashing import grain_normal, unit_hash, value_noise
from foldmap.town.tables import BIN_M

CELL_M = 1.0
"""Side of the world-anchored cells for which the nearest part of each street is found once."""

_LOT_M = 13.0
_BLEND_M = 5.0
_HALF, _EXTRA_L, _EXTRA_R, _RAMP_0, _RAMP_1, _WALK_L, _WALK_R, _TONE = 0, 1, 2, 3, 4, 5, 6, 7
_LANE, _LANES, _AXIS, _SEED, _LENGTH, _PAVING, _SLAB, _KERB = 8, 9, 10, 11, 12, 13, 14, 15


@njit(cache=True)
def nearest_segments(cell0_x, cell0_y, cells_x, cells_y, points, first, reach):
    """Nearest segment of every street for every cell centre: int32 (cells, E), -1 beyond ``reach`` metres."""
    streets = len(first) - 1
    out = np.full((cells_y * cells_x, streets), -1, np.int32)
    for cy in range(cells_y):
        for cx in range(cells_x):
            x, y = (cell0_x + cx + 0.5) * CELL_M, (cell0_y + cy + 0.5) * CELL_M
            for e in range(streets):
                best, where = 1e18, -1
                k = first[e]
                last = first[e + 1] - 1
                while k <= last:
                    dx, dy = x - points[k, 0], y - points[k, 1]
                    squared = dx * dx + dy * dy
                    if squared < best:
                        best, where = squared, k
                    # a curve advances at most one step a point: skip what cannot be nearer
                    gap = math.sqrt(squared) - math.sqrt(best)
                    k += max(1, int(gap / 0.8))
                if best < (reach + CELL_M) ** 2:
                    out[cy * cells_x + cx, e] = where
    return out


@njit(cache=True, inline="always")
def _project(x, y, near, begin, end, points, arc):
    """(arc, lateral, distance) of a point on a street, searching two segments either side of point ``near``."""
    low, high = max(near - 3, begin), min(near + 2, end - 2)
    best, s_best, d_best = 1e18, 0.0, 0.0
    for k in range(low, high + 1):
        ax, ay = points[k, 0], points[k, 1]
        ux, uy = points[k + 1, 0] - ax, points[k + 1, 1] - ay
        length = arc[k + 1] - arc[k]
        px, py = x - ax, y - ay
        t = (px * ux + py * uy) / (length * length)
        inside = min(max(t, 0.0), 1.0)
        ex, ey = px - inside * ux, py - inside * uy
        squared = ex * ex + ey * ey
        if squared < best:
            best = squared
            if (k == begin and t < 0.0) or (k == end - 2 and t > 1.0):
                inside = t  # a street continues straight beyond its ends
            s_best = arc[k] + inside * length
            d_best = (ux * py - uy * px) / length
    return s_best, d_best, math.sqrt(best)


@njit(cache=True, inline="always")
def _box(value, low, high, footprint):
    """Share of a footprint centred at ``value`` that lies in [low, high]."""
    return max(0.0, min(value + 0.5 * footprint, high) - max(value - 0.5 * footprint, low)) / footprint


@njit(cache=True, inline="always")
def _stripe_integral(u, period, on):
    whole = math.floor(u / period)
    return whole * on + min(u - whole * period, on)


@njit(cache=True, inline="always")
def _coverage(mark, s, d, footprint):
    """Share of the footprint at (s, d) that a mark covers."""
    kind = int(mark[0])
    if kind == 0:
        across = _box(d, mark[3], mark[4], footprint)
        if across <= 0.0:
            return 0.0
        cover = across * _box(s, mark[1], mark[2], footprint)
        if cover > 0.0 and mark[5] > 0.0:
            u = s * mark[7] + d * mark[8] + mark[9]
            upper = _stripe_integral(u + 0.5 * footprint, mark[5], mark[6])
            cover *= (upper - _stripe_integral(u - 0.5 * footprint, mark[5], mark[6])) / footprint
        return cover
    if kind == 1:
        ds, dd = mark[2] - mark[1], mark[4] - mark[3]
        ps, pd = s - mark[1], d - mark[3]
        t = min(max((ps * ds + pd * dd) / (ds * ds + dd * dd + 1e-12), 0.0), 1.0)
        away = math.hypot(ps - t * ds, pd - t * dd)
        return _box(away, -0.5 * mark[6], 0.5 * mark[6], footprint)
    away = math.hypot(s - mark[1], d - mark[3])
    return _box(away, mark[4] if mark[4] > 0.0 else -mark[2], mark[2], footprint)


@njit(cache=True, inline="always")
def _edge_m(row, s, d):
    """Distance of the kerb from the centre line at (s, side of d)."""
    ramp = min(max((s - row[_RAMP_0]) / 3.0, 0.0), 1.0) * min(max((row[_RAMP_1] - s) / 3.0, 0.0), 1.0)
    return row[_HALF] + ramp * (row[_EXTRA_L] if d > 0 else row[_EXTRA_R])


@njit(cache=True)
def locate(x, y, cell, table_points, table_arc, first, streets, s_out, d_out):
    """Signed distance to the kerb (negative on the carriageway) and the street nearest in that sense.

    Crossing streets are blended, which rounds the corners. Arc and lateral of every street go to ``s_out``, ``d_out``.
    """
    by_axis_0, by_axis_1 = 1e9, 1e9
    best, nearest = 1e9, -1
    for e in range(len(first) - 1):
        s_out[e] = -1e9
        if cell[e] < 0:
            continue
        s, d, distance = _project(x, y, cell[e], first[e], first[e + 1], table_points, table_arc)
        s_out[e], d_out[e] = s, d
        signed = distance - _edge_m(streets[e], s, d)
        if streets[e, _AXIS] == 0.0:
            by_axis_0 = min(by_axis_0, signed)
        else:
            by_axis_1 = min(by_axis_1, signed)
        if signed < best:
            best, nearest = signed, e
    h = max(_BLEND_M - abs(by_axis_0 - by_axis_1), 0.0) / _BLEND_M
    return min(by_axis_0, by_axis_1) - 0.25 * h * h * _BLEND_M, nearest


@njit(cache=True)
def obstacle_m(kerb_m, row, s, d):
    """Height of what stands at that place: 0 ground, above 2 m a facade, between them hedges, walls and poles."""
    walk = row[_WALK_L] if d > 0 else row[_WALK_R]
    seed = int(row[_SEED]) + (1 if d > 0 else 2)
    if 0.35 < kerb_m < 0.9:  # poles and trees stand behind the kerb
        slot = math.floor(s / 7.0)
        if unit_hash(slot, 3, seed) < 0.35:
            at = (slot + 0.2 + 0.6 * unit_hash(slot, 4, seed)) * 7.0
            if (s - at) ** 2 + (kerb_m - 0.6) ** 2 < (0.08 + 0.17 * unit_hash(slot, 5, seed)) ** 2:
                return 5.0
    if kerb_m < walk:
        return 0.0
    lot = math.floor(s / _LOT_M)
    kind = unit_hash(lot, 11, seed)
    setback = walk + (0.0 if kind < 0.45 else 9.0 * unit_hash(lot, 12, seed) ** 2)
    if kind < 0.75:
        return 4.0 + 14.0 * unit_hash(lot, 13, seed) if kerb_m > setback else 0.0
    if kind < 0.9:
        return 0.9 if kerb_m > walk + 0.2 else 0.0
    return 8.0 if kerb_m > walk + 16.0 else 0.0


@njit(cache=True)
def _texture(x, y, footprint, seed, fine):
    """Mottled brightness of the ground, about zero: octaves from 30 m down to the grain that the footprint resolves."""
    value = 0.5 * value_noise(x / 31.0, y / 31.0, seed) + 0.5 * value_noise(x / 9.0 + 0.37, y / 9.0, seed + 1)
    value += 0.45 * value_noise(x / 2.6, y / 2.6 + 0.71, seed + 2) + 0.35 * value_noise(x / 0.73, y / 0.73, seed + 3)
    if footprint < 0.2:
        value += fine * 0.5 * value_noise(x / 0.21, y / 0.21, seed + 4)
        value += fine * 0.35 * grain_normal(int(math.floor(x / 0.05)), int(math.floor(y / 0.05)), seed + 5)
    return value


@njit(cache=True)
def _asphalt(x, y, s, d, row, footprint, seed):
    """Carriageway without marks: tone, polish of the wheel tracks and stains along the lanes, cracks."""
    value = row[_TONE] * (1.0 + 0.16 * _texture(x, y, footprint, seed, 1.0))
    lane = row[_LANE]
    index = math.floor(d / lane)
    inside = d - (index + 0.5) * lane
    local = int(row[_SEED])
    band = unit_hash(int(index), 21, local) - 0.35
    value *= 1.0 - 0.3 * band * math.exp(-((inside / 1.1) ** 2)) * (1.0 + value_noise(s / 22.0, index * 7.3, local))
    track = abs(abs(inside) - 0.8) / 0.28
    value *= 1.0 - 0.12 * (unit_hash(int(index), 22, local) - 0.4) * math.exp(-track * track)
    value *= 1.0 + 0.09 * value_noise(s / 11.0, d / 0.45, local + 5)
    damage = value_noise(x / 17.0, y / 17.0, seed + 31)
    if damage > 0.25:
        warp = 0.35 * value_noise(x / 0.8, y / 0.8, seed + 32)
        level = abs(value_noise(x / 2.1 + warp, y / 2.1 - warp, seed + 33))
        value *= 1.0 - 0.45 * max(0.0, 1.0 - level / (0.02 + 0.3 * footprint)) * min(1.0, 3 * (damage - 0.25))
    return value


@njit(cache=True)
def _beside(x, y, s, d, kerb_m, row, footprint, seed):
    """Sidewalk paving and, beyond it, grass, gravel or yard."""
    walk = row[_WALK_L] if d > 0 else row[_WALK_R]
    local = int(row[_SEED]) + (3 if d > 0 else 4)
    if kerb_m < walk:
        value = row[_PAVING] * (1.0 + 0.2 * _texture(x, y, footprint, seed + 50, 1.0))
        slab = row[_SLAB]
        if slab > 0.0 and footprint < 0.2:
            u, v = s / slab, kerb_m / slab
            value *= 0.9 + 0.2 * unit_hash(int(math.floor(u)), int(math.floor(v)), local)
            joint = min(min(u - math.floor(u), v - math.floor(v)), min(math.ceil(u) - u, math.ceil(v) - v)) * slab
            value *= 1.0 - 0.25 * _box(joint, -0.01, 0.01, footprint)
        return value
    kind = unit_hash(int(math.floor(s / 26.0)), 41, local)
    if kind < 0.4:  # grass: bright and restless
        return 0.33 * (1.0 + 0.45 * _texture(x, y, footprint, seed + 60, 2.0))
    if kind < 0.7:
        return 0.22 * (1.0 + 0.3 * _texture(x, y, footprint, seed + 70, 2.0))
    return 0.27 * (1.0 + 0.18 * _texture(x, y, footprint, seed + 80, 1.0))


@njit(cache=True)
def _paint(x, y, value, on_road, s_all, d_all, footprint, seed, streets, marks, bin_first, bin_ptr, bin_marks):
    """Draw the marks of all streets over the ground."""
    wear = 0.62 + 0.3 * value_noise(x / 13.0, y / 13.0, seed + 91) + 0.22 * value_noise(x / 0.9, y / 0.9, seed + 92)
    wear += 0.18 * value_noise(x / 0.16, y / 0.16, seed + 93)
    wear = min(max(wear, 0.08), 1.0)
    for e in range(len(streets)):
        s, d = s_all[e], d_all[e]
        row = streets[e]
        if s < -BIN_M or s >= row[_LENGTH] + BIN_M or abs(d) > row[_HALF] + 6.5:
            continue
        b = bin_first[e] + int(math.floor(s / BIN_M)) + 1
        for p in range(bin_ptr[b], bin_ptr[b + 1]):
            mark = marks[bin_marks[p]]
            cover = _coverage(mark, s, d, footprint) * on_road
            if cover <= 0.0:
                continue
            if mark[11] == 0.0:
                lane = row[_LANE]
                inside = abs(abs(d - (math.floor(d / lane) + 0.5) * lane) - 0.8) / 0.3
                kept = wear * (1.0 - 0.45 * math.exp(-inside * inside))
                value += cover * kept * (mark[10] - value)
            elif mark[11] == 1.0:
                value *= 1.0 + cover * (mark[10] - 1.0)
            else:
                value += cover * (mark[10] - value)
    return value


@njit(cache=True)
def reflectance_at(x, y, footprint, seed, cell, table, s_all, d_all):
    """Reflectance 0..1 and signed kerb distance at one point; ``s_all``, ``d_all`` are scratch (E,)."""
    points, arc, first, streets, marks, bin_first, bin_ptr, bin_marks = table
    kerb_m, e = locate(x, y, cell, points, arc, first, streets, s_all, d_all)
    if e < 0:
        return 0.25 * (1.0 + 0.25 * _texture(x, y, footprint, seed + 60, 2.0)), 99.0, e
    row, s, d = streets[e], s_all[e], d_all[e]
    on_road = _box(kerb_m, -1e9, 0.0, footprint)
    value = 0.0
    if on_road > 0.0:
        value = on_road * _paint(
            x, y, _asphalt(x, y, s, d, row, footprint, seed), 1.0, s_all, d_all, footprint, seed,
            streets, marks, bin_first, bin_ptr, bin_marks,
        )  # fmt: skip
    if on_road < 1.0:
        side = _beside(x, y, s, d, kerb_m, row, footprint, seed)
        stone = _box(kerb_m, 0.0, 0.15, footprint) / max(1e-9, 1.0 - on_road)
        kerb = row[_KERB] * (1.0 + 0.25 * value_noise(s / 0.8, 0.0, int(row[_SEED]) + 9))
        value += (1.0 - on_road) * (side + min(stone, 1.0) * (kerb - side))
    return min(max(value, 0.01), 1.0), kerb_m, e


@njit(cache=True)
def render_lattice(x0, y0, col_x, col_y, row_x, row_y, height, width, footprint, seed, cell0_x, cell0_y, cells_x, cells, table):
    """Evaluate a lattice of points (x0, y0) + col * (col_x, col_y) + row * (row_x, row_y).

    Returns reflectance, signed kerb distance and obstacle height, each float32 (height, width).
    """
    value = np.empty((height, width), np.float32)
    kerb = np.empty((height, width), np.float32)
    obstacle = np.zeros((height, width), np.float32)
    streets = len(table[2]) - 1
    s_all, d_all = np.empty(streets), np.empty(streets)
    for r in range(height):
        for c in range(width):
            x, y = x0 + c * col_x + r * row_x, y0 + c * col_y + r * row_y
            cell = cells[(int(math.floor(y / CELL_M)) - cell0_y) * cells_x + int(math.floor(x / CELL_M)) - cell0_x]
            v, k, e = reflectance_at(x, y, footprint, seed, cell, table, s_all, d_all)
            value[r, c], kerb[r, c] = v, k
            if e < 0:
                obstacle[r, c] = 6.0
            elif k > 0.0:
                obstacle[r, c] = obstacle_m(k, table[3][e], s_all[e], d_all[e])
    return value, kerb, obstacle
