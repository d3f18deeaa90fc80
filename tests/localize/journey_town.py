"""A textured block with lanes, a drive in it, and what the drive brings; everything is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from street_world import Streets, noisy, streets, town_graph
from street_world import drive as lane_drive
from textured_world import World, texture

from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar.source import RasterMap
from foldmap.localize.journey.events import CameraEvent, Event, FixEvent, OdometryEvent, SweepEvent
from foldmap.localize.journey.senses import Layers
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.localize.street.localizer import StreetLocalizer

HALF_M, PIXEL_M, STEP_M, PERIOD_S, EVERY = 100.0, 0.1, 0.8, 0.1, 5


@dataclass
class Town:
    """Ground and lanes in one frame."""

    ground: World
    lanes: Streets

    def layers(self, lidar: bool = True, street: bool = True) -> Layers:
        return Layers(
            LidarLocalizer.open(self.ground) if lidar else None,
            None,
            StreetLocalizer(self.lanes.places, self.lanes.embeddings) if street else None,
        )


def make_town(seed: int = 3) -> Town:
    lanes = streets(town_graph(seed, HALF_M))
    low, high = lanes.graph.vertices_m.min(0) - 20.0, lanes.graph.vertices_m.max(0) + 20.0
    across, down = (int(side) for side in np.ceil((high - low) / PIXEL_M))
    grid = MetricGrid(float(low[0]), float(high[1]), PIXEL_M, down, across)
    fine, broad = texture(seed, (down, across), 2.0), texture(seed + 1, (down, across), 8.0)
    raster = RasterMap(grid, fine + 0.6 * broad, np.ones((down, across), bool))
    return Town(World(raster), lanes)


def drive_of(town: Town, frames: int, seed: int) -> list[SE2]:
    return lane_drive(town.lanes.graph, np.random.default_rng(seed), frames, STEP_M)


def events_of(
    town: Town,
    poses: list[SE2],
    seed: int = 0,
    *,
    blind: range = range(0),
    no_sweeps: range = range(0),
    jump_at: int | None = None,
    looks: World | None = None,
    gnss_m: float | None = None,
) -> Iterator[Event]:
    """Odometry that errs by 1 %, a sweep at each pose, an embedding at every fifth; it misses `jump_at`."""
    rng = np.random.default_rng([seed, 8])
    for k, (before, pose) in enumerate(itertools.pairwise([poses[0], *poses])):
        moved, time_s = before.inverse() @ pose, PERIOD_S * k
        if k == jump_at:
            moved = SE2(STEP_M, 0.0, 0.0)
        turn = moved.heading_rad + float(rng.normal(0, 0.0005))
        yield OdometryEvent(time_s, SE2(moved.x_m * 1.01, moved.y_m, turn))
        if k in blind:
            continue
        if k % EVERY == 0:
            yield CameraEvent(time_s, noisy(town.lanes.raster([pose]), 0.5, rng)[0])
        if gnss_m is not None and k % 10 == 0:
            east_m, north_m = pose.x_m + rng.normal(0, gnss_m), pose.y_m + rng.normal(0, gnss_m)
            yield FixEvent(time_s, float(east_m), float(north_m), gnss_m)
        if k not in no_sweeps:
            yield SweepEvent(time_s, (looks or town.ground).look(pose, 0.7, 1000 * seed + 2 * k))


def off_m(pose: SE2, truth: SE2) -> float:
    return math.hypot(pose.x_m - truth.x_m, pose.y_m - truth.y_m)
