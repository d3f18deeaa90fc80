"""Where a drive without a prior begins: fixes of a satellite receiver and odometry tell position, and then heading.

Fixes laid along what odometry has driven are a rigid alignment: the longer the way and the more fixes, the better is
the heading known. A vehicle that stands has none.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.geometry import SE2
from foldmap.types import DoubleArray

_MOST = 300
_EXCLUDED = 16.0
"""Squared, in standard deviations: a fix as far from where the others put it is none of them."""


class GpsStart:
    """Gathers fixes until they tell a pose.

    Args:
        most_sigma_m: how sure of the position one must be, standard deviation.
        most_sigma_rad: and of the heading.
    """

    def __init__(self, most_sigma_m: float = 1.0, most_sigma_rad: float = math.radians(2.5)) -> None:
        self._most_sigma_m, self._most_sigma_rad = most_sigma_m, most_sigma_rad
        self._fixes: deque[tuple[SE2, float, float, float]] = deque(maxlen=_MOST)
        self._here = SE2(0.0, 0.0, 0.0)
        self.reason = "no GPS fix yet"

    def move(self, odometry: SE2) -> None:
        """Drive on: previous_SE2_current."""
        self._here = self._here @ odometry

    def add(self, east_m: float, north_m: float, sigma_m: float) -> None:
        """Take a fix in the world frame; a PoseInputError where a value is not finite or sigma not positive."""
        if not all(math.isfinite(value) for value in (east_m, north_m, sigma_m)) or sigma_m <= 0:
            raise PoseInputError(f"GPS fix ({east_m}, {north_m}) +- {sigma_m} m", "give finite values and sigma > 0")
        self._fixes.append((self._here, east_m, north_m, sigma_m))

    def pose(self) -> tuple[SE2, float, float] | None:
        """World_SE2_vehicle now, and its standard deviations (m, rad); None, and a `reason`, until both are small."""
        if len(self._fixes) < 2:
            self.reason = "one GPS fix tells no heading: drive on" if self._fixes else self.reason
            return None
        start_SE2_here = self._here
        driven = np.array([start_SE2_here.inverse().apply(np.array([[at.x_m, at.y_m]]))[0] for at, *_ in self._fixes])
        seen = np.array([fix[1:3] for fix in self._fixes])
        weight = np.array([fix[3] for fix in self._fixes]) ** -2.0
        kept = np.ones(len(seen), bool)
        for _ in range(len(seen)):
            pose, sigma_m, sigma_rad, squares = _aligned(driven[kept], seen[kept], weight[kept])
            worst = int(squares.argmax())
            if kept.sum() <= 4 or squares[worst] <= _EXCLUDED * max(1.0, float(np.median(squares)) / 1.39):
                break
            kept[np.flatnonzero(kept)[worst]] = False
        if sigma_rad > self._most_sigma_rad:
            known = f"{math.degrees(sigma_rad):.0f} degrees" if sigma_rad < math.pi / 2 else "nothing"
            self.reason = f"GPS and odometry tell the heading to {known}: drive on"
            return None
        if sigma_m > self._most_sigma_m:
            self.reason = f"GPS and odometry tell the position to {sigma_m:.1f} m: drive on"
            return None
        return pose, sigma_m, sigma_rad


def _aligned(driven_m: DoubleArray, seen_m: DoubleArray, weight: DoubleArray) -> tuple[SE2, float, float, DoubleArray]:
    """The rigid motion that lays what was driven on what was seen, its sigmas, and each fix's squared residual."""
    share = weight / weight.sum()
    centre, target = share @ driven_m, share @ seen_m
    own, other = driven_m - centre, seen_m - target
    along = float(weight @ (own * other).sum(1))
    across = float(weight @ (own[:, 0] * other[:, 1] - own[:, 1] * other[:, 0]))
    heading_rad = math.atan2(across, along)
    turned = SE2(0.0, 0.0, heading_rad)
    at = target - turned.apply(centre[None])[0]
    pose = SE2(float(at[0]), float(at[1]), heading_rad)
    squares = weight * ((pose.apply(driven_m) - seen_m) ** 2).sum(1)
    excess = max(1.0, float(squares.sum()) / max(2 * len(squares) - 3, 1))
    spread = float(weight @ (own**2).sum(1))
    turn_variance = excess / spread if spread > 1e-9 else math.inf
    variance = excess / float(weight.sum()) + float(centre @ centre) * turn_variance
    return pose, math.sqrt(variance), math.sqrt(turn_variance), squares
