"""The ground against scenes whose ground is known."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scene import HEIGHT_M, cast, pose_at  # tests/lidar is on the path of its tests
from scipy.spatial.transform import Rotation

from foldmap.geometry import SE3
from foldmap.lidar.mapping.ground import ground_mask, height_above_ground


def recall_precision(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    return (found & truth).sum() / truth.sum(), (found & truth).sum() / max(found.sum(), 1)


CARS = [(5, 9, -4, -2.2, 1.5, 0.9), (-12, -8, 2, 4, 1.5, 0.9), (-30, 30, 9, 9.3, 6, 0.5), (12, 20, -9, -6.5, 3.2, 0.9)]


@pytest.mark.parametrize("height_m", [None, HEIGHT_M])
@pytest.mark.parametrize("tilt_deg", [(0, 0), (2, 0), (-1, 3)])
def test_street_with_cars_and_wall(height_m: float | None, tilt_deg: tuple[float, float]) -> None:
    tilt = np.eye(4)
    tilt[:3, :3] = Rotation.from_euler("xy", tilt_deg, degrees=True).as_matrix()
    sweep, hit = cast(pose_at(0) @ SE3(tilt), CARS)
    found = ground_mask(sweep.points_sensor_m, height_m)
    world_z = (pose_at(0) @ SE3(tilt)).apply(sweep.points_sensor_m.astype(np.float64))[:, 2]
    near = np.hypot(*sweep.points_sensor_m[:, :2].T) < 35
    recall, _ = recall_precision(found[near], (hit < 0)[near])
    assert recall > 0.985
    # The lowest hand's breadth of a wall is on the ground by any rule about height.
    _, precision = recall_precision(found, (hit < 0) | (world_z < 0.15))
    assert precision > 0.99
    assert not (found & (world_z > 0.35)).any()  # no roof, no bonnet


def test_slope_and_kerb() -> None:
    """A street that climbs 8 % beyond 10 m, its sidewalk 0.15 m above it."""
    sweep, hit = cast(pose_at(0), CARS, azimuths=900)
    points = sweep.points_sensor_m.copy()
    points[:, 2] += 0.08 * np.maximum(points[:, 0] - 10, 0)
    points[(points[:, 1] > 4) & (hit < 0), 2] += 0.15
    found = ground_mask(points)
    near = np.hypot(*points[:, :2].T) < 35
    recall, precision = recall_precision(found[near], (hit < 0)[near])
    assert recall > 0.985
    assert precision > 0.96
    kerb = (hit < 0) & (points[:, 1] > 3.5) & (points[:, 1] < 5) & (np.abs(points[:, 0]) < 15)
    assert found[kerb].mean() > 0.98


def test_height_is_measured() -> None:
    sweep, hit = cast(pose_at(0), [(5, 9, -4, -2.2, 1.5, 0.9)])
    height_m = height_above_ground(sweep.points_sensor_m)
    truth_m = sweep.points_sensor_m[:, 2] + HEIGHT_M
    known = ~np.isnan(height_m) & (np.hypot(*sweep.points_sensor_m[:, :2].T) < 20)
    assert known[hit == 0].mean() > 0.9
    error_m = np.abs(height_m - truth_m)[known]
    assert np.percentile(error_m, 99) < 0.05
    assert error_m.max() < 0.25


def test_stray_returns_below_the_ground() -> None:
    sweep, hit = cast(pose_at(0), CARS)
    rng = np.random.default_rng(1)
    points = sweep.points_sensor_m.copy()
    stray = rng.choice(len(points), len(points) // 100, replace=False)
    points[stray, 2] -= rng.uniform(1, 5, len(stray))
    truth = hit < 0
    truth[stray] = False
    recall, precision = recall_precision(ground_mask(points), truth)
    assert recall > 0.96
    assert precision > 0.96


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.ones((4, 3)), np.full((50, 3), 500.0)])
def test_no_ground(points: np.ndarray) -> None:
    assert not ground_mask(points.astype(np.float32)).any()


def test_speed() -> None:
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.normal(0, 15, (120_000, 2)), rng.normal(-1.7, 0.02, 120_000)]).astype(np.float32)
    ground_mask(points)
    times_s = []
    for _ in range(5):
        started_s = time.perf_counter()
        found = ground_mask(points)
        times_s.append(time.perf_counter() - started_s)
    assert found.mean() > 0.95
    assert min(times_s) < 0.06
