"""Tiles on their way into a file: any order in, ascending order out, memory independent of their number."""

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from foldmap.atlas.drawn import Drawn


class Staging:
    """Tiles and models that were put but not yet written, in an unnamed temporary file, which dies with the process."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=OFF")
        self._connection.execute(
            "CREATE TABLE tiles(layer TEXT,row INT,column INT,payload BLOB,PRIMARY KEY(layer,row,column))WITHOUT ROWID"
        )
        self._connection.execute(
            "CREATE TABLE models(layer TEXT,name TEXT,role TEXT,payload BLOB,PRIMARY KEY(layer,name))"
        )
        self._connection.execute("BEGIN")

    def put_tile(self, layer: str, column: int, row: int, payload: bytes | None) -> None:
        """Stage a payload, or with None the removal of a tile."""
        self._connection.execute("INSERT OR REPLACE INTO tiles VALUES(?,?,?,?)", (layer, row, column, payload))

    def put_model(self, layer: str, name: str, role: str, payload: bytes | None) -> None:
        """Stage a model, or with None its removal."""
        self._connection.execute("INSERT OR REPLACE INTO models VALUES(?,?,?,?)", (layer, name, role, payload))

    def forget(self, layer: str) -> None:
        """Drop what is staged for a layer."""
        for table in ("tiles", "models"):
            self._connection.execute(f"DELETE FROM {table} WHERE layer=?", (layer,))

    def tiles(self, layer: str, drawn: Sequence[Drawn]) -> Iterator[tuple[int, int, bytes]]:
        """All ``(column, row, payload)`` of a layer, ascending by (row, column).

        What is staged comes before what is drawn, and of that the first; payloads are read only of what is kept.
        """
        query = "SELECT row,column,payload FROM tiles WHERE layer=? ORDER BY row,column"
        staged: Iterator[tuple[int, int, bytes | None]] = self._connection.execute(query, (layer,))
        fresh = ((row, column, 0, payload) for row, column, payload in staged)
        others = [one.ascending(age) for age, one in enumerate(drawn, start=1)]
        # of equal keys the youngest sorts first, and the others are skipped
        entries: Iterator[tuple[int, int, int, Any]] = heapq.merge(fresh, *others, key=lambda entry: entry[:3])
        last: tuple[int, int] | None = None
        for row, column, age, held in entries:
            if (row, column) == last:
                continue
            last = (row, column)
            payload = drawn[age - 1].payload(held) if age else held
            if payload is not None:
                yield column, row, payload

    def model_names(self, layer: str) -> list[str]:
        """Names of the staged models of a layer."""
        return [name for (name,) in self._connection.execute("SELECT name FROM models WHERE layer=?", (layer,))]

    def model(self, layer: str, name: str) -> tuple[str, bytes | None]:
        """Role and payload of a staged model; None where it is to be removed."""
        query = "SELECT role,payload FROM models WHERE layer=? AND name=?"
        role, payload = self._connection.execute(query, (layer, name)).fetchone()
        return role, payload

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()
