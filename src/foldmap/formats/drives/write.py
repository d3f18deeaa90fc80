"""Write timed events as a drive that `read_drive` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from foldmap.atlas.whole import write_whole
from foldmap.errors import ConfigError
from foldmap.formats.drives.read import DRIVE_FILE, VERSION
from foldmap.formats.street.observations.ring import write_ring_file
from foldmap.geometry import SE2
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
from foldmap.street.images.observation import RingFrame

_HEADERS = {
    "sweeps": "time_s,file",
    "images": "time_s,camera,file",
    "fixes": "time_s,east_m,north_m,sigma_m",
    "odometry": "time_s,x_m,y_m,heading_rad",
    "twist": "time_s,ahead_mps,yaw_rate_radps",
    "yaw_rate": "time_s,yaw_rate_radps",
    "truth": "time_s,x_m,y_m,heading_rad",
}


def write_drive(folder: Path | str, events: Iterable[Event], truth: Iterable[tuple[float, SE2]] = ()) -> Path:
    """Write events, in any order, and the true poses where known; gives the folder.

    Sweeps become KITTI ``.bin`` (x y z intensity, float32), images PNG. A ConfigError where an event holds no raw data
    (an observation drawn of sweeps, an embedding), where frames are of two rings, or a twist has no yaw rate.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[str]] = {name: [] for name in _HEADERS}
    rings: list[RingFrame] = []
    for event in events:
        if isinstance(event, SweepEvent):
            rows["sweeps"].append(_row(event.time_s, _sweep(folder, event, len(rows["sweeps"]))))
        elif isinstance(event, CameraEvent):
            rows["images"] += _frame(folder, event, rings)
        elif isinstance(event, FixEvent):
            rows["fixes"].append(_row(event.time_s, event.east_m, event.north_m, event.sigma_m))
        elif isinstance(event, OdometryEvent):
            rows["odometry"].append(_row(event.time_s, *_pose(event.previous_SE2_current)))
        elif isinstance(event, YawRateEvent):
            rows["yaw_rate"].append(_row(event.time_s, event.yaw_rate_radps))
        elif isinstance(event, TwistEvent):
            if event.yaw_rate_radps is None:
                raise ConfigError("a twist without a yaw rate", "give it, or the speed with a YawRateEvent")
            rows["twist"].append(_row(event.time_s, event.ahead_mps, event.yaw_rate_radps))
    rows["truth"] = [_row(time_s, *_pose(pose)) for time_s, pose in truth]
    told: dict[str, object] = {"foldmap_drive": VERSION}
    for name, lines in rows.items():
        if lines:
            write_whole(folder / f"{name}.csv", "\n".join([_HEADERS[name], *lines]) + "\n")
            told[name] = f"{name}.csv"
    if rows["sweeps"]:
        told |= {"intensity_scale": 1.0, "vehicle_SE3_lidar": np.eye(4).tolist()}
    if rings:
        write_ring_file(folder / "ring.json", rings[0].ring)
        told["ring"] = "ring.json"
    write_whole(folder / DRIVE_FILE, json.dumps(told, indent=1) + "\n")
    return folder


def _sweep(folder: Path, event: SweepEvent, number: int) -> str:
    if not isinstance(event.sweep, Sweep):
        raise ConfigError("an observation drawn of sweeps is no raw sweep", "write the sweeps that it was drawn of")
    name = f"sweeps/{number:06d}.bin"
    (folder / "sweeps").mkdir(exist_ok=True)
    write_whole(folder / name, np.column_stack([event.sweep.points_sensor_m, event.sweep.intensity]).tobytes())
    return name


def _frame(folder: Path, event: CameraEvent, rings: list[RingFrame]) -> list[str]:
    frame = event.frame
    if not isinstance(frame, RingFrame):
        raise ConfigError("a camera event without images", "write the frames of a ring")
    if rings and rings[0].ring.names != frame.ring.names:
        raise ConfigError("frames of two rings", "write a drive each")
    rows = []
    for camera, image in zip(frame.ring.names, frame.images, strict=True):
        if image is not None:
            (folder / "images" / camera).mkdir(parents=True, exist_ok=True)
            name = f"images/{camera}/{len(rings):06d}.png"
            Image.fromarray(image).save(folder / name)
            rows.append(_row(event.time_s, camera, name))
    rings.append(frame)
    return rows


def _pose(pose: SE2) -> tuple[float, float, float]:
    return pose.x_m, pose.y_m, pose.heading_rad


def _row(*cells: float | str) -> str:
    return ",".join(cell if isinstance(cell, str) else repr(float(cell)) for cell in cells)
