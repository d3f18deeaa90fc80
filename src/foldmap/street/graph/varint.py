"""Unsigned and signed integers in as many bytes as they need: LEB128, signed ones folded (0, -1, 1, -2, ...)."""

from __future__ import annotations

from collections.abc import Iterable

from foldmap.errors import MapFormatError

_MOST_BYTES = 9


def pack(values: Iterable[int]) -> bytes:
    """Unsigned integers below 2^63, seven bits a byte, the lowest first; the top bit says that more follow."""
    packed = bytearray()
    for value in values:
        while value > 127:
            packed.append(value & 127 | 128)
            value >>= 7
        packed.append(value)
    return bytes(packed)


def unpack(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """Read `count` integers from `at`; returns them, and where they end (MapFormatError: cut, or too long)."""
    values = []
    for _ in range(count):
        value = 0
        for place in range(_MOST_BYTES):
            if at >= len(data):
                raise MapFormatError("a number of a payload is cut", "fold the map again")
            byte = data[at]
            at += 1
            value |= (byte & 127) << 7 * place
            if byte < 128:
                break
        if byte > 127 or (byte == 0 and place):
            raise MapFormatError("a number of a payload has no end", "fold the map again")
        values.append(value)
    return values, at


def fold_sign(value: int) -> int:
    """A signed integer as an unsigned one."""
    return -2 * value - 1 if value < 0 else 2 * value


def unfold_sign(value: int) -> int:
    """Undo `fold_sign`."""
    return -(value + 1 >> 1) if value & 1 else value >> 1
