"""The tile directory of a layer: which tiles there are, how long each is, and in which row its bytes lie.

Tiles are small (a few hundred bytes) and a database row costs about thirty, so neighbouring tiles share a row, a
*bundle* of at most 32 KiB. The directory lists every tile and every bundle's checksum; as it is covered by the layer's
checksum and by the seal, a tile that vanishes, moves or comes from an older version of the file is noticed on reading
that tile alone.
"""

import struct
import zlib
from array import array
from collections.abc import Iterator

import numpy as np

from foldmap.atlas.checksum import ROW_CHECKSUM_BYTES
from foldmap.atlas.limits import MAX_DEFLATE_RATIO, MAX_DIRECTORY_BYTES, MAX_PAYLOAD_BYTES, MAX_TILES
from foldmap.errors import LimitError, MapFormatError
from foldmap.types import AnyArray, ByteArray, IntArray

BUNDLE_BYTES = 32 << 10  # a bundle takes tiles up to this size; a longer tile has one for itself
_HEAD = struct.Struct("<III")
_PER_BUNDLE = 4 + ROW_CHECKSUM_BYTES
_PER_TILE = 12
_INT32 = 1 << 31


class Directory:
    """Tiles of one layer, ascending by (row, column).

    Kept in 12 bytes a tile: a map of a gigabyte may have millions. `columns`, `rows` and `lengths` are made when asked.
    """

    def __init__(
        self, first_bundle: int, bundle_tiles: IntArray, bundle_checksums: ByteArray, columns: AnyArray,
        rows: AnyArray, lengths: AnyArray,
    ) -> None:  # fmt: skip
        self.first_bundle = first_bundle
        """Id of the first bundle in table `tiles`; the others follow without a gap."""
        self.bundle_tiles = bundle_tiles
        """int64 (B,), number of tiles in each bundle."""
        self.bundle_checksums = bundle_checksums
        """uint8 (B, 8)."""
        self._columns, self._rows = (np.asarray(axis, np.int32) for axis in (columns, rows))
        self._lengths = np.asarray(lengths, np.uint32)
        self._starts = np.concatenate(([0], np.cumsum(bundle_tiles)))

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def columns(self) -> IntArray:
        """Of each tile, int64 (N,)."""
        return self._columns.astype(np.int64)

    @property
    def rows(self) -> IntArray:
        """Of each tile, int64 (N,)."""
        return self._rows.astype(np.int64)

    @property
    def lengths(self) -> IntArray:
        """Bytes of each tile's payload, int64 (N,)."""
        return self._lengths.astype(np.int64)

    @property
    def tile_bytes(self) -> int:
        """Bytes of all payloads."""
        return int(self._lengths.sum(dtype=np.int64))

    def keys(self, chosen: IntArray | slice) -> tuple[IntArray, IntArray]:
        """Columns and rows of some tiles, int64 (N,) each."""
        return self._columns[chosen].astype(np.int64), self._rows[chosen].astype(np.int64)

    def find(self, column: int, row: int) -> int:
        """Index of a tile, or -1."""
        if not (-_INT32 <= column < _INT32 and -_INT32 <= row < _INT32):
            return -1
        low, high = self._of_rows(row, row + 1)
        at = low + int(np.searchsorted(self._columns[low:high], np.int32(column)))
        return at if at < high and int(self._columns[at]) == column else -1

    def inside(self, column_0: int, column_1: int, row_0: int, row_1: int) -> IntArray:
        """Indices of the tiles with ``column_0 <= column < column_1`` and ``row_0 <= row < row_1``."""
        low, high = self._of_rows(row_0, row_1)
        columns = self._columns[low:high].astype(np.int64)
        return low + np.flatnonzero((columns >= column_0) & (columns < column_1))

    def _of_rows(self, row_0: int, row_1: int) -> tuple[int, int]:
        """Where the tiles of rows up to another begin and end."""
        low, high = (_at(self._rows, row) for row in (row_0, row_1))
        return low, max(low, high)

    def place(self, index: int) -> tuple[int, int, int]:
        """``(bundle, start, stop)``: the bundle's rank and the tile's bytes in its payload."""
        bundle = int(np.searchsorted(self._starts, index, side="right")) - 1
        start = int(self._lengths[self._starts[bundle] : index].sum(dtype=np.int64))
        return bundle, start, start + int(self._lengths[index])

    def members(self, bundle: int) -> range:
        """Indices of the tiles in one bundle."""
        return range(int(self._starts[bundle]), int(self._starts[bundle + 1]))

    def bundle_bytes(self, bundle: int) -> int:
        """Length of one bundle's payload."""
        members = self.members(bundle)
        return int(self._lengths[members.start : members.stop].sum(dtype=np.int64))

    def pack(self) -> bytes:
        """Bytes of the directory, as `unpack_directory` reads them."""
        bundles, tiles = len(self.bundle_tiles), len(self)
        body = np.empty(bundles * _PER_BUNDLE + tiles * _PER_TILE, np.uint8)
        body[: 4 * bundles] = self.bundle_tiles.astype("<u4").view(np.uint8)
        body[4 * bundles : _PER_BUNDLE * bundles] = self.bundle_checksums.ravel()
        # byte planes: the high bytes are nearly all zero and deflate to almost nothing
        planes = body[_PER_BUNDLE * bundles :].reshape(3, 4, tiles)
        for number, values in enumerate((self._rows, self._columns)):
            planes[number] = _steps(values).view(np.uint8).reshape(-1, 4).T
        planes[2] = self._lengths.astype("<u4", copy=False).view(np.uint8).reshape(-1, 4).T
        return _HEAD.pack(self.first_bundle, bundles, tiles) + zlib.compress(body.data, 9)


