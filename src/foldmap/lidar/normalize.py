"""Bring any sensor's intensity to one scale: subtract the local mean, divide by the local spread, honour the mask.

Lidars differ in gain, offset and response curve, and wet asphalt differs from dry; what stays is the contrast of paint,
rails and kerbs with the ground around them. Everything here is local except one number a map, `global_spread`, which
keeps plain asphalt from being amplified to noise; it is stored with the folded map so that tiles fold independently.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from foldmap.errors import MapInputError
from foldmap.lidar.source import RasterMap
from foldmap.types import BoolArray, FloatArray

CELL_M = 0.4  # statistics are kept at this spacing, at least one pixel
WINDOW_CELLS = 9  # 3.6 m: wider than any paint mark, narrower than a change of pavement
SPREAD_FLOOR = 0.7  # of the global spread
CLIP = 4.0
_EPSILON = 1e-6


def cell_px(resolution_m: float) -> int:
    """Pixels of a statistics cell; 8 at 5 cm."""
    return max(1, round(CELL_M / resolution_m))


def _local_moments(intensity: Tensor, observed: Tensor, cell: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of observed pixels in the window around each pixel, (B, 1, H, W)."""
    height, width = intensity.shape[-2:]
    pad = (0, -width % cell, 0, -height % cell)
    stacked = torch.cat([observed, intensity * observed, intensity.square() * observed], dim=1)
    cells = functional.avg_pool2d(functional.pad(stacked, pad), cell)
    half = WINDOW_CELLS // 2
    sums = functional.avg_pool2d(functional.pad(cells, (half,) * 4), WINDOW_CELLS, stride=1)
    moments = sums[:, 1:] / sums[:, :1].clamp_min(_EPSILON)
    mean = moments[:, :1]
    both = torch.cat([mean, (moments[:, 1:] - mean.square()).clamp_min(0).sqrt()], dim=1)
    if cell > 1:
        both = functional.interpolate(both, scale_factor=cell, mode="bilinear", align_corners=False)
    both = both[..., :height, :width]
    return both[:, :1], both[:, 1:]


def normalize(intensity: Tensor, observed: Tensor, resolution_m: float, global_spread: Tensor | float) -> Tensor:
    """Make the networks' input (B, 2, H, W): normalized intensity in +-CLIP, zero where unobserved; and the mask.

    Intensity (B, 1, H, W) is linear, in any unit; what is not observed has no influence, NaN included. The global
    spread, a scalar or (B, 1, 1, 1), is of the same unit; see `spread_of`.
    """
    intensity = torch.where(observed > 0, intensity, 0.0)
    mean, spread = _local_moments(intensity, observed, cell_px(resolution_m))
    scale = torch.maximum(spread, torch.as_tensor(SPREAD_FLOOR * global_spread, dtype=spread.dtype)) + _EPSILON
    normal = ((intensity - mean) / scale).clamp(-CLIP, CLIP) * observed
    return torch.cat([normal, observed], dim=1)


def spread_of(intensity: FloatArray, observed: BoolArray, resolution_m: float) -> float:
    """The map's global spread: the median over cells of the local standard deviation; 0 when nothing was observed."""
    if not observed.any():
        return 0.0
    values, mask = _tensors(intensity, observed)
    cell = cell_px(resolution_m)
    _, spread = _local_moments(values, mask, cell)
    known = (mask > 0)[..., ::cell, ::cell]
    sampled = spread[..., ::cell, ::cell][known]
    if sampled.numel() == 0:
        sampled = spread[mask > 0]
    return float(sampled.median())


def network_input(raster: RasterMap, global_spread: float) -> Tensor:
    """Normalize a raster into a (1, 2, H, W) tensor; a MapInputError where the global spread is no positive number."""
    if raster.observed.any() and not (np.isfinite(global_spread) and global_spread >= 0):
        raise MapInputError(f"the map's intensity spread is {global_spread}", "check its intensity band")
    return normalize(*_tensors(raster.intensity, raster.observed), raster.grid.resolution_m, global_spread)


def observation_input(intensity: FloatArray, observed: BoolArray, resolution_m: float) -> Tensor:
    """Normalize an image by its own spread into a (1, 2, H, W) tensor."""
    spread = spread_of(intensity, observed, resolution_m)
    return normalize(*_tensors(intensity, observed), resolution_m, spread)


def _tensors(intensity: FloatArray, observed: BoolArray) -> tuple[Tensor, Tensor]:
    """Intensity, 0 where not observed, and the mask, float32 (1, 1, H, W)."""
    values = torch.from_numpy(np.where(observed, intensity, 0).astype(np.float32))
    return values[None, None], torch.from_numpy(observed.astype(np.float32))[None, None]
