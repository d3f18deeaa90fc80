"""Which pixels of a north-up window a turned crop reads: in strips, so that the window's corners need not be made."""

from __future__ import annotations

import math

import numpy as np

STRIP_PX = 128
Box = tuple[int, int, int, int]  # rows [row, row_end), columns [column, column_end)
CUBIC_REACH_PX = 3


def strips_of_turned(
    window_shape: tuple[int, int], centre_rc: tuple[float, float], heading_rad: float, crop_shape: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    """Cover what `foldmap.lidar.match.warp.turned_crop` reads of a window; the crop's centre is fractional.

    The boxes (row, row_end, column, column_end) are disjoint, inside the window, from north to south.
    """
    half_down, half_right = (np.array(crop_shape) - 1) / 2
    cos, sin = math.cos(heading_rad), math.sin(heading_rad)
    right = np.array([-half_right, half_right, half_right, -half_right])
    down = np.array([-half_down, -half_down, half_down, half_down])
    rows, columns = centre_rc[0] - sin * right + cos * down, centre_rc[1] + cos * right + sin * down
    first = max(math.floor(rows.min()) - CUBIC_REACH_PX, 0)
    last = min(math.ceil(rows.max()) + CUBIC_REACH_PX + 1, window_shape[0])
    boxes = []
    for row in range(first, last, STRIP_PX):
        end = min(row + STRIP_PX, last)
        low, high = _extent(rows, columns, row - CUBIC_REACH_PX, end - 1 + CUBIC_REACH_PX)
        if low > high:  # the strip lies beyond the turned crop's last corner
            continue
        column = max(math.floor(low) - CUBIC_REACH_PX, 0)
        column_end = min(math.ceil(high) + CUBIC_REACH_PX + 1, window_shape[1])
        if column < column_end:
            boxes.append((row, end, column, column_end))
    return boxes


def _extent(rows: np.ndarray, columns: np.ndarray, top: float, bottom: float) -> tuple[float, float]:
    """Least and largest column of a convex polygon between two rows; (inf, -inf) where it has none."""
    low, high = math.inf, -math.inf
    for k in range(len(rows)):
        (r0, c0), (r1, c1) = (rows[k - 1], columns[k - 1]), (rows[k], columns[k])
        if max(r0, r1) < top or min(r0, r1) > bottom:
            continue
        for edge in (top, bottom):
            inside = min(max(edge, min(r0, r1)), max(r0, r1))
            share = (inside - r0) / (r1 - r0) if abs(r1 - r0) > 1e-9 else 0.0
            for column in (c0 + share * (c1 - c0),) if abs(r1 - r0) > 1e-9 else (c0, c1):
                low, high = min(low, column), max(high, column)
    return low, high
