"""The field's network by onnxruntime is the trained one, and streets are found without torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foldmap.errors import ModelError
from foldmap.street.defaults import default_model, weights_folder
from foldmap.street.field.graph import FieldGraph
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldNetwork
from foldmap.street.field.shape import FieldShape
from foldmap.street.field.trunk import field_shapes
from foldmap.training.model_bytes import stored_state

pytest.importorskip("onnxruntime")


def _random(shape: FieldShape) -> FieldNetwork:
    """A network whose batch norms have seen something."""
    torch.manual_seed(1)
    network = FieldNetwork(shape)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return network


@pytest.mark.parametrize("shape", [FieldShape(4, 8), FieldShape(8, 16, with_map=True)], ids=["plain", "map"])
def test_the_graph_computes_what_the_network_does(shape: FieldShape) -> None:
    packed = _random(shape).packed()
    network = FieldNetwork.unpacked(shape, packed)  # of the rounded weights
    assert field_shapes(shape) == {name: tuple(value.shape) for name, value in stored_state(network).items()}
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (2, 3, 64, 96)).astype(np.float32)
    seen = (rng.random((2, 64, 96)) < 0.8).astype(np.float32)
    old = rng.random((2, shape.headings, 16, 24)).astype(np.float32) if shape.with_map else None
    expected, graph = network.read(image, seen, old), FieldGraph(shape, packed)
    np.testing.assert_allclose(graph.read(image, seen, old), expected, atol=1e-4 * float(np.abs(expected).max()))
    assert all(np.array_equal(graph.packed()[name], array) for name, array in packed.items())


def test_other_weights_are_refused() -> None:
    shape = FieldShape(4, 8)
    packed = _random(shape).packed()
    with pytest.raises(ModelError, match=r"head\.bias"):
        FieldGraph(shape, {name: array for name, array in packed.items() if name != "head.bias"})
    for wrong in (packed["head.bias"][:-1], packed["head.bias"].astype(np.float32), packed["head.bias"] * np.nan):
        with pytest.raises(ModelError, match=r"head\.bias is"):
            FieldGraph(shape, {**packed, "head.bias": wrong})


def test_a_stored_model_is_read_by_the_graph_and_trained_by_torch() -> None:
    model = default_model()
    assert isinstance(model.network, FieldGraph)
    assert model.payload() == (weights_folder() / "street-field-1.safetensors").read_bytes()
    assert _by_torch(model).payload() == model.payload()


def _by_torch(model: FieldEmbedding) -> FieldEmbedding:
    return replace(model, network=FieldNetwork.unpacked(model.network.shape, model.network.packed()))


def test_no_torch_is_needed(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["torch"] = None  # importing it fails
import numpy as np
from foldmap.street.defaults import default_model
from foldmap.street.images.observation import AerialCrop
model = default_model()
image = np.random.default_rng(0).integers(0, 255, (160, 160, 3), np.uint8)
np.save(sys.argv[1], model.embed_observations([AerialCrop(image, model.window)]))
"""
    out = tmp_path / "embedding.npy"
    subprocess.run([sys.executable, "-c", code, str(out)], check=True)
    from foldmap.street.images.observation import AerialCrop

    model = _by_torch(default_model())
    image = np.random.default_rng(0).integers(0, 255, (160, 160, 3), np.uint8)
    expected = model.embed_observations([AerialCrop(image, model.window)])
    np.testing.assert_allclose(np.load(out), expected, atol=1e-4)
