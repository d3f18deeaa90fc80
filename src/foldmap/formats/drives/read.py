"""A drive: a folder of what a vehicle brought, read as timed events.

``drive.json`` names tables (CSV with a header, times in seconds of one clock), each of which may be missing::

    {"foldmap_drive": 1,
     "sweeps": "sweeps.csv", "vehicle_SE3_lidar": [[1, 0, 0, 0], ...], "intensity_scale": 1.0,
     "images": "images.csv", "ring": "ring.json",
     "fixes": "fixes.csv", "odometry": "odometry.csv", "twist": "twist.csv", "yaw_rate": "yaw_rate.csv",
     "truth": "truth.csv"}

============ =======================================================================================================
sweeps       ``time_s, file``: any sweep that `read_sweep` reads
images       ``time_s, camera, file``: cameras are the ring's; rows of one time are one frame
fixes        what `read_fixes` reads
odometry     ``time_s, x_m, y_m, heading_rad``: previous_SE2_current, since the row before
twist        ``time_s, ahead_mps[, yaw_rate_radps]``
yaw_rate     ``time_s, yaw_rate_radps``
truth        ``time_s, x_m, y_m, heading_rad``: world_SE2_vehicle, for evaluation alone
============ =======================================================================================================
"""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import InputError, PoseInputError
from foldmap.formats.drives.plausible import check_tables
from foldmap.formats.poses.fixes import Fixes, read_fixes
from foldmap.formats.street.observations.images import read_rgb
from foldmap.formats.street.observations.ring import read_ring_file
from foldmap.formats.street.untrusted import read_json
from foldmap.formats.sweeps.files import SweepSequence
from foldmap.formats.textual import read_csv_table
from foldmap.geometry import SE2, SE3
from foldmap.lidar.mapping.belonging import check_ground, probed
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.events import (
    CameraEvent,
    Event,
    FixEvent,
    OdometryEvent,
    SweepEvent,
    TwistEvent,
    YawRateEvent,
)
from foldmap.street.images.observation import CameraRing, RingFrame
from foldmap.types import DoubleArray

DRIVE_FILE, VERSION = "drive.json", 1
WHAT = "a drive: drive.json with foldmap_drive 1, and the names of its tables (docs/commands.md)"
TABLES = ("sweeps", "images", "fixes", "odometry", "twist", "yaw_rate", "truth")
_KEYS = ("foldmap_drive", *TABLES, "ring", "vehicle_SE3_lidar", "intensity_scale")


