"""A street is closed, in ``foldmap demo``: the map notices, is patched, and the drive repeats."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from foldmap.api.judging.reporting import ground_around
from foldmap.api.opened import FoldedMap
from foldmap.api.opened import open as open_map
from foldmap.atlas import FoldUpdater
from foldmap.atlas.patches import apply_patch, write_patch
from foldmap.cli.demo.journey import RIGHT_M, DemoJourney, run_series
from foldmap.cli.demo.settings import REGION, Report
from foldmap.cli.demo.street import ring_pairs, seen_from_above
from foldmap.geometry import SE2, SE3
from foldmap.lidar.mapping.raster import BuildSettings, build_map
from foldmap.lidar.source import RasterMap, Sweep
from foldmap.lidar.update import LidarUpdate, update_lidar
from foldmap.localize.estimate import Status
from foldmap.localize.journey.estimate import ALIKE, JourneyEstimate
from foldmap.localize.journey.events import Event, OdometryEvent, SweepEvent
from foldmap.localize.journey.journey import Journey
from foldmap.localize.journey.senses import Layers
from foldmap.report.page import Page
from foldmap.report.run_figures import RunSeries, runs_side_by_side
from foldmap.street.changes.detect import find_changes
from foldmap.street.changes.survey import gather
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.graph.chains import densified
from foldmap.street.graph.window import cut
from foldmap.street.unfold import FoldedStreet
from foldmap.town import TownWorld, build_lidar
from foldmap.town.journey import town_events
from foldmap.town.plan import Street, arc_lengths
from foldmap.types import BoolArray, DoubleArray

_DAYS, _SPEED_MPS, _SENSED_M, _MAPPED_M = (4, 5), 8.0, 25.0, 20.0
_BEFORE_M, _INTO_M = 28.0, 28.0  # of the street, that are driven
_PRIOR_M, _OFF_M = 2.0, (0.5, -0.4)
_IN_A_ROW = 5  # sweeps, as many as are laid together
_FRAME_EVERY, _AROUND_M = 5, 50.0
_CAMERAS = (
    " The network that looks for changes of lanes, shown what seven cameras see of the same drive, named {}: it learnt "
    "of lanes that come, go and move, not of streets that are paved over."
)
_REACH_M = 20.0  # a sweep farther from the closed ground does not see it


@dataclass
class ClosedDrive:
    """One drive past the closing: what was answered at each sweep, and where odometry carried the last sure pose."""

    estimates: list[JourneyEstimate] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    truth: list[SE2] = field(default_factory=list)
    carried: list[SE2 | None] = field(default_factory=list)
    sweeps: list[Sweep] = field(default_factory=list)

    @property
    def shares(self) -> DoubleArray:
        """Share of the map's marks that each sweep saw; NaN where nothing was tracked."""
        return shares_of(self.estimates)

    def series(self, town: FoldedMap) -> RunSeries:
        """As the pictures of a run want it, with the file's marks below."""
        run = run_series(self.times_s, self.estimates, self.truth, np.zeros((0, 2)))
        return run_series(self.times_s, self.estimates, self.truth, ground_around(town, "lidar", run))


@dataclass
class DemoClosing:
    """What was done to the town, what was answered with the old map and with the patched one, and the patch."""

    away_m: DoubleArray  # of the first drive's sweeps from the closed ground
    old: ClosedDrive
    new: ClosedDrive
    noticed: BoolArray  # sweeps of the first drive
    written: LidarUpdate
    patch_bytes: int
    runs: tuple[RunSeries, RunSeries]
    lane_changes: int | None  # that cameras named on the first drive; None where no network looks for any

    def told(self) -> dict[str, Any]:
        """What the command prints of it."""
        far = self.away_m > _REACH_M
        found = {"old": self.old, "new": self.new}
        said: dict[str, Any] = {}
        for (name, one), run in zip(found.items(), self.runs, strict=True):
            ok = run.of(Status.OK.value)
            said |= {
                f"closing_{name}_map_sweeps": len(ok),
                f"closing_{name}_map_ok": int(ok.sum()),
                f"closing_{name}_map_wrong_ok": int((ok & ~(run.error <= RIGHT_M)).sum()),
                f"closing_{name}_map_median_error_cm": 100 * float(np.median(run.error[ok])) if ok.any() else None,
                f"closing_{name}_map_noticed": int(changed(one.shares).sum()),
            }
        return said | {
            "closing_noticed_before_in_sight": int((self.noticed & far).sum()),
            "closing_lane_changes": self.lane_changes,
            "closing_patch_bytes": self.patch_bytes,
            "closing_tiles": len(self.written.changed) + len(self.written.removed),
        }


def shares_of(estimates: Iterable[JourneyEstimate]) -> DoubleArray:
    """Share of the map's marks that lidar saw at each, float64 (N,), NaN where nothing was tracked."""
    said = [one.diagnostics.layers.get("lidar") for one in estimates]
    return np.array([np.nan if one is None or one.explained is None else one.explained for one in said], np.float64)


