"""Urban measures, lines, Frechet, OpenLane-style scores and topology: known graphs, plain twins, NetworkX, shapely."""

import math
from functools import cache

import networkx
import numpy as np
import pytest
import shapely
from scipy.optimize import linear_sum_assignment

from foldmap.errors import InputError
from foldmap.metrics.frechet import frechet_matrix
from foldmap.metrics.street_lines import THRESHOLDS_M, connection_scores, line_scores
from foldmap.metrics.street_openlane import (
    LaneLines,
    average_precision,
    match_by_confidence,
    neighbour_precisions,
    openlane_scores,
)
from foldmap.metrics.street_sampled import Sampled, sampled
from foldmap.metrics.street_topology import match_vertices, reachable, topology_scores
from foldmap.metrics.street_urban import UrbanErrors, ego_edge, urban_errors, urban_measures
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.source import LaneGraph

NOTHING = sampled(LaneGraph.empty())


def graph(vertices: list[tuple[float, float]], edges: list[tuple[int, int]]) -> LaneGraph:
    return LaneGraph(np.array(vertices, np.float64), np.array(edges, np.int64).reshape(-1, 2))


# The ego's lane forks at the origin: ahead and to the left; another lane comes the other way.
FORK = graph([(-20, 0), (0, 0), (20, 0), (0, 20), (20, 4), (-20, 4)], [(0, 1), (1, 2), (1, 3), (4, 5)])


def random_graph(seed: int, count: int = 40, spread_m: float = 15.0) -> Sampled:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-spread_m, spread_m, (count, 2))
    pairs = np.unique(rng.integers(0, count, (int(1.3 * count), 2)), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    near = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T) < spread_m
    return sampled(LaneGraph(points, pairs[near]))


def test_sampling_steps_and_clips() -> None:
    long = graph([(-50, 0), (50, 0)], [(0, 1)])
    inside = sampled(long, AROUND)
    assert len(inside) == 41
    assert np.allclose(np.sort(inside.points_m[:, 0]), np.arange(-20, 21))
    assert np.allclose(inside.headings, [1, 0])
    fork = sampled(FORK)
    assert sorted(len(line) for line in fork.lines) == [21, 21, 21, 41]
    assert fork.follows.sum() == 2
    i, j = np.nonzero(fork.follows)
    assert all(
        np.allclose(fork.points_m[fork.lines[a][-1]], fork.points_m[fork.lines[b][0]])
        for a, b in zip(i, j, strict=True)
    )


def test_urban_measures_of_a_fork() -> None:
    measures = urban_measures(sampled(FORK), AROUND)
    assert measures.density == pytest.approx(100 * 102 / 1600)
    assert measures.connectivity == pytest.approx(4 / 6)
    # both arms and not the oncoming lane, whichever of the two edges at the origin the ego is on
    start = ego_edge(sampled(FORK))
    assert start is not None
    behind = -float(sampled(FORK).points_m[sampled(FORK).graph.edges[start, 0], 0])
    assert behind in (0.0, 1.0)
    assert measures.reach_m == pytest.approx(40.0 + behind)
    before = sampled(graph([(-20, 0), (7, 0), (20, 0), (7, 20)], [(0, 1), (1, 2), (1, 3)]))
    assert urban_measures(before).reach_m == pytest.approx(7 + 13 + 20, abs=1.0)
    after = sampled(graph([(-20, 0), (-7, 0), (20, 0), (-7, 20)], [(0, 1), (1, 2), (1, 3)]))
    assert urban_measures(after).reach_m == pytest.approx(20, abs=1.0)
    ring = np.array([(8 * math.cos(a), 8 * math.sin(a)) for a in np.arange(40) * 2 * math.pi / 40])
    turned = graph([tuple(p) for p in ring + np.array([0.0, 8.0])], [(k, (k + 1) % 40) for k in range(40)])
    assert urban_measures(sampled(turned)).connectivity == 1.0
    assert urban_measures(sampled(turned)).reach_m == pytest.approx(16 * math.pi, rel=0.01)