@dataclass(frozen=True)
class Drive:
    """A drive on disk; sweeps and images are read when their event's turn comes.

    Attributes:
        folder: that holds ``drive.json``.
        rows: of each table but fixes: float64 (N, columns), times first.
        files: of sweeps, a path each; of images, (camera, path) each.
        damaged: filled while events are read: what could not be used, and why.
    """

    folder: Path
    rows: Mapping[str, DoubleArray]
    files: Mapping[str, list[tuple[str, Path]]]
    fixes: Fixes | None
    ring: CameraRing | None
    vehicle_SE3_lidar: SE3
    intensity_scale: float | None
    damaged: list[str] = field(default_factory=list)

    @property
    def brings(self) -> tuple[str, ...]:
        """The tables that it has."""
        held = {name for name, rows in self.rows.items() if len(rows)} | ({"fixes"} if self.fixes else set())
        return tuple(name for name in TABLES if name in held)

    @property
    def observations(self) -> int:
        """How many events are no mere motion."""
        frames = len(np.unique(self.rows["images"][:, 0])) if "images" in self.rows else 0
        return len(self.rows.get("sweeps", ())) + frames + (len(self.fixes) if self.fixes else 0)

    @property
    def truth(self) -> tuple[DoubleArray, list[SE2]] | None:
        """Times float64 (N,) and world_SE2_vehicle of each, where the drive has them."""
        rows = self.rows.get("truth")
        return None if rows is None else (rows[:, 0], [SE2(*map(float, row[1:])) for row in rows])

    def stamp(self, time_s: float) -> str:
        """A time of an event as it is written beside answers."""
        return f"{time_s:.6f}"

    def events(self, crs: str = "") -> Iterator[Event]:
        """All events by time; fixes in degrees are brought into the map's crs."""
        parts = [self._sweeps(), self._frames(), self._fixes(crs), self._moves()]
        yield from heapq.merge(*parts, key=lambda event: event.time_s)

    def _sweeps(self) -> Iterator[Event]:
        sweeps = SweepSequence(tuple(path for _, path in self.files.get("sweeps", ())), self.intensity_scale)
        sweeps.full_scale  # noqa: B018  # one for the drive: where it cannot be known, no sweep can be used
        some = [self._sweep(sweeps, number, []) for number in probed(len(sweeps))]
        turned = [sweep for sweep in some if sweep is not None]
        check_ground(turned, [SE3(np.eye(4))] * len(turned), f"{self.folder}, in the vehicle's axes")
        for number, (time_s,) in enumerate(self.rows.get("sweeps", ())):
            sweep = self._sweep(sweeps, number, self.damaged)
            if sweep is not None:
                yield SweepEvent(float(time_s), sweep)

    def _sweep(self, sweeps: SweepSequence, number: int, damaged: list[str]) -> Sweep | None:
        try:
            return in_vehicle_axes(sweeps[number], self.vehicle_SE3_lidar)
        except InputError as error:
            damaged.append(str(error))
            return None

    def _frames(self) -> Iterator[Event]:
        if self.ring is None:
            return
        times_s, files = self.rows["images"][:, 0], self.files["images"]
        for time_s in np.unique(times_s):
            images: dict[str, Any] = {}
            for row in np.flatnonzero(times_s == time_s):
                name, path = files[row]
                try:
                    image = read_rgb(path)
                    RingFrame(self.ring, tuple(image if one == name else None for one in self.ring.names))
                    images[name] = image
                except InputError as error:
                    self.damaged.append(f"{path}: {error}" if str(path) not in str(error) else str(error))
            if images:
                frame = RingFrame(self.ring, tuple(images.get(name) for name in self.ring.names))
                yield CameraEvent(float(time_s), frame)

    def _fixes(self, crs: str) -> Iterator[Event]:
        if self.fixes is None:
            return
        if self.fixes.times_s is None:
            raise PoseInputError(f"{self.fixes.path} has no times", "give each fix its time_s")
        xy, times_s = self.fixes.in_crs(crs), self.fixes.times_s
        for row in np.argsort(times_s, kind="stable"):
            east_m, north_m = (float(value) for value in xy[row])
            yield FixEvent(float(times_s[row]), east_m, north_m, float(self.fixes.sigma_m[row]))

    def _moves(self) -> Iterator[Event]:
        odometry: list[Event] = [
            OdometryEvent(float(t), SE2(*map(float, step))) for t, *step in self.rows.get("odometry", ())
        ]
        twists: list[Event] = [TwistEvent(*map(float, row)) for row in self.rows.get("twist", ())]
        rates: list[Event] = [YawRateEvent(*map(float, row)) for row in self.rows.get("yaw_rate", ())]
        yield from heapq.merge(odometry, twists, rates, key=lambda event: event.time_s)


def is_drive(path: Path) -> bool:
    """Whether a folder is a drive."""
    return (path / DRIVE_FILE).is_file()


