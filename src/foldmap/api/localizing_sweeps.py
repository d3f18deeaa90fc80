"""Localize a drive's sweeps in an open map."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api.opened import FoldedMap
from foldmap.api.results import Begin, Localized, LocalizedObservation, silent
from foldmap.api.sweep_inputs import SweepInputs, sweep_times_s
from foldmap.api.sweep_motion import ODOMETRY, PRIORS, REGISTERED, LaidSweeps, motion_of
from foldmap.api.tracking import SWEEP_PERIOD_S, Tracker
from foldmap.errors import ConfigError, SweepInputError
from foldmap.formats.name_times import frame_times_s
from foldmap.formats.sweeps.drives import RecordedDrive, open_unposed
from foldmap.formats.sweeps.files import SweepSequence
from foldmap.geometry import SE2
from foldmap.lidar.mapping.registration import SweepOdometry
from foldmap.lidar.mapping.spin import AS_IT_IS, WORDS, SpinFinder, spin_named, told, turns
from foldmap.lidar.marks.unfold import MarksMap
from foldmap.lidar.observation import levelled
from foldmap.lidar.source import Sweep
from foldmap.localize.estimate import Diagnostics, Estimate, Status
from foldmap.localize.journey.estimate import JourneySettings
from foldmap.localize.journey.events import OdometryEvent, SweepEvent
from foldmap.localize.journey.journey import Journey
from foldmap.localize.journey.senses import Layers
from foldmap.localize.lidar.anywhere import localize_near
from foldmap.localize.lidar.confidence import LidarDiagnostics, LidarEstimate
from foldmap.localize.lidar.outline import OutlineMatcher, WholeOutline


def localize_sweeps(
    town: FoldedMap,
    sweeps: Path | str,
    poses: Path | None = None,
    *,
    odometry: Path | None = None,
    gps: Path | None = None,
    gps_sigma_m: float = 2.0,
    radius_m: float = 1.0,
    heading_range_deg: float = 5.0,
    online: bool = False,
    aggregate: int = 5,
    calibration: Path | None = None,
    intensity_scale: float | None = None,
    sensor_height_m: float | None = None,
    time_limit_s: float | None = None,
    deskew: bool = True,
    begin: Begin = silent,
) -> Localized:
    """Localize a drive's sweeps, one by one or with a filter along the drive, as `Tracker` does.

    Priors are poses, one a sweep; sweeps named by times take those within `time_limit_s`. Radius and heading range are
    half the search window around a prior. `online` they are three standard deviations of the first pose; without
    `poses` the drive begins where fixes and odometry say, without fixes anywhere in the map (`Journey`). Sweeps are
    laid together, and the filter moves, by `odometry`, else as `motion_of` decides, without `poses` by the sweeps
    themselves; with ``deskew`` they are put together first where they show that they need it (`spin_of`). Fixes are
    of the filter, which they turn on. Files are as `SweepInputs` has them, the rest as
    `open_drive` and `SweepStack`.
    """
    heading_range_rad = math.radians(heading_range_deg)
    if not (math.isfinite(radius_m) and radius_m > 0 and 0 <= heading_range_rad <= math.pi):
        window = f"a search of {radius_m} m and {heading_range_deg} degrees"
        raise ConfigError(window, "give a positive radius, and 0 to 180 degrees of heading")
    given = SweepInputs(sweeps, poses, odometry, gps, gps_sigma_m, calibration, intensity_scale, time_limit_s)
    if poses is None and gps is None:
        if odometry is None and town.outline is None:
            cure = (
                "give --poses, one a sweep; or --odometry; or fold a map of foldmap build lidar, which has an outline"
            )
            raise ConfigError("sweeps need prior poses in a map without an outline", cure)
        return _from_nothing(town, given, deskew, begin)
    filtered, drive = online or gps is not None, given.open()
    priors, (fixes, fixes_paired) = given.priors(drive, filtered), given.fixes(drive, town.lidar.grid)
    given.require_near(priors, town.lidar.grid)
    as_map = AS_IT_IS if town.outline is None else spin_named(town.outline.parameters.get("sweeps"))
    moving = motion_of(drive, odometry is not None, f"{given.moves}", filtered, aggregate)
    if deskew and moving.how == REGISTERED:
        moving.finder, moving.times_s = SpinFinder(as_map), drive.clock_s
    if deskew and moving.how in (ODOMETRY, PRIORS):
        drive = drive.put_together(as_map if town.outline is None else _as_stands(town.outline, drive, priors, as_map))
    localizer, matcher, tracker = town.lidar_localizer(), town.outline_matcher(), None
    if filtered:
        range_rad = max(heading_range_rad, math.radians(0.3))
        tracker = Tracker(town, priors[0], radius_m, layer="lidar", heading_range_rad=range_rad)
    laid = LaidSweeps(town.lidar.grid.resolution_m, aggregate, sensor_height_m, relief=town.lidar.relief)
    times_s = np.arange(float(len(drive))) if drive.times_s is None else drive.times_s
    report, localized, before = begin("Localizing"), list[LocalizedObservation](), None
    for index, read in enumerate(drive.read()):
        sweep = None if isinstance(read, SweepInputError) else read
        pose, prior = moving.pose(index, sweep), priors[index]
        estimate: Estimate[SE2, Diagnostics] = _unobserved(_no_pose("prior", given.limit_s))
        here = pose.to_se2()
        sweep = None if sweep is None else moving.at_once(sweep)
        image = None if sweep is None else laid.add(sweep, pose, moving.fresh)
        if tracker is not None:
            moved = None if before is None else before.inverse() @ here
            time_s = None if drive.times_s is None else float(times_s[index])
            estimate = tracker.step(image, moved, time_s, fixes[index])
        elif image is not None and prior is not None:
            estimate = localize_near(localizer, matcher, sweep, image, prior, radius_m, heading_range_rad)
        if isinstance(read, SweepInputError):
            estimate = _unobserved(read)
        before, height_m = here, float(drive.world_SE3_sensors[index].translation_m[2])
        localized.append(LocalizedObservation(drive.names[index], f"{times_s[index]:.6f}", estimate, height_m))
        report(index + 1, len(drive))
    for name, time_s in drive.alone:
        unpaired = _unobserved(_no_pose("prior" if odometry is None else "odometry", given.limit_s))
        localized.append(LocalizedObservation(name, f"{time_s:.6f}", unpaired))
    localized.sort(key=lambda one: one.time_s)
    did: dict[str, Any] = {"motion": moving.how} | ({"fixes": fixes_paired} if gps is not None else {})
    spin = drive.sweeps.spin or (moving.finder.spin if moving.finder else 0)
    did |= {"deskewed": WORDS[spin]}
    settings = {**drive.provenance(), "model": town.lidar.model.name, "filter": filtered, **did}
    notes = [*([moving.note] if moving.note else []), *told(spin)]
    return Localized(localized, settings, {"paired": drive.pairing.words, **did}, notes)


def _as_stands(outline: MarksMap, drive: RecordedDrive, priors: Sequence[SE2 | None], as_map: int) -> int:
    """Which way the lidar spins as far as a map's outline tells by the first sweeps; else as is said of the map."""
    finder, matcher = SpinFinder(as_map), OutlineMatcher(outline)
    for index, turn in enumerate(turns(drive.world_SE3_sensors, drive.clock_s)):
        prior, here = priors[index], drive.world_SE3_sensors[index].to_se2()
        sweep = drive.sweep(index) if prior is not None and finder.asks_map(here, turn) else None
        if sweep is not None and prior is not None:
            finder.stood(matcher.missing(sweep, turn, prior), here)
    return finder.spin


