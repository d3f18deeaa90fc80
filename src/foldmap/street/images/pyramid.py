"""Mip pyramids of colour images and area-correct samples of them: what both ways between cameras and ground share.

A sample is the mean over a parallelogram about a point, thin where a surface is seen at a grazing angle: some taps
along its long side, each from the level that its short side asks for (anisotropic trilinear filtering).
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, allow-any-generics
# (compiled loops: numba infers their types)
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from foldmap.types import ByteArray, IntArray

LEVELS = 7
MOST_TAPS = 8


class Pyramid(NamedTuple):
    """An image and its halves.

    `pixels` are uint8 (N, 3) of all levels; `table` int64 (L, 3): first pixel, rows and columns of each level.
    """

    pixels: ByteArray
    table: IntArray


def build_pyramid(image: ByteArray) -> Pyramid:
    """Halve an image, uint8 (H, W, 3), until one side is a pixel or there are `LEVELS` of it."""
    sizes = [image.shape[:2]]
    while len(sizes) < LEVELS and min(sizes[-1]) > 1:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    first = np.cumsum([0] + [rows * columns for rows, columns in sizes])
    pixels = np.empty((int(first[-1]), 3), np.uint8)
    pixels[: first[1]] = image.reshape(-1, 3)
    table = np.array([(start, *size) for start, size in zip(first[:-1], sizes, strict=True)], np.int64)
    for level in range(1, len(table)):
        _halve(pixels, table[level - 1], table[level])
    return Pyramid(pixels, table)


@njit(cache=True)
def _halve(pixels, above, below):
    """Means of 2 x 2 pixels; an odd last row or column is left out, which moves nothing."""
    for r in range(below[1]):
        for c in range(below[2]):
            a = above[0] + 2 * r * above[2] + 2 * c
            b = a + above[2]
            at = below[0] + r * below[2] + c
            for k in range(3):
                total = np.uint32(pixels[a, k]) + pixels[a + 1, k] + pixels[b, k] + pixels[b + 1, k] + np.uint32(2)
                pixels[at, k] = total >> np.uint32(2)


@njit(cache=True, fastmath=True)
def _bilinear(pixels, first, rows, columns, x, y, share, out):
    """Add ``share`` of the colour at (x, y), pixel centres at halves, edges repeated."""
    u = min(max(x - 0.5, 0.0), columns - 1.0)
    v = min(max(y - 0.5, 0.0), rows - 1.0)
    c, r = int(u), int(v)
    du, dv = np.float32(u - c), np.float32(v - r)
    right = 1 if c + 1 < columns else 0
    down = columns if r + 1 < rows else 0
    at = first + r * columns + c
    one = np.float32(1.0)
    wa, wb = share * (one - du) * (one - dv), share * du * (one - dv)
    wc, wd = share * (one - du) * dv, share * du * dv
    for k in range(3):
        out[k] += (
            wa * pixels[at, k]
            + wb * pixels[at + right, k]
            + wc * pixels[at + down, k]
            + wd * pixels[at + down + right, k]
        )


@njit(cache=True, fastmath=True)
def sample(pixels, table, x, y, ax, ay, short, weight, out):
    """Add the mean colour about (x, y), times a weight, to ``out`` float32 (3,).

    The footprint's long side is (ax, ay) at full length, its short side ``short``; px of the full image, first centre
    at 0.5.
    """
    length = math.sqrt(ax * ax + ay * ay)
    narrow = max(short, 1.0)
    taps = max(min(math.ceil(length / narrow), MOST_TAPS), 1)
    detail = math.log2(max(narrow, length / taps))
    low = min(int(detail), len(table) - 1)
    high = min(low + 1, len(table) - 1)
    mix = np.float32(min(max(detail - low, 0.0), 1.0))
    share = np.float32(weight / taps)
    for n in range(taps):
        t = (n + 0.5) / taps - 0.5
        px, py = x + t * ax, y + t * ay
        for k in range(2):
            level = low if k == 0 else high
            part = share * (np.float32(1.0) - mix if k == 0 else mix)
            if part > 0.0:
                shrink = 0.5**level
                _bilinear(
                    pixels, table[level, 0], table[level, 1], table[level, 2], px * shrink, py * shrink, part, out
                )


@njit(cache=True, nogil=True)
def sample_affine(pixels, table, corner, column, row, out):
    """Fill an image (H, W, 3) uint8 whose pixel (r, c) has its centre at ``corner + c * column + r * row``."""
    colour = np.empty(3, np.float32)
    rows_long = row[0] ** 2 + row[1] ** 2 > column[0] ** 2 + column[1] ** 2
    side = row if rows_long else column
    length = math.sqrt(side[0] ** 2 + side[1] ** 2)
    short = abs(column[0] * row[1] - column[1] * row[0]) / max(length, 1e-12)
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            colour[:] = 0.0
            x = corner[0] + c * column[0] + r * row[0]
            y = corner[1] + c * column[1] + r * row[1]
            # a square footprint is what its level averages already: no taps along it
            sample(pixels, table, x, y, 0.0, 0.0, max(short, length), np.float32(1.0), colour)
            for k in range(3):
                out[r, c, k] = np.uint8(min(max(colour[k] + np.float32(0.5), np.float32(0.0)), np.float32(255.0)))
