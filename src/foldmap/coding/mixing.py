"""Binary decisions predicted by several contexts at once: adaptive probabilities mixed in the logistic domain.

Each of a few contexts keeps a probability that follows its outcomes. Their log-odds ("stretched" probabilities) are
added with weights that are learned online by gradient descent on the coding cost (Mahoney 2005, "Adaptive weighing of
context models for lossless data compression"), and the sum is squashed back to the probability that the range coder
codes with. All of it is 32- and 64-bit integer arithmetic, and the two tables come from correctly rounded decimal
arithmetic, so encoder and decoder agree on every machine. Indices are unsigned where they are many: a signed one is
looked at for counting from the end.
"""

from decimal import Context, Decimal
from functools import cache

import numpy as np

from foldmap.coding.jit import inner_loop, loop
from foldmap.coding.rangecoder import code_bit
from foldmap.types import AnyArray

MAX_INPUTS = 8
LOGIT_ONE = 256  # log-odds are integers in 1 / 256 nat, clipped to +-2047 (a probability of 1 / 2980)
_LIMIT = 2047
_WEIGHT_ONE = 65536
_FLOOR = 16  # in 1 / 2^16: what the least likely outcome is granted
_CEILING = 65536 - _FLOOR


@cache
def tables() -> tuple[AnyArray, AnyArray, AnyArray]:
    """``(squash, stretch, rates)``, int64, shared by all coders; do not write to them.

    squash (4096,): probability in 1 / 2^16 of log-odds ``i - 2048``. stretch (4096,): log-odds of the probability
    ``(i + 0.5) / 4096``. rates (256,): step in 1 / 2^16 of a probability that has seen ``i`` outcomes.
    """
    exact = Context(prec=30)
    squash = np.empty(4096, np.int64)
    for i in range(4096):
        odds = exact.exp(exact.divide(Decimal(2048 - i), Decimal(LOGIT_ONE)))
        squash[i] = int(exact.divide(Decimal(65536), exact.add(Decimal(1), odds)))
    # Integer comparisons only: the first log-odds whose probability is not below the bucket's middle.
    middles = 16 * np.arange(4096) + 8
    stretch = np.clip(np.searchsorted(squash, middles) - 2048, -_LIMIT, _LIMIT).astype(np.int64)
    rates = np.array([65536 * 2 // (2 * i + 3) for i in range(256)], np.int64)
    for table in (squash, stretch, rates):
        table.setflags(write=True)  # numba compiles one version only, for writable arrays
    return squash, stretch, rates


def fresh(slots: int, sets: int, inputs: int) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray]:
    """``(chance, seen, weights, scratch)`` at the start of a stream.

    ``slots`` are the contexts of all inputs together, ``sets`` the weight vectors to select from, and ``inputs``, up to
    8, the contexts mixed for a decision.
    """
    chance = np.full(slots, 1 << 31, np.int64)
    seen = np.zeros(slots, np.int64)
    weights = np.full(sets * inputs, (_WEIGHT_ONE * 10) // (inputs * 7), np.int64)
    return chance, seen, weights, np.zeros(2 * MAX_INPUTS, np.int64)


@inner_loop
def probability_of(logit, squash):  # type: ignore[no-untyped-def]
    """Probability in 1 / 2^16 of log-odds, neither too near to zero nor to one."""
    probability = squash[np.uintp(max(np.int64(-_LIMIT), min(np.int64(_LIMIT), logit)) + 2048)]
    return max(np.int64(_FLOOR), min(np.int64(_CEILING), probability))


@inner_loop
def follow(chance, seen, slot, bit, rates, limit):  # type: ignore[no-untyped-def]
    """Move the probability of a context towards an outcome, the less the more outcomes it has seen."""
    at = np.uintp(slot)
    wide, count = chance[at], seen[at]
    if bit:
        chance[at] = wide + (((4294967295 - wide) * rates[np.uintp(count)]) >> 16)
    else:
        chance[at] = wide - ((wide * rates[np.uintp(count)]) >> 16)
    if count < limit:
        seen[at] = count + 1


@inner_loop
def code_inline(mode, bit, inputs, first_weight, limit, speed, model, fixed, state, payload):  # type: ignore[no-untyped-def]
    """Code one decision and learn from it; the outcome.

    Args:
        mode: ENCODE or DECODE; anything else codes nothing.
        bit: the outcome, when encoding.
        inputs: how many contexts; the slot of context k stands in ``scratch[k]``.
        first_weight: index of the first of the weights.
        limit: outcomes that a probability remembers at most, below 256.
        speed: learning rate of the weights, 4..64 or so.
        model: ``(chance, seen, weights, scratch)``; changed.
        fixed: ``tables()``.
        state: uint64 (4,), the range coder's.
        payload: uint8, the range coder's.
    """
    chance, seen, weights, scratch = model
    squash, stretch, rates = fixed
    total = np.int64(0)
    for k in range(inputs):
        slot = np.uintp(scratch[k])
        # A context that has seen little is worth little: its log-odds are shrunk towards zero.
        count = seen[slot]
        logit = stretch[np.uintp(chance[slot] >> 20)]
        if count < 4:
            logit = (logit * (count + 1)) >> 2 if count else np.int64(0)
        scratch[MAX_INPUTS + k] = logit
        total += weights[np.uintp(first_weight + k)] * logit
    mixed = probability_of(total >> 16, squash)
    bit = code_bit(mode, bit, mixed, state, payload)
    error = ((bit << 16) - mixed) * speed
    for k in range(inputs):
        weights[np.uintp(first_weight + k)] += (scratch[MAX_INPUTS + k] * error + (1 << 17)) >> 18
        follow(chance, seen, scratch[k], bit, rates, limit)
    return bit


@loop
def code(mode, bit, inputs, first_weight, limit, speed, model, fixed, state, payload):  # type: ignore[no-untyped-def]
    """As `code_inline`, which is for the one place where a kernel spends its time: there the loops are unrolled."""
    return code_inline(mode, bit, inputs, first_weight, limit, speed, model, fixed, state, payload)


@inner_loop
def code_even(mode, bit, state, payload):  # type: ignore[no-untyped-def]
    """Code a decision that nothing is known about."""
    return code_bit(mode, bit, np.int64(32768), state, payload)
