"""Placement and coded tiles in one payload, as codecs of the product are measured."""

import struct
from collections.abc import Mapping

from foldmap.errors import MapFormatError
from foldmap.geometry import MetricGrid

_HEADER = struct.Struct("<dddIII")  # west, north, resolution, rows, columns, tiles
_TILE = struct.Struct("<HHI")  # column, row, bytes


def packed(grid: MetricGrid, tiles: Mapping[tuple[int, int], bytes]) -> bytes:
    """Join coded tiles, by (column, row), and where they lie."""
    head = _HEADER.pack(grid.west_m, grid.north_m, grid.resolution_m, grid.height_px, grid.width_px, len(tiles))
    return head + b"".join(_TILE.pack(*place, len(coded)) + coded for place, coded in tiles.items())


def unpacked(payload: bytes) -> tuple[MetricGrid, dict[tuple[int, int], bytes]]:
    """Split what `packed` joined. Raises MapFormatError: it is no such payload."""
    try:
        west_m, north_m, resolution_m, rows, columns, tiles = _HEADER.unpack_from(payload)
        at, coded = _HEADER.size, {}
        for _ in range(tiles):
            column, row, size = _TILE.unpack_from(payload, at)
            at += _TILE.size
            coded[column, row] = payload[at : at + size]
            at += size
    except struct.error as error:
        raise MapFormatError(f"the payload is cut short: {error}") from error
    if at != len(payload):
        raise MapFormatError("the payload's length is not what it declares")
    return MetricGrid(west_m, north_m, resolution_m, rows, columns), coded
