"""Write a raster into the lidar layer of an open .fold file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from foldmap.atlas import FoldWriter
from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.codec import HALO_PX, CodedBlock, encode_block, global_spread, lattice_shape
from foldmap.lidar.defaults import step_of, suits
from foldmap.lidar.marks.choose import MapLevel
from foldmap.lidar.marks.fold import CodedTile, MarkTiles, tiles_of
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.shipped import LAYER, MODEL, shelf
from foldmap.lidar.source import BLOCK_PX, RasterSource, ReducedRaster

TILE_BLOCKS = 2
Report = Callable[[int, int], None]
Tiles = Iterator[tuple[int, int, CodedTile | None]]
"""Row and column of tiles, in any order, and what is stored there."""


@dataclass(frozen=True)
class LidarPlan:
    """How a raster is stored.

    Attributes:
        bundle: the model, one operating point of rate against accuracy: marks, or a learned code.
        tile_blocks: of a learned code, blocks of 512 px a tile side, 1 to 16; larger tiles take longer to read.
        embed_model: put a model that ships into the file, too; else the file names it. Others are always put in.
        relief: relief is mixed into the raster (`foldmap.lidar.relief`), as the vehicle has to do with what it sees.
        calibration: of the map, as plain data (`foldmap.localize.evidence.MapCalibration`); None: the model's holds.
    """

    bundle: Bundle | MarksModel
    tile_blocks: int = TILE_BLOCKS
    embed_model: bool = False
    relief: bool = False
    calibration: dict[str, Any] | None = None


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
    code: Callable[[TileCoder, RasterSource], Tiles] | None = None,
    report: Report = lambda done, total: None,
) -> LidarReport:
    """Fold a raster into a file that is being written; a layer of that name is replaced whole.

    The caller commits; ``report`` is called with tiles done and in all. ``code`` gives the tiles of a coder, else they
    are coded here, one after the other. A MapInputError where nothing was observed anywhere, or the resolution is not
    what the model was trained at.
    """
    bundle, grid = plan.bundle, source.grid
    if not suits(bundle, grid.resolution_m):
        raise MapInputError(
            f"the map has {grid.resolution_m:g} m pixels, the model {bundle.name} {bundle.resolution_m:g} m",
            "choose a model for this resolution (--model), resample the map, or train one",
        )
    coder = tile_coder(bundle, source, plan.tile_blocks)
    parameters = {"grid": asdict(coder.grid), "model": bundle.name, **coder.parameters()}
    if plan.relief:
        parameters["relief"] = True
    if plan.calibration is not None:
        parameters["calibration"] = plan.calibration
    writer.put_layer(layer, "lidar", parameters)
    writer.put_model(layer, MODEL, stored_model(bundle, embed=plan.embed_model), role="localizer")
    payload_bytes, tiles, observed_px = 0, 0, 0
    rows, columns = tiles_of(source, coder.side_px)
    for done, (row, column, tile) in enumerate((code or _in_turn)(coder, source), start=1):
        report(done, rows * columns)
        if tile is not None:
            writer.put_tile(layer, column, row, tile.payload)
            payload_bytes, tiles = payload_bytes + len(tile.payload), tiles + 1
            observed_px += tile.observed_px
    if tiles == 0:
        raise MapInputError("the map has no observed ground", "check its nodata value and the band that was read")
    writer.set_parameters(layer, {**parameters, "observed_px": round(observed_px * px_of_layer(coder, source))})
    return LidarReport(payload_bytes, tiles, observed_px * grid.resolution_m**2, grid.height_px * grid.width_px)


def px_of_layer(coder: TileCoder, source: RasterSource) -> float:
    """Pixels of the layer that a coder makes of a raster, a pixel of that: 1, or less where it is reduced."""
    return (source.grid.resolution_m / coder.grid.resolution_m) ** 2


def _in_turn(coder: TileCoder, source: RasterSource) -> Tiles:
    for row, column in np.ndindex(*tiles_of(source, coder.side_px)):
        yield row, column, coder.tile(source, row, column)


class TileCoder(Protocol):
    """Codes a map tile by tile, each on its own.

    A tile has ``side_px`` pixels of the raster a side; what it holds depends on nothing farther from it than
    ``halo_px``. The layer's ``grid`` is the raster's, or that of the reduced raster that a learned code is made of.
    """

    side_px: int
    halo_px: int
    grid: MetricGrid

    def parameters(self) -> dict[str, Any]:
        """What the layer says of its codes, beside its grid."""

    def tile(self, source: RasterSource, row: int, column: int) -> CodedTile | None:
        """Code a tile; None where nothing was observed in it."""


def tile_coder(
    model: Bundle | MarksModel,
    source: RasterSource,
    tile_blocks: int = TILE_BLOCKS,
    before: dict[str, Any] | None = None,
) -> TileCoder:
    """The coder of a model for a map; what holds for the whole map is measured, or taken from a layer's parameters."""
    if isinstance(model, MarksModel) and before:
        return MarkTiles(model, source, MapLevel.of_layer(before), before["tile_cells"])
    if isinstance(model, MarksModel):
        return MarkTiles(model, source)
    if before:
        return LearnedTiles(model, source, before["tile_blocks"], before["spread"])
    return LearnedTiles(model, source, tile_blocks)


