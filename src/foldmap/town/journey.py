"""A drive through the town with all sensors, as timed events with the truth beside."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.localize.journey.events import CameraEvent, Event, OdometryEvent, SweepEvent
from foldmap.street.images.observation import RingFrame
from foldmap.town.lidar.drive import drive
from foldmap.town.lidar.sensors import Lidar
from foldmap.town.world import TownWorld
from foldmap.types import DoubleArray


def town_events(
    world: TownWorld,
    path_m: DoubleArray,
    day_seed: int,
    sensor: Lidar,
    look: Callable[[SE2], RingFrame | None] | None = None,  # what cameras see from a pose: a `RingWarp` of a tile
    *,
    speed_mps: float = 8.0,
    rate_hz: float = 10.0,  # of sweeps and odometry
    frame_every: int = 5,  # sweeps a frame of the cameras
    odometry: tuple[float, float, float] = (0.01, 0.005, 0.0005),  # scale error; metres and radians an increment
    max_range_m: float = 25.0,
) -> Iterator[tuple[Event, SE2]]:
    """Drive a path as `foldmap.town.lidar.drive.drive` does; each event comes with world_SE2_vehicle at its time.

    The vehicle's origin is below the lidar. Odometry errs by a scale drawn once and by noise of each increment.
    """
    if frame_every < 1:
        raise ConfigError(f"a frame every {frame_every} sweeps", "give a positive count")
    rng = np.random.default_rng([world.seed, day_seed, 61])
    scale, before = 1.0 + float(rng.normal(0, odometry[0])), None
    sweeps = drive(world, path_m, day_seed, sensor, speed_mps, rate_hz, max_range_m=max_range_m)
    for number, (sweep, world_SE3_sensor, time_s) in enumerate(sweeps):
        truth = world_SE3_sensor.to_se2()
        step = SE2(0.0, 0.0, 0.0) if before is None else before.inverse() @ truth
        turn = step.heading_rad + float(rng.normal(0, odometry[2]))
        ahead, left = step.x_m * scale + float(rng.normal(0, odometry[1])), step.y_m
        yield OdometryEvent(time_s, SE2(ahead, left, math.remainder(turn, math.tau))), truth
        if look is not None and number % frame_every == 0 and (frame := look(truth)) is not None:
            yield CameraEvent(time_s, frame), truth
        yield SweepEvent(time_s, sweep), truth
        before = truth
