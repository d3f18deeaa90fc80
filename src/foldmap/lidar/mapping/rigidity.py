"""Whether the differences of poses are how the sensor moved, or each pose has an error of its own, as priors may.

What poses say of neighbouring sweeps is compared with what registering these says. Errors of their own also make
steps that change from one to the next as no vehicle moves; drift, or poses of another sensor, do not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.geometry import SE2, SE3
from foldmap.geometry.se2 import wrap_rad
from foldmap.lidar.mapping.registration import SweepRegistration
from foldmap.lidar.source import Sweep
from foldmap.types import DoubleArray

_STARTS, _IN_A_ROW = 4, 4
_ARM_M = 10.0
"""Turns count as what they move a point so far away."""
_APART_M = 0.15
_OWN_M = _APART_M / math.sqrt(2)
_ROUGHER = 2.0
_LEAST_POSES = 8
_ALTERNATING = -0.4
"""Correlation of a step's change with the next change: -2/3 for errors of their own, about 0 or more for vehicles."""


@dataclass(frozen=True)
class Rigidity:
    """What was found of the poses of a drive.

    Attributes:
        rigid: their differences are how the sensor moved, as far as can be known.
        registered: sweeps were registered to each other to know it.
        words: for people, how far off the steps are.
    """

    rigid: bool
    registered: bool
    words: str


def rigidity_of(read: Callable[[int], Sweep | None], world_SE3_sensors: Sequence[SE3]) -> Rigidity:
    """Judge the poses of a drive; ``read`` gives a sweep by its number, None where it cannot be used."""
    changes = _changes([pose.to_se2() for pose in world_SE3_sensors])
    total, many = float((changes**2).sum()), len(changes) >= _LEAST_POSES - 2
    own_m = math.sqrt(total / max(len(changes), 1) / 6.0)  # a second difference has six times an error's variance
    words = f"each pose has an error of its own of about {own_m:.2f} m, {_ARM_M:.0f} m away"
    if many and own_m <= _OWN_M:
        return Rigidity(True, False, words)  # they move as smoothly as a vehicle: no sweep need be read
    last = max(len(world_SE3_sensors) - _IN_A_ROW, 0)
    apart, rough, by_poses = list[DoubleArray](), list[DoubleArray](), list[DoubleArray]()
    for start in sorted(set(np.linspace(0, last, _STARTS).round().astype(int).tolist())):
        said, seen = _steps_at(read, world_SE3_sensors, start)
        apart += [_difference(a, b) for a, b in zip(said, seen, strict=True)]
        by_poses += [_difference(a, b) for a, b in zip(said[1:], said, strict=False)]
        rough += [_difference(a, b) for a, b in zip(seen[1:], seen, strict=False)]
    if rough:
        apart_m, degrees = _sizes(apart)
        words = f"steps of the poses are {apart_m:.2f} m and {degrees:.1f} degrees from what the sweeps show"
        wrong = _smear_m(apart) > _APART_M and _smear_m(by_poses) > _ROUGHER * _smear_m(rough)
        return Rigidity(not wrong, True, words)
    if not many:
        return Rigidity(True, False, "too few poses to judge")
    alternating = float((changes[1:] * changes[:-1]).sum()) / total
    return Rigidity(alternating >= _ALTERNATING, False, words)


def blur_note(read: Callable[[int], Sweep | None], world_SE3_sensors: Sequence[SE3], where: str) -> str:
    """What to say of the poses that a map is built by, ``where`` names their file; empty where they are rigid."""
    found = rigidity_of(read, world_SE3_sensors)
    if found.rigid:
        return ""
    cure = "give poses of SLAM or odometry; without --poses the sweeps of one pass tell their own"
    return f"the poses of {where} do not lay sweeps on each other ({found.words}): the map is blurred by that; {cure}"


def _steps_at(read: Callable[[int], Sweep | None], poses: Sequence[SE3], start: int) -> tuple[list[SE2], list[SE2]]:
    """Steps from a sweep on, by the poses and by registration, as far as that goes."""
    running, before = SweepRegistration(), SE3(np.eye(4))
    said, seen = list[SE2](), list[SE2]()
    for index in range(start, min(start + _IN_A_ROW, len(poses))):
        sweep = read(index)
        if sweep is None:
            break
        step = poses[index - 1].inverse() @ poses[index] if index > start else None
        at = running.add(sweep, step)
        if step is not None:
            if at is None:
                break
            said.append(step.to_se2())
            seen.append((before.inverse() @ at).to_se2())
            before = at
    return said, seen


def _difference(a: SE2, b: SE2) -> DoubleArray:
    return np.array([a.x_m - b.x_m, a.y_m - b.y_m, _ARM_M * wrap_rad(a.heading_rad - b.heading_rad)])


def _smear_m(differences: Sequence[DoubleArray]) -> float:
    return float(np.median(np.linalg.norm(differences, axis=1))) if differences else 0.0


def _sizes(differences: Sequence[DoubleArray]) -> tuple[float, float]:
    rows = np.array(differences)
    return float(np.median(np.hypot(rows[:, 0], rows[:, 1]))), math.degrees(
        float(np.median(np.abs(rows[:, 2]))) / _ARM_M
    )


def _changes(poses: Sequence[SE2]) -> DoubleArray:
    """How each step differs from the one before, (N - 2, 3) m."""
    steps = [a.inverse() @ b for a, b in itertools.pairwise(poses)]
    return np.array([_difference(b, a) for a, b in itertools.pairwise(steps)]).reshape(-1, 3)
