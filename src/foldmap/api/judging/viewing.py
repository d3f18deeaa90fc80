"""A map and a run as a recording that rerun shows: turn it, zoom, go through time."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api import opened
from foldmap.api.judging.answers import Answers, true_positions
from foldmap.api.judging.runs import Run, map_ground, read_run
from foldmap.errors import ConfigError
from foldmap.formats.drives.read import Drive, read_drive
from foldmap.geometry.quaternion import rigid_from_wxyz
from foldmap.localize.journey.events import SweepEvent
from foldmap.report.recording import Moment, Shown, write_recording
from foldmap.types import DoubleArray

_SHOWN, _NEAR_S, _ROOM_M = 4000, 0.06, 60.0


def view_map(
    fold_file: Path, output: Path, *, run: Path | None = None, truth: Path | None = None, drive: Path | None = None
) -> dict[str, Any]:
    """Write a recording of a map, and of a run in it.

    Args:
        fold_file: the map; of a large one what lies within 60 m of the run is drawn.
        output: the .rrd file.
        run: what ``foldmap localize`` wrote.
        truth: true poses, as ``foldmap evaluate`` takes them.
        drive: the folder that was driven: its sweeps are drawn where they were answered to be, its photos beside.

    Raises:
        ConfigError: the output is no .rrd file, or something needs a run.
        PoseInputError: the run, the truth or the drive cannot be used.
        MissingExtraError: rerun is not installed.
    """
    if output.suffix != ".rrd":
        raise ConfigError(f"{output} is no recording", "name it .rrd")
    if run is None and (truth is not None or drive is not None):
        raise ConfigError("the truth and the drive belong to a run", "give --run")
    read = None if run is None else read_run(run, fold_file)
    true = None if read is None or truth is None else true_positions(read.answers, truth)
    seen = None if drive is None else read_drive(drive)
    with opened.open(fold_file) as town:
        low, high = _box(read)
        kinds = dict.fromkeys(layer.kind for layer in town.file.layers())
        ground = {kind: map_ground(town, kind, low, high) for kind in kinds}
    moments = [] if read is None else list(_moments(read.answers, true))
    write_recording(output, ground, moments, None if true is None else _known(true), _seen(seen, read))
    said = {name: len(points) for name, points in ground.items()}
    return {"view": str(output), "points": said, "moments": len(moments), "bytes": output.stat().st_size}


def _box(read: Run | None) -> tuple[DoubleArray, DoubleArray]:
    low, high = np.full(3, -np.inf), np.full(3, np.inf)
    if read is not None and read.answers.kind != "visual" and read.answers.answered.any():
        places = read.answers.positions[read.answers.answered]
        low[:2], high[:2] = places.min(axis=0) - _ROOM_M, places.max(axis=0) + _ROOM_M
    return low, high


def _known(true: DoubleArray) -> DoubleArray:
    return _lifted(true[np.isfinite(true).all(axis=1)])


def _lifted(positions: DoubleArray) -> DoubleArray:
    """In three dimensions; what is planar lies on the map's plane."""
    return np.pad(positions, ((0, 0), (0, 3 - positions.shape[1])))


def _moments(answers: Answers, true: DoubleArray | None) -> Iterator[Moment]:
    positions, axes = _lifted(answers.positions), answers.positions.shape[1]
    for number, row in enumerate(answers.rows):
        covariance = np.eye(3) * 1e-6
        covariance[:axes, :axes] = answers.covariances[number]
        error = math.nan if true is None else float(np.linalg.norm(answers.positions[number] - true[number]))
        yield Moment(
            float(row["time_s"]),
            str(row["status"]),
            str(row["diagnostics"]["reason"]),
            positions[number],
            _ahead(answers.kind, row),
            covariance,
            float(answers.levels[number]),
            error,
        )


def _ahead(kind: str, row: dict[str, Any]) -> DoubleArray:
    if row["pose"] is None:
        return np.full(3, np.nan)
    if kind != "visual":
        heading_rad = float(row["pose"]["heading_rad"])
        return np.array([math.cos(heading_rad), math.sin(heading_rad), 0.0])
    seven = np.asarray(row["pose"], np.float64)
    ahead: DoubleArray = rigid_from_wxyz(seven[:4], seven[4:])[2, :3]  # the camera's z axis, in the world
    return ahead


def _seen(drive: Drive | None, read: Run | None) -> Iterator[Shown]:
    """The sweeps of a drive where they were answered to be, and its photos."""
    if drive is None or read is None:
        return
    rows = [row for row, found in zip(read.answers.rows, read.answers.answered, strict=True) if found]
    times_s = np.array([row["time_s"] for row in rows], np.float64)
    if "images" in drive.rows:
        for (time_s, *_), (camera, path) in zip(drive.rows["images"], drive.files["images"], strict=True):
            if path.is_file():
                yield Shown(float(time_s), camera, photo=path)
    for event in drive.events() if len(times_s) else ():
        if isinstance(event, SweepEvent):
            nearest = int(np.argmin(np.abs(times_s - event.time_s)))
            if abs(times_s[nearest] - event.time_s) <= _NEAR_S:
                yield Shown(event.time_s, "sweep", points=_placed(event, rows[nearest]["pose"]))


def _placed(event: SweepEvent, pose: dict[str, float]) -> DoubleArray:
    """The sweep's points in the map's axes, its lowest on the map's plane, (M, 3)."""
    points = np.asarray(event.sweep.points_sensor_m, np.float64)  # type: ignore[union-attr]
    points = points[:: max(1, -(-len(points) // _SHOWN))]
    cos, sin = math.cos(pose["heading_rad"]), math.sin(pose["heading_rad"])
    x_m, y_m = (
        pose["x_m"] + cos * points[:, 0] - sin * points[:, 1],
        pose["y_m"] + sin * points[:, 0] + cos * points[:, 1],
    )
    return np.stack([x_m, y_m, points[:, 2] - np.quantile(points[:, 2], 0.02)], axis=1)
