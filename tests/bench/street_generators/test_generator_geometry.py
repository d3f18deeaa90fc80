"""Targets, assembly and linking against shapely, networkx, SciPy and plain enumeration."""

from itertools import permutations

import networkx as nx
import numpy as np
import pytest
import shapely
import torch
from scipy.interpolate import BPoly
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from foldmap.bench.street.generators.common import cell_places
from foldmap.bench.street.generators.lines import POINTS, assemble, equal_steps, line_targets, to_metres, to_unit
from foldmap.bench.street.generators.pinet import KeyPoints, link, without_shortcuts
from foldmap.bench.street.generators.topo_prnn import _at, left_first
from foldmap.bench.street.generators.topo_tr import CONTROLS, anchors, bezier, match, sample
from foldmap.street.graph.window import AROUND, FRONTAL
from foldmap.street.source import LaneGraph

FORK = LaneGraph(np.array([[-30.0, 0], [0, 0], [10, 5], [10, -5], [30, 5]]), np.array([[0, 1], [1, 2], [1, 3], [2, 4]]))


def reach(graph: LaneGraph, start_m: tuple[float, float], end_m: tuple[float, float]) -> bool:
    net = nx.DiGraph(graph.edges.tolist())
    tree = cKDTree(graph.vertices_m)
    (a, b), (i, j) = tree.query([start_m, end_m])
    assert max(a, b) < 1.0
    return bool(nx.has_path(net, i, j))


def follow(count: int, *pairs: tuple[int, int]) -> np.ndarray:
    matrix = np.zeros((count, count), bool)
    for i, j in pairs:
        matrix[i, j] = True
    return matrix


def test_targets_are_the_clipped_chains_and_who_follows_whom() -> None:
    target = line_targets(FORK, AROUND)
    lines = to_metres(target.points, AROUND)
    found = {(tuple(np.round(line[0], 3)), tuple(np.round(line[-1], 3))) for line in lines}
    assert found == {((-20, 0), (0, 0)), ((0, 0), (20, 5)), ((0, 0), (10, -5))}
    first = int(np.argmin(lines[:, 0, 0]))
    assert target.follows[first].sum() == 2
    assert target.follows.sum() == 2
    truth = [20.0, np.hypot(10, 5) + 10, np.hypot(10, 5)]
    assert np.allclose(sorted(target.length_m), sorted(truth))


def test_targets_of_a_window_without_lanes_are_none() -> None:
    assert len(line_targets(LaneGraph.empty(), AROUND)) == 0
    assert len(line_targets(FORK.take_edges(np.array([3])), FRONTAL, shortest_m=50.0)) == 0


def test_equal_steps_agree_with_shapely() -> None:
    line = np.random.default_rng(3).uniform(-20, 20, (7, 2))
    there = shapely.LineString(line)
    steps = [there.interpolate(share, normalized=True).coords[0] for share in np.linspace(0, 1, POINTS)]
    assert np.allclose(equal_steps(line, POINTS), steps)


def test_unit_coordinates_span_the_window_and_return() -> None:
    corners = np.array([[0.0, -25], [50, 25], [25, 0]])
    assert np.allclose(to_unit(corners, FRONTAL), [[-1, -1], [1, 1], [0, 0]])
    assert np.allclose(to_metres(to_unit(corners, FRONTAL), FRONTAL), corners)


def test_lines_that_follow_each_other_become_one_vertex_at_their_middle() -> None:
    lines = [np.array([[-10.0, 0], [-0.5, 1]]), np.array([[0.5, -1], [10, 5]]), np.array([[0.0, 3], [10, -5]])]
    graph = assemble(lines, follow(3, (0, 1), (0, 2)), AROUND)
    assert reach(graph, (-10, 0), (10, 5))
    assert reach(graph, (-10, 0), (10, -5))
    assert not reach(graph, (10, 5), (10, -5))
    assert cKDTree(graph.vertices_m).query([0.0, 1.0])[0] < 1e-9  # the mean of (-0.5, 1), (0.5, -1), (0, 3)
    assert abs(graph.edge_lengths_m.mean() - 1) < 0.05


def test_lines_stay_apart_where_nothing_connects_or_the_gap_is_wide() -> None:
    lines = [np.array([[-10.0, 0], [0, 0]]), np.array([[7.0, 0], [15, 0]])]
    for follows in (follow(2), follow(2, (0, 1))):
        graph = assemble(lines, follows, AROUND)
        assert nx.number_weakly_connected_components(nx.DiGraph(graph.edges.tolist())) == 2
        assert np.isclose(graph.length_m, 18)


def test_a_line_is_never_closed_onto_itself() -> None:
    lines = [np.array([[0.0, 0], [2, 0]]), np.array([[2.0, 1], [0, 1]])]
    graph = assemble(lines, follow(2, (0, 1), (1, 0), (0, 0)), AROUND)
    ring = nx.DiGraph(graph.edges.tolist())
    assert len(list(nx.simple_cycles(ring))) == 1  # two lines that follow each other are a ring, and nothing more


def test_what_lies_outside_the_window_is_cut_and_short_lines_go() -> None:
    graph = assemble([np.array([[-40.0, 3], [40, 3]]), np.array([[0.0, 0], [0.1, 0]])], follow(2), AROUND)
    assert np.isclose(graph.length_m, 40)
    assert len(assemble([np.array([[0.0, 0], [0.1, 0]])], follow(1), AROUND)) == 0
    assert len(assemble([], follow(0), AROUND)) == 0


