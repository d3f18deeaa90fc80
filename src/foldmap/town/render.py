"""The ground at a point: reflectance, height and obstacles, evaluated from the streets around it by compiled loops.

Marks are box-filtered analytically over the pixel's footprint, so a paint edge is placed to a fraction of a pixel.
"""

import math

import numpy as np
from numba import njit

from foldmap.town.ground import asphalt, beside, box_share, obstacle_m, paint_left
from foldmap.town.hashing import value_noise
from foldmap.town.plan import SEGMENT_M
from foldmap.town.tables import (
    AXIS,
    BIN_D_M,
    BIN_S_M,
    BINS_D,
    EXTRA_L,
    EXTRA_R,
    HALF,
    KERB,
    LANE,
    LENGTH,
    RAMP_0,
    RAMP_1,
    SEED,
)

CELL_M = 1.0
"""Side of the world-anchored cells for which the nearest part of each street is found once."""

BUILT_REFLECTANCE = 0.25
_BLEND_M = 5.0


@njit(cache=True)
def nearest_segments(cell0_x, cell0_y, cells_x, cells_y, points, first, streets, reach):
    """The streets that can decide something in each world-anchored cell, and the point of each nearest to its centre.

    Returns int32 (cells, M, 2): (street, point), ending with -1. A street is left out where its kerb is certainly
    farther than another's by more than the blending of corners.
    """
    count = len(first) - 1
    near = np.empty(count, np.int32)
    away = np.empty(count)
    out = np.full((cells_y * cells_x, count, 2), -1, np.int32)
    most = 1
    for cy in range(cells_y):
        for cx in range(cells_x):
            x, y = (cell0_x + cx + 0.5) * CELL_M, (cell0_y + cy + 0.5) * CELL_M
            bound = 1e9
            for e in range(count):
                best, where = 1e18, -1
                k = first[e]
                last = first[e + 1] - 1
                while k <= last:
                    dx, dy = x - points[k, 0], y - points[k, 1]
                    squared = dx * dx + dy * dy
                    if squared < best:
                        best, where = squared, k
                        k += 1
                    else:  # a curve advances at most one step a point: skip what cannot be nearer
                        k += max(1, int((math.sqrt(squared) - math.sqrt(best)) / SEGMENT_M))
                near[e], away[e] = where, math.sqrt(best)
                bound = min(bound, away[e] - streets[e, HALF])
            found = 0
            for e in range(count):
                widest = streets[e, HALF] + max(streets[e, EXTRA_L], streets[e, EXTRA_R])
                if away[e] < reach and away[e] - widest < bound + _BLEND_M + 2.0 * CELL_M:
                    out[cy * cells_x + cx, found, 0] = e
                    out[cy * cells_x + cx, found, 1] = near[e]
                    found += 1
            most = max(most, found)
    return out[:, :most].copy()


@njit(cache=True, inline="always")
def _project(x, y, near, begin, end, points, arc):
    """(arc, lateral, distance) of a point on a street, searching two segments either side of point ``near``."""
    low, high = max(near - 2, begin), min(near + 1, end - 2)
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
def _stripe_integral(u, period, on):
    whole = math.floor(u / period)
    return whole * on + min(u - whole * period, on)


