"""Marks of a raster, tile by tile: the same for any order of tiles, with the memory of one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.lidar.marks.choose import MapLevel, cells_of, map_level, marks_of
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.source import RasterSource

TILE_CELLS = 640
"""Cells a side of a tile: half of that costs a tenth more bits, in tiles' ends and in the file's index."""


@dataclass(frozen=True)
class CodedTile:
    """Payload of a tile, and how many pixels of it were observed."""

    payload: bytes
    observed_px: int


class MarkTiles:
    """The tiles of a map as marks: a `foldmap.lidar.fold.TileCoder`. The level is that of the map, or of its file."""

    def __init__(
        self, model: MarksModel, source: RasterSource, level: MapLevel | None = None, tile_cells: int = TILE_CELLS
    ) -> None:
        self.model, self._resolution_m = model, source.grid.resolution_m
        self._cell = model.recipe.cell_px(self._resolution_m)
        self._level = map_level(source, model.recipe) if level is None else level
        # An even number of cells, so that cells have their colours wherever the tile lies.
        self._halo = 2 * math.ceil(model.recipe.reach_m(self._resolution_m) / (2 * self._cell * self._resolution_m))
        self._tile_cells = tile_cells
        self.side_px, self.halo_px = tile_cells * self._cell, self._halo * self._cell

    def parameters(self) -> dict[str, Any]:
        """What the layer says of its marks, beside its grid."""
        return {
            "codec": self.model.codec,
            "cell_px": self._cell,
            "tile_cells": self._tile_cells,
            "known_cells": self.model.known_cells,
            "spread": self._level.spread,
            "contrast": self._level.contrast,
        }

    def tile(self, source: RasterSource, row: int, column: int) -> CodedTile | None:
        """Choose and code the marks of a tile; None where nothing was observed in it."""
        side, around, halo = self.side_px, self.halo_px, self._halo
        raster = source.read(row * side - around, column * side - around, side + 2 * around, side + 2 * around)
        observed = raster.observed[around:-around, around:-around]
        if not observed.any():
            return None
        marks = marks_of(raster, self.model.recipe, self._level)[halo:-halo, halo:-halo]
        known = cells_of(observed.astype(np.float32), self._cell * self.model.known_cells) > 0
        return CodedTile(self.model.encode(np.ascontiguousarray(marks), known), int(observed.sum()))


def tiles_of(source: RasterSource, side_px: int) -> tuple[int, int]:
    """Rows and columns of tiles of so many pixels a side that cover a raster."""
    return -(-source.grid.height_px // side_px), -(-source.grid.width_px // side_px)
