"""A bundle whose coder is fitted but whose localizer is not calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foldmap.lidar.bundle import Bundle
    from foldmap.lidar.model import LidarModel
    from foldmap.lidar.pairs.sampling import Pair


def drafted(
    model: LidarModel, pairs: Sequence[Pair], resolution_m: float, name: str, provenance: dict[str, Any]
) -> Bundle:
    """Fit the coder on three quarters of the pairs and measure the rate on the rest; thresholds stay at their defaults.

    Args:
        model: trained networks.
        pairs: at least four.
        resolution_m: their pixel size.
        name: of the bundle.
        provenance: how the model was trained.
    """
    import numpy as np

    from foldmap.coding.context import ContextModel
    from foldmap.geometry import MetricGrid
    from foldmap.lidar.bundle import Bundle, quantized
    from foldmap.lidar.codec import encode_raster
    from foldmap.lidar.normalize import spread_of
    from foldmap.lidar.source import RasterMap

    preset = model.preset
    blank = np.zeros((preset.groups, 2, 2), np.uint8)
    bundle = Bundle(model.eval().cpu(), ContextModel.fit([blank], preset.group_channels), resolution_m, 1.0, name)
    bundle = quantized(bundle)
    codes = []
    for pair in pairs:
        height, width = (side // preset.downsample * preset.downsample for side in pair.map_observed.shape)
        grid = MetricGrid(0.0, 0.0, resolution_m, height, width)
        raster = RasterMap(grid, pair.map_intensity[:height, :width], pair.map_observed[:height, :width])
        codes.append(encode_raster(bundle, raster, spread_of(raster.intensity, raster.observed, resolution_m)))
    coder = ContextModel.fit([c for k, c in enumerate(codes) if k % 4], preset.group_channels)
    held = range(0, len(pairs), 4)
    bits = sum(8 * len(coder.encode(codes[k])) for k in held)
    ground_m2 = sum(float(pairs[k].map_observed.sum()) for k in held) * resolution_m**2
    return replace(bundle, coder=coder, rate_bit_m2=bits / max(ground_m2, 1e-9), provenance=provenance)
