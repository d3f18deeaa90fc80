"""Which returns of a sweep lie on the ground.

Two passes over one grid. The first walks outwards from the sensor over the lowest return of each cell and accepts a
cell when its height follows from the accepted cells before it, so slopes are climbed and cars are not. The second fits
a plane to the near-ground returns around each cell and keeps the returns close to it; a plane over three cells spans a
kerb, so sidewalks stay ground.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numba import njit

from foldmap.types import AnyArray, BoolArray, DoubleArray, FloatArray, IntArray

_CELL_M = 1.0
_REACH_M = 80.0
_SIDE = 2 * int(_REACH_M / _CELL_M)
_SEED_RADIUS_M = 10.0
_PLANE_RADIUS_M = 20.0
_SELF_RADIUS_M = 2.0
_STEP_M = 0.2
_SLOPE = 0.12
_NEAR_GROUND_M = 0.2
_NEAR_CELLS = 4
_MIN_SEED_CELLS = 6
_FITS_M = ((_SEED_RADIUS_M, 0.6), (_SEED_RADIUS_M, 0.3), (_PLANE_RADIUS_M, 0.4), (_PLANE_RADIUS_M, 0.2))


def ground_mask(
    points_sensor_m: FloatArray, sensor_height_m: float | None = None, tolerance_m: float = 0.12
) -> BoolArray:
    """Find the returns that lie on the ground, at most ``tolerance_m`` from their local plane: bool (N,).

    All False where no ground can be made out; returns beyond 80 m are never ground. The rest as `height_above_ground`.
    """
    return np.asarray(np.abs(height_above_ground(points_sensor_m, sensor_height_m)) <= tolerance_m)


def height_above_ground(points_sensor_m: FloatArray, sensor_height_m: float | None = None) -> FloatArray:
    """Every return's height above the ground around it, float32 (N,) metres along z; NaN where no ground is near.

    Z is up within about ten degrees of the vertical; the sensor's height above the road is estimated where None.
    """
    points = np.ascontiguousarray(points_sensor_m, dtype=np.float32)
    lowest = _lowest_returns(points, _SIDE)
    plane = _seed_plane(lowest, sensor_height_m)
    if plane is None:
        return np.full(len(points), np.nan, np.float32)
    return _above_local_planes(points, _walk_outwards(lowest, plane, _outwards()))


@cache
def _centres_m() -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Where each cell's centre is, x and y, and how far that is from the sensor, (H, W) each."""
    axis = (np.arange(_SIDE) + 0.5 - _SIDE / 2) * _CELL_M
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return x, y, np.hypot(x, y)


@cache
def _outwards() -> IntArray:
    """All cells, the nearest first."""
    axis = np.arange(_SIDE) + 0.5 - _SIDE / 2
    return np.argsort((axis[:, None] ** 2 + axis[None, :] ** 2).ravel(), kind="stable").astype(np.int32)


def ground_plane(points_sensor_m: FloatArray) -> DoubleArray | None:
    """Fit a, b, c (3,) of the ground around the sensor, ``z = a x + b y + c`` in metres; None where there is none."""
    return _seed_plane(_lowest_returns(np.ascontiguousarray(points_sensor_m, dtype=np.float32), _SIDE), None)


def _seed_plane(lowest: FloatArray, sensor_height_m: float | None) -> DoubleArray | None:
    """Fit z = a x + b y + c to the cell minima around the sensor, trimming what stands on the ground."""
    x, y, range_m = _centres_m()
    usable = np.isfinite(lowest) & (range_m > _SELF_RADIUS_M)
    near = usable & (range_m < _SEED_RADIUS_M)
    if near.sum() < _MIN_SEED_CELLS:
        near = usable & (range_m < _PLANE_RADIUS_M)
    if near.sum() < _MIN_SEED_CELLS:
        return None
    level = _densest(lowest[near].astype(np.float64)) if sensor_height_m is None else -sensor_height_m
    plane = np.array([0.0, 0.0, level])
    for radius_m, trim_m in _FITS_M:
        kept = usable & (range_m < radius_m)
        kept &= np.abs(lowest - (plane[0] * x + plane[1] * y + plane[2])) < trim_m
        if kept.sum() < _MIN_SEED_CELLS:
            continue
        design = np.stack([x[kept], y[kept], np.ones(kept.sum())], axis=1)
        plane = np.linalg.lstsq(design, lowest[kept].astype(np.float64), rcond=None)[0]
        if math.hypot(plane[0], plane[1]) > 0.35:
            return None
    return plane


def _densest(values: DoubleArray, width_m: float = 0.4) -> float:
    """Centre of the window of ``width_m`` that holds most values; the lowest of equals."""
    ordered = np.sort(values)
    count = np.searchsorted(ordered, ordered + width_m, side="right") - np.arange(len(ordered))
    first = int(np.argmax(count))
    return float(np.median(ordered[first : first + count[first]]))


@njit(cache=True)
def _cell_of(x: float, y: float, side: int) -> tuple[int, int]:
    return math.floor(y / _CELL_M + side / 2), math.floor(x / _CELL_M + side / 2)


