"""The colours of the town as seen from above: ground, roofs, trees, vehicles and their shadows, in compiled loops."""

import math

import numpy as np
from numba import njit

from foldmap.town.ground import LOT_M, obstacle_m
from foldmap.town.hashing import unit_hash, value_noise
from foldmap.town.render import cell_of, locate, reflectance_of
from foldmap.town.tables import SEED, TONE, WALK_L, WALK_R

_ROOFS = np.array(
    [
        [0.38, 0.38, 0.40],
        [0.62, 0.61, 0.58],
        [0.22, 0.22, 0.24],
        [0.43, 0.27, 0.21],
        [0.50, 0.40, 0.32],
        [0.78, 0.78, 0.76],
    ]
)
_BLOCK_M = 19.0
_HEDGE_M = 2.0


@njit(cache=True)
def _roof(u, v, lot, side, seed, height, out):
    """A roof: its own colour, two slopes or flat with some boxes on it."""
    which = int(unit_hash(lot, side, seed) * 6)
    flat = unit_hash(lot, side + 2, seed) < 0.5
    shade = 0.85 + 0.3 * unit_hash(lot, side + 4, seed) + 0.06 * value_noise(u / 0.9, v / 0.9, seed)
    if flat:
        shade += 0.08 * value_noise(u / 5.0, v / 5.0, seed + 1)
        if unit_hash(math.floor(u / 2.7), math.floor(v / 2.7), seed + 2) < 0.07:
            shade *= 1.35
    else:
        shade *= 1.12 if math.floor(v / 6.0) % 2 == 0 else 0.84
        shade *= 1.0 + 0.05 * math.sin(2.0 * math.pi * v / 0.45)
    for k in range(3):
        out[k] = _ROOFS[which, k] * shade
    return height


@njit(cache=True)
def _green(x, y, seed, level, out):
    """Grass or leaves."""
    tone = level * (1.0 + 0.22 * value_noise(x / 1.1, y / 1.1, seed) + 0.2 * value_noise(x / 0.4, y / 0.4, seed + 1))
    dry = 0.5 + 0.5 * value_noise(x / 14.0, y / 14.0, seed + 2)
    out[0], out[1], out[2] = tone * (0.75 + 0.35 * dry), tone * 1.05, tone * 0.6


@njit(cache=True, fastmath=True)
def paint_ground(west, north, resolution, height, width, look, seed, near):
    """Colour float32 (H, W, 3), 0 to 1, and height (H, W) in metres of the ground without trees and vehicles."""
    colour = np.empty((height, width, 3), np.float32)
    up = np.zeros((height, width), np.float32)
    table = near[4]
    streets = table[3]
    count = len(table[2]) - 1
    s_all, d_all = np.empty(count), np.empty(count)
    out = np.empty(3)
    for r in range(height):
        for c in range(width):
            x, y = west + (c + 0.5) * resolution, north - (r + 0.5) * resolution
            cell = cell_of(x, y, near)
            k, e = locate(x, y, cell, table[0], table[1], table[2], table[3], s_all, d_all)
            if e < 0:
                up[r, c] = _block(x, y, look, out)
            else:
                row, s, d = streets[e], s_all[e], d_all[e]
                standing = obstacle_m(k, row, s, d) if k > 0.9 else 0.0
                side = 1 if d > 0 else 2
                local = int(row[SEED])
                if standing > _HEDGE_M:
                    up[r, c] = _roof(s, k, math.floor(s / LOT_M), side, local + look, standing, out)
                elif standing > 0.0:
                    _green(x, y, look + 5, 0.22, out)
                    up[r, c] = standing
                else:
                    value = reflectance_of(x, y, resolution, seed, cell, k, e, table, s_all, d_all)
                    _open(x, y, value, k, s, d, row, side, look, out)
            for n in range(3):
                colour[r, c, n] = min(max(out[n], 0.0), 1.0)
    return colour, up


@njit(cache=True)
def _block(x, y, look, out):
    """What lies inside the blocks, where no street decides: roofs, and yards with grass."""
    i, j = math.floor(x / _BLOCK_M), math.floor(y / _BLOCK_M)
    if unit_hash(i, j, look + 11) < 0.55:
        return _roof(x, y, int(i), int(j) % 97, look + 12, 6.0 + 8.0 * unit_hash(i, j, look + 13), out)
    _green(x, y, look + 6, 0.34, out)
    return 0.0


