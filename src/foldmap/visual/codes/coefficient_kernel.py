"""The walk of the coefficient coder: one function for encoding and decoding, so that they cannot fall out of step.

Row by row, coefficient by coefficient: is it zero, its sign, and its magnitude in unary. The log-odds of a decision are
a sum: what this coefficient's decisions were before, a shift by where the row's first coefficients predict it, and a
shift by how large the row has been so far. The shifts belong to classes that all coefficients share, so that they are
learned from few rows; they follow the outcomes by gradient descent on the cost.

The prediction is a quadratic form in the first coefficients: descriptors lie on a bent surface, which a basis alone
cannot follow. Integers only, so that every machine predicts the same.
"""

import numpy as np

from foldmap.coding.jit import inner_loop, loop, quotients
from foldmap.coding.mixing import code_even, follow, probability_of
from foldmap.coding.rangecoder import DECODE, code_bit, finish, ran_out, start

UNARY = 12  # magnitudes up to this are told in adaptive decisions; what is beyond in even ones
MAX_MAGNITUDE = 16383
MEMORY = np.int64(1000)  # outcomes that a coefficient's chance remembers at most
WIDTHS = 24
LEAN_ONE = 8  # predictions are in 1 / 8 of a quantization step, at most `MAX_LEAN`
MAX_LEAN = 127
LEANS = 10
ACTIVITIES = 12
_LEAN_CLASS = np.searchsorted([1, 2, 3, 4, 6, 8, 12, 16, 28], np.arange(MAX_LEAN + 1), side="right")
"""0..9 for how far a prediction is from zero."""
_MAX_VALUE = 2047
MAX_SQUARE = 4095

# Where the shifts of each kind begin: is it zero, its sign, is it larger than one, larger still.
_ZERO = 0
_SIGN = _ZERO + WIDTHS * LEANS
_TWO = _SIGN + WIDTHS * LEANS
_MORE = _TWO + WIDTHS * 2 * LEANS
_ACTIVE = _MORE + WIDTHS * 2 * LEANS
SHIFTS = _ACTIVE + 3 * ACTIVITIES


@inner_loop
def _decide(mode, bit, slot, lean, turned, activity, rate, model, fixed, state, payload):  # type: ignore[no-untyped-def]
    """Code one decision and learn from it; ``turned`` negates the shift ``lean``; no ``activity`` when negative."""
    chance, seen, shift = model
    squash, stretch, rates = fixed
    lean = np.uintp(lean)
    push = shift[lean] if turned == 0 else -shift[lean]
    if activity >= 0:
        push += shift[np.uintp(activity)]
    probability = probability_of(stretch[np.uintp(chance[np.uintp(slot)] >> 20)] + (push >> 16), squash)
    bit = np.int64(code_bit(mode, bit, probability, state, payload))
    error = ((bit << 16) - probability) * rate
    shift[lean] += error if turned == 0 else -error
    if activity >= 0:
        shift[np.uintp(activity)] += error
    follow(chance, seen, slot, bit, rates, MEMORY)
    return bit


@quotients
def _activity(got, expected):  # type: ignore[no-untyped-def]
    """0..11: how large the row has been over what was expected of it, in quarters.

    Of whole numbers below 2^52, whose quotient in floating point is never rounded up to the next one.
    """
    return min(np.int64(np.float64(4 * got + 2 * 256) / np.float64(expected + 256)), np.int64(ACTIVITIES - 1))


@inner_loop
def _take_in(value, k, square, bend, values, sums):  # type: ignore[no-untyped-def]
    """Add the products of coefficient ``k`` with those before it, and its square, to all predictions after it."""
    values[k] = value
    row = (k * (k + 1)) // 2
    after = sums[k + 1 :]  # counted from zero, and so added many at a time
    plain = np.int32((value * value) >> 10) - np.int32(square)
    last = bend[row + k, k + 1 :]
    for j in range(after.size):
        after[j] += last[j] * plain
    if value == 0:
        return
    # Two at a time: the sums are read and written half as often.
    for i in range(0, k - 1, 2):
        one, two = np.int32((values[i] * value) >> 10), np.int32((values[i + 1] * value) >> 10)
        first, second = bend[row + i, k + 1 :], bend[row + i + 1, k + 1 :]
        for j in range(after.size):
            after[j] += first[j] * one + second[j] * two
    if k % 2:
        one = np.int32((values[k - 1] * value) >> 10)
        first = bend[row + k - 1, k + 1 :]
        for j in range(after.size):
            after[j] += first[j] * one


