"""Cut a turned crop out of a north-up embedding, by Catmull-Rom interpolation."""

from __future__ import annotations

import math

import numba
import numpy as np

from foldmap.runtime.threads import share_out
from foldmap.types import BoolArray, FloatArray

_BAND_PX = 32


def turned_crop(
    embedding_CHW: FloatArray,
    known_HW: BoolArray,
    centre_rc: tuple[float, float],
    heading_rad: float,
    out_shape: tuple[int, int],
) -> tuple[FloatArray, BoolArray]:
    """Cut a crop whose columns run along a heading: the map as the vehicle would draw it.

    Cubic, because this is the map's one resampling and a bilinear one would cost it detail; on whole pixels and
    multiples of 90 degrees the values are copied. What is known is taken from the nearest pixel. The embedding is
    north-up, the crop's centre fractional (integer = pixel centre), the heading counter-clockwise from east.
    """
    out = np.zeros((len(embedding_CHW), *out_shape), np.float32)
    known = np.zeros(out_shape, np.bool_)
    source = np.ascontiguousarray(embedding_CHW, np.float32)
    cos, sin = math.cos(heading_rad), math.sin(heading_rad)

    def some(bands: range) -> None:
        for first in (band * _BAND_PX for band in bands):
            rows = first, min(first + _BAND_PX, out_shape[0])
            _warp(source, known_HW, centre_rc[0], centre_rc[1], cos, sin, rows, out, known)

    share_out(some, -(-out_shape[0] // _BAND_PX))
    return out, known


@numba.njit(nogil=True, cache=True, fastmath=True)
def _warp(
    source: FloatArray,
    source_known: BoolArray,
    centre_row: float,
    centre_col: float,
    cos: float,
    sin: float,
    band: tuple[int, int],
    out: FloatArray,
    known: BoolArray,
) -> None:
    channels, height, width = source.shape
    rows, columns = known.shape
    wu, wv = np.empty(4, np.float32), np.empty(4, np.float32)
    for row in range(band[0], band[1]):
        down = row - (rows - 1) / 2
        for col in range(columns):
            right = col - (columns - 1) / 2
            # Forward x = right, left y = -down; the map's row grows south.
            u = centre_col + cos * right + sin * down
            v = centre_row - sin * right + cos * down
            nu, nv = math.floor(u + 0.5), math.floor(v + 0.5)
            if nu < 0 or nv < 0 or nu >= width or nv >= height:
                continue
            known[row, col] = source_known[nv, nu]
            iu, iv = math.floor(u), math.floor(v)
            if iu < 1 or iv < 1 or iu + 2 >= width or iv + 2 >= height:
                for c in range(channels):
                    out[c, row, col] = source[c, nv, nu]
                continue
            _weights(u - iu, wu)
            _weights(v - iv, wv)
            for c in range(channels):
                total = np.float32(0.0)
                for k in range(4):
                    line = source[c, iv - 1 + k]
                    part = wu[0] * line[iu - 1] + wu[1] * line[iu] + wu[2] * line[iu + 1] + wu[3] * line[iu + 2]
                    total += wv[k] * part
                out[c, row, col] = total


@numba.njit(nogil=True, cache=True, fastmath=True, inline="always")
def _weights(f: float, weights: FloatArray) -> None:
    """Catmull-Rom weights of the four samples around a fraction."""
    weights[0] = f * (-0.5 + f * (1.0 - 0.5 * f))
    weights[1] = 1.0 + f * f * (-2.5 + 1.5 * f)
    weights[2] = f * (0.5 + f * (2.0 - 1.5 * f))
    weights[3] = f * f * (-0.5 + 0.5 * f)
