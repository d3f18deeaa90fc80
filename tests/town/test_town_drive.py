"""Drives and maps: one town, many days, and never all of it in memory."""

import sys
from itertools import islice

import numpy as np
import pytest

from benchmarks.processes import forget_peak, own_peak_mb
from benchmarks.town import TownMap
from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE3, MetricGrid
from foldmap.lidar.source import Sweep
from foldmap.town import TownWorld, build_lidar, drive, street_lanes, wander
from foldmap.types import DoubleArray


def _path(world: TownWorld) -> DoubleArray:
    street = next(s for i in range(9) if (s := world.plan.street((i, 0, 0))) is not None)
    return wander(world.plan, street_lanes(street)[0], 60.0, np.random.default_rng(0))


def _sweeps(world: TownWorld, day: int, count: int = 2) -> list[tuple[Sweep, SE3, float]]:
    lidar = build_lidar("spinning64", np.random.default_rng(1))
    return list(islice(drive(world, _path(world), day, lidar, max_range_m=30.0), count))


def test_two_days_differ_and_a_day_repeats_while_the_town_stays() -> None:
    world = TownWorld(3)
    grid = MetricGrid(0, 40, 0.1, 200, 200)
    before = world.ground(grid).reflectance
    first, again, other = _sweeps(world, 1), _sweeps(TownWorld(3), 1), _sweeps(world, 2)
    for (a, pose_a, t_a), (b, pose_b, t_b) in zip(first, again, strict=True):
        assert a.points_sensor_m.tobytes() == b.points_sensor_m.tobytes()
        assert a.intensity.tobytes() == b.intensity.tobytes()
        assert t_a == t_b
        np.testing.assert_array_equal(pose_a.matrix, pose_b.matrix)
    assert first[0][0].points_sensor_m.tobytes() != other[0][0].points_sensor_m.tobytes()
    np.testing.assert_array_equal(before, world.ground(grid).reflectance)


def test_returns_lie_on_the_ground_at_the_sensors_height_and_show_the_paint() -> None:
    world = TownWorld(3)
    sweep, world_SE3_sensor, _ = _sweeps(world, 1)[0]
    world_m = world_SE3_sensor.apply(sweep.points_sensor_m.astype(np.float64))
    ground = np.abs(world_m[:, 2]) < 0.2
    assert ground.mean() > 0.3
    assert np.median(np.abs(world_m[ground & (np.hypot(*(world_m[:, :2] - world_m[:, :2].mean(0)).T) < 8), 2])) < 0.02
    near = world.neighbourhood(world_m[:, :2].min(0), world_m[:, :2].max(0))
    assert near is not None
    truth = world.reflectance_at(world_m[ground, :2], near)
    assert np.corrcoef(truth, sweep.intensity[ground])[0, 1] > 0.3


def test_bad_paths_and_speeds_are_refused() -> None:
    world, lidar = TownWorld(3), build_lidar("spinning64", np.random.default_rng(1))
    with pytest.raises(PoseInputError, match="two finite points"):
        next(drive(world, np.zeros((1, 2)), 0, lidar))
    with pytest.raises(ConfigError, match="speed"):
        next(drive(world, _path(world), 0, lidar, speed_mps=0.0))


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_map_of_five_square_kilometres_reads_a_window_alone() -> None:
    world = TownWorld(3, extent_m=2240.0)
    town = TownMap(world)
    assert town.grid.height_px * 0.05 * town.grid.width_px * 0.05 > 4e6
    town.read(22000, 22000, 8, 8)  # compile
    forget_peak()
    before_mb = own_peak_mb()
    for step in range(4):
        window = town.read(22000 + 700 * step, 22400, 300, 300)
    assert own_peak_mb() - before_mb < 143
    assert window.intensity.shape == (300, 300)
    assert len(town._blocks) <= 12


def test_map_windows_agree_and_noise_is_that_of_an_average() -> None:
    world = TownWorld(3, extent_m=400.0)
    town, other = TownMap(world, passes=8.0), TownMap(TownWorld(3, extent_m=400.0), passes=8.0)
    rows, cols = np.nonzero(world.ground(town.grid.window(3000, 3000, 1500, 1500)).kerb_m < -1.0)
    middle = len(rows) // 2
    row, col = 3000 + int(rows[middle]) - 200, 3000 + int(cols[middle]) - 150
    whole = town.read(row, col, 400, 300)
    part = other.read(row + 90, col + 40, 100, 120)
    np.testing.assert_array_equal(whole.intensity[90:190, 40:160], part.intensity)
    np.testing.assert_array_equal(whole.observed[90:190, 40:160], part.observed)
    assert whole.observed.mean() > 0.2
    truth = world.ground(whole.grid).reflectance
    error = (whole.intensity - truth)[whole.observed]
    assert abs(error.mean()) < 0.003
    assert 0.005 < error.std() < 0.06
    noisy = TownMap(world, passes=1.0).read(row, col, 400, 300)
    assert (noisy.intensity - truth)[noisy.observed].std() > 1.3 * error.std()


def test_window_beyond_the_map_is_unobserved() -> None:
    town = TownMap(TownWorld(3, extent_m=100.0))
    window = town.read(-50, 1990, 60, 60)
    assert not window.observed[:50].any()
    assert not window.observed[:, 10:].any()


def test_map_of_no_passes_is_refused() -> None:
    with pytest.raises(ConfigError, match="positive"):
        TownMap(TownWorld(0), passes=0.0)
