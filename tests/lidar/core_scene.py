"""Blobs on the ground and small models for the tests of the learned codec."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.nn import functional

from foldmap.coding.context import ContextModel
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.model import LidarModel
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.lidar.presets import INPUT_CHANNELS, PRESETS, Preset
from foldmap.lidar.source import RasterMap

TINY = PRESETS["tiny-8x"]
RESOLUTION_M = 0.2


def blobs(rng: np.random.Generator, side: int, sigma_px: float = 2.0) -> np.ndarray:
    """Smooth random ground, 0 to 1."""
    field = gaussian_filter(rng.standard_normal((side, side)), sigma_px)
    return (0.4 + 0.15 * field / field.std()).clip(0, 1).astype(np.float32)


def blob_pairs(
    count: int, seed: int, map_px: int = 140, sweep_px: int = 80, shift: int = 3, sigma_px: float = 2.0
) -> list[RasterPair]:
    """Pairs of one ground, each side with its own noise and holes; the sweep's centre is off by whole pixels."""
    made = []
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        ground = blobs(rng, map_px, sigma_px)
        row, col = (int(i) for i in rng.integers(-shift, shift + 1, 2))
        top, left = (map_px - sweep_px) // 2 + row, (map_px - sweep_px) // 2 + col
        sweep = ground[top : top + sweep_px, left : left + sweep_px]
        map_seen, sweep_seen = rng.random(ground.shape) < 0.97, rng.random(sweep.shape) < 0.9
        noisy = [side + 0.02 * rng.standard_normal(side.shape) for side in (ground, 0.6 * sweep)]
        made.append(
            RasterPair(
                np.where(map_seen, noisy[0], 0).astype(np.float32),
                map_seen,
                np.where(sweep_seen, noisy[1], 0).astype(np.float32),
                sweep_seen,
                (float(row), float(col)),
            )
        )
    return made


def random_model(preset: Preset = TINY, seed: int = 0) -> LidarModel:
    """Untrained networks whose norms and residual blocks do something."""
    torch.manual_seed(seed)
    model = LidarModel(preset).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if "running_mean" in name:
                value.copy_(0.1 * torch.randn(value.shape, generator=generator))
            elif "running_var" in name:
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif name.endswith("second.weight"):
                value.copy_(0.1 * torch.randn(value.shape, generator=generator))
        _liven(model, generator)
    return model


def _liven(model: LidarModel, generator: torch.Generator) -> None:
    """Spread and centre the encoder's logits over an image: channels take turns passing 0.5, as trained ones do."""
    image = torch.randn(1, INPUT_CHANNELS, 128, 128, generator=generator)
    image[:, 1] = 1.0
    image[:, 0] = functional.avg_pool2d(image[:, :1], 5, stride=1, padding=2)[:, 0] * 5
    logits = model.encoder(model.map_embedding(image)).flatten(1, 2)
    spread, mean = logits.std(dim=(0, 2, 3)), logits.mean(dim=(0, 2, 3))
    head = list(model.encoder.modules())[-1]
    assert isinstance(head, nn.Conv2d)
    assert head.bias is not None
    head.weight.mul_(4.0 / spread[:, None, None, None])
    head.bias.copy_((head.bias - mean) * 4.0 / spread)


def random_bundle(preset: Preset = TINY, seed: int = 0, name: str = "untrained") -> Bundle:
    """A bundle of them, with a coder fitted on random codes."""
    codes = np.random.default_rng(seed).integers(0, preset.group_channels + 1, (preset.groups, 16, 16)).astype(np.uint8)
    return Bundle(random_model(preset, seed), ContextModel.fit([codes], preset.group_channels), RESOLUTION_M, 1.0, name)


def blob_raster(height: int, width: int, seed: int = 0, holes: bool = True) -> RasterMap:
    """A raster of blobs with unobserved streaks."""
    rng = np.random.default_rng(seed)
    intensity = blobs(rng, max(height, width))[:height, :width]
    observed = (
        gaussian_filter(rng.standard_normal((height, width)), 12) > -0.02 if holes else np.ones_like(intensity, bool)
    )
    return RasterMap(MetricGrid(100.0, 900.0, RESOLUTION_M, height, width), intensity * observed, observed)
