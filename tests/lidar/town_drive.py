"""Sweeps of a street of the generated town, and priors of them that have errors of their own."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np

from foldmap.geometry import SE2, SE3
from foldmap.lidar.source import Sweep
from foldmap.town import TownWorld, build_lidar, drive, street_lanes, wander


def town_drive(count: int) -> tuple[list[Sweep], list[SE3]]:
    """So many sweeps along a street, and their true poses."""
    world = TownWorld(3)
    street = next(s for i in range(9) if (s := world.plan.street((i, 0, 0))) is not None)
    path = wander(world.plan, street_lanes(street)[0], 60.0, np.random.default_rng(0))
    lidar = build_lidar("spinning64", np.random.default_rng(1))
    sweeps, poses, _ = zip(*islice(drive(world, path, 1, lidar, max_range_m=40.0), count), strict=True)
    return list(sweeps), list(poses)


def independent(truth: list[SE3], sigma_m: float, sigma_deg: float) -> list[SE3]:
    """Each pose off on its own."""
    rng = np.random.default_rng(0)
    errors = [SE2(*rng.normal(0.0, sigma_m, 2), math.radians(rng.normal(0.0, sigma_deg))) for _ in truth]
    return [pose @ SE3.from_se2(error) for pose, error in zip(truth, errors, strict=True)]
