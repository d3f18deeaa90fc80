"""KITTI velodyne sweeps (.bin), pose files and the calibration that ties camera poses to the lidar."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError, SweepInputError
from foldmap.formats.sweeps.bin_layout import describe_layout
from foldmap.formats.sweeps.cloud import Cloud
from foldmap.formats.textual import number_rows, read_text
from foldmap.geometry import SE3

_BYTES_PER_POINT = 16
_FARTHEST_M = 1e8
"""Coordinates beyond the Earth: these bytes are no float32."""


def read_kitti_bin(path: Path) -> Cloud:
    """Read one sweep of float32 x, y, z, reflectance (0 to 1).

    Raises:
        SweepInputError: the file cannot be read, is cut short, is empty, has no intensity, or has another layout.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SweepInputError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    if len(data) == 0:
        raise SweepInputError(f"{path} is empty", "leave this sweep and its pose out")
    if len(data) % _BYTES_PER_POINT:
        raise _other_layout(
            path,
            data,
            f"has {len(data)} bytes, not a multiple of {_BYTES_PER_POINT}",
            "the file is cut short, or has another layout",
        )
    columns = np.frombuffer(data, "<f4").reshape(-1, 4)
    if not np.isfinite(columns).all():
        raise _other_layout(path, data, "holds NaN or infinite values", "drop those returns before giving the sweep")
    low, high = float(columns[:, 3].min()), float(columns[:, 3].max())
    if low < 0 or np.abs(columns[:, :3]).max() > _FARTHEST_M:
        raise _other_layout(
            path,
            data,
            f"has intensities from {low:.4g} to {high:.4g}, outside 0 to 1, at up to "
            f"{np.abs(columns[:, :3]).max():.4g} m",
            "reflectance is never negative: this is another layout, or another channel",
        )
    return Cloud(path, columns[:, :3].astype(np.float32), columns[:, 3])


def _other_layout(path: Path, data: bytes, found: str, cure: str) -> SweepInputError:
    """An error that names the layout which the bytes have instead, where that can be told."""
    seen = describe_layout(data)
    message = f"{path} {found} as x y z reflectance (float32, four columns)"
    return SweepInputError(f"{message}; it looks like {seen[0]}", seen[1]) if seen else SweepInputError(message, cure)


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