@njit(cache=True)
def _lowest_returns(points: AnyArray, side: int) -> AnyArray:
    lowest = np.full((side, side), np.inf, np.float32)
    for i in range(points.shape[0]):
        row, col = _cell_of(points[i, 0], points[i, 1], side)
        if 0 <= row < side and 0 <= col < side and points[i, 2] < lowest[row, col]:
            lowest[row, col] = points[i, 2]
    return lowest


@njit(cache=True)
def _walk_outwards(lowest: AnyArray, plane: AnyArray, order: AnyArray) -> AnyArray:
    """Ground height per cell, NaN where the lowest return does not follow from the cells nearer to the sensor."""
    side = lowest.shape[0]
    height = np.full((side, side), np.nan, np.float32)
    for flat in order:
        row, col = flat // side, flat % side
        low = lowest[row, col]
        if not math.isfinite(low):
            continue
        x, y = (col + 0.5 - side / 2) * _CELL_M, (row + 0.5 - side / 2) * _CELL_M
        range_m = math.hypot(x, y)
        if range_m < _SEED_RADIUS_M:
            expected, allowed = plane[0] * x + plane[1] * y + plane[2], _STEP_M + 0.02 * range_m
            found = True
        else:
            weight, total, nearest = 0.0, 0.0, 1e9
            for dr in range(-_NEAR_CELLS, _NEAR_CELLS + 1):
                for dc in range(-_NEAR_CELLS, _NEAR_CELLS + 1):
                    r, c = row + dr, col + dc
                    if 0 <= r < side and 0 <= c < side and not math.isnan(height[r, c]):
                        squared = float(dr * dr + dc * dc)
                        weight += 1.0 / squared
                        # The seed plane's slope carries the height across the gap.
                        total += (height[r, c] - plane[0] * dc * _CELL_M - plane[1] * dr * _CELL_M) / squared
                        nearest = min(nearest, math.sqrt(squared) * _CELL_M)
            found = weight > 0
            expected = total / weight if found else 0.0
            allowed = _STEP_M + _SLOPE * (nearest if found else 0.0)
        if found and abs(low - expected) <= allowed:
            height[row, col] = low
    return height


@njit(cache=True)
def _above_local_planes(points: AnyArray, height: AnyArray) -> AnyArray:
    side = height.shape[0]
    sums = np.zeros((side, side, 9))
    count = points.shape[0]
    for i in range(count):
        row, col = _cell_of(points[i, 0], points[i, 1], side)
        if not (0 <= row < side and 0 <= col < side) or math.isnan(height[row, col]):
            continue
        z = points[i, 2]
        if z - height[row, col] > _NEAR_GROUND_M:
            continue
        # Moments about the cell's own centre; a plane is solved over the 3 x 3 cells around it.
        x = points[i, 0] - (col + 0.5 - side / 2) * _CELL_M
        y = points[i, 1] - (row + 0.5 - side / 2) * _CELL_M
        cell = sums[row, col]
        for k, moment in enumerate((1.0, x, y, np.float64(z), x * x, x * y, y * y, x * z, y * z)):
            cell[k] += moment
    planes = _solve_planes(sums)
    above = np.full(count, np.nan, np.float32)
    for i in range(count):
        row, col = _cell_of(points[i, 0], points[i, 1], side)
        if not (0 <= row < side and 0 <= col < side):
            continue
        x = points[i, 0] - (col + 0.5 - side / 2) * _CELL_M
        y = points[i, 1] - (row + 0.5 - side / 2) * _CELL_M
        plane = planes[row, col]
        above[i] = points[i, 2] - (plane[0] * x + plane[1] * y + plane[2])
    return above


@njit(cache=True)
def _solve_planes(sums: AnyArray) -> AnyArray:
    """Least-squares plane around each cell, its slope held by a weak prior so that one ring cannot tilt it."""
    side = sums.shape[0]
    planes = np.full((side, side, 3), np.nan)
    for row in range(1, side - 1):
        for col in range(1, side - 1):
            n = sx = sy = sz = sxx = sxy = syy = sxz = syz = 0.0
            for dr in range(-1, 2):
                for dc in range(-1, 2):
                    m = sums[row + dr, col + dc]
                    if m[0] == 0.0:
                        continue
                    ox, oy = dc * _CELL_M, dr * _CELL_M
                    n += m[0]
                    sx += m[1] + m[0] * ox
                    sy += m[2] + m[0] * oy
                    sz += m[3]
                    sxx += m[4] + 2 * ox * m[1] + m[0] * ox * ox
                    sxy += m[5] + ox * m[2] + oy * m[1] + m[0] * ox * oy
                    syy += m[6] + 2 * oy * m[2] + m[0] * oy * oy
                    sxz += m[7] + ox * m[3]
                    syz += m[8] + oy * m[3]
            if n < 3:
                continue
            mx, my, mz = sx / n, sy / n, sz / n
            vxx, vyy, vxy = sxx / n - mx * mx + 0.02, syy / n - my * my + 0.02, sxy / n - mx * my
            vxz, vyz = sxz / n - mx * mz, syz / n - my * mz
            det = vxx * vyy - vxy * vxy
            a, b = (vyy * vxz - vxy * vyz) / det, (vxx * vyz - vxy * vxz) / det
            if a * a + b * b <= 0.16:
                planes[row, col, 0], planes[row, col, 1], planes[row, col, 2] = a, b, mz - a * mx - b * my
    return planes
