"""Repair against a plain twin with sets; findings against networkx; degrees told from metres."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldmap.errors import MapInputError
from foldmap.street.graph.repair import evidently_degrees, findings, piece_sizes, repair, require_metres
from foldmap.street.source import LaneAttributes, LaneGraph


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40), st.integers(0, 3))
def test_repair_is_a_set_of_edges(edges: list[tuple[int, int]], seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 100, (10, 2))
    graph, done = repair(points, np.array(edges, np.int64).reshape(-1, 2))
    kept = list(dict.fromkeys(e for e in edges if e[0] != e[1]))
    back = {tuple(p): k for k, p in enumerate(points.tolist())}
    names = [back[tuple(p)] for p in graph.vertices_m.tolist()]
    assert [(names[a], names[b]) for a, b in graph.edges.tolist()] == kept
    assert done.self_loops == sum(a == b for a, b in edges)
    assert done.duplicate_edges == len(edges) - done.self_loops - len(kept)
    assert done.isolated_vertices == 10 - len({v for e in kept for v in e})
    assert done.merged_vertices == 0


def test_equal_consecutive_vertices_become_one() -> None:
    points = [(0, 0), (0, 0), (5, 0), (5, 0), (5, 0), (9, 0), (5, 0)]
    graph, done = repair(points, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)], lane=[0, 0, 0, 0, 0], lanes=(_lane(),))
    assert graph.vertices_m.tolist() == [[0, 0], [5, 0], [9, 0]]
    assert graph.edges.tolist() == [[0, 1], [1, 2]]
    assert (done.merged_vertices, done.self_loops, done.isolated_vertices) == (3, 3, 1)
    assert str(done) == "3 merged vertices, 3 self-loops, 1 isolated vertices"


def _lane() -> LaneAttributes:
    return LaneAttributes("a")


def test_what_cannot_be_repaired_is_refused() -> None:
    with pytest.raises(MapInputError, match="vertex 1 is not finite"):
        repair([(0, 0), (np.nan, 1)], [(0, 1)])
    with pytest.raises(MapInputError, match=r"edge 1 is \[1, 2\], there are 2"):
        repair([(0, 0), (1, 1)], [(0, 1), (1, 2)])
    with pytest.raises(MapInputError, match="one kind"):
        repair([(0, 0), (1, 1)], [(0, 1)], kind=[0, 1])


def test_findings_name_what_is_odd() -> None:
    lines = [np.array([[0.0, k], [10, k], [150 + k, k]]) for k in range(4)]
    graph = LaneGraph.from_polylines(lines)
    odd = LaneGraph(np.concatenate([graph.vertices_m, [[0, 0], [7, 7]]]), graph.edges)
    found = {f.name: f.count for f in findings(odd)}
    assert found == {"duplicate-vertices": 1, "pieces": 4, "isolated-vertices": 2, "no-topology": 4, "long-edges": 4}
    fork = LaneGraph(np.array([[0.0, 0], [5, 0], [9, 1], [9, -1]]), np.array([[0, 1], [1, 2], [1, 3]]))
    assert findings(fork) == []
    assert findings(LaneGraph.empty()) == []


def test_piece_sizes_are_those_of_networkx() -> None:
    rng = np.random.default_rng(3)
    graph, _ = repair(rng.uniform(0, 9, (300, 2)), rng.integers(0, 300, (180, 2)))
    walk = nx.DiGraph(graph.edges.tolist())
    assert piece_sizes(graph).tolist() == sorted((len(c) for c in nx.weakly_connected_components(walk)), reverse=True)


@pytest.mark.parametrize(
    ("scale", "offset", "degrees"),
    [
        (1.0, (0, 0), False),
        (1.0, (500_000, 4_500_000), False),
        (1.0, (-80, 40), False),
        (9e-6, (8.4, 49.0), True),
        (9e-6, (0.0, 0.0), True),
        (9e-6, (-200.0, 0.0), False),
    ],
)
def test_degrees_are_told_from_metres(scale: float, offset: tuple[float, float], degrees: bool) -> None:
    walk = np.cumsum(np.random.default_rng(0).uniform(0, 2, (60, 2)), axis=0)
    graph = LaneGraph.from_polylines([walk * scale + offset])
    assert evidently_degrees(graph.vertices_m, graph.edges) is degrees
    if degrees:
        with pytest.raises(MapInputError, match=r"map.csv: .* are degrees") as caught:
            require_metres(graph, "map.csv")
        assert "project" in caught.value.cure
    else:
        require_metres(graph, "map.csv")


def test_a_small_map_in_degrees_with_long_edges_is_seen() -> None:
    graph = LaneGraph.from_polylines([np.array([[8.40, 49.00], [8.41, 49.01], [8.43, 49.02]])])
    with pytest.raises(MapInputError, match="degrees"):
        require_metres(graph, "x")
    require_metres(LaneGraph.empty(), "x")
