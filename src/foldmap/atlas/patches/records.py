"""A patch as bytes: a head with two seals, records of a kind and a length, a checksum over all at the end.

Records are read one at a time. Every length is compared with what is left of the file and with the limit of its kind
before memory is taken for it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

from foldmap.atlas import limits
from foldmap.atlas.checksum import SEAL_BYTES
from foldmap.errors import ChecksumError, LimitError, MapFormatError, NewerVersionError, NotAFoldFileError

MAGIC = b"FOLDPTCH"
VERSION = 1
DIGEST_BYTES = 16
_HEAD = struct.Struct(f"<8sI{SEAL_BYTES}s{SEAL_BYTES}s")
_RECORD = struct.Struct("<BI")
_KEY = struct.Struct("<ii")
_CHUNK = 1 << 20
_CURE = "copy the patch again, or make it again with foldmap diff"
KEEPS = 1


class Kind(IntEnum):
    """What a record says."""

    END = 0
    METADATA = 1  # a value under a key
    NO_METADATA = 2
    LAYER = 3  # the next layer of the result; models and tiles that follow are of it
    MODEL = 4
    NO_MODEL = 5
    TILE = 6
    NO_TILE = 7


_NAMES = 3 * (limits.MAX_NAME_BYTES + 1)
_MOST = {
    Kind.END: 0,
    Kind.METADATA: _NAMES + limits.MAX_JSON_BYTES,
    Kind.NO_METADATA: _NAMES,
    Kind.LAYER: 1 + _NAMES + limits.MAX_JSON_BYTES,
    Kind.MODEL: _NAMES + limits.MAX_MODEL_BYTES,
    Kind.NO_MODEL: _NAMES,
    Kind.TILE: _KEY.size + limits.MAX_PAYLOAD_BYTES,
    Kind.NO_TILE: _KEY.size,
}


@dataclass(frozen=True)
class Record:
    """One record, taken apart.

    Attributes:
        kind: see there.
        names: a metadata key; a layer's name and kind; a model's name and role.
        key: column and row of a tile.
        body: JSON text of metadata or parameters, payload of a model or tile.
        keeps: of a layer: it begins as the base's layer of that name; an empty body leaves its parameters, too.
    """

    kind: Kind
    names: tuple[str, ...] = ()
    key: tuple[int, int] = (0, 0)
    body: bytes = b""
    keeps: bool = False

    def to_bytes(self) -> bytes:
        """The record's bytes but for its kind and length."""
        if self.kind in (Kind.TILE, Kind.NO_TILE):
            return _KEY.pack(*self.key) + self.body
        names = b"".join(bytes([len(name)]) + name for name in (text.encode() for text in self.names))
        return (bytes([KEEPS if self.keeps else 0]) if self.kind == Kind.LAYER else b"") + names + self.body


_NAMED = {Kind.METADATA: 1, Kind.NO_METADATA: 1, Kind.LAYER: 2, Kind.MODEL: 2, Kind.NO_MODEL: 1}
_BARE = (Kind.END, Kind.NO_METADATA, Kind.NO_MODEL, Kind.NO_TILE)


def _taken_apart(what: str, kind: Kind, body: bytes) -> Record:
    """A record of its bytes; a MapFormatError where they are none."""
    flags, at = 0, 0
    key = (0, 0)
    names = []
    try:
        if kind in (Kind.TILE, Kind.NO_TILE):
            key, at = _KEY.unpack_from(body), _KEY.size
        if kind == Kind.LAYER:
            flags, at = body[0], 1
        for _ in range(_NAMED.get(kind, 0)):
            size, at = body[at], at + 1
            if not 0 < size <= min(limits.MAX_NAME_BYTES, len(body) - at):
                raise MapFormatError(f"{what}: a record holds a name of {size} bytes", _CURE)
            names.append(body[at : at + size].decode())
            at += size
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise MapFormatError(f"{what}: a record is damaged", _CURE) from error
    if flags & ~KEEPS or (kind in _BARE and at != len(body)):
        raise MapFormatError(f"{what}: a record says more than a reader knows", _CURE)
    return Record(kind, tuple(names), key, body[at:], bool(flags))


