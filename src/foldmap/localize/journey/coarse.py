"""Where roughly: the regions that streets, satellites, a prior or the last known pose leave to search in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from foldmap.geometry import SE2, MetricGrid
from foldmap.localize.estimate import Status, largest_sigma
from foldmap.localize.journey.moving import moved_on
from foldmap.localize.lidar.gps_start import GpsStart
from foldmap.localize.motion import MotionNoise
from foldmap.localize.street.estimate import StreetEstimate
from foldmap.localize.street.lane_motion import LaneMotion, driven_m
from foldmap.localize.street.lane_places import turn_between
from foldmap.localize.street.localizer import Seen, StreetFilter, StreetLocalizer
from foldmap.localize.street.settings import StreetPrior
from foldmap.types import DoubleArray

_MODE_M, _MODE_TURN_RAD = 12.0, math.radians(45.0)
_LEAST_M, _MOST_M = 5.0, 15.0
_CELL_M = 8.0
_RECENT_M, _STALE_M = 5.0, 50.0  # driven since the street was seen: no longer sure, and no longer said


@dataclass(frozen=True)
class Region:
    """Where to search: half a window about a pose, metres, and the headings to either side of it; and who said so."""

    pose: SE2
    radius_m: float
    range_rad: float
    layer: str


class Coarse:
    """What is known of the place without any fine layer; the fine ones never change it."""

    def __init__(self, street: StreetLocalizer | None, prior: Region | None = None) -> None:
        self._localizer, self.prior = street, prior
        self.street: StreetEstimate | None = None
        self.begin(prior)

    def begin(self, prior: Region | None = None) -> None:
        """Forget all, but for what is handed in."""
        self.prior, self._gnss, self.street = prior, GpsStart(2.0, math.radians(10.0)), None
        self._fix: tuple[float, float, float] | None = None
        self._step = SE2(0.0, 0.0, 0.0)
        self._filter: StreetFilter | None = None
        self._motion_known = True
        self._glimpsed: tuple[Region, float] | None = None  # and how far was driven since

    def move(self, step: SE2, known: bool) -> None:
        """Drive on."""
        self._step, self._motion_known = self._step @ step, self._motion_known and known
        self._gnss.move(step)
        if self._glimpsed is not None:
            region, driven_m = self._glimpsed
            driven_m += math.hypot(step.x_m, step.y_m)
            moved = Region(region.pose @ step, region.radius_m, region.range_rad, region.layer)
            self._glimpsed = (moved, driven_m) if known and driven_m <= _RECENT_M else None
        if self.prior is not None:
            grown_m = self.prior.radius_m + 0.05 * math.hypot(step.x_m, step.y_m) + (0.0 if known else 1.0)
            self.prior = Region(self.prior.pose @ step, grown_m, self.prior.range_rad, self.prior.layer)

    def fix(self, east_m: float, north_m: float, sigma_m: float) -> None:
        """Take a satellite fix."""
        self._gnss.add(east_m, north_m, sigma_m)
        self._fix = east_m, north_m, sigma_m
        if self._localizer is not None and self._filter is None:
            near = StreetPrior(east_m, north_m, max(4 * sigma_m, 15.0))
            if float(self._localizer.prior_belief(near).sum()) > 0:
                self._filter = self._localizer.start(near)

    def glimpse(self, pose: SE2, covariance: DoubleArray) -> None:
        """Take a camera's pose that is not sure: lidar may find it right."""
        radius_m = min(max(3 * largest_sigma(covariance[:2, :2]) + 0.5, 1.0), _LEAST_M)
        range_rad = min(3 * math.sqrt(covariance[2, 2]) + math.radians(2.0), math.radians(15.0))
        self._glimpsed = Region(pose, radius_m, range_rad, "visual"), 0.0

    def look(self, seen: Seen) -> StreetEstimate | None:
        """Weigh what cameras saw of the streets."""
        if self._localizer is None or not len(self._localizer.places):
            return None
        if self._filter is None or abs(driven_m(self._step)) > LaneMotion().most_m:  # too far to follow lanes unseen
            self._filter, self._step = StreetFilter(self._localizer, self._disc()), SE2(0.0, 0.0, 0.0)
        step, self._step = self._step, SE2(0.0, 0.0, 0.0)
        self.street = self._filter.step(seen, step)
        self._motion_known = True
        return self.street

    def placed(self) -> tuple[Status, SE2, DoubleArray] | None:
        """The street's answer, carried on since the street was last seen; None where it gave no pose."""
        street = self.street
        if street is None or street.pose is None or street.covariance is None or not self._motion_known:
            return None
        driven_m = math.hypot(self._step.x_m, self._step.y_m)
        if driven_m > _STALE_M:
            return None
        pose, covariance = moved_on(street.pose, street.covariance, self._step, 0.0, MotionNoise())
        return Status.DEGRADED if driven_m > _RECENT_M else street.status, pose, covariance

    def by_gnss(self) -> tuple[SE2, float, float] | None:
        """The pose that fixes along odometry tell, and its standard deviations (m, rad)."""
        return self._gnss.pose()

    def regions(self, most: int) -> list[Region]:
        """The most probable regions, the likeliest first."""
        found = [] if self.prior is None else [self.prior]
        if self._glimpsed is not None:
            found.append(self._glimpsed[0])
        known = self._gnss.pose()
        if known is not None:
            pose, sigma_m, sigma_rad = known
            found.append(Region(pose, min(max(3 * sigma_m, 2.0), _MOST_M), 3 * sigma_rad, "gnss"))
        return [*found, *self._of_streets(most)][:most]

    def _disc(self) -> StreetPrior | None:
        if self.prior is None or self._localizer is None:
            return None
        disc = StreetPrior(self.prior.pose.x_m, self.prior.pose.y_m, self.prior.radius_m + 10.0)
        return disc if float(self._localizer.prior_belief(disc).sum()) > 0 else None

    def _of_streets(self, most: int) -> Iterator[Region]:
        """The belief's modes: about the likeliest place, wide enough for what its mode spreads to."""
        if self._filter is None or self._localizer is None:
            return
        places, belief = self._localizer.places, self._filter.belief
        spent = self._step  # driven since the street was last seen
        for _ in range(most):
            best = int(np.argmax(belief))
            turn = turn_between(float(places.heading_rad[best]), places.heading_rad)
            apart = np.hypot(places.x_m - places.x_m[best], places.y_m - places.y_m[best])
            mode = (apart <= _MODE_M) & (np.abs(turn) <= _MODE_TURN_RAD)
            share = belief[mode] / max(float(belief[mode].sum()), 1e-300)
            if float(belief[mode].sum()) < 0.02:
                return
            spread = math.sqrt(float(share @ apart[mode] ** 2))
            radius_m = min(max(2 * spread + 2.0, _LEAST_M), _MOST_M)
            here = SE2(*(float(a[best]) for a in (places.x_m, places.y_m, places.heading_rad)))
            yield Region(here @ spent, radius_m, math.radians(12.0), "street")
            belief[mode] = 0.0


def everywhere(grid: MetricGrid) -> list[Region]:
    """A whole raster in windows of all headings: for a small map alone is that quick enough."""
    height_m, width_m = grid.height_px * grid.resolution_m, grid.width_px * grid.resolution_m
    down, across = (max(1, math.ceil(side / (2 * _CELL_M))) for side in (height_m, width_m))
    return [
        Region(
            SE2(grid.west_m + (col + 0.5) * width_m / across, grid.north_m - (row + 0.5) * height_m / down, turn),
            _CELL_M + 1.0,
            math.radians(45.0),
            "lidar",
        )
        for row in range(down)
        for col in range(across)
        for turn in (0.0, 0.5 * math.pi, math.pi, -0.5 * math.pi)
    ]