@njit(cache=True, inline="always")
def _coverage(mark, s, d, footprint):
    """Share of the footprint at (s, d) that a mark covers."""
    kind = int(mark[0])
    if kind == 0:
        across = box_share(d, mark[3], mark[4], footprint)
        if across <= 0.0:
            return 0.0
        cover = across * box_share(s, mark[1], mark[2], footprint)
        if cover > 0.0 and mark[5] > 0.0:
            u = s * mark[7] + d * mark[8] + mark[9]
            upper = _stripe_integral(u + 0.5 * footprint, mark[5], mark[6])
            cover *= (upper - _stripe_integral(u - 0.5 * footprint, mark[5], mark[6])) / footprint
        return cover
    if kind == 1:
        room = 0.5 * (mark[6] + footprint)
        if d < min(mark[3], mark[4]) - room or d > max(mark[3], mark[4]) + room:
            return 0.0
        ds, dd = mark[2] - mark[1], mark[4] - mark[3]
        ps, pd = s - mark[1], d - mark[3]
        t = min(max((ps * ds + pd * dd) / (ds * ds + dd * dd + 1e-12), 0.0), 1.0)
        away = math.sqrt((ps - t * ds) ** 2 + (pd - t * dd) ** 2)
        return box_share(away, -0.5 * mark[6], 0.5 * mark[6], footprint)
    away = math.sqrt((s - mark[1]) ** 2 + (d - mark[3]) ** 2)
    return box_share(away, mark[4] if mark[4] > 0.0 else -mark[2], mark[2], footprint)


@njit(cache=True, inline="always")
def _edge_m(row, s, d):
    """Distance of the kerb from the centre line at (s, side of d)."""
    ramp = min(max((s - row[RAMP_0]) / 3.0, 0.0), 1.0) * min(max((row[RAMP_1] - s) / 3.0, 0.0), 1.0)
    return row[HALF] + ramp * (row[EXTRA_L] if d > 0 else row[EXTRA_R])


@njit(cache=True, fastmath=True)
def locate(x, y, cell, table_points, table_arc, first, streets, s_out, d_out):
    """Signed distance to the kerb (negative on the carriageway) and the street nearest in that sense.

    Crossing streets are blended, which rounds the corners. Arc and lateral of the cell's streets go to
    ``s_out``, ``d_out``.
    """
    by_axis_0, by_axis_1 = 1e9, 1e9
    best, nearest = 1e9, -1
    for m in range(len(cell)):
        e = cell[m, 0]
        if e < 0:
            break
        s, d, distance = _project(x, y, cell[m, 1], first[e], first[e + 1], table_points, table_arc)
        s_out[e], d_out[e] = s, d
        signed = distance - _edge_m(streets[e], s, d)
        if streets[e, AXIS] == 0.0:
            by_axis_0 = min(by_axis_0, signed)
        else:
            by_axis_1 = min(by_axis_1, signed)
        if signed < best:
            best, nearest = signed, e
    h = max(_BLEND_M - abs(by_axis_0 - by_axis_1), 0.0) / _BLEND_M
    return min(by_axis_0, by_axis_1) - 0.25 * h * h * _BLEND_M, nearest


@njit(cache=True, fastmath=True)
def _paint(x, y, value, on_road, cell, s_all, d_all, footprint, seed, streets, marks, bin_first, bin_ptr, bin_marks):
    """Draw the marks of all streets over the ground."""
    wear = -1.0
    for m in range(len(cell)):
        e = cell[m, 0]
        if e < 0:
            break
        s, d = s_all[e], d_all[e]
        row = streets[e]
        if s < -BIN_S_M or s >= row[LENGTH] + BIN_S_M or abs(d) > row[HALF] + 6.5:
            continue
        across = math.floor(d / BIN_D_M + 0.5 * BINS_D)
        if across < 0 or across >= BINS_D:
            continue
        b = bin_first[e] + (math.floor(s / BIN_S_M) + 1) * BINS_D + across
        for p in range(bin_ptr[b], bin_ptr[b + 1]):
            mark = marks[bin_marks[p]]
            cover = _coverage(mark, s, d, footprint) * on_road
            if cover <= 0.0:
                continue
            if mark[11] == 0.0:
                if wear < 0.0:
                    wear = paint_left(x, y, seed)
                lane = row[LANE]
                inside = abs(abs(d - (math.floor(d / lane) + 0.5) * lane) - 0.8) / 0.3
                kept = wear * (1.0 - 0.45 * math.exp(-inside * inside))
                value += cover * kept * (mark[10] - value)
            elif mark[11] == 1.0:
                value *= 1.0 + cover * (mark[10] - 1.0)
            else:
                value += cover * (mark[10] - value)
    return value