def changed(shares: DoubleArray) -> BoolArray:
    """Which sweeps say that the ground is not the map's: in runs that are longer than a sweep is kept, bool (N,)."""
    unlike = shares < ALIKE
    edges = np.flatnonzero(np.diff(np.concatenate([[0], unlike.astype(np.int8), [0]])))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if last - first < _IN_A_ROW:
            unlike[first:last] = False
    return unlike


def close_street(
    folder: Path,
    fold_file: Path,
    raster: RasterMap,
    along: tuple[TownWorld, DoubleArray],
    finder: FieldEmbedding | None,
    report: Report,
) -> DemoClosing | None:
    """Close the street that the way ends in; drive there, patch the file by what was seen, and drive again.

    ``raster`` is what the lidar layer was folded of, ``finder`` the network that finds changes of lanes. None where the
    way has too little of a last street.
    """
    world, way_m = along
    street, entered_m = _last_street(world, way_m)
    arc_m = arc_lengths(way_m)
    if entered_m < _BEFORE_M or arc_m[-1] < entered_m + _INTO_M:
        return None
    driven_m = way_m[(arc_m >= entered_m - _BEFORE_M) & (arc_m <= entered_m + _INTO_M)]
    closed = TownWorld(world.seed, world.extent_m, closed=[street.key])
    with open_map(fold_file) as town:
        old = _drive(town, closed, driven_m, _DAYS[0])
        runs = [old.series(town)]
        lane_changes = None if finder is None else _lane_changes(finder, town.street, closed, old)
    report(1, 3)
    noticed = changed(old.shares)
    new_file, patch = folder / "patched.fold", folder / "closing.foldpatch"
    written = _bring_up_to_date(fold_file, new_file, raster, old, noticed)
    patch_bytes = write_patch(fold_file, new_file, patch).bytes
    new_file.unlink()
    apply_patch(fold_file, patch, new_file)  # as a vehicle does that has the old file
    report(2, 3)
    with open_map(new_file) as town:
        new = _drive(town, closed, driven_m, _DAYS[1])
        runs.append(new.series(town))
    report(3, 3)
    inner = (street.arc_m >= street.setback_m[0]) & (street.arc_m <= street.length_m - street.setback_m[1])
    away_m = KDTree(street.points_m[inner]).query([(one.x_m, one.y_m) for one in old.truth])[0]
    return DemoClosing(away_m, old, new, noticed, written, patch_bytes, (runs[0], runs[1]), lane_changes)


def _last_street(world: TownWorld, way_m: DoubleArray) -> tuple[Street, float]:
    """The street that the way's last quarter runs along, and the metres of way at which it is entered."""
    arc_m = arc_lengths(way_m)
    last = way_m[arc_m >= 0.75 * arc_m[-1]]
    streets = world.streets_near(*last.min(axis=0), *last.max(axis=0))
    street = min(streets, key=lambda one: float(np.median(KDTree(one.points_m).query(last)[0])))
    inside = KDTree(street.points_m).query(way_m)[0] < street.base_half_m
    outside = np.flatnonzero(~inside & (arc_m < 0.75 * arc_m[-1]))
    return street, float(arc_m[outside[-1]]) if len(outside) else 0.0


def _drive(town: FoldedMap, world: TownWorld, path_m: DoubleArray, day: int) -> ClosedDrive:
    """Drive a path by lidar and odometry from a pose like a satellite's."""
    sensor = build_lidar("spinning64", np.random.default_rng([world.seed, 5]))
    events = town_events(world, path_m, 10 * world.seed + day, sensor, speed_mps=_SPEED_MPS, max_range_m=_SENSED_M)
    journey, made, carried = None, ClosedDrive(), None
    for event, truth in events:
        if journey is None:
            near = SE2(truth.x_m + _OFF_M[0], truth.y_m + _OFF_M[1], truth.heading_rad)
            journey = Journey(Layers(lidar=town.lidar_localizer()), (near, _PRIOR_M))
        carried = _carried(carried, event)
        estimate = journey.step(event)
        if estimate is None or not isinstance(event, SweepEvent):
            continue
        if estimate.status is Status.OK:
            carried = estimate.pose
        assert isinstance(event.sweep, Sweep)
        made.estimates.append(estimate)
        made.times_s.append(event.time_s)
        made.truth.append(truth)
        made.carried.append(carried)
        made.sweeps.append(event.sweep)
    return made


def _carried(pose: SE2 | None, event: Event) -> SE2 | None:
    return pose @ event.previous_SE2_current if pose is not None and isinstance(event, OdometryEvent) else pose