class LearnedTiles:
    """The tiles of a map in a learned code, of some blocks of the lattice a side: a `TileCoder`."""

    def __init__(self, bundle: Bundle, source: RasterSource, tile_blocks: int, spread: float | None = None) -> None:
        require_fold(bundle)
        if not 1 <= tile_blocks <= 16:
            raise ConfigError(f"{tile_blocks} blocks a tile", "give 1 to 16")
        self._bundle, self._blocks, self._step = bundle, tile_blocks, max(1, step_of(bundle, source.grid.resolution_m))
        coarse = self._as_coded(source)
        self._spread, self.grid = global_spread(coarse) if spread is None else spread, coarse.grid
        self.side_px, self.halo_px = tile_blocks * BLOCK_PX * self._step, HALO_PX * self._step

    def parameters(self) -> dict[str, Any]:
        """See `TileCoder`."""
        return {
            "spread": self._spread,
            "tile_blocks": self._blocks,
            "block_px": BLOCK_PX,
            "coder": self._bundle.coder.name,
            "codec": self._bundle.model.preset.name,
        }

    def _as_coded(self, source: RasterSource) -> RasterSource:
        """The raster in the model's pixels."""
        return source if self._step == 1 else ReducedRaster(source, self._step)

    def codes(self, source: RasterSource, row: int, column: int) -> CodedBlock | None:
        """Codes of one tile, before the coder, and its observed pixels of the raster; None where there are none."""
        preset, blocks, fine_px = self._bundle.model.preset, self._blocks, BLOCK_PX * self._step
        coarse = self._as_coded(source)
        rows, columns = lattice_shape(coarse)
        cells = BLOCK_PX // preset.downsample
        codes = np.zeros((preset.groups, blocks * cells, blocks * cells), np.uint8)
        first_row, first_column, observed_px = row * blocks, column * blocks, 0
        for down, right in np.ndindex(min(blocks, rows - first_row), min(blocks, columns - first_column)):
            at = first_row + down, first_column + right
            block = encode_block(self._bundle, coarse, self._spread, *at)
            if block is not None:
                codes[:, down * cells : (down + 1) * cells, right * cells : (right + 1) * cells] = block.codes
                fine = source.read(at[0] * fine_px, at[1] * fine_px, fine_px, fine_px) if self._step > 1 else None
                observed_px += block.observed_px if fine is None else int(fine.observed.sum())
        return CodedBlock(row, column, codes, observed_px) if observed_px else None

    def tile(self, source: RasterSource, row: int, column: int) -> CodedTile | None:
        """See `TileCoder`."""
        coded = self.codes(source, row, column)
        return None if coded is None else CodedTile(self._bundle.coder.encode(coded.codes), coded.observed_px)


def encode_tiles(
    bundle: Bundle, source: RasterSource, spread: float, tile_blocks: int = TILE_BLOCKS
) -> Iterator[CodedBlock]:
    """Codes of a raster in a learned code, tile by tile; ``spread`` is its `global_spread`, in the model's pixels.

    The lattice blocks a tile side decide nothing but how the codes are cut.
    """
    tiles = LearnedTiles(bundle, source, tile_blocks, spread)
    for row, column in np.ndindex(*tiles_of(source, tiles.side_px)):
        tile = tiles.codes(source, row, column)
        if tile is not None:
            yield tile


def stored_model(bundle: Bundle | MarksModel, *, embed: bool = False) -> bytes:
    """What a file holds of a model: the name of one that ships, or, embedded or the user's own, its localizing half."""
    named = shelf().stored(bundle.to_bytes(), embed=embed) if bundle.can_fold else None
    return named or bundle.to_bytes(localize_only=True)
