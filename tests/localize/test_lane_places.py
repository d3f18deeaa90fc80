"""Places and their links against graphs with known answers; motion against a plain recursive twin and geometry."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from street_world import drive, town_graph

from foldmap.errors import ConfigError, MapInputError, PoseInputError
from foldmap.geometry import SE2
from foldmap.localize.street.lane_motion import LaneMotion, LaneWalker, driven_m
from foldmap.localize.street.lane_places import LanePlaces, lane_places, turn_between
from foldmap.street.source import LaneGraph


def fork() -> LaneGraph:
    """A lane of 20 m to the east that forks: straight on, and to the left through 90 degrees; two ways join again."""
    angle = np.linspace(0, np.pi / 2, 9)[1:]
    arc = np.stack([20 + 8 * np.sin(angle), 8 - 8 * np.cos(angle)], 1)
    points = np.concatenate([[(0, 0), (20, 0), (60, 0)], arc, [(28.0, 40.0)]])
    edges = [(0, 1), (1, 2), (1, 3), *[(i, i + 1) for i in range(3, 11)]]
    return LaneGraph(points.astype(float), np.array(edges, np.int64))


def follow(places: LanePlaces, n: int) -> list[int]:
    return places.follow[places.follow_offset[n] : places.follow_offset[n + 1]].tolist()


def nearest(places: LanePlaces, x: float, y: float) -> int:
    return int(np.argmin(np.hypot(places.x_m - x, places.y_m - y)))


def test_places_lie_on_the_lanes_and_follow_each_other() -> None:
    graph = fork()
    places = lane_places(graph, 2.0)
    assert places.length_m.sum() == pytest.approx(graph.length_m, rel=0.01)
    assert places.length_m == pytest.approx(np.full(len(places), 2.0), abs=0.2)
    last = nearest(places, 19, 0)
    after = follow(places, last)
    assert len(after) == 2
    assert sorted(np.round(places.heading_rad[after], 1)) == pytest.approx([0.0, 0.1], abs=0.05)
    ends = [n for n in range(len(places)) if not follow(places, n)]
    assert {(round(places.x_m[n]), round(places.y_m[n])) for n in ends} == {(59, 0), (28, 39)}
    for n in range(len(places)):
        for m in follow(places, n):
            ahead = places.pose(n).inverse().apply(places.positions_m[m][None])[0]
            assert 0 < ahead[0] < 2.3
            assert abs(ahead[1]) < 0.8
    offset, before = places.reversed_links()
    pairs = {(n, m) for n in range(len(places)) for m in follow(places, n)}
    assert {(int(b), n) for n in range(len(places)) for b in before[offset[n] : offset[n + 1]]} == pairs


def test_no_place_follows_by_turning_back() -> None:
    line = LaneGraph(np.array([[0.0, 0], [2, 0], [4, 0]]), np.array([(0, 1), (1, 2), (2, 1), (1, 0)], np.int64))
    places = lane_places(line, 2.0)
    for n in range(len(places)):
        for m in follow(places, n):
            assert abs(turn_between(places.heading_rad[n], places.heading_rad[m])) < 0.1


def test_parallel_lanes_are_beside_each_other() -> None:
    lines = [np.array([[0.0, y], [40, y]]) for y in (0.0, 3.5, 7.0)] + [np.array([[40.0, 10.5], [0, 10.5]])]
    places = lane_places(LaneGraph.from_polylines(lines), 2.0)
    for n in range(len(places)):
        y = places.y_m[n]
        for side, sign in ((places.left[n], 1), (places.right[n], -1)):
            there = y + sign * 3.5
            if y > 10 or not 0 <= there <= 7:
                assert side == -1
            else:
                assert (places.y_m[side], places.x_m[side]) == pytest.approx((there, places.x_m[n]))


def test_an_empty_graph_has_no_places() -> None:
    assert len(lane_places(LaneGraph.empty())) == 0
    with pytest.raises(MapInputError, match="resample"):
        lane_places(fork(), 0.0)


def twin(places: LanePlaces, increment: SE2, motion: LaneMotion, anywhere: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The dense matrix of transitions, path by path (row from, column to), and what a restart adds."""
    far = driven_m(increment)
    step = float(np.median(places.length_m))
    sigma = math.sqrt(motion.distance_m**2 + (motion.distance_per_m * far) ** 2 + (step / 2) ** 2)
    sigma_turn = math.hypot(motion.turn_rad, motion.turn_per_rad * increment.heading_rad)
    back = [[m for m in range(len(places)) if n in follow(places, m)] for n in range(len(places))]
    matrix = np.zeros((len(places), len(places)))

    def go(start: int, here: int, done: float, share: float, ways: list[list[int]], sign: int) -> None:
        if sign > 0 or done > 0:
            turn = float(turn_between(places.heading_rad[start] + increment.heading_rad, places.heading_rad[here]))
            density = math.exp(-0.5 * ((sign * done - far) / sigma) ** 2) / math.sqrt(2 * math.pi) / sigma
            matrix[start, here] += share * density * places.length_m[here] * math.exp(-0.5 * (turn / sigma_turn) ** 2)
        for there in ways[here]:
            length = (places.length_m[here] + places.length_m[there]) / 2
            if done + length <= sign * far + 5 * sigma:
                go(start, there, done + length, share / len(ways[here]), ways, sign)

    forward = [follow(places, n) for n in range(len(places))]
    for n in range(len(places)):
        go(n, n, 0.0, 1.0, forward, 1)
        go(n, n, 0.0, 1.0, back, -1)
    chance = min(0.5, motion.lane_change_per_m * abs(far))
    change = np.eye(len(places))
    for side in (places.left, places.right):
        for n in np.flatnonzero(side >= 0):
            change[n, side[n]] += chance / 2
            change[n, n] -= chance / 2
    return (1 - motion.restart) * matrix @ change, motion.restart * anywhere


