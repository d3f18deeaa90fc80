"""Where in a whole map one sweep was made, without a prior: what stands around says where, the ground how exactly."""

from __future__ import annotations

import math
import time

from foldmap.lidar.observation import Observation
from foldmap.lidar.source import Sweep
from foldmap.localize.estimate import Estimate, Status, largest_sigma
from foldmap.localize.lidar.confidence import LidarDiagnostics, LidarEstimate
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.localize.lidar.outline import Around, OutlineMatch, WholeOutline

_APART_M = 3.0
_NEAR_M, _TURN_RAD = 1.0, math.radians(2.0)


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
    ground = lidar.localize(observation, best.pose, _NEAR_M, _TURN_RAD)
    if ground.pose is not None:
        return ground
    if not best.close:
        return refused(Status.AMBIGUOUS, "the place is known roughly: what stands around is in the map in part")
    diagnostics = LidarDiagnostics(
        f"by what stands around; of the ground: {ground.diagnostics.reason or ground.status.value}",
        time.perf_counter() - begin_s,
        sigma_m=largest_sigma(best.covariance[:2, :2]),
    )
    return Estimate(Status.DEGRADED, best.pose, best.covariance, diagnostics)


def _apart_m(one: OutlineMatch, other: OutlineMatch) -> float:
    return math.hypot(one.pose.x_m - other.pose.x_m, one.pose.y_m - other.pose.y_m)