@loop
def walk(mode, symbols, leans, basis, bend, sums, values, rate, model, fixed, state, payload):  # type: ignore[no-untyped-def]
    """Encode or decode; returns what `rangecoder.finish` does, or -1.

    Arguments in their order:
        mode: ENCODE or DECODE.
        symbols: int16 (N, R), magnitudes at most `MAX_MAGNITUDE`, read or filled.
        leans: int8 (N, R), filled with the predictions in 1 / `LEAN_ONE` of a step.
        basis: int64 (5, R): class of a coefficient's width, its expected magnitude in 1 / 256, its step in 1 / 65536,
            its square in 1 / 1024, and what turns a sum into 1 / `LEAN_ONE` step, in 1 / 2^24.
        bend: int32 (m (m + 1) / 2, R), see `Curvature.bend`.
        sums, values: scratch, int32 (R,) and int64 (m,).
        rate: of the shifts, 256 times the learning rate.
        model: ``(chance, seen, shift)``; changed.
        fixed: see `mixing.tables`.
        state, payload: the range coder's.
    """
    if not start(state, payload, mode == DECODE):
        return -1
    rank = symbols.shape[1]
    products = values.size
    unary = UNARY + 1
    for n in range(symbols.shape[0]):
        got = np.int64(0)
        expected = np.int64(0)
        for j in range(rank):
            sums[j] = 0
        for j in range(rank):
            value = np.int64(symbols[n, j])
            size = abs(value)
            lean = (np.int64(sums[j]) * basis[4, j]) >> 24
            lean = max(np.int64(-MAX_LEAN), min(np.int64(MAX_LEAN), lean))
            leans[n, j] = lean
            away = _LEAN_CLASS[abs(lean)]
            active = _activity(got, expected)
            own = j * (unary + 1)
            cell = basis[0, j] * LEANS + away
            bit = _decide(
                mode, np.int64(size > 0), own, _ZERO + cell, 0, _ACTIVE + active, rate, model, fixed, state, payload
            )
            expected += basis[1, j]
            if bit == 0:
                symbols[n, j] = 0
                if j < products:
                    _take_in(np.int64(0), j, basis[3, j], bend, values, sums)
                continue
            toward = 1 if lean < 0 else 0  # a decision for minus is likelier then
            negative = _decide(
                mode, np.int64(value < 0), own + unary, _SIGN + cell, 1 - toward, -1, rate, model, fixed, state, payload
            )
            cell = (2 * basis[0, j] + (1 if negative == toward else 0)) * LEANS + away
            reached = np.int64(1)
            while reached < UNARY:
                kind = (_TWO if reached == 1 else _MORE) + cell
                activity = _ACTIVE + (1 if reached == 1 else 2) * ACTIVITIES + active
                more = np.int64(size > reached)
                if _decide(mode, more, own + reached, kind, 0, activity, rate, model, fixed, state, payload) == 0:
                    break
                reached += 1
            if reached == UNARY:
                reached += _beyond(mode, size - UNARY, state, payload)
                if reached > MAX_MAGNITUDE:
                    return -1
            value = -reached if negative else reached
            symbols[n, j] = value
            got += 256 * reached
            if j < products:
                held = (value * basis[2, j]) >> 6
                held = max(np.int64(-_MAX_VALUE), min(np.int64(_MAX_VALUE), held))
                _take_in(held, j, basis[3, j], bend, values, sums)
        if ran_out(mode, state, payload):
            return -1
    return finish(mode, state, payload)


@loop
def _beyond(mode, value, state, payload):  # type: ignore[no-untyped-def]
    """Exp-Golomb code of 0.., with at most 15 leading decisions."""
    value += 1
    depth = 0
    while depth < 15:
        bit = code_even(mode, np.int64((value >> (depth + 1)) > 0), state, payload)
        if bit == 0:
            break
        depth += 1
    out = np.int64(1)
    for k in range(depth - 1, -1, -1):
        out = (out << 1) | code_even(mode, (value >> k) & 1, state, payload)
    return out - 1
