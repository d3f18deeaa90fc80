"""How the vehicle moves between two observations, and how sure odometry is of it (eq. 2-3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.geometry import SE2
from foldmap.localize.estimate import check_numbers
from foldmap.types import DoubleArray


@dataclass(frozen=True)
class MotionNoise:
    """Standard deviations of an odometry increment: per square root of a second, per metre driven, per radian turned.

    Positions are of each axis (m), headings in radians.
    """

    position_m: float = 0.01
    position_per_m: float = 0.02
    heading_rad: float = math.radians(0.05)
    heading_per_m: float = math.radians(0.02)
    heading_per_rad: float = 0.02

    def __post_init__(self) -> None:
        check_numbers(self, "motion noise", 0.0)


def increment_covariance(increment: SE2, dt_s: float, noise: MotionNoise) -> DoubleArray:
    """Return Sigma of eq. 3, (3, 3), in the vehicle frame at the increment's end."""
    driven = math.hypot(increment.x_m, increment.y_m)
    position = noise.position_m**2 * dt_s + (noise.position_per_m * driven) ** 2
    heading = noise.heading_rad**2 * dt_s + (noise.heading_per_m * driven) ** 2
    turned = (noise.heading_per_rad * increment.heading_rad) ** 2
    return np.diag([position, position, heading + turned])


def scale_variance(before_m: float, driven_m: float, noise: MotionNoise) -> float:
    """What a step adds to a position's variance (m2) beyond its own noise as the way before erred alike.

    Odometry's scale is off by one share of all that is driven: of L metres by the share times L, whatever the steps.
    """
    return noise.position_per_m**2 * 2 * before_m * driven_m


def check_increment(increment: SE2) -> None:
    """Refuse an increment that is not finite."""
    if not all(math.isfinite(v) for v in (increment.x_m, increment.y_m, increment.heading_rad)):
        raise PoseInputError(f"the odometry increment {increment} is not finite", "leave that step out")
