"""Lane graphs as tensors: one row a vertex, one row an edge to attend along, a batch as one disjoint union."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foldmap.errors import MapInputError
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import Window
from foldmap.street.paper.encoders.shape import GraphShape
from foldmap.street.source import LINK, LaneGraph
from foldmap.types import FloatArray, IntArray

FEATURES = 9
"""x, y in metres from the window's centre; cosine, sine of the mean way out and in; share of links; edges out, in."""
MIRRORED = (1, 3, 5)
"""Features that change sign when left and right are exchanged."""
SELF, AHEAD, AHEAD_LINK, BEHIND, BEHIND_LINK = range(5)
EDGE_TYPES = 5
_SLACK_M = 1.0


@dataclass(frozen=True)
class GraphRows:
    """One graph for the encoder: float32 (V, `FEATURES`), edges int64 (E, 2); `kind` int64 (E,) is 1 for a link."""

    features_VF: FloatArray
    edges: IntArray
    kind: IntArray

    def __len__(self) -> int:
        return len(self.features_VF)

    def mirrored(self) -> GraphRows:
        """Left and right exchanged."""
        features = self.features_VF.copy()
        features[:, MIRRORED] *= -1
        return GraphRows(features, self.edges, self.kind)


@dataclass(frozen=True)
class PackedGraphs:
    """A batch of graphs as one disjoint union, so that no vertex is padded and none is cut.

    `graph_V` int64 is the graph of each vertex, ascending; `seen_A`, `seer_A` int64 are the vertex that is attended to
    and the one that attends, `type_A` is `SELF` ... `BEHIND_LINK`; `count` includes graphs without vertices.
    """

    features_VF: Tensor
    graph_V: Tensor
    seen_A: Tensor
    seer_A: Tensor
    type_A: Tensor
    count: int


def graph_rows(graph: LaneGraph, shape: GraphShape, window: Window) -> GraphRows:
    """Resample a graph in the ego frame, cut to the window, and describe its vertices.

    Raises:
        MapInputError: a vertex outside the window (as of a graph in a map's frame, or in degrees), or more key vertices
            than the encoder takes.
    """
    low, high = window.low_m, window.high_m
    outside = np.flatnonzero((graph.vertices_m < low - _SLACK_M).any(1) | (graph.vertices_m > high + _SLACK_M).any(1))
    if len(outside):
        at = graph.vertices_m[outside[0]]
        raise MapInputError(
            f"vertex {outside[0]} at ({at[0]:.1f}, {at[1]:.1f}) is outside the model's window",
            "give graphs in the ego frame, in metres, cut by `foldmap.street.graph.window.cut`",
        )
    even = _resampled(graph, shape)
    edges = even.edges
    way = even.vertices_m[edges[:, 1]] - even.vertices_m[edges[:, 0]]
    way /= np.maximum(np.hypot(*way.T), 1e-9)[:, None]
    out, into = np.zeros((len(even), 2)), np.zeros((len(even), 2))
    np.add.at(out, edges[:, 0], way)
    np.add.at(into, edges[:, 1], way)
    leaving, entering = even.out_degree[:, None], even.in_degree[:, None]
    links = np.zeros((len(even), 1))
    np.add.at(links[:, 0], edges.ravel(), np.repeat(even.kind == LINK, 2))
    ways = [out / np.maximum(leaving, 1), into / np.maximum(entering, 1), links / np.maximum(leaving + entering, 1)]
    features = np.concatenate([even.vertices_m - (low + high) / 2, *ways, leaving, entering], 1)
    return GraphRows(features.astype(np.float32), edges, (even.kind == LINK).astype(np.int64))


def _resampled(graph: LaneGraph, shape: GraphShape) -> LaneGraph:
    step_m = shape.step_m
    while True:
        even = resample(graph, step_m)
        if len(even) <= shape.max_vertices:
            return even
        if step_m > 1e3:
            raise MapInputError(
                f"the graph has {len(even)} branching or end vertices, the encoder takes {shape.max_vertices}",
                "simplify it, or train an encoder that takes more",
            )
        step_m *= 1.5


def pack(graphs: Sequence[GraphRows], direction: str = "undirected") -> PackedGraphs:
    """Join graphs to a batch; every vertex attends to itself and along the edges that `direction` allows."""
    sizes = np.array([len(graph) for graph in graphs], np.int64)
    first = np.cumsum(sizes) - sizes
    total = int(sizes.sum())
    edges = np.concatenate([np.zeros((0, 2), np.int64), *(g.edges + f for g, f in zip(graphs, first, strict=True))])
    kind = np.concatenate([np.zeros(0, np.int64), *(graph.kind for graph in graphs)])
    itself = np.arange(total)
    seer, seen, types = [itself, edges[:, 0]], [itself, edges[:, 1]], [np.full(total, SELF), AHEAD + kind]
    if direction == "undirected":
        seer.append(edges[:, 1])
        seen.append(edges[:, 0])
        types.append(BEHIND + kind)
    features = np.concatenate([np.zeros((0, FEATURES), np.float32), *(graph.features_VF for graph in graphs)])
    return PackedGraphs(
        torch.from_numpy(features),
        torch.from_numpy(np.repeat(np.arange(len(graphs)), sizes)),
        torch.from_numpy(np.concatenate(seen)),
        torch.from_numpy(np.concatenate(seer)),
        torch.from_numpy(np.concatenate(types)),
        len(graphs),
    )
