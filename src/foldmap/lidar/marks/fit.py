"""Fit the coders of marks on maps: once, for all maps of a pixel size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from foldmap.coding.context import ContextModel, untrained
from foldmap.errors import ModelError
from foldmap.lidar.marks.choose import MarkRecipe
from foldmap.lidar.marks.fold import ChosenTile, MarkTiles, tiles_of
from foldmap.lidar.marks.model import KNOWN_CELLS, MarksModel
from foldmap.lidar.marks.unfold import MarksMap
from foldmap.lidar.source import RasterMap

HOLD_OUT = 4  # every fourth map measures, the others fit
_MODEL_BYTES = 8_000
_ROUNDS = 3


def marks_in_memory(model: MarksModel, raster: RasterMap) -> tuple[MarksMap, int]:
    """Fold a raster into marks and open them, without a file; and the bytes of all payloads."""
    coder = MarkTiles(model, raster)
    payloads: dict[tuple[int, int], bytes] = {}
    for row, column in np.ndindex(*tiles_of(raster, coder.side_px)):
        tile = coder.tile(raster, row, column)
        if tile is not None:
            payloads[column, row] = tile.payload
    parameters = {"grid": asdict(raster.grid), **coder.parameters()}
    opened = MarksMap(model, parameters, lambda column, row: payloads.get((column, row)))
    return opened, sum(map(len, payloads.values()))


def chosen_tiles(model: MarksModel, raster: RasterMap) -> list[ChosenTile]:
    """What may be marks in each tile of a raster."""
    coder = MarkTiles(model, raster)
    tiles = [coder.chosen(raster, row, column) for row, column in np.ndindex(*tiles_of(raster, coder.side_px))]
    return [tile for tile in tiles if tile is not None]


def fit_marks(
    recipe: MarkRecipe,
    rasters: Sequence[RasterMap],
    name: str,
    provenance: dict[str, Any],
    known_cells: int = KNOWN_CELLS,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> MarksModel:
    """Fit the coders on three quarters of at least four maps of one pixel size, and measure the rate on the rest.

    ``report`` is called with maps coded and in all. A ModelError where the held-out maps show no ground.
    """
    blank = MarksModel(
        recipe, untrained(1, 1), untrained(1, 1), rasters[0].grid.resolution_m, 1.0, name,
        known_cells=known_cells, provenance=provenance,
    )  # fmt: skip
    fitting = list[ChosenTile]()
    for index, raster in enumerate(rasters):
        report(index + 1, len(rasters))
        if index % HOLD_OUT:
            fitting += chosen_tiles(blank, raster)
    known = [tile.known[None].astype(np.uint8) for tile in fitting]
    fitted = replace(blank, known_coder=ContextModel.fit(known, 1, model_bytes=_MODEL_BYTES))
    for again in range(1 + (_ROUNDS if recipe.price > 0 else 0)):
        # what is worth its bits depends on the coder, and the coder is fitted on that
        marks = [(tile.worth(fitted) if again else tile.marks)[None].astype(np.uint8) for tile in fitting]
        fitted = replace(fitted, marks_coder=ContextModel.fit(marks, 1, model_bytes=_MODEL_BYTES))
    held = [raster for index, raster in enumerate(rasters) if index % HOLD_OUT == 0]
    ground_m2 = sum(raster.observed_m2 for raster in held)
    if ground_m2 == 0:
        raise ModelError(f"the {len(held)} held-out maps hold no ground", "give other maps")
    bits = sum(8 * marks_in_memory(fitted, raster)[1] for raster in held)
    return replace(fitted, rate_bit_m2=bits / ground_m2)


def turned_raster(raster: RasterMap, turn_rad: float) -> RasterMap:
    """A raster turned counter-clockwise about its centre, nearest pixel, cut to a square of its shorter side."""
    side = min(raster.grid.shape)
    middle = 0.5 * (side - 1)
    down, right = np.mgrid[:side, :side] - middle
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    height, width = raster.grid.shape
    col = np.rint(cos * right - sin * down + 0.5 * (width - 1)).astype(np.int64)
    row = np.rint(sin * right + cos * down + 0.5 * (height - 1)).astype(np.int64)
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    row, col = np.where(inside, row, 0), np.where(inside, col, 0)
    return RasterMap(
        raster.grid.window(0, 0, side, side), raster.intensity[row, col], raster.observed[row, col] & inside
    )
