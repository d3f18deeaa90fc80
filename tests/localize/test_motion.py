"""Motion against sampling and against integration."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2
from foldmap.localize.motion import MotionNoise, compose_gaussian, increment_covariance, velocity_increment


def test_an_arc_equals_many_small_straight_steps() -> None:
    pose = SE2(0.0, 0.0, 0.0)
    for _ in range(20000):
        pose = pose @ SE2(12.0 * 0.5 / 20000, 0.0, 0.4 * 0.5 / 20000)
    arc = velocity_increment(12.0, 0.4, 0.5)
    assert (arc.x_m, arc.y_m, arc.heading_rad) == pytest.approx((pose.x_m, pose.y_m, pose.heading_rad), abs=1e-4)
    straight = velocity_increment(12.0, 1e-12, 0.5)
    assert (straight.x_m, straight.y_m) == pytest.approx((6.0, 0.0), abs=1e-9)


def test_gaussian_composition_agrees_with_sampling() -> None:
    rng = np.random.default_rng(0)
    pose, increment = SE2(3.0, -2.0, 2.1), SE2(1.5, 0.1, 0.08)
    covariance = np.array([[0.02, 0.005, 0.0], [0.005, 0.01, 0.001], [0.0, 0.001, 0.0009]])
    sigma = increment_covariance(increment, 0.1, MotionNoise(0.05, 0.03, 0.01, 0.001, 0.05))
    mean, predicted = compose_gaussian(pose, covariance, increment, sigma)
    poses = rng.multivariate_normal([pose.x_m, pose.y_m, pose.heading_rad], covariance, 100_000)
    noise = rng.multivariate_normal(np.zeros(3), sigma, 100_000)
    # The noise acts in the frame at the increment's end: x (+) u (+) noise.
    after = []
    for start, jitter in zip(poses[:20_000], noise, strict=False):
        end = SE2(*start) @ increment @ SE2(*jitter)
        after.append((end.x_m, end.y_m, end.heading_rad))
    samples = np.array(after)
    assert samples.mean(0) == pytest.approx([mean.x_m, mean.y_m, mean.heading_rad], abs=4e-3)
    np.testing.assert_allclose(np.cov(samples.T), predicted, atol=6e-4)


def test_noise_grows_with_way_turn_and_time() -> None:
    noise = MotionNoise()
    still = increment_covariance(SE2(0.0, 0.0, 0.0), 0.1, noise)
    assert np.linalg.eigvalsh(still).min() > 0
    assert (np.diag(increment_covariance(SE2(1.0, 0.0, 0.1), 0.1, noise)) > np.diag(still)).all()
    assert (np.diag(increment_covariance(SE2(0.0, 0.0, 0.0), 1.0, noise)) > np.diag(still)).all()


def test_bad_motion_is_refused() -> None:
    with pytest.raises(ConfigError):
        MotionNoise(position_m=-1.0)
    with pytest.raises(PoseInputError):
        velocity_increment(1.0, 0.0, -0.1)
    with pytest.raises(PoseInputError):
        compose_gaussian(SE2(0, 0, 0), np.eye(3), SE2(math.nan, 0, 0), np.eye(3))
