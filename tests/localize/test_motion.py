"""Noise of odometry."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.localize.motion import MotionNoise, increment_covariance, scale_variance


def test_noise_grows_with_way_turn_and_time() -> None:
    noise = MotionNoise()
    still = increment_covariance(SE2(0.0, 0.0, 0.0), 0.1, noise)
    assert np.linalg.eigvalsh(still).min() > 0
    assert (np.diag(increment_covariance(SE2(1.0, 0.0, 0.1), 0.1, noise)) > np.diag(still)).all()
    assert (np.diag(increment_covariance(SE2(0.0, 0.0, 0.0), 1.0, noise)) > np.diag(still)).all()


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_an_error_of_scale_is_a_share_of_the_way_however_it_is_cut(steps: int) -> None:
    noise, step_m = MotionNoise(position_m=0.0), 20.0 / steps
    variance_m2 = sum(
        increment_covariance(SE2(step_m, 0.0, 0.0), 0.1, noise)[0, 0] + scale_variance(k * step_m, step_m, noise)
        for k in range(steps)
    )
    assert math.sqrt(variance_m2) == pytest.approx(0.02 * 20.0)


def test_bad_motion_is_refused() -> None:
    with pytest.raises(ConfigError):
        MotionNoise(position_m=-1.0)
