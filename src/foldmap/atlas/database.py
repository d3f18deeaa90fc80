"""SQLite as the reader uses it: read-only, bounded in memory and time, its errors turned into ours."""

import os
import sqlite3
import stat
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from foldmap.atlas.limits import MAX_JSON_BYTES, MAX_QUERY_S
from foldmap.atlas.schema import HEADER_BYTES, check_header, check_schema
from foldmap.errors import LimitError, MapFormatError, NotAFoldFileError

_STEPS_BETWEEN_CLOCK_READS = 20_000
_REFOLD = "copy the file again, or fold the map again"
_LONGEST_QUERY = 1024  # the limit on fields holds for the text of a query too


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting, as a pipe would have us do for someone to write into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class Database:
    """A checked, immutable connection to a .fold file.

    The file is opened as immutable: no lock, no journal, nothing is ever written beside it, so read-only media work.
    That is safe because foldmap never changes a file under its name, it renames a new one over it: an open reader keeps
    the old map. If another program edits the file in place nevertheless, the checksums taken at opening no longer fit.
    Raises `MapFormatError`: header or schema are not those of a .fold file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self._lock = threading.Lock()
        self._deadline = 0.0
        try:
            with open(path, "rb", buffering=0, opener=_open_at_once) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise NotAFoldFileError(f"{path} is not a regular file", "give a file made by `foldmap fold`")
                self.file_bytes = status.st_size
                page_size = check_header(self.name, file.read(HEADER_BYTES), self.file_bytes)
                file.seek(0)
                check_schema(self.name, file.read(page_size), self.file_bytes)
            self._connection = self._connect()
        except FileNotFoundError as error:
            raise NotAFoldFileError(f"{path} does not exist", "check the path") from error
        except OSError as error:
            what = f"{path} cannot be read: {error.strerror}"
            raise NotAFoldFileError(what, "check the path and its rights") from error

    def _connect(self) -> sqlite3.Connection:
        location = f"file:{quote(os.fsencode(self.path.absolute()))}?mode=ro&immutable=1"
        try:
            connection = sqlite3.connect(location, uri=True, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise MapFormatError(f"{self.name} cannot be opened: {error}") from error
        self._deadline = time.monotonic() + MAX_QUERY_S
        connection.set_progress_handler(self._late, _STEPS_BETWEEN_CLOCK_READS)
        for limit, value in (
            (sqlite3.SQLITE_LIMIT_LENGTH, MAX_JSON_BYTES),
            (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 4096),
            (sqlite3.SQLITE_LIMIT_COLUMN, 32),
            (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 32),
            (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
            (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1),
        ):
            connection.setlimit(limit, value)
        try:
            for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "query_only=ON"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
        except sqlite3.Error as error:
            connection.close()
            raise MapFormatError(f"{self.name} cannot be opened: {error}") from error
        return connection

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def rows(self, query: str, *values: int, most: int, longest: int) -> list[tuple[Any, ...]]:
        """Run one query, within limits: at most ``most`` rows, no field above ``longest`` bytes.

        Raises `LimitError`: too many rows, too long a field, or too long a time; `MapFormatError`: SQLite finds the
        database damaged.

        """
        with self._lock:
            self._deadline = time.monotonic() + MAX_QUERY_S
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(longest, _LONGEST_QUERY))
            try:
                found = self._fetch(query, values, most)
            except sqlite3.DataError as error:
                raise LimitError(f"{self.name}: a field is longer than {longest} bytes") from error
            except (sqlite3.Error, UnicodeError, OverflowError, MemoryError) as error:
                if self._late():
                    raise LimitError(f"{self.name}: reading takes longer than {MAX_QUERY_S} s") from error
                raise MapFormatError(f"{self.name} is damaged: {error}", _REFOLD) from error
        return found

    def _fetch(self, query: str, values: tuple[int, ...], most: int) -> list[tuple[Any, ...]]:
        found = []
        total = 0
        # a damaged tree can lead to one long field many times; honest rows never add up to more than the file
        for row in self._connection.execute(query, values):
            found.append(row)
            total += sum(len(field) for field in row if isinstance(field, (str, bytes)))
            if len(found) > most or total > self.file_bytes:
                raise LimitError(f"{self.name}: more than {most} rows, or {total} bytes in them", _REFOLD)
        return found

    def check_pages(self) -> list[str]:
        """SQLite's own check of all pages: a list of complaints, empty when there are none."""
        with self._lock:
            self._deadline = time.monotonic() + 10 * MAX_QUERY_S
            try:
                found = self._connection.execute("PRAGMA integrity_check(20)").fetchall()
            except (sqlite3.Error, UnicodeError) as error:
                return [str(error)]
        return [str(row[0]) for row in found if row[0] != "ok"]

    def close(self) -> None:
        """Close the connection; reading afterwards is an error."""
        with self._lock:
            self._connection.close()