def test_reach_starts_on_the_egos_lane_alone() -> None:
    oncoming = sampled(graph([(20, 3), (-20, 3)], [(0, 1)]))
    assert ego_edge(oncoming) is None
    assert urban_measures(oncoming).reach_m == 0.0
    assert ego_edge(sampled(graph([(-20, 6), (20, 6)], [(0, 1)]))) is None
    assert urban_measures(sampled(graph([(-20, 3), (20, 3)], [(0, 1)]))).reach_m == pytest.approx(20.5, abs=0.5)
    zero = urban_measures(NOTHING)
    assert (zero.density, zero.reach_m, zero.connectivity) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("seed", range(6))
def test_reach_is_networkxs(seed: int) -> None:
    one = random_graph(seed)
    start = ego_edge(one)
    if start is None:
        assert urban_measures(one).reach_m == 0.0
        return
    net = networkx.DiGraph([tuple(edge) for edge in one.graph.edges.tolist()])
    tail = int(one.graph.edges[start, 0])
    inside = networkx.descendants(net, tail) | {tail}
    driven = {tuple(edge) for edge in one.graph.edges.tolist() if edge[0] in inside}
    length = sum(math.dist(one.points_m[a], one.points_m[b]) for a, b in driven)
    assert urban_measures(one).reach_m == pytest.approx(length)


def test_urban_errors_are_differences() -> None:
    small, large = urban_measures(sampled(graph([(-20, 0), (20, 0)], [(0, 1)]))), urban_measures(sampled(FORK))
    errors = urban_errors(small, large)
    assert errors.density_error == pytest.approx(100 * (102 - 41) / 1600)
    assert errors.density_relative_error == pytest.approx(61 / 102)
    assert errors.connectivity_error == pytest.approx(4 / 6 - 1 / 2)
    assert errors.reach_relative_error == pytest.approx(errors.reach_error_m / max(small.reach_m, large.reach_m))
    assert urban_errors(large, small) == errors
    nothing = urban_measures(NOTHING)
    assert urban_errors(nothing, nothing) == UrbanErrors(0, 0, 0, 0, 0)
    assert urban_errors(nothing, large).density_relative_error == 1.0
    half = urban_measures(sampled(FORK), Window(-20, 20, -20, 60))
    assert half.density == pytest.approx(large.density / 2)


def leash_m(one: np.ndarray, other: np.ndarray) -> float:
    return float(frechet_matrix([one], [other])[0, 0])


def plain_frechet(one: np.ndarray, other: np.ndarray) -> float:
    @cache
    def reach(i: int, j: int) -> float:
        here = math.dist(one[i], other[j])
        if i == 0 and j == 0:
            return here
        before = [reach(a, b) for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if a >= 0 and b >= 0]
        return max(here, min(before))

    return reach(len(one) - 1, len(other) - 1)


def test_frechet_is_the_recursion() -> None:
    rng = np.random.default_rng(1)
    lines = [rng.normal(0, 3, (int(rng.integers(1, 15)), 2)).cumsum(0) for _ in range(14)]
    expected = np.array([[plain_frechet(a, b) for b in lines[7:]] for a in lines[:7]])
    found = frechet_matrix(lines[:7], lines[7:])
    assert np.allclose(found, expected)
    limited = frechet_matrix(lines[:7], lines[7:], limit_m=float(np.median(expected)) + 1e-9)
    assert np.allclose(limited[expected <= np.median(expected)], expected[expected <= np.median(expected)])
    assert np.isinf(limited[expected > np.median(expected)]).all()
    for a, b in zip(lines[:7], lines[7:], strict=True):
        # the leash is long enough if a way through the pairs that it allows exists, and never under Hausdorff's
        leash = leash_m(a, b)
        for length, enough in ((leash + 1e-9, True), (leash - 1e-9, False)):
            net = networkx.DiGraph()
            net.add_nodes_from([(0, 0), (len(a) - 1, len(b) - 1)])
            allowed = {(i, j) for i in range(len(a)) for j in range(len(b)) if math.dist(a[i], b[j]) <= length}
            steps = ((1, 0), (0, 1), (1, 1))
            net.add_edges_from((p, q) for p in allowed for d in steps if (q := (p[0] + d[0], p[1] + d[1])) in allowed)
            ends = {(0, 0), (len(a) - 1, len(b) - 1)} <= allowed
            assert (ends and networkx.has_path(net, (0, 0), (len(a) - 1, len(b) - 1))) == enough
        assert leash >= shapely.MultiPoint(a).hausdorff_distance(shapely.MultiPoint(b)) - 1e-9
    line = np.stack([np.arange(10.0), np.zeros(10)], 1)
    assert leash_m(line, line[::-1]) == pytest.approx(9.0)  # direction counts
    with pytest.raises(InputError, match="polyline 0"):
        leash_m(np.zeros((0, 2)), line)


