"""kitti-drive0001, a recorded street with lidar, cameras and GNSS/INS, as timed events with the truth."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.hloc.features import HlocFeatureWriter
from foldmap.formats.street.observations.images import read_rgb
from foldmap.formats.sweeps.files import read_sweep
from foldmap.formats.sweeps.kitti import read_kitti_poses
from foldmap.geometry import SE2, Camera
from foldmap.localize.journey.events import CameraEvent, Event, SweepEvent, TwistEvent
from foldmap.street.images.observation import CameraRing, RingFrame
from foldmap.types import DoubleArray
from foldmap.visual.scene.build import SceneSettings, build_scene
from foldmap.visual.scene.known_poses import KnownPoses

GROUND_Z_M, FULL_SCALE = -1.73, 65535.0
_MATCHED = 4


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


def kitti_scene(folder: Path, kept: Sequence[tuple[int, DoubleArray]], scratch: Path) -> Path:
    """The folder of a scene of some frames' photos (all cameras) at their recorded poses, world_T_vehicle."""
    ring, photos, scene = kitti_ring(folder), scratch / "photos", scratch / "scene"
    scene.mkdir()
    known: dict[str, DoubleArray] = {}
    for name, vehicle_SE3_camera in zip(ring.names, ring.vehicle_SE3_camera, strict=True):
        (photos / name).mkdir(parents=True)
        for frame, world_T_vehicle in kept:
            for file in (folder / name).glob(f"{frame:06d}.*"):
                (photos / name / file.name).symlink_to(file.resolve())
                known[f"{name}/{file.name}"] = np.linalg.inv(world_T_vehicle @ vehicle_SE3_camera)
    settings = SceneSettings(matching="listed", camera=ring.cameras[0])
    with HlocFeatureWriter(scene / "features.h5", "sift") as sink:
        build_scene(photos, scene, settings, sink, KnownPoses(known, metric=True), _near(sorted(known)))
    return scene


def _near(names: Sequence[str]) -> dict[str, list[str]]:
    """Photos that are matched with each: those a few frames away, of all cameras."""

    def frame(name: str) -> int:
        return int(Path(name).stem)

    return {a: [b for b in names if b > a and abs(frame(a) - frame(b)) <= _MATCHED] for a in names}


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "oxts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
