"""Dead leaves: pictures of overlapping textured shapes of all sizes, whose gradients resemble those of photographs.

Occlusion, sizes that fall off as a power law and noise of all wavelengths give natural statistics (Lee, Mumford and
Huang, "Occlusion models for natural images", IJCV 2001).
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, allow-any-generics
# (compiled loops: numba infers their types)
from __future__ import annotations

import math

import numpy as np
from numba import njit

from foldmap.town.hashing import unit_hash, value_noise
from foldmap.types import DoubleArray, FloatArray

(
    KIND,
    X,
    Y,
    R,
    ASPECT,
    COS,
    SIN,
    TONE,
    SLOPE_X,
    SLOPE_Y,
    NOISE,
    WAVE,
    PATTERN,
    PERIOD,
    CONTRAST,
    SOFT,
    SHADOW,
    SEED,
) = range(18)
_COLUMNS = 18
_LARGEST_PX = 320.0
_SKIRT_PX = 14.0


def dead_leaves(rng: np.random.Generator, size_px: int = 900) -> FloatArray:
    """Paint one picture.

    Args:
        rng: source of all randomness.
        size_px: side.

    Returns:
        float32 (size_px, size_px), radiance about 0 to 1.
    """
    smallest = math.exp(rng.uniform(math.log(2.5), math.log(26.0)))
    count = int(size_px * size_px * 0.05 / smallest ** rng.uniform(1.1, 1.8))
    canvas: FloatArray = _paint(_shapes(rng, count, size_px, smallest), size_px, int(rng.integers(1 << 28)))
    return canvas


def _shapes(rng: np.random.Generator, count: int, size_px: int, smallest_px: float) -> DoubleArray:
    """Random shapes (count, columns), front first; a backdrop closes the picture."""
    rows = np.zeros((count, _COLUMNS))
    power = rng.uniform(0.8, 2.0)  # of the cumulative distribution of radii
    low, high = smallest_px**-power, _LARGEST_PX**-power
    bright, dark = (float(k) for k in rng.uniform(0.8, 2.5, 2))  # how tones are distributed
    smoothness = rng.uniform(0.0, 1.0)  # a tidy room or a rough wall
    rows[:, KIND] = rng.choice(4, count, p=rng.dirichlet([0.5, 4.0, 0.6, 1.0]))
    rows[:, X], rows[:, Y] = rng.uniform(-40, size_px + 40, (2, count))
    rows[:, R] = (low + rng.random(count) * (high - low)) ** (-1.0 / power)
    rows[:, ASPECT] = np.exp(-np.abs(rng.normal(0.0, rng.uniform(0.6, 1.8), count)))
    upright = rng.random(count) < rng.uniform(0.0, 0.9)
    angle = np.where(upright, rng.choice(4, count) * (math.pi / 2) + rng.normal(0, 0.02), rng.uniform(0, 7, count))
    rows[:, COS], rows[:, SIN] = np.cos(angle), np.sin(angle)
    rows[:, TONE] = np.clip(rng.beta(bright, dark, count), 0.02, 0.98)
    rows[:, SLOPE_X : SLOPE_Y + 1] = rng.normal(0, 0.25, (count, 2)) * rng.random((count, 1))
    rows[:, NOISE] = np.exp(rng.normal(-3.0 - 2.0 * smoothness, 0.8, count))
    rows[:, WAVE] = np.exp(rng.uniform(math.log(3.0), math.log(40.0), count))
    plain = rng.uniform(0.5, 0.9)
    rows[:, PATTERN] = np.where(rng.random(count) < plain, 0, rng.integers(1, 6, count))
    rows[:, PERIOD] = np.exp(rng.uniform(math.log(5.0), math.log(45.0), count))
    rows[:, CONTRAST] = rng.normal(0, 0.25, count)
    rows[:, SOFT] = np.where(rng.random(count) < 0.7, 1.0, np.exp(rng.uniform(0.0, 2.2, count)))
    rows[:, SHADOW] = np.where(rng.random(count) < rng.uniform(0.1, 0.7), rng.uniform(0.1, 0.6, count), 0.0)
    rows[:, SEED] = rng.integers(1 << 28, size=count)
    return rows


@njit(cache=True, fastmath=True)
def _distance(row, u, v):
    """Signed distance, about, to a shape's outline in its own axes; negative inside."""
    r, kind = row[R], int(row[KIND])
    if kind == 0:
        k = math.sqrt(u * u + (v / row[ASPECT]) ** 2)
        return (k - r) * (row[ASPECT] if abs(v) > abs(u) * row[ASPECT] else 1.0)
    if kind == 1:
        return max(abs(u) - r, abs(v) - r * row[ASPECT])
    if kind == 2:  # a ragged blob
        turn = math.atan2(v, u)
        seed = int(row[SEED])
        wobble = value_noise(2.0 * math.cos(turn) + 7.0, 2.0 * math.sin(turn), seed)
        wobble += 0.5 * value_noise(6.0 * math.cos(turn), 6.0 * math.sin(turn) + 3.0, seed)
        return math.sqrt(u * u + v * v) - r * (0.7 + 0.3 * wobble)
    # a wedge: three half planes
    return max(max(-u - 0.6 * r, 0.5 * u + 0.87 * row[ASPECT] * v - 0.6 * r), 0.5 * u - 0.87 * v - 0.6 * r)


