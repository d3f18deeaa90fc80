"""Bundles: exact round trips, small errors, and nothing hostile gets in."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from core_scene import blob_raster, random_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from foldmap.errors import ConfigError, FoldmapError, ModelError
from foldmap.lidar.bundle import Bundle, quantized, require_fold
from foldmap.lidar.codec import Decoder
from foldmap.lidar.fold import encode_tiles


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    made = random_bundle()
    made.thresholds = {"warn_score": 0.5}
    made.provenance = {"trained": "here"}
    return made


@pytest.fixture(scope="module")
def small(bundle: Bundle) -> bytes:
    return bundle.to_bytes(localize_only=True)


def _rewritten(payload: bytes, arrays: dict[str, np.ndarray] | None = None, **changes: object) -> bytes:
    length = int.from_bytes(payload[:8], "little")
    info = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"]["info"])
    return save({**load(payload), **(arrays or {})}, metadata={"info": json.dumps({**info, **changes})})


def test_bytes_are_a_fixed_point(bundle: Bundle) -> None:
    first = bundle.to_bytes()
    assert bundle.to_bytes() == first
    again = Bundle.from_bytes(first)
    assert again.to_bytes() == first
    assert (again.name, again.resolution_m, again.rate_bit_m2) == (bundle.name, bundle.resolution_m, bundle.rate_bit_m2)
    assert (again.thresholds, again.provenance, again.can_fold) == (bundle.thresholds, bundle.provenance, True)
    codes = np.random.default_rng(0).integers(0, 9, (1, 24, 24)).astype(np.uint8)
    assert again.coder.encode(codes) == bundle.coder.encode(codes)


def test_eight_bits_are_wrong_by_half_a_step_at_most(bundle: Bundle) -> None:
    exact, stored = bundle.model.state_dict(), quantized(bundle).model.state_dict()
    for name, value in exact.items():
        if name.endswith("num_batches_tracked"):
            continue
        if value.ndim == 4:
            step = value.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
            assert ((stored[name] - value).abs() <= 0.5001 * step).all(), name
        elif value.ndim == 0 or "running" in name:
            assert torch.equal(stored[name], value)
        else:
            torch.testing.assert_close(stored[name], value, rtol=2**-11, atol=1e-7)


def test_the_localizing_half_has_no_map_networks(bundle: Bundle, small: bytes) -> None:
    names = load(small)
    assert not any(name.startswith(("map_embedding", "encoder")) for name in names)
    assert len(small) < len(bundle.to_bytes())
    half = Bundle.from_bytes(small)
    assert not half.can_fold
    assert half.to_bytes() == small
    with pytest.raises(ConfigError, match="not fold"):
        require_fold(half)
    with pytest.raises(ConfigError, match="not fold"):
        next(encode_tiles(half, blob_raster(64, 64), 0.1))
    codes = np.random.default_rng(1).integers(0, 9, (1, 8, 8)).astype(np.uint8)
    whole = Decoder(quantized(bundle), fast=False)
    np.testing.assert_array_equal(Decoder(half, fast=False).decode(codes), whole.decode(codes))


def test_every_truncation_is_refused(small: bytes) -> None:
    for length in [*range(64), *range(64, len(small), 211), len(small) - 1]:
        with pytest.raises(ModelError):
            Bundle.from_bytes(small[:length])
    with pytest.raises(ModelError):
        Bundle.from_bytes(small + b"\0")


@pytest.mark.parametrize("length", [0, 1, 1 << 20, 1 << 40, (1 << 64) - 1])
def test_a_lying_header_length_is_refused(small: bytes, length: int) -> None:
    with pytest.raises(ModelError):
        Bundle.from_bytes(length.to_bytes(8, "little") + small[8:])


def test_wrong_arrays_are_refused(small: bytes) -> None:
    scale = load(small)["decoder.layers.0.weight.scale"]
    for arrays in (
        {"decoder.layers.0.weight": np.zeros((1, 8, 3, 3), np.int8)},
        {"decoder.layers.0.weight.scale": scale[:-1]},
        {"decoder.layers.0.weight.scale": np.full_like(scale, np.nan)},
        {"decoder.layers.0.weight.scale": np.full_like(scale, 3e38)},
        {"decoder.layers.0.bias": np.full(16, np.inf, np.float16)},
        {"log_temperature": np.zeros(3, np.float32)},
        {"sweep_embedding.down.0.keep.0.1.running_var": np.full(4, -1, np.float32)},
        {"coder.header": np.zeros(7, np.int32)},
    ):
        with pytest.raises(ModelError):
            Bundle.from_bytes(_rewritten(small, arrays))


def test_wrong_metadata_is_refused(small: bytes) -> None:
    preset = json.loads(json.loads(small[8 : 8 + int.from_bytes(small[:8], "little")])["__metadata__"]["info"])[
        "preset"
    ]
    for change in (
        {"format": 2},
        {"preset": {**preset, "groups": 2}},
        {"preset": {**preset, "unet_widths": [1024, 1024, 1024, 1024]}},
        {"preset": None},
        {"coder": "zip"},
        {"resolution_m": 0},
        {"resolution_m": float("nan")},
        {"resolution_m": 10**400},
        {"rate_bit_m2": "3"},
        {"thresholds": [1]},
        {"thresholds": {"warn_score": "x"}},
        {"thresholds": {"warn_score": 10**400}},
        {"provenance": 3},
        {"can_fold": True},
    ):
        with pytest.raises(ModelError):
            Bundle.from_bytes(_rewritten(small, **change))


def test_a_diverged_model_is_not_written() -> None:
    bad = random_bundle(seed=3)
    with torch.no_grad():
        bad.model.decoder.layers[0].bias[0] = 1e6
    with pytest.raises(ModelError, match="not finite"):
        bad.to_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_random_mutations_load_or_are_refused(small: bytes, data: st.DataObject) -> None:
    header = 8 + int.from_bytes(small[:8], "little")
    payload = bytearray(small)
    for _ in range(data.draw(st.integers(1, 6))):
        top = header if data.draw(st.booleans()) else len(payload)
        payload[data.draw(st.integers(0, top - 1))] = data.draw(st.integers(0, 255))
    try:
        loaded = Bundle.from_bytes(bytes(payload))
        codes = np.zeros((loaded.model.preset.groups, 4, 4), np.uint8)
        decoded = Decoder(loaded, fast=False).decode(codes)
    except FoldmapError:
        return  # refused by name; any other exception fails the test
    side = 4 * loaded.model.preset.downsample
    assert decoded.shape == (loaded.model.preset.embedding_channels, side, side)