def unpack_directory(name: str, data: bytes, file_bytes: int) -> Directory:
    """Read what `Directory.pack` made, for a layer of a file of so many bytes; ``name`` is for messages.

    Raises `LimitError`: it declares more than a reader will allocate, or more than its bytes can hold;
    `MapFormatError`: it is not a directory.
    """
    if len(data) < _HEAD.size:
        raise MapFormatError(f"{name}: the tile directory is cut")
    first, bundles, tiles = _HEAD.unpack_from(data)
    size = bundles * _PER_BUNDLE + tiles * _PER_TILE
    packed = len(data) - _HEAD.size
    most = min(MAX_DIRECTORY_BYTES, packed * MAX_DEFLATE_RATIO + 64)
    if tiles > min(MAX_TILES, file_bytes) or bundles > tiles or size > most:
        raise LimitError(f"{name}: the tile directory of {packed} bytes declares {tiles} tiles in {bundles} bundles")
    inflate = zlib.decompressobj()
    try:
        body = inflate.decompress(data[_HEAD.size :], size + 1)
    except zlib.error as error:
        raise MapFormatError(f"{name}: the tile directory cannot be inflated") from error
    if len(body) != size or not inflate.eof or inflate.unused_data:
        raise MapFormatError(f"{name}: the tile directory has not the size it declares")
    raw = np.frombuffer(body, np.uint8)
    counts = raw[: 4 * bundles].view("<u4").astype(np.int64)
    checksums = raw[4 * bundles : _PER_BUNDLE * bundles].reshape(bundles, ROW_CHECKSUM_BYTES).copy()  # no view
    planes = raw[_PER_BUNDLE * bundles :].reshape(3, 4, tiles)
    rows, columns = (np.cumsum(_values(plane), dtype=np.uint32).view(np.int32) for plane in planes[:2])
    lengths = _values(planes[2])
    _check(name, counts, rows, columns, lengths)
    return Directory(first, counts, checksums, columns, rows, lengths)


def _check(name: str, counts: IntArray, rows: AnyArray, columns: AnyArray, lengths: AnyArray) -> None:
    same = rows[1:] == rows[:-1]
    if ((rows[1:] < rows[:-1]) | (same & (columns[1:] <= columns[:-1]))).any() or (counts < 1).any():
        raise MapFormatError(f"{name}: the tile directory is not in order")
    if int(counts.sum()) != len(lengths):
        raise MapFormatError(f"{name}: the tile directory's bundles do not hold its tiles")
    firsts = np.cumsum(counts) - counts
    if len(lengths) and int(np.add.reduceat(lengths, firsts, dtype=np.int64).max()) > MAX_PAYLOAD_BYTES:
        raise LimitError(f"{name}: a bundle of tiles is longer than {MAX_PAYLOAD_BYTES} bytes")


def _at(ascending: AnyArray, value: int) -> int:
    """How many are less than a value, which may lie beyond 32 bits: an array of the type found is compared at once."""
    if value >= _INT32:
        return len(ascending)
    return 0 if value <= -_INT32 else int(np.searchsorted(ascending, np.int32(value)))


def _values(planes: ByteArray) -> AnyArray:
    """Numbers of their bytes (4, N), uint32 (N,)."""
    return np.ascontiguousarray(planes.T).view("<u4").reshape(planes.shape[1])


def _steps(values: AnyArray) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Differences of int32 modulo 2**32; the first counts from zero."""
    return np.diff(values.view(np.uint32), prepend=np.uint32(0)).astype("<u4", copy=False)


class Bundler:
    """Cuts an ascending stream of tiles into bundles, and collects their directory; ids count from ``first_bundle``."""

    def __init__(self, first_bundle: int) -> None:
        self.first_bundle = first_bundle
        self._columns, self._rows, self._lengths = array("i"), array("i"), array("I")
        self._counts: list[int] = []
        self._checksums = bytearray()

    def bundles(self, tiles: Iterator[tuple[int, int, bytes]]) -> Iterator[tuple[int, bytes]]:
        """Turn ``(column, row, payload)``, ascending by (row, column), into ``(id, payload)`` of bundles."""
        pending: list[bytes] = []
        size = 0
        for column, row, payload in tiles:
            if pending and size + len(payload) > BUNDLE_BYTES:
                yield self._close(pending)
                pending, size = [], 0
            pending.append(payload)
            size += len(payload)
            self._columns.append(column)
            self._rows.append(row)
            self._lengths.append(len(payload))
        if pending:
            yield self._close(pending)

    def seal(self, checksum: bytes) -> None:
        """Record the checksum of the bundle that was yielded last."""
        self._checksums += checksum

    def directory(self) -> Directory:
        """The directory of all that went through."""
        checksums = np.frombuffer(bytes(self._checksums), np.uint8).reshape(-1, ROW_CHECKSUM_BYTES)
        columns, rows = (np.frombuffer(axis, np.int32) for axis in (self._columns, self._rows))
        lengths = np.frombuffer(self._lengths, np.uint32)
        return Directory(self.first_bundle, np.array(self._counts, np.int64), checksums, columns, rows, lengths)

    def _close(self, pending: list[bytes]) -> tuple[int, bytes]:
        self._counts.append(len(pending))
        return self.first_bundle + len(self._counts) - 1, b"".join(pending)
