"""Joining lanes: pairs against brute force, links against networkx reachability, forks, merges, gaps, rings."""

from __future__ import annotations

import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from foldmap.errors import MapInputError
from foldmap.street.graph.joining import connect, join_ends
from foldmap.street.source import LANE, LINK, LaneAttributes, LaneGraph


def line(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, np.float64)


def follows(graph: LaneGraph, lanes: int) -> set[tuple[int, int]]:
    """(a, b) where lane b is reached from the end of lane a without passing any other lane, by networkx."""
    walk = nx.DiGraph([(int(a), int(b), {"lane": int(k)}) for (a, b), k in zip(graph.edges, graph.lane, strict=True)])
    found = set()
    for a, b in walk.edges:
        mine = walk.edges[a, b]["lane"]
        for _, c in walk.out_edges(b):
            other = walk.edges[b, c]["lane"]
            if other == -1:
                found |= {(mine, walk.edges[c, d]["lane"]) for _, d in walk.out_edges(c)}
            elif mine not in (-1, other):
                found.add((mine, other))
    return found


def lanes_of(*lines: np.ndarray) -> LaneGraph:
    return LaneGraph.from_polylines(lines, lanes=[LaneAttributes(str(k)) for k in range(len(lines))])


def test_a_fork_and_a_merge_share_one_vertex() -> None:
    graph = lanes_of(
        line((0, 0), (10, 0)),
        line((10.1, 0), (20, 3)),
        line((10, 0.2), (20, -3)),
        line((20.1, 3), (30, 0)),
        line((20, -3.1), (30, 0.1)),
        line((30, 0), (40, 0)),
    )
    joined = join_ends(graph)
    assert follows(joined.graph, 6) == {(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5)}
    assert (joined.links, joined.bridged, joined.open_ends, joined.open_starts) == (6, 0, 1, 1)
    assert (joined.ends, joined.joined) == (6, 5)
    assert sorted(joined.graph.out_degree) == [0, 1, 1, 1, 1, 2]


def test_lanes_that_do_not_go_on_are_not_joined() -> None:
    opposite = join_ends(lanes_of(line((0, 0), (10, 0)), line((10, 0), (0, 0.3))))
    assert opposite.links == 0
    for turn_deg, links in ((58, 1), (62, 0)):
        turned = line((10, 0), (10 + 5 * math.cos(math.radians(turn_deg)), 5 * math.sin(math.radians(turn_deg))))
        assert join_ends(lanes_of(line((0, 0), (10, 0)), turned)).links == links
    too_far = join_ends(lanes_of(line((0, 0), (10, 0)), line((10.6, 0), (20, 0))))
    assert (too_far.links, too_far.open_ends, len(too_far.graph)) == (0, 2, 4)


def test_the_direction_is_that_of_a_metre_not_of_a_crumb() -> None:
    crooked = line((0, 0), (9.99, 0), (9.99, 0.02))
    assert join_ends(lanes_of(crooked, line((10, 0), (20, 0)))).links == 1


def test_pairs_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(4)
    lines = [
        np.stack([a, a + 6 * np.array([math.cos(h), math.sin(h)])])
        for a, h in zip(rng.uniform(0, 25, (150, 2)), rng.uniform(-3, 3, 150), strict=True)
    ]
    unit = [(b - a) / np.linalg.norm(b - a) for a, b in lines]
    expected = {
        (i, j)
        for i in range(150)
        for j in range(150)
        if i != j and np.linalg.norm(lines[i][1] - lines[j][0]) <= 1.5 and unit[i] @ unit[j] >= math.cos(math.pi / 3)
    }
    joined = join_ends(lanes_of(*lines), 1.5)
    assert len(expected) > 20
    assert joined.links == len(expected)
    assert joined.bridged > 0  # not all groups are complete, and no link is made up
    assert follows(joined.graph, 150) == expected
    assert joined.open_ends == 150 - len({i for i, _ in expected})
    assert joined.open_starts == 150 - len({j for _, j in expected})


def test_explicit_links_are_exact_where_groups_are_not_complete() -> None:
    graph = lanes_of(line((0, 1), (10, 0)), line((0, -1), (10, 0)), line((10, 0), (20, 1)), line((10, 0), (20, -1)))
    joined = connect(graph, np.array([[1, 4], [1, 6], [3, 6]]))
    assert follows(joined.graph, 4) == {(0, 2), (0, 3), (1, 3)}
    assert (joined.links, joined.bridged) == (3, 3)
    assert joined.graph.length_m == pytest.approx(graph.length_m, abs=0.51)  # lane 0 ends twice, half a metre each
    complete = connect(graph, np.array([[1, 4], [1, 6], [3, 4], [3, 6]]))
    assert follows(complete.graph, 4) == {(0, 2), (0, 3), (1, 2), (1, 3)}
    assert len(complete.graph) == 5
    assert complete.graph.length_m == pytest.approx(graph.length_m, abs=1e-12)


def test_a_link_over_a_gap_is_an_edge() -> None:
    joined = connect(lanes_of(line((0, 0), (10, 0)), line((18, 4), (30, 4))), np.array([[1, 2]]))
    assert joined.bridged == 1
    assert joined.graph.kind.tolist() == [LANE, LANE, LINK]
    assert joined.graph.lane.tolist() == [0, 1, -1]
    assert follows(joined.graph, 2) == {(0, 1)}


def test_a_ring_closes_and_a_crumb_does_not() -> None:
    turn = np.linspace(0, 2 * math.pi, 40)
    ring = 12 * np.stack([np.cos(turn), np.sin(turn)], 1)
    joined = join_ends(lanes_of(ring))
    assert (joined.links, joined.open_ends) == (1, 0)
    assert (joined.graph.out_degree == 1).all()
    assert (joined.graph.in_degree == 1).all()
    crumb = join_ends(lanes_of(line((0, 0), (0.3, 0))))
    assert (crumb.links, len(crumb.graph.edges)) == (0, 1)


def test_a_lane_shorter_than_the_tolerance_is_passed() -> None:
    joined = join_ends(lanes_of(line((0, 0), (10, 0)), line((10, 0), (10.2, 0)), line((10.2, 0), (20, 0))))
    assert {(0, 1), (1, 2)} <= follows(joined.graph, 3)
    assert (joined.open_ends, joined.open_starts) == (1, 1)


def test_joins_that_are_there_stay() -> None:
    path = [(0.0, 0.0), (5.0, 0.0), (10.0, 0.0)]
    graph = LaneGraph(np.array(path), np.array(list(pairwise(range(3)))))
    joined = join_ends(graph)
    assert (joined.links, joined.ends, joined.starts) == (0, 1, 1)
    assert np.array_equal(joined.graph.edges, graph.edges)
    assert joined.graph.vertices_m.tolist() == graph.vertices_m.tolist()


def test_nothing_and_nonsense() -> None:
    assert len(join_ends(LaneGraph.empty()).graph) == 0
    with pytest.raises(MapInputError, match="positive"):
        join_ends(LaneGraph.empty(), 0)
    graph = lanes_of(line((0, 0), (10, 0)), line((10, 0), (20, 0)))
    with pytest.raises(MapInputError, match="names no vertex"):
        connect(graph, np.array([[1, 4]]))
    with pytest.raises(MapInputError, match="from the end"):
        connect(graph, np.array([[0, 2]]))
