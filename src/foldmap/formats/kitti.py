"""KITTI velodyne sweeps (.bin), pose files and the calibration that ties camera poses to the lidar."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError, SweepInputError
from foldmap.formats.textual import number_rows, read_text
from foldmap.geometry import SE3
from foldmap.lidar.source import Sweep

_BYTES_PER_POINT = 16


def read_kitti_bin(path: Path) -> Sweep:
    """Read one sweep of float32 x, y, z, reflectance (0 to 1); returns that are not finite are an error.

    Raises:
        SweepInputError: the file cannot be read, is cut short, is empty, or has no intensity.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SweepInputError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    if len(data) == 0:
        raise SweepInputError(f"{path} is empty", "leave this sweep and its pose out")
    if len(data) % _BYTES_PER_POINT:
        raise SweepInputError(
            f"{path} has {len(data)} bytes, not a multiple of {_BYTES_PER_POINT} (x y z reflectance as float32)",
            "the file is cut short, or has another layout",
        )
    columns = np.frombuffer(data, "<f4").reshape(-1, 4)
    if not columns[:, 3].any():
        raise SweepInputError(
            f"{path} has no intensity: reflectance is zero throughout", "export the sweeps with their intensity"
        )
    try:
        return Sweep(columns[:, :3].astype(np.float32), columns[:, 3].astype(np.float32))
    except SweepInputError as error:
        raise SweepInputError(f"{path}: {error.message}", error.cure) from error


def read_kitti_poses(path: Path, camera_SE3_sensor: SE3 | None = None) -> list[SE3]:
    """Read a KITTI pose file: twelve numbers a line, a row-major 3x4 matrix.

    Args:
        path: the text file.
        camera_SE3_sensor: given when the rows are camera poses ``camera0_SE3_camera``, as KITTI odometry ships them:
            the extrinsic of `read_kitti_calibration`. The world is then the first sweep's sensor frame.

    Returns:
        ``world_SE3_sensor`` for every line.

    Raises:
        PoseInputError: naming the line that is wrong.
    """
    poses: list[SE3] = []
    for line, row in number_rows(path, 12, "KITTI pose (twelve numbers, a row-major 3x4 matrix)"):
        try:
            pose = SE3(row.reshape(3, 4))
        except PoseInputError as error:
            raise PoseInputError(f"{path}, line {line}: {error.message}", error.cure) from error
        poses.append(pose)
    if not poses:
        raise PoseInputError(f"{path} holds no poses", "give one pose a sweep")
    if camera_SE3_sensor is None:
        return poses
    sensor_SE3_camera = camera_SE3_sensor.inverse()
    return [sensor_SE3_camera @ pose @ camera_SE3_sensor for pose in poses]


def read_kitti_calibration(path: Path) -> SE3:
    """Read ``camera_SE3_sensor`` from a KITTI calib.txt: its row ``Tr:`` (or ``Tr_velo_to_cam:``), twelve numbers.

    Raises:
        PoseInputError: the row is missing or is not a rigid transform.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name, _, rest = line.partition(":")
        if name.strip() in ("Tr", "Tr_velo_to_cam", "Tr_velo_cam"):
            try:
                return SE3(np.array([float(token) for token in rest.split()]).reshape(3, 4))
            except PoseInputError as error:
                raise PoseInputError(f"{path}, line {number}: {error.message}", error.cure) from error
            except ValueError as error:
                raise PoseInputError(
                    f"{path}, line {number}: {name.strip()} is not twelve numbers", "give a row-major 3x4 matrix"
                ) from error
    raise PoseInputError(f"{path} has no row Tr:", "give KITTI's calib.txt of this sequence")
