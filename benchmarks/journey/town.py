"""A generated town in one file, with lidar and street layers, and drives in it on another day."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.context import Board
from benchmarks.town import town_map
from foldmap.api.opened import open as open_map
from foldmap.atlas import FoldWriter
from foldmap.errors import PoseInputError
from foldmap.geometry import SE2
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.localize.estimate import Status
from foldmap.localize.journey.estimate import JourneyEstimate
from foldmap.localize.journey.events import CameraEvent, Event, OdometryEvent, SweepEvent
from foldmap.localize.journey.journey import Journey
from foldmap.localize.journey.senses import Layers
from foldmap.street.defaults import default_model
from foldmap.street.fold import StreetPlan, fold_street
from foldmap.street.images.ground_warp import RingWarp
from foldmap.street.images.rig import surround_ring
from foldmap.street.source import StreetMap
from foldmap.town import TownWorld, build_lidar, street_lanes, wander
from foldmap.town.journey import town_events
from foldmap.town.street.map import town_street_map
from foldmap.town.street.ortho import town_tile
from foldmap.types import BoolArray, DoubleArray

MARGIN_M, PIXEL_M, REGION = 45.0, 0.15, "town"
SPEED_MPS, RATE_HZ, RIGHT_M = 8.0, 10.0, 0.5


def fold_town(path: Path, board: Board, extent_m: float, seed: int) -> int:
    """Fold a square of town into one file, lidar as marks, and streets; its bytes."""
    source, far = town_map(extent_m, 0.05, seed), 0.5 * extent_m
    graph = town_street_map(TownWorld(seed, extent_m), -far, -far, far, far, REGION).graph
    with FoldWriter(path) as writer:
        fold_lidar(writer, source, LidarPlan(board.marks(0.05)))
        fold_street(writer, [StreetMap(REGION, graph)], StreetPlan(spacing_m=4.0, model=default_model()))
    return path.stat().st_size


def layers_of(path: Path) -> Layers:
    """The localizers of a folded town."""
    town = open_map(path)
    return Layers(town.lidar_localizer(), None, town.street_localizer())


@dataclass(frozen=True)
class TownDrives:
    """Drives of one other day, each from a random lane."""

    seed: int
    extent_m: float
    frames: int

    def __post_init__(self) -> None:
        world, far = TownWorld(self.seed, self.extent_m), 0.5 * self.extent_m
        tile = town_tile(world, -far, -far, self.extent_m, PIXEL_M, 2)
        warp = RingWarp(surround_ring())
        object.__setattr__(self, "_made", (world, lambda pose: warp(tile.ground, pose)))

    def events(self, number: int, frame_every: int = 1) -> list[tuple[Event, SE2]]:
        """One drive with its truth: sweeps at 10 Hz and 8 m/s, cameras with them, odometry; no satellites."""
        world, look = self._made  # type: ignore[attr-defined]
        rng = np.random.default_rng([self.seed, 62, number])
        sensor = build_lidar("spinning64", np.random.default_rng([self.seed, 63]))
        path = self.way(world, self.extent_m, self.frames, rng)
        return list(town_events(world, path, 1000 + number, sensor, look, frame_every=frame_every))

    @staticmethod
    def way(world: TownWorld, extent_m: float, frames: int, rng: np.random.Generator) -> DoubleArray:
        """A way along lanes that stays inside, long enough for the frames."""
        far, length_m = 0.5 * extent_m - MARGIN_M, (frames - 1) * SPEED_MPS / RATE_HZ + 1.0
        lanes = [lane for street in world.streets_near(-far, -far, far, far) for lane in street_lanes(street)]
        for _ in range(500):
            path = wander(world.plan, lanes[rng.integers(len(lanes))], length_m + 40.0, rng)
            arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
            first = int(np.searchsorted(arc, rng.uniform(0.0, 30.0)))
            last = int(np.searchsorted(arc, arc[min(first, len(arc) - 1)] + length_m))
            cut = path[first : last + 1]
            if last < len(path) and (np.abs(cut) <= far).all():
                return cut
        raise PoseInputError(f"no way of {length_m:g} m stays in the town", "take a larger extent or fewer frames")


@dataclass(frozen=True)
class Told:
    """What was answered about one drive, at each sweep: the estimate and its errors, infinite without one.

    Attributes:
        estimates: one a sweep.
        errors_m, turned_rad: of position and heading.
        frames_s: what each frame of the cameras took.
        tracking_s: what each event of any kind took that came, and was answered, while a pose was tracked.
    """

    estimates: list[JourneyEstimate]
    errors_m: DoubleArray
    turned_rad: DoubleArray
    frames_s: list[float] = field(default_factory=list)
    tracking_s: list[float] = field(default_factory=list)

    @property
    def ok(self) -> BoolArray:
        """Whether each was `ok`, bool (N,)."""
        return np.array([one.status is Status.OK for one in self.estimates])

    @property
    def found_at(self) -> int | None:
        """The first sweep that was `ok` and in the right place."""
        right = np.flatnonzero(self.ok & (self.errors_m <= RIGHT_M))
        return int(right[0]) if len(right) else None

    @property
    def wrong(self) -> int:
        """How often `ok` was wrong."""
        return int((self.ok & ~(self.errors_m <= RIGHT_M)).sum())

    def tracked_s(self) -> list[float]:
        """What each sweep took that came while a pose was tracked; the one that found it was searched by."""
        pairs = itertools.pairwise(one.diagnostics for one in self.estimates)
        return [after.time_s for before, after in pairs if before.phase == after.phase == "track"]


def driven(layers: Layers, events: Sequence[tuple[Event, SE2]]) -> Told:
    """Localize a drive from nothing."""
    truth = {event.time_s: pose for event, pose in events}
    estimates, errors, frames_s, tracking_s, phase = [], [], [], [], ""
    for event, estimate in Journey(layers).run(event for event, _ in events):
        if phase == (phase := estimate.diagnostics.phase) == "track":
            tracking_s.append(estimate.diagnostics.time_s)
        if isinstance(event, SweepEvent):
            off = None if estimate.pose is None else truth[event.time_s].inverse() @ estimate.pose
            errors.append((np.inf, np.inf) if off is None else (np.hypot(off.x_m, off.y_m), abs(off.heading_rad)))
            estimates.append(estimate)
        elif isinstance(event, CameraEvent):
            frames_s.append(estimate.diagnostics.time_s)
    errors_m, turned_rad = np.array(errors, np.float64).reshape(-1, 2).T
    return Told(estimates, errors_m, turned_rad, frames_s, tracking_s)


Cut = Callable[[Sequence[tuple[Event, SE2]]], Iterator[tuple[Event, SE2]]]


def without(kinds: tuple[type, ...], begin_s: float, end_s: float) -> Cut:
    """Leave events of some kinds out for a while."""

    def cut(events: Sequence[tuple[Event, SE2]]) -> Iterator[tuple[Event, SE2]]:
        for event, pose in events:
            if not (isinstance(event, kinds) and begin_s <= event.time_s < end_s):
                yield event, pose

    return cut


SILENT = SweepEvent, CameraEvent


def jumped(at_s: float, by_s: float) -> Cut:
    """Carry the vehicle on by some seconds of driving between two sweeps; odometry does not notice."""

    def cut(events: Sequence[tuple[Event, SE2]]) -> Iterator[tuple[Event, SE2]]:
        for event, pose in events:
            if event.time_s < at_s:
                yield event, pose
            elif event.time_s >= at_s + by_s:
                yield _earlier(event, by_s), pose

    return cut


def _earlier(event: Event, by_s: float) -> Event:
    time_s = event.time_s - by_s
    if isinstance(event, SweepEvent):
        return SweepEvent(time_s, event.sweep)
    if isinstance(event, CameraEvent):
        return CameraEvent(time_s, event.frame, event.queries)
    assert isinstance(event, OdometryEvent)
    return OdometryEvent(time_s, event.previous_SE2_current)