@njit(cache=True, fastmath=True)
def _ramp(value):
    """A step at 0, one pixel wide."""
    return min(max(0.5 + value, 0.0), 1.0)


@njit(cache=True, fastmath=True)
def _pattern(row, u, v):
    """What is printed on a shape, -0.5 to 0.5: stripes, tiles, bricks, characters or speckles."""
    kind, period, seed = int(row[PATTERN]), row[PERIOD], int(row[SEED])
    a, b = u / period, v / period
    if kind == 1:
        within = abs(a - math.floor(a) - 0.5) * period
        return _ramp(within - 0.25 * period) - 0.5
    if kind == 2:
        i, j = math.floor(a), math.floor(b)
        edge = min(min(a - i, i + 1 - a), min(b - j, j + 1 - b)) * period
        return (unit_hash(int(i), int(j), seed) - 0.5) * _ramp(edge - 0.5) - 0.3 * (1.0 - _ramp(edge - 1.0))
    if kind == 3:
        j = math.floor(2.5 * b)
        i = math.floor(a + 0.5 * (j % 2))
        edge = min(min(a + 0.5 * (j % 2) - i, i + 1 - a - 0.5 * (j % 2)), min(2.5 * b - j, j + 1 - 2.5 * b) / 2.5)
        return (0.6 * unit_hash(int(i), int(j), seed) - 0.3) * _ramp(edge * period - 0.6) + 0.4 * (
            _ramp(edge * period - 0.6) - 1.0
        )
    if kind == 4:  # characters: bars chosen in cells of a line
        line = math.floor(b)
        i = math.floor(a * 1.6)
        if unit_hash(int(i), int(line), seed + 1) < 0.15:
            return 0.5
        x, y = (a * 1.6 - i) * period / 1.6, (b - line) * period
        best = 1e9
        for k in range(3):
            x0 = (0.15 + 0.7 * unit_hash(int(i) * 5 + k, int(line), seed + 2)) * period / 1.6
            y0 = (0.15 + 0.6 * unit_hash(int(i) * 5 + k, int(line), seed + 3)) * period
            if unit_hash(int(i) * 5 + k, int(line), seed + 4) < 0.5:
                away = max(abs(x - x0), abs(y - 0.45 * period) - 0.3 * period)
            else:
                away = max(abs(y - y0), abs(x - 0.3 * period) - 0.22 * period)
            best = min(best, away)
        return 0.5 - _ramp(0.07 * period + 0.3 - best)
    i, j = math.floor(a * 2), math.floor(b * 2)
    x = (a * 2 - i - 0.25 - 0.5 * unit_hash(int(i), int(j), seed)) * 0.5 * period
    y = (b * 2 - j - 0.25 - 0.5 * unit_hash(int(i), int(j), seed + 1)) * 0.5 * period
    size = 0.3 * period * unit_hash(int(i), int(j), seed + 2) ** 2
    return _ramp(size - math.sqrt(x * x + y * y)) * (unit_hash(int(i), int(j), seed + 3) - 0.5) * 2.0


@njit(cache=True, fastmath=True)
def _radiance(row, u, v, x, y):
    """Of a shape at a point."""
    value = row[TONE] + (row[SLOPE_X] * u + row[SLOPE_Y] * v) / max(row[R], 8.0)
    if row[PATTERN] > 0 and row[R] > 0.7 * row[PERIOD]:
        value += row[CONTRAST] * _pattern(row, u, v)
    wave, amplitude, seed = row[WAVE], row[NOISE], int(row[SEED])
    while wave > 1.6:
        value += amplitude * value_noise(x / wave, y / wave + 0.3 * wave, seed)
        seed += 1
        wave *= 0.45
        amplitude *= 0.62
    return value


@njit(cache=True, fastmath=True)
def _paint(rows, size, seed):
    """Paint front to back, so that what is covered costs nothing."""
    value = np.zeros((size, size), np.float32)
    open_share = np.ones((size, size), np.float32)
    shade = np.ones((size, size), np.float32)
    for n in range(len(rows)):
        row = rows[n]
        reach = row[R] * 1.5 + row[SOFT] + (_SKIRT_PX if row[SHADOW] > 0.0 else 0.0)
        for j in range(max(0, int(row[Y] - reach)), min(size, int(row[Y] + reach) + 2)):
            for i in range(max(0, int(row[X] - reach)), min(size, int(row[X] + reach) + 2)):
                if open_share[j, i] < 0.004:
                    continue
                x, y = i - row[X], j - row[Y]
                u, v = x * row[COS] + y * row[SIN], -x * row[SIN] + y * row[COS]
                away = _distance(row, u, v)
                cover = min(max(0.5 - away / row[SOFT], 0.0), 1.0)
                if cover > 0.0:
                    lit = _radiance(row, u, v, float(i), float(j)) * shade[j, i]
                    value[j, i] += open_share[j, i] * cover * lit
                    open_share[j, i] *= 1.0 - cover
                if row[SHADOW] > 0.0 and 0.0 < away < _SKIRT_PX:
                    near = 1.0 - away / _SKIRT_PX
                    shade[j, i] *= 1.0 - row[SHADOW] * near * near
    for j in range(size):
        for i in range(size):
            if open_share[j, i] > 0.004:
                back = (
                    0.45 + 0.25 * value_noise(i / 150.0, j / 150.0, seed) + 0.08 * value_noise(i / 9.0, j / 9.0, seed)
                )
                value[j, i] += open_share[j, i] * back * shade[j, i]
    return value