def _from_nothing(town: FoldedMap, given: SweepInputs, deskew: bool, begin: Begin) -> Localized:
    """Localize a drive's sweeps wherever in the map it begins; it moves by odometry, without that by its sweeps."""
    outline = None if town.outline is None else WholeOutline(town.outline)
    journey = Journey(Layers(town.lidar_localizer(), outline=outline), None, JourneySettings(deskew=deskew))
    report, found = begin("Driving"), list[LocalizedObservation]()
    if given.odometry is None:
        sweeps, stamps_s = open_unposed(given.sweeps, given.intensity_scale)
        names, known_s, driven = sweeps.names, stamps_s, _by_sweeps(sweeps)
        did, read = {"motion": REGISTERED}, {"intensity_scale": sweeps.full_scale}
    else:
        drive = given.open()
        names, stamps_s, known_s, driven = drive.names, drive.times_s, sweep_times_s(drive), _by_odometry(drive)
        did, read = {"motion": ODOMETRY, "paired": drive.pairing.words}, drive.provenance()
    known_s = frame_times_s(names) if known_s is None else known_s
    for index, (sweep, moved) in enumerate(driven):
        time_s = SWEEP_PERIOD_S * index if known_s is None else float(known_s[index])
        if moved is not None:
            journey.step(OdometryEvent(time_s, moved))
        estimate: Estimate[Any, Diagnostics] | None = None
        if not isinstance(sweep, Sweep):
            estimate = _unobserved(sweep)
        elif len(names) > 1 or given.odometry is not None:
            estimate = journey.step(SweepEvent(time_s, sweep))
        else:  # no drive
            estimate = town.localize(sweep)
        assert estimate is not None
        stamp_s = float(index if stamps_s is None else stamps_s[index])
        found.append(LocalizedObservation(names[index], f"{stamp_s:.6f}", estimate))
        report(index + 1, len(names))
    did |= {"begins": "anywhere in the map", "deskewed": WORDS[journey.spin.spin]}
    settings = {**read, "model": town.lidar.model.name, "filter": True, **did}
    return Localized(found, settings, did, told(journey.spin.spin))


def _by_odometry(drive: RecordedDrive) -> Iterator[tuple[Sweep | SweepInputError, SE2 | None]]:
    """Each sweep, level, and how the vehicle moved since the one before."""
    before: SE2 | None = None
    for read, at in zip(drive.read(), drive.world_SE3_sensors, strict=True):
        sweep, here = read, at.to_se2()
        if isinstance(read, Sweep):
            level_SE3_sensor = levelled(at).inverse() @ at
            points_m = level_SE3_sensor.apply(read.points_sensor_m.astype(np.float64)).astype(np.float32)
            sweep = Sweep(points_m, read.intensity)
        yield sweep, None if before is None else before.inverse() @ here
        before = here


def _by_sweeps(sweeps: SweepSequence) -> Iterator[tuple[Sweep | SweepInputError, SE2 | None]]:
    """Each sweep, and how the vehicle moved since the one before, as far as the two tell."""
    odometry = SweepOdometry()
    for read in sweeps.read():
        yield read, odometry.add(read) if isinstance(read, Sweep) else None


def _no_pose(kind: str, time_limit_s: float) -> str:
    return f"no {kind} within {time_limit_s:g} s"


def _unobserved(reason: object) -> LidarEstimate:
    return Estimate.without_pose(Status.NO_OBSERVATION, LidarDiagnostics(reason=str(reason)))
