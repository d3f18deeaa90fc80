"""A fixed rotation that costs no bytes: it spreads a vector over all of its numbers, so that a few bits each will do.

Signs from a counter, then the Walsh-Hadamard transform; only additions in a fixed order, so it is part of the format.
"""

from __future__ import annotations

import numpy as np

from foldmap.types import FloatArray

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def turn(rows: FloatArray) -> FloatArray:
    """Rotate rows, float32 (N, D) of any D >= 1.

    A power of two is turned at once. Otherwise the first 2^k numbers are turned and then the last 2^k, 2^k being the
    largest power of two within D: both together reach every number.
    """
    turned = rows.astype(np.float32)
    side = _side(turned.shape[1])
    _forward(turned[:, :side], 0)
    if side < turned.shape[1]:
        _forward(turned[:, -side:], side)
    return turned


def turn_back(rows: FloatArray) -> FloatArray:
    """Undo `turn`."""
    turned = rows.astype(np.float32)
    side = _side(turned.shape[1])
    if side < turned.shape[1]:
        _backward(turned[:, -side:], side)
    _backward(turned[:, :side], 0)
    return turned


def _side(dimension: int) -> int:
    return 1 << (dimension.bit_length() - 1)


def _signs(first: int, count: int) -> FloatArray:
    """+1 or -1 for each number of a counter (SplitMix64, Steele et al. 2014)."""
    state = (np.arange(first + 1, first + count + 1, dtype=np.uint64)) * np.uint64(_GOLDEN)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_MIX[0])
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_MIX[1])
    state = state ^ (state >> np.uint64(31))
    signs: FloatArray = 1.0 - 2.0 * (state >> np.uint64(63)).astype(np.float32)
    return signs


def _hadamard(block: FloatArray) -> None:
    """Orthonormal Walsh-Hadamard transform of rows (N, 2^k), in place; its own inverse."""
    count, side = block.shape
    values = np.ascontiguousarray(block)
    half = 1
    while half < side:
        pairs = values.reshape(count, side // (2 * half), 2, half)
        values = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2)
        half *= 2
    block[:] = values.reshape(count, side) * np.float32(side**-0.5)


def _forward(block: FloatArray, first: int) -> None:
    block *= _signs(first, block.shape[1])
    _hadamard(block)


def _backward(block: FloatArray, first: int) -> None:
    _hadamard(block)
    block *= _signs(first, block.shape[1])
