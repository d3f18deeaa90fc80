"""Decisions as docs/visual-codes.md (section 1) and docs/coders.md (2.5) say, in plain Python; shares no code."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Sequence

import numpy as np

SQUASH = [math.floor(65536 / (1 + math.exp((2048 - i) / 256))) for i in range(4096)]
STRETCH = [max(-2047, min(2047, bisect_left(SQUASH, 16 * j + 8) - 2048)) for j in range(4096)]


def clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


class RangeReader:
    """A payload, decision by decision; `finish` holds it against the one ending that a writer writes."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.words = payload, 0
        self.low, self.range = 0, 2**64 - 1  # in units of 2^-64 / 2^(32 words); low without its whole words
        self.value = int.from_bytes(payload[:8].ljust(8, b"\0"), "big")  # less low

    def bit(self, chance: int) -> int:
        bound = (self.range >> 16) * chance
        one = self.value < bound
        if one:
            self.range = bound
        else:
            self.low += bound
            self.value -= bound
            self.range -= bound
        if self.range < 2**32:
            self.words += 1
            word = self.payload[4 * self.words + 4 : 4 * self.words + 8].ljust(4, b"\0")
            self.range <<= 32
            self.low <<= 32
            self.value = (self.value << 32) | int.from_bytes(word, "big")
        return int(one)

    def even(self) -> int:
        return self.bit(32768)

    def finish(self) -> None:
        for count in range(1, 9):
            unit = 2 ** (64 - 8 * count)
            ending = -(-self.low // unit) * unit
            if ending + unit <= self.low + self.range:
                break
        assert self.low + self.value == ending, "not the ending that a writer writes"
        assert len(self.payload) == 4 * self.words + count, "bytes are missing, or too many"


class Mixed:
    """Section 1.2: slots by name, and weight sets."""

    def __init__(self, reader: RangeReader, limit: int, speed: int) -> None:
        self.reader, self.limit, self.speed = reader, limit, speed
        self.slots: dict[Hashable, list[int]] = {}

    @staticmethod
    def weights(count: int) -> list[int]:
        return [655360 // (7 * count)] * count

    def bit(self, weights: list[int], names: Sequence[Hashable]) -> int:
        slots = [self.slots.setdefault(name, [2**31, 0]) for name in names]
        told = []
        for chance, count in slots:
            logit = STRETCH[chance >> 20]
            told.append((logit * (count + 1)) >> 2 if 0 < count < 4 else logit if count else 0)
        total = clamp(sum(w * x for w, x in zip(weights, told, strict=False)) >> 16, -2047, 2047)
        chance = clamp(SQUASH[total + 2048], 16, 65520)
        bit = self.reader.bit(chance)
        error = (65536 * bit - chance) * self.speed
        for k, (slot, logit) in enumerate(zip(slots, told, strict=True)):
            weights[k] += (logit * error + 131072) >> 18
            follow(slot, bit, self.limit)
        return bit


def follow(slot: list[int], bit: int, limit: int) -> None:
    """A chance and its count after an outcome."""
    chance, count = slot
    rate = 131072 // (2 * count + 3)
    slot[0] += ((2**32 - 1 - chance) * rate) >> 16 if bit else -((chance * rate) >> 16)
    slot[1] = min(count + 1, limit)


def read_integers(data: bytes, rows: int, columns: int) -> np.ndarray:
    """Section 1.3: int64 (rows, columns)."""
    values = [[0] * columns for _ in range(rows)]
    if rows * columns == 0:
        assert data == b""
        return np.zeros((rows, columns), np.int64)
    reader = RangeReader(data)
    mixed = Mixed(reader, 120, 8)
    several, one = mixed.weights(3), [65536]
    for row in range(rows):
        for column in range(columns):
            above = values[row - 1][column] if row else 0
            beside = values[row][column - 1] if column else 0
            up, left = above.bit_length(), beside.bit_length()
            top = values[row - 2][column].bit_length() if row > 1 else up
            k = 0
            while k < 62:
                near = ("c", column, min(15, (up + 1) >> 1), min(15, left), k)
                if not mixed.bit(several, [("a", column, k), ("b", column, min(63, up + top), k), near]):
                    break
                k += 1
            if k:
                signs = 3 * _sign_class(above) + _sign_class(beside)
                minus = mixed.bit(one, [("sign", column, signs)])
                size = 1
                for number in range(k - 2, -1, -1):
                    known = number >= k - 3
                    size = 2 * size + (mixed.bit(one, [("top", column, k, size)]) if known else reader.even())
                values[row][column] = -size if minus else size
    reader.finish()
    return np.array(values, np.int64)


def _sign_class(value: int) -> int:
    return 0 if value == 0 else 1 if value > 0 else 2
