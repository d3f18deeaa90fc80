"""Trajectories of either layout, told apart by their number of columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foldmap.errors import PoseInputError
from foldmap.formats.poses.tum import pose_columns, read_tum_poses
from foldmap.formats.sweeps.kitti import read_kitti_calibration, read_kitti_poses
from foldmap.formats.textual import content_lines
from foldmap.geometry import SE3
from foldmap.types import DoubleArray


@dataclass(frozen=True)
class Trajectory:
    """Poses in the order of their sweeps, of layout ``kitti`` or ``tum``; times increase, where the file has them."""

    path: Path
    layout: str
    world_SE3_sensors: list[SE3]
    times_s: DoubleArray | None = None

    def __len__(self) -> int:
        return len(self.world_SE3_sensors)


def read_poses(path: Path | str, calibration: Path | str | None = None) -> Trajectory:
    """Read a pose file: KITTI (twelve columns; camera poses with ``calibration``) or TUM (eight, or as it says)."""
    path = Path(path)
    columns = pose_columns(path)
    line, words = next(content_lines(path), (0, []))
    if not words:
        raise PoseInputError(f"{path} holds no poses", "give one pose a sweep")
    if columns is not None or len(words) == 8:
        if calibration is not None:
            raise PoseInputError(f"{path} is a TUM trajectory, which takes no calibration", "leave the calibration out")
        times_s, poses = read_tum_poses(path, columns)
        return Trajectory(path, "tum", poses, times_s)
    if len(words) == 12:
        camera_SE3_sensor = read_kitti_calibration(Path(calibration)) if calibration is not None else None
        return Trajectory(path, "kitti", read_kitti_poses(path, camera_SE3_sensor))
    cure = "give row-major 3x4 matrices or t x y z qx qy qz qw"
    raise PoseInputError(f"{path}, line {line}: {len(words)} columns, neither KITTI (12) nor TUM (8)", cure)
