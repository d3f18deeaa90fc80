"""What a lidar reports for a reflectance: compiled, shared by single sweeps and by maps made of many."""

import math

import numpy as np
from numba import njit

from foldmap.town.hashing import grain_normal, unit_hash

BASE = 0.25
"""Reflectance about which the channels' gains turn: that of plain asphalt."""

RANGE_STEP_M, SIGNAL_STEP = 0.1, 1.0 / 512
"""Steps of the tables of range dependence and of the response curve."""


@njit(cache=True, fastmath=True, inline="always")
def answer_one(reflectance, horizontal, channel, kind, previous, tables, index, seed):
    """Intensity of one return; below 0 when the return is lost. ``previous`` is the answer before it in firing order.

    ``tables`` is (range factor, response curve, gain, offset, ripple, [noise, spill, steps, dropout, range noise]).
    """
    factor, curve, gain, offset, ripple, row = tables
    if unit_hash(index, 1, seed) < row[3]:
        return -1.0
    near = factor[min(int(horizontal / RANGE_STEP_M + 0.5), len(factor) - 1)] if kind == 0 else 0.8
    level = min(reflectance * near / SIGNAL_STEP, len(curve) - 1.001)
    k = int(level)
    signal = curve[k] + (level - k) * (curve[k + 1] - curve[k])
    value = BASE + gain[channel] * (signal - BASE) + offset[channel]
    value += ripple[channel, 0] * math.sin(ripple[channel, 1] * horizontal + ripple[channel, 2])
    if previous >= 0.0:
        value += row[1] * (previous - value)
    value += row[0] * grain_normal(index, 7, seed)
    return math.floor(min(max(value, 0.0), 1.0) * row[2] + 0.5) / row[2]


@njit(cache=True, fastmath=True)
def answer_all(horizontal, channel, kind, reflectance, tables, seed):
    """Intensity (N,) of all returns and whether each came back."""
    out = np.zeros(len(horizontal), np.float32)
    back = np.zeros(len(horizontal), np.bool_)
    previous = -1.0
    for n in range(len(horizontal)):
        value = answer_one(reflectance[n], horizontal[n], channel[n], kind[n], previous, tables, n, seed)
        if value >= 0.0:
            out[n], back[n], previous = value, True, value
    return out, back


@njit(cache=True, fastmath=True)
def splat(hits, truth, truth_frame, tables, seed, shift, error, sums, frame):
    """Add one revolution's ground returns to a raster's sums.

    ``hits`` is (xyz, range, channel, kind); ``truth`` holds reflectance; its ``truth_frame`` and the raster's ``frame``
    are (left, top, resolution) of pixel (0, 0)'s centre. ``sums`` float32 (H, W, 2) holds sum and count. ``shift``
    (x, y) displaces the result; ``error`` is that revolution's mistake (x, y, heading, gain, offset) and the sensor's
    (x, y).
    """
    xyz, horizontal, channels, kinds = hits
    rows, cols = truth.shape
    height, width = sums.shape[:2]
    spread = tables[5][4]
    previous = -1.0
    for n in range(len(horizontal)):
        x, y = xyz[n, 0], xyz[n, 1]
        kind = kinds[n]
        if kind == 1 or (kind == 2 and xyz[n, 2] > 0.3):
            continue
        ox, oy = x + shift[0] - frame[0], frame[1] - y - shift[1]
        if ox < -frame[2] or oy < -frame[2] or ox > width * frame[2] or oy > height * frame[2]:
            continue
        stretch = spread * grain_normal(n, 11, seed) / max(horizontal[n], 1.0)
        if kind == 0:
            u, v = (x - truth_frame[0]) / truth_frame[2], (truth_frame[1] - y) / truth_frame[2]
            i, j = math.floor(v), math.floor(u)
            if i < 0 or j < 0 or i >= rows - 1 or j >= cols - 1:
                continue
            v -= i
            u -= j
            reflectance = (1 - v) * ((1 - u) * truth[i, j] + u * truth[i, j + 1])
            reflectance += v * ((1 - u) * truth[i + 1, j] + u * truth[i + 1, j + 1])
        else:
            reflectance = 0.1 + 0.4 * unit_hash(int(x), int(y), seed)
        value = answer_one(reflectance, horizontal[n], channels[n], kind, previous, tables, n, seed)
        if value < 0.0:
            continue
        previous = value
        ox, oy = _believed(x, y, stretch, error)
        c = math.floor((ox + shift[0] - frame[0]) / frame[2] + 0.5)
        r = math.floor((frame[1] - oy - shift[1]) / frame[2] + 0.5)
        if 0 <= r < height and 0 <= c < width:
            value = value * error[3] + error[4]
            sums[r, c, 0] += value
            sums[r, c, 1] += 1.0


@njit(cache=True)
def pile(hits, noise_m, seed, shift, error, sums, frame):
    """Add the heights of one revolution's returns, whatever they hit, to sums of 1, z and z^2: (H, W, 3), float64.

    ``noise_m`` is the standard deviation of a height; the rest is as in `splat`.
    """
    xyz, horizontal = hits[0], hits[1]
    height, width = sums.shape[:2]
    for n in range(len(horizontal)):
        if horizontal[n] < 2.5:
            continue
        ox, oy = _believed(xyz[n, 0], xyz[n, 1], 0.0, error)
        c = math.floor((ox + shift[0] - frame[0]) / frame[2] + 0.5)
        r = math.floor((frame[1] - oy - shift[1]) / frame[2] + 0.5)
        if 0 <= r < height and 0 <= c < width:
            z = xyz[n, 2] + noise_m * grain_normal(n, 13, seed)
            sums[r, c, 0] += 1.0
            sums[r, c, 1] += z
            sums[r, c, 2] += z * z


@njit(cache=True, inline="always")
def _believed(x, y, stretch, error):
    """Where a return at (x, y) is believed to be: ``error`` is (dx, dy, turn, gain, offset, sensor x, sensor y)."""
    px, py = (x - error[5]) * (1.0 + stretch), (y - error[6]) * (1.0 + stretch)
    return error[5] + px - error[2] * py + error[0], error[6] + py + error[2] * px + error[1]
