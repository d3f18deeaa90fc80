"""A fixed rotation that costs no bytes: it spreads a vector over all of its numbers, so that a few bits each will do.

Signs from a counter, then the Walsh-Hadamard transform; only additions in a fixed order, so it is part of the format.
"""

import numpy as np

from foldmap.types import FloatArray

_GOLDEN = 0x9E3779B97F4A7C15
_AT_ONCE = 32  # rows that stay in the cache
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def turn(rows: FloatArray) -> FloatArray:
    """Rotate rows, float32 (N, D) of any D >= 1.

    A power of two is turned at once. Otherwise the first 2^k numbers are turned and then the last 2^k, 2^k being the
    largest power of two within D: both together reach every number.
    """
    turned = rows.astype(np.float32)
    for part, first in _parts(turned):
        part *= _signs(first, part.shape[1])
        part[:] = _hadamard(part)
    return turned


def turn_back(rows: FloatArray) -> FloatArray:
    """Undo `turn`."""
    turned = rows.astype(np.float32)
    for part, first in reversed(_parts(turned)):
        part[:] = _hadamard(part)
        part *= _signs(first, part.shape[1])
    return turned


def _parts(rows: FloatArray) -> list[tuple[FloatArray, int]]:
    """Views of what is turned one after the other, with where the counter of their signs begins."""
    size = rows.shape[1]
    side = 1 << (size.bit_length() - 1)
    return [(rows[:, :side], 0)] + ([(rows[:, -side:], side)] if side < size else [])


def _signs(first: int, count: int) -> FloatArray:
    """+1 or -1 for each number of a counter (SplitMix64, Steele et al. 2014)."""
    state = (np.arange(first + 1, first + count + 1, dtype=np.uint64)) * np.uint64(_GOLDEN)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_MIX[0])
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_MIX[1])
    state = state ^ (state >> np.uint64(31))
    return np.asarray(1.0 - 2.0 * (state >> np.uint64(63)).astype(np.float32))


def _hadamard(block: FloatArray) -> FloatArray:
    """Orthonormal Walsh-Hadamard transform of rows (N, 2^k); its own inverse."""
    count, side = block.shape
    turned = np.empty((count, side), np.float32)
    for first in range(0, count, _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        values = block[rows].T.copy()  # so that sums run along memory
        half = 1
        while half < side:
            pairs = values.reshape(side // (2 * half), 2, half, -1)
            less = pairs[:, 0] - pairs[:, 1]
            pairs[:, 0] += pairs[:, 1]
            pairs[:, 1] = less
            half *= 2
        np.multiply(values.T, np.float32(side**-0.5), out=turned[rows])
    return turned
