"""What goes on along a line counts less, whichever way it runs; spots stay what they are."""

import math

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from foldmap.lidar.marks.lines import less_lines
from foldmap.types import FloatArray

CELL_M = 0.15


def striped(angle_rad: float, shape: tuple[int, int] = (201, 221)) -> FloatArray:
    """Stripes of half a metre every three metres, which run at an angle from the columns' axis to the rows'."""
    down, right = np.mgrid[: shape[0], : shape[1]] * CELL_M
    across = np.cos(angle_rad) * down - np.sin(angle_rad) * right
    return np.where(across % 3.0 < 0.5, 2.0, -0.2).astype(np.float32)


@pytest.mark.parametrize("degrees", [0, 7, 37, 90, 128, 171])
def test_stripes_of_any_direction_are_taken_off_and_spots_are_not(degrees: float) -> None:
    stripes, seen = striped(math.radians(degrees)), np.ones((201, 221), bool)
    spots = np.zeros_like(stripes)
    spots[20::40, 15::40] = 3.0
    left = less_lines(stripes + spots, seen, CELL_M, 1.0)
    inside = np.s_[20:-20, 20:-20]
    assert left[inside].std() < 0.45 * (stripes + spots)[inside].std()
    assert left[20::40, 15::40][1:-1, 1:-1].min() > 1.9
    half = less_lines(stripes + spots, seen, CELL_M, 0.5)
    np.testing.assert_allclose(half, 0.5 * (left + stripes + spots), atol=1e-5)


def test_a_line_s_mean_is_that_of_what_is_seen_of_it() -> None:
    rng = np.random.default_rng(0)
    angle = math.radians(30)
    stripes, seen = striped(angle), rng.random((201, 221)) < 0.8
    stripes[~seen] = 0
    left = less_lines(stripes, seen, CELL_M, 1.0)
    steps = np.arange(-7, 8)[:, None, None] * 2.0  # 0.3 m apart, 4 m in all
    down, right = np.mgrid[:201, :221]
    where = [down + np.floor(steps * math.sin(angle) + 0.5), right + np.floor(steps * math.cos(angle) + 0.5)]
    held, total = (map_coordinates(one.astype(float), where, order=0, cval=0.0).sum(0) for one in (seen, stripes))
    expected = np.where(seen, stripes - total / np.maximum(held, 1), 0)
    np.testing.assert_allclose(left[30:-30, 30:-30], expected[30:-30, 30:-30], atol=1e-4)


def test_nothing_of_its_own_is_taken_off_what_is_seen_alone() -> None:
    alone, seen = np.zeros((80, 80), np.float32), np.zeros((80, 80), bool)
    alone[40, 40], seen[40, 40] = 3.0, True
    np.testing.assert_array_equal(less_lines(alone, seen, CELL_M, 1.0), alone)
