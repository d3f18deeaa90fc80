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

_DARKEST, _BRIGHTEST = -2.0, 6.0
_FULL_WEIGHT = 0.3  # of the Gaussian on observed pixels; what is seen through less counts less


def query_image(intensity: FloatArray, observed: BoolArray, resolution_m: float, recipe: MarkRecipe) -> FloatArray:
    """Contrast of an observation, float32 (H, W), clipped, and less where little is observed; 0 where nothing is."""
    values, weight, _ = contrast(intensity, observed, resolution_m, recipe.query_smooth_m, recipe.query_window_m)
    return np.asarray(np.clip(values, _DARKEST, _BRIGHTEST) * np.minimum(weight / _FULL_WEIGHT, 1), np.float32)


@numba.njit(nogil=True, cache=True, fastmath=True)
def window_scores(
    padded: FloatArray, row_N: DoubleArray, col_N: DoubleArray, part_N: IntArray, out: FloatArray
) -> None:
    """Add to out[part] (P, 2 R + 1, 2 R + 1) the window of the image around each point, nearest pixel.

    Row and column are of the padded image; a point whose window is not all inside of it is left out. Shift (R, R) is
    the point itself; a larger row looks further down in the image.
    """
    side = out.shape[1]
    reach = side // 2
    for k in range(len(row_N)):
        top = math.floor(row_N[k] + 0.5) - reach
        left = math.floor(col_N[k] + 0.5) - reach
        if top < 0 or left < 0 or top + side > padded.shape[0] or left + side > padded.shape[1]:
            continue
        into = out[part_N[k]]
        for row in range(side):
            line, source = into[row], padded[top + row]
            for col in range(side):
                line[col] += source[left + col]


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