def test_lines_of_known_graphs() -> None:
    fork = sampled(FORK)
    same = line_scores(fork, fork)
    assert [same.line_precision, same.line_recall, same.line_f, same.detection_ratio, same.connect_f] == [1.0] * 5
    # all shifted by 1.25 m to the left: right at the thresholds of 1.5 m and more, wrong at 0.5 and 1
    straight = sampled(graph([(-20, 0), (20, 0)], [(0, 1)]))
    aside = line_scores(sampled(graph([(-20, 1.25), (20, 1.25)], [(0, 1)])), straight)
    share = sum(t >= 1.25 for t in THRESHOLDS_M) / len(THRESHOLDS_M)
    assert (aside.line_precision, aside.line_recall, aside.detection_ratio) == (
        pytest.approx(share),
        pytest.approx(share),
        1.0,
    )
    # the ego's lane alone: what is there is right, one of four lines is found, no connection
    part = line_scores(sampled(graph([(-20, 0), (0, 0)], [(0, 1)])), fork)
    assert (part.line_precision, part.line_recall, part.detection_ratio) == (1.0, 1.0, 0.25)
    assert (part.connect_precision, part.connect_recall, part.connect_f) == (0.0, 0.0, 0.0)
    # the oncoming lane alone matches the oncoming one, though the ego's is as near in places
    oncoming = line_scores(sampled(graph([(20, 2.1), (-20, 2.1)], [(0, 1)])), fork)
    assert oncoming.detection_ratio == 0.25
    assert oncoming.line_precision == pytest.approx(sum(t >= 1.9 for t in THRESHOLDS_M) / len(THRESHOLDS_M))
    for one, other, value in ((NOTHING, NOTHING, 1.0), (NOTHING, fork, 0.0), (fork, NOTHING, 0.0)):
        scores = line_scores(one, other)
        assert (scores.line_f, scores.detection_ratio, scores.connect_f) == (value, value, value)


def test_connections_of_known_matches() -> None:
    truth = np.zeros((3, 3), bool)
    truth[0, 1] = truth[1, 2] = True
    predicted = np.zeros((4, 4), bool)
    predicted[0, 1] = predicted[1, 2] = predicted[0, 3] = True
    # lines 0 and 1 are two pieces of true line 0, line 2 is true line 1, line 3 true line 2
    precision, recall, f = connection_scores(predicted, truth, np.array([0, 0, 1, 2]))
    assert (precision, recall) == (pytest.approx(2 / 3), pytest.approx(1 / 2))
    assert f == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))
    none = np.zeros((4, 4), bool)
    assert connection_scores(none, np.zeros((3, 3), bool), np.zeros(4, np.int64)) == (1.0, 1.0, 1.0)
    assert connection_scores(none, truth, np.zeros(4, np.int64)) == (0.0, 0.0, 0.0)


def test_average_precision_of_known_ranks() -> None:
    sure = np.array([0.9, 0.8, 0.7, 0.6])
    hit = np.array([True, False, True, False])
    assert average_precision(sure, hit, 2) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert average_precision(sure, hit, 4) == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)
    assert average_precision(sure, ~hit, 2) == pytest.approx(0.5 * 0.5 + 0.5 * 0.5)
    assert average_precision(sure, np.array([False, True, False, True]), 2, envelope=False) == pytest.approx(0.5)
    late = np.array([False, False, True, True])
    assert average_precision(sure, late, 2) == pytest.approx(0.5)
    assert average_precision(sure, late, 2, envelope=False) == pytest.approx(0.5 / 3 + 0.5 * 0.5)
    order = np.random.default_rng(2).permutation(4)
    assert average_precision(sure[order], hit[order], 2) == pytest.approx(average_precision(sure, hit, 2))
    ties = np.ones(4)
    assert average_precision(ties, hit, 3) == average_precision(ties, ~hit, 3) == pytest.approx(0.5 * 2 / 3)
    none = np.zeros(0)
    assert average_precision(none, none.astype(bool), 0) == 1.0
    assert average_precision(none, none.astype(bool), 3) == 0.0
    assert average_precision(ties, hit, 0) == 0.0


