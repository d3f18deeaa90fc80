"""The field model: its embeddings, its bytes, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from field_scene import tile
from safetensors.torch import load, save

from foldmap.errors import ConfigError, MapInputError, ModelError
from foldmap.geometry import SE2
from foldmap.street.embed import _drawn, _windowed, embed_places
from foldmap.street.field.lane_field import FieldSpec, draw_all
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldNetwork, FieldShape
from foldmap.street.graph.window import AROUND, Window, cut
from foldmap.street.images.ground import BirdsEye
from foldmap.street.images.ground_warp import RingWarp
from foldmap.street.images.observation import AerialCrop
from foldmap.street.images.rig import surround_ring
from foldmap.street.model import EmbeddingModel, model_kind, read_model
from foldmap.street.paper.encoders.lite import Lite0
from foldmap.street.places import sample_places
from foldmap.street.source import LaneGraph

SMALL = FieldSpec(Window(-8, 8, -8, 8))


def _model(with_map: bool = False, turns: int = 4) -> FieldEmbedding:
    torch.manual_seed(0)
    return FieldEmbedding(FieldNetwork(FieldShape(width=8, with_map=with_map)), SMALL, turns=turns)


def _crops(count: int = 3) -> list[AerialCrop]:
    ground = tile(0).ground
    return [ground.crop(SE2(60 + 0.3 * k, 60, 0.3 * k), SMALL.window, 64) for k in range(count)]


def test_it_is_an_embedding_model_with_unit_rows() -> None:
    model = _model()
    assert isinstance(model, EmbeddingModel)
    graphs = [cut(tile(0).map.graph, SE2(60, 60, a), SMALL.window) for a in (0.0, 1.0)] + [LaneGraph.empty()]
    of_graphs, of_images = model.embed_graphs(graphs), model.embed_observations(_crops())
    assert of_graphs.shape == of_images.shape == (3, model.dim)
    assert np.allclose(np.linalg.norm(of_graphs, axis=1), [1, 1, 0], atol=1e-5)
    assert np.allclose(np.linalg.norm(of_images, axis=1), 1, atol=1e-5)
    assert model.embed_observations([]).shape == (0, model.dim)
    assert model.embed_graphs([]).shape == (0, model.dim)


def test_the_batch_does_not_matter() -> None:
    model, crops = _model(), _crops(18)
    together = model.read_fields(crops)
    alone = np.concatenate([model.read_fields([crop]) for crop in crops[::5]])
    assert np.abs(together[::5] - alone).max() < 1e-4


def test_averaged_over_turns_a_turned_image_gives_the_turned_field() -> None:
    model, crop = _model(), _crops(1)[0]
    turned = AerialCrop(np.ascontiguousarray(np.rot90(crop.image)), crop.window)
    one, two = model.read_fields([crop])[0], model.read_fields([turned])[0]
    assert np.abs(np.roll(np.rot90(one, axes=(1, 2)), 2, 0) - two).max() < 1e-3


def test_bytes_round_trip_and_are_the_same_each_time() -> None:
    model = _model(with_map=True, turns=2)
    payload = model.payload()
    again = read_model(payload)
    assert isinstance(again, FieldEmbedding)
    assert (again.field, again.frequencies, again.turns) == (model.field, model.frequencies, 2)
    assert again.payload() == payload == _model(with_map=True, turns=2).payload()
    assert model_kind(payload) == "street-field"
    assert again.least_change is None
    told = read_model(replace(model, least_change=0.65).payload())
    assert isinstance(told, FieldEmbedding)
    assert told.least_change == 0.65
    old = draw_all([LaneGraph.empty()], SMALL)
    assert np.abs(again.read_fields(_crops(1), old) - model.read_fields(_crops(1), old)).max() < 0.05  # half precision


def test_a_network_with_a_map_answers_three_fields() -> None:
    model = _model(with_map=True)
    fields = model.read_fields(_crops(2), draw_all([tile(0).map.graph] * 2, SMALL))
    assert fields.shape == (2, 24, 16, 16)


def test_trunks_are_lite0s() -> None:
    """The first blocks of the network give what lite0's first blocks give."""
    torch.manual_seed(0)
    network, lite = FieldNetwork(FieldShape(width=8)).eval(), Lite0().eval()
    network.stem.load_state_dict(lite.conv_stem.state_dict())
    assert len(network.blocks) == 11
    assert network.blocks[10].bn2.num_features == 112
    assert lite.blocks[11].depthwise_conv.stride == (2, 2)  # what follows is coarser than the taps