@njit(cache=True, fastmath=True)
def reflectance_of(x, y, footprint, seed, cell, kerb_m, e, table, s_all, d_all):
    """Reflectance 0..1 at a point whose kerb distance, nearest street and street coordinates `locate` gave."""
    _, _, _, streets, marks, bin_first, bin_ptr, bin_marks = table
    row, s, d = streets[e], s_all[e], d_all[e]
    on_road = box_share(kerb_m, -1e9, 0.0, footprint)
    value = 0.0
    if on_road > 0.0:
        value = on_road * _paint(
            x, y, asphalt(x, y, s, d, row, footprint, seed), 1.0, cell, s_all, d_all, footprint, seed,
            streets, marks, bin_first, bin_ptr, bin_marks,
        )  # fmt: skip
    if on_road < 1.0:
        side = beside(x, y, s, d, kerb_m, row, footprint, seed)
        stone = box_share(kerb_m, 0.0, 0.15, footprint) / max(1e-9, 1.0 - on_road)
        kerb = row[KERB] * (1.0 + 0.25 * value_noise(s / 0.8, 0.0, int(row[SEED]) + 9))
        value += (1.0 - on_road) * (side + min(stone, 1.0) * (kerb - side))
    return min(max(value, 0.01), 1.0)


@njit(cache=True, inline="always")
def _snap(metres):
    """Round to a micrometre, so that a point is the same whichever window it was reached from."""
    return math.floor(metres * 1048576.0 + 0.5) / 1048576.0


@njit(cache=True, inline="always")
def cell_of(x, y, near):
    """The streets that can decide something at a point inside the cells of a `world.Neighbourhood`."""
    return near[3][(math.floor(y / CELL_M) - near[1]) * near[2] + math.floor(x / CELL_M) - near[0]]


@njit(cache=True, fastmath=True)
def render_points(xy, footprint, seed, near):
    """Reflectance float64 (N,) at points (N, 2) that lie in the cells."""
    table = near[4]
    value = np.empty(len(xy))
    count = len(table[2]) - 1
    s_all, d_all = np.empty(count), np.empty(count)
    for n in range(len(xy)):
        x, y = xy[n, 0], xy[n, 1]
        cell = cell_of(x, y, near)
        k, e = locate(x, y, cell, table[0], table[1], table[2], table[3], s_all, d_all)
        value[n] = (
            reflectance_of(x, y, footprint, seed, cell, k, e, table, s_all, d_all) if e >= 0 else BUILT_REFLECTANCE
        )
    return value


@njit(cache=True, fastmath=True)
def render_lattice(x0, y0, col_x, col_y, row_x, row_y, height, width, footprint, seed, near, shade):
    """Evaluate a lattice of points (x0, y0) + col * (col_x, col_y) + row * (row_x, row_y).

    Without ``shade`` reflectance is left flat. Returns reflectance, signed kerb distance and obstacle height, each
    float32 (height, width).
    """
    table = near[4]
    value = np.empty((height, width), np.float32)
    kerb = np.empty((height, width), np.float32)
    obstacle = np.zeros((height, width), np.float32)
    count = len(table[2]) - 1
    s_all, d_all = np.empty(count), np.empty(count)
    for r in range(height):
        for c in range(width):
            x, y = _snap(x0 + c * col_x + r * row_x), _snap(y0 + c * col_y + r * row_y)
            cell = cell_of(x, y, near)
            k, e = locate(x, y, cell, table[0], table[1], table[2], table[3], s_all, d_all)
            kerb[r, c] = k
            if e < 0:
                obstacle[r, c] = 6.0
            elif k > 0.35:
                obstacle[r, c] = obstacle_m(k, table[3][e], s_all[e], d_all[e])
            if obstacle[r, c] > 0.0 or not shade:  # nobody sees the ground below a building
                value[r, c] = BUILT_REFLECTANCE
            else:
                value[r, c] = reflectance_of(x, y, footprint, seed, cell, k, e, table, s_all, d_all)
    return value, kerb, obstacle
