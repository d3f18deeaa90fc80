"""The walk of the lane graph coder: one function for encoding and decoding, so that they cannot fall out of step.

Key vertices wait in a queue, each with the driving direction there once a chain has told it. Of the vertex at the head
all chains not yet coded are coded: whether there is another, whether it runs backwards, its kind, its other end (one of
those waiting, by rank among what lies ahead; or a new one, predicted from the direction and from a chain alongside),
and its inner vertices, predicted on the curve between both ends that is tangent to what is known there.
"""

from __future__ import annotations

import numpy as np

from foldmap.coding.integers import bits
from foldmap.coding.jit import loop
from foldmap.coding.rangecoder import DECODE, ENCODE, POSITION, finish_decoding, finish_encoding, start
from foldmap.street.graph.numbers import PER_FLAG, PER_NUMBER, UNIT, flag, into, number, out_of, root, unit

# Columns of the chain table, int64 (C, 6): from vertex, to vertex, runs backwards, kind, first inner point, how many.
FROM, TO, BACKWARD, KIND, FIRST, INNER = 0, 1, 2, 3, 4, 5
# Columns of the vertex table, int64 (M, 8): position, driving direction, chains in and out so far, and one of them.
X, Y, UX, UY, INS, OUTS, IN_CHAIN, OUT_CHAIN = 0, 1, 2, 3, 4, 5, 6, 7

_RANKS = 24
_FRONT = 1024
_LIMIT_XY = 1 << 28

# Where the slots of each kind of decision begin and which weights it takes; of numbers also whether they have a sign.
# numpy's integers, like `_NONE`: of Python's numba compiles a version of each function a value.
_NONE = np.int64(0)
_FLAGS = 3
_NUMBERS = _FLAGS + 5 * PER_FLAG
_MORE, _BACK, _KIND, _REF, _RANK = (
    (np.int64(_FLAGS + k * PER_FLAG), np.int64(weights)) for k, weights in enumerate((19, 14, 15, 3, 6))
)
_ROOT_X, _ROOT_Y, _INDEX, _COUNT, _IN_A, _IN_B, _END_A, _END_B = (
    (np.int64(_NUMBERS + k * PER_NUMBER), np.int64(weights), np.int64(signed))
    for k, weights, signed in (
        (0, 17, 1), (1, 18, 1), (2, 9, 0), (3, 16, 0), (4, 12, 1), (5, 13, 1),
        (6, 10, 1), (10, 11, 1),  # four each, by what the end is predicted from
    )
)  # fmt: skip
SLOTS = _NUMBERS + 14 * PER_NUMBER
INPUTS = 3
SETS = 20


@loop
def _facing(vertices, v, backward):  # type: ignore[no-untyped-def]
    """The direction in which a chain leaves `v`."""
    if backward:
        return -vertices[v, UX], -vertices[v, UY]
    return vertices[v, UX], vertices[v, UY]


@loop
def _score(vertices, v, w, ux, uy, backward):  # type: ignore[no-untyped-def]
    """How far `w` is from `v`, longer where the two directions make no simple curve; -1 where it is not ahead."""
    dx, dy = vertices[w, X] - vertices[v, X], vertices[w, Y] - vertices[v, Y]
    length = root(dx * dx + dy * dy)
    wx, wy = _facing(vertices, w, backward)
    if length == 0 or ux * dx + uy * dy < 0 or wx * dx + wy * dy < 0:
        return np.int64(-1)
    miss = np.int64(0)
    if (ux != 0 or uy != 0) and (wx != 0 or wy != 0):
        miss = abs((ux * dy - uy * dx) - (dx * wy - dy * wx)) // length
    used = vertices[w, OUTS] if backward else vertices[w, INS]
    return length * (UNIT + 2 * miss) * (2 + min(used, 2))


@loop
def _ahead(vertices, scores, v, known, backward):  # type: ignore[no-untyped-def]
    """Fill ``scores`` with those of the waiting vertices; how many lie ahead, and the best one."""
    ux, uy = _facing(vertices, v, backward)
    count, best = 0, -1
    for k in range(min(known - v - 1, _FRONT)):
        scores[k] = _score(vertices, v, v + 1 + k, ux, uy, backward)
        if scores[k] >= 0:
            count += 1
            if best < 0 or scores[k] < scores[best]:
                best = k
    return count, best


@loop
def _rank_of(scores, total, k):  # type: ignore[no-untyped-def]
    rank = 0
    for j in range(total):
        if scores[j] >= 0 and (scores[j] < scores[k] or (scores[j] == scores[k] and j < k)):
            rank += 1
    return rank


@loop
def _of_rank(scores, total, rank):  # type: ignore[no-untyped-def]
    """The waiting vertex of a rank, which exists."""
    best = -1
    for turn in range(rank + 1):
        if turn:
            scores[best] = -1
        best = -1
        for j in range(total):
            if scores[j] >= 0 and (best < 0 or scores[j] < scores[best]):
                best = j
    return best


