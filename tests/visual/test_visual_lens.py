"""Pose and intrinsics found together, against finite differences, SciPy and the truth."""

from __future__ import annotations

import numpy as np
import pytest
from point_shell import CAMERA, apart, photo, pose_at, shell
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from foldmap.visual.match.lens import moved_by, normal_equations, refine_with_lens, seen_with
from foldmap.visual.match.solve import Correspondences, residuals_px
from foldmap.visual.match.view import View, prepare

TRUE = pose_at(np.array([0.3, 0.1, -0.2]), 0.5, 0.05)
LOOSE = np.array([0.5, 0.3, 0.3, 0.3])


def seen(seed: int = 0, noise: float = 0.5) -> tuple[View, Correspondences]:
    points, looks = shell(seed, 2500)
    query, who = photo(points, looks, TRUE, seed, noise_px=noise, clutter=0)
    view = prepare(query)
    return view, Correspondences(view.xy_px, points[who])


def errors(numbers: np.ndarray, view: View, part: Correspondences) -> np.ndarray:
    """Residuals after a move of the centre in the world, a turn in the camera's frame, and another lens."""
    world_SE3_camera = np.linalg.inv(TRUE)
    world_SE3_camera[:3, 3] += numbers[:3]
    world_SE3_camera[:3, :3] = world_SE3_camera[:3, :3] @ Rotation.from_rotvec(numbers[3:6]).as_matrix()
    (now,) = seen_with([view], numbers[6:])
    return residuals_px(now, part, np.linalg.inv(world_SE3_camera)).ravel()


def test_the_equations_are_the_derivatives() -> None:
    view, part = seen()
    step = 1e-6
    columns = [errors(step * row, view, part) - errors(-step * row, view, part) for row in np.eye(10)]
    jacobian = np.stack(columns, axis=1) / (2 * step)
    normal = normal_equations([view], [part], TRUE, 2.0, correlation=0.0)
    assert np.allclose(normal.matrix, jacobian.T @ jacobian / 4.0, rtol=1e-5)
    assert np.allclose(normal.right, jacobian.T @ errors(np.zeros(10), view, part) / 4.0, rtol=1e-4)
    assert normal.weight == pytest.approx(len(part))


def test_matches_of_one_cell_count_less() -> None:
    view, part = seen()
    alone = normal_equations([view], [part], TRUE, 1.0, correlation=0.0)
    shared = normal_equations([view], [part], TRUE, 1.0, correlation=1.0)
    low, high = np.array(view.low_px), np.array(view.high_px)
    cells = {tuple(cell) for cell in ((part.xy_px - low) / (high - low) * [16, 12]).astype(int)}
    assert shared.weight == pytest.approx(len(cells))
    one, other = alone.covariance(6), shared.covariance(6)
    assert one is not None
    assert other is not None
    assert np.linalg.eigvalsh(other - one).max() > 0


@pytest.mark.parametrize("factor", [0.8, 0.95, 1.05, 1.25])
def test_a_wrong_focal_length_is_found_with_the_pose(factor: float) -> None:
    view, part = seen(noise=0.3)
    (wrong,) = seen_with([view], np.array([np.log(factor), 0.0, 0.0, 0.0]))
    pose, numbers = TRUE, np.zeros(4)
    for sigma_px in (30.0, 5.0, 0.3):
        pose, numbers = refine_with_lens([wrong], [part], pose, sigma_px, LOOSE, numbers, 0.0)
    assert np.exp(numbers[0]) == pytest.approx(1 / factor, rel=3e-3)
    assert np.abs(numbers[1:]).max() < 5e-3
    distance, angle = apart(pose, TRUE)
    assert distance < 0.03
    assert angle < 5e-3
    best = least_squares(errors, np.zeros(10), args=(view, part)).x
    centre = -pose[:3, :3].T @ pose[:3, 3] + TRUE[:3, :3].T @ TRUE[:3, 3]
    assert np.allclose(centre, best[:3], atol=3e-3)


def test_doubt_about_the_focal_length_is_doubt_about_the_place() -> None:
    view, part = seen()
    few = Correspondences(part.xy_px[:12], part.points_world[:12])
    normal = normal_equations([view], [few], TRUE, 0.5, correlation=0.0)
    sigmas = []
    for doubt in (1e-6, 0.01, 0.3):
        covariance = normal.with_prior(np.array([doubt, 1e-6, 1e-6, 1e-6]), np.zeros(4)).covariance(6)
        assert covariance is not None
        sigmas.append(float(np.sqrt(np.linalg.eigvalsh(covariance[:3, :3]).max())))
    assert sigmas[0] < sigmas[1] < sigmas[2]
    assert sigmas[2] > 2 * sigmas[0]
    assert CAMERA.focal_px == view.focal_px


def test_a_step_between_poses_is_that_of_their_equations() -> None:
    """As `errors` moves a camera."""
    step = np.array([0.01, -0.02, 0.015, 2e-3, -1e-3, 3e-3])
    world_SE3_camera = np.linalg.inv(TRUE)
    world_SE3_camera[:3, 3] += step[:3]
    world_SE3_camera[:3, :3] = world_SE3_camera[:3, :3] @ Rotation.from_rotvec(step[3:]).as_matrix()
    assert np.allclose(moved_by(TRUE, np.linalg.inv(world_SE3_camera)), step, atol=1e-9)


def test_what_freed_intrinsics_take_off_the_residuals_is_their_pull() -> None:
    view, part = seen(noise=0.3)
    (wrong,) = seen_with([view], np.array([0.002, 0.0, 0.0, 0.0]))
    normal = normal_equations([wrong], [part], TRUE, 0.3, 0.0)
    costs = []
    for free in (0, 4):
        fit = least_squares(
            lambda x: errors(np.concatenate([x, np.zeros(10 - len(x))]), wrong, part) / 0.3, np.zeros(6 + free)
        )
        costs.append(2 * fit.cost)
    assert normal.pull(LOOSE) == pytest.approx(costs[0] - costs[1], rel=0.05)
