"""The localizer over time: drives, outages, kidnapping, GPS."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from foldmap.errors import ConfigError, ModelError, PoseInputError
from foldmap.geometry import SE2
from foldmap.localize.estimate import Status
from foldmap.localize.lidar.confidence import ConfidenceThresholds
from foldmap.localize.lidar.histogram import BeliefGrid
from foldmap.localize.lidar.localizer import LidarFilter, LidarLocalizer, LidarSettings, _log_likelihood

TRUE_STEP = SE2(0.4, 0.0, 0.03)
START = SE2(522.0, -230.0, 0.6)
SEED = 100


def _apart_m(pose: SE2 | None, truth: SE2) -> float:
    assert pose is not None
    return math.hypot(pose.x_m - truth.x_m, pose.y_m - truth.y_m)


class _Drive:
    """A true pose that drives an arc, with odometry that errs by 2 % and some jitter."""

    def __init__(self, world) -> None:
        self.world, self.truth, self.count = world, START, 0
        self.rng = np.random.default_rng(SEED)

    def move(self) -> SE2:
        self.truth, self.count = self.truth @ TRUE_STEP, self.count + 1
        x, y, turn = self.rng.normal(0.0, [0.004, 0.004, 0.0005])
        return SE2(TRUE_STEP.x_m * 1.02 + x, y, TRUE_STEP.heading_rad + turn)

    def look(self, noise: float = 1.5):
        return self.world.look(self.truth, noise, SEED + 2 * self.count)


@pytest.fixture
def drive(world) -> tuple[_Drive, LidarFilter]:
    return _Drive(world), LidarLocalizer.open(world).start(START @ SE2(0.25, -0.2, 0.015))


def test_a_drive_an_outage_and_back(drive) -> None:
    vehicle, running = drive
    errors = []
    for _ in range(8):
        odometry = vehicle.move()
        estimate = running.step(vehicle.look(), odometry, 0.1)
        assert estimate.status is Status.OK
        errors.append(_apart_m(estimate.pose, vehicle.truth))
    assert max(errors) < 0.04
    sigmas = []
    for _ in range(12):
        estimate = running.step(None, vehicle.move(), 0.1)
        assert estimate.status is Status.DEGRADED
        sigmas.append(estimate.diagnostics.sigma_m)
        assert _apart_m(estimate.pose, vehicle.truth) < 2 * sigmas[-1] + 0.02  # 2 % of the way, step upon step
    assert all(b > a for a, b in itertools.pairwise(sigmas))
    assert estimate.diagnostics.lidar_age_s == pytest.approx(1.2)
    odometry = vehicle.move()
    estimate = running.step(vehicle.look(), odometry, 0.1)
    assert estimate.status is Status.OK
    assert _apart_m(estimate.pose, vehicle.truth) < 0.04


def test_a_stale_observation_is_not_believed_at_once_and_forgotten_soon(drive) -> None:
    vehicle, running = drive
    for k in range(8):
        stale = vehicle.look()
        odometry = vehicle.move()
        estimate = running.step(stale if k == 4 else vehicle.look(), odometry, 0.1)
        assert (estimate.status is Status.OK) == (k != 4)
        assert k == 4 or _apart_m(estimate.pose, vehicle.truth) < 0.04


def test_no_pose_before_lidar_confirms(world, other_world) -> None:
    running = LidarLocalizer.open(world).start(START)
    estimate = running.step(None)
    assert estimate.status is Status.NO_OBSERVATION
    estimate = running.step(other_world.look(START, 0.5, 3))
    assert estimate.status is Status.NO_MATCH
    assert running.step(world.look(START, 0.5, 5)).status is Status.OK


def _unsure(localizer: LidarLocalizer, distinction: float) -> LidarLocalizer:
    """Whose matches peak where they do, and are not sure of it."""
    own = localizer.attempt_window

    def attempt_window(*args, **kwargs):
        found = own(*args, **kwargs)
        features = replace(found.match.features, agreement=0.3, sigma_m=1.0, distinction=distinction)
        estimate = replace(found.estimate, status=Status.DEGRADED)
        match = replace(found.match, features=features, temperature=10 * found.match.temperature)
        return replace(found, estimate=estimate, match=match)

    localizer.attempt_window = attempt_window  # type: ignore[method-assign]
    return localizer


def test_one_match_that_is_only_of_this_place_confirms_and_counts_once_on_its_ground(world) -> None:
    prior = START @ SE2(0.1, -0.1, 0.0)
    plain = _unsure(LidarLocalizer.open(world), 1.0).start(prior, 0.2)
    assert plain.step(world.look(START, 3.0, 1)).status is Status.AMBIGUOUS
    running = _unsure(LidarLocalizer.open(world), 6.0).start(prior, 0.2)
    first = running.step(world.look(START, 3.0, 1))
    assert first.status is Status.DEGRADED
    assert _apart_m(first.pose, START) < 0.05
    held = first.diagnostics.sigma_m
    assert held < 0.6 * plain.belief.mean_and_covariance()[1][0, 0] ** 0.5
    standing = [running.step(world.look(START, 3.0, 2 + k)).diagnostics.sigma_m for k in range(4)]
    assert min(standing) > 0.99 * held  # nothing new is seen from where it stands
    assert running.step(world.look(START, 3.0, 9)).status is Status.DEGRADED


def test_a_share_of_a_match_tells_across_the_street_where_a_wrong_place_along_it_stands_out() -> None:
    belief = BeliefGrid.gaussian(SE2(0.0, 0.0, 0.0), np.diag([0.3**2, 0.3**2, 0.01**2]), 1.0, 3, 0.1)
    rows, columns = np.mgrid[-8:9, -8:9]
    ridge = 40.0 * np.exp(-0.5 * (rows - 4) ** 2) + 30.0 * ((rows == 4) & (columns == 7))  # 0.4 m to the right
    volume = np.stack([ridge] * 3).astype(np.float32)
    match = SimpleNamespace(volume=volume, temperature=1.0, sharpened=lambda least: volume)
    share, floor = 0.04, 1e-3
    told = _log_likelihood(belief, match, floor, share)
    reached = np.log(floor + (1 - floor) * np.exp(share * (volume - volume.max())))
    expected = np.full(belief.probability.shape, reached.min())  # the search is 2 cells narrower
    expected[:, 2:-2, 2:-2] = reached
    np.testing.assert_allclose(told, expected, atol=1e-5)
    for _ in range(5):
        belief = belief.updated(told)
    _, covariance = belief.mean_and_covariance()
    plane = belief.probability.sum(0)
    assert plane.sum(1).argmax() == 14
    assert plane.sum(1)[13:16].sum() > 0.95
    assert covariance[0, 0] > 4 * covariance[1, 1]
    np.testing.assert_array_equal(_log_likelihood(belief, match, floor, 0.0), 0.0)


def test_off_the_map_says_no_map_once_dead_reckoning_is_spent(world) -> None:
    edge = SE2(549.0, -225.0, 0.0)
    settings = LidarSettings(lost_sigma_m=0.3, warn_sigma_m=0.1)
    running = LidarLocalizer.open(world, settings).start(edge)
    assert running.step(world.look(edge, 0.3, 1)).pose is not None
    statuses = []
    for _ in range(40):
        edge = edge @ SE2(3.0, 0.0, 0.0)
        statuses.append(running.step(world.look(edge, 0.3, 1), SE2(3.0, 0.0, 0.0), 0.1).status)
    assert statuses[-1] is Status.NO_MAP
    first = statuses.index(Status.NO_MAP)
    assert set(statuses[2:first]) == {Status.DEGRADED}
    assert set(statuses[first:]) == {Status.NO_MAP}


def test_kidnapped_it_never_says_ok_wrongly_and_gps_brings_it_back(world) -> None:
    running = LidarLocalizer.open(world).start(START)
    assert running.step(world.look(START, 0.5, 1)).status is Status.OK
    away = START @ SE2(9.0, 3.0, 0.02)
    for k in range(14):
        estimate = running.step(world.look(away, 0.5, 10 + k))
        assert estimate.status is not Status.OK
    fix = (away.x_m + 0.4, away.y_m - 0.5, 0.6)
    running.step(world.look(away, 0.5, 40), SE2(0.0, 0.0, 0.0), 0.1, gps=fix)
    estimate = running.step(world.look(away, 0.5, 42), SE2(0.0, 0.0, 0.0), 0.1, gps=fix)
    assert estimate.status is Status.OK
    assert _apart_m(estimate.pose, away) < 0.04


def test_a_wild_gps_fix_does_not_move_a_confirmed_belief(drive) -> None:
    vehicle, running = drive
    for k in range(4):
        odometry = vehicle.move()
        gps = (vehicle.truth.x_m + 25.0 * (k == 3), vehicle.truth.y_m, 1.0)
        estimate = running.step(vehicle.look(), odometry, 0.1, gps=gps)
        assert estimate.status is Status.OK
        assert _apart_m(estimate.pose, vehicle.truth) < 0.04


def test_misuse_is_refused(world) -> None:
    with pytest.raises(PoseInputError):
        LidarLocalizer.open(world).start(SE2(0.0, math.nan, 0.0))
    running = LidarLocalizer.open(world).start(START)
    with pytest.raises(ConfigError):
        running.step(None, SE2(0.0, 0.0, 0.0), -0.1)
    with pytest.raises(PoseInputError):
        running.step(None, SE2(0.0, 0.0, 0.0), 0.1, gps=(0.0, 0.0, -1.0))
    with pytest.raises(ConfigError):
        LidarSettings(min_radius_m=3.0, max_radius_m=2.0)


class _Modelled:
    """The world as a folded map with a model that was calibrated."""

    def __init__(self, world, stored: dict[str, float] | None) -> None:
        self.model, self._world = SimpleNamespace(thresholds=stored), world

    def __getattr__(self, name: str):
        return getattr(self._world, name)


def test_thresholds_are_those_in_the_file_unless_others_are_given(world) -> None:
    usual, strict = ConfidenceThresholds(), ConfidenceThresholds(reject_evidence_sigma=1e6)
    seen, prior = world.look(START, 1.5, SEED), START @ SE2(0.1, 0.1, 0.0)

    def status(localizer: LidarLocalizer) -> tuple[Status, Status]:
        return localizer.localize(seen, prior).status, localizer.start(prior).step(seen).status

    accepted = status(LidarLocalizer.open(world))
    assert accepted == (Status.OK, Status.OK)
    assert status(LidarLocalizer.open(_Modelled(world, None))) == accepted
    assert status(LidarLocalizer.open(_Modelled(world, strict.to_dict())))[0] is Status.NO_MATCH
    assert (
        status(LidarLocalizer.open(_Modelled(world, strict.to_dict()), LidarSettings(alpha=2.0)))[0] is Status.NO_MATCH
    )
    assert status(LidarLocalizer.open(_Modelled(world, strict.to_dict())))[1] is not Status.OK
    given = LidarSettings(thresholds=usual)
    assert status(LidarLocalizer.open(_Modelled(world, strict.to_dict()), given)) == accepted
    with pytest.raises(ModelError, match="thresholds"):
        LidarLocalizer.open(_Modelled(world, {"reject_score": 0.1}))
