"""The walk of the point coder: one function for encoding and decoding, so that they cannot fall out of step.

Points are integers in a box of power-of-two sides. The box is halved level by level, each time along the same axis for
all boxes of a level. Of a box with n points the number in its lower half is coded; a box of one point codes one
decision a level. What is told of the neighbours in the list of boxes, which lie near in space, predicts it: the mean
of their positions along the axis, weighted by how near they are across it, and how much they scatter. From a first
level on each box also says whether it is small enough for all its points.
"""

import numpy as np

from foldmap.coding.jit import inner_loop, loop, quotients
from foldmap.coding.mixing import code, code_even, code_inline
from foldmap.coding.rangecoder import DECODE, ENCODE, finish, ran_out, start

# numpy's integers: of Python's numba compiles a version of each function a value.
SPLIT_INPUTS, STOP_INPUTS, COUNT_INPUTS = np.int64(4), np.int64(3), np.int64(2)
_LEVELS = 96
_BINS, _SPREAD_BINS = 7, 6
_SIGNED_BINS = 2 * _BINS - 1
_FINE_BINS = 32
_OCTAVES = np.array([value.bit_length() for value in range((1 << (_BINS - 2)) + 1)])
# Where the contexts of each input begin.
_SPLIT_MEAN = 0
_SPLIT_NEAREST = _SPLIT_MEAN + _BINS * _SPREAD_BINS
_SPLIT_BOTH = _SPLIT_NEAREST + _SIGNED_BINS * _SPREAD_BINS
_SPLIT_FINE = _SPLIT_BOTH + _BINS * _SIGNED_BINS * _SPREAD_BINS
_STOP_LEVEL = _SPLIT_FINE + _FINE_BINS * _SPREAD_BINS
_STOP_AROUND = _STOP_LEVEL + _LEVELS * 2
_STOP_BOTH = _STOP_AROUND + 64 * 2
_COUNT_HEAP = _STOP_BOTH + 64 * 64
_COUNT_PULL = _COUNT_HEAP + 32 * 64
SLOTS = _COUNT_PULL + _BINS * 32 * 64
# And their weights.
_W_SPLIT = 0
_W_STOP = _W_SPLIT + _SPREAD_BINS
_W_COUNT = _W_STOP + 1
SETS = _W_COUNT + 1
INPUTS = 4
_LIMIT, _SPEED = np.int64(250), np.int64(24)

# Rows of the box table, int64 (ROWS, P): twice the coordinates of a box's centre (0 to 2), how many points it holds,
# the first of them in the sorted points, and one more than the level it ended at (0: not yet).
COUNT, FIRST, DONE = 3, 4, 5
ROWS = 6

NEIGHBOURS = 16  # of a box at most, on both sides together
_FAR = 1 << 50  # farther than any box: the weight of such a neighbour is zero

# What is told of a box's neighbours.
MEAN, SPREAD, NEAREST, ACROSS, FINE, MIRROR = 0, 1, 2, 3, 4, 5


@inner_loop
def _bin(value, bits):  # type: ignore[no-untyped-def]
    """-6..6 for how many 2^bits a value is off centre, finer near zero: an octave each, the first up to an eighth."""
    k = _OCTAVES[np.uintp(min((8 * abs(value)) >> bits, np.int64(1 << (_BINS - 2))))]
    return k if value >= 0 else -k


@inner_loop
def _scale(value, bits):  # type: ignore[no-untyped-def]
    """0..5 for how many 2^bits a length is: an octave each, the first up to a half."""
    return _OCTAVES[np.uintp(min((2 * value) >> bits, np.int64(1 << (_SPREAD_BINS - 2))))]


@quotients
def _weigh(best, apart, near):  # type: ignore[no-untyped-def]
    """Weights of all neighbours into ``near[0]``; their sum, and that of their places along the axis.

    A quotient of whole numbers below 2^52 in floating point is never rounded up to the next one.
    """
    sum_w, sum_wd = np.int64(0), np.int64(0)
    scaled = np.float64(best << 10)
    weights, along = near[0], near[1]
    for k in range(NEIGHBOURS):
        closeness = np.int64(scaled / np.float64(apart[k]))
        weight = closeness * closeness
        weights[k] = weight
        sum_w += weight
        sum_wd += weight * along[k]
    return sum_w, sum_wd


@inner_loop
def _note(table, first, count, found, box, sides, near, apart):  # type: ignore[no-untyped-def]
    """Note where so many neighbours lie from a box, along the axis and across it, from slot ``found`` on."""
    axis, side_b, side_c, floor = sides
    along = table[axis, first : first + count]
    b, c = table[side_b, first : first + count], table[side_c, first : first + count]
    ahead, across, distance = near[1, found : found + count], near[0, found : found + count], apart[found:]
    for k in range(count):
        ahead[k] = along[k] - box[0]
        across[k] = max(abs(b[k] - box[1]), abs(c[k] - box[2]))
        distance[k] = across[k] + (abs(ahead[k]) >> 1) + floor


