"""Update the lidar layer of a .fold file from a new raster: the tiles that changed are written and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from foldmap.atlas import FoldUpdater, TileKey
from foldmap.errors import MapInputError, ModelError
from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.defaults import bundle_named
from foldmap.lidar.fold import LAYER, encode_tile, tiles_of
from foldmap.lidar.source import RasterSource
from foldmap.lidar.unfold import FoldedLidar


@dataclass(frozen=True)
class LidarUpdate:
    """What an update wrote.

    Attributes:
        changed: (column, row) of the tiles that hold other codes than before, new ones included.
        removed: tiles in which nothing is observed any more.
        kept: tiles that stayed bit for bit.
    """

    changed: tuple[TileKey, ...]
    removed: tuple[TileKey, ...]
    kept: int


def update_lidar(
    updater: FoldUpdater,
    source: RasterSource,
    bundle: Bundle | None = None,
    *,
    tiles: Iterable[TileKey] | None = None,
    layer: str = LAYER,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> LidarUpdate:
    """Fold again what changed of a raster, with the model and the intensity spread of the file.

    Args:
        updater: of the file; the caller commits.
        source: the new raster, on the grid of the folded one.
        bundle: the model of the file; None where it ships.
        tiles: (column, row) that may have changed: only these are read and coded. Codes near a tile's border depend on
            the ground up to `codec.HALO_PX` beyond it: where that changed, name the neighbour too. None: all tiles are
            coded and compared.
        layer: its name.
        report: called with tiles done and in all.

    Raises:
        MapInputError: the raster lies on another grid, has no observed ground, or no such tile.
        ModelError: the file was folded with another model.
    """
    before = updater.before
    folded = FoldedLidar(before, layer)
    bundle = _model(folded, bundle, str(updater.path))
    mine, theirs = asdict(source.grid), asdict(folded.grid)
    if any(mine[name] != theirs[name] for name in mine if name != "crs_wkt"):
        raise MapInputError("the new raster lies on another grid than the folded map", "resample it to the map's grid")
    rows, columns = tiles_of(source, folded.tile_blocks)
    every = [(column, row) for row in range(rows) for column in range(columns)]
    asked = every if tiles is None else sorted(set(tiles), key=lambda key: key[::-1])
    for column, row in asked:
        if not (0 <= row < rows and 0 <= column < columns):
            raise MapInputError(f"the map has no tile ({column}, {row})", f"it has {columns} columns and {rows} rows")
    there = set(before.tiles(layer))
    changed, removed, observed_px = [], [], 0
    for done, (column, row) in enumerate(asked, start=1):
        tile, _ = encode_tile(bundle, source, folded.parameters["spread"], folded.tile_blocks, row, column)
        payload = None if tile is None else bundle.coder.encode(tile.codes)
        observed_px += 0 if tile is None else tile.observed_px
        if payload is not None and payload != before.tile(layer, column, row):
            updater.put_tile(layer, column, row, payload)
            changed.append((column, row))
        elif payload is None and (column, row) in there:
            updater.remove_tile(layer, column, row)
            removed.append((column, row))
        report(done, len(asked))
    if tiles is None:
        if observed_px == 0:
            raise MapInputError("the map has no observed ground", "check its nodata value and the band")
        updater.set_parameters(layer, {**folded.parameters, "observed_px": observed_px})
    return LidarUpdate(tuple(changed), tuple(removed), len(there - set(changed) - set(removed)))


def _model(folded: FoldedLidar, given: Bundle | None, path: str) -> Bundle:
    stored = folded.bundle
    bundle = given or (stored if stored.can_fold else bundle_named(stored.name))
    require_fold(bundle)
    if bundle.to_bytes(localize_only=True) != stored.to_bytes(localize_only=True):
        raise ModelError(
            f"the model {bundle.name} is not the one that {path} was folded with",
            "give that model with --model, or fold the whole map anew",
        )
    return bundle
