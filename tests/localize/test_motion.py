"""Noise of odometry."""

from __future__ import annotations

import numpy as np
import pytest

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.localize.motion import MotionNoise, increment_covariance


def test_noise_grows_with_way_turn_and_time() -> None:
    noise = MotionNoise()
    still = increment_covariance(SE2(0.0, 0.0, 0.0), 0.1, noise)
    assert np.linalg.eigvalsh(still).min() > 0
    assert (np.diag(increment_covariance(SE2(1.0, 0.0, 0.1), 0.1, noise)) > np.diag(still)).all()
    assert (np.diag(increment_covariance(SE2(0.0, 0.0, 0.0), 1.0, noise)) > np.diag(still)).all()


def test_bad_motion_is_refused() -> None:
    with pytest.raises(ConfigError):
        MotionNoise(position_m=-1.0)
