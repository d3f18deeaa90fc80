"""What is answered at a moment of the journey: the finest layer that stands, and never more than it is worth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from foldmap.geometry import SE3
from foldmap.localize.estimate import Estimate, Status, largest_sigma
from foldmap.localize.journey.coarse import Coarse
from foldmap.localize.journey.estimate import JourneyDiagnostics, JourneyEstimate, JourneySettings, LayerHealth
from foldmap.localize.journey.fine import Fine
from foldmap.localize.journey.search import Search
from foldmap.localize.journey.senses import Layers, Senses
from foldmap.types import DoubleArray


def answer(
    fine: Fine | None,
    coarse: Coarse,
    search: Search,
    senses: Senses,
    layers: Layers,
    settings: JourneySettings,
    restarts: int,
    time_s: float,
    upright: SE3 | None = None,
) -> JourneyEstimate:
    """The estimate that the beliefs give; the arguments are the journey's.

    ``upright`` is world_SE3_vehicle where cameras just confirmed the tracked pose.
    """
    health = {name: LayerHealth(**vars(one)) for name, one in senses.health.items()}

    def said(phase: str, spoke: tuple[str, ...], reason: str, covariance: DoubleArray | None) -> JourneyDiagnostics:
        sigma_m = None if covariance is None else largest_sigma(covariance[:2, :2])
        return JourneyDiagnostics(reason, time_s, phase, spoke, health, len(search.alive), sigma_m, restarts)

    if fine is not None:
        status, reason, spoke = _of_fine(fine, settings)
        if not status.has_pose:
            return Estimate.without_pose(status, said("track", (), reason, None))
        diagnostics = said("track", spoke, reason, fine.answered)
        if upright is not None:
            matrix = upright.matrix
            diagnostics = replace(
                diagnostics,
                z_m=float(matrix[2, 3]),
                roll_rad=math.atan2(matrix[2, 1], matrix[2, 2]),
                pitch_rad=-math.asin(max(-1.0, min(1.0, float(matrix[2, 0])))),
            )
        return Estimate(status, fine.pose, fine.answered, diagnostics, errors=fine.errors)
    phase = "search" if search.alive else "street" if coarse.street is not None else "lost"
    street = coarse.placed()
    if street is not None:
        status, pose, covariance = street
        finer = [one for one in ("lidar", "visual") if getattr(layers, one) is not None and one in health]
        if finer:  # those see, and have not found it: the street alone is no full answer
            status = Status.DEGRADED
        reason = "" if status is Status.OK else f"the street alone; {' and '.join(finer) or 'it'} not sure yet"
        return Estimate(status, pose, covariance, said(phase, ("street",), reason, covariance))
    gnss = coarse.by_gnss()
    if gnss is not None:
        spread = np.diag([gnss[1] ** 2, gnss[1] ** 2, gnss[2] ** 2])
        return Estimate(Status.DEGRADED, gnss[0], spread, said(phase, ("gnss",), "satellites alone", spread))
    if not health:
        return Estimate.without_pose(Status.NO_OBSERVATION, said(phase, (), "nothing was seen yet", None))
    if search.alive:
        return Estimate.without_pose(Status.AMBIGUOUS, said(phase, (), "the evidence has not decided yet", None))
    reasons = "; ".join(f"{name}: {one.reason or one.status}" for name, one in health.items())
    states = [one.status for one in health.values()]
    status = Status.AMBIGUOUS if Status.AMBIGUOUS.value in states else Status.NO_MATCH
    return Estimate.without_pose(status, said(phase, (), reasons, None))


def _of_fine(fine: Fine, settings: JourneySettings) -> tuple[Status, str, tuple[str, ...]]:
    """What a tracked pose is worth."""
    spoke = tuple(sorted(name for name, age_s in fine.ok_age_s.items() if age_s <= settings.fresh_s))
    age_s = min(fine.ok_age_s.values(), default=math.inf)
    if "motion" in fine.conflicts:
        return Status.AMBIGUOUS, "the ground is not that which odometry leads to", spoke
    if fine.sigma_m > settings.lost_sigma_m:
        return Status.AMBIGUOUS, f"nothing has confirmed the pose for {age_s:.1f} s", spoke
    if fine.unmatched_s > settings.doubt_s:
        if fine.unmatched_s > 2 * settings.doubt_s:
            return Status.NO_MATCH, f"what is seen has not matched for {fine.unmatched_s:.1f} s", spoke
        return Status.DEGRADED, f"what is seen has not matched for {fine.unmatched_s:.1f} s", spoke
    if fine.conflicts:
        return Status.DEGRADED, f"contradicted by {', '.join(sorted(fine.conflicts))}", spoke
    if fine.unmatched_s > 0 and not (fine.unsure and "visual" in spoke):  # cameras are sure of what lidar agrees with
        unsure = "lidar agrees with the pose, and is not sure of itself"
        return Status.DEGRADED, unsure if fine.unsure else "what was seen last does not match", spoke
    if not spoke:
        return Status.DEGRADED, f"by odometry for {age_s:.1f} s", ("motion",)
    if fine.sigma_m > settings.warn_sigma_m:
        return Status.DEGRADED, f"sigma_m {fine.sigma_m:.2f} > {settings.warn_sigma_m:g}", spoke
    if (sigma_m := largest_sigma(fine.answered[:2, :2])) > settings.warn_sigma_m:
        return Status.DEGRADED, f"which way the lidar spins is not told yet: sigma_m {sigma_m:.2f}", spoke
    return Status.OK, "", spoke
