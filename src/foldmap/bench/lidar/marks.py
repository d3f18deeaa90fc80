"""Marks in the benchmarks' terms; the localizer of `foldmap.bench.lidar.learned` reads them as it reads codes."""

from dataclasses import asdict

from foldmap.bench.lidar.payload import folded_payload, unpacked
from foldmap.lidar.marks.fold import TILE_CELLS, MarkTiles
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.marks.unfold import MarksMap
from foldmap.lidar.source import RasterMap


class MarksCodec:
    """Marks as a map codec: the payload holds the tiles of a .fold file; the model is shared by all maps."""

    def __init__(self, model: MarksModel) -> None:
        self.model, self.name = model, f"foldmap-{model.name}"

    def encode(self, raster: RasterMap) -> bytes:
        """Return placement and coded tiles; see `Codec`."""
        return folded_payload(MarkTiles(self.model, raster), raster)

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
