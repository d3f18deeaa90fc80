"""The filter against Kalman's equations, exact Bayes and plain sums."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2
from foldmap.localize.lidar.histogram import BeliefGrid
from foldmap.localize.motion import MotionNoise, increment_covariance

START = SE2(100.0, -50.0, 2.4)
COVARIANCE = np.array([[0.03, 0.01, 0.0006], [0.01, 0.02, 0.0], [0.0006, 0.0, 0.0003]])
CELL = np.diag([0.05**2, 0.05**2, math.radians(0.5) ** 2]) / 12


def compose_gaussian(pose: SE2, covariance: np.ndarray, increment: SE2, sigma: np.ndarray) -> tuple[SE2, np.ndarray]:
    """Mean and covariance of x (+) u to first order: eq. 3 applied to a Gaussian belief."""
    moved = pose @ increment
    carry = np.array([[1.0, 0.0, pose.y_m - moved.y_m], [0.0, 1.0, moved.x_m - pose.x_m], [0.0, 0.0, 1.0]])
    cos, sin = math.cos(moved.heading_rad), math.sin(moved.heading_rad)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return moved, carry @ covariance @ carry.T + turn @ sigma @ turn.T


def _grid(radius_m: float = 1.0, headings: int = 21) -> BeliefGrid:
    return BeliefGrid.gaussian(START, COVARIANCE, radius_m, headings)


def test_moments_of_the_start() -> None:
    pose, covariance = _grid(1.5, 25).mean_and_covariance()
    assert (pose.x_m, pose.y_m, pose.heading_rad) == pytest.approx((100.0, -50.0, 2.4))
    np.testing.assert_allclose(covariance - CELL, COVARIANCE, atol=2e-4)


@pytest.mark.parametrize("ahead_m2", [0.0, 0.003])
def test_prediction_follows_the_gaussian_over_a_drive(ahead_m2: float) -> None:
    belief = _grid(1.5, 25)
    mean, covariance = START, COVARIANCE
    noise = MotionNoise(0.05, 0.02, math.radians(0.3), math.radians(0.05), 0.02)
    for _ in range(8):
        increment = SE2(0.83, 0.02, 0.035)
        sigma = increment_covariance(increment, 0.1, noise)
        belief = belief.predict(increment, sigma, ahead_m2)
        mean, covariance = compose_gaussian(mean, covariance, increment, sigma + np.diag([ahead_m2, 0.0, 0.0]))
    pose, spread = belief.mean_and_covariance()
    assert (pose.x_m, pose.y_m) == pytest.approx((mean.x_m, mean.y_m), abs=0.01)
    assert pose.heading_rad == pytest.approx(mean.heading_rad, abs=1e-3)
    np.testing.assert_allclose(spread - CELL, covariance, atol=0.08 * covariance[0, 0])


def test_standing_still_without_noise_changes_nothing() -> None:
    belief = _grid()
    moved = belief.predict(SE2(0.0, 0.0, 0.0), np.zeros((3, 3)))
    np.testing.assert_allclose(moved.probability, belief.probability, rtol=1e-12)
    assert moved.centre.heading_rad == pytest.approx(2.4)
    assert (moved.centre.x_m, moved.centre.y_m) == (100.0, -50.0)


def test_mass_is_kept_and_the_grid_follows_a_drift_between_modes() -> None:
    belief = _grid(0.6, 5)
    weight = np.zeros_like(belief.probability)
    weight[2, 3, 20] = 1.0
    east, north, _ = belief.offsets()
    belief = BeliefGrid(belief.centre, belief.resolution_m, belief.heading_step_rad, weight).recentred()
    assert belief.probability[2, 12, 12] == 1.0
    assert belief.centre.x_m == pytest.approx(100.0 + float(np.ravel(east)[20]))
    assert belief.centre.y_m == pytest.approx(-50.0 + float(np.ravel(north)[3]))


def test_update_is_bayes_rule() -> None:
    belief = _grid(0.3, 5)
    log_likelihood = np.random.default_rng(1).normal(0.0, 3.0, belief.probability.shape)
    expected = belief.probability * np.exp(log_likelihood)
    np.testing.assert_allclose(belief.updated(log_likelihood).probability, expected / expected.sum(), atol=1e-14)


def test_gps_update_equals_the_product_of_gaussians() -> None:
    belief = _grid(1.5, 25)
    fixed = belief.updated(belief.gps_log_likelihood(100.2, -50.3, 0.25))
    pose, covariance = fixed.mean_and_covariance()
    gain = COVARIANCE[:, :2] @ np.linalg.inv(COVARIANCE[:2, :2] + np.eye(2) * 0.25**2)
    expected = np.array([100.0, -50.0, 2.4]) + gain @ np.array([0.2, -0.3])
    assert np.array([pose.x_m, pose.y_m, pose.heading_rad]) == pytest.approx(expected, abs=3e-3)
    np.testing.assert_allclose(covariance - CELL, COVARIANCE - gain @ COVARIANCE[:2], atol=4e-4)


def test_alpha_goes_to_the_mode() -> None:
    belief = _grid(0.5, 3)
    weight = np.full_like(belief.probability, 1e-6)
    weight[1, 4, 15], weight[1, 16, 3] = 0.6, 0.4
    belief = BeliefGrid(belief.centre, belief.resolution_m, belief.heading_step_rad, weight / weight.sum())
    east, north, _ = (np.ravel(axis) for axis in belief.offsets())
    soft, _ = belief.mean_and_covariance()
    assert soft.x_m - 100.0 == pytest.approx(0.6 * east[15] + 0.4 * east[3], abs=0.01)
    sharp, _ = belief.mean_and_covariance(alpha=30.0)
    assert (sharp.x_m - 100.0, sharp.y_m + 50.0) == pytest.approx((east[15], north[4]), abs=1e-3)


def test_resizing_keeps_what_fits() -> None:
    belief = _grid(0.5, 5)
    wide = belief.resized(1.0, 9)
    assert wide.probability.shape == (9, 41, 41)
    np.testing.assert_allclose(wide.resized(0.5, 5).probability, belief.probability, rtol=1e-12)


def test_what_cannot_be_is_refused() -> None:
    belief = _grid(0.3, 3)
    with pytest.raises(PoseInputError, match="vanished"):
        belief.updated(np.full(belief.probability.shape, -np.inf))
    with pytest.raises(PoseInputError, match="GPS"):
        belief.gps_log_likelihood(0.0, 0.0, 0.0)
    with pytest.raises(PoseInputError):
        belief.predict(SE2(math.inf, 0.0, 0.0), np.zeros((3, 3)))
    with pytest.raises(PoseInputError):
        BeliefGrid.gaussian(START, np.zeros((3, 3)), 1.0, 5)
    with pytest.raises(ConfigError):
        belief.mean_and_covariance(alpha=0.0)
    with pytest.raises(ConfigError):
        BeliefGrid(START, 0.05, 0.01, np.ones((2, 3, 3)))


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
