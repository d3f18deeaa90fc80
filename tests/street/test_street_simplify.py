"""Simplification against shapely: its own Douglas-Peucker and its Hausdorff distance; topology against networkx."""

from __future__ import annotations

import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import shapely

from foldmap.errors import MapInputError
from foldmap.street.chains import key_vertices, polylines
from foldmap.street.repair import repair
from foldmap.street.simplify import simplify
from foldmap.street.source import LaneGraph


def roads(seed: int) -> LaneGraph:
    """A random directed graph whose edges are wiggly lines of many vertices."""
    rng = np.random.default_rng(seed)
    hubs = rng.uniform(0, 400, (20, 2))
    vertices, edges, count = [hubs], [], len(hubs)
    for a, b in {tuple(pair) for pair in rng.integers(0, 20, (45, 2)).tolist() if pair[0] != pair[1]}:
        share = np.linspace(0, 1, int(rng.integers(2, 60)))[1:-1, None]
        inner = hubs[a] + share * (hubs[b] - hubs[a]) + np.cumsum(rng.normal(0, 0.4, (len(share), 2)), axis=0)
        walk = [a, *range(count, count + len(inner)), b]
        edges += list(pairwise(walk))
        vertices.append(inner)
        count += len(inner)
    return repair(np.concatenate(vertices), edges)[0]


@pytest.mark.parametrize("tolerance", [0.0, 0.1, 1.0, 30.0])
def test_error_and_vertices_are_those_of_shapely(tolerance: float) -> None:
    graph = roads(7)
    simple = simplify(graph, tolerance)
    before, after = polylines(graph), polylines(simple)
    assert len(before) == len(after)
    ends = [(line[0].tolist(), line[-1].tolist()) for line in before]
    assert ends == [(line[0].tolist(), line[-1].tolist()) for line in after]
    for old, new in zip(before, after, strict=True):
        dense = shapely.segmentize(shapely.LineString(old), 0.25)
        assert shapely.hausdorff_distance(dense, shapely.LineString(new), 0.05) <= tolerance + 1e-9
        twin = shapely.simplify(shapely.LineString(old), tolerance, preserve_topology=False)
        expected = shapely.get_coordinates(twin).tolist()
        if len(expected) == 2 and ends.count((expected[0], expected[1])) > 1:
            continue  # two chains between the same vertices: one keeps a vertex that shapely drops
        assert new.tolist() == expected
    if tolerance >= 1:
        assert len(simple) < 0.5 * len(graph)


def test_topology_is_exact() -> None:
    graph = roads(8)
    simple = simplify(graph, 5.0)
    names = {tuple(p): k for k, p in enumerate(graph.vertices_m.tolist())}
    index = np.array([names[tuple(p)] for p in simple.vertices_m.tolist()])
    keys = np.flatnonzero(key_vertices(graph))
    assert set(keys) <= set(index)
    assert np.array_equal(graph.in_degree[keys], simple.in_degree[np.searchsorted(index, keys)])
    walk, short = nx.DiGraph(graph.edges.tolist()), nx.DiGraph(index[simple.edges].tolist())
    some = keys[::5]
    for a in some:
        reached = nx.descendants(walk, int(a))
        assert nx.descendants(short, int(a)) & set(keys) == reached & set(keys)


def test_twins_and_rings_survive() -> None:
    bow = np.array([[5.0, 0.2], [5.0, -0.3]])
    vertices = np.concatenate([[[0.0, 0], [10, 0]], bow])
    twins = LaneGraph(vertices, np.array([[0, 2], [2, 1], [0, 3], [3, 1], [0, 1]]))
    simple = simplify(twins, 10.0)
    assert len(polylines(simple)) == 3
    assert len(simple) == 4  # the straight one stays straight, the others keep a vertex each
    turn = np.linspace(0, 2 * math.pi, 50)[:-1]
    ring = LaneGraph(
        10 * np.stack([np.cos(turn), np.sin(turn)], 1), np.stack([np.arange(49), (np.arange(49) + 1) % 49], 1)
    )
    assert nx.is_strongly_connected(nx.DiGraph(simplify(ring, 100.0).edges.tolist()))
    assert len(simplify(ring, 100.0)) == 3
    fine = simplify(ring, 0.5)
    assert (
        shapely.hausdorff_distance(shapely.LinearRing(ring.vertices_m), shapely.LinearRing(fine.vertices_m), 0.05)
        <= 0.5
    )
    assert 6 < len(fine) < 20
    pair = LaneGraph(np.array([[0.0, 0], [1, 0]]), np.array([[0, 1], [1, 0]]))
    assert len(simplify(pair, 9.0).edges) == 2


def test_kinds_and_lanes_stay_with_their_edges() -> None:
    points = np.stack([np.arange(9.0), np.zeros(9)], 1)
    graph = LaneGraph(points, np.stack([np.arange(8), np.arange(1, 9)], 1), np.repeat([0, 1, 0, 0], 2).astype(np.uint8))
    simple = simplify(graph, 0.0)
    assert simple.vertices_m[:, 0].tolist() == [0, 2, 4, 8]
    assert simple.kind.tolist() == [0, 1, 0]


def test_nothing_and_nonsense() -> None:
    assert len(simplify(LaneGraph.empty(), 1.0)) == 0
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(MapInputError, match="cannot simplify"):
            simplify(LaneGraph.empty(), bad)
