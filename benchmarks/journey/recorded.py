"""Row of the journey on kitti-drive0001: a recorded street, lidar and photos in one file, from nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.journey.kitti import FULL_SCALE, kitti_events, kitti_scene, kitti_truth
from benchmarks.journey.town import Told, driven
from benchmarks.lines import Line, RowSkipped, at_least, at_most, information
from foldmap.api.opened import open as open_map
from foldmap.atlas import FoldWriter
from foldmap.bench.lidar.baselines.contrast_localizer import ContrastMap
from foldmap.errors import MissingExtraError
from foldmap.formats.scenes import read_scene
from foldmap.formats.sweeps.drives import open_drive
from foldmap.formats.sweeps.files import read_sweep
from foldmap.formats.sweeps.kitti import read_kitti_poses
from foldmap.geometry import SE2
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.mapping.raster import BuildSettings, build_map
from foldmap.lidar.marks.outline import fold_outline
from foldmap.lidar.source import RasterMap
from foldmap.localize.estimate import Status
from foldmap.localize.journey.events import Event, OdometryEvent, SweepEvent, moved_by_sweeps
from foldmap.localize.journey.journey import Journey
from foldmap.localize.journey.senses import Layers
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.localize.lidar.outline import WholeOutline
from foldmap.localize.visual.negatives import fold_calibrated
from foldmap.visual.codes.basis import basis_named
from foldmap.visual.codes.codecs import Transform
from foldmap.visual.fold import VisualPlan
from foldmap.visual.select import choose_points

_GUARD, _STACK, _RIGHT_M, _ELSEWHERE = 15, 4, 1.0, 40
_RAW = "the raw map"


@dataclass(frozen=True)
class Recorded:
    """Row 5: short drives on kitti-drive0001, each in a map of the frames at least 15 away from its own.

    A drive has found the right place where any pose that it answers, `ok` or `degraded`, is within a metre. The truth
    is GNSS/INS, which placed the map's frames, too. Beside the file's figures stand those of the raw map's contrast
    with the same localizer, the same outline and the same photos; the file's by sweeps alone, without photos and
    without the INS' speeds; and the file asked by kitti-hdl64, another street.

    Attributes:
        starts: first frame of each drive, from which nothing is known of the place.
        frames: of each, at 10 Hz.
        points: of photos that the file keeps.
        resolution_m: of the lidar map.
    """

    number: ClassVar[int] = 5
    name: ClassVar[str] = "recorded"
    title: ClassVar[str] = "kitti-drive0001, lidar and photos, from nothing"
    starts: tuple[int, ...] = (20, 35, 50, 65)
    frames: int = 12
    points: int = 2500
    resolution_m: float = 0.05

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        folder, told = board.recordings("kitti-drive0001"), dict[str, list[Told]]()
        sizes, elsewhere, report = list[int](), list[int](), board.report("recorded")
        for number, start in enumerate(self.starts):
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    file, raster = self._map(board, folder, start, Path(scratch))
                except MissingExtraError as error:
                    raise RowSkipped(f"skipped: {error.message}") from error
                sizes.append(file.stat().st_size)
                for name, one in self._driven(folder, start, file, raster).items():
                    told.setdefault(name, []).append(one)
                elsewhere.append(self._lost(board, file))
            report(number + 1, len(self.starts))
        for name, every in told.items():
            yield from _lines(name, every)
        sure = sum(elsewhere)
        yield at_most(5, f"another street's sweeps in the file, {_ELSEWHERE} a drive: answered ok", sure, 0)
        yield at_most(5, "the file, lidar and photos, largest", max(sizes) / 1000, 60, "kB")

    def _map(self, board: Board, folder: Path, start: int, scratch: Path) -> tuple[Path, RasterMap]:
        """The folded file of the frames that are far enough away, and the raster that was folded."""
        drive = board.shared("kitti-drive0001", lambda: open_drive(folder / "sweeps", folder / "poses.txt"))
        poses = drive.world_SE3_sensors
        own = range(start - _STACK - _GUARD, start + self.frames + _GUARD)
        kept = [frame for frame in range(len(poses)) if frame not in own]
        sweeps = ((sweep, poses[k]) for k in kept if (sweep := drive.sweep(k)) is not None)
        with build_map(sweeps, BuildSettings(resolution_m=self.resolution_m), scratch=scratch) as built:
            raster, standing = built.raster(), built.standing()
        scene = read_scene(kitti_scene(folder, [(k, poses[k].matrix) for k in kept], scratch))
        most = min(self.points, len(scene.points_world))
        chosen = np.sort(choose_points(scene, most).order[:most])
        with FoldWriter(scratch / "drive.fold") as writer:
            fold_lidar(writer, raster, LidarPlan(board.marks(self.resolution_m)))
            fold_outline(writer, standing, drive.sweeps.spun)
            fold_calibrated(writer, scene, VisualPlan(chosen, Transform(basis_named("sift-1"), 0.1, standard=True)))
        return scratch / "drive.fold", raster

    def _driven(self, folder: Path, start: int, file: Path, raster: RasterMap) -> Mapping[str, Told]:
        """The drive, localized in the file, and with the raw map in lidar's place."""
        truth = dict(kitti_truth(folder))
        events: list[tuple[Event, SE2]] = [
            (event, truth[event.time_s]) for event in kitti_events(folder, range(start - _STACK, start + self.frames))
        ]
        with open_map(file) as town:
            assert town.outline is not None
            photos = town.visual_localizer(), None, town.extractor().extract
            layers = Layers(town.lidar_localizer(), *photos, WholeOutline(town.outline))
            raw = LidarLocalizer(ContrastMap(raster))
            seen = [event for event, _ in events if isinstance(event, SweepEvent)]
            moved = [(event, truth[event.time_s]) for event in moved_by_sweeps(seen)]
            return {
                "the file": driven(layers, events),
                _RAW: driven(replace(layers, lidar=raw), events),
                "the file, sweeps alone": driven(Layers(layers.lidar, outline=WholeOutline(town.outline)), moved),
            }

    def _lost(self, board: Board, file: Path) -> int:
        """How many sweeps of another street are answered `ok` in the file."""
        folder = board.recordings("kitti-hdl64")
        poses = [pose.to_se2() for pose in read_kitti_poses(folder / "poses.txt")][:_ELSEWHERE]
        events: list[Event] = [
            OdometryEvent(0.1 * k, before.inverse() @ after) for k, (before, after) in enumerate(pairwise(poses), 1)
        ]
        sweeps = [read_sweep(folder / "sweeps" / f"{k:06d}.laz", FULL_SCALE) for k in range(len(poses))]
        events += [SweepEvent(0.1 * k, sweep) for k, sweep in enumerate(sweeps)]
        with open_map(file) as town:
            assert town.outline is not None
            layers = Layers(town.lidar_localizer(), outline=WholeOutline(town.outline))
            given = Journey(layers).run(sorted(events, key=lambda event: event.time_s))
            return sum(estimate.status is Status.OK for _, estimate in given)


def _lines(name: str, told: Sequence[Told]) -> Iterator[Line]:
    """What is asked is asked of the file; the raw map is what it is held against."""
    least_pct, most_cm = (None, None) if name == _RAW else (95, 15)
    placed = [np.isfinite(one.errors_m) for one in told]
    right = [bool((one.errors_m <= _RIGHT_M).any()) for one in told]
    yield at_least(5, f"{name}: right place during the drive", 100 * float(np.mean(right)), least_pct, "%")
    wrong = sum(int((one.ok & ~(one.errors_m <= _RIGHT_M)).sum()) for one in told)
    yield at_most(5, f"{name}: ok and off by more than {_RIGHT_M:g} m, sweeps", wrong, 0)
    errors = np.concatenate([one.errors_m[at] for one, at in zip(told, placed, strict=True)])
    if len(errors):
        yield at_most(5, f"{name}: error to GNSS/INS, median", 100 * float(np.median(errors)), most_cm, "cm")
    sweeps = sum(len(one.ok) for one in told)
    yield information(5, f"{name}: sweeps answered", 100 * len(errors) / sweeps, "%")
    yield information(5, f"{name}: sweeps ok", 100 * sum(int(one.ok.sum()) for one in told) / sweeps, "%")
