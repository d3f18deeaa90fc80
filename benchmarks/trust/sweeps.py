"""Rows of sweeps: hostile ones and right ones, in maps of both codes at 5 and 33 cm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.lidar.simple import town_fits
from benchmarks.lines import Line, RowSkipped, at_least, information
from benchmarks.town import TownMap
from benchmarks.trust.board import TrustBoard, trust
from benchmarks.trust.photos import asked_each, hostile_row
from foldmap.atlas import FoldWriter
from foldmap.bench.lidar.baselines.contrast_localizer import ContrastMap
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec
from foldmap.bench.lidar.drive import LeaveOutMaps
from foldmap.bench.trust.answers import Answer, counted
from foldmap.bench.trust.sweep_changes import AS_DRIVEN
from foldmap.bench.trust.sweeps import SweepSet, ask_localizer, ask_sweeps
from foldmap.errors import MapInputError
from foldmap.formats.sweeps.drives import open_drive
from foldmap.geometry import SE3
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.source import RasterSource, Sweep
from foldmap.localize.estimate import Status
from foldmap.localize.lidar.choosing import map_calibration
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.town import TownWorld, build_lidar, drive, street_lanes, wander

CODES = ("marks", "learned")
RAW = "raw"
"""No code: the map as it was before folding, matched by its local contrast."""
TOWN, STREET, GIVEN = "town", "kitti-hdl64", "kitti-odometry00"
_GIVEN_MAP, _RELIEF_BAND = "groundloc-maps/kitti_00.tif", 3
_RANGE_M, _COARSE_M = 20.0, 0.2
_MARGIN_M = 20.0


@dataclass(frozen=True)
class LidarPlace:
    """A map, and sweeps of it: of a generated town on two days, or of a recording."""

    name: str
    resolution_m: float


@dataclass(frozen=True)
class LidarMaps:
    """Which maps are asked, how often, and how the town is made.

    Where one code ships, and the recording is short, the town is asked more often: ``coarse_count`` queries a kind.
    """

    places: tuple[LidarPlace, ...] = (
        LidarPlace(TOWN, 0.05),
        LidarPlace(TOWN, 0.33),
        LidarPlace(STREET, 0.05),
        LidarPlace(GIVEN, 0.33),
    )
    count: int = 30
    coarse_count: int = 90
    right: int = 60
    town_seed: int = 31
    town_m: float = 120.0

    def each(self) -> Iterator[tuple[LidarPlace, str]]:
        """Place and code of each map."""
        for place in self.places:
            for code in CODES:
                yield place, code

    def hostile(self, board: TrustBoard, place: LidarPlace, code: str) -> list[Answer]:
        """Answers to all kinds."""

        def make() -> list[Answer]:
            count = self.count if place.resolution_m < _COARSE_M else self.coarse_count
            asked = replace(self.sweeps(board, place), count=board.queries or count)
            return list(ask_sweeps(self.file(board, place, code), self.label(place, code), asked, board.stage))

        return board.each((self, place, code, "hostile"), make)

    def as_driven(self, board: TrustBoard, place: LidarPlace, code: str) -> list[Answer]:
        """Answers to sweeps as they are, none of which is in its map; more of them than of other kinds."""

        def make() -> list[Answer]:
            if place.name == STREET:
                return list(self._left_out(board, place, code))
            asked = replace(self.sweeps(board, place), count=board.queries or self.right, kinds=(AS_DRIVEN,))
            if code == RAW:
                return list(self._ask_raw(board, place, self.raster(board, place), asked))
            return list(ask_sweeps(self.file(board, place, code), self.label(place, code), asked, board.stage))

        return board.each((self, place, code, "right"), make)

    def _ask_raw(self, board: TrustBoard, place: LidarPlace, source: RasterSource, asked: SweepSet) -> Iterator[Answer]:
        """The same localizer in a map that is not folded, with thresholds that were fitted for such maps elsewhere."""
        size_m = place.resolution_m
        thresholds = town_fits(board, size_m).thresholds(ImageMapCodec("raw16"), False)
        raw = LidarLocalizer.open(ContrastMap(source.read(0, 0, *source.grid.shape), thresholds=thresholds))
        yield from ask_localizer(raw, size_m, False, self.label(place, RAW), asked, board.stage)

    def label(self, place: LidarPlace, code: str) -> str:
        """What a map is called in lines."""
        return f"{place.name}, {100 * place.resolution_m:.0f} cm, {code}"

    def model(self, board: TrustBoard, place: LidarPlace, code: str) -> Bundle | MarksModel:
        """The shipped code of a place's resolution; of marks what folding takes for its map."""
        if code != "marks":
            return board.bundle(place.resolution_m)
        board.marks(place.resolution_m)  # where there are none nothing is read
        return board.shared(("marks of", self, place), lambda: board.marks_of(self.raster(board, place)))  # type: ignore[no-any-return]

    def file(self, board: TrustBoard, place: LidarPlace, code: str) -> Path:
        """The whole map, folded."""

        def make() -> Path:
            source, model = self.raster(board, place), self.model(board, place, code)
            return fold_raster(board, source, model, place.name == GIVEN, worth_on_itself(model, source))

        return board.shared(("lidar file", self, place, code), make)  # type: ignore[no-any-return]

    def raster(self, board: TrustBoard, place: LidarPlace) -> RasterSource:
        """What is folded."""
        if place.name == TOWN:
            return TownMap(TownWorld(self.town_seed, self.town_m), place.resolution_m, day_seed=1)
        if place.name == GIVEN:
            return board.raster(_GIVEN_MAP, _RELIEF_BAND)
        return self._maps(board, place).without(0, -1)

    def sweeps(self, board: TrustBoard, place: LidarPlace) -> SweepSet:
        """What is asked."""

        def make() -> SweepSet:
            if place.name == TOWN:
                return SweepSet(*town_sweeps(self.town_seed, self.town_m, max(self.right, self.coarse_count) + 10))
            folder = board.recordings(place.name)
            recorded = open_drive(folder / "sweeps", folder / "poses.txt")
            return SweepSet(recorded.sweeps, recorded.world_SE3_sensors)

        return board.shared(("lidar sweeps", self, place.name), make)  # type: ignore[no-any-return]

    def _maps(self, board: TrustBoard, place: LidarPlace) -> LeaveOutMaps:
        def make() -> LeaveOutMaps:
            return LeaveOutMaps(board.drive(place.name, _RANGE_M), place.resolution_m)

        return board.shared(("leave-out", place), make)  # type: ignore[no-any-return]

    def _left_out(self, board: TrustBoard, place: LidarPlace, code: str, guard: int = 15) -> Iterator[Answer]:
        """Each query in a map of its own, without what was driven around it.

        What such a map is worth is found once, on that of the whole drive: some dozen others differ from it by a few
        metres, and to calibrate each on itself takes ten times as long as all else.
        """
        asked, maps = self.sweeps(board, place), self._maps(board, place)
        model = None if code == RAW else self.model(board, place, code)
        worth = None if model is None else worth_on_itself(model, self.raster(board, place))
        # at its ends the drive has no map beyond the guard
        inner = np.linspace(guard + asked.aggregate - 1, len(asked.sweeps) - 1 - guard, min(36, board.queries or 36))
        for last in np.unique(inner.round().astype(int)).tolist():
            source = maps.without(last - asked.aggregate + 1 - guard, last + guard)
            first = last - asked.aggregate + 1
            some = [asked.sweeps[index] for index in range(first, last + 1)]
            one = replace(asked, sweeps=some, world_SE3_sensors=asked.world_SE3_sensors[first : last + 1],
                          count=1, kinds=(AS_DRIVEN,), seed=last)  # fmt: skip
            if model is None:
                yield from self._ask_raw(board, place, source, one)
                continue
            path = fold_raster(board, source, model, False, worth)
            yield from ask_sweeps(path, self.label(place, code), one, board.stage)