def test_bezier_weights_agree_with_scipy() -> None:
    controls = np.random.default_rng(0).normal(size=(CONTROLS, 2))
    assert np.allclose(bezier(9) @ controls, BPoly(controls[:, None], [0, 1])(np.linspace(0, 1, 9)))


def test_matching_is_the_cheapest_of_all_assignments() -> None:
    rng = np.random.default_rng(1)
    curve = torch.from_numpy(rng.normal(size=(1, 5, POINTS, 2))).float()
    lines = torch.from_numpy(rng.normal(size=(3, POINTS, 2))).float()
    exist = torch.from_numpy(rng.normal(size=(1, 5))).float()
    cost = 10 * np.abs(curve[0].numpy()[:, None] - lines.numpy()[None]).mean((2, 3))
    cost -= 1 / (1 + np.exp(-exist[0].numpy()))[:, None]
    best = min(permutations(range(5), 3), key=lambda rows: sum(cost[row, c] for c, row in enumerate(rows)))
    rows, columns = match(curve, exist, [lines])[0]
    assert {(int(c), int(r)) for r, c in zip(rows, columns, strict=True)} == set(enumerate(best))


def test_anchors_find_separate_bundles_of_lines() -> None:
    rng = np.random.default_rng(2)
    truth = rng.uniform(-1, 1, (4, POINTS, 2))
    lines = np.repeat(truth, 50, 0) + rng.normal(size=(200, POINTS, 2)) * 0.01
    found = anchors(lines.astype(np.float32), 4, rng)
    apart = np.abs(found[:, None] - truth[None]).mean((2, 3))
    assert (apart.min(0) < 0.01).all()


def test_features_are_read_where_scipy_reads_them() -> None:
    rng = np.random.default_rng(4)
    maps = rng.normal(size=(2, 3, 6, 8))
    points = rng.uniform(-1.2, 1.2, (20, 2))
    rows, columns = (1 - points[:, 0]) / 2 * 6 - 0.5, (1 - points[:, 1]) / 2 * 8 - 0.5
    truth = np.stack([map_coordinates(one, [rows, columns], order=1, mode="nearest") for one in maps[1]], 1)
    tensor, where = torch.from_numpy(maps), torch.from_numpy(points)
    assert np.allclose(sample(tensor, where[None].expand(2, -1, -1))[1], truth)
    assert np.allclose(_at(tensor, torch.ones(20, dtype=torch.long), where), truth, atol=1e-6)
    x, y = cell_places(6, 8)
    cells = torch.stack([x, y], -1)[None].expand(2, -1, -1, -1).double()
    assert np.allclose(sample(tensor, cells).permute(0, 3, 1, 2), maps, atol=1e-6)


def test_lines_of_one_cell_are_ranked_from_left_to_right() -> None:
    turn = np.array([0.0, 0.8, -0.8, 3.0])
    for heading in (0.0, 2.5, -3.0):
        chord = np.stack([np.cos(turn + heading), np.sin(turn + heading)], 1)
        assert left_first(np.array([7, 7, 7, 2]), chord).tolist() == [1, 0, 2, 0]


def points_on(lines: list[np.ndarray], seed: int) -> KeyPoints:
    rng = np.random.default_rng(seed)
    dense = [equal_steps(line, int(shapely.LineString(line).length) + 1) for line in lines]
    turn = [np.gradient(line, axis=0) for line in dense]
    turn = [t / np.hypot(*t.T)[:, None] for t in turn]
    place = np.concatenate(dense)
    embedding = np.concatenate([np.full((len(line), 1), 3.0 * k) for k, line in enumerate(dense)])
    return KeyPoints(
        place + rng.normal(size=place.shape) * 0.1, np.concatenate(turn), embedding, rng.uniform(0.5, 1, len(place))
    )


def test_key_points_are_linked_along_their_directions() -> None:
    lines = [np.array([[-20.0, -2], [20, -2]]), np.array([[20.0, 2], [-20, 2]])]
    graph = link(points_on(lines, 0), 1.0, AROUND)
    truth = shapely.MultiLineString(list(lines))
    assert max(truth.distance(shapely.Point(p)) for p in graph.vertices_m) < 0.4
    assert graph.length_m == pytest.approx(80, abs=4)
    assert reach(graph, (-19, -2), (19, -2))
    assert reach(graph, (19, 2), (-19, 2))
    assert not reach(graph, (19, -2), (-19, -2))


def test_key_points_of_a_fork_connect_to_both_arms() -> None:
    lines = [
        np.array([[-20.0, 0], [-1, 0]]),
        np.array([[0.0, 0.0], [6, 1.0], [18, 8]]),
        np.array([[0.0, 0.0], [6, -1.0], [18, -8]]),
    ]
    graph = link(points_on(lines, 1), 1.0, AROUND)
    assert reach(graph, (-19, 0), (17, 7.4))
    assert reach(graph, (-19, 0), (17, -7.4))


def test_no_key_points_make_no_graph() -> None:
    nothing = KeyPoints(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 4)), np.zeros(0))
    assert len(link(nothing, 1.0, AROUND)) == 0
    far = KeyPoints(np.array([[-15.0, 0], [15, 0]]), np.array([[1.0, 0], [1, 0]]), np.zeros((2, 4)), np.ones(2))
    assert len(link(far, 1.0, AROUND)) == 0


def test_shortcuts_go_and_reachability_stays() -> None:
    edges = np.array([[0, 1], [1, 2], [0, 2], [2, 3], [1, 3], [0, 4]])
    left = without_shortcuts(edges, 5)
    assert {tuple(e) for e in left.tolist()} == set(nx.transitive_reduction(nx.DiGraph(edges.tolist())).edges)
