"""Marks that are worth their bits: contrast against what the coder really asks for each, given its neighbours.

A lone cell costs ten bits, one more cell of a stripe one or two, and a cell that mends a ragged edge less than nothing.
Each cell is taken or left as contrast above the threshold, less the price of its bits, is larger; and small groups are
left together, which no single cell would leave.
"""

from __future__ import annotations

import numba
import numpy as np

from foldmap.coding.pricing import Prices, bits_around, flags_of
from foldmap.types import BoolArray, ByteArray, FloatArray

_PASSES = 4
_MOST_TOGETHER = 12  # cells of a group that may be left together


@numba.njit(nogil=True, cache=True)
def thrifty(marks: BoolArray, lead: FloatArray, price: float, prices: Prices) -> BoolArray:
    """Marks (H, W) of a tile that are worth their bits, from those given.

    Args:
        marks: to begin with.
        lead: contrast above the threshold, (H, W); minus infinity where nothing may be a mark.
        price: contrast that a bit must bring.
        prices: of the coder.
    """
    height, width = marks.shape
    block = prices.block
    cells = marks.astype(np.uint8)
    flags = flags_of(cells, block)
    counts = np.zeros(flags.shape, np.int64)
    for row in range(height):
        for col in range(width):
            counts[row // block, col // block] += cells[row, col]
    for _ in range(_PASSES):
        changed = _leave_groups(cells, flags, counts, lead, price, prices)
        for row in range(height):
            for col in range(width):
                if (cells[row, col] or _beside(cells, row, col)) and np.isfinite(lead[row, col]):
                    changed += _turn(cells, flags, counts, row, col, lead[row, col], price, prices)
        if changed == 0:
            break
    return cells > 0


@numba.njit(nogil=True, cache=True)
def _beside(cells: ByteArray, row: int, col: int) -> bool:
    for i in range(max(row - 1, 0), min(row + 2, cells.shape[0])):
        for j in range(max(col - 1, 0), min(col + 2, cells.shape[1])):
            if cells[i, j]:
                return True
    return False


@numba.njit(nogil=True, cache=True)
def _turn(cells, flags, counts, row, col, lead, price, prices):  # type: ignore[no-untyped-def]
    """Take or leave a cell if that is better; 1 if it was."""
    block = prices.block
    i, j = row // block, col // block
    own = np.int64(cells[row, col])
    flips = counts[i, j] == own
    before = bits_around(cells, flags, row, col, row, col, flips, prices)
    cells[row, col] = 1 - own
    counts[i, j] += 1 - 2 * own
    flags[i, j] = counts[i, j] > 0
    after = bits_around(cells, flags, row, col, row, col, flips, prices)
    if lead * (1 - 2 * own) > price * (after - before):
        return 1
    cells[row, col] = own
    counts[i, j] -= 1 - 2 * own
    flags[i, j] = counts[i, j] > 0
    return 0


@numba.njit(nogil=True, cache=True)
def _leave_groups(cells, flags, counts, lead, price, prices):  # type: ignore[no-untyped-def]
    """Leave small groups of touching cells that are not worth their bits together; how many were left."""
    height, width = cells.shape
    block = prices.block
    met = np.zeros(cells.shape, np.uint8)
    rows, cols = np.empty(height * width, np.int64), np.empty(height * width, np.int64)  # cells of a group
    left = 0
    for row in range(height):
        for col in range(width):
            if cells[row, col] == 0 or met[row, col]:
                continue
            count, at = 1, 0
            rows[0], cols[0] = row, col
            top, bottom, first, last = row, row, col, col  # the first cell met is of the topmost row
            met[row, col] = 1
            while at < count:
                r, c = rows[at], cols[at]
                bottom, first, last = max(bottom, r), min(first, c), max(last, c)
                at += 1
                for i in range(max(r - 1, 0), min(r + 2, height)):
                    for j in range(max(c - 1, 0), min(c + 2, width)):
                        if cells[i, j] and not met[i, j]:
                            met[i, j] = 1
                            rows[count], cols[count] = i, j
                            count += 1
            if count > _MOST_TOGETHER:
                continue
            gain = 0.0
            before = bits_around(cells, flags, top, first, bottom, last, True, prices)
            for k in range(count):
                r, c = rows[k], cols[k]
                gain += lead[r, c]
                cells[r, c] = 0
                counts[r // block, c // block] -= 1
                flags[r // block, c // block] = counts[r // block, c // block] > 0
            after = bits_around(cells, flags, top, first, bottom, last, True, prices)
            if gain < price * (before - after):
                left += 1
                continue
            for k in range(count):
                r, c = rows[k], cols[k]
                cells[r, c] = 1
                counts[r // block, c // block] += 1
                flags[r // block, c // block] = 1
    return left
