"""Update the lidar layer of a .fold file from a new raster: the tiles that changed are written and no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from foldmap.atlas import FoldUpdater
from foldmap.atlas.reader import TileKey
from foldmap.errors import MapInputError, ModelError
from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.codec import BLOCK_PX, HALO_PX
from foldmap.lidar.defaults import bundle_named
from foldmap.lidar.fold import LAYER, encode_tile, tiles_of
from foldmap.lidar.source import RasterSource
from foldmap.lidar.unfold import FoldedLidar


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
    bundle: Bundle | None = None,
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
    folded = FoldedLidar(updater.before, layer)
    if relief != folded.relief:
        cure = "name the band of its relief (--relief-band)" if folded.relief else "leave --relief-band out"
        raise MapInputError(f"{updater.path} was folded {'with' if folded.relief else 'without'} relief", cure)
    bundle = bundle or (folded.bundle if folded.bundle.can_fold else bundle_named(folded.bundle.name))
    require_fold(bundle)
    if bundle.to_bytes(localize_only=True) != folded.bundle.to_bytes(localize_only=True):
        raise ModelError(
            f"the model {bundle.name} is not the one that {updater.path} was folded with",
            "give that model with --model, or fold the whole map anew",
        )
    for raster in (source, before or source):
        mine, theirs = asdict(raster.grid), asdict(folded.grid)
        if any(mine[name] != theirs[name] for name in mine if name != "crs_wkt"):
            raise MapInputError("the raster lies on another grid than the folded map", "resample it to the map's grid")
    rows, columns = tiles_of(source, folded.tile_blocks)
    there = set(updater.before.tiles(layer))
    changed, removed = [], []
    observed_px = 0 if before is None else int(folded.parameters["observed_px"])
    for done, (row, column) in enumerate(np.ndindex(rows, columns), start=1):
        report(done, rows * columns)
        if before is not None:
            if _alike(before, source, folded.tile_blocks, row, column):
                continue
            side = folded.tile_blocks * BLOCK_PX
            observed_px -= int(before.read(row * side, column * side, side, side).observed.sum())
        tile, _ = encode_tile(bundle, source, folded.parameters["spread"], folded.tile_blocks, row, column)
        payload = None if tile is None else bundle.coder.encode(tile.codes)
        observed_px += 0 if tile is None else tile.observed_px
        if payload is not None and payload != updater.before.tile(layer, column, row):
            updater.put_tile(layer, column, row, payload)
            changed.append((column, row))
        elif payload is None and (column, row) in there:
            updater.remove_tile(layer, column, row)
            removed.append((column, row))
    if observed_px == 0:
        raise MapInputError("the map has no observed ground", "check its nodata value and the band")
    updater.set_parameters(layer, {**folded.parameters, "observed_px": observed_px})
    return LidarUpdate(tuple(changed), tuple(removed), len(there - set(changed) - set(removed)))


def _alike(before: RasterSource, source: RasterSource, tile_blocks: int, row: int, column: int) -> bool:
    """Whether two rasters are the same in all that the codes of a tile depend on."""
    side = tile_blocks * BLOCK_PX
    window = row * side - HALO_PX, column * side - HALO_PX, side + 2 * HALO_PX, side + 2 * HALO_PX
    old, new = before.read(*window), source.read(*window)
    same = np.array_equal(old.observed, new.observed)
    return same and np.array_equal(old.intensity[old.observed], new.intensity[new.observed])
