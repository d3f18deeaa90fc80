"""Localize a drive's sweeps in an open map."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from foldmap.api.opened import FoldedMap
from foldmap.api.results import Begin, Localized, LocalizedObservation, silent
from foldmap.api.tracking import SWEEP_PERIOD_S
from foldmap.errors import ConfigError, SweepInputError
from foldmap.formats.sweeps.drives import open_drive
from foldmap.lidar.observation import observations
from foldmap.localize.estimate import Estimate, Status
from foldmap.localize.lidar.confidence import LidarDiagnostics, LidarEstimate


def localize_sweeps(
    town: FoldedMap,
    sweeps: Path | str,
    poses: Path,
    *,
    radius_m: float = 1.0,
    heading_range_deg: float = 5.0,
    online: bool = False,
    aggregate: int = 5,
    calibration: Path | None = None,
    intensity_scale: float | None = None,
    sensor_height_m: float | None = None,
    time_limit_s: float = 0.01,
    begin: Begin = silent,
) -> Localized:
    """Localize a drive's sweeps, one by one or with a filter along the drive.

    Priors are poses, one a sweep; sweeps named by times take those within `time_limit_s`. Radius and heading range are
    half the search window around a prior. `online` they are three standard deviations of the first pose, and of the
    others only the increments count. The rest is as `open_drive` and `foldmap.lidar.observation.observations` have it.
    """
    heading_range_rad = math.radians(heading_range_deg)
    if not (math.isfinite(radius_m) and radius_m > 0 and 0 <= heading_range_rad <= math.pi):
        raise ConfigError(f"a search of {radius_m} m", "give a positive radius, and 0 to 180 degrees of heading")

    # Priors of single sweeps need not agree with each other; those that lay sweeps together are odometry and must.
    together = online or aggregate > 1
    drive = open_drive(sweeps, poses, calibration, intensity_scale, time_limit_s=time_limit_s, aligned=together)
    folded, localizer = town.lidar, town.lidar_localizer()
    pixel_m, relief = folded.grid.resolution_m, folded.relief
    odometry = drive.world_SE3_sensors
    seen = observations(drive.read(), odometry, pixel_m, aggregate, sensor_height_m, relief=relief)
    priors = [pose.to_se2() for pose in drive.world_SE3_sensors]
    running = None
    if online:
        running = localizer.start(priors[0], radius_m / 3, max(heading_range_rad / 3, math.radians(0.1)))
    times_s = np.arange(float(len(drive))) if drive.times_s is None else drive.times_s
    report, localized = begin("Localizing"), []
    for index, (observation, prior) in enumerate(zip(seen, priors, strict=True)):
        image = None if isinstance(observation, SweepInputError) else observation
        if running is not None:
            moved = priors[index - 1].inverse() @ prior if index else None
            timed = index > 0 and drive.times_s is not None
            step_s = float(times_s[index] - times_s[index - 1]) if timed else SWEEP_PERIOD_S
            estimate = running.step(image, moved, step_s)
        elif image is not None:
            estimate = localizer.localize(image, prior, radius_m, heading_range_rad)
        if isinstance(observation, SweepInputError):
            estimate = _unobserved(observation)
        height_m = float(drive.world_SE3_sensors[index].translation_m[2])
        localized.append(LocalizedObservation(drive.names[index], f"{times_s[index]:.6f}", estimate, height_m))
        report(index + 1, len(drive))
    for name, time_s in drive.alone:
        unpaired = _unobserved(f"no prior within {time_limit_s:g} s")
        localized.append(LocalizedObservation(name, f"{time_s:.6f}", unpaired))
    localized.sort(key=lambda one: one.time_s)
    settings = {**drive.provenance(), "model": folded.bundle.name}
    return Localized(localized, settings, {"paired": drive.pairing.words}, [])


def _unobserved(reason: object) -> LidarEstimate:
    return Estimate.without_pose(Status.NO_OBSERVATION, LidarDiagnostics(reason=str(reason)))
