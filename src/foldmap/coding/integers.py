"""Small signed integers in columns, such as residuals of a prediction: adaptive Golomb classes, context-mixed.

Of each value the bit length is coded in unary, then its sign, then its bits below the leading one: the first two in
context, the others evenly. The contexts are the column and the bit lengths of the values just coded in that column and
in this row, so no statistics need to be stored and a few hundred values are coded well.
"""

import numpy as np

from foldmap.coding import mixing
from foldmap.coding.jit import loop
from foldmap.coding.mixing import code, code_even
from foldmap.coding.rangecoder import DECODE, ENCODE, POSITION, finish_decoding, finish_encoding, start
from foldmap.errors import LimitError, MapFormatError, MapInputError
from foldmap.types import AnyArray, IntArray

MAX_VALUES = 1 << 26
MAX_COLUMNS = 64
_MAX_LENGTH = 62
# numpy's integers: of Python's numba compiles a version of each function a value.
_INPUTS, _ONE, _FIRST = np.int64(3), np.int64(1), np.int64(0)
_CLASS_A = 0
_CLASS_B = _CLASS_A + 64 * 64
_CLASS_C = _CLASS_B + 64 * 64
_SIGN = _CLASS_C + 16 * 16 * 64
_TOP = _SIGN + 9
_PER_COLUMN = _TOP + 64 * 8
_LIMIT, _SPEED = np.int64(120), np.int64(8)


@loop
def bits(value):  # type: ignore[no-untyped-def]
    """Bit length of a number's size."""
    size = abs(value)
    k = 0
    while size:
        size >>= 1
        k += 1
    return k


@loop
def _walk(mode, values, model, fixed, state, payload):  # type: ignore[no-untyped-def]
    """Encode or decode int64 (N, C); payload length, or 0, or -1 for a payload that no encoder writes."""
    if not start(state, payload, mode == DECODE):
        return -1
    scratch = model[3]
    rows, columns = values.shape
    for n in range(rows):
        for c in range(columns):
            value = values[n, c]
            up = bits(values[n - 1, c]) if n else 0
            top = bits(values[n - 2, c]) if n > 1 else up
            left = bits(values[n, c - 1]) if c else 0
            base = c * _PER_COLUMN
            length = bits(value)
            k = 0
            while k < _MAX_LENGTH:
                scratch[0] = base + _CLASS_A + k
                scratch[1] = base + _CLASS_B + min(63, up + top) * 64 + k
                scratch[2] = base + _CLASS_C + (min(15, (up + 1) >> 1) * 16 + min(15, left)) * 64 + k
                more = code(mode, np.int64(length > k), _INPUTS, _FIRST, _LIMIT, _SPEED, model, fixed, state, payload)
                if more == 0:
                    break
                k += 1
            size = np.int64(0)
            if k:
                sign = np.int64(value < 0)
                before = (0 if n == 0 or values[n - 1, c] == 0 else (1 if values[n - 1, c] > 0 else 2)) * 3
                before += 0 if c == 0 or values[n, c - 1] == 0 else (1 if values[n, c - 1] > 0 else 2)
                scratch[0] = base + _SIGN + before
                sign = code(mode, sign, _ONE, _INPUTS, _LIMIT, _SPEED, model, fixed, state, payload)
                size = np.int64(1)
                for b in range(k - 2, -1, -1):
                    bit = (abs(value) >> b) & 1
                    if b >= k - 3:
                        scratch[0] = base + _TOP + k * 8 + (size if b == k - 2 else 2 + (size & 1))
                        bit = code(mode, bit, _ONE, _INPUTS, _LIMIT, _SPEED, model, fixed, state, payload)
                    else:
                        bit = code_even(mode, bit, state, payload)
                    size = (size << 1) | bit
                if sign:
                    size = -size
            values[n, c] = size
        if mode == DECODE and np.int64(state[POSITION]) >= payload.size:
            return -1
    if mode == ENCODE:
        return finish_encoding(state, payload)
    if not finish_decoding(state, payload):
        return -1
    return 0


def _run(mode: int, values: IntArray, payload: AnyArray) -> int:
    model = mixing.fresh(_PER_COLUMN * values.shape[1], 2, int(_INPUTS))
    model[2][_INPUTS:] = 1 << 16  # decisions with one context take its word
    return int(_walk(mode, values, model, mixing.tables(), np.zeros(4, np.uint64), payload))


def encode_integers(values: IntArray) -> bytes:
    """Code int64 (N, C), |value| < 2^62, C <= 64; else it is a MapInputError. The shape is not coded."""
    fits = values.ndim == 2 and values.dtype == np.int64 and values.shape[1] <= MAX_COLUMNS
    if not fits or values.size > MAX_VALUES or (values.size and int(np.abs(values).max()) >= 1 << _MAX_LENGTH):
        raise MapInputError(f"cannot code integers {values.dtype} {values.shape}", "give int64 (N, C) below 2^62")
    if not values.size:
        return b""
    payload = np.zeros(16 * values.size + 64, np.uint8)
    return payload[: _run(ENCODE, values.copy(), payload)].tobytes()


def decode_integers(data: bytes, shape: tuple[int, int]) -> IntArray:
    """The int64 (N, C) of `encode_integers`; a MapFormatError for bytes that it does not write for this shape."""
    if min(shape) < 0 or shape[1] > MAX_COLUMNS or shape[0] * shape[1] > MAX_VALUES:
        raise LimitError(f"coded integers claim shape {shape}", "the file is damaged")
    values = np.zeros(shape, np.int64)
    if not values.size:
        if data:
            raise MapFormatError("coded integers of no rows have a payload", "the file is damaged")
        return values
    if not data or _run(DECODE, values, np.frombuffer(data, np.uint8).copy()) < 0:
        raise MapFormatError("coded integers are damaged", "fold the map again")
    return values
