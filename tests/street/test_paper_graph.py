"""The graph encoder against dense masked attention, and what must not change an embedding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from paper_scene import crossing
from torch import Tensor
from torch.nn import functional

from foldmap.errors import ConfigError, MapInputError
from foldmap.street.graph.window import AROUND
from foldmap.street.paper.encoders.graph import AdjacencyAttention, GraphEncoder
from foldmap.street.paper.encoders.packing import GraphRows, graph_rows, pack
from foldmap.street.paper.encoders.shape import GraphShape
from foldmap.street.source import LaneGraph

SHAPE = GraphShape(4.0, width=16, heads=2, layers=3, frequencies=3, edge_bias=True, pooling="mean-max")


def _graphs(count: int = 4) -> list[LaneGraph]:
    random = np.random.default_rng(1)
    return [crossing(random) for _ in range(count)]


def _encoder(shape: GraphShape = SHAPE) -> GraphEncoder:
    torch.manual_seed(0)
    encoder = GraphEncoder(shape, 20.0, 24).eval()
    with torch.no_grad():
        for name, value in encoder.named_parameters():
            if "bias_TH" in name or name == "nothing":
                value.normal_()
    return encoder


@torch.no_grad()
def _embed(encoder: GraphEncoder, rows: list[GraphRows]) -> Tensor:
    return encoder(pack(rows, encoder.shape.direction))


def _rows(graphs: list[LaneGraph], shape: GraphShape = SHAPE) -> list[GraphRows]:
    return [graph_rows(graph, shape, AROUND) for graph in graphs]


def _dense(attention: AdjacencyAttention, x_VD: Tensor, row: GraphRows, direction: str) -> Tensor:
    """The paper's sentence, literally: all pairs, and minus infinity where the adjacency matrix is zero."""
    vertices, width = x_VD.shape
    kind = torch.full((vertices, vertices), -1)
    for (a, b), link in zip(row.edges, row.kind, strict=True):
        kind[a, b] = 1 + int(link)
        if direction == "undirected" and kind[b, a] < 0:
            kind[b, a] = 3 + int(link)
    kind.fill_diagonal_(0)
    mask_HVV = torch.full((attention.heads, vertices, vertices), -torch.inf)
    for a in range(vertices):
        for b in range(vertices):
            if kind[a, b] >= 0:
                mask_HVV[:, a, b] = attention.bias_TH[kind[a, b]] if attention.bias_TH is not None else 0.0
    q, k, v = attention.qkv(x_VD).view(vertices, 3, attention.heads, -1).permute(1, 2, 0, 3)
    mixed = functional.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask_HVV[None])[0]
    return attention.out(mixed.transpose(0, 1).reshape(vertices, width))


@pytest.mark.parametrize("direction", ["undirected", "directed"])
@pytest.mark.parametrize("edge_bias", [False, True])
def test_attention_along_edges_is_attention_under_the_adjacency_mask(direction: str, edge_bias: bool) -> None:
    torch.manual_seed(2)
    attention = AdjacencyAttention(16, 2, edge_bias=edge_bias)
    if attention.bias_TH is not None:
        attention.bias_TH.data.normal_()
    rows = _rows(_graphs(3))
    packed = pack(rows, direction)
    x_VD = torch.randn(len(packed.features_VF), 16, requires_grad=True)
    weight = torch.randn_like(x_VD)
    parts = torch.split(x_VD, [len(row) for row in rows])
    dense = torch.cat([_dense(attention, part, row, direction) for part, row in zip(parts, rows, strict=True)])
    (wanted,) = torch.autograd.grad((dense * weight).sum(), x_VD)
    ours = attention(x_VD, packed)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), x_VD)
    torch.testing.assert_close(ours, dense, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5)


def test_large_scores_stay_finite() -> None:
    attention = AdjacencyAttention(16, 2, edge_bias=False)
    attention.qkv.weight.data.mul_(100)
    packed = pack(_rows(_graphs(1)))
    assert attention(torch.randn(len(packed.features_VF), 16) * 10, packed).isfinite().all()