def worth_on_itself(model: Bundle | MarksModel, source: RasterSource) -> dict[str, Any] | None:
    """A map's calibration as ``foldmap fold`` makes it; None where it shows too little ground for that."""
    try:
        return map_calibration(model, source).to_dict()
    except MapInputError:
        return None


def fold_raster(
    board: TrustBoard, source: RasterSource, model: Bundle | MarksModel, relief: bool, worth: dict[str, Any] | None
) -> Path:
    """Fold a raster into a file of its own, with a calibration; where there is none, the model's own holds."""
    number: list[int] = board.shared("folded rasters", lambda: [0])
    number[0] += 1
    path = board.scratch / f"lidar-{number[0]}.fold"
    with FoldWriter(path) as writer:
        fold_lidar(writer, source, LidarPlan(model, relief=relief, calibration=worth))
        writer.commit()
    return path


def town_sweeps(seed: int, extent_m: float, most: int) -> tuple[list[Sweep], list[SE3]]:
    """A drive through the middle of a town on another day than its map, by a lidar like an HDL-64E."""
    world, sweeps, poses = TownWorld(seed, extent_m), list[Sweep](), list[SE3]()
    half_m = 0.5 * extent_m - _MARGIN_M
    rng = np.random.default_rng([seed, 17])
    lanes = [lane for street in world.streets_near(-40, -40, 40, 40) for lane in street_lanes(street)]
    if not lanes:
        raise RowSkipped(f"skipped: town {seed} has no street in its middle")
    for day in range(2, 8):
        path = wander(world.plan, lanes[int(rng.integers(len(lanes)))], 2 * extent_m, rng)
        for sweep, pose, _ in drive(world, path, day, build_lidar("spinning64", rng), 10.0, 10.0):
            if len(sweeps) == most:
                return sweeps, poses
            if math.hypot(*pose.translation_m[:2]) < half_m:
                sweeps.append(sweep)
                poses.append(pose)
    return sweeps, poses


