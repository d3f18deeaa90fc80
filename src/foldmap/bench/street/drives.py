"""Drives along lanes: where a vehicle goes, how far off the lane it is, and what its odometry says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.geometry import SE2
from foldmap.localize.street.lane_places import LanePlaces
from foldmap.street.images.observation import StreetPair

_DRIFT_SHARE, _DRIFT_RAD = 0.02, math.radians(0.5)
_OFF_LANE_M, _OFF_HEADING_RAD = 0.3, math.radians(2.0)


@dataclass(frozen=True)
class StreetDrive:
    """Frames along lanes, rendered when asked for, and what odometry said between them, in the vehicle frame before."""

    frames: Sequence[StreetPair]
    poses: tuple[SE2, ...]
    increments: tuple[SE2 | None, ...]


def off_lane(world_SE2_lane: SE2, rng: np.random.Generator) -> SE2:
    """Where a vehicle really is on a lane: some decimetres and degrees off its centre line."""
    return world_SE2_lane @ SE2(0.0, float(rng.normal(0, _OFF_LANE_M)), float(rng.normal(0, _OFF_HEADING_RAD)))


def odometry(poses: Sequence[SE2], rng: np.random.Generator) -> tuple[SE2 | None, ...]:
    """Increments with 2 % of noise along and half a degree of turn, a step."""
    found: list[SE2 | None] = [None]
    for before, after in itertools.pairwise(poses):
        step = before.inverse() @ after
        scale = 1 + float(rng.normal(0, _DRIFT_SHARE))
        found.append(SE2(step.x_m * scale, step.y_m * scale, step.heading_rad + float(rng.normal(0, _DRIFT_RAD))))
    return tuple(found)


def lane_walk(places: LanePlaces, frames: int, step_m: float, rng: np.random.Generator) -> list[SE2]:
    """Poses every so many metres from a random place onward, a random branch at each fork; shorter at a dead end."""
    at = int(rng.integers(len(places)))
    poses, driven = [places.pose(at)], 0.0
    while len(poses) < frames:
        onward = places.follow[places.follow_offset[at] : places.follow_offset[at + 1]]
        if not len(onward):
            break
        after = int(onward[int(rng.integers(len(onward)))])
        driven += 0.5 * float(places.length_m[at] + places.length_m[after])
        at = after
        if driven >= step_m * len(poses):
            poses.append(places.pose(at))
    return poses
