"""Finished parts of a fold in a file beside its output, so that a run that was killed is taken up where it was."""

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from foldmap.errors import WriteError
from foldmap.lidar.marks.fold import CodedTile

Tile = tuple[int, int, CodedTile | None]
"""Row, column, and what is stored there."""


def forget_parts(target: Path) -> None:
    """Remove what is kept for a file, which is done."""
    _path_of(target).unlink(missing_ok=True)


class KeptParts:
    """Tiles of parts by the hash of all that they depend on, in ``.NAME.parts`` beside a file NAME.

    A part is there whole or not at all. One that is damaged counts as not there; a file that is no such file is begun
    anew. Whoever writes NAME holds its lock, so no two runs are at work here.
    """

    def __init__(self, target: Path) -> None:
        self.path = _path_of(target)
        try:
            try:
                self._open()
            except sqlite3.DatabaseError:
                self._connection.close()
                self.path.unlink(missing_ok=True)
                self._open()
        except (OSError, sqlite3.Error) as error:
            raise WriteError(f"{self.path} cannot be written: {error}", "check the folder and its rights") from error

    def _open(self) -> None:
        self._connection = sqlite3.connect(self.path, isolation_level=None)
        # what a crash of the machine leaves half written is told by its checksum
        self._connection.execute("PRAGMA synchronous=OFF")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS tiles(part BLOB,row INT,col INT,observed INT,payload BLOB,"
            "PRIMARY KEY(part,row,col))WITHOUT ROWID"
        )
        self._connection.execute("CREATE TABLE IF NOT EXISTS parts(part BLOB PRIMARY KEY,checksum BLOB)WITHOUT ROWID")

    def get(self, part: bytes) -> list[Tile] | None:
        """Tiles of a part, ascending; None where it is not there."""
        try:
            said = self._connection.execute("SELECT checksum FROM parts WHERE part=?", (part,)).fetchone()
            query = "SELECT row,col,observed,payload FROM tiles WHERE part=? ORDER BY row,col"
            rows = [] if said is None else self._connection.execute(query, (part,)).fetchall()
        except sqlite3.DatabaseError:
            return None
        if said is None or said[0] != _checksum(rows):
            return None
        return [(row, col, None if payload is None else CodedTile(payload, seen)) for row, col, seen, payload in rows]

    def put(self, part: bytes, tiles: Iterable[Tile]) -> None:
        """Keep a part; a WriteError where the disk is full."""
        rows = [
            (row, column, *((0, None) if tile is None else (tile.observed_px, tile.payload)))
            for row, column, tile in sorted(tiles, key=lambda one: one[:2])
        ]
        try:
            self._connection.execute("BEGIN")
            self._connection.execute("DELETE FROM tiles WHERE part=?", (part,))
            self._connection.executemany("INSERT INTO tiles VALUES(?,?,?,?,?)", ((part, *row) for row in rows))
            self._connection.execute("INSERT OR REPLACE INTO parts VALUES(?,?)", (part, _checksum(rows)))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise WriteError(f"{self.path} cannot be written: {error}", "check space and rights") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()


def _path_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.parts")


def _checksum(rows: Iterable[tuple[int, int, int, bytes | None]]) -> bytes:
    digest = hashlib.sha256()
    for row, column, observed_px, payload in rows:
        size = -1 if payload is None else len(payload)
        digest.update(f"{row} {column} {observed_px} {size} ".encode())
        digest.update(payload or b"")
    return digest.digest()