class PatchWriter:
    """Writes records into an open file, with a running checksum; `close` writes the end."""

    def __init__(self, file: BinaryIO, base: bytes, result: bytes) -> None:
        self._file, self._digest = file, hashlib.blake2b(digest_size=DIGEST_BYTES)
        self.records = 0
        self._put(_HEAD.pack(MAGIC, VERSION, base, result))

    def put(self, record: Record) -> None:
        """Write one record."""
        body = record.to_bytes()
        self._put(_RECORD.pack(record.kind, len(body)))
        self._put(body)
        self.records += 1

    def close(self) -> None:
        """Write the end and the checksum; the file stays open."""
        self._put(_RECORD.pack(Kind.END, 0))
        self._file.write(self._digest.digest())

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


class PatchReader:
    """A patch, open for reading: `base` and `result`, the seals of two versions, and the records between them.

    Raises `NotAFoldFileError`: not there, or no patch; `NewerVersionError`: written by a later version;
    `ChecksumError`: damaged, which is found before any record is read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._what = path, path.name
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except OSError as error:
            raise NotAFoldFileError(f"{path} cannot be read: {error.strerror}", "check the path") from error
        self._file = os.fdopen(descriptor, "rb")
        try:
            status = os.fstat(descriptor)
            self.size = status.st_size
            if not stat.S_ISREG(status.st_mode):
                raise NotAFoldFileError(f"{path} is not a regular file", "give a file made by `foldmap diff`")
            self.base, self.result = self._read_head()
            self._check()
        except BaseException:
            self._file.close()
            raise

    def _read_head(self) -> tuple[bytes, bytes]:
        head = self._file.read(_HEAD.size)
        if not head.startswith(MAGIC):
            raise NotAFoldFileError(f"{self._what} is no patch", "give a file made by `foldmap diff`")
        if len(head) < _HEAD.size or self.size < _HEAD.size + _RECORD.size + DIGEST_BYTES:
            raise MapFormatError(f"{self._what} is cut", _CURE)
        _, version, base, result = _HEAD.unpack(head)
        if version > VERSION:
            raise NewerVersionError(f"{self._what} is a patch of version {version}", "update foldmap")
        if version != VERSION:
            raise MapFormatError(f"{self._what} is damaged", _CURE)
        if self.size > limits.MAX_FILE_BYTES:
            raise LimitError(f"{self._what} has {self.size} bytes, the limit is {limits.MAX_FILE_BYTES}", _CURE)
        return base, result

    def _check(self) -> None:
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._file.seek(0)
        left = self.size - DIGEST_BYTES
        while left and (data := self._file.read(min(left, _CHUNK))):
            digest.update(data)
            left -= len(data)
        if left or self._file.read() != digest.digest():
            raise ChecksumError(f"{self._what}: the checksum does not match", _CURE)

    def records(self) -> Iterator[Record]:
        """All records but the end, in order.

        Raises `LimitError`: a record declares more than a reader allocates; `MapFormatError`: one is none.
        """
        self._file.seek(_HEAD.size)
        left = self.size - _HEAD.size - DIGEST_BYTES
        while True:
            head = self._file.read(_RECORD.size)
            left -= _RECORD.size
            if left < 0 or len(head) < _RECORD.size:
                raise MapFormatError(f"{self._what} has no end", _CURE)
            number, size = _RECORD.unpack(head)
            if number not in _MOST:
                raise MapFormatError(f"{self._what}: a record of unknown kind {number}", _CURE)
            kind = Kind(number)
            if size > min(left, _MOST[kind]):
                raise LimitError(f"{self._what}: a record declares {size} bytes", _CURE)
            left -= size
            if kind == Kind.END:
                if left:
                    raise MapFormatError(f"{self._what} goes on after its end", _CURE)
                return
            yield _taken_apart(self._what, kind, self._file.read(size))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> PatchReader:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