def _with_header(payload: bytes, **changes: object) -> bytes:
    tensors = load(payload)
    size = int.from_bytes(payload[:8], "little")
    info = json.loads(json.loads(payload[8 : 8 + size])["__metadata__"]["info"])
    info.update(changes)
    return bytes(save(tensors, metadata={"info": json.dumps(info)}))


def test_damaged_and_foreign_bytes_are_refused() -> None:
    payload = _model().payload()
    for bad in (b"", payload[:50], payload[:-5], b"\xff" * 100):
        with pytest.raises(ModelError):
            read_model(bad)
    bads: list[dict[str, object]] = [
        {"kind": "lidar"}, {"kind": 3}, {"format": 9}, {"shape": {"headings": 4}}, {"shape": {"width": 1 << 40}},
        {"field": {"cell_m": 1}}, {"turns": 3}, {"turns": None}, {"frequencies": {"spatial": 10**9, "angular": 2}},
        {"least_change": 0}, {"least_change": 1.5}, {"least_change": "much"},
    ]  # fmt: skip
    for change in bads:
        with pytest.raises(ModelError):
            read_model(_with_header(payload, **change))
    tensors = load(payload)
    first = min(tensors)
    info = {"info": json.dumps({"kind": "street-field", "format": 1})}
    with pytest.raises(ModelError):
        read_model(bytes(save({**tensors, first: tensors[first] * float("nan")}, metadata=info)))


def test_observations_of_another_window_are_refused() -> None:
    with pytest.raises(MapInputError, match="the model wants"):
        _model().embed_observations([tile(0).ground.crop(SE2(60, 60, 0), AROUND, 160)])


def test_a_birds_eye_resizes_crops_and_lays_rings_on_the_ground() -> None:
    eye = BirdsEye(AROUND, 96)
    ground = tile(0).ground
    image, seen = eye(ground.crop(SE2(60, 60, 0), AROUND, 320))
    assert image.shape == (96, 96, 3)
    assert seen.all()
    ring = surround_ring()
    from_ring, seen = eye(RingWarp(ring)(ground, SE2(60, 60, 0)))
    assert 0.5 < seen.mean() < 1.0
    gap = np.abs(from_ring[seen].astype(float) - image[seen]).mean()
    assert gap < 25  # of the 150 between lane and ground
    assert eye(RingWarp(ring)(ground, SE2(61, 60, 0)))[0].shape == (96, 96, 3)
    assert len(eye._views) == 1


def test_shapes_are_checked() -> None:
    with pytest.raises(ConfigError):
        FieldShape(headings=1)
    with pytest.raises(ModelError, match="headings"):
        FieldEmbedding(FieldNetwork(FieldShape(headings=4, width=8)), SMALL)


def test_windows_are_drawn_from_the_whole_graph_as_if_cut_out() -> None:
    model, graph = _model(), tile(0).map.graph
    places = sample_places(graph, 9.0)
    silent = lambda done, total: None  # noqa: E731
    cut_out, drawn = _windowed(graph, places, model, silent), _drawn(graph, places, model, silent)
    assert np.einsum("nd,nd->n", cut_out, drawn).min() > 0.9995  # corners are cut where windows are resampled
    assert np.array_equal(embed_places(graph, places, model), drawn)
    assert embed_places(graph, places.take(np.zeros(0, int)), model).shape == (0, model.dim)
