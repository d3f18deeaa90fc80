"""The street localizer in a town and on real lane graphs, with an embedding that a blurred raster makes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from street_world import DIM, Streets, aerial_graph, drive, error, noisy, odometry, streets, town_graph, unit

from foldmap.errors import ConfigError, MapInputError, PoseInputError
from foldmap.geometry import SE2
from foldmap.localize.estimate import Status
from foldmap.localize.street.calibrate import calibrated, fit_temperature, near_truth
from foldmap.localize.street.estimate import StreetDiagnostics, StreetThresholds, decide
from foldmap.localize.street.lane_places import lane_places
from foldmap.localize.street.localizer import StreetLocalizer
from foldmap.localize.street.settings import StreetPrior, StreetSettings
from foldmap.street.source import LaneGraph

NOISE = 0.8


def calibrate(town: Streets, seed: int) -> StreetSettings:
    rng = np.random.default_rng(seed)
    poses = [pose for _ in range(8) for pose in drive(town.graph, rng, 12)]
    similarity = noisy(town.raster(poses), NOISE, rng) @ town.embeddings.T
    truth = np.array([(p.x_m, p.y_m, p.heading_rad) for p in poses])
    return calibrated(StreetSettings(), similarity, near_truth(town.places, truth), town.places.length_m)


@pytest.fixture(scope="module")
def town() -> Streets:
    return streets(town_graph(3, 60.0))


@pytest.fixture(scope="module")
def localizer(town: Streets) -> StreetLocalizer:
    return StreetLocalizer(town.places, town.embeddings, calibrate(town, 1))


def test_a_clean_observation_is_found_at_its_place(town: Streets, localizer: StreetLocalizer) -> None:
    rng = np.random.default_rng(3)
    right, asked = 0, rng.choice(len(town.places), 60, replace=False)
    for place in asked:
        estimate = localizer.localize(town.embeddings[place])
        metres, turn = error(estimate.guess, town.places.pose(int(place)))
        right += metres < 5 and turn < 0.3
        assert estimate.belief.sum() == pytest.approx(1)
    assert right >= 0.7 * len(asked)  # straight roads look alike all along


def test_a_belief_is_bayes_rule(town: Streets, localizer: StreetLocalizer) -> None:
    query, settings = noisy(town.embeddings[100], 0.5, np.random.default_rng(0)), localizer.settings
    prior = StreetPrior(float(town.places.x_m[100]) + 20, float(town.places.y_m[100]), 64.0, 0.3, 1.0)
    belief = localizer.localize(query, prior).belief
    weights, raised = [], []
    for n in range(len(town.places)):
        pose = town.places.pose(n)
        inside = math.hypot(pose.x_m - prior.x_m, pose.y_m - prior.y_m) <= 64
        turn = math.remainder(pose.heading_rad - 0.3, 2 * math.pi)
        weights.append(inside * town.places.length_m[n] * math.exp(-0.5 * turn**2))
        raised.append(math.exp(float(np.dot(query, town.embeddings[n])) / settings.temperature))
    share = np.array(weights) / np.sum(weights)
    soft = np.array(raised) / (share @ raised)
    expected = share * ((1 - settings.outlier_share) * soft + settings.outlier_share)
    np.testing.assert_allclose(belief, expected / expected.sum(), rtol=1e-3, atol=1e-9)


def test_single_images_with_and_without_a_prior(town: Streets, localizer: StreetLocalizer) -> None:
    rng = np.random.default_rng(4)
    poses = [pose for _ in range(6) for pose in drive(town.graph, rng, 10)]
    found = {True: [], False: []}
    mass, inside = [], []
    for pose, query in zip(poses, noisy(town.raster(poses), NOISE, rng), strict=True):
        disc = StreetPrior(pose.x_m + rng.uniform(-30, 30), pose.y_m + rng.uniform(-30, 30), 64.0)
        for prior in (None, disc):
            estimate = localizer.localize(query, prior)
            metres, turn = error(estimate.guess, pose)
            found[prior is None].append(metres <= 5)
            mass.append(estimate.diagnostics.mode_mass)
            inside.append(metres <= 15 and turn <= math.radians(45))
            if estimate.status is Status.OK:
                assert metres < 15
            if estimate.pose is not None and metres < 15:
                off = np.array([pose.x_m - estimate.pose.x_m, pose.y_m - estimate.pose.y_m])
                assert off @ np.linalg.solve(estimate.covariance[:2, :2], off) < 25
    assert np.mean(found[False]) >= 0.5
    assert np.mean(found[False]) >= np.mean(found[True]) >= 0.25
    # calibrated: on average the modes hold about as much truth as they say
    assert np.mean(mass) == pytest.approx(np.mean(inside), abs=0.15)


def test_a_drive_is_found_anywhere_in_the_town(town: Streets, localizer: StreetLocalizer) -> None:
    rng = np.random.default_rng(5)
    single, late, wrong_ok = [], [], 0
    for _ in range(6):
        poses = drive(town.graph, rng, 20)
        tracker = localizer.start()
        seen = noisy(town.raster(poses), NOISE, rng)
        for frame, (pose, moved, query) in enumerate(zip(poses, odometry(poses, rng), seen, strict=True)):
            estimate = tracker.step(query, moved)
            metres, turn = error(estimate.guess, pose)
            wrong_ok += estimate.status is Status.OK and metres > 15
            if frame >= 10:
                single.append(error(localizer.localize(query).guess, pose)[0] <= 5)
                late.append((metres <= 5 and turn < 0.3, estimate.status.has_pose))
    assert np.mean([right for right, _ in late]) >= 0.85
    assert np.mean([right for right, _ in late]) > np.mean(single)
    assert np.mean([answered for _, answered in late]) >= 0.6
    assert wrong_ok <= 2


def test_a_straight_road_is_ambiguous_along_itself() -> None:
    road = streets(LaneGraph.from_polylines([np.array([[0.0, 0], [300, 0]])]))
    localizer = StreetLocalizer(road.places, road.embeddings)
    whole = localizer.localize(road.embeddings[75])
    assert whole.status is Status.AMBIGUOUS
    assert whole.pose is None
    assert whole.diagnostics.mode_mass < 0.3
    near = localizer.localize(road.embeddings[75], StreetPrior(151.0, 0.0, 12.0))
    assert near.status is Status.DEGRADED
    assert near.diagnostics.along_m > 5 > 1 > near.diagnostics.across_m
    assert near.covariance[0, 0] > 25 * near.covariance[1, 1]
    tracker = localizer.start()
    for step in range(20):
        estimate = tracker.step(road.embeddings[40], None if step == 0 else SE2(5, 0, 0))
    # the road's end is 300 m away: only the last 100 m can be told apart from the rest by having driven
    assert estimate.status in (Status.AMBIGUOUS, Status.DEGRADED)


def test_a_journey_begins_the_street_again_after_a_way_too_long_to_follow_unseen() -> None:
    from foldmap.localize.journey.coarse import Coarse

    road = streets(LaneGraph.from_polylines([np.array([[0.0, 0], [300, 0]])]))
    coarse = Coarse(StreetLocalizer(road.places, road.embeddings))
    assert coarse.look(road.embeddings[10]) is not None
    for _ in range(208):
        coarse.move(SE2(1.0, 0.0, 0.0), True)
    found = coarse.look(road.embeddings[75])
    assert found is not None
    assert found.status is not Status.OK  # as at the start: this road is alike along itself


def test_two_streets_alike_are_ambiguous_until_a_disc_tells_them_apart() -> None:
    corner = np.array([[0.0, 0], [30, 0], [30, 30]])
    twin = streets(LaneGraph.from_polylines([corner, corner + np.array([500.0, 0.0])]))
    localizer = StreetLocalizer(twin.places, twin.embeddings)
    at = int(np.argmin(np.hypot(twin.places.x_m - 29, twin.places.y_m)))
    both = localizer.localize(twin.embeddings[at])
    assert both.status is Status.AMBIGUOUS
    assert both.diagnostics.mode_mass == pytest.approx(0.5, abs=0.05)
    assert abs(both.diagnostics.margin) < 0.1
    one = localizer.localize(twin.embeddings[at], StreetPrior(20.0, 0.0, 64.0))
    assert one.status.has_pose
    assert error(one.pose, twin.places.pose(at))[0] < 3
    assert one.diagnostics.prior_distance_m == pytest.approx(9, abs=3)


def test_what_fits_nowhere_is_no_match(localizer: StreetLocalizer) -> None:
    strange = unit(np.random.default_rng(1).standard_normal(DIM))
    estimate = localizer.localize(strange)
    assert estimate.status in (Status.NO_MATCH, Status.AMBIGUOUS)
    assert (
        estimate.status is Status.NO_MATCH or estimate.diagnostics.score >= localizer.settings.thresholds.reject_score
    )
    tracker = localizer.start()
    states = [tracker.step(strange, SE2(1, 0, 0)).status for _ in range(8)]
    assert states[-1] is Status.NO_MATCH
    assert Status.OK not in states


def test_one_wrong_frame_does_not_move_a_sure_belief_and_many_do(town: Streets, localizer: StreetLocalizer) -> None:
    rng = np.random.default_rng(8)
    poses = drive(town.graph, rng, 16)
    tracker = localizer.start(StreetPrior(poses[0].x_m, poses[0].y_m, 6.0, poses[0].heading_rad))
    moves, seen = odometry(poses, rng), noisy(town.raster(poses), 0.3, rng)
    for moved, query in zip(moves[:10], seen[:10], strict=True):
        tracker.step(query, moved)
    far = int(np.argmax(np.hypot(town.places.x_m - poses[10].x_m, town.places.y_m - poses[10].y_m)))
    wrong = tracker.step(town.embeddings[far], moves[10])
    assert error(wrong.guess, poses[10])[0] < 15
    blind = tracker.step(None, moves[11])
    assert blind.status is not Status.OK
    assert error(blind.guess, poses[11])[0] < 15
    other = drive(town.graph, np.random.default_rng(99), 20)
    for moved, query in zip(odometry(other, rng), noisy(town.raster(other), 0.3, rng), strict=True):
        estimate = tracker.step(query, moved)
    assert error(estimate.guess, other[-1])[0] < 5


def test_no_map_and_bad_input(town: Streets, localizer: StreetLocalizer) -> None:
    nowhere = localizer.localize(town.embeddings[0], StreetPrior(1e6, 0.0, 64.0))
    assert (nowhere.status, nowhere.guess, nowhere.pose) == (Status.NO_MAP, None, None)
    assert "within the prior" in nowhere.diagnostics.reason
    empty = StreetLocalizer(lane_places(LaneGraph.empty()), np.zeros((0, DIM), np.float32))
    assert empty.localize(town.embeddings[0]).status is Status.NO_MAP
    with pytest.raises(PoseInputError, match="no lane to start"):
        empty.start()
    with pytest.raises(PoseInputError, match="no lane to start"):
        localizer.start(StreetPrior(1e6, 0.0, 64.0))
    with pytest.raises(MapInputError, match="places"):
        StreetLocalizer(town.places, town.embeddings[:-1])
    with pytest.raises(MapInputError, match="not 1"):
        StreetLocalizer(town.places, 2 * town.embeddings)
    with pytest.raises(MapInputError, match="width"):
        localizer.localize(town.embeddings[0, :-1])
    tracker = localizer.start()
    before = tracker.belief
    with pytest.raises(MapInputError, match="nan"):
        tracker.step(np.full(DIM, np.nan, np.float32), SE2(1, 0, 0))
    with pytest.raises(PoseInputError, match="finite"):
        tracker.step(town.embeddings[0], SE2(math.inf, 0, 0))
    np.testing.assert_array_equal(tracker.belief, before)
    for bad in ({"temperature": 0.0}, {"frame_weight": 0.0}, {"outlier_share": 1.0}):
        with pytest.raises(ConfigError):
            StreetSettings(**bad)
    with pytest.raises(ConfigError, match="reject_mass"):
        StreetThresholds(reject_mass=math.nan)
    with pytest.raises(PoseInputError, match="prior"):
        StreetPrior(0.0, 0.0, -1.0)


def test_the_temperature_of_a_known_softmax_is_recovered() -> None:
    """Truth drawn from the softmax itself: its temperature is the most likely one."""
    rng = np.random.default_rng(0)
    similarity = rng.uniform(-1, 1, (3000, 40))
    logits = similarity / 0.2
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    drawn = (share.cumsum(1) > rng.random((3000, 1))).argmax(1)
    near = np.zeros((3000, 40), bool)
    near[np.arange(3000), drawn] = True
    assert fit_temperature(similarity, near, np.ones(40)) == pytest.approx(0.2, rel=0.08)
    with pytest.raises(ConfigError, match="calibrate with 20"):
        fit_temperature(similarity[:19], near[:19], np.ones(40))
    with pytest.raises(ConfigError, match="similarities"):
        fit_temperature(similarity, near[:, 1:], np.ones(40))


def test_real_lane_graphs(shared_data: Path) -> None:
    tile = streets(aerial_graph(shared_data, 1))
    localizer = StreetLocalizer(tile.places, tile.embeddings, calibrate(tile, 1))
    rng = np.random.default_rng(2)
    late, wrong_ok = [], 0
    for _ in range(3):
        poses = drive(tile.graph, rng, 20)
        tracker = localizer.start()
        for pose, moved, query in zip(poses, odometry(poses, rng), noisy(tile.raster(poses), NOISE, rng), strict=True):
            estimate = tracker.step(query, moved)
            wrong_ok += estimate.status is Status.OK and error(estimate.guess, pose)[0] > 15
        late.append(error(estimate.guess, poses[-1])[0])
    assert max(late) <= 5, late
    assert wrong_ok == 0


def test_a_path_that_fits_too_little_is_not_answered() -> None:
    """Each window may fit somewhere; their mean over ten tells a foreign town."""
    fits = StreetDiagnostics(score=0.9, mode_mass=0.99, margin=9.0, sigma_m=1.0, frames_unmatched=0, path_score=0.9)
    strict = StreetThresholds(reject_path_score=0.95)
    assert decide(fits, StreetThresholds())[0] is Status.OK
    assert decide(fits, strict)[0] is Status.AMBIGUOUS
    assert decide(replace(fits, path_score=None), strict)[0] is Status.OK
    assert decide(replace(fits, path_score=0.96), strict)[0] is Status.OK
