"""Transform codes as docs/visual-codes.md (4.3 to 4.6) says, in plain Python; shares no code with the package."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
from range_reader import SQUASH, STRETCH, RangeReader, clamp, follow

DECAY = [min(math.floor(math.exp(-i / 256) * 2**32), 2**32 - 2**18) for i in range(4096)]
WIDTHS = sorted([8 * 2**i for i in range(12)] + [12 * 2**i for i in range(11)])
Z, G, TWO, MORE, ACTIVE = 0, 240, 480, 960, 1440  # where the shifts of each kind begin


def safetensors(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors, and the JSON of the metadata's entry info."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    info = json.loads(header.pop("__metadata__", {}).get("info", "{}"))
    kinds = {"F16": "<f2", "F32": "<f4", "I8": "i1", "U8": "u1", "U16": "<u2"}
    held = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = np.frombuffer(data[8 + length + begin : 8 + length + end], kinds[entry["dtype"]])
        held[name] = flat.reshape(entry["shape"])
    return held, info


def read_basis(data: bytes | None) -> dict[str, Any]:
    """Section 4.3: its tensors."""
    assert data is not None
    held, info = safetensors(data)
    assert info["format"] == 1
    rank = len(held["axis_scale"])
    held.setdefault("bend", np.zeros((0, rank), np.int8))
    held.setdefault("bend_scale", np.zeros(rank, np.uint16))
    held.setdefault("shift", np.zeros(1476, np.int8))
    return held


def read_transform(data: bytes, count: int, basis: dict[str, Any], step: float) -> tuple[np.ndarray, ...]:
    """Symbols int (P, T), descriptors float (P, D), and leans int (P, T)."""
    ratio, spread = basis["step_ratio"].tolist(), basis["spread"].tolist()
    whole = round(step * 65536)
    assert whole == step * 65536
    steps = [clamp(whole * r // 64, 16, 2**20) for r in ratio]
    told = max([j + 1 for j in range(len(steps)) if steps[j] <= 8 * spread[j]], default=1)
    stream = Coefficients(data, basis, steps[:told])
    rows = [stream.row() for _ in range(count)]
    if count:
        stream.reader.finish()
    else:
        assert data == b""
    symbols = np.array([row[0] for row in rows], np.int64).reshape(count, told)
    leans = np.array([row[1] for row in rows], np.int64).reshape(count, told)
    inside = np.clip(leans / 16, -0.4, 0.4)
    values = np.where(symbols == 0, inside, symbols) * (np.array(steps[:told]) / 65536)
    axes = basis["axes"].astype(np.float64) * basis["axis_scale"].astype(np.float64)
    out = values @ axes[:, :told].T + basis["mean"].astype(np.float64)
    length = np.sqrt((out * out).sum(axis=1, keepdims=True))
    out = np.where(length > 1e-6, out, axes[:, 0])
    return symbols, out / np.sqrt((out * out).sum(axis=1, keepdims=True)), leans


class Coefficients:
    """Sections 4.4 and 4.5."""

    def __init__(self, data: bytes, basis: dict[str, Any], steps: list[int]) -> None:
        self.reader, self.steps, told = RangeReader(data), steps, len(steps)
        rows = len(basis["bend"])
        self.products = min((math.isqrt(8 * rows + 1) - 1) // 2, told)
        self.bend = basis["bend"][: self.products * (self.products + 1) // 2, :told].astype(np.int64)
        self.shift = [int(v) * 2**20 for v in basis["shift"]]
        self.chances, self.expected, self.width, self.square, self.turn = [], [], [], [], []
        for j, s in enumerate(steps):
            spread = int(basis["spread"][j])
            z = 256 * s // spread
            nats = (181 * z) >> 7
            leave, further = DECAY[min((141 * nats) >> 8, 4095)], DECAY[min(nats, 4095)]
            chances = {"zero": [leave, 20], "sign": [2**31, 20]}
            self.chances.append(chances | {reached: [further, 20] for reached in range(1, 12)})
            self.expected.append(max(256 * leave // (2**32 - further), 1))
            self.width.append(sum(edge <= z for edge in WIDTHS))
            self.square.append(min((spread * spread) >> 22, 4095))
            self.turn.append(131072 * int(basis["bend_scale"][j]) // s)

    def row(self) -> tuple[list[int], list[int]]:
        told = len(self.steps)
        sums, held = np.zeros(told, np.int64), []
        symbols, leans = [], []
        got = wanted = 0
        for j in range(told):
            lean = clamp((int(sums[j]) * self.turn[j]) >> 24, -127, 127)
            away = sum(abs(lean) >= edge for edge in (1, 2, 3, 4, 6, 8, 12, 16, 28))
            activity = min((4 * got + 512) // (wanted + 256), 11)
            symbol = self._symbol(j, lean, away, activity)
            wanted += self.expected[j]
            got += 256 * abs(symbol)
            symbols.append(symbol)
            leans.append(lean)
            if j < self.products:
                value = clamp((symbol * self.steps[j]) >> 6, -2047, 2047)
                held.append(value)
                first = j * (j + 1) // 2
                products = [(held[i] * value) >> 10 for i in range(j)] + [((value * value) >> 10) - self.square[j]]
                sums[j + 1 :] += np.array(products) @ self.bend[first : first + j + 1, j + 1 :]
        return symbols, leans

    def _symbol(self, j: int, lean: int, away: int, activity: int) -> int:
        chances, cell = self.chances[j], 10 * self.width[j] + away
        if not self._bit(chances["zero"], Z + cell, False, ACTIVE + activity):
            return 0
        toward = lean < 0
        minus = self._bit(chances["sign"], G + cell, not toward, None)
        agree = int(bool(minus) == toward)
        cell = (2 * self.width[j] + agree) * 10 + away
        reached = 1
        while reached < 12:
            kind, row = (TWO, 1) if reached == 1 else (MORE, 2)
            if not self._bit(chances[reached], kind + cell, False, ACTIVE + 12 * row + activity):
                break
            reached += 1
        if reached == 12:
            depth = 0
            while depth < 15 and self.reader.even():
                depth += 1
            low = 0
            for _ in range(depth):
                low = 2 * low + self.reader.even()
            reached += 2**depth + low - 1
        assert reached <= 16383
        return -reached if minus else reached

    def _bit(self, slot: list[int], first: int, turned: bool, second: int | None) -> int:
        push = -self.shift[first] if turned else self.shift[first]
        push += 0 if second is None else self.shift[second]
        logit = clamp(STRETCH[slot[0] >> 20] + (push >> 16), -2047, 2047)
        chance = clamp(SQUASH[logit + 2048], 16, 65520)
        bit = self.reader.bit(chance)
        error = 3 * (65536 * bit - chance)
        self.shift[first] += -error if turned else error
        if second is not None:
            self.shift[second] += error
        follow(slot, bit, 1000)
        return bit