@njit(cache=True)
def _open(x, y, value, k, s, d, row, side, look, out):
    """Open ground: the reflectance that lidars and cameras share, with a colour."""
    local = int(row[SEED])
    walk = row[WALK_L] if d > 0 else row[WALK_R]
    if k <= 0.0:
        warm = 0.05 * (unit_hash(local, 3, look) - 0.5)
        red, green, blue = 1.0 + warm, 1.0, 1.02 - warm
        yellow = unit_hash(local, 4, look) < 0.4 and abs(d) < 0.7
        if yellow and value > 1.3 * row[TONE]:
            part = min((value / row[TONE] - 1.3) / 0.4, 1.0)
            green, blue = 1.0 - 0.18 * part, 1.02 - 0.6 * part
        gain = 1.25
    elif k < walk:
        red, green, blue, gain = 1.04, 1.0, 0.93, 1.75
    else:
        kind = unit_hash(math.floor(s / 26.0), 41, local + (3 if side == 1 else 4))
        if kind < 0.4:
            _green(x, y, look + 7, 1.1 * value, out)
            return
        if kind < 0.7:
            red, green, blue, gain = 1.12, 1.0, 0.82, 1.7
        else:
            red, green, blue, gain = 1.02, 1.0, 0.96, 1.5
    out[0], out[1], out[2] = gain * value * red, gain * value * green, gain * value * blue


@njit(cache=True)
def add_trees(trees, west, north, resolution, look, colour, up):
    """Paint crowns, rows of (x, y, radius, height)."""
    rows, columns = up.shape
    out = np.empty(3)
    for t in range(len(trees)):
        x0, y0, radius, tall = trees[t]
        for r in range(
            max(int((north - y0 - radius) / resolution), 0), min(int((north - y0 + radius) / resolution) + 1, rows)
        ):
            for c in range(
                max(int((x0 - radius - west) / resolution), 0), min(int((x0 + radius - west) / resolution) + 1, columns)
            ):
                x, y = west + (c + 0.5) * resolution, north - (r + 0.5) * resolution
                bearing = math.atan2(y - y0, x - x0)
                ragged = radius * (
                    0.8 + 0.2 * value_noise(3.0 * math.cos(bearing) + t, 3.0 * math.sin(bearing), look + 21)
                )
                share = math.hypot(x - x0, y - y0) / ragged
                if share >= 1.0:
                    continue
                if value_noise(x / 0.5, y / 0.5, look + 22) > 1.9 - 1.4 * share:  # gaps between the leaves
                    continue
                top = tall * (1.0 - 0.45 * share * share)
                if top < up[r, c]:
                    continue
                _green(x + 0.3 * top, y + 0.3 * top, look + 23, 0.2 + 0.1 * unit_hash(t, 5, look), out)
                up[r, c] = top
                for n in range(3):
                    colour[r, c, n] = min(max(out[n], 0.0), 1.0)


@njit(cache=True)
def add_vehicles(boxes, bodies, west, north, resolution, colour, up):
    """Paint vehicles from above: body, windscreen, rear window, roof; boxes as `traffic.parked_boxes`."""
    rows, columns = up.shape
    for b in range(len(boxes)):
        box = boxes[b]
        reach = math.hypot(box[4], box[5])
        for r in range(
            max(int((north - box[1] - reach) / resolution), 0),
            min(int((north - box[1] + reach) / resolution) + 1, rows),
        ):
            for c in range(
                max(int((box[0] - reach - west) / resolution), 0),
                min(int((box[0] + reach - west) / resolution) + 1, columns),
            ):
                px, py = west + (c + 0.5) * resolution - box[0], north - (r + 0.5) * resolution - box[1]
                along, across = px * box[2] + py * box[3], -px * box[3] + py * box[2]
                u, v = along / box[4], abs(across) / box[5]
                if abs(u) >= 1.0 or v >= 1.0 or abs(u) > 1.25 - 0.35 * v or up[r, c] > box[6]:
                    continue
                glass = (0.22 < u < 0.5 or -0.78 < u < -0.6) and v < 0.85
                for n in range(3):
                    colour[r, c, n] = 0.07 + 0.02 * n if glass else bodies[b, n] * (1.0 if abs(u) < 0.6 else 0.88)
                up[r, c] = box[6] * (1.0 if -0.6 < u < 0.3 else 0.65)


@njit(cache=True, fastmath=True)
def cast_shadows(colour, up, step_x, step_y, slope, steps, keep, tint):
    """Darken what the sun does not reach.

    ``colour`` (H, W, 3) is changed where ``up`` (H, W), in metres, rises above the sun's ray, which climbs by ``slope``
    metres with each step of (step_x, step_y) pixels towards the sun. The share ``keep`` of the light is left there, of
    colour ``tint``.
    """
    rows, columns = up.shape
    for r in range(rows):
        for c in range(columns):
            z, lit = up[r, c], 1.0
            for n in range(1, steps + 1):
                i, j = int(r + n * step_y + 0.5), int(c + n * step_x + 0.5)
                if i < 0 or j < 0 or i >= rows or j >= columns:
                    break
                over = up[i, j] - z - n * slope
                if over > 0.0:
                    lit = min(lit, max(0.0, 1.0 - over / 0.4))
                    if lit == 0.0:
                        break
            for k in range(3):
                colour[r, c, k] *= lit + (1.0 - lit) * keep * tint[k]
