"""Poses and their covariance, against SciPy, Monte Carlo and the truth."""

from __future__ import annotations

import numpy as np
import pytest
from point_shell import apart, photo, pose_at, shell
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from foldmap.visual.match.lens import Normal, normal_equations
from foldmap.visual.match.solve import (
    Correspondences,
    noise_px,
    ransac_pose,
    refine_pose,
    residuals_px,
)
from foldmap.visual.match.view import View, prepare

TRUE = pose_at(np.array([0.3, 0.1, -0.2]), 0.5, 0.05)


def seen(seed: int, noise: float, rig: np.ndarray | None = None, most: int = 150) -> tuple[View, Correspondences]:
    points, looks = shell(seed, 2500)
    pose = TRUE if rig is None else rig @ TRUE
    query, who = photo(points, looks, pose, seed, noise_px=noise, clutter=0, rig=rig)
    view = prepare(query)
    return view, Correspondences(view.xy_px[:most], points[who[:most]])


def moved(pose: np.ndarray, centre: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The pose with its centre moved in the world and turned by a rotation vector in its own frame."""
    world_SE3_rig = np.linalg.inv(pose)
    world_SE3_rig[:3, 3] += centre
    world_SE3_rig[:3, :3] = world_SE3_rig[:3, :3] @ Rotation.from_rotvec(turn).as_matrix()
    return np.linalg.inv(world_SE3_rig)


def pose_covariance(
    views: list[View], matched: list[Correspondences], pose: np.ndarray, sigma_px: float
) -> np.ndarray | None:
    """Of a pose whose intrinsics are known for certain."""
    normal = normal_equations(views, matched, pose, sigma_px, correlation=0.0)
    return Normal(normal.matrix[:6, :6], normal.right[:6], normal.weight).covariance()


def rigged() -> list[np.ndarray]:
    return [pose_at(np.array(at), yaw) for at, yaw in (((0.2, 0, 0), 0.0), ((0, 0.1, -0.3), 2.1), ((-0.2, 0, 0), 4.2))]


def test_ransac_finds_the_pose_among_wrong_matches() -> None:
    view, right = seen(0, 0.4)
    rng = np.random.default_rng(0)
    wrong = rng.uniform(0, 480, (300, 2)), shell(9, 300)[0]
    mixed = Correspondences(np.concatenate([right.xy_px, wrong[0]]), np.concatenate([right.points_world, wrong[1]]))
    found = ransac_pose([view], [mixed], 4.0, 10_000)
    assert found is not None
    assert found[1] >= 145
    distance, angle = apart(found[0], TRUE)
    assert distance < 0.02
    assert angle < 0.004
    again = ransac_pose([view], [mixed], 4.0, 10_000)
    assert again is not None
    assert np.array_equal(again[0], found[0])


def test_too_few_matches_give_no_pose() -> None:
    view, right = seen(1, 0.1)
    for count in range(4):
        few = Correspondences(right.xy_px[:count], right.points_world[:count])
        assert ransac_pose([view], [few], 4.0, 1000) is None


@pytest.mark.parametrize("cameras", [1, 3])
def test_refining_minimizes_what_scipy_minimizes(cameras: int) -> None:
    parts = [seen(2, 0.5)] if cameras == 1 else [seen(2 + k, 0.5, rig, 40) for k, rig in enumerate(rigged())]
    views, matched = [view for view, _ in parts], [part for _, part in parts]
    start = moved(TRUE, np.array([0.02, -0.01, 0.015]), np.array([0.004, -0.003, 0.002]))

    def errors(step: np.ndarray) -> np.ndarray:
        pose = moved(start, step[:3], step[3:])
        return np.concatenate([residuals_px(v, m, pose).ravel() for v, m in zip(views, matched, strict=True)])

    best = least_squares(errors, np.zeros(6), xtol=1e-14, ftol=1e-14, gtol=1e-14)
    found = refine_pose(views, matched, start, 1000.0)
    distance, angle = apart(found, moved(start, best.x[:3], best.x[3:]))
    assert distance < 1e-4
    assert angle < 2e-5


def test_refining_softly_minimizes_cauchy_s_loss() -> None:
    view, right = seen(3, 0.8)
    off = right.xy_px.copy()
    off[::5] += 6.0

    def errors(step: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(residuals_px(view, right_off, moved(TRUE, step[:3], step[3:])), axis=1)
        return np.sqrt(np.log1p((lengths / 1.5) ** 2))

    right_off = Correspondences(off, right.points_world)
    best = least_squares(errors, np.zeros(6), xtol=1e-14, ftol=1e-14, gtol=1e-14)
    found = refine_pose([view], [right_off], TRUE, 1.5, truncated=False)
    distance, angle = apart(found, moved(TRUE, best.x[:3], best.x[3:]))
    assert distance < 1e-4
    assert angle < 2e-5


def test_refining_lets_far_residuals_have_no_say() -> None:
    view, right = seen(3, 0.2)
    off = right.xy_px.copy()
    off[::5] += 60.0
    found = refine_pose([view], [Correspondences(off, right.points_world)], TRUE, 3.0)
    distance, angle = apart(found, TRUE)
    assert distance < 0.01
    assert angle < 0.002


@pytest.mark.parametrize("cameras", [1, 3])
def test_covariance_is_that_of_repeated_measurement(cameras: int) -> None:
    parts = [seen(4, 0.0)] if cameras == 1 else [seen(4 + k, 0.0, rig, 30) for k, rig in enumerate(rigged())]
    views = [view for view, _ in parts]
    exact = [Correspondences(v.project(TRUE, m.points_world)[0], m.points_world) for v, m in parts]
    covariance = pose_covariance(views, exact, TRUE, 0.7)
    assert covariance is not None
    rng = np.random.default_rng(5)
    steps = []
    for _ in range(400):
        noisy = [Correspondences(m.xy_px + rng.normal(0, 0.7, m.xy_px.shape), m.points_world) for m in exact]
        found = refine_pose(views, noisy, TRUE, 1000.0)
        centre = np.linalg.inv(found)[:3, 3] - np.linalg.inv(TRUE)[:3, 3]
        turn = Rotation.from_matrix(TRUE[:3, :3] @ found[:3, :3].T).as_rotvec()
        steps.append(np.concatenate([centre, turn]))
    measured = np.cov(np.array(steps).T)
    ratio = np.linalg.eigvals(np.linalg.solve(covariance, measured)).real
    # eigenvalues of a sample covariance of 400 lie within (1 -+ sqrt(6/400))^2, and some more
    assert ratio.min() > 0.6
    assert ratio.max() < 1.5


def test_a_line_of_points_does_not_fix_a_pose() -> None:
    view, right = seen(6, 0.0)
    points = np.linalg.inv(TRUE)[:3, 3] + np.linspace(0.2, 3, 30)[:, None] * [0.2, 0.1, 0.3] + TRUE[2, :3] * 4
    line = Correspondences(view.project(TRUE, points)[0], points)
    assert pose_covariance([view], [line], TRUE, 0.5) is None
    assert pose_covariance([view], [Correspondences(right.xy_px[:2], right.points_world[:2])], TRUE, 0.5) is None


def test_noise_is_read_off_the_median() -> None:
    rng = np.random.default_rng(7)
    errors = rng.normal(0, 0.8, (4000, 2))
    errors[:400] = rng.uniform(-50, 50, (400, 2))
    assert abs(noise_px(errors) - 0.8) < 0.1
    assert noise_px(np.zeros((0, 2))) == 0.0


@pytest.mark.parametrize("far", [1e5, 6.4e6, 1e7])
@pytest.mark.parametrize("cameras", [1, 3])
def test_far_from_the_origin_nothing_changes(far: float, cameras: int) -> None:
    """Coordinates of the size of UTM or ECEF give the pose and the covariance that they give at the origin."""
    shift = np.array([0.654, 0.134, 0.74]) * far
    seen_by = [seen(k, 0.3, rig) for k, rig in enumerate(rigged()[:cameras])] if cameras > 1 else [seen(2, 0.3)]
    views = [view for view, _ in seen_by]
    poses, covariances = [], []
    for moved_by in (np.zeros(3), shift):
        matched = [Correspondences(part.xy_px, part.points_world + moved_by) for _, part in seen_by]
        found = ransac_pose(views, matched, 4.0, 2000)
        assert found is not None
        refined = refine_pose(views, matched, found[0], 1.0)
        covariance = pose_covariance(views, matched, refined, 0.3)
        assert covariance is not None
        back = refined.copy()
        back[:3, 3] += back[:3, :3] @ moved_by
        poses.append(back)
        covariances.append(covariance)
    distance, angle = apart(poses[1], poses[0])
    # float64 resolves 2e-9 at 1e7; the noise moves a pose by 2e-3
    assert distance < 2e-5
    assert angle < 5e-6
    assert covariances[1] == pytest.approx(covariances[0], rel=1e-3, abs=1e-9)
