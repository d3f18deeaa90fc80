"""Sweeps put together as if all of a revolution had been seen at once, by the time of each point and the motion."""

from __future__ import annotations

import math

import numpy as np

from foldmap.geometry import SE2
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.events import Moves
from foldmap.localize.journey.moving import Moving
from foldmap.types import DoubleArray

_KEPT_S = 2.0
_REACH_S = 0.15
"""How far beyond the newest motion the last known speed is carried on."""


class Track:
    """Where motion events put the vehicle over the last two seconds, in any one frame."""

    def __init__(self) -> None:
        self._moving = Moving()
        self._times_s: list[float] = []
        self._poses: list[SE2] = []

    def add(self, event: Moves) -> None:
        """Take a motion event; those that are older than one before are passed over."""
        if self._times_s and event.time_s < self._times_s[-1]:
            return
        self._moving.add(event)
        self._times_s.append(event.time_s)
        self._poses.append(self._moving.at(event.time_s)[0])
        while self._times_s[-1] - self._times_s[0] > _KEPT_S:
            del self._times_s[0], self._poses[0]

    def covers(self, first_s: float, last_s: float) -> bool:
        """Whether motion is known from one time to another."""
        times = self._times_s
        return len(times) > 1 and times[0] - _REACH_S <= first_s and last_s <= times[-1] + _REACH_S

    def knots(self, first_s: float, last_s: float) -> tuple[DoubleArray, DoubleArray]:
        """Times (K,) and x, y, heading (K, 3), headings without jumps; the ends are carried on at the last speed."""
        times, poses = list(self._times_s), list(self._poses)
        if last_s > times[-1]:
            poses.append(self._moving.at(last_s)[0])
            times.append(last_s)
        if first_s < times[0]:
            share = (first_s - times[0]) / (times[1] - times[0]) if times[1] > times[0] else 0.0
            step = poses[0].inverse() @ poses[1]
            poses.insert(0, poses[0] @ SE2(share * step.x_m, share * step.y_m, share * step.heading_rad))
            times.insert(0, first_s)
        rows = np.array([[pose.x_m, pose.y_m, pose.heading_rad] for pose in poses])
        rows[:, 2] = np.unwrap(rows[:, 2])
        return np.array(times), rows


def deskewed(sweep: Sweep, offsets_s: DoubleArray, time_s: float, track: Track) -> Sweep | None:
    """The points, in the vehicle's axes, as they would lie had all been measured at ``time_s``.

    ``offsets_s`` (N,) are when each point was measured, seconds after that. Between motion events x, y and heading go
    on evenly. None where the motion is not known over the whole revolution.
    """
    at_s = time_s + offsets_s
    first_s, last_s = min(float(at_s.min()), time_s), max(float(at_s.max()), time_s)
    if not track.covers(first_s, last_s):
        return None
    times_s, poses = track.knots(first_s, last_s)
    x_m, y_m, heading = (np.interp(at_s, times_s, poses[:, axis]) for axis in range(3))
    x0_m, y0_m, heading0 = (float(np.interp(time_s, times_s, poses[:, axis])) for axis in range(3))
    cos, sin = np.cos(heading - heading0), np.sin(heading - heading0)
    ahead, left = x_m - x0_m, y_m - y0_m
    cos0, sin0 = math.cos(heading0), math.sin(heading0)
    points = sweep.points_sensor_m.astype(np.float64)
    moved = np.stack(
        [
            cos * points[:, 0] - sin * points[:, 1] + cos0 * ahead + sin0 * left,
            sin * points[:, 0] + cos * points[:, 1] - sin0 * ahead + cos0 * left,
            points[:, 2],
        ],
        1,
    )
    return Sweep(moved.astype(np.float32), sweep.intensity)