@pytest.mark.parametrize(
    "increment", [SE2(5, 0, 0), SE2(0, 0, 0), SE2(-4, 0, 0), SE2(8, 3, 0.7), SE2(20, 0, 0), SE2(0.5, 0, 0)]
)
def test_a_belief_moves_as_the_dense_twin_says(increment: SE2) -> None:
    lines = [np.array([[0.0, 3.5], [60, 3.5]]), np.array([[0.0, -3.5], [60, -3.5]])]
    both = [fork(), LaneGraph.from_polylines(lines)]
    graph = LaneGraph(
        np.concatenate([g.vertices_m for g in both]),
        np.concatenate([both[0].edges, both[1].edges + len(both[0])]),
    )
    places = lane_places(graph, 2.0)
    motion = LaneMotion()
    anywhere = places.length_m / places.length_m.sum()
    belief = np.random.default_rng(0).random(len(places))
    belief /= belief.sum()
    matrix, again = twin(places, increment, motion, anywhere)
    expected = belief @ matrix + again
    expected /= expected.sum()
    moved = LaneWalker(places, motion).predict(belief, increment, anywhere)
    # the walk leaves out what lies beyond 4.5 sigma
    np.testing.assert_allclose(moved, expected, atol=3e-4 * expected.max(), rtol=2e-3)


def test_the_mean_stays_true_over_many_steps() -> None:
    places = lane_places(LaneGraph.from_polylines([np.array([[0.0, 0], [300, 0]])]), 2.0)
    walker = LaneWalker(places, LaneMotion(restart=0.0, lane_change_per_m=0.0))
    anywhere = places.length_m / places.length_m.sum()
    for step_m in (0.7, 4.4, 5.0, 7.3):
        belief = np.zeros(len(places))
        belief[5] = 1
        for _ in range(20):
            belief = walker.predict(belief, SE2(step_m, 0, 0), anywhere)
        assert belief @ places.x_m == pytest.approx(places.x_m[5] + 20 * step_m, abs=1.5)
        spread = math.sqrt(belief @ (places.x_m - belief @ places.x_m) ** 2)
        assert spread == pytest.approx(math.sqrt(20 * (0.3**2 + (0.05 * step_m) ** 2 + 1)), rel=0.05)