def read_drive(folder: Path | str) -> Drive:
    """Open a drive; tables are read and checked at once, sweeps and images later.

    Raises:
        InputError: there is no ``drive.json``, or a table is missing or damaged; the message names the line.
    """
    folder = Path(folder)
    told = read_json(folder / DRIVE_FILE, WHAT)
    if not isinstance(told, dict) or told.get("foldmap_drive") != VERSION:
        raise PoseInputError(f"{folder / DRIVE_FILE} is no drive of version {VERSION}", f"give {WHAT}")
    for name in told:
        if name not in _KEYS:
            near = difflib.get_close_matches(name, _KEYS, 1)
            meant = f"; {near[0]!r} is meant, perhaps" if near else ""
            said = f"{folder / DRIVE_FILE}: {name!r} is nothing that a drive has{meant}"
            raise PoseInputError(said, f"leave it out, or name it one of {', '.join(_KEYS)}")
    columns = {
        "sweeps": ("time_s",),
        "images": ("time_s",),
        "odometry": ("time_s", "x_m", "y_m", "heading_rad"),
        "twist": ("time_s", "ahead_mps"),
        "yaw_rate": ("time_s", "yaw_rate_radps"),
        "truth": ("time_s", "x_m", "y_m", "heading_rad"),
    }
    rows: dict[str, DoubleArray] = {}
    files: dict[str, list[tuple[str, Path]]] = {}
    for name, needed in columns.items():
        if name in told:
            rows[name], files[name] = _table(folder, _inside(folder, told[name]), needed, name)
    if not {*rows, *told} & {"sweeps", "images", "fixes"}:
        raise PoseInputError(f"{folder} brings no sweeps, images or fixes", f"give {WHAT}")
    ring = read_ring_file(_inside(folder, told.get("ring", "ring.json"))) if "images" in rows else None
    strange = sorted({name for name, _ in files.get("images", [])} - set(ring.names if ring else ()))
    if strange:
        raise PoseInputError(f"{folder}: the ring has no camera {strange[0]}", "name the cameras as ring.json does")
    fixes = read_fixes(_inside(folder, told["fixes"])) if "fixes" in told else None
    spans_s = {name: (float(table[0, 0]), float(table[-1, 0])) for name, table in rows.items() if len(table)}
    if fixes is not None and fixes.times_s is not None:
        spans_s["fixes"] = float(fixes.times_s.min()), float(fixes.times_s.max())
    check_tables(folder, rows, spans_s)
    return Drive(folder, rows, files, fixes, ring, _mount(folder, told), _scale(folder, told))


def in_vehicle_axes(sweep: Sweep, vehicle_SE3_lidar: SE3) -> Sweep:
    """The points in the vehicle's axes and about its origin, heights still above the sensor."""
    matrix = vehicle_SE3_lidar.matrix.copy()
    matrix[2, 3] = 0.0
    if np.array_equal(matrix, np.eye(4)):
        return sweep
    points = SE3(matrix).apply(sweep.points_sensor_m.astype(np.float64)).astype(np.float32)
    return Sweep(points, sweep.intensity)


def _table(folder: Path, path: Path, needed: tuple[str, ...], name: str) -> tuple[DoubleArray, list[tuple[str, Path]]]:
    """Numbers of the needed columns, in order of time, and the files of each row."""
    words = {"sweeps": ("file",), "images": ("camera", "file")}.get(name, ())
    table = read_csv_table(path, (*needed, *words), WHAT, PoseInputError)
    columns = (*needed, "yaw_rate_radps") if name == "twist" and "yaw_rate_radps" in table.columns else needed
    numbers = np.zeros((len(table.rows), len(columns)))
    for row, (line, cells) in enumerate(table.rows):
        try:
            numbers[row] = [float(cells[column]) for column in columns]
        except ValueError as error:
            raise PoseInputError(f"{path}, line {line}: {error}", f"give {WHAT}") from error
    if not np.isfinite(numbers).all():
        raise PoseInputError(f"{path} holds NaN or infinity", "leave those rows out")
    order = np.argsort(numbers[:, 0], kind="stable")
    back = np.flatnonzero(np.diff(numbers[:, 0]) < 0)
    if name == "odometry" and len(back):
        said = f"{path}, line {table.rows[back[0] + 1][0]}: time goes back, and steps are since the row before"
        raise PoseInputError(said, "give the steps in the order in which they were driven")
    every = [(cells.get("camera", ""), _inside(folder, cells["file"])) for _, cells in table.rows] if words else []
    return numbers[order], [every[row] for row in order] if every else []


def _inside(folder: Path, name: object) -> Path:
    """A file of the folder; a name that leads out of it is refused."""
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise PoseInputError(f"{folder / DRIVE_FILE}: {str(name)[:80]} is no file of the drive", "name files inside it")
    return folder / name


def _mount(folder: Path, told: Mapping[str, Any]) -> SE3:
    try:
        return SE3(np.array(told.get("vehicle_SE3_lidar", np.eye(4)), np.float64))
    except (TypeError, ValueError, InputError) as error:
        raise PoseInputError(f"{folder}: vehicle_SE3_lidar is no pose: {error}", "give 4 x 4 numbers") from error


def _scale(folder: Path, told: Mapping[str, Any]) -> float | None:
    scale = told.get("intensity_scale")
    if scale is not None and (isinstance(scale, bool) or not isinstance(scale, int | float)):
        raise PoseInputError(f"{folder}: intensity_scale is {scale!r}", "give a number, or leave it out")
    return scale
