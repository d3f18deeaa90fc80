"""Placement and coded tiles in one payload: what every map codec of the benchmarks pays for both, in some dozen bytes.

A placement is a byte that says which of the next three are doubles, then resolution (in millimetres), west and north
(in pixels), rows and columns, as variable-length integers.
"""

import struct
from collections.abc import Mapping

import numpy as np

from foldmap.errors import MapFormatError, MapInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.fold import TileCoder
from foldmap.lidar.marks.fold import tiles_of
from foldmap.lidar.source import RasterMap
from foldmap.street.graph.varint import fold_sign, pack, unfold_sign, unpack

_DOUBLE = struct.Struct("<d")


class Reader:
    """Takes integers and bytes off a payload from its front; a MapFormatError where it is cut short."""

    def __init__(self, payload: bytes) -> None:
        self.left = payload

    def take(self, count: int) -> bytes:
        """The next bytes."""
        taken, self.left = self.left[:count], self.left[count:]
        if len(taken) < count:
            raise MapFormatError(f"the payload ends {count - len(taken)} bytes too early")
        return taken

    def number(self) -> int:
        """The next unsigned integer."""
        (value,), end = unpack(self.left, 0, 1)
        self.left = self.left[end:]
        return value

    def grid(self) -> MetricGrid:
        """The next placement."""
        doubles = self.take(1)[0]

        def length_m(bit: int, unit_m: float) -> float:
            if doubles & bit:
                return float(_DOUBLE.unpack(self.take(_DOUBLE.size))[0])
            return _multiple_m(unfold_sign(self.number()), unit_m)

        resolution_m = length_m(1, 0.0)
        west_m, north_m = length_m(2, resolution_m), length_m(4, resolution_m)
        try:
            return MetricGrid(west_m, north_m, resolution_m, self.number(), self.number())
        except MapInputError as error:
            raise MapFormatError(f"the payload's placement makes no sense: {error.message}") from error


def placement(grid: MetricGrid) -> bytes:
    """A grid, without its reference system."""
    doubles, coded, unit_m = 0, b"", grid.resolution_m
    for bit, length_m, of_m in ((1, unit_m, 0.0), (2, grid.west_m, unit_m), (4, grid.north_m, unit_m)):
        count = round(length_m / of_m) if of_m else round(1000 * length_m)
        exact = _multiple_m(count, of_m) == length_m
        doubles |= 0 if exact else bit
        coded += pack([fold_sign(count)]) if exact else _DOUBLE.pack(length_m)
    return bytes([doubles]) + coded + pack([grid.height_px, grid.width_px])


def packed(grid: MetricGrid, tiles: Mapping[tuple[int, int], bytes]) -> bytes:
    """Join coded tiles, by (column, row), and where they lie."""
    joined = placement(grid) + pack([len(tiles)])
    return joined + b"".join(pack([*place, len(coded)]) + coded for place, coded in tiles.items())


def folded_payload(coder: TileCoder, raster: RasterMap) -> bytes:
    """The tiles of a raster in a code of the product, as a .fold file has them."""
    every = (
        (row, column, coder.tile(raster, row, column)) for row, column in np.ndindex(*tiles_of(raster, coder.side_px))
    )
    return packed(coder.grid, {(column, row): tile.payload for row, column, tile in every if tile is not None})


def unpacked(payload: bytes) -> tuple[MetricGrid, dict[tuple[int, int], bytes]]:
    """Split what `packed` joined. Raises MapFormatError: it is no such payload."""
    reader, coded = Reader(payload), dict[tuple[int, int], bytes]()
    grid = reader.grid()
    for _ in range(reader.number()):
        place = reader.number(), reader.number()
        coded[place] = reader.take(reader.number())
    if reader.left:
        raise MapFormatError("the payload's length is not what it declares")
    return grid, coded


def _multiple_m(count: int, of_m: float) -> float:
    """So many of a length; of millimetres where it is 0."""
    return count * of_m if of_m else count / 1000
