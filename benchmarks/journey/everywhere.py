"""Row of the journey where every street was photographed: random starts anywhere, all layers in one file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.journey.photos import RING_YAWS_DEG, photograph, start_lines
from benchmarks.journey.town import MARGIN_M, Told, TownDrives, driven, fold_town
from benchmarks.lines import Line, RowSkipped, at_most, information
from foldmap.api.opened import open as open_map
from foldmap.errors import MissingExtraError, ModelError
from foldmap.geometry import SE2
from foldmap.localize.journey.senses import Layers
from foldmap.street.images.rig import surround_ring
from foldmap.town import TownWorld, build_lidar, street_lanes
from foldmap.town.camera.ring_view import RingView
from foldmap.town.journey import town_events
from foldmap.town.plan import arc_lengths
from foldmap.town.scene import pose_on


@dataclass(frozen=True)
class Everywhere:
    """Row 6: random starts anywhere, without prior or satellites; lidar, photos, lanes and odometry.

    Attributes:
        starts: how many drives, on another day than the map's.
        frames: sweeps of each, at 10 Hz and 8 m/s; every fifth comes with three photos of 400 x 300 px.
        within: sweeps in which the place is to be found.
        spacing_m: between the places along every way of driving at which the map's photos were taken, three at each.
        points_per_m: of a way, that the file keeps.
        extent_m, seed: of the town.
    """

    number: ClassVar[int] = 6
    name: ClassVar[str] = "everywhere"
    title: ClassVar[str] = "random starts in a town, lidar, photos and lanes"
    starts: int = 20
    frames: int = 30
    within: int = 20
    spacing_m: float = 6.0
    points_per_m: float = 20.0
    extent_m: float = 240.0
    seed: int = 5

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        world, report = TownWorld(self.seed, self.extent_m), board.report("everywhere")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "town.fold"
            try:
                before = fold_town(file, board, self.extent_m, self.seed)
                self.photographed(file, world)
                town = open_map(file)
                extract = town.extractor().extract
            except (ModelError, MissingExtraError) as error:
                raise RowSkipped(f"skipped: {error.message}") from error
            layers = Layers(town.lidar_localizer(), town.visual_localizer(), town.street_localizer(), extract)
            told = []
            for number in range(self.starts):
                told.append(self.drive(layers, world, number))
                report(number + 1, self.starts)
            yield from start_lines(6, "", told, self.within)
            tracked_s = [spent_s for one in told for spent_s in one.tracked_s()]
            if tracked_s:
                yield at_most(6, "a tracked sweep, p99", 1000 * float(np.quantile(tracked_s, 0.99)), 150, "ms")
            size = file.stat().st_size
            yield information(6, "the file, all layers", size / 1000, "kB")
            yield information(6, "of it photos", (size - before) / 1000, "kB")

    def photographed(self, file: Path, world: TownWorld) -> None:
        """Add photos of every street that is driven on, along the inner lane of either direction."""
        places = self.places(world)
        photograph(file, world, places, round(self.points_per_m * self.spacing_m * len(places)))

    def places(self, world: TownWorld) -> list[SE2]:
        """Where the map's photos are taken."""
        far, found = 0.5 * self.extent_m - MARGIN_M, list[SE2]()
        for street in world.streets_near(-far, -far, far, far):
            for lane in street_lanes(street):
                arcs = arc_lengths(lane.points_m)
                every = [pose_on(lane.points_m, arcs, at_m, 0.8) for at_m in np.arange(0.0, arcs[-1], self.spacing_m)]
                if lane.key[2] == 0:
                    found += [one for one in every if max(abs(one.x_m), abs(one.y_m)) <= far + self.spacing_m]
        return found

    def drive(self, layers: Layers, world: TownWorld, number: int) -> Told:
        """One drive from a random lane, localized from nothing."""
        rng, day = np.random.default_rng([self.seed, 66, number]), 3000 + number
        path = TownDrives.way(world, self.extent_m, self.frames, rng)
        sensor = build_lidar("spinning64", np.random.default_rng([self.seed, 63]))
        view = RingView(world, surround_ring(RING_YAWS_DEG), day)
        return driven(layers, list(town_events(world, path, day, sensor, view, frame_every=5)))
