"""Update the lidar layer of a .fold file from a new raster: the tiles that changed are written and no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from foldmap.atlas import FoldUpdater
from foldmap.atlas.reader import TileKey
from foldmap.errors import MapInputError, ModelError
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.defaults import bundle_named
from foldmap.lidar.fold import px_of_layer, tile_coder
from foldmap.lidar.folded import open_lidar
from foldmap.lidar.marks.fold import tiles_of
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.shipped import LAYER
from foldmap.lidar.source import RasterSource


@dataclass(frozen=True)
class LidarUpdate:
    """(column, row) of the tiles that hold other codes than before, new ones included, or nothing any more.

    The kept ones stayed bit for bit.
    """

    changed: tuple[TileKey, ...]
    removed: tuple[TileKey, ...]
    kept: int


def update_lidar(
    updater: FoldUpdater,
    source: RasterSource,
    bundle: Bundle | MarksModel | None = None,
    *,
    before: RasterSource | None = None,
    relief: bool = False,
    layer: str = LAYER,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> LidarUpdate:
    """Fold again what changed of a raster, with the model and the intensity spread of the file; the caller commits.

    Args:
        updater: of the file.
        source: the new raster, on the grid of the folded one.
        bundle: the model of the file; None where it ships.
        before: the raster that was folded, where it is at hand: only tiles in whose reach the two differ are coded.
            None: all are coded, and those that come out differently are written.
        relief: whether relief is mixed into the rasters, as it must be where it was folded so.
        layer: its name.
        report: called with tiles done and in all.
    """
    folded = open_lidar(updater.before, layer)
    if relief != folded.relief:
        cure = "name the band of its relief (--relief-band)" if folded.relief else "leave --relief-band out"
        raise MapInputError(f"{updater.path} was folded {'with' if folded.relief else 'without'} relief", cure)
    bundle = bundle or (folded.bundle if folded.bundle.can_fold else bundle_named(folded.bundle.name))
    if bundle.to_bytes(localize_only=True) != folded.bundle.to_bytes(localize_only=True):
        raise ModelError(
            f"the model {bundle.name} is not the one that {updater.path} was folded with",
            "give that model with --model, or fold the whole map anew",
        )
    coder = tile_coder(bundle, source, before=folded.parameters)
    mine, theirs = asdict(coder.grid), asdict(folded.grid)
    same = all(mine[name] == theirs[name] for name in mine if name != "crs_wkt")
    if not same or (before is not None and replace(before.grid, crs_wkt="") != replace(source.grid, crs_wkt="")):
        raise MapInputError("the raster lies on another grid than the folded map", "resample it to the map's grid")
    side, reach = coder.side_px, coder.side_px + 2 * coder.halo_px
    rows, columns = tiles_of(source, side)
    there = set(updater.before.tiles(layer))
    changed, removed = [], []
    share = px_of_layer(coder, source)
    observed_px = 0 if before is None else round(folded.parameters["observed_px"] / share)
    for done, (row, column) in enumerate(np.ndindex(rows, columns), start=1):
        report(done, rows * columns)
        if before is not None:
            if _alike(before, source, (row * side - coder.halo_px, column * side - coder.halo_px, reach, reach)):
                continue
            observed_px -= int(before.read(row * side, column * side, side, side).observed.sum())
        tile = coder.tile(source, row, column)
        payload = None if tile is None else tile.payload
        observed_px += 0 if tile is None else tile.observed_px
        if payload is not None and payload != updater.before.tile(layer, column, row):
            updater.put_tile(layer, column, row, payload)
            changed.append((column, row))
        elif payload is None and (column, row) in there:
            updater.remove_tile(layer, column, row)
            removed.append((column, row))
    if observed_px <= 0:
        raise MapInputError("the map has no observed ground", "check its nodata value and the band")
    updater.set_parameters(layer, {**folded.parameters, "observed_px": round(observed_px * share)})
    return LidarUpdate(tuple(changed), tuple(removed), len(there - set(changed) - set(removed)))


def _alike(before: RasterSource, source: RasterSource, window: tuple[int, int, int, int]) -> bool:
    """Whether two rasters are the same in a window: all that a tile depends on."""
    old, new = before.read(*window), source.read(*window)
    same = np.array_equal(old.observed, new.observed)
    return same and np.array_equal(old.intensity[old.observed], new.intensity[new.observed])
