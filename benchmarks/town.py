"""Pieces of a generated town for the rows that need a map of any size."""

from __future__ import annotations

from foldmap.lidar.source import RasterMap
from foldmap.town import TownMap, TownWorld


def town_map(extent_m: float, resolution_m: float, seed: int) -> TownMap:
    """A square map around a town's origin, rendered where it is read."""
    return TownMap(TownWorld(seed, extent_m), resolution_m, day_seed=seed)


def town_raster(extent_m: float, resolution_m: float, seed: int) -> RasterMap:
    """The same in memory."""
    source = town_map(extent_m, resolution_m, seed)
    return source.read(0, 0, *source.grid.shape)
