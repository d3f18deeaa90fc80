"""Bring any sensor's intensity to one scale: subtract the local mean, divide by the local spread, honour the mask.

Lidars differ in gain, offset and response curve, and wet asphalt differs from dry; what stays is the contrast of paint,
rails and kerbs with the ground around them. Everything here is local except one number a map, `global_spread`, which
keeps plain asphalt from being amplified to noise; it is stored with the folded map so that tiles fold independently.
"""

from __future__ import annotations

import numpy as np

from foldmap.errors import MapInputError
from foldmap.lidar.source import RasterMap
from foldmap.types import BoolArray, DoubleArray, FloatArray

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
    values = np.where(observed, intensity, np.float32(0)).astype(np.float32, copy=False)
    cell = cell_px(resolution_m)
    mean, spread = (_between_cells(of, cell, values.shape) for of in _cell_moments(values, observed, cell))
    scale = np.maximum(spread, np.float32(SPREAD_FLOOR * global_spread)) + np.float32(_EPSILON)
    normal = np.clip((values - mean) / scale, -CLIP, CLIP) * observed
    return np.stack([normal, observed]).astype(np.float32, copy=False)


def spread_of(intensity: FloatArray, observed: BoolArray, resolution_m: float) -> float:
    """The map's global spread: the median over cells of the local standard deviation; 0 when nothing was observed."""
    if not observed.any():
        return 0.0
    cell = cell_px(resolution_m)
    values = np.where(observed, intensity, np.float32(0)).astype(np.float32, copy=False)
    _, spread = _cell_moments(values, observed, cell)
    spread_HW = _between_cells(spread, cell, values.shape)
    sampled = spread_HW[::cell, ::cell][observed[::cell, ::cell]]
    if sampled.size == 0:
        sampled = spread_HW[observed]
    return float(np.sort(sampled)[(sampled.size - 1) // 2])


def network_input(raster: RasterMap, global_spread: float) -> FloatArray:
    """Normalize a raster: (2, H, W); a MapInputError where the global spread is no positive number."""
    if raster.observed.any() and not (np.isfinite(global_spread) and global_spread >= 0):
        raise MapInputError(f"the map's intensity spread is {global_spread}", "check its intensity band")
    return normalize(raster.intensity, raster.observed, raster.grid.resolution_m, global_spread)


def observation_input(intensity: FloatArray, observed: BoolArray, resolution_m: float) -> FloatArray:
    """Normalize an image by its own spread: (2, H, W)."""
    return normalize(intensity, observed, resolution_m, spread_of(intensity, observed, resolution_m))


def _cell_moments(values: FloatArray, observed: BoolArray, cell: int) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of observed pixels in the window around each cell; values are 0 elsewhere."""
    count, total, squares = (_window_sums(image, cell) for image in (observed, values, values * values))
    count = np.maximum(count, 1)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean.astype(np.float32), deviation.astype(np.float32)


def _window_sums(image: FloatArray | BoolArray, cell: int) -> DoubleArray:
    """Sums of an image's pixels over `WINDOW_CELLS` cells squared, around each cell."""
    sums = image
    for axis in (1, 0):  # along rows first, where numbers lie together
        starts = np.arange(0, image.shape[axis], cell)
        in_cells = np.add.reduceat(sums, starts, axis=axis, dtype=np.float64)
        around = [(0, 0), (0, 0)]
        around[axis] = (WINDOW_CELLS // 2 + 1, WINDOW_CELLS // 2)
        summed = np.cumsum(np.pad(in_cells, around), axis=axis)
        ends, begins = np.s_[WINDOW_CELLS:], np.s_[:-WINDOW_CELLS]
        sums = summed[:, ends] - summed[:, begins] if axis else summed[ends] - summed[begins]
    return np.asarray(sums)


def _between_cells(cells: FloatArray, cell: int, shape: tuple[int, ...]) -> FloatArray:
    """Bilinear values at pixels, with cells' centres as knots, flat beyond the outer ones."""
    if cell == 1:
        return cells
    for axis in (0, 1):
        at = np.clip((np.arange(shape[axis]) + 0.5) / cell - 0.5, 0, cells.shape[axis] - 1)
        first = np.minimum(at.astype(np.int64), max(cells.shape[axis] - 2, 0))
        share = (at - first).astype(np.float32)
        if axis == 0:
            share = share[:, None]
        second = np.minimum(first + 1, cells.shape[axis] - 1)
        cells = cells.take(first, axis) * (1 - share) + cells.take(second, axis) * share
    return cells
