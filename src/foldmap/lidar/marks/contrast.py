"""How much brighter the ground is than its surroundings, in their standard deviations: any sensor's, on one scale.

    intensity --Gaussian, observed pixels only--> smooth --minus local mean, by local spread--> contrast

The local spread has a floor, the map's median, lest plain asphalt be amplified to noise.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from foldmap.types import BoolArray, FloatArray, IntArray

_LEAST_WEIGHT = 0.02  # of the Gaussian that must fall on observed pixels
_EPSILON = 1e-6


def gaussian_taps(sigma_px: float) -> FloatArray:
    """Weights of a Gaussian, float32 (2 r + 1,), cut at three sigmas; one tap where sigma is under a quarter pixel."""
    reach = math.ceil(3 * sigma_px) if sigma_px >= 0.25 else 0
    offset = np.arange(-reach, reach + 1)
    taps = np.exp(-0.5 * (offset / max(sigma_px, _EPSILON)) ** 2)
    return np.asarray(taps / taps.sum(), np.float32)


def smoothed(intensity: FloatArray, observed: BoolArray, sigma_px: float) -> tuple[FloatArray, FloatArray]:
    """Mean of the observed pixels around each pixel, Gaussian weights, and the weight that fell on them, 0 to 1.

    Both float32 (H, W); where the weight is under 2 %, the mean is 0 and so is the weight.
    """
    taps = gaussian_taps(sigma_px)
    mask = observed.astype(np.float32)
    values = np.where(observed, intensity, 0).astype(np.float32)
    return _smoothed(values, mask, taps)


def local_moments(values: FloatArray, weight: FloatArray, window_px: int) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation, float32 (H, W) each, of the pixels of weight in a square window around each pixel.

    The window has an odd side; beyond the image nothing has weight.
    """
    return _moments(np.ascontiguousarray(values, np.float32), weight > 0, window_px // 2)


def contrast(
    intensity: FloatArray,
    observed: BoolArray,
    resolution_m: float,
    smooth_m: float,
    window_m: float,
    floor: float | None = None,
) -> tuple[FloatArray, FloatArray, float]:
    """Local contrast, float32 (H, W), 0 where nothing was observed; the Gaussian's weight; and the floor of the spread.

    Intensity is linear in any unit. The floor is the median spread of this image where None is given.
    """
    values, weight = smoothed(intensity, observed, smooth_m / resolution_m)
    mean, spread = local_moments(values, weight, odd(window_m / resolution_m))
    seen = weight > 0
    if floor is None:
        floor = median_spread(spread, seen)
    result = np.where(seen, (values - mean) / np.maximum(spread, floor + _EPSILON), 0)
    return result.astype(np.float32), weight, floor


def median_spread(spread: FloatArray, seen: BoolArray) -> float:
    """Median over every fourth row and column, which is as good and much quicker; 0 where nothing is seen there."""
    some = spread[::4, ::4][seen[::4, ::4]]
    return float(np.median(some)) if some.size else 0.0


@numba.njit(nogil=True, cache=True)
def box_sums(values: IntArray | BoolArray, side: int) -> IntArray:
    """Sums, int64 (H, W), of whole numbers or truths over the square of an odd side around each pixel."""
    height, width = values.shape
    reach = side // 2
    columns, sums = np.zeros(width, np.int64), np.empty((height, width), np.int64)
    for row in range(-reach, height):
        for col in range(width):
            if row + reach < height:
                columns[col] += values[row + reach, col]
            if row > reach:
                columns[col] -= values[row - reach - 1, col]
        if row < 0:
            continue
        total = np.int64(0)
        for col in range(-reach, width):
            if col + reach < width:
                total += columns[col + reach]
            if col > reach:
                total -= columns[col - reach - 1]
            if col >= 0:
                sums[row, col] = total
    return sums


def odd(length_px: float) -> int:
    """The nearest odd number of pixels, at least 3."""
    return max(3, 2 * round((length_px - 1) / 2) + 1)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _along_rows(source: FloatArray, taps: FloatArray, out: FloatArray) -> None:
    """Convolve each column with taps."""
    height, width = source.shape
    reach = len(taps) // 2
    for row in range(height):
        out[row, :] = 0
        for k in range(max(-reach, -row), min(reach, height - 1 - row) + 1):
            tap, line = taps[k + reach], source[row + k]
            for col in range(width):
                out[row, col] += tap * line[col]


@numba.njit(nogil=True, cache=True, fastmath=True)
def _along_columns(source: FloatArray, taps: FloatArray, out: FloatArray) -> None:
    """Convolve each row with taps."""
    height, width = source.shape
    reach = len(taps) // 2
    padded = np.zeros(width + 2 * reach, np.float32)
    for row in range(height):
        for col in range(width):
            padded[reach + col] = source[row, col]
        line = out[row]
        line[:] = 0
        for k in range(len(taps)):
            tap = taps[k]
            for col in range(width):
                line[col] += tap * padded[col + k]


@numba.njit(nogil=True, cache=True, fastmath=True)
def _smoothed(values: FloatArray, mask: FloatArray, taps: FloatArray) -> tuple[FloatArray, FloatArray]:
    between = np.empty_like(values)
    total, weight = np.empty_like(values), np.empty_like(values)
    _along_columns(values, taps, between)
    _along_rows(between, taps, total)
    _along_columns(mask, taps, between)
    _along_rows(between, taps, weight)
    for row in range(values.shape[0]):
        for col in range(values.shape[1]):
            if weight[row, col] > _LEAST_WEIGHT:
                total[row, col] /= weight[row, col]
            else:
                total[row, col] = 0
                weight[row, col] = 0
    return total, weight


@numba.njit(nogil=True, cache=True)
def _moments(values: FloatArray, seen: BoolArray, reach: int) -> tuple[FloatArray, FloatArray]:
    """Sums over a window, carried down the rows and along them; float64, for differences of large sums."""
    height, width = values.shape
    mean, spread = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    count, first, second = np.zeros(width), np.zeros(width), np.zeros(width)
    for row in range(-reach, height):
        enters, leaves = row + reach, row - reach - 1
        if enters < height:
            for col in range(width):
                if seen[enters, col]:
                    value = np.float64(values[enters, col])
                    count[col] += 1
                    first[col] += value
                    second[col] += value * value
        if leaves >= 0:
            for col in range(width):
                if seen[leaves, col]:
                    value = np.float64(values[leaves, col])
                    count[col] -= 1
                    first[col] -= value
                    second[col] -= value * value
        if row < 0:
            continue
        n, total, squares = 0.0, 0.0, 0.0
        for col in range(-reach, width):
            if col + reach < width:
                n += count[col + reach]
                total += first[col + reach]
                squares += second[col + reach]
            if col - reach - 1 >= 0:
                n -= count[col - reach - 1]
                total -= first[col - reach - 1]
                squares -= second[col - reach - 1]
            if col >= 0 and n > 0:
                middle = total / n
                mean[row, col] = middle
                spread[row, col] = math.sqrt(max(squares / n - middle * middle, 0.0))
    return mean, spread