@dataclass(frozen=True)
class HostileSweeps:
    """Row 5."""

    number: ClassVar[int] = 5
    name: ClassVar[str] = "sweeps"
    title: ClassVar[str] = "hostile sweeps, by code and pixel size of the map"
    maps: LidarMaps = LidarMaps()
    least: int = 1000  # at each pixel size

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        for resolution_m in dict.fromkeys(place.resolution_m for place in self.maps.places):
            maps = [one for one in self.maps.each() if one[0].resolution_m == resolution_m]
            asks = {self.maps.label(*one): partial(self.maps.hostile, trust(board), *one) for one in maps}
            at = f"at {100 * resolution_m:.0f} cm"
            yield from hostile_row(self.number, f"sweeps {at}", asks, self.least, f"all maps {at}")


@dataclass(frozen=True)
class RightSweeps:
    """Row 6: sweeps that are not in their map, `ok` and within their bound, of those that the raw map localizes.

    It localizes a sweep where it answers a pose within its bound, sure or not.
    """

    number: ClassVar[int] = 6
    name: ClassVar[str] = "right-sweeps"
    title: ClassVar[str] = "right sweeps, of those that the raw map localizes"
    maps: LidarMaps = LidarMaps()
    least_pct: float = 97.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        for place in self.maps.places:
            asks = {code: partial(self.maps.as_driven, trust(board), place, code) for code in (RAW, *CODES)}
            known = list[bool]()  # of each query, which all maps are asked in one order
            for code, found in asked_each(self.number, asks):
                label = self.maps.label(place, code)
                if isinstance(found, Line):
                    yield replace(found, name=f"{label}: right sweeps ok")
                    continue
                if code == RAW:
                    known = [one.status.has_pose and not one.beyond for one in found]
                elif known:
                    sure = [one.status is Status.OK and not one.beyond for one in found]
                    both = sum(ok and there for ok, there in zip(sure, known, strict=True))
                    what = f"{label}: right sweeps ok, of those the raw map localizes"
                    note = f"{sum(known)} of {len(known)}"
                    share = 100.0 * both / max(sum(known), 1)
                    yield at_least(self.number, what, share, self.least_pct, "%", note=note)
                counts = counted(found)
                share = 100.0 * counts["ok_right"] / counts["asked"]
                yield information(self.number, f"{label}: right sweeps ok", share, "%", detail=counts)
