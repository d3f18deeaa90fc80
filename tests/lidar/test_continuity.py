"""A sweep of other ground than odometry leads to is noticed at once; sweeps of one way go on, and one that stands."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from foldmap.geometry import SE3
from foldmap.lidar.observation import SweepStack
from foldmap.lidar.source import Sweep

STEP_M, SIDE_M, PIXEL_M = 0.8, 120.0, 0.2


def _ground(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 0.9, (600, 600)).astype(np.float32)


def _sweep(ground: np.ndarray, x_m: float, seed: int) -> Sweep:
    """Returns on a plane 1.7 m below a lidar at (x, 60 m), that looks along x; a little noise."""
    rng = np.random.default_rng([seed, 5])
    xy_m = rng.uniform((-14.0, -11.0), (14.0, 11.0), (9000, 2))
    at = np.stack([60.0 + xy_m[:, 1], x_m + xy_m[:, 0]]) / PIXEL_M - 0.5
    seen = map_coordinates(ground, at, order=0) + rng.normal(0.0, 0.05, len(xy_m))
    points = np.column_stack([xy_m, np.full(len(xy_m), -1.7)])
    return Sweep(points.astype(np.float32), np.clip(seen, 0.0, 1.0).astype(np.float32))


def _poses(count: int) -> list[SE3]:
    matrices = np.repeat(np.eye(4)[None], count, axis=0)
    matrices[:, 0, 3] = STEP_M * np.arange(count)
    return [SE3(matrix) for matrix in matrices]


@pytest.mark.parametrize("relief", [False, True])
def test_ground_from_elsewhere_begins_anew(relief: bool) -> None:
    ground, stack, broken = _ground(1), SweepStack(0.2, 4, relief=relief), []
    for number, pose in enumerate(_poses(12)):
        carried_m = 20.0 if number >= 9 else 0.0
        drawn = stack.add(_sweep(ground, 30.0 + carried_m + STEP_M * number, number), pose)
        broken.append(stack.broken)
        if number == 9:
            alone = SweepStack(0.2, 4, relief=relief).add(_sweep(ground, 50.0 + STEP_M * number, number), pose)
            np.testing.assert_array_equal(drawn.intensity, alone.intensity)
    assert [number for number, one in enumerate(broken) if one] == [9]  # and what follows goes on from there


def test_a_lidar_that_stood_may_drive_off() -> None:
    ground, stack = _ground(2), SweepStack(0.2, 4)
    way_m = [0.0] * 8 + [0.3, 1.0, 1.8, 2.6]
    for number, x_m in enumerate(way_m):
        matrix = np.eye(4)
        matrix[0, 3] = x_m
        seed = 0 if x_m == 0.0 else number  # the same rings while it stands
        stack.add(_sweep(ground, 30.0 + x_m, seed), SE3(matrix))
        assert not stack.broken
