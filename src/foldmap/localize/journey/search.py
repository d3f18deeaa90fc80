"""Several hypotheses, each carried on by odometry and matched again, until the evidence decides for one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from foldmap.geometry import SE2
from foldmap.lidar.observation import Observation
from foldmap.localize.estimate import Status
from foldmap.localize.journey.coarse import Region
from foldmap.localize.journey.estimate import JourneySettings
from foldmap.localize.journey.moving import difference, distance_m, far_beyond, moved_on
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.types import DoubleArray

_SAME_M = 1.5
_MOST = 12
_VERIFY_M, _VERIFY_RAD = 1.0, math.radians(3.0)


@dataclass
class Hypothesis:
    """A pose that a fine layer proposed, with how often it was matched again, and on how much ground."""

    pose: SE2
    covariance: DoubleArray
    layer: str
    hits: int = 1
    misses: int = 0
    driven_m: float = 0.0  # since it was proposed
    witness_m: float = 0.0  # the way at its newest counted match


class Search:
    """The hypotheses that are alive, and what makes and unmakes them."""

    def __init__(self, settings: JourneySettings) -> None:
        self.alive: list[Hypothesis] = []
        self._settings = settings

    def move(self, step: SE2, dt_s: float) -> None:
        """Drive on."""
        for one in self.alive:
            one.pose, one.covariance = moved_on(one.pose, one.covariance, step, dt_s, self._settings.motion)
            one.driven_m += math.hypot(step.x_m, step.y_m)

    def sweep(self, lidar: LidarLocalizer, observation: Observation, regions: Sequence[Region]) -> None:
        """Match a sweep at each hypothesis, and where regions hold none yet, look for new ones."""
        for one in list(self.alive):
            found = lidar.localize(observation, one.pose, _VERIFY_M, _VERIFY_RAD, 7)
            sure = found.status is Status.OK and found.pose is not None and found.covariance is not None
            self._judge(one, (found.pose, found.covariance) if sure else None, "lidar")  # type: ignore[arg-type]
        for region in regions:
            held = any(distance_m(one.pose, region.pose) < 2.0 and one.hits > 1 for one in self.alive)
            if not held:
                found = lidar.attempt(observation, region.pose, region.radius_m, region.range_rad, 11).estimate
                if found.status is Status.OK and found.pose is not None and found.covariance is not None:
                    self.propose(found.pose, found.covariance, "lidar")
        self._tidy()

    def photo(self, pose: SE2, covariance: DoubleArray) -> None:
        """Take a camera's pose that stands: a match of the hypotheses there, a miss of the others, else a new one."""
        near = [one for one in self.alive if distance_m(one.pose, pose) <= _SAME_M]
        for one in self.alive:
            self._judge(one, (pose, covariance) if one in near else None, "visual")
        if not near:
            self.propose(pose, covariance, "visual")
        self._tidy()

    def propose(self, pose: SE2, covariance: DoubleArray, layer: str) -> None:
        """Add a hypothesis, unless there is one."""
        if all(distance_m(one.pose, pose) > _SAME_M for one in self.alive):
            self.alive.append(Hypothesis(pose, covariance, layer))

    def decided(self) -> Hypothesis | None:
        """The hypothesis that enough independent evidence speaks for, where no other comes near; else None."""
        if not self.alive:
            return None
        best, *others = sorted(self.alive, key=lambda one: -one.hits)
        s = self._settings
        rivals = [one for one in others if one.misses == 0 and one.hits > s.rival_share * best.hits]
        return best if best.hits >= s.hits and best.misses == 0 and not rivals else None

    def _judge(self, one: Hypothesis, found: tuple[SE2, DoubleArray] | None, layer: str) -> None:
        if found is None or far_beyond(difference(found[0], one.pose), found[1] + one.covariance * 2, 6.0):
            one.misses += 1
            return
        one.pose, one.covariance, one.misses = *found, 0
        new = one.driven_m - one.witness_m >= self._settings.witness_m / max(1, self._settings.hits - 1)
        if new or layer != one.layer:  # other ground, or another layer: another witness
            one.hits, one.witness_m, one.layer = one.hits + 1, one.driven_m, layer

    def _tidy(self) -> None:
        """Let go of what has missed too often, and of what came to stand where another one stands."""
        kept: list[Hypothesis] = []
        for one in sorted(self.alive, key=lambda one: (-one.hits, one.misses)):
            twin = any(distance_m(one.pose, other.pose) <= _SAME_M for other in kept)
            if one.misses <= self._settings.misses and not twin:
                kept.append(one)
        self.alive = kept[:_MOST]
