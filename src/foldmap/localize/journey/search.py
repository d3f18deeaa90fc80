"""Several hypotheses, each carried on by odometry and matched again, until the evidence decides for one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from foldmap.geometry import SE2
from foldmap.lidar.observation import Observation
from foldmap.lidar.shipped import OUTLINE
from foldmap.localize.journey.coarse import Region
from foldmap.localize.journey.estimate import ALIKE, JourneySettings
from foldmap.localize.journey.moving import difference, distance_m, far_beyond, moved_on
from foldmap.localize.lidar.confidence import LidarEstimate
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.localize.lidar.outline import Around, OutlineMatcher
from foldmap.types import DoubleArray

_SAME_M = 1.5
_MOST = 12
_VERIFY_M, _VERIFY_RAD = 1.0, math.radians(3.0)
_TELLING = 1.0  # distinction from which on a match is worth a hypothesis
_MOST_TELLING = 3.0  # a single match counts for no more, however unlikely it is by chance
_MISSED = 2.0  # what a match that is missing, or lies elsewhere, takes away
_EXPLAINED, _DEMANDS = (ALIKE, 0.65, 0.8), (10.0, 2.5, 0.7)  # streets alike explain half of a map's marks, on and on


@dataclass
class Hypothesis:
    """A pose that a fine layer proposed, how often it was matched again, on how much ground, and how tellingly.

    The evidence is minus log10 of the chance that places alike match as well, summed over new ground; misses lower it.
    Besides is what cameras and what stands around gave of it. Explained is the mean share of the map's marks that
    lidar's matches saw; None where nothing says so.
    """

    pose: SE2
    covariance: DoubleArray
    layer: str
    evidence: float
    hits: int = 1
    misses: int = 0
    driven_m: float = 0.0  # since it was proposed
    witness_m: dict[str, float] = field(default_factory=dict)  # the way at the newest counted match of each layer
    besides: float = 0.0
    explained: float | None = None
    waited: int = 0  # sweeps since one was matched here

    def worth(self) -> float:
        """The evidence, where lidar's counts by how much of the map it saw."""
        demand = 1.0 if self.explained is None else float(np.interp(self.explained, _EXPLAINED, _DEMANDS))
        besides = min(self.besides, self.evidence)
        return besides + (self.evidence - besides) / demand


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

    def sweep(
        self, lidar: LidarLocalizer, observation: Observation, regions: Sequence[Region], most: int | None = None
    ) -> None:
        """Match a sweep at each hypothesis, and where regions hold none yet, look for new ones.

        A match need not be sure of itself: what it tells is summed with what others tell on other ground. At most so
        many hypotheses are matched, those that have waited longest.
        """
        for one in self.alive:
            one.waited += 1
        for one in sorted(self.alive, key=lambda one: -one.waited)[:most]:
            one.waited = 0
            found = lidar.attempt(observation, one.pose, _VERIFY_M, _VERIFY_RAD, 7).estimate
            telling, hits = min(found.diagnostics.distinction or 0.0, _MOST_TELLING), one.hits
            placed = _placed(found)
            if placed is not None or OUTLINE not in one.witness_m:  # what stands holds where the ground tells nothing
                self._judge(one, placed, "lidar", telling)
            if one.hits > hits and found.diagnostics.explained is not None:
                share = found.diagnostics.explained
                one.explained = share if one.explained is None else one.explained + (share - one.explained) / hits
        for region in regions:
            held = any(distance_m(one.pose, region.pose) < 2.0 and one.hits > 1 for one in self.alive)
            if not held:
                found = lidar.attempt(observation, region.pose, region.radius_m, region.range_rad, 11).estimate
                placed, telling = _placed(found), found.diagnostics.distinction or 0.0
                if placed is not None and telling >= _TELLING:
                    self.propose(*placed, "lidar", min(telling, _MOST_TELLING))
        self._tidy()

    def look_at(self, lidar: LidarLocalizer, observation: Observation, poses: Sequence[SE2]) -> None:
        """Match a sweep at poses picked from a whole map: what fits is a hypothesis, without any evidence yet."""
        for pose in poses:
            placed = _placed(lidar.attempt(observation, pose, _VERIFY_M, _VERIFY_RAD, 7).estimate)
            if placed is not None:
                self.propose(*placed, "lidar", 0.0)
        self._tidy()

    def stand(self, outline: OutlineMatcher, seen: Around, poses: Sequence[SE2] = ()) -> None:
        """Lay what stands around on the map's outline, at each hypothesis, and at poses picked from the whole of it."""
        sure = 0.5 * self._settings.evidence  # as of a photo that stands by itself
        for one in self.alive:
            found = outline.match(seen, one.pose)
            # of places that something else found, what is in the way is no miss
            if found is not None and (found.fits or OUTLINE in one.witness_m):
                placed = (found.pose, found.covariance) if found.fits else None
                self._judge(one, placed, OUTLINE, sure if found.sure else 0.0)
        for pose in poses:
            found = outline.match(seen, pose)
            if found is not None and found.fits:
                self.propose(found.pose, found.covariance, OUTLINE, sure if found.sure else 0.0)
        self._tidy()

    def photo(self, pose: SE2, covariance: DoubleArray) -> None:
        """Take a camera's pose that stands: a match of the hypotheses there, a miss of the others, else a new one."""
        near = [one for one in self.alive if distance_m(one.pose, pose) <= _SAME_M]
        sure = 0.5 * self._settings.evidence  # it stands by itself: two of them and any third match are enough
        for one in self.alive:
            self._judge(one, (pose, covariance) if one in near else None, "visual", sure)
        if not near:
            self.propose(pose, covariance, "visual", sure)
        self._tidy()

    def propose(self, pose: SE2, covariance: DoubleArray, layer: str, telling: float) -> None:
        """Add a hypothesis, unless there is one."""
        if all(distance_m(one.pose, pose) > _SAME_M for one in self.alive):
            besides = 0.0 if layer == "lidar" else telling
            self.alive.append(Hypothesis(pose, covariance, layer, telling, witness_m={layer: 0.0}, besides=besides))

    def decided(self) -> Hypothesis | None:
        """The hypothesis that enough independent evidence speaks for, where no other comes near; else None."""
        if not self.alive:
            return None
        best, *others = sorted(self.alive, key=lambda one: -one.evidence)
        s = self._settings
        rivals = [one for one in others if one.misses == 0 and one.evidence > s.rival_share * best.evidence]
        enough = best.hits >= s.hits and best.worth() >= s.evidence and best.misses == 0
        return best if enough and not rivals else None

    def _judge(self, one: Hypothesis, found: tuple[SE2, DoubleArray] | None, layer: str, telling: float) -> None:
        if found is None or far_beyond(difference(found[0], one.pose), found[1] + one.covariance * 2, 6.0):
            one.misses, one.evidence = one.misses + 1, max(0.0, one.evidence - _MISSED)
            return
        one.pose, one.covariance, one.misses = *found, 0
        since_m = one.driven_m - one.witness_m.get(layer, -math.inf)
        if since_m >= self._settings.witness_m / max(1, self._settings.hits - 1):  # other ground, or another layer
            one.hits, one.witness_m[layer], one.layer = one.hits + 1, one.driven_m, layer
            one.evidence, one.besides = one.evidence + telling, one.besides + (0.0 if layer == "lidar" else telling)

    def _tidy(self) -> None:
        """Let go of what has missed too often, and of what came to stand where another one stands."""
        kept: list[Hypothesis] = []
        for one in sorted(self.alive, key=lambda one: (-one.evidence, one.misses)):
            twin = any(distance_m(one.pose, other.pose) <= _SAME_M for other in kept)
            if one.misses <= self._settings.misses and not twin:
                kept.append(one)
        self.alive = kept[:_MOST]


def _placed(found: LidarEstimate) -> tuple[SE2, DoubleArray] | None:
    return None if found.pose is None or found.covariance is None else (found.pose, found.covariance)
