"""Bring any sensor's intensity to one scale: subtract the local mean, divide by the local spread, honour the mask.

Lidars differ in gain, offset and response curve, and wet asphalt differs from dry; what stays is the contrast of paint,
rails and kerbs with the ground around them. Everything here is local except one number a map, `global_spread`, which
keeps plain asphalt from being amplified to noise; it is stored with the folded map so that tiles fold independently.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from foldmap.errors import MapInputError
from foldmap.lidar.source import RasterMap
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray

CELL_M = 0.4  # statistics are kept at this spacing, at least one pixel
WINDOW_CELLS = 9  # 3.6 m: wider than any paint mark, narrower than a change of pavement
SPREAD_FLOOR = 0.7  # of the global spread
CLIP = 4.0
_EPSILON = 1e-6


def cell_px(resolution_m: float) -> int:
    """Pixels of a statistics cell; 8 at 5 cm."""
    return max(1, round(CELL_M / resolution_m))


def normalize(intensity: FloatArray, observed: BoolArray, resolution_m: float, global_spread: float) -> FloatArray:
    """Make the networks' input (2, H, W): normalized intensity in +-CLIP, zero where unobserved; and the mask.

    Intensity (H, W) is linear, in any unit; what is not observed has no influence, NaN included. The global spread is
    of the same unit; see `spread_of`.
    """
    cell = cell_px(resolution_m)
    mean, spread = _cell_moments(intensity, observed, cell)
    return _scaled(intensity, observed, mean, spread, cell, global_spread)


def spread_of(intensity: FloatArray, observed: BoolArray, resolution_m: float) -> float:
    """The map's global spread: the median over cells of the local standard deviation; 0 when nothing was observed."""
    cell = cell_px(resolution_m)
    return _median(_cell_moments(intensity, observed, cell)[1], observed, cell)


def network_input(raster: RasterMap, global_spread: float) -> FloatArray:
    """Normalize a raster: (2, H, W); a MapInputError where the global spread is no positive number."""
    if raster.observed.any() and not (np.isfinite(global_spread) and global_spread >= 0):
        raise MapInputError(f"the map's intensity spread is {global_spread}", "check its intensity band")
    return normalize(raster.intensity, raster.observed, raster.grid.resolution_m, global_spread)


def observation_input(intensity: FloatArray, observed: BoolArray, resolution_m: float) -> FloatArray:
    """Normalize an image by its own spread: (2, H, W)."""
    cell = cell_px(resolution_m)
    mean, spread = _cell_moments(intensity, observed, cell)
    return _scaled(intensity, observed, mean, spread, cell, _median(spread, observed, cell))


def _cell_moments(intensity: FloatArray, observed: BoolArray, cell: int) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of observed pixels in the window around each cell."""
    sums = np.zeros((3, *(-(-side // cell) for side in observed.shape)))
    _add_up(np.asarray(intensity, np.float32), observed, cell, sums)
    for axis in (1, 2):
        around = [(0, 0)] * 3
        around[axis] = (WINDOW_CELLS // 2 + 1, WINDOW_CELLS // 2)
        summed = np.cumsum(np.pad(sums, around), axis=axis)
        ends = np.arange(WINDOW_CELLS, summed.shape[axis])
        sums = summed.take(ends, axis) - summed.take(ends - WINDOW_CELLS, axis)
    count = np.maximum(sums[0], 1)
    mean = sums[1] / count
    deviation = np.sqrt(np.maximum(sums[2] / count - mean**2, 0))
    return mean.astype(np.float32), deviation.astype(np.float32)


def _median(spread: FloatArray, observed: BoolArray, cell: int) -> float:
    """The (lower) median of the spread between cells at each cell's first pixel, where that is observed."""
    if not observed.any():
        return 0.0
    step = cell if observed[::cell, ::cell].any() else 1
    rows, columns = (np.arange(0, side, step) for side in observed.shape)
    above, below, down = (of[:, None] for of in _neighbours(rows, cell, spread.shape[0]))
    left, right, across = _neighbours(columns, cell, spread.shape[1])
    upper = spread[above, left] * (1 - across) + spread[above, right] * across
    lower = spread[below, left] * (1 - across) + spread[below, right] * across
    sampled = (upper * (1 - down) + lower * down)[observed[::step, ::step]]
    return float(np.partition(sampled, (sampled.size - 1) // 2)[(sampled.size - 1) // 2])


def _scaled(
    intensity: FloatArray, observed: BoolArray, mean: FloatArray, spread: FloatArray, cell: int, global_spread: float
) -> FloatArray:
    """Subtract the mean and divide by the spread, both bilinear between cells' centres and flat beyond the outer."""
    out = np.empty((2, *observed.shape), np.float32)
    left, right, across = _neighbours(np.arange(observed.shape[1]), cell, mean.shape[1])
    _normalized(
        np.asarray(intensity, np.float32),
        observed,
        np.stack([mean, spread]),
        _neighbours(np.arange(observed.shape[0]), cell, mean.shape[0]),
        (left, right, across),
        np.float32(SPREAD_FLOOR * global_spread),
        out,
    )
    return out


def _neighbours(pixels: IntArray, cell: int, cells: int) -> tuple[IntArray, IntArray, FloatArray]:
    """The cells whose centres lie before and behind each pixel of a row, and the share of the latter."""
    at = np.clip((pixels + 0.5) / cell - 0.5, 0, cells - 1)
    first = at.astype(np.int64)
    return first, np.minimum(first + 1, cells - 1), (at - first).astype(np.float32)


@njit(nogil=True, cache=True)
def _add_up(intensity: FloatArray, observed: BoolArray, cell: int, sums: DoubleArray) -> None:
    """Count, sum and sum of squares of each cell's observed pixels."""
    for row in range(observed.shape[0]):
        for column in range(observed.shape[1]):
            if observed[row, column]:
                value = np.float64(intensity[row, column])
                at = row // cell, column // cell
                sums[0][at] += 1.0
                sums[1][at] += value
                sums[2][at] += value * value


@njit(nogil=True, cache=True)
def _normalized(
    intensity: FloatArray,
    observed: BoolArray,
    moments: FloatArray,
    rows: tuple[IntArray, IntArray, FloatArray],
    columns: tuple[IntArray, IntArray, FloatArray],
    floor: np.float32,
    out: FloatArray,
) -> None:
    line = np.empty((2, moments.shape[2]), np.float32)
    for row in range(observed.shape[0]):
        down = rows[2][row]
        above, below = rows[0][row], rows[1][row]
        for moment in range(2):
            for column in range(line.shape[1]):
                high, low = moments[moment, above, column], moments[moment, below, column]
                line[moment, column] = high * (np.float32(1) - down) + low * down
        for column in range(observed.shape[1]):
            if not observed[row, column]:
                out[0, row, column] = out[1, row, column] = np.float32(0)
                continue
            left, right, across = columns[0][column], columns[1][column], columns[2][column]
            mean = line[0, left] + across * (line[0, right] - line[0, left])
            spread = line[1, left] + across * (line[1, right] - line[1, left])
            value = (intensity[row, column] - mean) / (max(spread, floor) + np.float32(_EPSILON))
            out[0, row, column] = min(max(value, np.float32(-CLIP)), np.float32(CLIP))
            out[1, row, column] = np.float32(1)
