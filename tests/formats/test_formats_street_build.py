"""Lanes and who follows whom, to lane graphs: the graph has the turns that were said and no others."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldmap.errors import MapInputError
from foldmap.formats.street.build import MapLane, build_graph
from foldmap.street.source import LINK, LaneAttributes, LaneGraph


def lane(name: str, *points: tuple[float, float]) -> MapLane:
    return MapLane(np.array(points, np.float64), LaneAttributes(name))


def follows(graph: LaneGraph) -> set[tuple[int, int]]:
    """(lane, next lane), also through link edges between lanes."""
    whole: networkx.DiGraph = networkx.DiGraph()
    for (a, b), number in zip(graph.edges.tolist(), graph.lane.tolist(), strict=True):
        whole.add_edge(a, b, lane=number)
    last: dict[int, int] = {}
    first: dict[int, int] = {}
    for number in np.unique(graph.lane[graph.lane >= 0]).tolist():
        run = graph.edges[graph.lane == number].tolist()
        starts, ends = {a for a, _ in run}, {b for _, b in run}
        first[number] = next(iter(starts - ends), run[0][0])
        last[number] = next(iter(ends - starts), run[0][0])
    found = set()
    for number, end in last.items():
        reached = [end]
        while reached:
            at = reached.pop()
            found |= {(number, other) for other, start in first.items() if start == at}
            reached += [b for _, b, other in whole.out_edges(at, data="lane") if other < 0]
    return found


def test_ends_that_meet_become_one_vertex() -> None:
    lanes = [lane("a", (0, 0), (10, 0)), lane("b", (10.04, 0), (20, 5)), lane("c", (10, 0.04), (20, -5))]
    graph = build_graph(lanes, [(0, 1), (0, 2)])
    assert len(graph) == 4
    assert len(graph.edges) == 3
    np.testing.assert_allclose(graph.vertices_m[graph.out_degree == 2], [[30.04 / 3, 0.04 / 3]])


def test_a_gap_becomes_a_link() -> None:
    graph = build_graph([lane("a", (0, 0), (10, 0)), lane("b", (15, 0), (20, 0))], [(0, 1)])
    assert graph.kind.tolist() == [0, 0, LINK]
    assert graph.lane.tolist() == [0, 1, -1]
    assert graph.edge_lengths_m.tolist() == [10, 5, 5]


def test_a_missing_turn_stays_missing() -> None:
    """a goes on into c and d, b into d only, though all meet at one place."""
    lanes = [
        lane("a", (-10, 1), (0, 0)), lane("b", (-10, -1), (0, 0)),
        lane("c", (0, 0), (10, 1)), lane("d", (0, 0), (10, -1)),
    ]  # fmt: skip
    told = {(0, 2), (0, 3), (1, 3)}
    graph = build_graph(lanes, sorted(told))
    assert follows(graph) == told
    assert graph.edge_lengths_m.min() > 0.05  # and each edge has a direction


def test_parallel_lanes_of_one_piece_stay_two() -> None:
    lanes = [
        lane("a", (0, 0), (5, 0)),
        lane("b", (5, 0), (9, 0)),
        lane("c", (5, 0), (9, 0)),
        lane("d", (9, 0), (12, 0)),
    ]
    graph = build_graph(lanes, [(0, 1), (0, 2), (1, 3), (2, 3)])
    assert sorted(graph.lane.tolist()) == [0, 1, 2, 2, 3]
    assert follows(graph) == {(0, 1), (0, 2), (1, 3), (2, 3)}


def test_a_lane_of_one_point_joins_others() -> None:
    lanes = [lane("a", (0, 0), (5, 0)), lane("p", (5, 0), (5, 0)), lane("b", (5, 0), (9, 0)), lane("q", (50, 50))]
    graph = build_graph(lanes, [(0, 1), (1, 2)])
    assert len(graph) == 3
    assert graph.lane.tolist() == [0, 2]


def test_a_short_lane_that_follows_itself_is_no_self_loop() -> None:
    graph = build_graph([lane("a", (0, 0), (0.04, 0))], [(0, 0)])
    assert (graph.edges[:, 0] != graph.edges[:, 1]).all()


def test_nothing_and_not_finite() -> None:
    assert len(build_graph([], [])) == 0
    with pytest.raises(MapInputError, match="lane x has no finite points"):
        build_graph([lane("x", (0, 0), (np.nan, 1))], [])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_topology_is_kept(seed: int) -> None:
    """Random lanes between few places, random follow relations among those that meet."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(-50, 50, (4, 2))
    ends = [pair for pair in rng.integers(0, 4, (8, 2)).tolist() if pair[0] != pair[1]]
    lanes = [
        lane(str(number), *(tuple(p) for p in (places[a], places[[a, b]].mean(0) + rng.normal(0, 3, 2), places[b])))
        for number, (a, b) in enumerate(ends)
    ]
    told = {
        (i, j)
        for i, (_, b) in enumerate(ends)
        for j, (a, _) in enumerate(ends)
        if a == b and i != j and rng.random() < 0.7
    }
    graph = build_graph(lanes, sorted(told))
    assert follows(graph) == told
    assert graph.edge_lengths_m.min(initial=1) > 0
