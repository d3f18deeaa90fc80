"""How much a cell of contrast tells of where one is, in the direction in which the marks around tell least.

The score of a pose is a sum of contrasts under marks; how sharply it peaks is the sum of their second differences. A
stripe's cells bend it across the stripe and not along, so of many stripes and few spots a spot is worth more than its
contrast. What one more mark adds to the logarithm of the determinant of that sum, a (2, 2) matrix, is the trace of the
sum's inverse times its own bend: D-optimal design.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from foldmap.lidar.marks.contrast import box_sums, odd
from foldmap.types import BoolArray, DoubleArray, FloatArray

REACH_M = 6.4
"""Half side of the square whose marks are counted together: about what a vehicle sees."""
_DARKEST, _BRIGHTEST = -2.0, 3.0  # as an observation is clipped
_SOFT = np.array([0.25, 0.5, 0.25], np.float32)
_STEP = 2  # cells between the values of a second difference: finer ones are noise where a map was seen from afar
_PLAIN, _ROUND = 0.05, 0.25  # bend that is there anyhow, and that share of both directions in each: lest noise be told
_MOST = 1.0
_UNIT = 1024  # whole numbers add up alike in any order


def told_by(bright: FloatArray, seen: BoolArray, marks: BoolArray, cell_m: float) -> FloatArray:
    """What a cell tells over what a mark around it does on average, less 1: float32 (H, W), -1 to 1.

    Args:
        bright: contrast of cells (H, W).
        seen: whether there is any.
        marks: those around that have been chosen so far.
        cell_m: side of a cell.
    """
    from scipy.ndimage import convolve1d  # localizing does without

    value = np.where(seen, np.clip(bright, _DARKEST, _BRIGHTEST), 0)
    for axis in (0, 1):
        value = convolve1d(value, _SOFT, axis=axis, mode="constant")
    value, here = np.pad(value, _STEP), np.pad(seen, _STEP)
    height, width = seen.shape

    def moved(image: Any, down: int, right: int) -> Any:
        top, left = _STEP * (1 + down), _STEP * (1 + right)
        return image[top : top + height, left : left + width]

    whole = np.logical_and.reduce([moved(here, i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    across = 2 * moved(value, 0, 0) - moved(value, 0, 1) - moved(value, 0, -1)
    along = 2 * moved(value, 0, 0) - moved(value, 1, 0) - moved(value, -1, 0)
    both = 0.25 * (moved(value, 1, -1) + moved(value, -1, 1) - moved(value, 1, 1) - moved(value, -1, -1))
    bends = [np.rint(np.where(whole, one, 0) * _UNIT).astype(np.int64) for one in (across, along, both)]
    side = odd(2 * REACH_M / cell_m)
    count = np.maximum(box_sums(marks.astype(np.int64), side), 1)
    xx, yy, xy = (box_sums(one * marks, side) / (count * _UNIT) for one in bends)
    plain = _PLAIN + _ROUND * (xx + yy)
    xx, yy = xx + plain, yy + plain
    own_xx, own_yy, own_xy = (one / _UNIT for one in bends)
    told: DoubleArray = 0.5 * (yy * own_xx + xx * own_yy - 2 * xy * own_xy) / np.maximum(xx * yy - xy * xy, 1e-3)
    return np.asarray(np.clip(np.where(whole, told, 0) - 1, -_MOST, _MOST), np.float32)
