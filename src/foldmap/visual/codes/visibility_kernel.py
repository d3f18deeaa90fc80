"""The walk of the visibility coder: one function for encoding and decoding, so that they cannot fall out of step.

Points are coded one after the other, each point's row image by image. What predicts a bit: the bits of the nearest
points coded before (near points are seen from the same places), the row's own bits so far (a camera that moves on keeps
seeing what it saw), how often the image sees anything, and whether this point is seen more or less than its neighbours.
"""

import numpy as np

from foldmap.coding.jit import loop
from foldmap.coding.mixing import code_inline
from foldmap.coding.rangecoder import DECODE, finish, ran_out, start

NEIGHBOURS = 12
_AT_ONCE = 128  # points whose distances are made before any of them is looked at
INPUTS = np.int64(6)  # numpy's: of Python's integers numba compiles a version of each function a value
_BINS = 16
_RUN = 0
_SAME = _RUN + 16 * 8 * 4
_AROUND = _SAME + 64 * 16
_POPULAR = _AROUND + _BINS * _BINS * 4
_PACE = _POPULAR + 16 * 8 * 4
FIXED_SLOTS = _PACE + 9 * 9 * _BINS
SETS = _BINS
_LIMIT, _SPEED = np.int64(250), np.int64(4)  # measured: slow learning of the weights is worth a tenth of the bytes


def _log_bin(value: int) -> int:
    """0, 1, 2, 3, then two bins an octave."""
    k = value.bit_length() - 1
    return value if value < 4 else 2 * k + ((value >> (k - 1)) & 1)


_LOG_BINS = np.array([_log_bin(value) for value in range(256)])
_ZEROS = np.array([7, *((value & -value).bit_length() - 1 for value in range(1, 128))])
"""How many of the last seven bits are zero, from the last on."""
_MANY = 16  # of the bins of counts, the last one, 8, begins here


@loop
def _nearest(points, p, window, squared, found, distance):  # type: ignore[no-untyped-def]
    """Indices of up to NEIGHBOURS nearest of the ``window`` points before ``p``, nearest first; returns how many."""
    first = max(0, p - window)
    x, y, z = points[0, p], points[1, p], points[2, p]
    total = 0
    last = np.inf
    # from the latest on, which lies nearest mostly, so that few are put in; of equals the earliest comes first
    for end in range(p, first, -_AT_ONCE):
        begin = max(first, end - _AT_ONCE)
        xs, ys, zs = points[0, begin:end], points[1, begin:end], points[2, begin:end]
        near = 0
        # whole numbers below 2^42, so exact; in a loop of their own many are made at a time
        for j in range(xs.size):
            dx, dy, dz = xs[j] - x, ys[j] - y, zs[j] - z
            squared[j] = dx * dx + dy * dy + dz * dz
            near += 1 if squared[j] <= last else 0
        for j in range(xs.size - 1 if near else -1, -1, -1):
            if squared[j] > last:
                continue
            k = min(total, NEIGHBOURS - 1)
            total = min(total + 1, NEIGHBOURS)
            d = np.int64(squared[j])
            while k > 0 and distance[k - 1] >= d:
                distance[k] = distance[k - 1]
                found[k] = found[k - 1]
                k -= 1
            distance[k] = d
            found[k] = begin + j
            if total == NEIGHBOURS:
                last = np.float64(distance[NEIGHBOURS - 1])
    return total


@loop
def _support(seen, found, distance, total, support):  # type: ignore[no-untyped-def]
    """Of each image the share of neighbours that it sees, weighted by nearness, 0..255."""
    images = support.size
    for i in range(images):
        support[i] = 0
    weights = np.int64(0)
    scale = distance[min(total, 3) - 1] + 1 if total else np.int64(1)
    for k in range(total):
        weight = (scale << 6) // (distance[k] + scale) + 1
        weights += weight
        row = seen[found[k]]
        for i in range(images):
            support[i] += weight * row[i]
    if weights:
        for i in range(images):  # whole numbers below 2^20: a quotient of floating point is right, and many are made
            support[i] = np.int64(np.float64(support[i] * 255) / np.float64(weights))


@loop
def walk(mode, points, window, seen, popular, support, squared, found, distance, model, fixed, state, payload):  # type: ignore[no-untyped-def]
    """Encode or decode; returns what `rangecoder.finish` does, or -1.

    Arguments in their order:
        mode: ENCODE or DECODE.
        points: float64 (3, P), coordinates whole and below 2^20, in coding order.
        window: how many of the points before are searched for neighbours.
        seen: uint8 (P, I), read or filled.
        popular, support: int64 (I,), zeros and scratch.
        squared, found, distance: scratch, float64 (window,), and int64 (NEIGHBOURS,) twice.
        model, fixed: see `mixing.fresh` and `mixing.tables`.
        state, payload: the range coder's.
    """
    if not start(state, payload, mode == DECODE):
        return -1
    images = support.size
    scratch = model[3]
    for p in range(points.shape[1]):
        total = _nearest(points, p, window, squared, found, distance)
        _support(seen, found, distance, total, support)
        before = np.int64(0)  # the bits of this row so far, the last one lowest
        ones = np.int64(0)
        expected = np.int64(0)
        for i in range(images):
            here = (support[i] * _BINS) >> 8
            if support[i] and here == 0:
                here = np.int64(1)
            beside = support[i - 1] if i else np.int64(0)
            ahead = support[i + 1] if i + 1 < images else np.int64(0)
            beside = (max(beside, ahead) * _BINS) >> 8
            nearest = np.int64(0)
            for k in range(min(total, 3)):
                nearest = nearest * 2 + seen[np.uintp(found[k]), i]
            rose = np.int64(seen[np.uintp(found[0]), np.uintp(i - 1)]) if total and i else np.int64(0)
            # the quotient of whole numbers as `_support` has it, 0..255
            share = _LOG_BINS[np.uintp(np.float64(popular[i] * 255) / np.float64(max(p, 1)))]
            last = before & 3
            own = _LOG_BINS[np.uintp(min(ones, np.int64(_MANY)))]
            pace = _LOG_BINS[np.uintp(min(expected >> 8, np.int64(_MANY)))]
            run = _ZEROS[before & 127]
            scratch[0] = _RUN + ((before & 15) * 8 + run) * 4 + min(here, np.int64(3))
            scratch[1] = _SAME + (nearest * 8 + (before & 7)) * 16 + rose * 8 + min(here >> 1, np.int64(7))
            scratch[2] = _AROUND + (here * _BINS + beside) * 4 + last
            scratch[3] = _POPULAR + (share * 8 + min(here, np.int64(7))) * 4 + last
            scratch[4] = _PACE + (own * 9 + pace) * _BINS + here
            scratch[5] = FIXED_SLOTS + i * 4 + last
            bit = np.int64(seen[p, i])
            bit = code_inline(mode, bit, INPUTS, here * INPUTS, _LIMIT, _SPEED, model, fixed, state, payload)
            seen[p, i] = bit
            before = (before << 1) | bit
            ones += bit
            expected += support[i]
            popular[i] += bit
        if ran_out(mode, state, payload):
            return -1
    return finish(mode, state, payload)