@loop
def _known_end(mode, target, v, known, backward, kind, vertices, scores, coder):  # type: ignore[no-untyped-def]
    """Whether a chain ends at a vertex that is known, and at which: its number, -1 for a new one, -2 for damage."""
    count, best = _ahead(vertices, scores, v, known, backward)
    total = min(known - v - 1, _FRONT)
    close, used, away = 0, 0, 0
    if best >= 0:
        w = v + 1 + best
        used = min(vertices[w, INS], 2) * 3 + min(vertices[w, OUTS], 2)
        away = min(15, bits(scores[best] // UNIT))
        close = min(3, count)
    a = (close * 2 + backward) * 2 + kind
    b = (away * 9 + used) * 2 + kind
    c = ((min(vertices[v, INS], 2) * 3 + min(vertices[v, OUTS], 2)) * 2 + backward) * 16 + away
    if flag(mode, target < known, _REF, a, b, c, coder) == 0:
        return np.int64(-1)
    rank = np.int64(_RANKS)
    if mode == ENCODE and v < target <= v + total and scores[target - v - 1] >= 0:
        rank = np.int64(min(_RANKS, _rank_of(scores, total, target - v - 1)))
    k = np.int64(0)
    while k < min(count, _RANKS):
        if flag(mode, rank > k, _RANK, k, k * 2 + kind, (close * 2 + backward) * 32 + k, coder) == 0:
            return np.int64(v + 1 + _of_rank(scores, total, k))
        k += 1
    back = number(mode, known - 1 - target, _INDEX, _NONE, _NONE, _NONE, coder)
    if not 0 <= back < known:
        return np.int64(-2)
    return known - 1 - back


@loop
def _alongside(vertices, v, backward, known, links, chains):  # type: ignore[no-untyped-def]
    """A known vertex beside `v` with a chain in this direction: (vertex, chain), or (-1, -1)."""
    best, found = np.int64(-1), np.int64(-1)
    nearest = np.int64(1) << 40
    low = max(0, v - _FRONT)
    for w in range(low, known):
        if w == v:
            continue
        same = vertices[w, IN_CHAIN] if backward else vertices[w, OUT_CHAIN]
        other = vertices[w, OUT_CHAIN] if backward else vertices[w, IN_CHAIN]
        dot = vertices[w, UX] * vertices[v, UX] + vertices[w, UY] * vertices[v, UY]
        chain = same if dot > 0 else other
        if chain < 0 or abs(dot) < (UNIT * UNIT // 8) * 7:
            continue
        dx, dy = vertices[w, X] - vertices[v, X], vertices[w, Y] - vertices[v, Y]
        if abs(dx) > links or abs(dy) > links:
            continue
        size = dx * dx + dy * dy
        if size < nearest:
            nearest, best, found = size, np.int64(w), np.int64(chain)
    return best, found


@loop
def _new_end(mode, v, target, known, backward, kind, reach, vertices, chains, coder):  # type: ignore[no-untyped-def]
    """Code where a new vertex is; False where the coordinates leave the grid."""
    w, chain = _alongside(vertices, v, backward, known, reach, chains)
    dx, dy = np.int64(0), np.int64(0)
    ux, uy = _facing(vertices, v, backward)
    how = 0
    if chain >= 0:
        other = chains[chain, TO] if chains[chain, FROM] == w else chains[chain, FROM]
        dx, dy = vertices[other, X] - vertices[w, X], vertices[other, Y] - vertices[w, Y]
        how = 1 if vertices[w, UX] * vertices[v, UX] + vertices[w, UY] * vertices[v, UY] > 0 else 2
        if dx != 0 or dy != 0:
            ux, uy = unit(dx, dy)
    elif vertices[v, UX] == 0 and vertices[v, UY] == 0:
        how = 3
    along, across = np.int64(0), np.int64(0)
    if mode == ENCODE:
        rx, ry = vertices[target, X] - vertices[v, X] - dx, vertices[target, Y] - vertices[v, Y] - dy
        along, across = into(rx, ry, ux, uy)
    length = bits(root(dx * dx + dy * dy))
    at = how * PER_NUMBER
    a = kind * 2 + backward
    along = number(mode, along, (_END_A[0] + at, *_END_A[1:]), a, min(31, length) * 2 + kind, _NONE, coder)
    tall = min(31, bits(along))
    sign = 0 if along == 0 else (1 if along > 0 else 2)
    side = 0
    if how == 0:
        side = kind
    b = tall * 2 + kind
    across = number(mode, across, (_END_B[0] + at, *_END_B[1:]), min(15, length), b, sign * 3 + side, coder)
    if mode == DECODE:
        rx, ry = out_of(along, across, ux, uy)
        vertices[known, X], vertices[known, Y] = vertices[v, X] + dx + rx, vertices[v, Y] + dy + ry
        return abs(vertices[known, X]) < _LIMIT_XY and abs(vertices[known, Y]) < _LIMIT_XY
    return True


@loop
def _bow(cx, cy, ux, uy):  # type: ignore[no-untyped-def]
    """Slope of a curve against its chord ``u`` whose direction there is ``c``: twice the tangent of half the angle."""
    dot, cross = cx * ux + cy * uy, ux * cy - uy * cx
    low = (dot + UNIT * UNIT) >> 12
    if low <= UNIT // 4:
        low = np.int64(UNIT // 4)
    return max(-2 * UNIT, min(2 * UNIT, 2 * cross // low))


@loop
def _turned(tx, ty, dx, dy):  # type: ignore[no-untyped-def]
    """Direction at the end of a step: on an arc, the one at its start mirrored about the step."""
    ux, uy = unit(dx, dy)
    if ux == 0 and uy == 0:
        return tx, ty
    dot = tx * ux + ty * uy
    if dot <= 0:
        return ux, uy
    return unit(2 * dot * ux // UNIT - tx * UNIT, 2 * dot * uy // UNIT - ty * UNIT)


@loop
def _curve(sx, sy, ex, ey, ux, uy, length, along):  # type: ignore[no-untyped-def]
    """Height over the chord where the curve with these end directions is at ``along``."""
    starts, ends = sx != 0 or sy != 0, ex != 0 or ey != 0
    first, last = np.int64(0), np.int64(0)
    if starts:
        first = _bow(sx, sy, ux, uy)
    if ends:
        last = _bow(ex, ey, ux, uy)
    if not starts:
        first = -last
    if not ends:
        last = -first
    if length == 0:
        return np.int64(0)
    share = (max(0, min(along, length)) << 12) // length
    rest = UNIT - share
    return (length * ((share * rest >> 12) * ((first * rest - last * share) >> 12) >> 12)) >> 12


@loop
def _inner(mode, c, chains, points, vertices, coder):  # type: ignore[no-untyped-def]
    """Code the inner vertices of a chain and set the directions at its ends; False where they leave the grid."""
    v, w, backward, kind = chains[c, FROM], chains[c, TO], chains[c, BACKWARD], chains[c, KIND]
    px, py = vertices[v, X], vertices[v, Y]
    tx, ty = _facing(vertices, v, backward)
    ex, ey = _facing(vertices, w, backward)
    if w == v:
        ex, ey = np.int64(0), np.int64(0)
    last = np.int64(0)
    missed = np.int64(0)
    for k in range(chains[c, INNER]):
        at = chains[c, FIRST] + k
        dx, dy = vertices[w, X] - px, vertices[w, Y] - py
        length = root(dx * dx + dy * dy)
        ux, uy = unit(dx, dy)
        if length == 0:
            ux, uy = tx, ty
        left = chains[c, INNER] - k
        step = length // (left + 1)
        along, across = np.int64(0), np.int64(0)
        if mode == ENCODE:
            along, across = into(points[at, 0] - px, points[at, 1] - py, ux, uy)
        sign = 0 if last == 0 else (1 if last > 0 else 2)
        a = min(7, left) * 2 + kind
        b = min(15, bits(step)) * 8 + min(3, k) * 2 + kind
        along = step + number(mode, along - step, _IN_A, a, b, sign * 3 + min(2, k), coder)
        last = along - step
        high = _curve(tx, ty, ex, ey, ux, uy, length, along)
        a = min(15, bits(min(along, length - along)))
        b = min(15, bits(high)) * 8 + min(7, missed)
        sign = (0 if high == 0 else (1 if high > 0 else 2)) * 3 + (0 if k == 0 else 1)
        miss = number(mode, across - high, _IN_B, a, b, sign, coder)
        missed = bits(miss) + 1
        if mode == DECODE:
            rx, ry = out_of(along, high + miss, ux, uy)
            points[at, 0], points[at, 1] = px + rx, py + ry
            if abs(points[at, 0]) >= _LIMIT_XY or abs(points[at, 1]) >= _LIMIT_XY:
                return False
        dx, dy = points[at, 0] - px, points[at, 1] - py
        if k == 0:
            _learn(vertices, v, dx, dy, backward)
        tx, ty = _turned(tx, ty, dx, dy)
        px, py = points[at, 0], points[at, 1]
    dx, dy = vertices[w, X] - px, vertices[w, Y] - py
    if chains[c, INNER] == 0:
        _learn(vertices, v, dx, dy, backward)
    if vertices[w, UX] == 0 and vertices[w, UY] == 0:
        tx, ty = _turned(tx, ty, dx, dy)
        vertices[w, UX], vertices[w, UY] = (-tx, -ty) if backward else (tx, ty)
    return True


@loop
def _learn(vertices, v, dx, dy, backward):  # type: ignore[no-untyped-def]
    """A vertex without a direction takes that of its first step."""
    if vertices[v, UX] == 0 and vertices[v, UY] == 0:
        ux, uy = unit(dx, dy)
        vertices[v, UX], vertices[v, UY] = (-ux, -uy) if backward else (ux, uy)


@loop
def _around(vertices, chains, v):  # type: ignore[no-untyped-def]
    """Kind of a chain known at a vertex (2: none), and how many lead in and out, at most three each."""
    first = vertices[v, OUT_CHAIN] if vertices[v, OUT_CHAIN] >= 0 else vertices[v, IN_CHAIN]
    kin = np.int64(2) if first < 0 else chains[first, KIND]
    return kin, min(vertices[v, INS], 3) * 4 + min(vertices[v, OUTS], 3)


@loop
def _chain(mode, c, v, known, room, reach, chains, points, vertices, scores, coder):  # type: ignore[no-untyped-def]
    """Code one chain from `v`; how many vertices are known then, or -1."""
    kin, degrees = _around(vertices, chains, v)
    around = degrees * 3 + kin
    backward = flag(mode, chains[c, BACKWARD], _BACK, kin, around, _NONE, coder)
    chains[c, BACKWARD] = backward
    kind = flag(mode, chains[c, KIND], _KIND, kin * 2 + backward, around * 2 + backward, _NONE, coder)
    chains[c, KIND] = kind
    chains[c, FROM] = v
    w = _known_end(mode, chains[c, TO], v, known, backward, kind, vertices, scores, coder)
    new = w == -1
    if w == -2 or (new and known >= len(vertices)):
        return -1
    if new:
        w = np.int64(known)
        if not _new_end(mode, v, w, known, backward, kind, reach, vertices, chains, coder):
            return -1
    chains[c, TO] = w
    dx, dy = vertices[w, X] - vertices[v, X], vertices[w, Y] - vertices[v, Y]
    length = root(dx * dx + dy * dy)
    ux, uy = unit(dx, dy)
    bow = np.int64(0)
    tx, ty = _facing(vertices, v, backward)
    if tx != 0 or ty != 0:
        bow = abs(_curve(tx, ty, *_facing(vertices, w, backward), ux, uy, length, length // 2))
    a, b = min(7, bits(bow)) * 2 + kind, min(15, bits(length)) * 8 + min(7, bits(bow))
    inner = number(mode, chains[c, INNER], _COUNT, a, b, _NONE, coder)
    chains[c, INNER] = inner
    if inner > room:
        return -1
    if not _inner(mode, c, chains, points, vertices, coder):
        return -1
    tail, head = (w, v) if backward else (v, w)
    vertices[tail, OUTS] += 1
    vertices[tail, OUT_CHAIN] = c
    vertices[head, INS] += 1
    vertices[head, IN_CHAIN] = c
    return known + 1 if new else known


@loop
def walk(mode, reach, chains, points, vertices, scores, model, fixed, state, payload):  # type: ignore[no-untyped-def]
    """Encode or decode tables of declared sizes; payload length, or 0, or -1 for what no encoder writes."""
    if not start(state, payload, mode == DECODE):
        return -1
    model[2][:3] = 1 << 16  # decisions with one context take its word
    coder = (model, fixed, state, payload)
    known = c = point = rx = ry = np.int64(0)
    for v in range(len(vertices)):
        if v == known:
            dx = number(mode, vertices[v, X] - rx, _ROOT_X, _NONE, _NONE, _NONE, coder)
            dy = number(mode, vertices[v, Y] - ry, _ROOT_Y, min(15, bits(dx)), _NONE, _NONE, coder)
            rx, ry = rx + dx, ry + dy
            vertices[v, X], vertices[v, Y] = rx, ry
            if abs(rx) >= _LIMIT_XY or abs(ry) >= _LIMIT_XY:
                return -1
            known += 1
        while True:
            kin, degrees = _around(vertices, chains, v)
            waits = min(3, known - v - 1)
            more = c < len(chains) and chains[c, FROM] == v
            if flag(mode, more, _MORE, kin, degrees * 3 + kin, degrees * 4 + waits, coder) == 0:
                break
            if c >= len(chains):
                return -1
            chains[c, FIRST] = point
            known = _chain(mode, c, v, known, len(points) - point, reach, chains, points, vertices, scores, coder)
            if known < 0 or (mode == DECODE and np.int64(state[POSITION]) >= payload.size):
                return -1
            point += chains[c, INNER]
            c += 1
    if c != len(chains) or point != len(points):
        return -1
    if mode == ENCODE:
        return finish_encoding(state, payload)
    return 0 if finish_decoding(state, payload) else -1
