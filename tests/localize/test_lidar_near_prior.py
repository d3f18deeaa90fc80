"""One observation from a prior: right where it answers, silent where it cannot know."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2, wrap_rad
from foldmap.lidar.observation import Observation
from foldmap.localize.estimate import Status
from foldmap.localize.lidar.localizer import LidarLocalizer

CENTRE = (525.0, -225.0)


def _error(estimate, truth: SE2) -> np.ndarray:
    assert estimate.pose is not None
    pose = estimate.pose
    return np.array([pose.x_m - truth.x_m, pose.y_m - truth.y_m, wrap_rad(pose.heading_rad - truth.heading_rad)])


def test_right_queries_are_found_and_their_covariance_holds(world) -> None:
    rng = np.random.default_rng(3)
    normalized = []
    for k in range(12):
        truth = SE2(CENTRE[0] + rng.uniform(-5, 5), CENTRE[1] + rng.uniform(-5, 5), rng.uniform(-math.pi, math.pi))
        offset = SE2(*rng.uniform(-1, 1, 2), math.radians(rng.uniform(-5, 5)))
        estimate = LidarLocalizer.open(world).localize(world.look(truth, 2.0, 10 * k), truth @ offset.inverse())
        assert estimate.status is Status.OK
        error = _error(estimate, truth)
        assert np.hypot(*error[:2]) < 0.03
        assert abs(error[2]) < math.radians(0.3)
        assert estimate.covariance is not None
        normalized.append(error @ np.linalg.solve(estimate.covariance, error))
        assert estimate.diagnostics.prior_distance_m == pytest.approx(math.hypot(offset.x_m, offset.y_m), abs=0.1)
    # Chi-square with three degrees of freedom has its median at 2.4 and its 99.9 % point at 16.
    assert np.median(normalized) < 6
    assert max(normalized) < 25


def test_noiseless_queries_are_found_to_millimetres(world) -> None:
    truth = SE2(CENTRE[0] + 0.013, CENTRE[1] - 0.021, 0.7)
    estimate = LidarLocalizer.open(world).localize(world.look(truth, 0.0, 1, 1.0), truth @ SE2(0.337, -0.412, 0.05))
    error = _error(estimate, truth)
    assert np.hypot(*error[:2]) < 0.005
    assert abs(error[2]) < math.radians(0.05)


def test_a_wide_search_finds_what_a_narrow_one_cannot(world, other_world) -> None:
    truth = SE2(*CENTRE, 1.0)
    prior = truth @ SE2(4.6, -3.1, 0.04)
    observation = world.look(truth, 1.0, 5)
    assert LidarLocalizer.open(world).localize(observation, prior).pose is None
    wide = LidarLocalizer.open(world).localize(observation, prior, radius_m=6.0)
    assert wide.status is Status.OK
    assert np.hypot(*_error(wide, truth)[:2]) < 0.03
    assert wide.diagnostics.prior_distance_m == pytest.approx(math.hypot(4.6, 3.1), abs=0.05)
    assert LidarLocalizer.open(other_world).localize(observation, prior, radius_m=6.0).pose is None


def test_a_pose_at_the_rim_of_the_radius_is_found_and_one_beyond_is_not(world) -> None:
    truth = SE2(*CENTRE, -0.4)
    observation = world.look(truth, 0.5, 7)
    at_rim = LidarLocalizer.open(world).localize(observation, truth @ SE2(1.0, 1.0, math.radians(5.0)).inverse())
    assert at_rim.status is Status.OK
    assert LidarLocalizer.open(world).localize(observation, truth @ SE2(1.6, 0.0, 0.0)).pose is None


def test_off_the_map_and_blank(world) -> None:
    truth = SE2(*CENTRE, 0.0)
    observation = world.look(truth, 0.5, 8)
    far = LidarLocalizer.open(world).localize(observation, SE2(900.0, 900.0, 0.0))
    assert far.status is Status.NO_MAP
    blank = Observation(np.zeros_like(observation.intensity), np.zeros_like(observation.observed), 0.05, 6.0, 5.0)
    assert LidarLocalizer.open(world).localize(blank, truth).status is Status.NO_OBSERVATION
    constant = replace(observation, intensity=np.full_like(observation.intensity, 0.7))
    assert LidarLocalizer.open(world).localize(constant, truth).pose is None


def test_half_off_the_map_still_works(world) -> None:
    truth = SE2(500.5, -225.0, 0.3)
    estimate = LidarLocalizer.open(world).localize(world.look(truth, 0.5, 9), truth @ SE2(0.3, 0.2, 0.02))
    assert estimate.pose is not None
    assert np.hypot(*_error(estimate, truth)[:2]) < 0.03
    assert estimate.diagnostics.observed_fraction is not None
    assert 0.3 < estimate.diagnostics.observed_fraction < 0.55


def test_only_the_reach_is_decoded(world) -> None:
    world.asked.clear()
    truth = SE2(*CENTRE, 0.0)
    LidarLocalizer.open(world).localize(world.look(truth, 0.5, 8), truth)
    # 240 x 200 px, twice 20 + 3 px of search, 3 + 1 of interpolation.
    assert [grid.shape for grid in world.asked] == [(200 + 46 + 8, 240 + 46 + 8)]


def test_what_cannot_be_is_refused(world) -> None:
    truth = SE2(*CENTRE, 0.0)
    observation = world.look(truth, 0.5, 8)
    with pytest.raises(PoseInputError):
        LidarLocalizer.open(world).localize(observation, SE2(math.nan, 0.0, 0.0))
    with pytest.raises(ConfigError):
        LidarLocalizer.open(world).localize(observation, truth, radius_m=-1.0)
    coarse = Observation(np.zeros((100, 120), np.float32), np.ones((100, 120), bool), 0.1, 6.0, 5.0)
    with pytest.raises(ConfigError, match="resolution"):
        LidarLocalizer.open(world).localize(coarse, truth)
