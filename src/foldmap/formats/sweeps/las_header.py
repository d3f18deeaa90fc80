"""What a LAS header declares against what its file can hold, before anything is allocated or looped over by it."""

from __future__ import annotations

import struct
from pathlib import Path

from foldmap.errors import SweepInputError

MOST_BYTES = 1 << 29
"""No sweep is larger once its points are unpacked: some 15 million of them."""
_HEADER_BYTES, _RECORD_BYTES, _EXTENDED_BYTES = 227, 54, 60


def check_header(path: Path) -> None:
    """Refuse a header whose counts cannot be.

    Raises:
        SweepInputError: no LAS, or more records or points are declared than the file, or any sweep, can hold.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(375)
    except OSError as error:
        raise SweepInputError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    if head[:4] != b"LASF" or len(head) < _HEADER_BYTES:
        raise SweepInputError(f"{path} cannot be read as LAS/LAZ: it has no LAS header", "check that the file is whole")
    head = head.ljust(375, b"\0")
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
        raise SweepInputError(
            f"{path} declares {points:,} points of {point_bytes} bytes and {records:,} records: more than it holds, or "
            "than a sweep can",
            "give single sweeps, and check that the file is whole",
        )
