"""Marks in the benchmarks' terms; the localizer of `foldmap.bench.lidar.learned` reads them as it reads codes."""

from dataclasses import asdict

import numpy as np

from foldmap.bench.lidar.payload import packed, unpacked
from foldmap.lidar.marks.fold import TILE_CELLS, MarkTiles, tiles_of
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.marks.unfold import MarksMap
from foldmap.lidar.source import RasterMap


class MarksCodec:
    """Marks as a map codec: the payload holds the tiles of a .fold file; the model is shared by all maps."""

    def __init__(self, model: MarksModel) -> None:
        self.model, self.name = model, f"foldmap-{model.name}"

    def encode(self, raster: RasterMap) -> bytes:
        """Return placement and coded tiles; see `Codec`."""
        coder, tiles = MarkTiles(self.model, raster), dict[tuple[int, int], bytes]()
        for row, column in np.ndindex(*tiles_of(raster, coder.side_px)):
            tile = coder.tile(raster, row, column)
            if tile is not None:
                tiles[column, row] = tile.payload
        return packed(raster.grid, tiles)

    def decode(self, payload: bytes) -> MarksMap:
        """Return the map that the localizer reads. Raises MapFormatError: the payload is not one of this codec."""
        grid, tiles = unpacked(payload)
        parameters = {
            "grid": asdict(grid),
            "cell_px": self.model.recipe.cell_px(grid.resolution_m),
            "tile_cells": TILE_CELLS,
            "known_cells": self.model.known_cells,
        }
        return MarksMap(self.model, parameters, lambda column, row: tiles.get((column, row)))
