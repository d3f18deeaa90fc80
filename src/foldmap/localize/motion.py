"""How the vehicle moves between two observations, and how sure odometry is of it (eq. 2-3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2
from foldmap.types import DoubleArray


@dataclass(frozen=True)
class MotionNoise:
    """Standard deviations of an odometry increment, as a fixed part and a part per distance and per turn.

    Attributes:
        position_m: of each axis, per square root of a second.
        position_per_m: of each axis, per metre driven.
        heading_rad: per square root of a second.
        heading_per_m: radians per metre driven.
        heading_per_rad: radians per radian turned.
    """

    position_m: float = 0.01
    position_per_m: float = 0.02
    heading_rad: float = math.radians(0.05)
    heading_per_m: float = math.radians(0.02)
    heading_per_rad: float = 0.02

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"motion noise {name} is {value}", "give a finite value >= 0")


def velocity_increment(speed_mps: float, yaw_rate_radps: float, dt_s: float) -> SE2:
    """Return the increment of driving at constant speed and yaw rate for ``dt_s``: an arc.

    Raises:
        PoseInputError: a value is not finite, or time runs backwards.
    """
    if not all(math.isfinite(v) for v in (speed_mps, yaw_rate_radps, dt_s)) or dt_s < 0:
        raise PoseInputError(f"speed {speed_mps}, yaw rate {yaw_rate_radps}, dt {dt_s}", "give finite values, dt >= 0")
    turn, length = yaw_rate_radps * dt_s, speed_mps * dt_s
    if abs(turn) < 1e-9:
        return SE2(length, 0.5 * length * turn, turn)
    return SE2(length * math.sin(turn) / turn, length * (1 - math.cos(turn)) / turn, turn)


def increment_covariance(increment: SE2, dt_s: float, noise: MotionNoise) -> DoubleArray:
    """Return Sigma of eq. 3, (3, 3), in the vehicle frame at the increment's end."""
    driven = math.hypot(increment.x_m, increment.y_m)
    position = noise.position_m**2 * dt_s + (noise.position_per_m * driven) ** 2
    heading = (
        noise.heading_rad**2 * dt_s
        + (noise.heading_per_m * driven) ** 2
        + (noise.heading_per_rad * increment.heading_rad) ** 2
    )
    return np.diag([position, position, heading])


def compose_gaussian(pose: SE2, covariance: DoubleArray, increment: SE2, sigma: DoubleArray) -> tuple[SE2, DoubleArray]:
    """Return mean and covariance of ``x (+) u`` to first order (eq. 3 applied to a Gaussian belief).

    Args:
        pose: world_SE2_vehicle, the belief's mean.
        covariance: (3, 3) in the world frame.
        increment: the odometry's.
        sigma: (3, 3), its covariance in the vehicle frame at its end.

    Raises:
        PoseInputError: the increment is not finite.
    """
    check_increment(increment)
    moved = pose @ increment
    dx, dy = moved.x_m - pose.x_m, moved.y_m - pose.y_m
    carry = np.array([[1.0, 0.0, -dy], [0.0, 1.0, dx], [0.0, 0.0, 1.0]])
    cos, sin = math.cos(moved.heading_rad), math.sin(moved.heading_rad)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return moved, carry @ covariance @ carry.T + turn @ sigma @ turn.T


def check_increment(increment: SE2) -> None:
    """Refuse an increment that is not finite."""
    if not all(math.isfinite(v) for v in (increment.x_m, increment.y_m, increment.heading_rad)):
        raise PoseInputError(f"the odometry increment {increment} is not finite", "leave that step out")
