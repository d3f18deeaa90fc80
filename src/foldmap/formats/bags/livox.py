"""Livox' CustomMsg as the PointCloud2 that it could have been: ten thousands of points, read as one table."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

from foldmap.errors import BagInputError

TYPES = tuple(f"{package}/msg/CustomMsg" for package in ("livox_ros_driver", "livox_ros_driver2", "livox_interfaces"))
_FIELDS = (("offset_time", 6, 0), ("x", 7, 4), ("y", 7, 8), ("z", 7, 12), ("reflectivity", 2, 16))
"""Name, type as PointField numbers it, and offset; a tag and the line's number follow. The message's definition:
github.com/Livox-SDK/livox_ros_driver2, msg/CustomMsg.msg and CustomPoint.msg."""
_POINT_BYTES = 19


def cloud_of(encoding: str, data: bytes) -> Any:
    """What `foldmap.formats.bags.clouds` reads of a PointCloud2, of the bytes of a CustomMsg, "cdr" or "ros1".

    Raises:
        BagInputError: they are cut, or say another count than they hold.
    """
    try:
        header, at, order, step = (_ros1 if encoding == "ros1" else _cdr)(data)
        _, declared, _, count = struct.unpack_from(f"{order}QI4sI", data, at)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise BagInputError(f"a CustomMsg is damaged ({error})", "record it again") from error
    points = data[at + 20 :]
    if count != declared or len(points) < step * count - (step - _POINT_BYTES):
        raise BagInputError(f"a CustomMsg of {declared} points holds {len(points)} bytes of them", "record it again")
    fields = [SimpleNamespace(name=name, datatype=kind, offset=offset) for name, kind, offset in _FIELDS]
    return SimpleNamespace(
        header=header, height=1, width=count, fields=fields, point_step=step, row_step=step * count,
        is_bigendian=order == ">", data=bytes(points[: step * count]).ljust(step * count, b"\0"),
    )  # fmt: skip


def _ros1(data: bytes) -> tuple[Any, int, str, int]:
    """The header, where the rest begins, the order of bytes, and those from point to point."""
    _, sec, nanosec, length = struct.unpack_from("<4I", data)
    return _header(sec, nanosec, bytes(data[16 : 16 + length])), 16 + length, "<", _POINT_BYTES


def _cdr(data: bytes) -> tuple[Any, int, str, int]:
    """As `_ros1`; members are aligned to their size, counted from behind the four bytes that tell the order."""
    order = "<" if data[1] & 1 else ">"
    sec, nanosec, length = struct.unpack_from(f"{order}iII", data, 4)
    end = 12 + length
    header = _header(sec, nanosec, bytes(data[16 : 15 + length]))
    return header, 4 + -(-end // 8) * 8, order, _POINT_BYTES + 1


def _header(sec: int, nanosec: int, frame: bytes) -> Any:
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id=frame.decode())
