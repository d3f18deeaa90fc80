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

    def __len__(self) -> int:
        return len(self.file.directory(self.layer)) if self.index is None else len(self.index)

    def place(self, at: int) -> int:
        """Where one of the tiles stands in the old directory."""
        return at if self.index is None else int(self.index[at])

    def keys(self) -> tuple[IntArray, IntArray]:
        """Columns and rows in the new file, int64 (N,) each, the caller's own."""
        there = self.file.directory(self.layer)
        own = there.keys(slice(None) if self.index is None else self.index)
        given = self.columns, self.rows
        columns, rows = (mine if one is None else one.copy() for mine, one in zip(own, given, strict=True))
        return columns, rows

    def ascending(self, age: int) -> Iterator[tuple[int, int, int, int]]:
        """``(row, column, age, place in the directory)``, a few thousand in memory at a time."""
        there = self.file.directory(self.layer)
        for start in range(0, len(self), _AT_ONCE):
            cut = slice(start, min(start + _AT_ONCE, len(self)))
            index = np.arange(cut.start, cut.stop, dtype=np.int64) if self.index is None else self.index[cut]
            own = there.keys(index)
            columns = own[0] if self.columns is None else self.columns[cut]
            rows = own[1] if self.rows is None else self.rows[cut]
            for row, column, place in zip(*map(_list, (rows, columns, index)), strict=True):
                yield row, column, age, place

    def payload(self, place: int) -> bytes:
        """Bytes of the tile at a place of the directory."""
        return self.file.tile_at(self.layer, place)


def _list(values: AnyArray) -> list[int]:
    return [int(value) for value in values.tolist()]
