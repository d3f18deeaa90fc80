"""Soft-argmax against Gaussians whose moments are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foldmap.errors import ConfigError
from foldmap.lidar.match.peak import pose_from_scores

HEADINGS = np.linspace(-0.1, 0.1, 21)


def _gaussian(mean: tuple[float, float, float], covariance: np.ndarray, radius: int = 20) -> np.ndarray:
    """Log density on the grid of a (2 radius + 1) window at 5 cm; mean in metres east, north and radians."""
    axis = np.arange(-radius, radius + 1) * 0.05
    heading, north, east = np.meshgrid(HEADINGS, -axis, axis, indexing="ij")
    offset = np.stack([east, north, heading], -1) - np.array(mean)
    return -0.5 * np.einsum("...i,ij,...j->...", offset, np.linalg.inv(covariance), offset)


def test_moments_of_a_gaussian_come_back() -> None:
    covariance = np.array([[0.006, 0.002, 0.0], [0.002, 0.004, 0.0003], [0.0, 0.0003, 0.0004]])
    peak = pose_from_scores(_gaussian((0.13, -0.31, 0.014), covariance), HEADINGS, 0.05, mode_radius_m=0.9)
    assert (peak.offset.x_m, peak.offset.y_m) == pytest.approx((0.13, -0.31), abs=2e-3)
    assert peak.offset.heading_rad == pytest.approx(0.014, abs=3e-4)
    floor = np.diag([0.05**2, 0.05**2, 0.01**2]) / 12
    np.testing.assert_allclose(peak.covariance, covariance + floor, atol=3e-4)
    assert not peak.at_edge


def test_alpha_sharpens_and_temperature_flattens() -> None:
    scores = _gaussian((0.0, 0.0, 0.0), np.diag([0.01, 0.01, 0.0004]))
    one = pose_from_scores(scores, HEADINGS, 0.05, mode_radius_m=2.0)
    sharp = pose_from_scores(scores, HEADINGS, 0.05, alpha=4.0, mode_radius_m=2.0)
    hot = pose_from_scores(scores, HEADINGS, 0.05, temperature=2.0, mode_radius_m=2.0)
    floor = 0.05**2 / 12
    assert (sharp.covariance[0, 0] - floor) / (one.covariance[0, 0] - floor) == pytest.approx(1 / 4, rel=0.02)
    assert (hot.covariance[0, 0] - floor) / (one.covariance[0, 0] - floor) == pytest.approx(2, rel=0.02)
    assert sharp.entropy == one.entropy < hot.entropy < 1.0


def test_two_modes_are_not_averaged_and_the_margin_tells() -> None:
    covariance = np.diag([0.002, 0.002, 0.0004])
    first, second = _gaussian((0.6, 0.0, 0.0), covariance), _gaussian((-0.6, 0.2, 0.0), covariance) - 0.25
    peak = pose_from_scores(np.logaddexp(first, second), HEADINGS, 0.05)
    assert (peak.offset.x_m, peak.offset.y_m) == pytest.approx((0.6, 0.0), abs=0.01)
    assert peak.margin == pytest.approx(0.25, abs=0.01)


def test_flat_and_edge() -> None:
    flat = pose_from_scores(np.zeros((21, 41, 41)), HEADINGS, 0.05)
    assert flat.entropy == pytest.approx(1.0)
    assert flat.margin == 0.0
    assert pose_from_scores(_gaussian((1.2, 0.0, 0.0), np.diag([0.01, 0.01, 0.001])), HEADINGS, 0.05).at_edge
    assert math.isinf(pose_from_scores(np.zeros((1, 3, 3)), np.zeros(1), 0.05).margin)


@pytest.mark.parametrize("bad", [{"alpha": 0.5}, {"temperature": 0.0}])
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        pose_from_scores(np.zeros((21, 5, 5)), HEADINGS, 0.05, **bad)
    with pytest.raises(ConfigError):
        pose_from_scores(np.full((21, 5, 5), np.nan), HEADINGS, 0.05)
