"""A drive without a prior begins where fixes and odometry say, with sigmas that are true."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from textured_world import World, texture

from foldmap.api.tracking import Tracker
from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2, MetricGrid, wrap_rad
from foldmap.lidar.source import RasterMap
from foldmap.localize.estimate import Status
from foldmap.localize.lidar.gps_start import GpsStart
from foldmap.localize.lidar.localizer import LidarLocalizer

STEP = SE2(1.0, 0.0, 0.02)


def begun(seed: int, sigma_m: float, wild: tuple[int, ...] = ()) -> tuple[SE2, tuple[SE2, float, float]]:
    """The true pose when it begins, and what is said then."""
    rng, start = np.random.default_rng(seed), GpsStart()
    truth = SE2(500.0, -200.0, float(rng.uniform(-math.pi, math.pi)))
    for number in range(200):
        east_m, north_m = rng.normal((truth.x_m, truth.y_m), sigma_m)
        start.add(east_m + 80.0 * (number in wild), north_m, sigma_m)
        found = start.pose()
        if found is not None:
            return truth, found
        truth = truth @ STEP
        start.move(STEP)
    raise AssertionError(start.reason)


def test_sigmas_are_those_of_the_errors() -> None:
    squares = []
    for seed in range(60):
        truth, (pose, sigma_m, sigma_rad) = begun(seed, 2.0)
        assert (sigma_m <= 1.0, sigma_rad <= math.radians(2.5)) == (True, True)
        turn = wrap_rad(pose.heading_rad - truth.heading_rad) / sigma_rad
        squares.append([turn**2, ((pose.x_m - truth.x_m) / sigma_m) ** 2, ((pose.y_m - truth.y_m) / sigma_m) ** 2])
    mean = np.mean(squares, 0)
    assert (mean < 1.8).all()  # of the chi-square with one degree of freedom it is 1; 60 draws spread by 0.18
    assert mean[0] > 0.4


def test_a_wild_fix_is_left_out() -> None:
    truth, (pose, sigma_m, sigma_rad) = begun(3, 2.0, wild=(4, 11))
    assert math.hypot(pose.x_m - truth.x_m, pose.y_m - truth.y_m) < 4 * sigma_m
    assert abs(wrap_rad(pose.heading_rad - truth.heading_rad)) < 4 * sigma_rad


def test_a_vehicle_that_stands_has_no_heading() -> None:
    start = GpsStart()
    assert (start.pose(), start.reason) == (None, "no GPS fix yet")
    for _ in range(100):
        start.add(10.0, 20.0, 0.5)
        start.move(SE2(0.0, 0.0, 0.0))
        assert start.pose() is None
    assert "tell the heading to nothing" in start.reason
    with pytest.raises(PoseInputError, match="sigma > 0"):
        start.add(0.0, 0.0, 0.0)


class _Map:
    def __init__(self, world: World) -> None:
        self.localizer = LidarLocalizer.open(world)

    def lidar_localizer(self) -> LidarLocalizer:
        return self.localizer


def driven(world: World) -> Iterator[tuple[SE2, object, SE2 | None, tuple[float, float, float] | None]]:
    """Truth, observation, odometry and every other step a fix, 0.6 m off."""
    truth, moved, rng = SE2(515.0, -235.0, 0.9), None, np.random.default_rng(5)
    for number in range(34):
        east_m, north_m = rng.normal((truth.x_m, truth.y_m), 0.6)
        fix = (float(east_m), float(north_m), 0.6) if number % 2 == 0 else None
        yield truth, world.look(truth, 1.0, 50 + 2 * number), moved, fix
        moved = SE2(0.6, 0.0, -0.01)
        truth = truth @ moved


def test_a_drive_of_fixes_and_odometry_alone_is_tracked(world: World) -> None:
    tracker = Tracker(_Map(world), layer="lidar")  # type: ignore[arg-type]
    answered = []
    for truth, seen, moved, fix in driven(world):
        estimate = tracker.step(seen, moved, gps=fix)
        if estimate.pose is None:
            assert not answered
            assert estimate.status is Status.AMBIGUOUS
            assert "GPS" in estimate.diagnostics.reason
        else:
            answered.append(math.hypot(estimate.pose.x_m - truth.x_m, estimate.pose.y_m - truth.y_m))
    assert len(answered) >= 5
    assert max(answered) < 0.06
    assert estimate.status is Status.OK


def test_without_a_prior_and_a_fix_there_is_no_beginning(world: World) -> None:
    _, seen, _, _ = next(driven(world))
    with pytest.raises(ConfigError, match="near a pose"):
        Tracker(_Map(world)).step(seen)  # type: ignore[arg-type]
    assert Tracker(_Map(world), layer="lidar").step(seen).diagnostics.reason == "no GPS fix yet"  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no tracking"):
        Tracker(_Map(world), layer="visual")  # type: ignore[arg-type]


def rails(seed: int) -> World:
    """Ground that varies from north to south alone, with a little of everything."""
    side_px = 1000
    grid = MetricGrid(west_m=500.0, north_m=-200.0, resolution_m=0.05, height_px=side_px, width_px=side_px)
    lines = np.repeat(texture(seed, (side_px, 1)), side_px, 1) + 0.02 * texture(seed + 1, (side_px, side_px))
    return World(RasterMap(grid, lines.astype(np.float32), np.ones((side_px, side_px), bool)))


def test_along_rails_fixes_tell_how_far_and_the_covariance_says_how_well() -> None:
    world, rng = rails(4), np.random.default_rng(8)
    truth, moved = SE2(508.0, -225.0, 0.0), None
    tracker, answered = Tracker(_Map(world), truth @ SE2(0.3, 0.2, 0.01), 1.0, layer="lidar"), 0  # type: ignore[arg-type]
    for number in range(45):
        east_m, north_m = rng.normal((truth.x_m, truth.y_m), 0.5)
        estimate = tracker.step(
            world.look(truth, 1.0, 50 + 2 * number), moved, gps=(float(east_m), float(north_m), 0.5)
        )
        assert estimate.status is not Status.OK
        if estimate.pose is not None and estimate.covariance is not None:
            answered += 1
            assert estimate.status is Status.DEGRADED
            sigma_m = np.sqrt(np.diag(estimate.covariance)[:2])
            assert abs(estimate.pose.y_m - truth.y_m) < 0.06  # little more than a pixel
            assert abs(estimate.pose.x_m - truth.x_m) < 3.5 * sigma_m[0]
        moved = SE2(0.6, 0.0, 0.0)
        truth = truth @ moved
    assert answered >= 20


def test_on_another_map_matches_never_confirm_a_drive(world: World, other_world: World) -> None:
    tracker = Tracker(_Map(other_world), layer="lidar")  # type: ignore[arg-type]
    assert all(tracker.step(seen, moved, gps=fix).pose is None for _, seen, moved, fix in driven(world))
