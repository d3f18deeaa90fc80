"""Marks of a raster, tile by tile: the same for any order of tiles, with the memory of one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.coding.pricing import prices_of
from foldmap.lidar.marks.choose import MapLevel, map_level, marks_of
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.marks.thrift import thrifty
from foldmap.lidar.source import RasterSource, cells_of
from foldmap.types import BoolArray, FloatArray

TILE_CELLS = 640
"""Cells a side of a tile: half of that costs a tenth more bits, in tiles' ends and in the file's index."""


@dataclass(frozen=True)
class CodedTile:
    """Payload of a tile, and how many pixels of it were observed."""

    payload: bytes
    observed_px: int


@dataclass(frozen=True)
class ChosenTile:
    """What may be marks in a tile and their lead, (S, S), and where there is map, (S / k, S / k)."""

    marks: BoolArray
    lead: FloatArray
    known: BoolArray
    observed_px: int

    def worth(self, model: MarksModel) -> BoolArray:
        """The marks that are worth what the coder of a model asks for them."""
        if model.recipe.price == 0:
            return self.marks
        return thrifty(self.marks, self.lead, model.recipe.price, prices_of(model.marks_coder))

    def coded(self, model: MarksModel) -> bytes:
        """The payload."""
        return model.encode(self.worth(model), self.known)


class MarkTiles:
    """The tiles of a map as marks: a `foldmap.lidar.fold.TileCoder`. The level is that of the map, or of its file."""

    def __init__(
        self, model: MarksModel, source: RasterSource, level: MapLevel | None = None, tile_cells: int = TILE_CELLS
    ) -> None:
        self.model, self.grid, self._resolution_m = model, source.grid, source.grid.resolution_m
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
        chosen = self.chosen(source, row, column)
        return None if chosen is None else CodedTile(chosen.coded(self.model), chosen.observed_px)

    def chosen(self, source: RasterSource, row: int, column: int) -> ChosenTile | None:
        """What may be marks in a tile, before their bits are weighed; None where nothing was observed in it."""
        side, around, halo = self.side_px, self.halo_px, self._halo
        raster = source.read(row * side - around, column * side - around, side + 2 * around, side + 2 * around)
        observed = raster.observed[around:-around, around:-around]
        if not observed.any():
            return None
        found, inside = marks_of(raster, self.model.recipe, self._level), np.s_[halo:-halo, halo:-halo]
        marks, lead = np.ascontiguousarray(found.marks[inside]), np.ascontiguousarray(found.lead[inside])
        known = cells_of(observed.astype(np.float32), self._cell * self.model.known_cells) > 0
        return ChosenTile(marks, lead, known, int(observed.sum()))


def tiles_of(source: RasterSource, side_px: int) -> tuple[int, int]:
    """Rows and columns of tiles of so many pixels a side that cover a raster."""
    return -(-source.grid.height_px // side_px), -(-source.grid.width_px // side_px)
