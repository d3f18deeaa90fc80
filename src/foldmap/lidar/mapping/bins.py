"""How many points fall into each cell of an image around the vehicle, and the sum of what they hold."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from foldmap.types import AnyArray, DoubleArray, FloatArray, IntArray


def binned(
    points_m: AnyArray, values: FloatArray, shape: tuple[int, int], half_m: tuple[float, float], cell_m: float
) -> tuple[IntArray, DoubleArray]:
    """Count int64 and sum float64 of each cell, (H, W), x to the right and y up; what lies outside is left out.

    Points (N, 2) or more are around the middle, ``half_m`` are half height and half width; the sum is in their order.
    """
    return _binned(points_m[:, 0], points_m[:, 1], values, *shape, *half_m, cell_m)  # type: ignore[no-any-return]


@njit(cache=True)
def _binned(x, y, values, height, width, top, left, cell):  # type: ignore[no-untyped-def]
    count, total = np.zeros((height, width), np.int64), np.zeros((height, width))
    for n in range(len(x)):
        row, col = math.floor((top - y[n]) / cell), math.floor((x[n] + left) / cell)
        if 0 <= row < height and 0 <= col < width:
            count[row, col] += 1
            total[row, col] += values[n]
    return count, total