@loop
def _look(boxes, after, i, written, total, axis, bits, reach, near, apart, look):  # type: ignore[no-untyped-def]
    """What the neighbours say of box ``i``: fills ``look`` with the contexts of a split.

    Boxes before ``i`` are known one level further (``after``, the last ``written`` of them), those behind at this one.
    """
    side_b, side_c = (axis + 1) % 3, (axis + 2) % 3
    floor = (np.int64(1) << bits[side_b]) + (np.int64(1) << bits[side_c])
    look[MEAN] = look[FINE] = look[MIRROR] = 0
    look[SPREAD] = look[ACROSS] = _SPREAD_BINS - 1
    look[NEAREST] = _BINS - 1
    before, behind = min(reach, written), min(reach, total - 1 - i)
    if before + behind <= 0:
        return
    box, sides = (boxes[axis, i], boxes[side_b, i], boxes[side_c, i]), (axis, side_b, side_c, floor)
    _note(after, written - before, before, np.int64(0), box, sides, near, apart)
    _note(boxes, i + 1, behind, before, box, sides, near, apart)
    for k in range(before + behind, NEIGHBOURS):
        near[1, k], apart[k] = 0, _FAR
    # of equals those before come first, the latest of them, and then those behind
    first = np.int64(_FAR) << 6
    for k in range(NEIGHBOURS):
        first = min(first, (apart[k] << 6) + (before - 1 - k if k < before else k))
    best, nearest = first >> 6, first & 63
    if nearest < before:
        nearest = before - 1 - nearest
    best_along, best_across = near[1, nearest], near[0, nearest]
    sum_w, sum_wd = _weigh(best, apart, near)
    mean = sum_wd // sum_w
    spread = np.int64(0)
    weights, along = near[0], near[1]
    for k in range(NEIGHBOURS):
        spread += weights[k] * abs(along[k] - mean)
    spread = spread // sum_w
    # A box and its mirror image are one context: half as many to learn.
    if mean < 0:
        mean = -mean
        best_along = -best_along
        look[MIRROR] = 1
    look[MEAN] = _bin(mean, bits[axis])
    look[SPREAD] = _scale(spread, bits[axis])
    look[NEAREST] = _BINS - 1 + _bin(best_along, bits[axis])
    look[ACROSS] = _scale(best_across, bits[axis])
    look[FINE] = min(np.int64(_FINE_BINS - 1), (mean << 4) >> bits[axis])


@loop
def _split_one(mode, lower, look, model, fixed, state, payload):  # type: ignore[no-untyped-def]
    """Code whether the point of a box is in the lower half."""
    scratch = model[3]
    scratch[0] = _SPLIT_MEAN + look[MEAN] * _SPREAD_BINS + look[SPREAD]
    scratch[1] = _SPLIT_NEAREST + look[NEAREST] * _SPREAD_BINS + look[ACROSS]
    scratch[2] = _SPLIT_BOTH + (look[MEAN] * _SIGNED_BINS + look[NEAREST]) * _SPREAD_BINS + look[SPREAD]
    scratch[3] = _SPLIT_FINE + look[FINE] * _SPREAD_BINS + look[SPREAD]
    weights = _W_SPLIT + look[SPREAD] * INPUTS
    bit = lower ^ look[MIRROR]
    return look[MIRROR] ^ code_inline(mode, bit, SPLIT_INPUTS, weights, _LIMIT, _SPEED, model, fixed, state, payload)


@loop
def _split_count(mode, lower, count, look, model, fixed, state, payload):  # type: ignore[no-untyped-def]
    """Code how many of ``count`` points lie in the lower half, 0..count: up to five decisions known, the rest even."""
    depth = 0
    while (np.int64(1) << depth) <= count:
        depth += 1
    scratch = model[3]
    kind = count if count < 16 else np.int64(11 + depth)  # 16.. -> 16, 17, ...
    if kind > 31:
        kind = np.int64(31)
    node = 1
    value = np.int64(0)
    for k in range(depth - 1, -1, -1):
        # A one here would already be more than there are; so no stream can claim it.
        if ((2 * value + 1) << k) > count:
            value <<= 1
            node = 2 * node
            continue
        bit = (lower >> k) & 1
        if node < 64:
            scratch[0] = _COUNT_HEAP + kind * 64 + node
            scratch[1] = _COUNT_PULL + (look[MEAN] * 32 + kind) * 64 + node
            bit = code(mode, bit, COUNT_INPUTS, _W_COUNT * INPUTS, _LIMIT, _SPEED, model, fixed, state, payload)
        else:
            bit = code_even(mode, bit, state, payload)
        value = (value << 1) | bit
        node = 2 * node + bit
    return value


@inner_loop
def _ended(table, j, total, level, just):  # type: ignore[no-untyped-def]
    """When a box ended: 0 long ago, up to ``just`` for now, 3 for not yet or where there is no box."""
    if j < 0 or j >= total or table[DONE, j] == 0:
        return 3
    return max(0, just - (level - (table[DONE, j] - 1)))


