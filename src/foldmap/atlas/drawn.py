"""Tiles that a new file takes from one that is open, as they are, when it is written: no copy before that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from foldmap.atlas.reader import FoldFile
from foldmap.types import AnyArray, IntArray

_AT_ONCE = 4096


@dataclass(frozen=True)
class Drawn:
    """Tiles of a layer of an open file: all of them, or some, under their own keys or others.

    Attributes:
        file: stays open until the new file is written.
        layer: its name there.
        index: int64 (N,), places of the tiles in the directory there; None: all of them.
        columns, rows: int64 (N,), keys in the new file, ascending by row, then column, each once; None: as there.
    """

    file: FoldFile
    layer: str
    index: IntArray | None = None
    columns: IntArray | None = None
    rows: IntArray | None = None

    def keys(self) -> tuple[IntArray, IntArray, IntArray]:
        """Columns and rows in the new file, and places in the old directory, int64 (N,) each."""
        there = self.file.directory(self.layer)
        index = np.arange(len(there), dtype=np.int64) if self.index is None else self.index
        columns = there.columns[index] if self.columns is None else self.columns
        rows = there.rows[index] if self.rows is None else self.rows
        return columns, rows, index

    def ascending(self, age: int) -> Iterator[tuple[int, int, int, int]]:
        """``(row, column, age, place in the directory)``, a few thousand in memory at a time."""
        columns, rows, index = self.keys()
        for start in range(0, len(index), _AT_ONCE):
            cut = slice(start, start + _AT_ONCE)
            for row, column, place in zip(*(_list(axis[cut]) for axis in (rows, columns, index)), strict=True):
                yield row, column, age, place

    def payload(self, place: int) -> bytes:
        """Bytes of the tile at a place of the directory."""
        return self.file.tile_at(self.layer, place)


def _list(values: AnyArray) -> list[int]:
    return [int(value) for value in values.tolist()]
