"""Integer vectors and adaptive numbers for the lane graph coder: the same on every machine.

``coder`` is what `foldmap.coding.mixing.code` works on: model, fixed tables, range coder's state, payload.
"""

from __future__ import annotations

import numpy as np

from foldmap.coding.integers import bits
from foldmap.coding.jit import loop
from foldmap.coding.mixing import code, code_even

UNIT = 4096
"""Length of a unit vector in integers."""

_HALF = 1 << 15
LENGTHS = 32
"""Bit lengths that a number's contexts tell apart, 0..31."""

COARSE, FINE = 16, 256
"""Contexts of a number: of its first input, and of its second."""

PER_NUMBER = LENGTHS * (1 + COARSE + FINE) + 9 + 3 * LENGTHS * 4
"""Slots that one kind of number takes."""

_SIGN = LENGTHS * (1 + COARSE + FINE)
_TOP = _SIGN + 9
# numpy's integers: of Python's numba compiles a version of each function a value.
_LIMIT, _SPEED = np.int64(200), np.int64(12)
_INPUTS, _ONE, _FIRST = np.int64(3), np.int64(1), np.int64(0)


@loop
def root(square):  # type: ignore[no-untyped-def]
    """Integer square root, rounded down; exact below 2^62."""
    found = np.int64(np.sqrt(np.float64(square)))
    while found * found > square:
        found -= 1
    while (found + 1) * (found + 1) <= square:
        found += 1
    return found


@loop
def unit(dx, dy):  # type: ignore[no-untyped-def]
    """A direction of length `UNIT`; (0, 0) stays."""
    length = root(dx * dx + dy * dy)
    if length == 0:
        return np.int64(0), np.int64(0)
    return (dx * UNIT) // length, (dy * UNIT) // length


@loop
def into(dx, dy, ux, uy):  # type: ignore[no-untyped-def]
    """Rotate an integer vector into the frame whose x axis is ``(ux, uy)``: one to one, by quarter turns and shears."""
    while not (ux > 0 and abs(uy) <= ux):
        if ux == 0 and uy == 0:
            return dx, dy
        dx, dy = dy, -dx  # a quarter turn clockwise of both
        ux, uy = uy, -ux
    half, full = (uy << 16) // (ux + UNIT), (uy << 16) // UNIT
    dx += (dy * half + _HALF) >> 16
    dy -= (dx * full + _HALF) >> 16
    dx += (dy * half + _HALF) >> 16
    return dx, dy


@loop
def out_of(along, across, ux, uy):  # type: ignore[no-untyped-def]
    """Undo `into`."""
    turns = 0
    while not (ux > 0 and abs(uy) <= ux):
        if ux == 0 and uy == 0:
            return along, across
        ux, uy = uy, -ux
        turns += 1
    half, full = (uy << 16) // (ux + UNIT), (uy << 16) // UNIT
    along -= (across * half + _HALF) >> 16
    across += (along * full + _HALF) >> 16
    along -= (across * half + _HALF) >> 16
    for _ in range(turns):
        along, across = -across, along
    return along, across


@loop
def flag(mode, bit, kind, a, b, c, coder):  # type: ignore[no-untyped-def]
    """A decision of a kind (first slot, weights) in three contexts, each below 64, 512 and 512."""
    base, weights = kind
    scratch = coder[0][3]
    scratch[0] = base + a
    scratch[1] = base + 64 + b
    scratch[2] = base + 576 + c
    return code(mode, np.int64(bit), _INPUTS, 3 * weights, _LIMIT, _SPEED, *coder)


PER_FLAG = 64 + 512 + 512


@loop
def number(mode, value, kind, a, b, sign, coder):  # type: ignore[no-untyped-def]
    """A number of a kind (first slot, weights, signed).

    Its bit length in unary in contexts `a` < 16 and `b` < 256, its sign in `sign` < 9, its bits.
    """
    base, weights, signed = kind
    scratch = coder[0][3]
    length = bits(value)
    k = 0
    while k < LENGTHS - 1:
        scratch[0] = base + k
        scratch[1] = base + (1 + a) * LENGTHS + k
        scratch[2] = base + (1 + COARSE + b) * LENGTHS + k
        if code(mode, np.int64(length > k), _INPUTS, 3 * weights, _LIMIT, _SPEED, *coder) == 0:
            break
        k += 1
    if k == 0:
        return np.int64(0)
    negative = np.int64(value < 0)
    if signed:
        scratch[0] = base + _SIGN + sign
        negative = code(mode, negative, _ONE, _FIRST, _LIMIT, _SPEED, *coder)
    size = np.int64(1)
    for place in range(k - 2, -1, -1):
        bit = (abs(value) >> place) & 1
        if place >= k - 3:
            scratch[0] = base + _TOP + k * 4 + (0 if place == k - 2 else 1 + (size & 1))
            bit = code(mode, bit, _ONE, _FIRST, _LIMIT, _SPEED, *coder)
        else:
            bit = code_even(mode, bit, coder[2], coder[3])
        size = (size << 1) | bit
    return -size if negative else size
