"""How the vehicle moves between any two moments, from increments, speeds and yaw rates at their own times."""

from __future__ import annotations

import math

import numpy as np

from foldmap.geometry import SE2, wrap_rad
from foldmap.localize.journey.events import Moves, OdometryEvent, TwistEvent
from foldmap.localize.motion import MotionNoise, increment_covariance
from foldmap.types import DoubleArray

_CARRIED_S = 0.5
"""How long the last known speed is held; after that motion is not known."""


class Moving:
    """Dead reckoning; increments of odometry win over speeds and rates where a drive brings both."""

    def __init__(self) -> None:
        self._at, self._time_s = SE2(0.0, 0.0, 0.0), -math.inf  # where the newest motion event put the vehicle
        self._odometry: tuple[SE2, float] | None = None  # the same of the newest increment
        self._ahead_mps = self._left_mps = self._yaw_radps = 0.0

    def add(self, event: OdometryEvent | TwistEvent | Moves) -> None:
        """Take a motion event, in order of time."""
        if isinstance(event, OdometryEvent):
            start, then_s = self._odometry or (self._at, self._time_s)
            step, dt_s = event.previous_SE2_current, event.time_s - then_s
            self._at, self._time_s = start @ step, event.time_s
            self._odometry = self._at, self._time_s
            if 0 < dt_s <= 4 * _CARRIED_S:
                rates = step.x_m / dt_s, step.y_m / dt_s, step.heading_rad / dt_s
                self._ahead_mps, self._left_mps, self._yaw_radps = rates
        elif self._odometry is None:
            self._at, self._time_s = self.at(event.time_s)[0], event.time_s
            if isinstance(event, TwistEvent):
                self._ahead_mps = event.ahead_mps
            if event.yaw_rate_radps is not None:
                self._yaw_radps = event.yaw_rate_radps

    def at(self, time_s: float) -> tuple[SE2, bool]:
        """start_SE2_vehicle at a time, and whether motion is known up to then."""
        since_s = time_s - self._time_s
        if not math.isfinite(since_s):
            return self._at, False
        return self._at @ self.within(min(max(since_s, -_CARRIED_S), _CARRIED_S)), abs(since_s) <= _CARRIED_S

    def within(self, dt_s: float) -> SE2:
        """How far the vehicle comes in so many seconds at its last speeds."""
        half = 0.5 * self._yaw_radps * dt_s  # along the chord of the arc
        ahead, left = self._ahead_mps * dt_s, self._left_mps * dt_s
        x_m, y_m = math.cos(half) * ahead - math.sin(half) * left, math.sin(half) * ahead + math.cos(half) * left
        return SE2(x_m, y_m, 2 * half)


def moved_on(pose: SE2, covariance: DoubleArray, step: SE2, dt_s: float, noise: MotionNoise) -> tuple[SE2, DoubleArray]:
    """A Gaussian pose (3, 3), carried on by an increment (eq. 2-3)."""
    after = pose @ step
    carry = np.eye(3)
    carry[0, 2], carry[1, 2] = pose.y_m - after.y_m, after.x_m - pose.x_m
    cos, sin = math.cos(after.heading_rad), math.sin(after.heading_rad)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return after, carry @ covariance @ carry.T + turn @ increment_covariance(step, dt_s, noise) @ turn.T


def difference(one: SE2, other: SE2) -> DoubleArray:
    """One minus the other over x, y and heading, float64 (3,)."""
    return np.array([one.x_m - other.x_m, one.y_m - other.y_m, wrap_rad(one.heading_rad - other.heading_rad)])


def distance_m(one: SE2, other: SE2) -> float:
    """Between two positions."""
    return math.hypot(one.x_m - other.x_m, one.y_m - other.y_m)


def far_beyond(apart: DoubleArray, covariance: DoubleArray, sigmas: float = 4.0) -> bool:
    """Whether a difference exceeds what a covariance allows."""
    return bool(apart @ np.linalg.solve(covariance, apart) > sigmas**2)
