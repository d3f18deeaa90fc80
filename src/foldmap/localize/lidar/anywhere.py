"""Where one sweep was made, without a prior or near one: what stands around says where, the ground how exactly."""

from __future__ import annotations

import math
import time

from foldmap.geometry import SE2
from foldmap.lidar.observation import Observation
from foldmap.lidar.source import Sweep
from foldmap.localize.estimate import Estimate, Status, largest_sigma
from foldmap.localize.lidar.confidence import LidarDiagnostics, LidarEstimate
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.localize.lidar.outline import TURN_RAD, Around, OutlineMatch, OutlineMatcher, WholeOutline

_APART_M = 3.0
_NEAR_M, _NEAR_RAD = 1.0, math.radians(2.0)
_MOST_SIGMA_M = 0.3  # of what stands near a prior: a pose that it knows less well is none
_WIDEST_M, _RIM_M = 5.0, 0.5  # searched for what stands around a prior, and beyond it: what peaks there is no peak


def localize_anywhere(
    lidar: LidarLocalizer, outline: WholeOutline, sweep: Sweep, observation: Observation
) -> LidarEstimate:
    """Search all of a map for a sweep in its vehicle's axes; the observation is what it shows of the ground.

    A place is answered where it alone looks so, for sure, as `OutlineMatch` has it: `ok` where the ground agrees,
    `degraded` by what stands alone.
    """
    begin_s = time.perf_counter()

    def refused(status: Status, reason: str) -> LidarEstimate:
        return Estimate.without_pose(status, LidarDiagnostics(reason, time.perf_counter() - begin_s))

    if not outline.fits:
        return refused(Status.NO_MATCH, "the map is too large to be searched whole: give a prior")
    seen = Around.of(sweep)
    if not seen.tells:
        return refused(Status.NO_MATCH, "too little stands around to tell a place")
    found = outline.locate(seen)
    sure = [one for one in found if one.sure]
    if not sure:
        fits = "what stands around fits places, none for sure" if found else "what stands around fits nowhere"
        return refused(Status.AMBIGUOUS if found else Status.NO_MATCH, fits)
    best = sure[0]
    if any(_apart_m(best, one) > _APART_M for one in sure):
        return refused(Status.AMBIGUOUS, "what stands around fits two places")
    if (found_there := _by_both(lidar, observation, best, begin_s)) is None:
        return refused(Status.AMBIGUOUS, "the place is known roughly: what stands around is in the map in part")
    return found_there


def localize_near(
    lidar: LidarLocalizer,
    outline: OutlineMatcher | None,
    sweep: Sweep | None,
    observation: Observation,
    prior: SE2,
    radius_m: float = 1.0,
    heading_range_rad: float = math.radians(5.0),
) -> LidarEstimate:
    """As `LidarLocalizer.localize`; where the ground is not sure, what stands around is asked, as without a prior.

    The sweep is that of the observation, of several the last, in its vehicle's axes; without it, without an outline, or
    where the prior is right to more than five metres, the ground is all there is.
    """
    begin_s = time.perf_counter()
    ground = lidar.localize(observation, prior, radius_m, heading_range_rad)
    if ground.status is Status.OK or outline is None or sweep is None or radius_m > _WIDEST_M:
        return ground
    best = outline.match(Around.of(sweep), prior, radius_m + _RIM_M, math.ceil(heading_range_rad / TURN_RAD))
    if best is None or not best.close or largest_sigma(best.covariance[:2, :2]) > _MOST_SIGMA_M:
        return ground
    if max(abs(best.pose.x_m - prior.x_m), abs(best.pose.y_m - prior.y_m)) > radius_m + 0.5 * _RIM_M:
        return ground
    return _by_both(lidar, observation, best, begin_s, ground) or ground


def _by_both(
    lidar: LidarLocalizer,
    observation: Observation,
    best: OutlineMatch,
    begin_s: float,
    before: LidarEstimate | None = None,
) -> LidarEstimate | None:
    """The pose by the ground where what stands says it is, if that is sure; else what is known best.

    Known may be that, what stands alone, and what the ground said ``before``; None where none is worth it.
    """
    ground = lidar.localize(observation, best.pose, _NEAR_M, _NEAR_RAD)
    if ground.status is Status.OK:
        return ground
    known = [one for one in (before, ground) if one is not None and one.pose is not None]
    if best.close:
        sigma_m, why = largest_sigma(best.covariance[:2, :2]), ground.diagnostics.reason or ground.status.value
        said = LidarDiagnostics(
            f"by what stands around; of the ground: {why}", time.perf_counter() - begin_s, sigma_m=sigma_m
        )
        known.append(Estimate(Status.DEGRADED, best.pose, best.covariance, said))
    return min(known, key=lambda one: one.diagnostics.sigma_m or math.inf, default=None)


def _apart_m(one: OutlineMatch, other: OutlineMatch) -> float:
    return math.hypot(one.pose.x_m - other.pose.x_m, one.pose.y_m - other.pose.y_m)
