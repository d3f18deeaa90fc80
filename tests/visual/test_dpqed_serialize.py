"""Stored layers: what comes back, what it costs, and what hostile bytes do."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from foldmap.coding.additive import AdditiveQuantizer
from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import ModelError
from foldmap.visual.dpq.model import DpqedLayer
from foldmap.visual.dpq.serialize import PRECISIONS, LayerShape, StoredLayer

SHAPES = [
    LayerShape(8, 2, 5, 7),
    LayerShape(8, 4, 5, 0, unit=False),
    LayerShape(9, 3, 3, 5, shortcut="linear"),
    LayerShape(9, 9, 256, 5, shortcut="identity"),
    LayerShape(9, 4, 6, 5, additive=True),
]


def stored(shape: LayerShape) -> StoredLayer:
    random = np.random.default_rng(0)
    return StoredLayer(
        shape, {name: random.normal(size=size).astype(np.float32) for name, size in shape.tensors().items()}
    )


def codes_of(shape: LayerShape) -> Any:
    return np.random.default_rng(1).integers(0, shape.centroids, (30, shape.parts)).astype(np.uint8)


def info_of(payload: bytes) -> dict[str, Any]:
    length = int.from_bytes(payload[:8], "little")
    info: dict[str, Any] = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"]["info"])
    return info


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("precision", "error"), [("half", 5e-4), ("int8", 4.1e-3), ("int4", 0.0715)])
def test_values_come_back_within_their_precision(shape: LayerShape, precision: str, error: float) -> None:
    layer = stored(shape)
    payload = layer.to_bytes(precision)
    assert payload == layer.to_bytes(precision)
    back = StoredLayer.from_bytes(payload)
    assert back.shape == shape
    for name, was in layer.tensors.items():
        if was.ndim == 1:
            np.testing.assert_allclose(back.tensors[name], was, rtol=1e-3, atol=1e-6)
        else:
            widest = np.abs(was).reshape(len(was), -1).max(1).reshape(-1, *[1] * (was.ndim - 1))
            assert (np.abs(back.tensors[name] - was) <= error * widest + 1e-6).all()
    codes = codes_of(shape)
    assert back.dequantize(codes).shape == (30, shape.dimension)


def test_decoding_is_the_networks() -> None:
    for shape in SHAPES[:4]:
        layer = DpqedLayer(shape)
        with torch.no_grad():
            for name, value in stored(shape).tensors.items():
                target = layer.codebooks if name == "codebooks" else layer.decoder.get_parameter(name)
                target.copy_(torch.from_numpy(value))
        codes = codes_of(shape)
        joined = torch.stack([layer.codebooks[m, torch.from_numpy(codes[:, m]).long()] for m in range(shape.parts)], 1)
        expected = layer.decoder(joined.reshape(len(codes), -1)).detach().numpy()
        np.testing.assert_allclose(stored(shape).dequantize(codes), expected, atol=2e-5)


@pytest.mark.parametrize("parts", [2, 4, 8, 16, 32])
def test_sizes_are_as_documented(parts: int) -> None:
    shape = LayerShape(128, parts)
    sizes = {precision: len(stored(shape).to_bytes(precision)) for precision in PRECISIONS}
    documented = {
        "half": [197_992] * 5,
        "int8": [100_668, 100_672, 100_680, 100_696, 100_728],
        "int4": [51_508, 51_512, 51_520, 51_544, 51_576],
    }
    at = [2, 4, 8, 16, 32].index(parts)
    assert sizes == {precision: pytest.approx(numbers[at], abs=8) for precision, numbers in documented.items()}
    added = stored(LayerShape(128, parts, hidden=0, additive=True))
    assert len(added.to_bytes("int4")) == pytest.approx(16 * 1024 * parts + 2 * 256 * parts, abs=600)
    bare = {precision: len(stored(LayerShape(128, parts, hidden=0)).to_bytes(precision)) for precision in PRECISIONS}
    assert bare["half"] <= 66_000
    assert bare["int8"] <= 33_500
    assert bare["int4"] <= 17_000


def test_plain_quantizers_are_layers_too() -> None:
    random = np.random.default_rng(0)
    rows = (random.normal(size=(500, 8)) @ random.normal(size=(8, 8))).astype(np.float32)
    for quantizer in (
        ProductQuantizer.fit(rows, 4, 16),
        ProductQuantizer.fit(rows, 4, 16, rotate=True),
        AdditiveQuantizer.fit(rows, 4, 16),
    ):
        layer = StoredLayer.of_quantizer(quantizer)
        codes = quantizer.encode(rows)
        np.testing.assert_allclose(layer.dequantize(codes), quantizer.decode(codes), atol=1e-5)
        assert (layer.assign(rows) == codes).all(axis=1).mean() > (0.99 if layer.shape.shortcut else 0.9999)
        unit = StoredLayer.of_quantizer(quantizer, unit=True).dequantize(codes)
        np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)


def test_codes_found_with_rounded_codebooks_make_up_for_their_rounding() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(2000, 8)).astype(np.float32)
    quantizer = AdditiveQuantizer.fit(rows, 4, 64)
    rounded = StoredLayer.from_bytes(StoredLayer.of_quantizer(quantizer).to_bytes("int4"))
    kept, anew = (
        ((rows - rounded.dequantize(codes)) ** 2).sum(1).mean()
        for codes in (quantizer.encode(rows), rounded.assign(rows))
    )
    assert anew < 0.95 * kept


def rewritten(payload: bytes, **changes: Any) -> bytes:
    info = info_of(payload) | changes
    return bytes(save(load(payload), metadata={"info": json.dumps(info)}))


def test_hostile_headers_are_refused() -> None:
    payload = stored(SHAPES[0]).to_bytes("int8")
    shape = info_of(payload)["shape"]
    with pytest.raises(ModelError, match="format 99"):
        StoredLayer.from_bytes(rewritten(payload, format=99))
    with pytest.raises(ModelError, match="'pickle'"):
        StoredLayer.from_bytes(rewritten(payload, precision="pickle"))
    for change in (
        {"dimension": 10**9},
        {"dimension": 16},
        {"parts": 3},
        {"parts": 0},
        {"centroids": 257},
        {"centroids": 6},
        {"hidden": -1},
        {"hidden": 8},
        {"hidden": True},
        {"shortcut": "linear"},
        {"shortcut": 3},
        {"unit": "yes"},
        {"front": 1},
        {"additive": True},
        {"additive": 1},
        {"other": 1},
    ):
        with pytest.raises(ModelError):
            StoredLayer.from_bytes(rewritten(payload, shape=shape | change))


def test_damaged_tensors_are_refused() -> None:
    payload = stored(SHAPES[0]).to_bytes("half")
    meta = {"info": json.dumps(info_of(payload))}
    arrays = load(payload)
    for name in arrays:
        without = {key: value for key, value in arrays.items() if key != name}
        with pytest.raises(ModelError):
            StoredLayer.from_bytes(save(without, metadata=meta))
        for wrong in (arrays[name].astype(np.float32), arrays[name][..., :-1].copy(), arrays[name] * np.float16("nan")):
            with pytest.raises(ModelError, match=name):
                StoredLayer.from_bytes(save(arrays | {name: wrong}, metadata=meta))
    with pytest.raises(ModelError, match="besides"):
        StoredLayer.from_bytes(save(arrays | {"more": arrays["codebooks"]}, metadata=meta))
    with pytest.raises(ModelError, match="too large"):
        StoredLayer.from_bytes(b"\0" * ((64 << 20) + 1))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_bytes_give_a_layer_or_a_model_error(data: st.DataObject) -> None:
    payload = bytearray(stored(SHAPES[2]).to_bytes(data.draw(st.sampled_from(PRECISIONS))))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)))
    for bytes_in in (bytes(payload), bytes(payload[:cut])):
        try:
            layer = StoredLayer.from_bytes(bytes_in)
        except ModelError:
            continue
        decoded = layer.dequantize(np.zeros((1, layer.shape.parts), np.uint8))
        assert decoded.shape == (1, layer.shape.dimension)


def test_what_cannot_be_stored_is_said() -> None:
    layer = stored(SHAPES[0])
    with pytest.raises(ModelError, match="'float'"):
        layer.to_bytes("float")
    big = StoredLayer(layer.shape, {name: value * np.float32(1e6) for name, value in layer.tensors.items()})
    with pytest.raises(ModelError, match="half precision"):
        big.to_bytes("half")
    with pytest.raises(ModelError, match="half precision"):
        big.to_bytes("int8")
    with pytest.raises(ModelError, match="not finite"):
        StoredLayer(layer.shape, {name: value * np.float32("nan") for name, value in layer.tensors.items()})
    with pytest.raises(ModelError, match="holds"):
        StoredLayer(layer.shape, {})
