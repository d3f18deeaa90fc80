"""Marks as points: the score of a pose is the contrast of what the vehicle sees, summed under the marks of the map.

    contrast image of the observation, vehicle's axes ─┐
    marks near the prior, at each heading ─────────────┴─> scores of all shifts: windows of the image, summed over marks

It is the correlation of the observation with an image of the map that is 1 in the marks and 0 elsewhere; some hundred
marks cost a hundredth of what the images' transforms do. The contrast has no local mean, so nothing is to be taken off.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from foldmap.lidar.marks.choose import MarkRecipe
from foldmap.lidar.marks.contrast import contrast
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray

_DARKEST, _BRIGHTEST = -2.0, 3.0  # brighter says no more of where the paint is, and one reflector outvotes it
_FULL_WEIGHT = 0.3  # of the Gaussian on observed pixels; what is seen through less counts less


def query_image(intensity: FloatArray, observed: BoolArray, resolution_m: float, recipe: MarkRecipe) -> FloatArray:
    """Contrast of an observation, float32 (H, W), clipped, and less where little is observed; 0 where nothing is."""
    values, weight, _ = contrast(intensity, observed, resolution_m, recipe.query_smooth_m, recipe.query_window_m)
    return np.asarray(np.clip(values, _DARKEST, _BRIGHTEST) * np.minimum(weight / _FULL_WEIGHT, 1), np.float32)


@numba.njit(nogil=True, cache=True, fastmath=True)
def window_scores(image: FloatArray, row_N: DoubleArray, col_N: DoubleArray, part_N: IntArray, out: FloatArray) -> None:
    """Add to out[part] (P, 2 R + 1, 2 R + 1) the window of an image (H, W) around each point, nearest pixel.

    Beyond the image all is 0. Shift (R, R) is the point itself; a larger row looks further down in the image.
    """
    height, width = image.shape
    side = out.shape[1]
    reach = side // 2
    for k in range(len(row_N)):
        top = math.floor(row_N[k] + 0.5) - reach
        left = math.floor(col_N[k] + 0.5) - reach
        into = out[part_N[k]]
        first = max(0, -left)
        last = max(first, min(side, width - left))
        for row in range(max(0, -top), min(side, height - top)):
            # Both from 0 on: an index that could be negative would keep the loop from being vectorized.
            line, source = into[row, first:last], image[top + row, left + first :]
            for col in range(len(line)):
                line[col] += source[col]


@numba.njit(nogil=True, cache=True)
def values_at(image: FloatArray, row_N: DoubleArray, col_N: DoubleArray) -> FloatArray:
    """Bilinear values float32 (N,) of an image, 0 beyond it."""
    height, width = image.shape
    result = np.zeros(len(row_N), np.float32)
    for k in range(len(row_N)):
        top, left = math.floor(row_N[k]), math.floor(col_N[k])
        down, right = row_N[k] - top, col_N[k] - left
        total = 0.0
        for i in range(2):
            for j in range(2):
                row, col = top + i, left + j
                if 0 <= row < height and 0 <= col < width:
                    total += (down if i else 1 - down) * (right if j else 1 - right) * image[row, col]
        result[k] = total
    return result
