"""kitti-drive0001, a recorded street with lidar, cameras and GNSS/INS, as timed events with the truth."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.street.observations.images import read_rgb
from foldmap.formats.sweeps.files import read_sweep
from foldmap.formats.sweeps.kitti import read_kitti_poses
from foldmap.geometry import SE2, Camera
from foldmap.localize.journey.events import CameraEvent, Event, SweepEvent, TwistEvent
from foldmap.street.images.observation import CameraRing, RingFrame

GROUND_Z_M, FULL_SCALE = -1.73, 65535.0


def kitti_ring(folder: Path) -> CameraRing:
    """The rectified cameras in the lidar's axes, which are the vehicle's here."""
    told = json.loads((folder / "calibration.json").read_text())["cameras"]
    names = tuple(sorted(told))
    cameras = [told[name] for name in names]
    lenses = tuple(
        Camera("PINHOLE", one["width"], one["height"], np.array([one[key] for key in ("fx", "fy", "cx", "cy")]))
        for one in cameras
    )
    poses = np.stack([np.linalg.inv(np.array(one["camera_T_velodyne"])) for one in cameras])
    return CameraRing(names, lenses, poses, GROUND_Z_M)


def kitti_truth(folder: Path) -> list[tuple[float, SE2]]:
    """Time in seconds since the first frame, and world_SE2_vehicle, of each frame."""
    times_s = [float(row["time_s"]) for row in _rows(folder)]
    poses = read_kitti_poses(folder / "poses.txt")
    if len(poses) != len(times_s):
        raise PoseInputError(f"{folder}: {len(poses)} poses for {len(times_s)} times", "fetch the recording again")
    return [(time_s - times_s[0], pose.to_se2()) for time_s, pose in zip(times_s, poses, strict=True)]


def kitti_events(folder: Path, frames: Sequence[int] | None = None, cameras: bool = True) -> Iterator[Event]:
    """Sweeps, camera frames, and twists (the INS' speed, and its yaw's rate) of some frames; nothing of position."""
    rows, ring = _rows(folder), kitti_ring(folder)
    start_s = float(rows[0]["time_s"])
    for frame in range(len(rows)) if frames is None else frames:
        row, ahead = rows[frame], rows[min(frame + 1, len(rows) - 1)]
        time_s, dt_s = float(row["time_s"]) - start_s, float(ahead["time_s"]) - float(row["time_s"])
        turned = math.remainder(float(ahead["yaw_rad"]) - float(row["yaw_rad"]), math.tau)
        yield TwistEvent(time_s, float(row["speed_m_s"]), turned / dt_s if dt_s > 0 else 0.0)
        if cameras:
            files = [folder / name / f"{frame:06d}" for name in ring.names]
            images = [next(file.parent.glob(f"{file.name}.*"), None) for file in files]
            yield CameraEvent(time_s, RingFrame(ring, tuple(None if one is None else read_rgb(one) for one in images)))
        yield SweepEvent(time_s, read_sweep(folder / "sweeps" / f"{frame:06d}.laz", FULL_SCALE))


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "oxts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
