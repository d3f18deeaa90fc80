"""Row of the journey where every street was photographed: random starts anywhere, all layers in one file."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.journey.photos import RING_YAWS_DEG, pace, photograph, start_lines
from benchmarks.journey.town import MARGIN_M, REGION, Told, TownDrives, driven, fold_town
from benchmarks.lines import Line, RowSkipped, at_least, at_most, information
from benchmarks.town import town_map
from foldmap.api.opened import open as open_map
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec
from foldmap.errors import MissingExtraError, ModelError
from foldmap.formats.street.lanelet2.write import write_lanelet2
from foldmap.geometry import SE2
from foldmap.localize.journey.senses import Layers
from foldmap.street.images.rig import surround_ring
from foldmap.town import TownWorld, build_lidar, street_lanes
from foldmap.town.camera.ring_view import RingView
from foldmap.town.journey import town_events
from foldmap.town.plan import arc_lengths
from foldmap.town.scene import pose_on
from foldmap.town.street.map import town_street_map

_PNG_PX = 2048
_HLOC_BYTES = 2 * (128 + 2 + 1)
"""Of a keypoint of hloc's SIFT as it is kept, in half precision: descriptor, place and score."""


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
                keypoints = self.photographed(file, world)
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
            yield from pace(6, "", told)
            tracked_s = [spent_s for one in told for spent_s in one.tracked_s()]
            if tracked_s:
                yield at_most(6, "a tracked sweep, p99", 1000 * float(np.quantile(tracked_s, 0.99)), 150, "ms")
            size = file.stat().st_size
            yield information(6, "the file, all layers", size / 1000, "kB")
            yield information(6, "of it photos", (size - before) / 1000, "kB")
            others = self.unfolded(Path(folder), keypoints)
            share = {name: round(bytes_ / 1e6, 2) for name, bytes_ in others.items()}
            name = "the same as PNG-16, hloc features and Lanelet2, of the file"
            yield at_least(6, name, sum(others.values()) / size, 300, "x", detail={"MB": share})

    def photographed(self, file: Path, world: TownWorld) -> int:
        """Add photos of every street that is driven on, along the inner lane of either direction; their keypoints."""
        places = self.places(world)
        return photograph(file, world, places, round(self.points_per_m * self.spacing_m * len(places)))

    def unfolded(self, folder: Path, keypoints: int) -> dict[str, int]:
        """Bytes of the same maps as they are kept elsewhere: a raster, local features, a lane map."""
        source, far, png = town_map(self.extent_m, 0.05, self.seed), 0.5 * self.extent_m, ImageMapCodec("png16")
        height, width = source.grid.shape
        raster = 0
        for row, column in itertools.product(range(0, height, _PNG_PX), range(0, width, _PNG_PX)):
            part = source.read(row, column, min(_PNG_PX, height - row), min(_PNG_PX, width - column))
            raster += len(png.encode(part)) if part.observed.any() else 0
        lanes = folder / "lanes.osm"
        write_lanelet2(lanes, town_street_map(TownWorld(self.seed, self.extent_m), -far, -far, far, far, REGION))
        return {"PNG-16": raster, "hloc": _HLOC_BYTES * keypoints, "Lanelet2": lanes.stat().st_size}

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
