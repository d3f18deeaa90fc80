"""What one cell more or less costs the context coder: bits of the decisions around it, before they are coded.

For tiles of one group and one symbol, at the probabilities that the model starts a tile with. An encoder that may
choose what it codes asks this of each choice.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from foldmap.coding import kernel, neighbours
from foldmap.coding.context import ContextModel
from foldmap.errors import ModelError
from foldmap.types import ByteArray, DoubleArray, IntArray

_REACH = neighbours.REACH
_OWN, _PENDING, _FLAGGED = neighbours.OWN, neighbours.PENDING, neighbours.FLAGGED


class Prices(NamedTuple):
    """A coder's trees with the price of each outcome.

    Attributes:
        block: cells a side of a flagged block.
        roots: int32 (2,), of the trees of flags and of activity; below zero a leaf.
        features: int16 (N, 3), what a question looks at.
        children: int16 (N, V), by the value that is found there.
        bits: float64 (B, 2), of a zero and of a one in each leaf.
    """

    block: int
    roots: IntArray
    features: IntArray
    children: IntArray
    bits: DoubleArray


def prices_of(coder: ContextModel) -> Prices:
    """The prices of a coder of one group and one symbol; a ModelError for others."""
    if (coder.groups, coder.symbols) != (1, 1):
        raise ModelError(f"prices of a coder of {coder.groups} groups of {coder.symbols} symbols", "use one of one")
    roots, features, children = coder.trees()
    one = coder.bit_chance.astype(np.float64) / 65536
    return Prices(
        coder.block, roots[: kernel.SYMBOL, 0].copy(), features, children, -np.log2(np.stack([1 - one, one], 1))
    )


@numba.njit(nogil=True, cache=True)
def _at(plane: ByteArray, row: int, col: int) -> int:
    height, width = plane.shape
    return int(plane[row, col]) if 0 <= row < height and 0 <= col < width else 0


@numba.njit(nogil=True, cache=True)
def _pending(cells: ByteArray, row: int, col: int, block: int) -> int:
    """Where in its block a cell is, while the block has shown nothing before it; else the number of its cells."""
    top, left = row - row % block, col - col % block
    for i in range(top, row + 1):
        for j in range(left, min(left + block, cells.shape[1])):
            if i == row and j >= col:
                break
            if cells[i, j]:
                return block * block
    return int((row - top) * block + col - left)


@numba.njit(nogil=True, cache=True)
def _near(cells: ByteArray, row: int, col: int) -> int:
    total = _at(cells, row, col - 1) + _at(cells, row, col - 2)
    for k in range(-2, 3):
        total += _at(cells, row - 1, col + k)
    for k in range(-1, 2):
        total += _at(cells, row - 2, col + k)
    return total


@numba.njit(nogil=True, cache=True)
def cell_bits(cells: ByteArray, flags: ByteArray, row: int, col: int, prices: Prices) -> float:
    """Bits that a cell of a flagged block costs."""
    block = prices.block
    done = block * block
    pending = _pending(cells, row, col, block)
    last = row % block == block - 1 or row == cells.shape[0] - 1
    if last and (col % block == block - 1 or col == cells.shape[1] - 1) and pending != done:
        return 0.0
    node = np.int64(prices.roots[1])
    while node >= 0:
        source, down, right = prices.features[node, 0], prices.features[node, 1], prices.features[node, 2]
        if source == _OWN:
            value = _at(cells, row + down, col + right)
        elif source == _PENDING:
            value = pending
        elif source == _FLAGGED:
            value = _at(flags, row // block + down, col // block + right)
        else:
            value = _near(cells, row, col)
        node = np.int64(prices.children[node, value])
    return float(prices.bits[-1 - node, cells[row, col]])


@numba.njit(nogil=True, cache=True)
def flag_bits(flags: ByteArray, row: int, col: int, prices: Prices) -> float:
    """Bits that the flag of a block costs."""
    node = np.int64(prices.roots[0])
    while node >= 0:
        value = _at(flags, row + prices.features[node, 1], col + prices.features[node, 2])
        node = np.int64(prices.children[node, value])
    return float(prices.bits[-1 - node, flags[row, col]])


@numba.njit(nogil=True, cache=True)
def bits_around(
    cells: ByteArray, flags: ByteArray, top: int, left: int, bottom: int, right: int, blocks: bool, prices: Prices
) -> float:
    """Bits of all decisions that see the cells from (top, left) to (bottom, right), both included.

    Those of flags, and of the cells that look at them, only where a flag may change (``blocks``).
    """
    block = prices.block
    height, width = cells.shape
    total = 0.0
    first_row, first_col = top // block, left // block
    last_row, last_col = bottom // block, right // block
    # cells that look at these: later ones within reach, and the rest of their blocks, which may wait for a first one
    low, high = max(0, min(left - _REACH, first_col * block)), max(right + _REACH, last_col * block + block - 1)
    start, end = top, max(bottom + _REACH, last_row * block + block - 1)
    if blocks:
        for i in range(first_row, min(last_row + _REACH + 1, flags.shape[0])):
            for j in range(max(0, first_col - _REACH), min(last_col + _REACH + 1, flags.shape[1])):
                total += flag_bits(flags, i, j, prices)
        start, end = max(0, (first_row - 1) * block), (last_row + 2) * block - 1
        low, high = max(0, (first_col - 1) * block), (last_col + 2) * block - 1
    for row in range(start, min(end + 1, height)):
        for col in range(low, min(high + 1, width)):
            if flags[row // block, col // block]:
                total += cell_bits(cells, flags, row, col, prices)
    return total


@numba.njit(nogil=True, cache=True)
def flags_of(cells: ByteArray, block: int) -> ByteArray:
    """Which blocks hold anything, uint8 (ceil(H / b), ceil(W / b))."""
    height, width = cells.shape
    flags = np.zeros((-(-height // block), -(-width // block)), np.uint8)
    for row in range(height):
        for col in range(width):
            if cells[row, col]:
                flags[row // block, col // block] = 1
    return flags
