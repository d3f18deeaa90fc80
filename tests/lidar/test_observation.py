"""The observation against SciPy's binning, and its frame against plain geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scene import cast, pose_at
from scipy.spatial.transform import Rotation
from scipy.stats import binned_statistic_2d

from foldmap.errors import ConfigError, PoseInputError, SweepInputError
from foldmap.geometry import SE2, SE3
from foldmap.lidar.mapping.lean import upright
from foldmap.lidar.observation import Observation, aggregate, levelled, rasterize
from foldmap.lidar.source import Sweep


@pytest.mark.parametrize(("resolution_m", "half_m"), [(0.05, (15.0, 12.0)), (0.4, (6.0, 3.0)), (0.33, (9.9, 6.6))])
def test_rasterize_is_the_mean_of_each_pixel(resolution_m: float, half_m: tuple[float, float]) -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(0, 8, (30_000, 3))
    intensity = rng.random(30_000).astype(np.float32)
    ours = rasterize(points, intensity, resolution_m, *half_m)
    height, width = round(2 * half_m[1] / resolution_m), round(2 * half_m[0] / resolution_m)
    edges = (np.arange(height + 1) * resolution_m - half_m[1], np.arange(width + 1) * resolution_m - half_m[0])
    mean = binned_statistic_2d(-points[:, 1], points[:, 0], intensity, "mean", bins=edges).statistic
    assert ours.intensity.shape == (height, width)
    np.testing.assert_array_equal(ours.observed, ~np.isnan(mean))
    np.testing.assert_allclose(ours.intensity, np.nan_to_num(mean), atol=1e-6)


def test_axes() -> None:
    view = rasterize(np.array([[10.01, 5.01, 0.0]]), np.ones(1, np.float32), 0.05)
    assert view.intensity.shape == (480, 600)
    (row,), (col,) = np.nonzero(view.observed)
    assert (row, col) == ((12 - 5.05) / 0.05 + 0.5 // 1, 500)
    assert row < 240 < col - 60  # ahead and to the left: up and to the right
    assert view.observed_m2 == pytest.approx(0.0025)


def test_rasterize_empty_and_bad() -> None:
    assert not rasterize(np.zeros((0, 3)), np.zeros(0, np.float32), 0.05).observed.any()
    assert not rasterize(np.full((3, 2), 99.0), np.zeros(3, np.float32), 0.05).observed.any()
    with pytest.raises(SweepInputError, match="NaN"):
        rasterize(np.full((1, 3), np.nan), np.zeros(1, np.float32), 0.05)
    with pytest.raises(SweepInputError, match="give"):
        rasterize(np.zeros((2, 3)), np.zeros(1, np.float32), 0.05)
    for resolution_m in (0, -1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="resolution_m"):
            rasterize(np.zeros((1, 3)), np.zeros(1, np.float32), resolution_m)
    with pytest.raises(SweepInputError, match="should be"):
        Observation(np.zeros((3, 3), np.float32), np.zeros((3, 3), bool), 0.05)


def tilted(pose: SE2, roll: float, pitch: float, z_m: float) -> SE3:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("ZYX", [pose.heading_rad, pitch, roll]).as_matrix()
    matrix[:3, 3] = pose.x_m, pose.y_m, z_m
    return SE3(matrix)


def test_levelled() -> None:
    pose = SE2(3, -4, 2.1)
    frame = levelled(tilted(pose, 0.1, -0.2, 1.5))
    np.testing.assert_allclose(frame.matrix, SE3.from_se2(pose, 1.5).matrix, atol=1e-12)
    with pytest.raises(PoseInputError, match="vertical"):
        levelled(tilted(pose, 0, math.pi / 2, 0))


def test_aggregate() -> None:
    rng = np.random.default_rng(4)
    sweeps = [Sweep(rng.normal(0, 9, (40, 3)).astype(np.float32), rng.random(40).astype(np.float32)) for _ in range(3)]
    poses = [tilted(SE2(i, 2 * i, 0.3 * i), 0.05, 0.02 * i, 1.0) for i in range(3)]
    points, intensity = aggregate(sweeps, poses, 1, ground_only=False)
    heading = Rotation.from_euler("z", 0.3).as_matrix()
    expected = np.concatenate(
        [
            (s.points_sensor_m @ p.matrix[:3, :3].T + p.matrix[:3, 3] - poses[1].matrix[:3, 3]) @ heading
            for s, p in zip(sweeps, poses, strict=True)
        ]
    )
    np.testing.assert_allclose(points, expected, atol=1e-6)
    np.testing.assert_array_equal(intensity, np.concatenate([s.intensity for s in sweeps]))
    elsewhere = SE3.from_se2(SE2(500, -300, 2.0), 7.0)
    moved, _ = aggregate(sweeps, [elsewhere @ pose for pose in poses], -2, ground_only=False)
    np.testing.assert_allclose(moved, points, atol=1e-6)
    with pytest.raises(PoseInputError, match="3 sweeps and 2 poses"):
        aggregate(sweeps, poses[:2], 1)
    for index in (3, -4):
        with pytest.raises(SweepInputError, match="no sweep"):
            aggregate(sweeps, poses, index)
    with pytest.raises(SweepInputError, match="no sweep 0"):
        aggregate([], [], 0)


def test_aggregate_keeps_ground_only() -> None:
    car = (5, 9, -4, -2.2, 1.5, 0.9)
    poses = [pose_at(x) for x in (0.0, 0.7)]
    points, intensity = aggregate([cast(pose, [car])[0] for pose in poses], poses, 1)
    assert np.abs(points[:, 2] + 1.73).max() < 0.35
    assert (intensity > 0.8).mean() < 0.01


def leaning(pose: SE3, turn: Rotation) -> SE3:
    matrix = pose.matrix.copy()
    matrix[:3, :3] = matrix[:3, :3] @ turn.as_matrix()
    return SE3(matrix)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (-0.6, 0.8, 0)])
def test_a_leaning_sensor_is_set_upright(axis: tuple[float, float, float]) -> None:
    """Five degrees under a sensor at 1.73 m shift all ground by 15 cm."""
    pose = pose_at(2.0, -1.0, 0.4)
    turn = Rotation.from_rotvec(np.radians(5) * np.array(axis))
    sweep, _ = cast(leaning(pose, turn))
    truth = turn.apply(sweep.points_sensor_m)
    assert np.abs(np.median(sweep.points_sensor_m - truth, axis=0)[:2]).max() > 0.07
    found = upright(sweep, pose).points_sensor_m
    near = np.hypot(*truth[:, :2].T) < 12
    assert np.abs(np.median((found - truth)[near], axis=0)).max() < 0.01
    points, _ = aggregate([sweep], [pose], 0)
    assert np.abs(points[:, 2] + 1.73).max() < 0.15
    same = leaning(pose, turn)  # the pose says so itself
    assert upright(sweep, same) is sweep


def test_what_streets_and_mounts_do_is_left_alone() -> None:
    pose = pose_at(0.0)
    sweep, _ = cast(leaning(pose, Rotation.from_rotvec([0.0, np.radians(1.8), 0.0])))
    assert upright(sweep, pose) is sweep
    hill = leaning(pose, Rotation.from_rotvec([0.0, np.radians(-6), 0.0]))
    flat, _ = cast(pose)  # seen from a street that climbs by six degrees, as the pose says, it is level
    assert upright(flat, hill) is flat
