"""The marks of a folded map: points around a place, where there is map, and both as an image."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from foldmap.atlas import FoldFile
from foldmap.errors import LayerError, LimitError, MapFormatError, MapInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.marks.model import CODEC, MarksModel
from foldmap.lidar.marks.score import query_image
from foldmap.lidar.observation import Observation
from foldmap.lidar.shipped import MODEL, shelf
from foldmap.types import BoolArray, ByteArray, DoubleArray, FloatArray

MAX_WINDOW_PX = 1 << 26
_MOST_CELLS = 4096
_TILES_KEPT = 64
_FAR = 1 << 40
_Tile = tuple[BoolArray, BoolArray]


class MarksMap:
    """A map of marks, wherever its tiles come from: they are asked for when they are reached.

    A MapFormatError where the parameters do not make sense or do not fit the model.
    """

    channels = 1

    def __init__(
        self, model: MarksModel, parameters: dict[str, Any], payload: Callable[[int, int], bytes | None]
    ) -> None:
        self.model, self.parameters, self._payload = model, parameters, payload
        self._grid, self.cell_px, self.tile_cells = _read_parameters(parameters, model)
        self._tiles: OrderedDict[tuple[int, int], _Tile | None] = OrderedDict()

    @property
    def grid(self) -> MetricGrid:
        """Placement of the folded raster."""
        return self._grid

    @property
    def bundle(self) -> MarksModel:
        """What folding takes: the model itself."""
        return self.model

    @property
    def relief(self) -> bool:
        """Whether relief is mixed into what was folded, so that observations must have it, too."""
        return self.parameters.get("relief") is True

    @property
    def tile_px(self) -> int:
        """Pixels a tile side."""
        return self.tile_cells * self.cell_px

    @property
    def cell_m(self) -> float:
        """Side of a cell in metres."""
        return self.cell_px * self._grid.resolution_m

    def marks_near(self, x_m: float, y_m: float, reach_m: float) -> DoubleArray:
        """Centres (N, 2) of the marks within a square of half side ``reach_m`` about a place, in the map's metres."""
        found = [np.zeros((0, 2))]
        for column, row, tile in self._tiles_around(x_m, y_m, reach_m):
            side = self.tile_cells
            down, right = np.divmod(np.flatnonzero(tile[0]), side)  # much quicker than np.nonzero of an image
            x = self._grid.west_m + (right + column * side + 0.5) * self.cell_m
            y = self._grid.north_m - (down + row * side + 0.5) * self.cell_m
            found.append(np.stack([x, y], 1)[(np.abs(x - x_m) <= reach_m) & (np.abs(y - y_m) <= reach_m)])
        return np.concatenate(found)

    def known_at(self, points_m: DoubleArray) -> BoolArray:
        """Whether there is map at points (N, 2) in the map's metres: bool (N,)."""
        square_m = self.cell_m * self.model.known_cells
        across = self.tile_cells // self.model.known_cells
        from_corner_m = points_m[:, 0] - self._grid.west_m, self._grid.north_m - points_m[:, 1]
        # A prior may be anywhere; beyond these squares there is no map, and a cast of larger numbers is undefined.
        col, row = (np.floor(np.clip(axis / square_m, -_FAR, _FAR)).astype(np.int64) for axis in from_corner_m)
        known = np.zeros(len(points_m), np.bool_)
        if len(points_m) == 0:
            return known
        rows, columns = (range(int(axis.min()) // across, int(axis.max()) // across + 1) for axis in (row, col))
        for tile_row, tile_column in product(rows, columns):
            held = self.tile(tile_column, tile_row)
            if held is not None:
                inside = (row // across == tile_row) & (col // across == tile_column)
                known[inside] = held[1][row[inside] % across, col[inside] % across]
        return known

    def embed_observation(self, observation: Observation) -> FloatArray:
        """Contrast of what the vehicle sees, in its own axes: (1, H, W) float32."""
        seen = observation
        return query_image(seen.intensity, seen.observed, seen.resolution_m, self.model.recipe)[None]

    def embedding(self, grid: MetricGrid) -> tuple[FloatArray, BoolArray]:
        """Draw a window on the map's pixels: 1 in marks and 0 elsewhere, float32 (1, H, W), and known (H, W).

        A MapInputError where it does not lie on the map's pixels, a LimitError where it is too large to draw at once.
        """
        if grid.height_px * grid.width_px > MAX_WINDOW_PX:
            raise LimitError(f"a window of {grid.height_px} x {grid.width_px} pixels", "draw smaller windows")
        row, column = self._grid.offset_of(grid)
        drawn, known = np.zeros((1, *grid.shape), np.float32), np.zeros(grid.shape, np.bool_)
        side = self.tile_cells * self.cell_px
        for tile_row in range(row // side, (row + grid.height_px - 1) // side + 1):
            for tile_column in range(column // side, (column + grid.width_px - 1) // side + 1):
                tile = self.tile(tile_column, tile_row)
                if tile is None:
                    continue
                for image, cells, size in ((drawn[0], tile[0], 1), (known, tile[1], self.model.known_cells)):
                    pixels = np.kron(cells, np.ones((size * self.cell_px,) * 2, np.bool_))
                    _paste(image, pixels, tile_row * side - row, tile_column * side - column)
        return drawn, known

    def code_image(self, row: int, column: int, height: int, width: int) -> ByteArray:
        """The marks in a window of pixels, uint8 (1, height, width): all that is stored."""
        return self.embedding(self._grid.window(row, column, height, width))[0].astype(np.uint8)

    def tile(self, column: int, row: int) -> _Tile | None:
        """Marks (S, S) and known squares (S / k, S / k) of a tile; None where there is none."""
        key = (column, row)
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        payload = self._payload(column, row) if column >= 0 and row >= 0 else None
        tile = self._tiles[key] = None if payload is None else self.model.decode(payload, self.tile_cells)
        if len(self._tiles) > _TILES_KEPT:
            self._tiles.popitem(last=False)
        return tile

    def forget(self) -> None:
        """Drop cached tiles: after an update of the file, or to measure decoding."""
        self._tiles.clear()

    def _tiles_around(self, x_m: float, y_m: float, reach_m: float) -> list[tuple[int, int, _Tile]]:
        side_m = self.tile_cells * self.cell_m
        first = math.floor((x_m - reach_m - self._grid.west_m) / side_m)
        last = math.floor((x_m + reach_m - self._grid.west_m) / side_m)
        top = math.floor((self._grid.north_m - y_m - reach_m) / side_m)
        bottom = math.floor((self._grid.north_m - y_m + reach_m) / side_m)
        reached = [
            (column, row, self.tile(column, row)) for row in range(top, bottom + 1) for column in range(first, last + 1)
        ]
        return [(column, row, tile) for column, row, tile in reached if tile is not None]


class FoldedMarks(MarksMap):
    """A lidar layer of marks.

    A LayerError where there is no such layer; a MapFormatError or ModelError where its parameters or model do not fit.
    """

    def __init__(self, file: FoldFile, layer: str) -> None:
        info = file.layer(layer)
        if info.kind != "lidar" or info.parameters.get("codec") != CODEC:
            raise LayerError(f"layer {layer!r} is no lidar layer of marks", "name a lidar layer")
        model = MarksModel.from_bytes(shelf().read(file, layer, MODEL))
        super().__init__(model, info.parameters, lambda column, row: file.tile(layer, column, row))


def _paste(image: Any, pixels: BoolArray, top: int, left: int) -> None:
    """Lay a tile on an image whose corner is the origin; what does not fit is cut."""
    height, width = image.shape
    rows = slice(max(top, 0), min(top + pixels.shape[0], height))
    cols = slice(max(left, 0), min(left + pixels.shape[1], width))
    if rows.start < rows.stop and cols.start < cols.stop:
        image[rows, cols] = pixels[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]


def _read_parameters(parameters: dict[str, Any], model: MarksModel) -> tuple[MetricGrid, int, int]:
    try:
        grid = MetricGrid(**parameters["grid"])
        cell_px, tile_cells, known_cells = (parameters[name] for name in ("cell_px", "tile_cells", "known_cells"))
        whole = all(type(value) is int for value in (cell_px, tile_cells, known_cells))
        if not whole or not (
            1 <= tile_cells <= _MOST_CELLS
            and (cell_px, known_cells) == (model.recipe.cell_px(grid.resolution_m), model.known_cells)
        ):
            raise MapFormatError("the lidar layer's cells are not what its model makes", "fold the map again")
        if tile_cells % known_cells:
            raise MapFormatError(f"tiles of {tile_cells} cells in squares of {known_cells}", "fold the map again")
    except (KeyError, TypeError, MapInputError) as error:
        wrong = f"the lidar layer's parameters do not make sense: {error}"
        raise MapFormatError(wrong, "fold the map again") from error
    return grid, cell_px, tile_cells
