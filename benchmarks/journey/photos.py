"""Row of the journey with photos: all layers in one file, and photos without lidar."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.journey.ring_scene import ring_scene
from benchmarks.journey.town import RATE_HZ, RIGHT_M, SPEED_MPS, Told, TownDrives, driven, fold_town
from benchmarks.lines import Line, RowSkipped, at_least, at_most, information
from foldmap.api.opened import open as open_map
from foldmap.atlas import update
from foldmap.errors import MissingExtraError, ModelError
from foldmap.geometry import SE2
from foldmap.localize.estimate import Status
from foldmap.localize.journey.events import Event
from foldmap.localize.journey.senses import Layers
from foldmap.localize.protection import ALERT_LIMITS
from foldmap.localize.visual.negatives import fold_calibrated
from foldmap.street.images.rig import surround_ring
from foldmap.town import TownWorld, build_lidar
from foldmap.town.camera.ring_view import RingView
from foldmap.town.journey import town_events
from foldmap.town.plan import arc_lengths
from foldmap.town.scene import pose_on
from foldmap.types import AnyArray, DoubleArray
from foldmap.visual.codes.basis import basis_named
from foldmap.visual.codes.codecs import Transform
from foldmap.visual.features.extract import open_extractor
from foldmap.visual.fold import VisualPlan
from foldmap.visual.select import choose_points
from foldmap.visual.source import Features

RING_YAWS_DEG = (0.0, 45.0, -45.0)


@dataclass(frozen=True)
class Photos:
    """Row 4: drives on another day along a way that was photographed; all layers, then photos and lanes alone.

    Attributes:
        drives: so many, from random places of the way.
        frames: sweeps of each, at 10 Hz and 8 m/s; every fifth comes with three photos of 400 x 300 px.
        within: sweeps in which the place is to be found.
        way_m: of the way; photographed every three metres by three cameras.
        points: that the file keeps.
        extent_m, seed: of the town.
    """

    number: ClassVar[int] = 4
    name: ClassVar[str] = "photos"
    title: ClassVar[str] = "lidar, photos and lanes in one file"
    drives: int = 4
    frames: int = 30
    within: int = 20
    way_m: float = 70.0
    points: int = 3000
    extent_m: float = 240.0
    seed: int = 5

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        world = TownWorld(self.seed, self.extent_m)
        sweeps = int(self.way_m / SPEED_MPS * RATE_HZ)
        path = TownDrives.way(world, self.extent_m, sweeps, np.random.default_rng([self.seed, 64]))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "town.fold"
            try:
                before = fold_town(file, board, self.extent_m, self.seed)
                self._photograph(file, world, path)
                town = open_map(file)
                extract = town.extractor().extract
            except (ModelError, MissingExtraError) as error:
                raise RowSkipped(f"skipped: {error.message}") from error
            every = Layers(town.lidar_localizer(), town.visual_localizer(), town.street_localizer(), extract)
            drives = [self._events(world, path, number) for number in range(self.drives)]
            for what, layers in (("all layers: ", every), ("without lidar: ", replace(every, lidar=None))):
                told = [driven(layers, events) for events in drives]
                yield from start_lines(4, what, told, self.within)
                if layers.lidar is not None:
                    yield from pace(4, what, told)
            whole = file.stat().st_size
            yield information(4, "the file, all layers", whole / 1000, "kB")
            yield information(4, "of it photos", (whole - before) / 1000, "kB")

    def _photograph(self, file: Path, world: TownWorld, path: DoubleArray) -> None:
        arcs = arc_lengths(path)
        places = [pose_on(path, arcs, float(at), 0.8) for at in np.arange(0.0, arcs[-1], 3.0)]
        photograph(file, world, places, self.points)

    def _events(self, world: TownWorld, path: DoubleArray, number: int) -> list[tuple[Event, SE2]]:
        rng, arcs = np.random.default_rng([self.seed, 65, number]), arc_lengths(path)
        length_m = (self.frames - 1) * SPEED_MPS / RATE_HZ + 0.5
        first_m = float(rng.uniform(0.0, max(arcs[-1] - length_m, 0.0)))
        part = np.searchsorted(arcs, [first_m, first_m + length_m])
        sensor = build_lidar("spinning64", np.random.default_rng([self.seed, 63]))
        view = RingView(world, surround_ring(RING_YAWS_DEG), 2000 + number)
        way = path[part[0] : part[1] + 1]
        return list(town_events(world, way, 2000 + number, sensor, view, frame_every=5))


def photograph(file: Path, world: TownWorld, places: Sequence[SE2], points: int) -> int:
    """Add photos to a file that were taken at some places on the map's day, by three cameras, and so many points.

    Returns:
        How many keypoints the photos have.
    """
    view, extractor, keypoints = RingView(world, surround_ring(RING_YAWS_DEG), 1), open_extractor("sift"), 0

    def extract(image: AnyArray) -> Features:
        nonlocal keypoints
        found = extractor.extract(image)
        keypoints += len(found.xy_px)
        return found

    scene = ring_scene(view, places, extract, "sift")
    most = min(points, len(scene.points_world))
    kept = np.sort(choose_points(scene, most).order[:most]) if most < len(scene.points_world) else np.arange(most)
    with update(file) as writer:
        fold_calibrated(writer, scene, VisualPlan(kept, Transform(basis_named("sift-1"), 0.1, standard=True)))
        writer.commit()
    return keypoints


def start_lines(row: int, prefix: str, told: Sequence[Told], within: int) -> Iterator[Line]:
    """What came of drives that began lost in a map with photos."""
    found = [one.found_at for one in told]
    soon = float(np.mean([at is not None and at < within for at in found]))
    detail = {"found_at": found, "wrong": [one.wrong for one in told]}
    yield at_least(row, f"{prefix}right place within {within} sweeps", 100 * soon, 95, "%", detail=detail)
    wrong = sum(one.wrong for one in told)
    yield at_most(row, f"{prefix}wrong ok (beyond {RIGHT_M:g} m), sweeps", wrong, 0)
    sure = np.concatenate([one.errors_m[one.ok] for one in told])
    if len(sure):
        yield at_most(row, f"{prefix}error while ok, median", 100 * float(np.median(sure)), 5, "cm")
        yield at_most(row, f"{prefix}error while ok, p99", 100 * float(np.quantile(sure, 0.99)), 20, "cm")
        turned = np.degrees(np.concatenate([one.turned_rad[one.ok] for one in told]))
        yield at_most(row, f"{prefix}heading off while ok, p99", float(np.quantile(turned, 0.99)), 0.5, "deg")
        yield from _bounded(row, prefix, told, sure)
    after = [one.ok[at:] for one, at in zip(told, found, strict=True) if at is not None]
    if after:
        yield information(
            row, f"{prefix}ok, of the sweeps after the first", 100 * float(np.concatenate(after).mean()), "%"
        )
    spent = np.array([one.diagnostics.time_s for each in told for one in each.estimates])
    yield information(row, f"{prefix}a sweep, median", 1000 * float(np.median(spent)), "ms")
    spent = np.array([one for each in told for one in each.frames_s])
    yield information(row, f"{prefix}a frame of photos, median", 1000 * float(np.median(spent)), "ms")


def pace(row: int, prefix: str, told: Sequence[Told]) -> Iterator[Line]:
    """How many sweeps a second are tracked, when all that comes between them is taken, too."""
    if tracking_s := sum(sum(one.tracking_s) for one in told):
        hz = sum(len(one.tracked_s()) for one in told) / tracking_s
        yield at_least(row, f"{prefix}sweeps a second while tracked, photos among them", hz, 10, "1/s")


def _bounded(row: int, prefix: str, told: Sequence[Told], sure_m: DoubleArray) -> Iterator[Line]:
    """How the errors of answers that are `ok` lie to their protection levels at a risk of 1e-3."""
    levels = [one.protection_level() for each in told for one in each.estimates if one.status is Status.OK]
    bounds_m = np.array([np.inf if level is None else level.position for level in levels])
    beyond = 1000 * float((sure_m > bounds_m).mean())
    detail = {"answers": len(levels), "calibrated": int(np.isfinite(bounds_m).sum())}
    yield at_most(row, f"{prefix}errors while ok beyond their protection level", beyond, 1, "of 1,000", detail=detail)
    share = 100 * float((bounds_m <= ALERT_LIMITS["reid-street"].along_m).sum() / sum(len(o.estimates) for o in told))
    yield information(row, f"{prefix}sweeps ok with a level under 0.29 m, of all", share, "%")
