"""A file read from front to back that never believes a count."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from types import TracebackType

from foldmap.errors import MapInputError
from foldmap.formats.colmap.raw import REWRITE, cannot_read

_COUNT = struct.Struct("<Q")


class ByteSource:
    """One binary file of a COLMAP model; use it in a ``with``.

    Every length is compared with the bytes that are left before anything is read or allocated.

    Args:
        path: the file.

    Raises:
        MapInputError: it cannot be read or is empty; and, from the methods, it ends too soon.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.what = "its header"
        try:
            self._file = path.open("rb")
            status = os.fstat(self._file.fileno())
        except OSError as error:
            raise cannot_read(path, error) from error
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            self._file.close()
            raise MapInputError(f"{path} is empty", REWRITE)
        self.left = status.st_size

    def __enter__(self) -> ByteSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def at(self) -> int:
        """Where the next byte lies."""
        return self._file.tell()

    def take(self, size: int) -> bytes:
        """The next bytes."""
        self._spend(size)
        data = self._file.read(size)
        if len(data) != size:
            raise self.cut()
        return data

    def skip(self, size: int) -> None:
        """Pass over bytes."""
        self._spend(size)
        self._file.seek(size, os.SEEK_CUR)

    def count(self, smallest: int, of: str) -> int:
        """A 64-bit count of records, each of ``smallest`` bytes at least."""
        (count,) = _COUNT.unpack(self.take(_COUNT.size))
        if count * smallest > self.left:
            raise MapInputError(
                f"{self.path} declares {count:,} {of}, more than its {self.left:,} remaining bytes can hold",
                f"it is cut short, damaged or no COLMAP file: {REWRITE}",
            )
        return int(count)

    def text(self, longest: int = 4096) -> str:
        """UTF-8 text that ends with a zero byte."""
        head = self._file.peek(min(longest, self.left))[:longest]
        end = head.find(b"\0")
        if end < 0:  # the buffer ended first
            start = self._file.tell()
            head = self._file.read(min(longest, self.left))
            self._file.seek(start)
            end = head.find(b"\0")
        if end < 0:
            raise MapInputError(f"{self.path}: {self.what} has a name without end", f"the file is damaged: {REWRITE}")
        raw = self.take(end + 1)[:-1]
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MapInputError(
                f"{self.path}: {self.what} has the name {raw[:80]!r}, which is not UTF-8",
                "rename the image, or the file is damaged",
            ) from error

    def finish(self) -> None:
        """Refuse bytes after the last record."""
        if self.left:
            raise MapInputError(
                f"{self.path} has {self.left:,} bytes after its last record",
                f"it is damaged or no COLMAP file: {REWRITE}",
            )

    def cut(self) -> MapInputError:
        """The error of a file that ends too soon."""
        return MapInputError(f"{self.path} ends inside {self.what}", f"it is cut short: {REWRITE}")

    def _spend(self, size: int) -> None:
        if size > self.left:
            raise self.cut()
        self.left -= size
