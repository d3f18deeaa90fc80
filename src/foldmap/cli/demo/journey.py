"""The journey of ``foldmap demo``: a drive of another day begins lost, and all layers of the one file find it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api.judging.reporting import ground_around
from foldmap.api.localizing_drives import LocalizedDrive, localize_drive
from foldmap.api.opened import open as open_map
from foldmap.api.results import write_estimates
from foldmap.cli.demo.settings import DemoJourneySettings, Report
from foldmap.formats.drives.write import write_drive
from foldmap.geometry import SE2
from foldmap.localize.estimate import Status, largest_sigma
from foldmap.localize.journey.estimate import JourneyEstimate
from foldmap.report.page import Page
from foldmap.report.run_figures import RunSeries, run_map, run_over_time
from foldmap.street.images.rig import surround_ring
from foldmap.town import TownWorld, build_lidar
from foldmap.town.camera.ring_view import RingView
from foldmap.town.journey import town_events
from foldmap.town.plan import arc_lengths
from foldmap.types import DoubleArray

_DAY, _SPEED_MPS, _RATE_HZ, _SENSED_M = 3, 8.0, 10.0, 25.0
_YAWS_DEG = (0.0, 45.0, -45.0)
RIGHT_M = 0.5


@dataclass
class DemoJourney:
    """What was answered along the drive, where it was, and points of the map around."""

    localized: LocalizedDrive
    true: list[SE2]  # at each observation
    ground_m: DoubleArray = field(default_factory=lambda: np.zeros((0, 2)))

    @property
    def series(self) -> RunSeries:
        """As the pictures of a run want it."""
        times_s = [float(one.time_s) for one in self.localized.observations]
        return run_series(times_s, [one.estimate for one in self.localized.observations], self.true, self.ground_m)

    def told(self) -> dict[str, Any]:
        """What the command prints of it."""
        series = self.series
        ok = series.of(Status.OK.value)
        return {
            "journey_observations": len(ok),
            "journey_found_after_s": float(series.times_s[ok][0] - series.times_s[0]) if ok.any() else None,
            "journey_ok": int(ok.sum()),
            "journey_wrong_ok": int((ok & ~(series.error <= RIGHT_M)).sum()),
            "journey_median_error_cm": 100 * float(np.median(series.error[ok])) if ok.any() else None,
        }


def run_series(
    times_s: Sequence[float], estimates: Sequence[JourneyEstimate], true: Sequence[SE2], ground_m: DoubleArray
) -> RunSeries:
    """Estimates with their true poses, as the pictures of a run want them."""
    found = [(one.pose.x_m, one.pose.y_m) if one.pose is not None else (np.nan, np.nan) for one in estimates]
    spreads = [np.nan if one.covariance is None else largest_sigma(one.covariance[:2, :2]) for one in estimates]
    levels = [one.protection_level() for one in estimates]
    positions, there = np.array(found), np.array([(pose.x_m, pose.y_m) for pose in true])
    return RunSeries(
        np.array(times_s),
        [one.status.value for one in estimates],
        positions,
        np.array(spreads),
        np.array([np.nan if one is None else one.position for one in levels]),
        there,
        np.hypot(*(positions - there).T),
        ground=ground_m,
    )


def drive_journey(
    folder: Path,
    path: Path,
    along: tuple[TownWorld, DoubleArray],
    seed: int,
    settings: DemoJourneySettings,
    report: Report,
) -> DemoJourney:
    """Drive the way on a third day, write the drive as a folder, and localize it from nothing in the map's file."""
    world, way_m = along
    length_m = (settings.sweeps - 1) * _SPEED_MPS / _RATE_HZ + 0.5
    cut_m = way_m[: int(np.searchsorted(arc_lengths(way_m), length_m)) + 1]
    sensor, day = build_lidar("spinning64", np.random.default_rng([seed, 5])), seed * 10 + _DAY
    view = RingView(world, surround_ring(_YAWS_DEG), day)
    events = town_events(
        world, cut_m, day, sensor, view, speed_mps=_SPEED_MPS, rate_hz=_RATE_HZ, max_range_m=_SENSED_M,
        frame_every=settings.frame_every,
    )  # fmt: skip
    driven = list(events)
    truth = {event.time_s: pose for event, pose in driven}
    drive = write_drive(folder / "drive", (event for event, _ in driven), truth.items())
    with open_map(path) as town:
        localized = localize_drive(town, drive, begin=lambda _: report)
        true = [truth[min(truth, key=lambda at: abs(at - float(one.time_s)))] for one in localized.observations]
        made = DemoJourney(localized, true)
        made.ground_m = np.concatenate([ground_around(town, kind, made.series) for kind in ("lidar", "street")])
    write_estimates(folder / "journey.txt", localized.observations)
    return made


def open_with(page: Page, made: DemoJourney, file_bytes: int) -> None:
    """Begin the page with the map and the drive."""
    told, sweeps = made.told(), [one for one in made.localized.observations if one.name.startswith("sweep")]
    found_s = told["journey_found_after_s"]
    after = "was not found" if found_s is None else f"was found after {found_s:.1f} s"
    page.heading("Lost at the start").text(
        f"One file of {file_bytes:,} bytes holds the lidar map, photo points and lanes of a town. A vehicle of another "
        f"day, with sweeps, three cameras and odometry, and no idea where it is, {after}; "
        f"{told['journey_ok']} of {len(made.true)} answers are ok, {told['journey_wrong_ok']} of them wrong."
    )
    page.figure(run_map(made.series), "Lidar's codes and lanes of the file, where the vehicle was, and the answers.")
    page.figure(run_over_time(made.series), "Error, three sigma and protection level over time; the status below.")
    health = [{"layer": name, **vars(one)} for name, one in sweeps[-1].estimate.diagnostics.layers.items()]
    page.table(health, {"layer": "layer", "status": "last said", "ok_age_s": "last ok, s ago"}, "Layers at the end.")
    page.command("foldmap localize map.fold drive -o run && foldmap report run")
