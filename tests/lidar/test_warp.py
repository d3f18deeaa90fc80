"""The turned crop against a band-limited function that is known everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar.match.warp import turned_crop

GRID = MetricGrid(west_m=10.0, north_m=50.0, resolution_m=0.5, height_px=120, width_px=140)


def _value(points_m: np.ndarray) -> np.ndarray:
    return np.sin(0.9 * points_m[..., 0]) + np.cos(0.7 * points_m[..., 1] + 0.4 * points_m[..., 0])


def _map() -> np.ndarray:
    rows, cols = np.mgrid[:120, :140]
    return _value(GRID.world_of(np.stack([rows.ravel(), cols.ravel()], -1))).reshape(1, 120, 140).astype(np.float32)


@pytest.mark.parametrize("heading", [0.0, 0.3, -2.0, math.pi / 2])
def test_a_crop_is_the_world_seen_from_the_vehicle(heading: float) -> None:
    world_SE2_vehicle = SE2(44.3, 21.6, heading)
    centre = GRID.pixel_of(np.array([[world_SE2_vehicle.x_m, world_SE2_vehicle.y_m]]))[0]
    crop, known = turned_crop(_map(), np.ones((120, 140), bool), (centre[0], centre[1]), heading, (41, 50))
    rows, cols = np.mgrid[:41, :50]
    vehicle = np.stack([(cols - 24.5) * 0.5, -(rows - 20.0) * 0.5], -1).reshape(-1, 2)
    np.testing.assert_allclose(crop[0].ravel(), _value(world_SE2_vehicle.apply(vehicle)), atol=0.01)
    assert known.all()


def test_whole_pixels_are_copied_and_the_outside_is_unknown() -> None:
    source = np.random.default_rng(0).standard_normal((2, 30, 30)).astype(np.float32)
    mask = np.random.default_rng(1).random((30, 30)) < 0.5
    crop, known = turned_crop(source, mask, (3.0, 12.0), 0.0, (11, 9))
    np.testing.assert_array_equal(crop[:, 2:], source[:, 0:9, 8:17])
    np.testing.assert_array_equal(known[2:], mask[0:9, 8:17])
    assert not known[:2].any()
    assert not crop[:, :2].any()