def _lane_changes(finder: FieldEmbedding, streets: FoldedStreet, world: TownWorld, driven: ClosedDrive) -> int:
    """How many changes a network names by what seven cameras see of the closed town's flat ground."""
    placed = [(true, pose) for true, pose in zip(driven.truth, driven.carried, strict=True) if pose is not None]
    placed = placed[::_FRAME_EVERY]
    if not placed:
        return 0
    low = np.min([(true.x_m, true.y_m) for true, _ in placed], axis=0) - _AROUND_M
    side = float(np.ptp([(true.x_m, true.y_m) for true, _ in placed], axis=0).max()) + 2 * _AROUND_M
    tile = seen_from_above(world, side, _DAYS[0], (float(low[0]), float(low[1])))
    seen, poses = [ring_pairs(tile).observe(tile, true) for true, _ in placed], [pose for _, pose in placed]
    graph = densified(streets.graph(REGION))[0]
    evidence = gather(finder, seen, [cut(graph, pose, finder.window) for pose in poses])
    return len(find_changes(graph, poses, evidence, finder.field))


def _bring_up_to_date(
    fold_file: Path, output: Path, raster: RasterMap, driven: ClosedDrive, noticed: BoolArray
) -> LidarUpdate:
    """Map the ground anew from where it was noticed on, and fold the tiles that it changes into a copy of the file."""
    first = int(np.argmax(noticed)) if noticed.any() else len(noticed)
    pairs = zip(driven.sweeps[first:], driven.carried[first:], strict=True)
    placed = [(sweep, SE3.from_se2(pose)) for sweep, pose in pairs if pose is not None]
    output.write_bytes(fold_file.read_bytes())
    if not placed:
        return LidarUpdate((), (), 0)
    build = BuildSettings(resolution_m=raster.grid.resolution_m, max_range_m=_MAPPED_M)
    with build_map(placed, build, scratch=output.parent) as built:
        seen = built.raster()
    # both lie on the pixels of the world's origin
    here = seen.read(*seen.grid.offset_of(raster.grid), *raster.grid.shape)
    intensity = np.where(here.observed, here.intensity, raster.intensity)
    now = RasterMap(raster.grid, intensity.astype(np.float32), raster.observed | here.observed)
    with FoldUpdater(output) as updater:
        return update_lidar(updater, now, before=raster)


def show_closing(page: Page, made: DemoClosing, unchanged: DemoJourney) -> None:
    """Append the act: one picture, and what was noticed where nothing had changed."""
    told = made.told()
    before, after = (_answers(told, name) for name in ("old", "new"))
    patched = "Nothing was noticed, so there is nothing to patch."
    if told["closing_tiles"]:
        patched = (
            "What they saw, laid where odometry carried the last sure pose, is folded into the tiles that it changes "
            f"({told['closing_tiles']}), and goes as a patch of {made.patch_bytes:,} bytes to who has the old file. "
            f"With it the drive repeats on another day: {after}."
        )
    page.heading("A street is closed").text(
        "After the map was made, the street that the way ends in was closed to vehicles and paved over. A vehicle with "
        f"lidar and odometry drives there with the old map: {before}. {patched}"
    )
    middle = made.old.shares, changed(made.old.shares)
    page.figure(
        runs_side_by_side(made.runs[0], middle, made.runs[1], ("The old file", "Noticed", "Patched")),
        "Grey: the marks of the file. Left and right: the answers with the old file and with the patched one. Middle: "
        f"where the sweeps see less than {ALIKE:g} of the file's marks, which another street could show as well.",
    )
    still = shares_of(one.estimate for one in unchanged.localized.observations if one.name.startswith("sweep"))
    rows = [
        _row("the old file, before the closed ground is in sight", made.old.shares[made.away_m > _REACH_M]),
        _row("the old file, in sight of it", made.old.shares[made.away_m <= _REACH_M]),
        _row("the patched file, on another day", made.new.shares),
        _row("drive 3: nothing had changed", still),
    ]
    cameras = "" if made.lane_changes is None else _CAMERAS.format(made.lane_changes)
    page.table(
        rows,
        {"what": "what", "sweeps": "sweeps tracked", "share": "median share seen", "noticed": "said to be changed"},
        f"Changed are runs of at least {_IN_A_ROW} sweeps.{cameras}",
    )
    page.command("foldmap diff map.fold patched.fold -o closing.foldpatch && foldmap patch map.fold closing.foldpatch")


def _answers(told: dict[str, Any], name: str) -> str:
    what = ("sweeps", "ok", "wrong_ok", "noticed")
    sweeps, ok, wrong, noticed = (told[f"closing_{name}_map_{one}"] for one in what)
    return f"{ok} of {sweeps} answers are ok, {wrong} of them wrong, and {noticed} sweeps say that the ground changed"


def _row(what: str, shares: DoubleArray) -> dict[str, Any]:
    known = np.isfinite(shares)
    middle = float(np.median(shares[known])) if known.any() else None
    return {"what": what, "sweeps": int(known.sum()), "share": middle, "noticed": int(changed(shares).sum())}
