"""Give trained networks their entropy coder, fitted on the codes of their own training pairs, and measure the rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foldmap.coding.context import ContextModel
from foldmap.errors import ModelError
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle, quantized
from foldmap.lidar.codec import encode_raster
from foldmap.lidar.model import LidarModel
from foldmap.lidar.normalize import spread_of
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.lidar.source import RasterMap
from foldmap.types import ByteArray

HOLD_OUT = 4  # every fourth pair measures, the others fit


@dataclass(frozen=True)
class CodedPairs:
    """A model as it will be read back (8-bit weights), with coder and rate, and the pairs that these were fitted on.

    The thresholds are the defaults; the rasters are the pairs' maps, around the origin, cut to whole cells.
    """

    bundle: Bundle
    rasters: list[RasterMap]
    codes: list[ByteArray]


def fit_coder(
    model: LidarModel,
    pairs: Sequence[RasterPair],
    resolution_m: float,
    name: str,
    provenance: dict[str, Any],
    *,
    turned: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> CodedPairs:
    """Fit the coder of trained networks on three quarters of at least four pairs' maps; measure the rate on the rest.

    Where ``turned``, each map is also fitted a quarter turn on; ``report`` is called with maps coded and in all. A
    ModelError where the held-out maps show no ground.
    """
    preset = model.preset
    blank = np.zeros((preset.groups, 2, 2), np.uint8)
    bundle = quantized(Bundle(model.eval(), ContextModel.fit([blank], preset.group_channels), resolution_m, 1.0, name))
    rasters, codes = [], []
    for index in range(len(pairs)):
        raster = raster_of(pairs[index], resolution_m)
        height, width = (side // preset.downsample * preset.downsample for side in raster.grid.shape)
        raster = raster.read(0, 0, height, width)
        rasters.append(raster)
        codes.append(encode_raster(bundle, raster, spread_of(raster.intensity, raster.observed, resolution_m)))
        report(index + 1, len(pairs))
    fitted = [one for index, one in enumerate(codes) if index % HOLD_OUT]
    turns = (0, 1) if turned else (0,)
    coder = ContextModel.fit(
        [np.ascontiguousarray(np.rot90(one, k, axes=(1, 2))) for one in fitted for k in turns], preset.group_channels
    )
    held = range(0, len(pairs), HOLD_OUT)
    bits = sum(8 * len(coder.encode(codes[index])) for index in held)
    ground_m2 = sum(float(pairs[index].map_observed.sum()) for index in held) * resolution_m**2
    if bits == 0 or ground_m2 == 0:
        raise ModelError(f"the {len(held)} held-out maps hold no ground", "give other pairs")
    return CodedPairs(replace(bundle, coder=coder, rate_bit_m2=bits / ground_m2, provenance=provenance), rasters, codes)


def rate_of(coded: Sequence[tuple[ByteArray, float]], group_channels: int) -> float:
    """Bits a m2 of the second half of some batches of codes, coded by a coder fitted on the first half.

    Batches are uint8 (B, G, h, w), each with its ground in m2; NaN where a half holds no ground.
    """
    half = len(coded) // 2
    ground_m2 = sum(area for _, area in coded[half:])
    fitted = [one for codes, _ in coded[:half] for one in codes]
    if ground_m2 == 0 or not fitted:
        return math.nan
    coder = ContextModel.fit(fitted, group_channels)
    return sum(8 * len(coder.encode(one)) for codes, _ in coded[half:] for one in codes) / ground_m2


def raster_of(pair: RasterPair, resolution_m: float) -> RasterMap:
    """A pair's map as a raster of its own, centred on the origin."""
    height, width = pair.map_observed.shape
    grid = MetricGrid(-0.5 * width * resolution_m, 0.5 * height * resolution_m, resolution_m, height, width)
    return RasterMap(grid, pair.map_intensity, pair.map_observed)
