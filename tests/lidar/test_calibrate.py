"""A model made ready for use: coder, rate and thresholds, on a codec made by hand whose numbers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from core_scene import RESOLUTION_M, TINY, blob_pairs
from torch import nn

from foldmap.errors import ConfigError
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import encode_raster
from foldmap.lidar.fit_coder import raster_of
from foldmap.lidar.model import LidarModel
from foldmap.lidar.normalize import spread_of
from foldmap.localize.lidar.calibrate import CalibratedBundle, calibrate_model
from foldmap.localize.lidar.confidence import ConfidenceThresholds

LEVELS = np.linspace(-1.75, 1.75, 8)


def handmade() -> LidarModel:
    """Embedding: the intensity itself. Code: each 8 x 8 mean rounded to one of eight levels. Decoder: bilinear."""
    model = LidarModel(TINY).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 4 or name.endswith("bias"):
                value.zero_()
        for module in model.modules():
            if isinstance(module, nn.PReLU):
                module.weight.fill_(1.0)  # linear
        for network in (model.map_embedding, model.sweep_embedding):
            first, second = (network.down[0].keep[i][0].weight for i in (0, 1))
            first[0, 0, 1, 1], first[1, 0, 1, 1] = 1.0, -1.0  # both halves of the rectified intensity
            for weight in (second, network.up[3].mix[0].weight):
                weight[0, 0, 1, 1] = weight[1, 1, 1, 1] = 1.0
            network.head.weight[0, 0, 1, 1], network.head.weight[0, 1, 1, 1] = 1.0, -1.0
        stem, halve, symbols = (model.encoder.layers[i] for i in (0, 4, 8))
        stem.weight[0, 0, 2:6, 2:6] = 1 / 16
        halve.weight[0, 0, 1:, 1:] = 1 / 4
        levels = torch.from_numpy(LEVELS).float()
        symbols.weight[:, 0, 0, 0], symbols.bias[:] = 2 * 20 * levels, -20 * levels**2  # the nearest level wins
        model.decoder.layers[0].weight[0, :, 1, 1] = levels
        tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
        for index in (2, 4, 6):
            model.decoder.layers[index].weight[0, 0] = tent[:, None] * tent[None]
        model.decoder.layers[8].weight[0, 0, 1, 1] = 1.0
    return model


@pytest.fixture(scope="module")
def calibrated() -> CalibratedBundle:
    pairs = blob_pairs(100, 5, map_px=128, sweep_px=80, sigma_px=5.0)
    return calibrate_model(handmade(), pairs, RESOLUTION_M, "by hand", {"made": "by hand"}, wrong=24)


def test_the_calibrated_thresholds_tell_right_from_wrong(calibrated: CalibratedBundle) -> None:
    assert calibrated.calibration.positive_ok >= 0.8
    assert calibrated.calibration.negative_ok == 0
    assert ConfidenceThresholds.from_dict(calibrated.bundle.thresholds) == calibrated.calibration.thresholds


def test_the_rate_is_that_of_the_held_out_payloads(calibrated: CalibratedBundle) -> None:
    pairs = blob_pairs(100, 5, map_px=128, sweep_px=80, sigma_px=5.0)
    bits = area_m2 = 0.0
    for pair in pairs[::4]:
        raster = raster_of(pair, RESOLUTION_M)
        spread = spread_of(raster.intensity, raster.observed, RESOLUTION_M)
        codes = encode_raster(calibrated.bundle, raster, spread)
        payload = calibrated.bundle.coder.encode(codes)
        np.testing.assert_array_equal(calibrated.bundle.coder.decode(payload, codes.shape), codes)
        bits, area_m2 = bits + 8 * len(payload), area_m2 + raster.observed_m2
    assert calibrated.bundle.rate_bit_m2 == pytest.approx(bits / area_m2)
    assert (
        calibrated.bundle.rate_bit_m2 < 1.15 * math.log2(9) / (8 * RESOLUTION_M) ** 2
    )  # eight levels and none, with overhead


def test_the_bundle_is_what_a_reader_gets(calibrated: CalibratedBundle) -> None:
    again = Bundle.from_bytes(calibrated.bundle.to_bytes())
    assert again.to_bytes() == calibrated.bundle.to_bytes()
    assert (again.name, again.provenance, again.can_fold) == ("by hand", {"made": "by hand"}, True)


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ConfigError, match="too few"):
        calibrate_model(handmade(), blob_pairs(3, 1), RESOLUTION_M, "x", {})
