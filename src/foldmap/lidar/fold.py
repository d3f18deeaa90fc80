"""Write a raster into the lidar layer of an open .fold file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from foldmap.atlas import FoldWriter
from foldmap.errors import ConfigError, MapInputError
from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.codec import BLOCK_PX, CodedBlock, encode_block, global_spread, lattice_shape
from foldmap.lidar.defaults import RESOLUTION_SLACK, shelf
from foldmap.lidar.source import RasterSource

LAYER, MODEL = "lidar", "localizer"
TILE_BLOCKS = 2
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class LidarPlan:
    """How a raster is stored.

    Attributes:
        bundle: the model, one operating point of rate against accuracy.
        tile_blocks: blocks of 512 px a tile side, 1 to 16; larger tiles are fewer and slower to read one by one.
        embed_model: put a model that ships into the file, too; else the file names it. Others are always put in.
        relief: relief is mixed into the raster (`foldmap.lidar.relief`), as the vehicle has to do with what it sees.
    """

    bundle: Bundle
    tile_blocks: int = TILE_BLOCKS
    embed_model: bool = False
    relief: bool = False


@dataclass(frozen=True)
class LidarReport:
    """What a folded raster takes; tiles without observed ground are not stored."""

    payload_bytes: int
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


def fold_lidar(
    writer: FoldWriter,
    source: RasterSource,
    plan: LidarPlan,
    *,
    layer: str = LAYER,
    report: Report = lambda done, total: None,
) -> LidarReport:
    """Fold a raster into a file that is being written; a layer of that name is replaced whole.

    The caller commits; ``report`` is called with blocks done and in all. A MapInputError where nothing was observed
    anywhere, or the resolution is not what the model was trained at.
    """
    bundle, grid = plan.bundle, source.grid
    if not 1 / RESOLUTION_SLACK <= grid.resolution_m / bundle.resolution_m <= RESOLUTION_SLACK:
        raise MapInputError(
            f"the map has {grid.resolution_m:g} m pixels, the model {bundle.name} {bundle.resolution_m:g} m",
            "choose a model for this resolution (--model), resample the map, or train one",
        )
    spread = global_spread(source)
    parameters: dict[str, Any] = {
        "grid": asdict(grid),
        "spread": spread,
        "tile_blocks": plan.tile_blocks,
        "block_px": BLOCK_PX,
        "model": bundle.name,
        "coder": bundle.coder.name,
        "codec": bundle.model.preset.name,
        **({"relief": True} if plan.relief else {}),
    }
    writer.put_layer(layer, "lidar", parameters)
    writer.put_model(layer, MODEL, stored_model(bundle, embed=plan.embed_model), role="localizer")
    payload_bytes, tiles, observed_px = 0, 0, 0
    for tile in encode_tiles(bundle, source, spread, plan.tile_blocks, report):
        payload = bundle.coder.encode(tile.codes)
        writer.put_tile(layer, tile.column, tile.row, payload)
        payload_bytes, tiles, observed_px = payload_bytes + len(payload), tiles + 1, observed_px + tile.observed_px
    if tiles == 0:
        raise MapInputError("the map has no observed ground", "check its nodata value and the band that was read")
    writer.set_parameters(layer, {**parameters, "observed_px": observed_px})
    return LidarReport(payload_bytes, tiles, observed_px * grid.resolution_m**2, grid.height_px * grid.width_px)


def encode_tiles(
    bundle: Bundle,
    source: RasterSource,
    spread: float,
    tile_blocks: int = TILE_BLOCKS,
    report: Report = lambda done, total: None,
) -> Iterator[CodedBlock]:
    """Code a raster, of which ``spread`` is the `global_spread`, tile by tile; memory holds one tile.

    The lattice blocks a tile side decide nothing but how the codes are cut. Errors and ``report`` as in `fold_lidar`.
    """
    require_fold(bundle)
    if not 1 <= tile_blocks <= 16:
        raise ConfigError(f"{tile_blocks} blocks a tile", "give 1 to 16")
    rows, columns = tiles_of(source, tile_blocks)
    total, done = int(np.prod(lattice_shape(source))), 0
    for tile_row, tile_column in np.ndindex(rows, columns):
        tile, blocks = encode_tile(bundle, source, spread, tile_blocks, tile_row, tile_column)
        done += blocks
        report(done, total)
        if tile is not None:
            yield tile


def tiles_of(source: RasterSource, tile_blocks: int) -> tuple[int, int]:
    """Rows and columns of tiles that cover a raster."""
    rows, columns = lattice_shape(source)
    return -(-rows // tile_blocks), -(-columns // tile_blocks)


def encode_tile(
    bundle: Bundle, source: RasterSource, spread: float, tile_blocks: int, tile_row: int, tile_column: int
) -> tuple[CodedBlock | None, int]:
    """Code one tile, None when nothing was observed in it; and how many blocks it has."""
    rows, columns = lattice_shape(source)
    cells = BLOCK_PX // bundle.model.preset.downsample
    codes = np.zeros((bundle.model.preset.groups, tile_blocks * cells, tile_blocks * cells), np.uint8)
    first_row, first_column, observed_px = tile_row * tile_blocks, tile_column * tile_blocks, 0
    shape = min(tile_blocks, rows - first_row), min(tile_blocks, columns - first_column)
    for down, right in np.ndindex(shape):
        block = encode_block(bundle, source, spread, first_row + down, first_column + right)
        if block is not None:
            codes[:, down * cells : (down + 1) * cells, right * cells : (right + 1) * cells] = block.codes
            observed_px += block.observed_px
    return CodedBlock(tile_row, tile_column, codes, observed_px) if observed_px else None, shape[0] * shape[1]


def stored_model(bundle: Bundle, *, embed: bool = False) -> bytes:
    """What a file holds of a model: the name of one that ships, or, embedded or the user's own, its localizing half."""
    named = shelf().stored(bundle.to_bytes(), embed=embed) if bundle.can_fold else None
    return named or bundle.to_bytes(localize_only=True)