def test_odometry_says_which_way_it_went_at_a_fork() -> None:
    places = lane_places(fork(), 2.0)
    anywhere = places.length_m / places.length_m.sum()
    walker = LaneWalker(places)
    start = np.zeros(len(places))
    start[nearest(places, 17, 0)] = 1
    straight = walker.predict(start, SE2(15, 0, 0), anywhere)
    assert straight[places.y_m < 0.5].sum() > 0.95
    left = walker.predict(start, SE2(11, 8, math.pi / 2), anywhere)
    assert left[places.y_m > 4].sum() > 0.95
    # a turn that no lane makes leaves the restart
    lost = walker.predict(start, SE2(8, -8, -math.pi / 2), anywhere)
    np.testing.assert_allclose(lost, anywhere, atol=1e-3)


def test_the_belief_follows_a_drive_without_seeing() -> None:
    graph = town_graph(3, 60.0)
    places = lane_places(graph)
    walker = LaneWalker(places)
    anywhere = places.length_m / places.length_m.sum()
    rng = np.random.default_rng(2)
    near = []
    for _ in range(6):
        poses = drive(graph, rng, 16)
        apart = np.hypot(places.x_m - poses[0].x_m, places.y_m - poses[0].y_m)
        belief = (apart < 4) * (np.abs(turn_between(poses[0].heading_rad, places.heading_rad)) < 0.3) * 1.0
        belief /= belief.sum()
        for before, after in pairwise(poses):
            belief = walker.predict(belief, before.inverse() @ after, anywhere)
        near.append(belief[np.hypot(places.x_m - poses[-1].x_m, places.y_m - poses[-1].y_m) < 15].sum())
    assert np.median(near) > 0.7, near


def test_arcs_and_bad_steps() -> None:
    radius, turn = 12.0, 0.8
    chord = SE2(radius * math.sin(turn), radius * (1 - math.cos(turn)), turn)
    assert driven_m(chord) == pytest.approx(radius * turn)
    assert driven_m(SE2(-2, 0, 0)) == -2
    places = lane_places(fork())
    walker = LaneWalker(places)
    even = places.length_m / places.length_m.sum()
    with pytest.raises(PoseInputError, match="finite"):
        walker.predict(even, SE2(float("nan"), 0, 0), even)
    with pytest.raises(PoseInputError, match="200 m"):
        walker.predict(even, SE2(200, 0, 0), even)
    with pytest.raises(ConfigError, match="lane motion distance_m"):
        LaneMotion(distance_m=-1.0)
    with pytest.raises(ConfigError, match="restart"):
        LaneMotion(restart=0.9)


def test_mirrored_places_are_those_of_the_mirrored_graph_driven_backwards() -> None:
    graph = town_graph(3, 40.0)
    backwards = LaneGraph(graph.vertices_m * [-1.0, 1.0], graph.edges[:, ::-1].copy(), graph.kind)
    found, true = lane_places(graph, 2.0).mirrored(), lane_places(backwards, 2.0)
    assert len(found) == len(true)
    same = np.array([nearest_pose(true, found, n) for n in range(len(found))])
    assert len(set(same.tolist())) == len(found)
    np.testing.assert_allclose(found.positions_m, true.positions_m[same], atol=0.05)
    np.testing.assert_allclose(turn_between(found.heading_rad, true.heading_rad[same]), 0.0, atol=0.05)
    for n in range(0, len(found), 7):
        assert {int(same[m]) for m in follow(found, n)} == set(follow(true, int(same[n])))


def nearest_pose(places: LanePlaces, others: LanePlaces, n: int) -> int:
    apart = np.hypot(places.x_m - others.x_m[n], places.y_m - others.y_m[n])
    return int(np.argmin(apart + 5 * np.abs(turn_between(places.heading_rad, others.heading_rad[n]))))
