"""The decoder of the localizer is the trained one, box by box; and the boxes hold all that a turned crop reads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from core_scene import random_bundle, random_model
from torch import nn

from foldmap.lidar.codec import Decoder
from foldmap.lidar.match.region import STRIP_PX, strips_of_turned
from foldmap.lidar.match.rotate import Turner
from foldmap.lidar.match.trainable import rotate_embedding
from foldmap.lidar.match.warp import turned_crop
from foldmap.lidar.presets import PRESETS, Preset
from foldmap.lidar.runtime.inference import FastDecoder, FastPReLU

CODES = (6, 9)


def _one_hot(preset: Preset, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """(1, G, K, h, w) by a loop over symbols, and the symbols."""
    symbols = np.random.default_rng(seed).integers(0, preset.group_channels + 1, (preset.groups, *CODES))
    planes = np.stack([symbols == k for k in range(1, preset.group_channels + 1)], axis=1)
    return torch.from_numpy(planes[None].astype(np.float32)), symbols.astype(np.uint8)


def _various(model: nn.Module, seed: int = 0) -> None:
    """Give every PReLU slopes of its own, and every bias a value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.PReLU):
                part.weight.copy_(torch.rand(part.weight.shape, generator=generator) * 1.3 - 0.4)


def _boxes(height: int, width: int) -> list[tuple[int, int, int, int]]:
    rng = np.random.default_rng(1)
    boxes = [(0, height, 0, width), (0, 1, 0, 1), (height - 1, height, width - 1, width), (5, 6, 0, width)]
    for _ in range(6):
        row, row_end = sorted(rng.choice(height + 1, 2, replace=False).tolist())
        column, column_end = sorted(rng.choice(width + 1, 2, replace=False).tolist())
        boxes.append((row, row_end, column, column_end))
    return boxes


@pytest.mark.parametrize("name", ["small-16x", "small-8x", "paper-8x", "coarse-4x", "tiny-8x"])
def test_boxes_are_cuts_of_what_the_plain_network_makes(name: str) -> None:
    preset = PRESETS[name]
    model = random_model(preset)
    _various(model)
    planes, _ = _one_hot(preset)
    fast = FastDecoder(model.decoder, torch.float32)
    boxes = _boxes(CODES[0] * preset.downsample, CODES[1] * preset.downsample)
    with torch.inference_mode():
        plain = model.decoder(planes)[0]
        flat = planes.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        parts = list(fast.boxes(flat, boxes))
    assert len(parts) == len(boxes)
    for (row, row_end, column, column_end), part in zip(boxes, parts, strict=True):
        expected = plain[:, row:row_end, column:column_end]
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))
    assert float(plain.std()) > 0
    assert not isinstance(model.decoder.layers[1], FastPReLU)  # the trained network is left as it is


def test_the_window_of_a_bundle_equals_the_plain_network() -> None:
    preset = PRESETS["small-16x"]
    bundle = random_bundle(preset)
    _various(bundle.model)
    planes, symbols = _one_hot(preset)
    with torch.inference_mode():
        plain = bundle.model.decoder(planes)[0]
    boxes = [(0, 30, 10, 70), (30, 48, 0, 64)]
    window = np.s_[:, 20:68, 37:107]
    expected = torch.zeros_like(plain[window])
    for row, row_end, column, column_end in boxes:
        expected[:, row:row_end, column:column_end] = plain[window][:, row:row_end, column:column_end]
    exact = Decoder(bundle, fast=False).decode_window(symbols, (20, 37), (48, 70), boxes)
    np.testing.assert_allclose(exact, expected.numpy(), rtol=1e-4, atol=1e-4 * float(plain.abs().max()))
    fast = Decoder(bundle).decode_window(symbols, (20, 37), (48, 70), boxes)
    assert fast.dtype == np.float32
    assert float(((fast - expected.numpy()) ** 2).mean()) < 0.03**2 * float(expected.square().mean())


@pytest.mark.parametrize("steepest", [0.9, 1.0, 1.7])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_prelu_is_prelu(steepest: float, layout: torch.memory_format) -> None:
    plain = nn.PReLU(5)
    with torch.no_grad():
        plain.weight.copy_(torch.tensor([0.25, -0.5, 0.0, steepest, 0.1]))
    x = torch.randn(1, 5, 7, 11, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    expected = torch.where(x > 0, x, x * plain.weight.detach()[None, :, None, None])
    with torch.inference_mode():
        torch.testing.assert_close(FastPReLU(plain)(x.clone(memory_format=layout)), expected)


@pytest.mark.parametrize("heading_deg", [0.0, 17.0, 45.0, 90.0, 133.0, -61.5, 180.0])
@pytest.mark.parametrize("centre", [(260.3, 250.8), (20.0, 470.4), (-40.0, 250.0)])
def test_strips_hold_all_that_a_turned_crop_reads(heading_deg: float, centre: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    source = rng.standard_normal((1, 510, 520)).astype(np.float32)
    known, heading, shape = np.ones((510, 520), bool), math.radians(heading_deg), (220, 310)
    strips = strips_of_turned((510, 520), centre, heading, shape)
    kept, times = np.zeros_like(source), np.zeros((510, 520), int)
    for row, row_end, column, column_end in strips:
        assert 0 <= row < row_end <= 510
        assert 0 <= column < column_end <= 520
        assert row_end - row <= STRIP_PX
        times[row:row_end, column:column_end] += 1
        kept[:, row:row_end, column:column_end] = source[:, row:row_end, column:column_end]
    assert times.max() <= 1
    whole, _ = turned_crop(source, known, centre, heading, shape)
    part, _ = turned_crop(kept, known, centre, heading, shape)
    np.testing.assert_array_equal(whole, part)
    assert whole.any()
    if heading_deg == 45.0 and centre[0] > 100:
        assert times.mean() < 0.75  # corners are left out


def test_a_crop_beside_the_window_needs_nothing() -> None:
    assert strips_of_turned((100, 100), (500.0, 50.0), 0.3, (40, 40)) == []
    assert strips_of_turned((100, 100), (50.0, -300.0), 0.3, (40, 40)) == []


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_turning_into_a_corner_leaves_the_rest(channels: int) -> None:
    image = torch.randn(channels, 40, 57, generator=torch.Generator().manual_seed(0))
    for heading in (0.0, 0.3, -2.0):
        out = np.full((channels, 50, 70), 7.0, np.float32)
        Turner(image.numpy()).into(heading, out, (46, 63))
        expected = rotate_embedding(image[None].double(), [heading], (46, 63))[0, 0].numpy()
        np.testing.assert_allclose(out[:, :46, :63], expected, atol=2e-4)
        assert (out[:, 46:] == 7.0).all()
        assert (out[:, :, 63:] == 7.0).all()