def test_a_vertex_sees_as_many_edges_far_as_there_are_layers() -> None:
    line = LaneGraph.from_polylines([np.stack([np.linspace(-20, 20, 11), np.zeros(11)], 1)])
    (row,) = _rows([line])
    for direction, reach in (("undirected", {2, 3, 4, 5, 6, 7, 8}), ("directed", {5, 6, 7, 8})):
        shape = replace(SHAPE, direction=direction)
        encoder = _encoder(shape)
        packed = pack([row], direction)
        features = packed.features_VF.clone().requires_grad_()
        x_VD = encoder.embed(encoder._inputs(features))
        for block in encoder.blocks:
            x_VD = block(x_VD, packed)
        order = np.argsort(row.features_VF[:, 0])
        x_VD[order[5]].sum().backward()
        seen = {place for place in range(11) if bool(features.grad[order[place]].abs().sum() > 0)}
        assert seen == reach


def test_order_of_vertices_and_company_do_not_matter() -> None:
    graphs, encoder = [*_graphs(), LaneGraph.empty()], _encoder()
    rows = _rows(graphs)
    together = _embed(encoder, rows)
    alone = torch.cat([_embed(encoder, [row]) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    random = np.random.default_rng(3)
    mixed = []
    for graph in graphs:
        order = random.permutation(len(graph))
        place = np.argsort(order)
        edges = random.permutation(len(graph.edges))
        mixed.append(
            LaneGraph(graph.vertices_m[order], place[graph.edges[edges]].reshape(-1, 2), graph.kind[edges].copy())
        )
    torch.testing.assert_close(_embed(encoder, _rows(mixed)), together, rtol=1e-5, atol=1e-5)
    assert (torch.cdist(together, together) + torch.eye(len(rows)) > 1e-3).all()  # they are told apart


def test_direction_kind_and_place_matter() -> None:
    (graph,), encoder = _graphs(1), _encoder()
    (own,) = _embed(encoder, _rows([graph]))
    turned = LaneGraph(graph.vertices_m, graph.edges[:, ::-1].copy(), graph.kind)
    lanes = LaneGraph(graph.vertices_m, graph.edges)
    moved = LaneGraph(graph.vertices_m * 0.9, graph.edges, graph.kind)
    for other in (turned, lanes, moved):
        assert float((_embed(encoder, _rows([other]))[0] - own).norm()) > 1e-3


def test_a_large_graph_is_made_coarser_and_none_of_it_is_cut() -> None:
    lines = [np.stack([np.linspace(-20, 20, 401), np.full(401, y)], 1) for y in np.linspace(-18, 18, 5)]
    graph = LaneGraph.from_polylines(lines)
    full = graph_rows(graph, replace(SHAPE, step_m=0.5), AROUND)
    small = graph_rows(graph, replace(SHAPE, step_m=0.5, max_vertices=60), AROUND)
    assert len(full) == 5 * 81
    assert len(small) <= 60
    for rows in (full, small):
        way = rows.features_VF[rows.edges[:, 1], :2] - rows.features_VF[rows.edges[:, 0], :2]
        assert np.hypot(*way.T).sum() == pytest.approx(graph.length_m, rel=1e-4)
    apart = LaneGraph.from_polylines([np.array([[x, 0.0], [x + 0.5, 0]]) for x in np.arange(-20, 19, 1)])
    with pytest.raises(MapInputError, match="the encoder takes 16"):
        graph_rows(apart, replace(SHAPE, max_vertices=16), AROUND)


def test_a_graph_that_is_not_in_the_window_is_refused() -> None:
    (graph,) = _graphs(1)
    for bad in (graph.vertices_m + 1e5, graph.vertices_m + np.array([30.0, 0])):
        with pytest.raises(MapInputError, match="outside the model's window"):
            graph_rows(LaneGraph(bad, graph.edges, graph.kind), SHAPE, AROUND)


def test_sizes_that_make_no_network_are_refused() -> None:
    for wrong in ({"heads": 3}, {"direction": "up"}, {"pooling": "sum"}, {"step_m": 0.0}, {"layers": 0}):
        with pytest.raises(ConfigError):
            replace(SHAPE, **wrong)
