"""Turn images about their centre by many angles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np

from foldmap.runtime.threads import share_out
from foldmap.types import DoubleArray, FloatArray

Headings = Sequence[float] | DoubleArray


def turned_images(image_CHW: FloatArray, headings_rad: Headings, out_shape: tuple[int, int]) -> FloatArray:
    """Turn an image counter-clockwise about its centre, bilinear, zero outside: (T, C, rows, columns).

    As seen on the map: at +90 degrees what lay east (right) lies north (up).
    """
    turner, angles = Turner(image_CHW), np.asarray(headings_rad, dtype=np.float64)
    out = np.empty((len(angles), len(image_CHW), *out_shape), np.float32)

    def some(turns: range) -> None:
        for t in turns:
            turner.into(float(angles[t]), out[t], out_shape)

    share_out(some, len(angles))
    return out


class Turner:
    """Turns one image about its centre again and again, into memory that is given; threads may share one."""

    def __init__(self, image_CHW: FloatArray) -> None:
        # One pixel of zeros around spares the kernel every bounds check but one per row.
        padded = np.pad(image_CHW.astype(np.float32, copy=False), ((0, 0), (1, 1), (1, 1)))
        self._in_pairs = len(padded) == 2  # side by side, both channels are one access
        self._source = np.ascontiguousarray(padded.transpose(1, 2, 0)) if self._in_pairs else padded

    def into(self, heading_rad: float, out_CHW: FloatArray, shape: tuple[int, int]) -> None:
        """Turn the image as `turned_images` does, into the first rows and columns of a contiguous image."""
        (_turn_pair if self._in_pairs else _turn)(self._source, heading_rad, out_CHW, *shape)


@numba.njit(nogil=True, cache=True)
def _span(start: float, step: float, limit: float, first: int, last: int) -> tuple[int, int]:
    """Narrow [first, last) to the columns c with 0 <= start + c * step <= limit."""
    if abs(step) < 1e-12:
        if start < 0.0 or start > limit:
            return 0, 0
        return first, last
    a, b = -start / step, (limit - start) / step
    low, high = min(a, b), max(a, b)
    return max(first, math.ceil(low)), min(last, math.floor(high) + 1)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _line(
    row: int, cos: float, sin: float, tall: int, wide: int, rows: int, columns: int
) -> tuple[float, float, int, int]:
    """Where an output row begins in the source (column, row), and its first and end column inside of it."""
    dx, dv = -(columns - 1) / 2, row - (rows - 1) / 2
    u0 = (wide - 1) / 2 + cos * dx - sin * dv
    v0 = (tall - 1) / 2 + sin * dx + cos * dv
    first, last = _span(u0, cos, wide - 1.0 - 1e-4, 0, columns)
    first, last = _span(v0, sin, tall - 1.0 - 1e-4, first, last)
    return u0, v0, first, max(first, last)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _turn(padded: FloatArray, angle: float, out: FloatArray, rows: int, columns: int) -> None:
    """Fill out (C, >= rows, >= columns) from padded (C, H + 2, W + 2), whose rim is zero."""
    channels, tall, wide = padded.shape
    flat = padded.reshape(channels, tall * wide)
    cos, sin = math.cos(angle), math.sin(angle)
    for row in range(rows):
        u0, v0, first, last = _line(row, cos, sin, tall, wide, rows, columns)
        for c in range(channels):
            source, line = flat[c], out[c, row]
            line[:first] = 0.0
            line[last:columns] = 0.0
            for col in range(first, last):
                u = np.float32(u0 + cos * col)
                v = np.float32(v0 + sin * col)
                iu, iv = np.int32(u), np.int32(v)
                fu, fv = u - np.float32(iu), v - np.float32(iv)
                k = iv * np.int32(wide) + iu
                upper = source[k] + fu * (source[k + 1] - source[k])
                lower = source[k + wide] + fu * (source[k + wide + 1] - source[k + wide])
                line[col] = upper + fv * (lower - upper)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _turn_pair(padded: FloatArray, angle: float, out: FloatArray, rows: int, columns: int) -> None:
    """Do as `_turn` for two channels that lie side by side in padded (H + 2, W + 2, 2): 0.6 of its time."""
    tall, wide = padded.shape[:2]
    flat = padded.reshape(tall * wide, 2)
    cos, sin = math.cos(angle), math.sin(angle)
    for row in range(rows):
        u0, v0, first, last = _line(row, cos, sin, tall, wide, rows, columns)
        line0, line1 = out[0, row], out[1, row]
        out[:2, row, :first] = 0.0
        out[:2, row, last:columns] = 0.0
        for col in range(first, last):
            u = np.float32(u0 + cos * col)
            v = np.float32(v0 + sin * col)
            iu, iv = np.int32(u), np.int32(v)
            fu, fv = u - np.float32(iu), v - np.float32(iv)
            k = iv * np.int32(wide) + iu
            upper = flat[k, 0] + fu * (flat[k + 1, 0] - flat[k, 0])
            lower = flat[k + wide, 0] + fu * (flat[k + wide + 1, 0] - flat[k + wide, 0])
            line0[col] = upper + fv * (lower - upper)
            upper = flat[k, 1] + fu * (flat[k + 1, 1] - flat[k, 1])
            lower = flat[k + wide, 1] + fu * (flat[k + wide + 1, 1] - flat[k + wide, 1])
            line1[col] = upper + fv * (lower - upper)
