"""A binary adaptive range coder whose payloads are a prefix-free code.

The state is an interval ``[low, low + range)`` of 64-bit numbers. A decision with probability ``p / 2^16`` of being one
splits it at ``bound = (range >> 16) * p``: the lower part is a one. When ``range`` falls below ``2^32`` the upper 32
bits of ``low`` are written (big-endian) and both are shifted; a carry runs back into the bytes already written. The end
is the shortest byte string all of whose continuations lie inside the interval. So no payload is a prefix of another
one, and a decoder that follows ``low`` and ``range`` can demand the one canonical ending: each truncated or extended
payload is refused, and an accepted payload is exactly what the encoder writes. That costs 1 to 2 bytes over the ideal.

All arithmetic is in 64-bit integers, so every machine writes the same bytes.
"""

import numpy as np

from foldmap.coding.jit import inner_loop, loop

ENCODE, DECODE, COST, COLLECT = 0, 1, 2, 3

# Slots of the coder's state array.
LOW, RANGE, OFFSET, POSITION = 0, 1, 2, 3

PROBABILITY_FLOOR = 24  # in 1 / 2^16; bounds the cost of the least likely decision to 11.4 bits
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)
_RENORMALIZE = np.uint64(1 << 32)
_SHIFT32 = np.uint64(32)
_SHIFT16 = np.uint64(16)
_BYTE = np.uint64(0xFF)
_EIGHT = np.uint64(8)


@loop
def _read_word(payload, position):  # type: ignore[no-untyped-def]
    """Big-endian 32-bit word at ``position``; bytes past the end read as zero."""
    word = np.uint64(0)
    for k in range(4):
        word = word << _EIGHT
        if position + k < payload.size:
            word = word | np.uint64(payload[position + k])
    return word


@loop
def start(state, payload, decoding):  # type: ignore[no-untyped-def]
    """Initialise ``state``; False when the payload cannot be the start of any."""
    state[LOW] = np.uint64(0)
    state[RANGE] = _FULL
    state[POSITION] = np.uint64(0)
    state[OFFSET] = np.uint64(0)
    if decoding:
        state[OFFSET] = (_read_word(payload, 0) << _SHIFT32) | _read_word(payload, 4)
        return state[OFFSET] < _FULL
    return True


@inner_loop
def encode_bit(state, payload, probability, bit):  # type: ignore[no-untyped-def]
    """Narrow the interval to ``bit``; ``payload`` must have room (2 bytes a decision are enough)."""
    bound = (state[RANGE] >> _SHIFT16) * np.uint64(probability)
    if bit:
        state[RANGE] = bound
    else:
        low = state[LOW] + bound
        if low < bound:
            _carry(payload, state[POSITION])
        state[LOW] = low
        state[RANGE] -= bound
    if state[RANGE] < _RENORMALIZE:
        _write_word(payload, np.int64(state[POSITION]), state[LOW] >> _SHIFT32)
        state[POSITION] += np.uint64(4)
        state[LOW] = state[LOW] << _SHIFT32
        state[RANGE] = state[RANGE] << _SHIFT32


@inner_loop
def decode_bit(state, payload, probability):  # type: ignore[no-untyped-def]
    """Next decision; the caller checks now and then that ``POSITION`` has not left the payload."""
    bound = (state[RANGE] >> _SHIFT16) * np.uint64(probability)
    if state[OFFSET] < bound:
        bit = 1
        state[RANGE] = bound
    else:
        bit = 0
        state[OFFSET] -= bound
        state[LOW] += bound
        state[RANGE] -= bound
    if state[RANGE] < _RENORMALIZE:
        state[POSITION] += np.uint64(4)
        state[LOW] = state[LOW] << _SHIFT32
        state[RANGE] = state[RANGE] << _SHIFT32
        state[OFFSET] = (state[OFFSET] << _SHIFT32) | _read_word(payload, np.int64(state[POSITION]) + 4)
    return bit


@inner_loop
def code_bit(mode, bit, probability, state, payload):  # type: ignore[no-untyped-def]
    """Encode ``bit``, or decode and return the next one; another mode codes nothing."""
    if mode == ENCODE:
        encode_bit(state, payload, probability, bit)
    elif mode == DECODE:
        bit = decode_bit(state, payload, probability)
    return bit


@inner_loop
def ran_out(mode, state, payload):  # type: ignore[no-untyped-def]
    """Whether a decoder has left its payload: no encoder wrote it."""
    return mode == DECODE and np.int64(state[POSITION]) >= payload.size


@loop
def _write_word(payload, position, word):  # type: ignore[no-untyped-def]
    for k in range(4):
        payload[position + k] = np.uint8((word >> np.uint64(24 - 8 * k)) & _BYTE)


@loop
def _carry(payload, position):  # type: ignore[no-untyped-def]
    """Add one to the bytes written so far; the interval lies below one, so it never runs out at the front."""
    i = np.int64(position) - 1
    while payload[i] == 255:
        payload[i] = 0
        i -= 1
    payload[i] += np.uint8(1)


@loop
def _ending(low, range_):  # type: ignore[no-untyped-def]
    """Fewest bytes (1..5) and their value so that every continuation stays in ``[low, low + range)``."""
    for count in range(1, 8):
        shift = np.uint64(64 - 8 * count)
        step = np.uint64(1) << shift
        # Distance from low up to the next multiple of step, computed without leaving 64 bits.
        rise = (np.uint64(0) - low) & (step - np.uint64(1))
        if range_ >= step and rise <= range_ - step:
            return count, low + rise
    return 8, low


@loop
def finish_encoding(state, payload):  # type: ignore[no-untyped-def]
    """Write the canonical ending; returns the payload's length in bytes."""
    count, value = _ending(state[LOW], state[RANGE])
    if value < state[LOW]:
        _carry(payload, state[POSITION])
    position = np.int64(state[POSITION])
    for k in range(count):
        payload[position + k] = np.uint8((value >> np.uint64(56 - 8 * k)) & _BYTE)
    return position + count


@loop
def finish_decoding(state, payload):  # type: ignore[no-untyped-def]
    """Whether the payload ends exactly as the encoder would have ended it."""
    count, value = _ending(state[LOW], state[RANGE])
    return np.int64(state[POSITION]) + count == payload.size and state[LOW] + state[OFFSET] == value


@loop
def finish(mode, state, payload):  # type: ignore[no-untyped-def]
    """End a stream: the payload's length when encoding; when decoding 0, or -1 where no encoder ends so."""
    if mode == ENCODE:
        return finish_encoding(state, payload)
    return 0 if finish_decoding(state, payload) else -1
