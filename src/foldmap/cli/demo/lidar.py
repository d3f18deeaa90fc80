"""The lidar part of ``foldmap demo``: drive 1 maps a street, drive 2 localizes in the folded map on another day."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldmap.cli.demo.settings import DemoSettings, Report
from foldmap.formats.raster.write import write_map_geotiff
from foldmap.geometry import SE2, SE3
from foldmap.lidar.mapping.raster import BuildSettings, build_map
from foldmap.lidar.observation import Observation, aggregate, extent_of, rasterize
from foldmap.lidar.source import Sweep
from foldmap.lidar.unfold import FoldedLidar
from foldmap.localize.lidar.attempt import Attempt
from foldmap.localize.lidar.confidence import LidarEstimate
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.town import TownWorld, build_lidar, drive, street_lanes, wander
from foldmap.types import DoubleArray

_MAPPED_M, _SENSED_M = 20.0, 25.0


@dataclass(frozen=True)
class ShownStep:
    """One step for pictures: what was seen, and what matching around a displaced prior found."""

    observation: Observation
    prior: SE2
    truth: SE2
    found: Attempt


@dataclass
class DemoDrive:
    """What drive 2 did: the truth, odometry alone and an estimate at every step, and seconds spent in the localizer."""

    truth: list[SE2] = field(default_factory=list)
    dead_reckoned: list[SE2] = field(default_factory=list)
    estimates: list[LidarEstimate] = field(default_factory=list)
    seconds: float = 0.0
    shown: ShownStep | None = None


def find_street(world: TownWorld, settings: DemoSettings) -> DoubleArray:
    """A path along the town's lanes, float64 (N, 2), of the demo's length where 20 tries find one."""
    rng = np.random.default_rng([settings.seed, 1])
    reach = 50.0
    while not (lanes := [x for s in world.streets_near(-reach, -reach, reach, reach) for x in street_lanes(s)]):
        reach *= 2
    for _ in range(20):
        path = wander(world.plan, lanes[rng.integers(len(lanes))], settings.length_m, rng)
        arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
        if arc[-1] >= settings.length_m:
            break
    return path[: int(np.searchsorted(arc, settings.length_m)) + 2]


def map_street(
    output: Path,
    world: TownWorld,
    path: DoubleArray,
    settings: DemoSettings,
    resolution_m: float,
    report: Report,
) -> float:
    """Drive 1: sweeps of one day become a GeoTIFF; returns its observed ground in m2."""
    sensor = build_lidar("spinning64", np.random.default_rng([settings.seed, 2]))
    total = math.ceil(settings.length_m / settings.spacing_m)

    def sweeps() -> Iterator[tuple[Sweep, SE3]]:
        day, speed = settings.seed * 10 + 1, 10 * settings.spacing_m
        for index, (sweep, pose, _) in enumerate(drive(world, path, day, sensor, speed, 10.0, max_range_m=_SENSED_M)):
            report(index + 1, total)
            yield sweep, pose

    build = BuildSettings(resolution_m=resolution_m, max_range_m=_MAPPED_M)
    with build_map(sweeps(), build, scratch=output.parent) as built:
        return write_map_geotiff(output, built.grid, built.tiles())


def localize_street(
    folded: FoldedLidar, world: TownWorld, path: DoubleArray, settings: DemoSettings, report: Report
) -> DemoDrive:
    """Filter along drive 2 from a GPS-like prior."""
    rng = np.random.default_rng([settings.seed, 4])
    resolution_m = folded.grid.resolution_m
    localizer, running, driven = LidarLocalizer.open(folded), None, DemoDrive()
    for index, (sweeps, poses) in enumerate(_observed(world, path, settings)):
        if index == settings.steps:
            break
        truth = poses[-1].to_se2()
        observation = rasterize(*aggregate(sweeps, poses, -1), resolution_m, *extent_of(resolution_m))
        motion = SE2(0.0, 0.0, 0.0)
        if index == 0:
            start = truth @ _drawn(rng, settings.prior_m, settings.prior_rad)
            running = localizer.start(start, settings.prior_m, settings.prior_rad)
            driven.dead_reckoned.append(start)
        else:
            motion = driven.truth[-1].inverse() @ truth
            length_m = math.hypot(motion.x_m, motion.y_m)
            motion = motion @ _drawn(rng, *(scale * length_m for scale in settings.odometry))
            driven.dead_reckoned.append(driven.dead_reckoned[-1] @ motion)
        began_s = time.perf_counter()
        assert running is not None
        driven.estimates.append(running.step(observation, motion, 0.2 if index else 0.0))
        driven.seconds += time.perf_counter() - began_s
        driven.truth.append(truth)
        if index in (0, min(settings.steps, 10) - 1):
            prior = truth @ SE2(0.4, -0.3, math.radians(1.0))
            driven.shown = ShownStep(observation, prior, truth, localizer.attempt(observation, prior))
        report(index + 1, settings.steps)
    return driven


def _observed(world: TownWorld, path: DoubleArray, settings: DemoSettings) -> Iterator[tuple[list[Sweep], list[SE3]]]:
    """Another day and another specimen of the lidar: bursts of sweeps with their poses, the last one at a step."""
    sensor = build_lidar("spinning64", np.random.default_rng([settings.seed, 3]))
    sweeps: list[Sweep] = []
    poses: list[SE3] = []
    day, speed = settings.seed * 10 + 2, 10 * settings.step_m / 2
    for index, (sweep, pose, _) in enumerate(drive(world, path, day, sensor, speed, 10.0, max_range_m=_SENSED_M)):
        sweeps, poses = [*sweeps, sweep][-settings.aggregate :], [*poses, pose][-settings.aggregate :]
        if index >= settings.aggregate - 1 and (index - settings.aggregate + 1) % 2 == 0:
            yield sweeps, poses


def _drawn(rng: np.random.Generator, sigma_m: float, sigma_rad: float) -> SE2:
    """A normal displacement: along, aside and in heading."""
    x_m, y_m = (float(value) for value in rng.normal(0, sigma_m, 2))
    return SE2(x_m, y_m, float(rng.normal(0, sigma_rad)))