def test_the_surest_choose_first() -> None:
    distance = np.array([[0.5, 2.0], [0.1, 0.4], [np.inf, 0.2]])
    assert match_by_confidence(distance, np.array([0.9, 0.8, 0.7]), 1.0).tolist() == [0, 1, -1]
    assert match_by_confidence(distance, np.ones(3), 1.0).tolist() == [-1, 0, 1]
    assert match_by_confidence(np.zeros((0, 2)), np.zeros(0), 1.0).tolist() == []


def test_openlane_scores_of_known_graphs() -> None:
    fork = LaneLines.of(sampled(FORK))
    perfect = openlane_scores([fork], [fork])
    assert (perfect.det_l, perfect.top_ll) == (1.0, 1.0)
    # 1.5 m aside: right at 2 and 3 m, wrong at 1 m
    aside = LaneLines.of(
        sampled(graph([tuple(v) for v in FORK.vertices_m + np.array([0.0, 1.5])], FORK.edges.tolist()))
    )
    scores = openlane_scores([aside], [fork])
    assert (scores.det_l, scores.top_ll) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    # the left arm is missing: of 4 lines 2 are whole, the fork is one straight line now
    straight = LaneLines.of(sampled(graph([(-20, 0), (20, 0), (20, 4), (-20, 4)], [(0, 1), (2, 3)])))
    scores = openlane_scores([straight], [fork])
    assert scores.det_l == pytest.approx((1 / 2) * (1 / 4))
    assert scores.top_ll == 0.0
    # lines apart, all there: topology alone is lost
    loose = LaneLines(fork.lines_m, np.zeros((4, 4), bool))
    assert openlane_scores([loose], [fork]).det_l == 1.0
    assert openlane_scores([loose], [fork]).top_ll == 0.0
    empty = LaneLines.of(NOTHING)
    for one, other, value in ((empty, empty, 1.0), (empty, fork, 0.0), (fork, empty, 0.0), (empty, loose, 0.0)):
        scores = openlane_scores([one], [other])
        assert (scores.det_l, scores.top_ll) == (value, value)
    # a sure wrong line before a right one, in another window, halves the precision
    line = LaneLines(fork.lines_m[:1], np.zeros((1, 1)), np.array([0.5]))
    wrong = LaneLines([fork.lines_m[0] + 9.0], np.zeros((1, 1)), np.array([0.9]))
    alone = LaneLines(fork.lines_m[:1], np.zeros((1, 1), bool))
    assert openlane_scores([wrong, line], [empty, alone]).det_l == pytest.approx(0.5)
    with pytest.raises(InputError, match="windows"):
        openlane_scores([fork], [])
    with pytest.raises(InputError, match="follows"):
        LaneLines(fork.lines_m, np.zeros((2, 2)))


