"""Quantized local contrast as a map codec: sparse bright marks, one bit or three levels, and the project's coder.

The payload holds placement, an occupancy mask of 0.8 m cells and one level a pixel, both by the context coder. The
coder's two models are fitted elsewhere and shared by all maps, so they are no part of a payload.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from foldmap.bench.lidar.baselines.contrast import local_contrast, nearest_levels
from foldmap.bench.lidar.baselines.image_codecs import MASK_CELL_M, reduction_of
from foldmap.bench.lidar.baselines.rasters import block_sum, enlarge, reduce_observed
from foldmap.bench.lidar.payload import Reader, placement
from foldmap.coding.context import ContextModel
from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.source import RasterMap
from foldmap.street.graph.varint import pack
from foldmap.types import BoolArray, ByteArray, FloatArray


class Kind(NamedTuple):
    """Levels in spreads, that of code 0 first, and what a disagreement of two neighbours costs in squared spreads."""

    levels: tuple[float, ...]
    disagreement: float


KINDS = {
    "sparse": Kind((0.0, 4.0), 1.0),
    "1bit": Kind((-1.0, 1.0), 0.0),
    "ternary": Kind((0.0, 3.0, -3.0), 1.0),
}


LINES_OFF = ", lines off"


class Coders(NamedTuple):
    """Fitted models of the context coder."""

    codes: ContextModel  # of one group
    mask: ContextModel  # of one group of one symbol


class Coded(NamedTuple):
    """A map before it is coded, uint8: levels (h, w), 0 outside the mask, and the mask's cells."""

    codes: ByteArray
    mask: ByteArray


@dataclass(frozen=True)
class ContrastMapCodec:
    """Levels of local contrast at pixels of a size; it decodes to a raster of contrast."""

    kind: str  # of `KINDS`
    pixel_m: float  # a multiple of the map's resolution
    coders: Callable[["ContrastMapCodec"], Coders] = field(repr=False, compare=False)  # fitted where first needed
    lines: float = 0.0  # share of what goes on along a line that is taken off (`foldmap.lidar.marks.lines`)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"no kind of contrast {self.kind!r}", f"choose from {', '.join(KINDS)}")
        if not self.pixel_m > 0:
            raise ConfigError(f"pixels of {self.pixel_m} m", "give a positive size")
        object.__setattr__(self, "name", f"{self.kind}-{self.pixel_m * 100:g}cm{LINES_OFF if self.lines else ''}")

    def quantize(self, raster: RasterMap) -> Coded:
        """Levels and mask; errors where nothing was observed, or the pixel is no multiple of the resolution."""
        factor, kind = reduction_of(self.pixel_m, raster.grid), KINDS[self.kind]
        mean, weight = reduce_observed(raster.intensity, raster.observed.astype(np.float32), factor)
        seen = weight > 0
        if not seen.any():
            raise MapInputError("the map has no observed pixel", "give a map with observed ground")
        contrast = local_contrast(mean, seen, factor * raster.grid.resolution_m, self.lines)
        codes = nearest_levels(contrast, seen, kind.levels, kind.disagreement)
        mask = block_sum(raster.observed.astype(np.float32), _cell_px(raster.grid)) > 0
        known = block_sum(_spread_out(mask, raster.grid).astype(np.float32), factor) > 0
        return Coded(np.where(known, codes, 0).astype(np.uint8), mask.astype(np.uint8))

    def encode(self, raster: RasterMap) -> bytes:
        """See `Codec`; errors as `quantize`."""
        coded, coders, grid = self.quantize(raster), self.coders(self), raster.grid
        mask, codes = coders.mask.encode(coded.mask[None]), coders.codes.encode(coded.codes[None])
        return placement(grid) + pack([len(mask)]) + mask + codes

    def decode(self, payload: bytes) -> RasterMap:
        """See `Codec`; intensity is the contrast, smooth between pixels. A MapFormatError for a foreign payload."""
        reader, coders = Reader(payload), self.coders(self)
        grid, mask_bytes = reader.grid(), reader.number()
        body = reader.left
        factor = reduction_of(self.pixel_m, grid)
        mask = coders.mask.decode(body[:mask_bytes], (1, *_shape(grid, _cell_px(grid))))[0] > 0
        codes = coders.codes.decode(body[mask_bytes:], (1, *_shape(grid, factor)))[0]
        levels: FloatArray = np.array(KINDS[self.kind].levels, np.float32)
        observed = _spread_out(mask, grid)
        contrast = enlarge(levels[codes], factor, grid.shape)
        return RasterMap(grid, np.where(observed, contrast, 0).astype(np.float32), observed)


def _cell_px(grid: MetricGrid) -> int:
    return max(1, round(MASK_CELL_M / grid.resolution_m))


def _shape(grid: MetricGrid, factor: int) -> tuple[int, int]:
    return -(-grid.height_px // factor), -(-grid.width_px // factor)


def _spread_out(mask: BoolArray, grid: MetricGrid) -> BoolArray:
    """Cells over their pixels, bool (H, W)."""
    side = _cell_px(grid)
    return np.repeat(np.repeat(mask, side, 0), side, 1)[: grid.height_px, : grid.width_px]
