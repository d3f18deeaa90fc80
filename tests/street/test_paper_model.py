"""A network as bytes, and as the embedding model that the street layer uses."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from paper_scene import crops, crossing, frame, ring
from safetensors.torch import load, save

from foldmap.errors import MapInputError, ModelError
from foldmap.street.graph.window import FRONTAL
from foldmap.street.images.observation import AerialCrop
from foldmap.street.paper.encoders.shape import PRESETS, PaperShape, shape_named
from foldmap.street.paper.model import PaperEmbedding, PaperNetwork, from_bytes, to_bytes
from foldmap.street.source import LaneGraph


@pytest.fixture(scope="module")
def network() -> PaperNetwork:
    torch.manual_seed(0)
    network = PaperNetwork(shape_named("tiny"))
    network.log_scale.data.fill_(2.0)
    for module in network.modules():  # statistics that are not the initial ones
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network


def _header(payload: bytes) -> tuple[dict, dict[str, torch.Tensor]]:
    size = int.from_bytes(payload[:8], "little")
    return json.loads(json.loads(payload[8 : 8 + size])["__metadata__"]["info"]), load(payload)


def _written(info: object, tensors: dict[str, torch.Tensor]) -> bytes:
    return bytes(save(tensors, metadata={"info": json.dumps(info)}))


@pytest.mark.parametrize(("precision", "error"), [("single", 0.0), ("half", 2e-3)])
def test_bytes_and_back(network: PaperNetwork, precision: str, error: float) -> None:
    payload = to_bytes(network, precision)
    assert payload == to_bytes(network, precision)
    again = from_bytes(payload)
    assert to_bytes(again, precision) == payload
    pairs = list(crops(6, 1))
    graphs, seen = [pair.graph for pair in pairs], [pair.observation for pair in pairs]
    before, after = PaperEmbedding(network), PaperEmbedding(again)
    for first, second in (
        (before.embed_graphs(graphs), after.embed_graphs(graphs)),
        (before.embed_observations(seen), after.embed_observations(seen)),
    ):
        assert np.abs(first - second).max() <= error * 5
        assert (np.abs(first - second).max() == 0) == (error == 0)
    assert len(to_bytes(network, "half")) < 0.56 * len(to_bytes(network, "single"))


def test_what_is_not_such_a_network_is_refused(network: PaperNetwork) -> None:
    payload = to_bytes(network)
    info, tensors = _header(payload)
    name = "graph.embed.0.weight"
    nan = {**tensors, name: torch.full_like(tensors[name], torch.nan)}
    wrong = {
        "cut off": b"",
        "damaged": payload[:4] + b"\xff" * 4 + payload[8:],
        "cannot be read": payload[: len(payload) // 2],
        "unknown or missing fields": _written({**info, "more": 1}, tensors),
        "is a 'lidar'": _written({**info, "kind": "lidar"}, tensors),
        "of format 99": _written({**info, "format": 99}, tensors),
        "stored in 'int3'": _written({**info, "precision": "int3"}, tensors),
        "'extra' besides": _written(info, {**tensors, "extra": torch.zeros(1)}),
        f"'{name}' besides, or lacks": _written(info, {k: v for k, v in tensors.items() if k != name}),
        "not finite half": _written(info, nan),
        "float32": _written(info, {**tensors, name: tensors[name].float()}),
        r"\(1, 1\), not finite": _written(info, {**tensors, name: torch.zeros(1, 1, dtype=torch.float16)}),
    }
    for message, bad in wrong.items():
        with pytest.raises(ModelError, match=message):
            from_bytes(bad)
    network_nan = PaperNetwork(network.shape)
    network_nan.log_scale.data.fill_(torch.inf)
    with pytest.raises(ModelError, match="not finite"):
        to_bytes(network_nan)
    with pytest.raises(ModelError, match="not stored in"):
        to_bytes(network, "double")


def test_random_damage_gives_a_model_error_or_the_same_sizes(network: PaperNetwork) -> None:
    payload, random = to_bytes(network), np.random.default_rng(0)
    header = 8 + int.from_bytes(payload[:8], "little")
    for _ in range(150):
        bad = bytearray(payload)
        for at in random.integers(0, header, random.integers(1, 4)):
            bad[at] = random.integers(256)
        try:
            again = from_bytes(bytes(bad))
        except ModelError:
            continue
        assert asdict(again.shape).keys() == asdict(network.shape).keys()


@pytest.mark.parametrize(
    "change",
    [
        {"dim": 1 << 20},
        {"dim": 8.0},
        {"name": ""},
        {"graph": {}},
        {"window": {"back_m": 0.0, "ahead_m": 0.0, "right_m": 0.0, "left_m": 0.0}},
        {"graph": {**asdict(PRESETS["tiny"])["graph"], "layers": 10**9}},
        {"graph": {**asdict(PRESETS["tiny"])["graph"], "edge_bias": 1}},
        {"image": {**asdict(PRESETS["tiny"])["image"], "trunk": "resnet"}},
    ],
)
def test_shapes_are_not_trusted(change: dict) -> None:
    with pytest.raises(ModelError):
        PaperShape.from_dict({**asdict(PRESETS["tiny"]), **change})
    with pytest.raises(ModelError):
        PaperShape.from_dict(None)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_survive_json(name: str) -> None:
    shape = shape_named(name)
    assert PaperShape.from_dict(json.loads(json.dumps(asdict(shape)))) == shape
    with torch.device("meta"):
        network = PaperNetwork(shape)
    assert network.graph.head[-1].out_features == network.image.out.out_features == shape.dim


def test_embeddings_are_unit_rows_of_any_batch(network: PaperNetwork) -> None:
    model = PaperEmbedding.from_payload(PaperEmbedding(network).payload())
    assert (model.name, model.dim, model.window) == ("paper-tiny", 32, network.shape.window)
    random = np.random.default_rng(4)
    graphs = [*(crossing(random) for _ in range(40)), LaneGraph.empty()]
    rows = model.embed_graphs(graphs)
    assert rows.dtype == np.float32
    assert rows.shape == (41, 32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(rows[35:], model.embed_graphs(graphs[35:]), atol=1e-5)
    seen = [frame(ring(n), n) for n in (1, 2, 5)] + [pair.observation for pair in crops(2, 5)]
    views = model.embed_observations(seen)
    np.testing.assert_allclose(np.linalg.norm(views, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(views[2:], model.embed_observations(seen[2:]), atol=1e-5)
    assert model.embed_graphs([]).shape == model.embed_observations([]).shape == (0, 32)


def test_bad_input_is_named_by_its_number(network: PaperNetwork) -> None:
    model = PaperEmbedding(network)
    graph = crossing(np.random.default_rng(0))
    far = LaneGraph(graph.vertices_m + 500, graph.edges)
    with pytest.raises(MapInputError, match="graph 1: vertex 0 at"):
        model.embed_graphs([graph, far])
    good = AerialCrop(np.zeros((48, 48, 3), np.uint8))
    with pytest.raises(MapInputError, match="observation 33: an aerial crop"):
        model.embed_observations([good] * 33 + [replace(good, window=FRONTAL)])
