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
from dataclasses import dataclass

import numpy as np

from foldmap.atlas.checksum import ROW_CHECKSUM_BYTES
from foldmap.atlas.limits import MAX_DEFLATE_RATIO, MAX_DIRECTORY_BYTES, MAX_PAYLOAD_BYTES, MAX_TILES
from foldmap.errors import LimitError, MapFormatError
from foldmap.types import ByteArray, IntArray

BUNDLE_BYTES = 32 << 10  # a bundle takes tiles up to this size; a longer tile has one for itself
_HEAD = struct.Struct("<III")
_PER_BUNDLE = 4 + ROW_CHECKSUM_BYTES
_PER_TILE = 12
_INT32 = 1 << 31


@dataclass
class Directory:
    """Tiles of one layer, ascending by (row, column)."""

    first_bundle: int  # id of the first bundle in table `tiles`; the others follow without a gap
    bundle_tiles: IntArray  # int64 (B,), number of tiles in each bundle
    bundle_checksums: ByteArray  # uint8 (B, 8)
    columns: IntArray  # int64 (N,)
    rows: IntArray  # int64 (N,)
    lengths: IntArray  # int64 (N,), bytes of each tile's payload

    def __post_init__(self) -> None:
        self._keys = _keys(self.rows, self.columns)
        self._ends = np.concatenate(([0], np.cumsum(self.lengths)))
        self._starts = np.concatenate(([0], np.cumsum(self.bundle_tiles)))

    def __len__(self) -> int:
        return len(self.lengths)

    def find(self, column: int, row: int) -> int:
        """Index of a tile, or -1."""
        if not (-_INT32 <= column < _INT32 and -_INT32 <= row < _INT32):
            return -1
        key = (row << 32) + column + _INT32
        at = int(np.searchsorted(self._keys, key))
        return at if at < len(self._keys) and int(self._keys[at]) == key else -1

    def inside(self, column_0: int, column_1: int, row_0: int, row_1: int) -> IntArray:
        """Indices of the tiles with ``column_0 <= column < column_1`` and ``row_0 <= row < row_1``."""
        low = int(np.searchsorted(self.rows, row_0))
        high = int(np.searchsorted(self.rows, row_1))
        columns = self.columns[low:high]
        return low + np.flatnonzero((columns >= column_0) & (columns < column_1))

    def place(self, index: int) -> tuple[int, int, int]:
        """``(bundle, start, stop)``: the bundle's rank and the tile's bytes in its payload."""
        bundle = int(np.searchsorted(self._starts, index, side="right")) - 1
        base = int(self._ends[self._starts[bundle]])
        return bundle, int(self._ends[index]) - base, int(self._ends[index + 1]) - base

    def members(self, bundle: int) -> range:
        """Indices of the tiles in one bundle."""
        return range(int(self._starts[bundle]), int(self._starts[bundle + 1]))

    def bundle_bytes(self, bundle: int) -> int:
        """Length of one bundle's payload."""
        members = self.members(bundle)
        return int(self._ends[members.stop] - self._ends[members.start])


def pack_directory(directory: Directory) -> bytes:
    """Bytes of a directory, as `unpack_directory` reads them."""
    steps = [_steps(directory.rows), _steps(directory.columns), directory.lengths.astype("<u4")]
    body = directory.bundle_tiles.astype("<u4").tobytes() + directory.bundle_checksums.tobytes()
    # byte planes: the high bytes are nearly all zero and deflate to almost nothing
    body += b"".join(step.view(np.uint8).reshape(-1, 4).T.tobytes() for step in steps)
    head = _HEAD.pack(directory.first_bundle, len(directory.bundle_tiles), len(directory))
    return head + zlib.compress(body, 9)


def unpack_directory(name: str, data: bytes, file_bytes: int) -> Directory:
    """Read what `pack_directory` made, for a layer of a file of so many bytes; ``name`` is for messages.

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
    checksums = raw[4 * bundles : _PER_BUNDLE * bundles].reshape(bundles, ROW_CHECKSUM_BYTES)
    planes = raw[_PER_BUNDLE * bundles :].reshape(3, 4, tiles)
    steps = [np.ascontiguousarray(planes[k].T).view("<u4").reshape(tiles) for k in range(3)]
    rows, columns = (np.cumsum(s, dtype=np.uint32).view(np.int32).astype(np.int64) for s in steps[:2])
    directory = Directory(first, counts, checksums, columns, rows, steps[2].astype(np.int64))
    _check(name, directory)
    return directory


def _check(name: str, directory: Directory) -> None:
    keys = _keys(directory.rows, directory.columns)
    if (keys[1:] <= keys[:-1]).any() or (directory.bundle_tiles < 1).any():
        raise MapFormatError(f"{name}: the tile directory is not in order")
    if int(directory.bundle_tiles.sum()) != len(directory):
        raise MapFormatError(f"{name}: the tile directory's bundles do not hold its tiles")
    firsts = np.cumsum(directory.bundle_tiles) - directory.bundle_tiles
    if len(directory) and int(np.add.reduceat(directory.lengths, firsts).max()) > MAX_PAYLOAD_BYTES:
        raise LimitError(f"{name}: a bundle of tiles is longer than {MAX_PAYLOAD_BYTES} bytes")


def _keys(rows: IntArray, columns: IntArray) -> IntArray:
    """One ascending number per tile; columns are lifted to be positive, so that the lowest row does not overflow."""
    return (rows << 32) + (columns + _INT32)


def _steps(values: IntArray) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Differences modulo 2**32; the first counts from zero."""
    return np.diff(values, prepend=0).astype("<u4")


class Bundler:
    """Cuts an ascending stream of tiles into bundles, and collects their directory; ids count from ``first_bundle``."""

    def __init__(self, first_bundle: int) -> None:
        self.first_bundle = first_bundle
        self._tiles = array("q")  # column, row, length
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
            self._tiles.extend((column, row, len(payload)))
        if pending:
            yield self._close(pending)

    def seal(self, checksum: bytes) -> None:
        """Record the checksum of the bundle that was yielded last."""
        self._checksums += checksum

    def directory(self) -> Directory:
        """The directory of all that went through."""
        tiles = np.frombuffer(self._tiles.tobytes(), np.int64).reshape(-1, 3)
        checksums = np.frombuffer(bytes(self._checksums), np.uint8).reshape(-1, ROW_CHECKSUM_BYTES)
        counts = np.array(self._counts, np.int64)
        return Directory(self.first_bundle, counts, checksums, tiles[:, 0], tiles[:, 1], tiles[:, 2])

    def _close(self, pending: list[bytes]) -> tuple[int, bytes]:
        self._counts.append(len(pending))
        return self.first_bundle + len(self._counts) - 1, b"".join(pending)
