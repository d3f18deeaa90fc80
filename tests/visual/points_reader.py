"""Positions and visibility as docs/visual-codes.md (sections 3 and 5) says, in plain Python; shares no code."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from range_reader import Mixed, RangeReader


def read_positions(data: bytes) -> np.ndarray:
    """Section 3: float64 (P, 3)."""
    count, *left, first_stop, depth, width, step = struct.unpack_from("<IBBBBBBf", data)
    assert 1 <= count <= 2**22
    assert max(left) <= 30
    assert first_stop <= depth <= sum(left)
    at = [14 + width * k for k in range(4)]
    origin = [int.from_bytes(data[at[k] : at[k + 1]], "little", signed=True) for k in range(3)]
    walk = Boxes(RangeReader(data[at[3] :]), 8 if count <= 65536 else 4)
    boxes = [([2**b for b in left], count, 0)]
    for level in range(depth):
        axis = left.index(max(left))
        boxes = walk.halve(boxes, level, axis, left, level >= first_stop)
        left[axis] -= 1
    walk.mixed.reader.finish()
    half = float(np.float64(np.float32(step)) / 2)
    rows = [[float(c + 2 * o) * half for c, o in zip(box[0], origin, strict=True)] for box in boxes]
    return np.repeat(np.array(rows), [box[1] for box in boxes], axis=0)


class Boxes:
    """Lists of boxes: (doubled centre, points, done)."""

    def __init__(self, reader: RangeReader, reach: int) -> None:
        self.mixed, self.reach = Mixed(reader, 250, 24), reach
        self.sets = [Mixed.weights(4) for _ in range(8)]

    def halve(self, old: list, level: int, axis: int, left: list[int], may_end: bool) -> list:
        new: list = []
        for i, (centre, count, done) in enumerate(old):
            if not done and may_end and self._ends(old, i, new, level):
                done = level + 1
            if done:
                new.append((centre, count, done))
                continue
            lower = self._lower(count, self._look(old, i, new, axis, left))
            for sign, share in ((-1, lower), (1, count - lower)):
                if share:
                    moved = list(centre)
                    moved[axis] += sign * 2 ** (left[axis] - 1)
                    new.append((moved, share, 0))
        return new

    def _ends(self, old: list, i: int, new: list, level: int) -> int:
        def note(box: Any, ahead: int) -> int:
            return 3 if box is None or not box[2] else max(0, 2 + ahead - (level - (box[2] - 1)))

        before = [note(new[-k] if k <= len(new) else None, 0) for k in (1, 2, 3)]
        after = [note(old[i + k] if i + k < len(old) else None, 1) for k in (1, 2, 3)]
        b, a = (16 * notes[0] + 4 * notes[1] + notes[2] for notes in (before, after))
        many = int(old[i][1] > 1)
        return self.mixed.bit(self.sets[6], [("level", level, many), ("around", b, many), ("both stop", b, a)])

    def _look(self, old: list, i: int, new: list, axis: int, left: list[int]) -> dict[str, int]:
        others = [k for k in range(3) if k != axis]
        size, floor = 2 ** left[axis], sum(2 ** left[k] for k in others)
        here = old[i][0]
        near = []
        for centre, _, _ in new[::-1][: self.reach] + old[i + 1 :][: self.reach]:
            along = centre[axis] - here[axis]
            across = max(abs(centre[k] - here[k]) for k in others)
            near.append((across + (abs(along) >> 1) + floor, along, across))
        if not near:
            return {"mean": 0, "spread": 5, "nearest": 6, "across": 5, "fine": 0, "mirrored": 0}
        best, best_along, best_across = min(near, key=lambda each: each[0])
        weights = [((best * 1024) // distance) ** 2 for distance, _, _ in near]
        total = sum(weights)
        mean = sum(w * each[1] for w, each in zip(weights, near, strict=True)) // total
        spread = sum(w * abs(each[1] - mean) for w, each in zip(weights, near, strict=True)) // total
        mirrored = mean < 0
        if mirrored:
            mean, best_along = -mean, -best_along

        def bin_of(v: int) -> int:
            k = sum(8 * abs(v) >= size * scale for scale in (1, 2, 4, 8, 16, 32))
            return k if v >= 0 else -k

        def scale_of(v: int) -> int:
            return next((k for k in range(5) if 2 * v < size << k), 5)

        return {
            "mean": bin_of(mean),
            "spread": scale_of(spread),
            "nearest": 6 + bin_of(best_along),
            "across": scale_of(best_across),
            "fine": min(31, 16 * mean // size),
            "mirrored": int(mirrored),
        }

    def _lower(self, count: int, look: dict[str, int]) -> int:
        mean, spread = look["mean"], look["spread"]
        if count == 1:
            names = [
                ("mean", mean, spread),
                ("nearest", look["nearest"], look["across"]),
                ("both", mean, look["nearest"], spread),
                ("fine", look["fine"], spread),
            ]
            told = self.mixed.bit(self.sets[spread], names)
        else:
            told = self._number(count, mean)
        return count - told if look["mirrored"] else told

    def _number(self, count: int, mean: int) -> int:
        kind = count if count < 16 else min(31, 11 + count.bit_length())
        node, number = 1, 0
        for k in range(count.bit_length() - 1, -1, -1):
            bit = 0
            if (2 * number + 1) << k <= count:
                names = [("heap", kind, node), ("pull", mean, kind, node)]
                bit = self.mixed.bit(self.sets[7], names) if node < 64 else self.mixed.reader.even()
            number, node = 2 * number + bit, 2 * node + bit
        return number


def read_visibility(data: bytes, positions: np.ndarray) -> np.ndarray:
    """Section 5, after the bits: bool (P, G)."""
    points, groups = struct.unpack_from("<II", data)
    assert points == len(positions)
    seen = np.zeros((points, groups), np.int64)
    if not seen.size:
        assert len(data) == 8
        return seen.astype(bool)
    reader = RangeReader(data[8:])
    mixed = Mixed(reader, 250, 4)
    sets = [Mixed.weights(6) for _ in range(16)]
    whole = _whole(positions)
    window = max(48, min(4096, 2**22 // points))
    for p in range(points):
        first = max(0, p - window)
        distance = ((whole[first:p] - whole[p]) ** 2).sum(axis=1)
        nearest = np.argsort(distance, kind="stable")[:12]  # of equal ones the earlier first
        rows = [seen[first + j] for j in nearest]
        support = _support(rows, distance[nearest].tolist(), groups)
        row: list[int] = []
        for g in range(groups):
            names = _names(p, g, rows, row, support, seen[:p, g].sum())
            row.append(mixed.bit(sets[names[2][1]], names))
        seen[p] = row
    reader.finish()
    return seen.astype(bool)


def _whole(positions: np.ndarray) -> np.ndarray:
    low = positions.min(axis=0)
    side = (positions - low).max()
    if side == 0 or not np.isfinite(side):
        return np.zeros(positions.shape, np.int64)
    cell = max(side / 1048575, 1e-300)
    return np.clip(np.floor((positions - low) / cell), 0, 1048575).astype(np.int64)


def _support(rows: list[np.ndarray], distance: list[int], groups: int) -> list[int]:
    if not rows:
        return [0] * groups
    scale = distance[min(len(rows), 3) - 1] + 1
    weights = [64 * scale // (d + scale) + 1 for d in distance]
    total = sum(weights)
    return [255 * sum(w * int(r[g]) for w, r in zip(weights, rows, strict=True)) // total for g in range(groups)]


def _names(p: int, g: int, rows: list, row: list[int], support: list[int], seen_g: int) -> list[tuple]:
    here = (16 * support[g]) >> 8 or int(support[g] > 0)
    beside = (16 * max(support[g - 1] if g else 0, support[g + 1] if g + 1 < len(support) else 0)) >> 8
    near = 0
    for neighbour in rows[:3]:
        near = 2 * near + int(neighbour[g])
    rose = int(rows[0][g - 1]) if rows and g else 0
    b = ([0] * 7 + row)[-7:]
    last = 2 * b[-2] + b[-1]
    last3 = 4 * b[-3] + last
    last4 = 8 * b[-4] + last3
    run = next((k for k in range(7) if b[-1 - k]), 7)
    own, pace = min(8, _log(sum(row))), min(8, _log(sum(support[:g]) >> 8))
    share = _log(255 * int(seen_g) // p) if p else 0
    return [
        ("run", last4, run, min(here, 3)),
        ("same", near, last3, rose, min(here >> 1, 7)),
        ("around", here, beside, last),
        ("popular", share, min(here, 7), last),
        ("pace", own, pace, here),
        ("image", g, last),
    ]


def _log(v: int) -> int:
    if v < 4:
        return v
    k = v.bit_length() - 1
    return 2 * k + ((v >> (k - 1)) & 1)
