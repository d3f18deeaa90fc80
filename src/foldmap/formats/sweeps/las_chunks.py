"""What a LAZ file's chunks declare against what they can hold, before the decompressor allocates by it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import lazrs

from foldmap.errors import SweepInputError

_ITEM_COUNT_AT = 32
_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}
_BYTE_ITEM = 14
"""Extra bytes, a layer each."""


def check_chunks(path: Path, header: Any) -> None:
    """Refuse compressed points whose sizes cannot be.

    The decompressor trusts them, and ends the process when it is not given as much memory.

    Args:
        path: the file.
        header: of laspy, of a compressed file.

    Raises:
        SweepInputError: the file ends before its chunks do, or a chunk before its layers do.
    """
    record = header.vlrs.get("LasZipVlr")[0].record_data
    items = list(struct.iter_unpack("<HHH", record[_ITEM_COUNT_AT + 2 :]))
    if len(items) != struct.unpack_from("<H", record, _ITEM_COUNT_AT)[0]:
        raise _damaged(path, "its record of the compression is cut short")
    point_bytes = sum(size for _, size, _ in items)
    if point_bytes != header.point_format.size:
        raise _damaged(path, f"points of {point_bytes} bytes are compressed, {header.point_format.size} declared")
    layers = sum(size if kind == _BYTE_ITEM else _LAYERS.get(kind, 0) for kind, size, _ in items)
    with path.open("rb") as file:
        table_at = _table_at(file, header.offset_to_point_data, path)
        file.seek(header.offset_to_point_data)
        chunks = lazrs.read_chunk_table(file, lazrs.LazVlr(record))
        at = header.offset_to_point_data + 8
        if at + sum(size for _, size in chunks) != table_at:
            raise _damaged(path, f"its {len(chunks):,} chunks do not fill the bytes {at:,} to {table_at:,}")
        if sum(points for points, _ in chunks) < header.point_count:
            raise _damaged(path, f"its {len(chunks):,} chunks hold less than {header.point_count:,} points")
        for _, size in chunks if layers else ():
            file.seek(at + point_bytes)
            head = file.read(4 + 4 * layers)
            held = point_bytes + len(head) + sum(struct.unpack(f"<{len(head) // 4}I", head)[1:])
            if size and held != size:
                raise _damaged(path, f"the chunk of {size:,} bytes at byte {at:,} declares layers of {held:,}")
            at += size


def _table_at(file: Any, points_at: int, path: Path) -> int:
    """Where the table of chunks begins: declared before the points or, by writers of streams, at the file's end."""
    size = file.seek(0, 2)
    for place in (points_at, size - 8):
        file.seek(place)
        (at,) = struct.unpack("<q", file.read(8).rjust(8, b"\0"))
        if points_at + 8 <= at <= size - 8:
            file.seek(at + 4)
            (count,) = struct.unpack("<I", file.read(4))
            if count <= at - points_at:
                return int(at)
            raise _damaged(path, f"{count:,} chunks are declared in {at - points_at:,} bytes")
    raise _damaged(path, "its table of chunks is missing")


def _damaged(path: Path, why: str) -> SweepInputError:
    return SweepInputError(
        f"{path} cannot be read as LAS/LAZ: {why}", "check that the file is whole, or export it anew"
    )
