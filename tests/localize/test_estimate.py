"""An estimate cannot say two things at once."""

from __future__ import annotations

import numpy as np
import pytest

from foldmap.errors import PoseInputError
from foldmap.geometry import SE2
from foldmap.localize.estimate import Diagnostics, Estimate, Status

POSE, COVARIANCE = SE2(1.0, 2.0, 0.3), np.diag([0.01, 0.01, 0.001])


@pytest.mark.parametrize("status", list(Status))
def test_a_pose_comes_with_ok_and_degraded_only(status: Status) -> None:
    if status in (Status.OK, Status.DEGRADED):
        assert Estimate(status, POSE, COVARIANCE, Diagnostics()).pose == POSE
        with pytest.raises(PoseInputError):
            Estimate(status, None, None, Diagnostics())
        with pytest.raises(PoseInputError):
            Estimate(status, POSE, None, Diagnostics())
    else:
        assert Estimate.without_pose(status, Diagnostics()).pose is None
        with pytest.raises(PoseInputError):
            Estimate(status, POSE, COVARIANCE, Diagnostics())
        with pytest.raises(PoseInputError):
            Estimate(status, None, COVARIANCE, Diagnostics())


@pytest.mark.parametrize(
    "covariance",
    [
        np.zeros((3, 3)),
        np.eye(2),
        np.diag([1.0, 1.0, np.nan]),
        np.eye(3) + np.eye(3, k=1) * 0.1,
        np.diag([1.0, 1.0, -1.0]),
    ],
)
def test_covariances_that_are_none_are_refused(covariance: np.ndarray) -> None:
    with pytest.raises(PoseInputError):
        Estimate(Status.OK, POSE, covariance, Diagnostics())


def test_poses_that_are_not_finite_are_refused() -> None:
    with pytest.raises(PoseInputError):
        Estimate(Status.OK, SE2(np.nan, 0.0, 0.0), COVARIANCE, Diagnostics())


def test_the_covariance_cannot_be_changed_afterwards() -> None:
    source = COVARIANCE.copy()
    estimate = Estimate(Status.OK, POSE, source, Diagnostics())
    source[0, 0] = 99.0
    assert estimate.covariance is not None
    assert estimate.covariance[0, 0] == 0.01
    with pytest.raises(ValueError, match="read-only"):
        estimate.covariance[0, 0] = 1.0