def test_neighbours_are_ranked() -> None:
    truth = np.zeros((3, 3), bool)
    truth[0, 1] = True
    predicted = np.zeros((3, 3))
    predicted[0, 2], predicted[0, 1] = 0.9, 0.8  # a sure wrong successor before the right one
    values = neighbour_precisions(predicted, truth, np.arange(3))
    # line 0 forward: 1/2; back: line 1 has its predecessor, line 2 has one that is not there
    assert sorted(values.tolist()) == [0.0, 0.5, 1.0]
    assert neighbour_precisions(predicted, truth, np.array([0, -1, -1])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("seed", range(4))
def test_reachable_is_networkxs(seed: int) -> None:
    one = random_graph(seed)
    net = networkx.DiGraph()
    net.add_nodes_from(range(len(one)))
    for (a, b), length in zip(one.graph.edges.tolist(), one.graph.edge_lengths_m, strict=True):
        net.add_edge(a, b, weight=length)
    expected = np.zeros((len(one), len(one)), bool)
    for start, reached in networkx.all_pairs_dijkstra_path_length(net, cutoff=9.0):
        expected[start, list(reached)] = True
    assert (reachable(one, 9.0) == expected).all()


def test_topology_of_known_graphs() -> None:
    fork = sampled(FORK)
    same = topology_scores(fork, fork)
    assert (same.geo_f, same.topo_f) == (1.0, 1.0)
    for one, other, value in ((NOTHING, NOTHING, 1.0), (NOTHING, fork, 0.0), (fork, NOTHING, 0.0)):
        scores = topology_scores(one, other)
        assert (scores.geo_f, scores.topo_f) == (value, value)
    # a cut lane: geometry hardly notices, topology loses every pair across the gap
    whole = sampled(graph([(-20, 0), (20, 0)], [(0, 1)]))
    broken = sampled(graph([(-20, 0), (0, 0), (1, 0), (20, 0)], [(0, 1), (2, 3)]))
    scores = topology_scores(broken, whole)
    assert (scores.geo_precision, scores.geo_recall) == (1.0, 1.0)
    pairs = sum(range(1, 42))
    assert scores.topo_recall == pytest.approx((sum(range(1, 22)) + sum(range(1, 21))) / pairs)
    assert scores.topo_precision == 1.0
    # a lane the wrong way is no lane
    assert topology_scores(sampled(graph([(20, 0), (-20, 0)], [(0, 1)])), whole).geo_f == 0.0
    # 1.9 m aside matches, 2.1 m does not
    assert topology_scores(sampled(graph([(-20, 1.9), (20, 1.9)], [(0, 1)])), whole).topo_f == 1.0
    assert topology_scores(sampled(graph([(-20, 2.1), (20, 2.1)], [(0, 1)])), whole).topo_f == 0.0
    # half the lane: all it says is right, and recall counts what it does not say
    half = topology_scores(sampled(graph([(-20, 0), (0, 0)], [(0, 1)])), whole)
    assert (half.geo_precision, half.geo_recall) == (1.0, pytest.approx(21 / 41))
    assert (half.topo_precision, half.topo_recall) == (1.0, pytest.approx(sum(range(1, 22)) / pairs))
    # a lane too many costs precision
    more = topology_scores(fork, sampled(graph([(-20, 0), (0, 0), (20, 0), (0, 20)], [(0, 1), (1, 2), (1, 3)])))
    assert (more.geo_recall, more.topo_recall) == (1.0, 1.0)
    assert more.geo_precision == pytest.approx(61 / 102)


@pytest.mark.parametrize("seed", range(4))
def test_topology_is_the_plain_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_graph(seed, 16)
    moved = truth.graph.vertices_m + rng.normal(0, 0.8, (len(truth), 2))
    kept = rng.random(len(truth.graph.edges)) < 0.9
    predicted = Sampled(LaneGraph(moved, truth.graph.edges[kept]))
    scores = topology_scores(predicted, truth, horizon_m=12.0)
    ours, theirs = match_vertices(predicted, truth)
    partner = dict(zip(ours.tolist(), theirs.tolist(), strict=True))
    assert len(partner) == len(ours) == len(set(theirs.tolist()))
    reach, true_reach = reachable(predicted, 12.0), reachable(truth, 12.0)
    both = sum(
        true_reach[partner[a], partner[b]]
        for a, b in zip(*np.nonzero(reach), strict=True)
        if a in partner and b in partner
    )
    assert scores.topo_precision == pytest.approx(both / reach.sum())
    assert scores.topo_recall == pytest.approx(both / true_reach.sum())
    # the assignment over all vertices, not only those near one, is no better
    distance = np.linalg.norm(predicted.points_m[:, None] - truth.points_m[None], axis=2)
    cosine = predicted.headings @ truth.headings.T
    free = ~predicted.headings.any(1)[:, None] | ~truth.headings.any(1)[None]
    cost = np.minimum(np.where((cosine >= 0.5) | free, distance, np.inf), 2.0)
    rows, cols = linear_sum_assignment(cost)
    whole = cost[ours, theirs].sum() + 2.0 * (min(cost.shape) - len(ours))
    assert whole == pytest.approx(cost[rows, cols].sum())
