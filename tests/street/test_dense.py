"""Densified graphs come back to the bit where nothing was edited, and only there."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from graph_samples import crossing

from foldmap.errors import MapInputError
from foldmap.street.graph.chains import densified, thinned
from foldmap.street.graph.grid import to_grid
from foldmap.street.source import LaneGraph


def keys(graph: LaneGraph) -> set[tuple[tuple[float, float], tuple[float, float], int]]:
    """Edges by the positions of their ends and their kind."""
    ends = graph.vertices_m[graph.edges]
    return {(tuple(a), tuple(b), int(kind)) for (a, b), kind in zip(ends.tolist(), graph.kind.tolist(), strict=True)}


@pytest.mark.parametrize("seed", range(4))
def test_there_and_back(seed: int) -> None:
    graph = crossing(seed)
    dense, between = densified(graph, 1.0)
    assert dense.edge_lengths_m.max() <= 1.0 + 1e-9
    assert dense.length_m == pytest.approx(graph.length_m)
    assert len(dense) == len(graph) + len(between)
    assert np.array_equal(dense.vertices_m[: len(graph)], graph.vertices_m)
    whole = nx.DiGraph(dense.edges.tolist())
    assert nx.number_weakly_connected_components(whole) == nx.number_weakly_connected_components(
        nx.DiGraph(graph.edges.tolist())
    )
    assert keys(thinned(dense, between)) == keys(graph)


def test_an_edit_changes_its_edge_alone() -> None:
    graph = to_grid(crossing(1)).graph()
    dense, between = densified(graph, 1.0)
    longest = int(graph.edge_lengths_m.argmax())
    pieces = np.maximum(1, np.ceil(graph.edge_lengths_m)).astype(int)
    first = int(pieces[:longest].sum())
    kept = np.ones(len(dense.edges), bool)
    kept[first + 2 : first + 5] = False  # 3 m out of it, from 2 pieces after its start
    back = thinned(dense.take_edges(kept), between)
    same = keys(back) & keys(graph)
    assert len(same) == len(graph.edges) - 1
    new = keys(back) - keys(graph)
    assert len(new) == 2
    each = graph.edge_lengths_m[longest] / pieces[longest]
    lengths = sorted(float(np.hypot(b[0] - a[0], b[1] - a[1])) for a, b, _ in new)
    assert lengths == pytest.approx(sorted([2 * each, (pieces[longest] - 5) * each]))


def test_a_joined_vertex_stays() -> None:
    graph = LaneGraph(np.array([[0.0, 0], [10, 0]]), np.array([[0, 1]]))
    dense, between = densified(graph)
    middle = int(np.flatnonzero((dense.vertices_m == (5.0, 0.0)).all(1))[0])
    edges = np.concatenate([dense.edges, [[middle, len(dense)]]])
    joined = LaneGraph(np.concatenate([dense.vertices_m, [[5.0, 5.0]]]), edges)
    back = thinned(joined, between)
    assert keys(back) == {((0.0, 0.0), (5.0, 0.0), 0), ((5.0, 0.0), (10.0, 0.0), 0), ((5.0, 0.0), (5.0, 5.0), 0)}


def test_empty_and_wrong() -> None:
    dense, between = densified(LaneGraph.empty())
    assert (len(dense), len(between), len(thinned(dense, between))) == (0, 0, 0)
    with pytest.raises(MapInputError, match="positive step"):
        densified(LaneGraph.empty(), 0.0)
