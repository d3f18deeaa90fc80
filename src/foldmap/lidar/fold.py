"""Write a raster into the lidar layer of a .fold file, and update the tiles that changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas import FoldUpdater, FoldWriter
from foldmap.errors import ConfigError, MapInputError, ModelError
from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.codec import BLOCK_PX, encode_block, global_spread, lattice_shape
from foldmap.lidar.defaults import shelf
from foldmap.lidar.source import RasterSource
from foldmap.types import ByteArray

LAYER = "lidar"
MODEL = "localizer"
TILE_BLOCKS = 2
_RESOLUTION_SLACK = 1.6


@dataclass(frozen=True)
class FoldReport:
    """What folding made.

    Attributes:
        payload_bytes: all tiles together.
        file_bytes: size of the file on disk.
        tiles: tiles stored; tiles without observed ground are not.
        observed_m2: observed ground.
        raster_px: pixels of the whole raster.
    """

    payload_bytes: int
    file_bytes: int
    tiles: int
    observed_m2: float
    raster_px: int

    @property
    def bit_per_m2(self) -> float:
        """Payload bits per square metre of observed ground."""
        return 8 * self.payload_bytes / self.observed_m2

    @property
    def bpp(self) -> float:
        """Payload bits per pixel of the whole raster at its native resolution."""
        return 8 * self.payload_bytes / self.raster_px


@dataclass(frozen=True)
class CodedTile:
    """Codes of one tile, uint8 (G, h, w), before the entropy coder."""

    row: int
    column: int
    codes: ByteArray
    observed_px: int


def encode_tiles(
    bundle: Bundle,
    source: RasterSource,
    spread: float,
    tile_blocks: int = TILE_BLOCKS,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[CodedTile]:
    """Code a raster tile by tile; memory holds one tile.

    Args:
        bundle: the operating point.
        source: the raster.
        spread: `global_spread` of it.
        tile_blocks: lattice blocks a tile side; decides nothing but how the codes are cut.
        report: called with blocks done and blocks in all.

    Raises:
        ConfigError: the bundle cannot fold, or no blocks a tile.
    """
    require_fold(bundle)
    if not 1 <= tile_blocks <= 16:
        raise ConfigError(f"{tile_blocks} blocks a tile", "give 1 to 16")
    rows, columns = lattice_shape(source)
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        report(done, rows * columns)

    for tile_row in range(-(-rows // tile_blocks)):
        for tile_column in range(-(-columns // tile_blocks)):
            tile = _encode_tile(bundle, source, spread, tile_blocks, tile_row, tile_column, one_more)
            if tile is not None:
                yield tile


def _encode_tile(
    bundle: Bundle,
    source: RasterSource,
    spread: float,
    tile_blocks: int,
    tile_row: int,
    tile_column: int,
    report: Callable[[], None] = lambda: None,
) -> CodedTile | None:
    """Code one tile; None when nothing was observed in it."""
    rows, columns = lattice_shape(source)
    cells = BLOCK_PX // bundle.model.preset.downsample
    codes = np.zeros((bundle.model.preset.groups, tile_blocks * cells, tile_blocks * cells), np.uint8)
    observed_px = 0
    for row in range(tile_row * tile_blocks, min((tile_row + 1) * tile_blocks, rows)):
        for column in range(tile_column * tile_blocks, min((tile_column + 1) * tile_blocks, columns)):
            block = encode_block(bundle, source, spread, row, column)
            report()
            if block is None:
                continue
            top, left = (row % tile_blocks) * cells, (column % tile_blocks) * cells
            codes[:, top : top + cells, left : left + cells] = block.codes
            observed_px += block.observed_px
    return CodedTile(tile_row, tile_column, codes, observed_px) if observed_px else None


def fold_lidar(
    path: Path,
    source: RasterSource,
    bundle: Bundle,
    *,
    tile_blocks: int = TILE_BLOCKS,
    embed_model: bool = False,
    provenance: dict[str, Any] | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> FoldReport:
    """Fold a raster into a new .fold file with one lidar layer.

    Args:
        path: where; an old file is replaced only when the new one is complete.
        source: ground intensity.
        bundle: the operating point.
        tile_blocks: lattice blocks a tile side.
        embed_model: put a shipped model into the file, too; else the file names it. Others are always put in.
        provenance: what was folded and with which settings, kept in the file.
        report: called with blocks done and blocks in all.

    Raises:
        MapInputError: nothing was observed anywhere, or the resolution is not what the model was trained at.
    """
    check_resolution(source, bundle)
    spread = global_spread(source)
    payload_bytes, tiles, observed_px = 0, 0, 0
    with FoldWriter(path) as writer:
        parameters = _parameters(source, bundle, spread, tile_blocks)
        writer.add_layer(LAYER, "lidar", parameters)
        writer.put_model(LAYER, MODEL, stored_model(bundle, embed=embed_model), role="localizer")
        for tile in encode_tiles(bundle, source, spread, tile_blocks, report):
            payload = bundle.coder.encode(tile.codes)
            writer.put_tile(LAYER, tile.column, tile.row, payload)
            payload_bytes, tiles, observed_px = payload_bytes + len(payload), tiles + 1, observed_px + tile.observed_px
        if tiles == 0:
            raise MapInputError("the map has no observed ground", "check its nodata value and the band that was read")
        writer.set_parameters(LAYER, {**parameters, "observed_px": observed_px})
        writer.put_metadata("provenance", provenance or {})
    grid = source.grid
    return FoldReport(
        payload_bytes, path.stat().st_size, tiles, observed_px * grid.resolution_m**2, grid.height_px * grid.width_px
    )


def stored_model(bundle: Bundle, *, embed: bool = False) -> bytes:
    """What a file holds of an operating point: the name of a shipped one, else the half that localizes.

    Args:
        bundle: the operating point.
        embed: hold a shipped one, too.
    """
    named = shelf().stored(bundle.to_bytes(), embed=embed) if bundle.can_fold else None
    return named or bundle.to_bytes(localize_only=True)


def update_lidar(
    updater: FoldUpdater, source: RasterSource, bundle: Bundle, parameters: dict[str, Any], tiles: list[tuple[int, int]]
) -> int:
    """Fold some tiles of an open update again, from a raster on the same grid; returns the payload bytes written.

    A tile in which nothing is observed any more is removed. Only the tiles that are asked for are read and coded. Codes
    near a tile's border depend on the ground up to `codec.HALO_PX` beyond it: where that changed, name the neighbour
    too.

    Args:
        updater: the open update; nothing changes before it commits.
        source: the new raster, on the grid of the folded one.
        bundle: the operating point of the file.
        parameters: the layer's, as the file holds them.
        tiles: (column, row) to fold again.

    Raises:
        MapInputError: the raster lies on another grid, or a tile outside of it.
        ModelError: the file was folded with another model.
        ConfigError: the bundle cannot fold.
    """
    require_fold(bundle)
    if (bundle.name, bundle.model.preset.name) != (parameters["model"], parameters["codec"]):
        raise ModelError(
            f"the map was folded with the model {parameters['model']}, not {bundle.name}",
            "give that model, or fold anew",
        )
    grid = asdict(source.grid)
    if any(grid[name] != parameters["grid"][name] for name in grid if name != "crs_wkt"):
        raise MapInputError("the new raster lies on another grid than the folded map", "resample it to the map's grid")
    spread, tile_blocks = parameters["spread"], parameters["tile_blocks"]
    rows, columns = (-(-blocks // tile_blocks) for blocks in lattice_shape(source))
    for column, row in tiles:
        if not (0 <= row < rows and 0 <= column < columns):
            raise MapInputError(f"the map has no tile ({column}, {row})", f"it has {columns} columns and {rows} rows")
    written = 0
    for column, row in sorted(set(tiles)):
        tile = _encode_tile(bundle, source, spread, tile_blocks, row, column)
        if tile is None:
            updater.remove_tile(LAYER, column, row)
            continue
        payload = bundle.coder.encode(tile.codes)
        updater.put_tile(LAYER, column, row, payload)
        written += len(payload)
    return written


def check_resolution(source: RasterSource, bundle: Bundle) -> None:
    """Check that a raster's pixels are near those of the model.

    Raises:
        MapInputError: they differ by more than a factor of 1.6.
    """
    ratio = source.grid.resolution_m / bundle.resolution_m
    if not 1 / _RESOLUTION_SLACK <= ratio <= _RESOLUTION_SLACK:
        raise MapInputError(
            f"the map has {source.grid.resolution_m:g} m pixels, the model {bundle.name} {bundle.resolution_m:g} m",
            "choose a model for this resolution (--model), resample the map, or train one",
        )


def _parameters(source: RasterSource, bundle: Bundle, spread: float, tile_blocks: int) -> dict[str, Any]:
    return {
        "grid": asdict(source.grid),
        "spread": spread,
        "tile_blocks": tile_blocks,
        "block_px": BLOCK_PX,
        "model": bundle.name,
        "coder": bundle.coder.name,
        "codec": bundle.model.preset.name,
    }
