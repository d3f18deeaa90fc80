"""LAS and LAZ sweeps. What their headers declare is held against what the file can hold before anything believes it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import laspy
import lazrs
import numpy as np
import pyproj

from foldmap.errors import SweepInputError
from foldmap.formats.naming import reading
from foldmap.formats.sweeps.cloud import Cloud

MOST_BYTES = 1 << 29
"""No sweep is larger once its points are unpacked: some 15 million of them."""
_HEADER_BYTES, _LONGEST_HEADER_BYTES, _RECORD_BYTES, _EXTENDED_BYTES = 227, 375, 54, 60
_ITEM_COUNT_AT = 32
_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}
_BYTE_ITEM = 14
"""Extra bytes, a layer each."""
_UNITS = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937, 9036: 1000.0}
_UNIT_KEYS = {3076: "horizontal", 4099: "vertical"}
_TO_METRES = "give sweeps in metres, such as las2las -target_utm or pdal translate makes of them"


def read_las(path: Path) -> Cloud:
    """Read one sweep from a LAS or LAZ file, in metres; intensities are 16-bit integers."""
    _check_header(path)
    try:
        # not the parallel decompressor: that allocates as many points as a chunk is said to have
        with laspy.open(path, laz_backend=laspy.LazBackend.Lazrs) as reader:
            declared = int(reader.header.point_count)
            if reader.header.are_points_compressed:
                _check_chunks(path, reader.header)
            cloud = reader.read()
        _require_metres(cloud.header, path)
    except (SweepInputError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # laspy and its decompressor raise a dozen kinds on damaged input; a panic of lazrs is no Exception.
        raise _damaged(path, str(error)) from error
    found = len(cloud.points)
    if found != declared:
        said = f"{path} is cut short: {declared} points declared, {found} there"
        raise SweepInputError(said, "copy or export the file again")
    return Cloud(Path(path), np.asarray(cloud.xyz, dtype=np.float32).reshape(-1, 3), np.asarray(cloud.intensity))


def _damaged(path: Path, why: str) -> SweepInputError:
    cure = "check that the file is whole, or export it anew"
    return SweepInputError(f"{path} cannot be read as LAS/LAZ: {why}", cure)


def _check_header(path: Path) -> None:
    """Refuse what is no LAS, or declares more records or points than the file, or any sweep, can hold."""
    with reading(path, kind=SweepInputError):
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_LONGEST_HEADER_BYTES)
    if head[:4] != b"LASF" or len(head) < _HEADER_BYTES:
        raise _damaged(path, "it has no LAS header")
    head = head.ljust(_LONGEST_HEADER_BYTES, b"\0")
    minor, (header_bytes, points_at, records) = head[25], struct.unpack_from("<HII", head, 94)
    point_bytes, points = struct.unpack_from("<HI", head, 105)
    extended_at, extended = 0, 0
    if minor >= 4:
        extended_at, extended, points = struct.unpack_from("<QIQ", head, 235)
    fits = (
        header_bytes + _RECORD_BYTES * records <= points_at <= size
        and (not extended or extended_at + _EXTENDED_BYTES * extended <= size)
        and points * point_bytes <= MOST_BYTES
    )
    if not fits:
        said = f"{path} declares {points:,} points of {point_bytes} bytes and {records:,} records"
        cure = "give single sweeps, and check that the file is whole"
        raise SweepInputError(f"{said}: more than it holds, or than a sweep can", cure)


def _check_chunks(path: Path, header: Any) -> None:
    """Refuse compressed points whose sizes cannot be: the decompressor trusts them, and ends the process for memory."""
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


def _require_metres(header: Any, path: Path) -> None:
    """Refuse points that the file's own records place in degrees, feet or kilometres."""
    try:
        crs = header.parse_crs()
        axes = [] if crs is None else pyproj.CRS.from_user_input(crs).axis_info
    except Exception:
        # a crs that cannot be read, in any of laspy's ways, says nothing of the unit; the keys below may still
        axes = []
    for axis in axes:
        unit, named = axis.unit_name or "unknown", f"({str(crs.name)[:60]})"
        if unit in ("degree", "grad", "radian"):
            raise SweepInputError(f"{path} is in {unit}s {named}, not in metres", _TO_METRES)
        if abs(axis.unit_conversion_factor - 1.0) > 1e-9:
            raise SweepInputError(f"{path} is in {unit} of {axis.unit_conversion_factor:.9g} m {named}", _TO_METRES)
    for record in header.vlrs:
        for key in getattr(record, "geo_keys", None) or ():
            metres = _UNITS.get(key.value_offset, 1.0)
            if key.id in _UNIT_KEYS and metres != 1.0:
                raise SweepInputError(f"{path} has {_UNIT_KEYS[key.id]} units of {metres:.9g} m", _TO_METRES)
