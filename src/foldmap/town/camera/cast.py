"""A camera's rays against the surfaces of a neighbourhood: what each meets first."""

import math

from numba import njit

from foldmap.town.camera.surfaces import BIN_M, HIGH, LOW, X0, X1, Y0, Y1

SKY, GROUND, WALL, TOP, BOX, BOX_TOP, POLE = range(7)
_POLE_M = 5.0


@njit(cache=True, inline="always")
def _meet_box(o, d, box):
    """(t, face) of the first meeting with a vehicle: face 0 ahead or behind, 1 a side, 2 the roof; t 1e9 for none."""
    px, py = o[0] - box[0], o[1] - box[1]
    cos, sin = box[2], box[3]
    oa, ob = px * cos + py * sin, -px * sin + py * cos
    va, vb = d[0] * cos + d[1] * sin, -d[0] * sin + d[1] * cos
    entry, leave, face = -1e9, 1e9, -1
    for k in range(3):
        at, speed, low, high = oa, va, -box[4], box[4]
        if k == 1:
            at, speed, low, high = ob, vb, -box[5], box[5]
        elif k == 2:
            at, speed, low, high = o[2], d[2], 0.0, box[6]
        if abs(speed) < 1e-12:
            if at < low or at > high:
                return 1e9, -1
            continue
        t0, t1 = (low - at) / speed, (high - at) / speed
        if t0 > t1:
            t0, t1 = t1, t0
        if t0 > entry:
            entry, face = t0, k
        leave = min(leave, t1)
    if entry < leave and entry > 1e-4:
        return entry, face
    return 1e9, -1


@njit(cache=True, inline="always")
def _meet_pole(o, d, pole):
    px, py = o[0] - pole[0], o[1] - pole[1]
    a = d[0] * d[0] + d[1] * d[1]
    b = px * d[0] + py * d[1]
    rest = b * b - a * (px * px + py * py - pole[2] * pole[2])
    if rest <= 0.0 or a < 1e-12:
        return 1e9
    t = (-b - math.sqrt(rest)) / a
    if t <= 1e-4 or o[2] + t * d[2] > _POLE_M or o[2] + t * d[2] < 0.0:
        return 1e9
    return t


@njit(cache=True)
def cast(o, d, t_max, surfaces):
    """Follow one ray to the first surface or the ground's level 0, at most to ``t_max`` (counted in lengths of ``d``).

    Returns (kind, t, item, extra): the index of the wall, vehicle or pole; ``extra`` is the position along a wall's
    piece (0 to 1) or a vehicle's face.
    """
    west, south, bins, walls, boxes, poles, first, items = surfaces
    limit, kind = t_max, SKY
    if d[2] < -1e-9 and -o[2] / d[2] < limit:
        limit, kind = -o[2] / d[2], GROUND
    best, item, extra = limit, -1, 0.0
    x, y = (o[0] - west) / BIN_M, (o[1] - south) / BIN_M
    i, j = math.floor(x), math.floor(y)
    step_i, step_j = (1 if d[0] > 0 else -1), (1 if d[1] > 0 else -1)
    grow_i = BIN_M / abs(d[0]) if abs(d[0]) > 1e-12 else 1e18
    grow_j = BIN_M / abs(d[1]) if abs(d[1]) > 1e-12 else 1e18
    next_i = ((i + 1 - x) if d[0] > 0 else (x - i)) * grow_i
    next_j = ((j + 1 - y) if d[1] > 0 else (y - j)) * grow_j
    here, floor_m = 1e-6, 0.0
    while 0 <= i < bins and 0 <= j < bins:
        leave = min(next_i, next_j)
        begin, end = first[j * bins + i], first[j * bins + i + 1]
        for p in range(begin, end):  # vehicles and poles
            n = items[p] - len(walls)
            if n >= len(boxes):
                t = _meet_pole(o, d, poles[n - len(boxes)])
                if t < best:
                    best, kind, item = t, POLE, n - len(boxes)
            elif n >= 0:
                t, face = _meet_box(o, d, boxes[n])
                if t < best:
                    best, kind, item, extra = t, (BOX_TOP if face == 2 else BOX), n, float(face)
        while True:  # walls of this bin, nearest first
            near, which, share = min(leave, best), -1, 0.0
            for p in range(begin, end):
                n = items[p]
                if n >= len(walls):
                    continue
                w = walls[n]
                ex, ey = w[X1] - w[X0], w[Y1] - w[Y0]
                cross = d[0] * ey - d[1] * ex
                if abs(cross) < 1e-15:
                    continue
                px, py = w[X0] - o[0], w[Y0] - o[1]
                t = (px * ey - py * ex) / cross
                if here < t < near:
                    q = (px * d[1] - py * d[0]) / cross
                    if -1e-4 <= q <= 1.0001:
                        near, which, share = t, n, q
            if floor_m > 0.0 and d[2] < 0.0 and o[2] + d[2] * near < floor_m:
                t = (floor_m - o[2]) / d[2]
                if t < best:
                    return TOP, max(t, 1e-6), item, floor_m
            if which < 0:
                break
            w = walls[which]
            into = d[1] * (w[X1] - w[X0]) - d[0] * (w[Y1] - w[Y0]) > 0.0
            if into:
                if o[2] + d[2] * near <= w[HIGH]:
                    return WALL, near, which, share
                floor_m = w[HIGH]
            else:
                floor_m = w[LOW]
            here = near
        if best <= leave or leave >= limit:
            break
        here = max(here, leave)
        if next_i < next_j:
            i += step_i
            next_i += grow_i
        else:
            j += step_j
            next_j += grow_j
    if kind == SKY or (kind == GROUND and not (0 <= i < bins and 0 <= j < bins)):
        return SKY, t_max, -1, 0.0
    return kind, best, item, extra
