"""Where exactly: a pose that lidar's filter and cameras confirm, and that odometry carries where they are silent."""

from __future__ import annotations

import math

import numpy as np

from foldmap.geometry import SE2
from foldmap.lidar.observation import Observation
from foldmap.localize.estimate import Status, largest_sigma
from foldmap.localize.journey.estimate import JourneySettings
from foldmap.localize.journey.moving import difference, far_beyond, moved_on
from foldmap.localize.lidar.localizer import LidarFilter, LidarLocalizer
from foldmap.localize.lidar.outline import OutlineMatch
from foldmap.localize.motion import scale_variance
from foldmap.localize.tail import Tail
from foldmap.types import DoubleArray

_GAP_S = 0.6
"""After so long without a sweep lidar's filter begins anew at the carried pose."""
_UNSURE = 0.2
"""Share of the time that counts as unmatched while what is seen agrees with the pose without being sure of itself."""
_BETWEEN_MAPS_M = 0.05  # standard deviation of how maps of two layers lie on each other
_RESTART_SIGMA_M, _RESTART_SIGMA_RAD = 0.15, math.radians(0.7)


class Fine:
    """One pose, tracked; lidar's filter speaks for lidar, and a Gaussian carries what all layers said."""

    def __init__(
        self, pose: SE2, covariance: DoubleArray, lidar: LidarLocalizer | None, settings: JourneySettings
    ) -> None:
        self.pose, self.covariance, self._lidar, self._settings = pose, covariance, lidar, settings
        self.errors: Tail | None = None
        self.ok_age_s: dict[str, float] = {}  # of lidar and visual: since they last confirmed the pose
        self.unmatched_s = 0.0  # for so long what sees has not matched
        self.unsure = False  # lidar's last match agreed, but was not sure of itself
        self.conflicts: dict[str, int] = {}
        self._filter: LidarFilter | None = None
        self._step, self._since_sweep_s, self._alone_m = SE2(0.0, 0.0, 0.0), math.inf, 0.0
        self.stood_m = math.inf  # driven since what stands around was weighed
        self._smear_m = np.zeros(2)

    def smeared(self, along_m: DoubleArray) -> None:
        """Take it that all of the map that was seen may lie so far off, in the vehicle's axes: (3,), 0 for sure."""
        self._smear_m = along_m[:2]

    def anew(self, along_m: DoubleArray) -> Fine:
        """The same pose, of which is unsure what was seen smeared until now; nothing has confirmed it."""
        self.smeared(along_m)
        return Fine(self.pose, self.answered, self._lidar, self._settings)

    @property
    def answered(self) -> DoubleArray:
        """The covariance (3, 3) of the pose, with what sweeps may be smeared by where no camera confirms it."""
        if self.ok_age_s.get("visual", math.inf) <= self._settings.fresh_s:
            return self.covariance
        cos, sin = math.cos(self.pose.heading_rad), math.sin(self.pose.heading_rad)
        off_m = np.array([[cos, -sin], [sin, cos], [0.0, 0.0]]) @ self._smear_m
        return self.covariance + np.outer(off_m, off_m)

    @property
    def sigma_m(self) -> float:
        """Largest standard deviation of the position."""
        return largest_sigma(self.covariance[:2, :2])

    def move(self, step: SE2, dt_s: float, known: bool) -> None:
        """Carry the pose on; what is driven unseen errs by a share of the whole way, as scales of odometry do."""
        noise, driven_m = self._settings.motion, math.hypot(step.x_m, step.y_m)
        self.pose, self.covariance = moved_on(self.pose, self.covariance, step, dt_s, noise)
        grown_m2 = scale_variance(self._alone_m, driven_m, noise) + (0.0 if known else (20.0 * dt_s) ** 2)
        self.covariance = self.covariance + np.diag([grown_m2, grown_m2, 0.0])
        self._alone_m, self._step = self._alone_m + driven_m, self._step @ step
        self.stood_m += driven_m
        self._since_sweep_s += dt_s
        self.ok_age_s = {name: age_s + dt_s for name, age_s in self.ok_age_s.items()}

    def sweep(self, observation: Observation) -> tuple[str, str, float | None]:
        """Match a sweep near the pose; lidar's status, its reason, and the share of the map's marks that were seen."""
        assert self._lidar is not None
        since_s, step = self._since_sweep_s, self._step
        self._step, self._since_sweep_s = SE2(0.0, 0.0, 0.0), 0.0
        if self._filter is None or since_s > _GAP_S:
            sigma_m = max(self.sigma_m, _RESTART_SIGMA_M)
            sigma_rad = max(math.sqrt(self.covariance[2, 2]), _RESTART_SIGMA_RAD)
            self._filter, step, since_s = self._lidar.start(self.pose, sigma_m, sigma_rad), SE2(0.0, 0.0, 0.0), 0.0
        found = self._filter.step(observation, step, since_s)
        age_s = found.diagnostics.lidar_age_s
        if found.pose is not None and found.covariance is not None and age_s == 0:
            if self.ok_age_s.get("visual", math.inf) < self._settings.fresh_s and self._apart(
                found.pose, found.covariance
            ):
                self.conflicts["visual"] = self.conflicts.get("visual", 0) + 1
                return Status.DEGRADED.value, "lidar and cameras disagree", found.diagnostics.explained
            self._take(found.pose, found.covariance, found.errors)
            if found.status is Status.OK:
                self._confirmed("lidar")
        elif found.status is not Status.NO_OBSERVATION:
            self.unsure = self._filter.agreed_m > 0
            self.unmatched_s += max(since_s, 0.05) * (_UNSURE if self.unsure else 1.0)
            if self.unsure and found.pose is not None and found.covariance is not None:
                self._take(found.pose, found.covariance, found.errors)
        return found.status.value, found.diagnostics.reason, found.diagnostics.explained

    def photo(self, pose: SE2, covariance: DoubleArray) -> bool:
        """Weigh a camera's pose that stands; one beyond both covariances contradicts. Whether it was weighed."""
        if self._apart(pose, covariance):
            self.conflicts["visual"] = self.conflicts.get("visual", 0) + 1
            return False
        if self._filter is not None:  # lidar's belief is of its last sweep
            then, sigma_m = pose @ self._step.inverse(), largest_sigma(covariance[:2, :2])
            self._filter.weigh(then.x_m, then.y_m, math.hypot(sigma_m, _BETWEEN_MAPS_M))
        self._weigh(np.eye(3), difference(pose, self.pose), covariance)
        self._confirmed("visual")
        return True

    def stands(self, found: OutlineMatch) -> str:
        """Weigh what stands around, on new ground: the same walls err alike. What it is worth: a status in words."""
        if not found.close:
            return Status.DEGRADED.value if found.sure else Status.NO_MATCH.value
        if self._apart(found.pose, found.covariance):
            self.conflicts["outline"] = self.conflicts.get("outline", 0) + 1
            return Status.DEGRADED.value
        self.conflicts.pop("outline", None)
        self.stood_m = 0.0
        if self._filter is not None:
            then, sigma_m = found.pose @ self._step.inverse(), largest_sigma(found.covariance[:2, :2])
            self._filter.weigh(then.x_m, then.y_m, sigma_m)
        self._weigh(np.eye(3), difference(found.pose, self.pose), found.covariance)
        self._confirmed("outline")
        return Status.OK.value

    def fix(self, east_m: float, north_m: float, sigma_m: float) -> None:
        """Weigh a satellite fix where nothing finer spoke lately; else only see whether it contradicts."""
        apart = np.array([east_m - self.pose.x_m, north_m - self.pose.y_m])
        variance = np.eye(2) * sigma_m**2
        if far_beyond(apart, self.covariance[:2, :2] + variance, 5.0):
            self.conflicts["gnss"] = self.conflicts.get("gnss", 0) + 1
            return
        self.conflicts.pop("gnss", None)
        if min(self.ok_age_s.values(), default=math.inf) > 1.0:
            self._weigh(np.eye(2, 3), apart, variance)

    def street(self, pose: SE2, covariance: DoubleArray) -> None:
        """See whether a street that is sure contradicts."""
        if far_beyond(difference(pose, self.pose)[:2], self.covariance[:2, :2] + covariance[:2, :2] + 4.0 * np.eye(2)):
            self.conflicts["street"] = self.conflicts.get("street", 0) + 1
        else:
            self.conflicts.pop("street", None)

    def moved(self) -> None:
        """Take it that the vehicle is not where odometry says: the pose is worth nothing until it is confirmed."""
        sigma_m = 2 * self._settings.lost_sigma_m
        self.covariance = self.covariance + np.diag([sigma_m**2, sigma_m**2, 0.0])
        self.conflicts["motion"] = 1

    def _apart(self, pose: SE2, covariance: DoubleArray) -> bool:
        """Whether a fine pose is elsewhere; below 30 cm layers may differ by how their maps were laid together."""
        slack = np.diag([0.1**2, 0.1**2, math.radians(1.0) ** 2])
        return far_beyond(difference(pose, self.pose), self.covariance + covariance + slack)

    def _weigh(self, seen: DoubleArray, apart: DoubleArray, variance: DoubleArray) -> None:
        """Kalman's update by what is seen of (x, y, heading)."""
        gain = self.covariance @ seen.T @ np.linalg.inv(seen @ self.covariance @ seen.T + variance)
        by = gain @ apart
        rest = np.eye(3) - gain @ seen
        covariance = rest @ self.covariance @ rest.T + gain @ variance @ gain.T
        pose = SE2(self.pose.x_m + by[0], self.pose.y_m + by[1], self.pose.heading_rad + by[2])
        self._take(pose, covariance, self.errors)

    def _take(self, pose: SE2, covariance: DoubleArray, errors: Tail | None) -> None:
        self.pose, self.covariance, self.errors = pose, 0.5 * (covariance + covariance.T), errors
        self._alone_m = 0.0

    def _confirmed(self, layer: str) -> None:
        self.ok_age_s[layer], self.unmatched_s = 0.0, 0.0
        for other in ("visual", "motion"):
            self.conflicts.pop(other, None)
