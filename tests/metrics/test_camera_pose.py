"""Errors of camera poses against SciPy's rotations and the paper's formulas."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from foldmap.errors import InputError
from foldmap.metrics.camera_pose import (
    accuracy,
    camera_errors,
    centre_error,
    median_errors,
    rotation_error_deg,
)


def poses(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pose = np.tile(np.eye(4), (count, 1, 1))
    pose[:, :3, :3] = Rotation.random(count, rng=rng).as_matrix()
    pose[:, :3, 3] = rng.normal(0, 5, (count, 3))
    return pose


def test_rotation_and_centre_errors_are_scipys() -> None:
    one, other = poses(200, 1), poses(200, 2)
    turn = Rotation.from_matrix(one[:, :3, :3]).inv() * Rotation.from_matrix(other[:, :3, :3])
    assert np.allclose(rotation_error_deg(one, other), np.degrees(turn.magnitude()), atol=1e-9)
    apart = np.linalg.inv(one)[:, :3, 3] - np.linalg.inv(other)[:, :3, 3]
    assert np.allclose(centre_error(one, other), np.linalg.norm(apart, axis=1), atol=1e-9)
    # the paper's formula, with its parenthesis in place
    trace = np.trace(np.swapaxes(other[:, :3, :3], 1, 2) @ one[:, :3, :3], axis1=1, axis2=2)
    assert np.allclose(rotation_error_deg(one, other), np.degrees(np.arccos(0.5 * (trace - 1))), atol=1e-5)


@pytest.mark.parametrize("degrees", [1e-10, 1e-7, 1e-3, 1.0, 90.0, 179.999, 180.0])
def test_small_and_straight_angles_keep_their_digits(degrees: float) -> None:
    true = poses(20, 3)
    turned = true.copy()
    axis = Rotation.random(20, rng=np.random.default_rng(4)).as_matrix()[:, 0]
    turned[:, :3, :3] = Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix() @ true[:, :3, :3]
    assert np.allclose(rotation_error_deg(true, turned), degrees, rtol=1e-4, atol=1e-13 + 1e-9 * degrees)


def test_unanswered_queries_are_infinitely_far() -> None:
    true = poses(4, 5)
    moved = true.copy()
    moved[:, :3, 3] += true[:, :3, :3] @ np.array([0.0, 0.0, 0.3])
    errors = camera_errors(list(true), [moved[0], None, moved[2], None], unit=0.1)
    assert errors.centre.tolist() == pytest.approx([3.0, np.inf, 3.0, np.inf])
    assert accuracy(errors, (3.1, 1.0)) == 0.5
    assert accuracy(errors, (2.9, 1.0)) == 0.0
    assert median_errors(errors) == (np.inf, np.inf)
    assert median_errors(camera_errors(list(true), [*moved[:3], None]))[0] == pytest.approx(0.3)


def test_both_errors_must_be_small() -> None:
    true = poses(1, 6)[0]
    turned = true.copy()
    turned[:3] = Rotation.from_rotvec([0, 0, np.radians(3.0)]).as_matrix() @ true[:3]  # about the camera's own centre
    errors = camera_errors([true], [turned])
    assert errors.centre[0] < 1e-12
    assert accuracy(errors, (1.0, 2.0)) == 0.0
    assert accuracy(errors, (1.0, 4.0)) == 1.0


def test_what_does_not_pair_is_refused() -> None:
    true = poses(2, 7)
    with pytest.raises(InputError, match="1 estimates for 2"):
        camera_errors(list(true), [None])
    with pytest.raises(InputError, match="0 true poses"):
        camera_errors([], [])
    with pytest.raises(InputError, match="unit"):
        camera_errors(list(true), [None, None], unit=0.0)