@loop
def _stop(mode, bit, level, boxes, after, i, written, total, model, fixed, state, payload):  # type: ignore[no-untyped-def]
    """Whether box ``i`` is small enough, told from when the three boxes on either side ended."""
    around, ahead = 0, 0
    for k in range(1, 4):
        around = around * 4 + _ended(after, written - k, written, level, 2)
        ahead = ahead * 4 + _ended(boxes, i + k, total, level, 3)
    many = 1 if boxes[COUNT, i] > 1 else 0
    scratch = model[3]
    scratch[0] = _STOP_LEVEL + level * 2 + many
    scratch[1] = _STOP_AROUND + around * 2 + many
    scratch[2] = _STOP_BOTH + around * 64 + ahead
    return code_inline(mode, bit, STOP_INPUTS, _W_STOP * INPUTS, _LIMIT, _SPEED, model, fixed, state, payload)


@inner_loop
def _put(after, written, boxes, i, axis, shift, count, first, done):  # type: ignore[no-untyped-def]
    for k in range(3):
        after[k, written] = boxes[k, i]
    after[axis, written] += shift
    after[COUNT, written] = count
    after[FIRST, written] = first
    after[DONE, written] = done


@loop
def _halve(mode, level, axis, total, points, ends, first_stop, reach, scratch, model, fixed, state, payload):  # type: ignore[no-untyped-def]
    """One level: ``after`` becomes the boxes of the next one; returns how many, or -1 for a damaged payload."""
    boxes, after, near, apart, look, bits = scratch
    half = np.int64(1) << (bits[axis] - 1)
    written = np.int64(0)
    for i in range(total):
        count = boxes[COUNT, i]
        first = boxes[FIRST, i]
        done = boxes[DONE, i]
        if done == 0 and level >= first_stop:
            bit = np.int64(1)
            if mode == ENCODE:
                for p in range(first, first + count):
                    if ends[p] > level:
                        bit = np.int64(0)
            if _stop(mode, bit, level, boxes, after, i, written, total, model, fixed, state, payload):
                done = np.int64(level + 1)
        if done:
            _put(after, written, boxes, i, axis, np.int64(0), count, first, done)
            written += 1
            continue
        lower = np.int64(0)
        if mode == ENCODE:
            for p in range(first, first + count):
                lower += 1 - ((points[axis, p] >> (bits[axis] - 1)) & 1)
        _look(boxes, after, i, written, total, axis, bits, reach, near, apart, look)
        if count == 1:
            lower = _split_one(mode, lower, look, model, fixed, state, payload)
        else:
            lower = count - lower if look[MIRROR] else lower
            lower = _split_count(mode, lower, count, look, model, fixed, state, payload)
            lower = count - lower if look[MIRROR] else lower
        if lower:
            _put(after, written, boxes, i, axis, -half, lower, first, np.int64(0))
            written += 1
        if lower < count:
            _put(after, written, boxes, i, axis, half, count - lower, first + lower, np.int64(0))
            written += 1
        if ran_out(mode, state, payload):
            return np.int64(-1)
    return written


@loop
def walk(  # type: ignore[no-untyped-def]
    mode, points, ends, axes, first_stop, reach, boxes, after, near, apart, look, bits, model, fixed, state, payload
):
    """Encode or decode.

    Returns ``(boxes, bytes)``: how many boxes there are, -1 for a payload that no encoder writes; and the payload's
    length when encoding.

    Arguments in their order:
        mode: ENCODE or DECODE.
        points: int64 (3, P), sorted so that the points of every box stand together; unused when decoding.
        ends: int64 (P,), level at which each point's box is small enough; unused when decoding.
        axes: int64 (L,), the axis of each level; after the last all boxes end.
        first_stop: first level at which boxes may end early.
        reach: neighbours looked at on each side, at most half of `NEIGHBOURS`.
        boxes: int64 (ROWS, P); ``boxes[:, 0]`` is the whole, and the result stands there again.
        after: scratch, as ``boxes``.
        near, apart, look: scratch, int64 (2, `NEIGHBOURS`), (`NEIGHBOURS`,) and (8,).
        bits: int64 (3,), log2 of the whole's sides; changed.
        model, fixed: see `mixing.fresh` and `mixing.tables`.
        state, payload: the range coder's.
    """
    if not start(state, payload, mode == DECODE):
        return -1, 0
    total = np.int64(1)
    for level in range(axes.size):
        axis, scratch = axes[level], (boxes, after, near, apart, look, bits)
        total = _halve(mode, level, axis, total, points, ends, first_stop, reach, scratch, model, fixed, state, payload)
        if total < 0:
            return -1, 0
        bits[axis] -= 1
        boxes, after = after, boxes
    if axes.size % 2:
        for k in range(ROWS):
            for i in range(total):
                after[k, i] = boxes[k, i]
    size = finish(mode, state, payload)
    return total if size >= 0 else -1, size
