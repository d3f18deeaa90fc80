"""KITTI velodyne sweeps (.bin), pose files and the calibration that ties camera poses to the lidar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError, SweepInputError
from foldmap.formats.listing import write_lines
from foldmap.formats.naming import naming, reading
from foldmap.formats.sweeps.bin_layout import describe_layout
from foldmap.formats.sweeps.cloud import Cloud, are_returns
from foldmap.formats.textual import content_lines, number_rows, numbers, read_text
from foldmap.geometry import SE3

_BYTES_PER_POINT = 16
_FARTHEST_M = 1e8
"""Coordinates beyond the Earth: these bytes are no float32."""
_LABEL, _MOST_LABELS = 1e-30, 0.9
"""Whole numbers below 2^28, such as classes and instances, are so small when their bits are read as float32."""


def read_kitti_bin(path: Path) -> Cloud:
    """Read one sweep of float32 x, y, z, reflectance (0 to 1); another layout is named, where it can be told.

    What is no return (`are_returns`) is left out.
    """
    path = Path(path)
    with reading(path, kind=SweepInputError):
        data = path.read_bytes()
    if len(data) == 0:
        raise SweepInputError(f"{path} is empty", "leave this sweep and its pose out")
    if len(data) % _BYTES_PER_POINT:
        found = f"has {len(data)} bytes, not a multiple of {_BYTES_PER_POINT}"
        raise _other_layout(path, data, found, "the file is cut short, or has another layout")
    columns = np.frombuffer(data, "<f4").reshape(-1, 4)
    told = np.abs(columns[columns != 0])
    if len(told) and float((told < _LABEL).mean()) > _MOST_LABELS:
        raise SweepInputError(
            f"{path} holds whole numbers of 32 bits, as labels of points are written (SemanticKITTI's .label), not "
            "points",
            "give the sweeps themselves, velodyne/*.bin",
        )
    columns = columns[are_returns(columns[:, :3])]
    if not len(columns):
        raise SweepInputError(f"{path} has no points", "leave this sweep and its pose out")
    if not np.isfinite(columns).all():
        raise _other_layout(
            path, data, "holds NaN or infinite values", "drop those returns, or write x y z reflectance in float32"
        )
    low, high, far_m = float(columns[:, 3].min()), float(columns[:, 3].max()), float(np.abs(columns[:, :3]).max())
    if low < 0 or far_m > _FARTHEST_M:
        found = f"has intensities from {low:.4g} to {high:.4g}, outside 0 to 1, at up to {far_m:.4g} m"
        cure = "reflectance is never negative: this is another layout, or another channel"
        raise _other_layout(path, data, found, cure)
    return Cloud(path, columns[:, :3].astype(np.float32), columns[:, 3])


def _other_layout(path: Path, data: bytes, found: str, cure: str) -> SweepInputError:
    """An error that names the layout which the bytes have instead, where that can be told."""
    likely, message = describe_layout(data), f"{path} {found} as x y z reflectance (float32, four columns)"
    if likely:
        message, cure = f"{message}; it looks like {likely[0]}", likely[1]
    return SweepInputError(message, cure)


def read_kitti_poses(path: Path, camera_SE3_sensor: SE3 | None = None) -> list[SE3]:
    """``world_SE3_sensor`` of every line of a KITTI pose file: twelve numbers, a row-major 3x4 matrix; 4x4 is sixteen.

    With ``camera_SE3_sensor``, the extrinsic of `read_kitti_calibration`, rows are camera poses ``camera0_SE3_camera``,
    as KITTI odometry ships them. The world is then the first sweep's sensor frame.
    """
    poses: list[SE3] = []
    count = 16 if len(next(content_lines(path), (0, []))[1]) == 16 else 12
    for line, row in number_rows(path, count, f"KITTI pose ({count} numbers, a row-major {count // 4}x4 matrix)"):
        with naming(f"{path}, line {line}"):
            poses.append(SE3(row.reshape(-1, 4)))
    if not poses:
        raise PoseInputError(f"{path} holds no poses", "give one pose a sweep")
    if camera_SE3_sensor is None:
        return poses
    sensor_SE3_camera = camera_SE3_sensor.inverse()
    return [sensor_SE3_camera @ pose @ camera_SE3_sensor for pose in poses]


def write_kitti_poses(path: Path, poses: Sequence[SE3]) -> None:
    """Write a line a pose, as `read_kitti_poses` reads them."""
    write_lines(path, [" ".join(f"{value:.12g}" for value in pose.matrix[:3].reshape(-1)) for pose in poses])


def read_kitti_calibration(path: Path) -> SE3:
    """Read ``camera_SE3_sensor`` from a KITTI calib.txt: its row ``Tr:`` (or ``Tr_velo_to_cam:``), twelve numbers."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name, _, rest = line.partition(":")
        if name.strip() in ("Tr", "Tr_velo_to_cam", "Tr_velo_cam"):
            where = f"{path}, line {number}"
            row = numbers(path, number, rest.split(), "twelve numbers, a row-major 3x4 matrix")
            if len(row) != 12:
                raise PoseInputError(f"{where}: {name.strip()} is not twelve numbers", "give a row-major 3x4 matrix")
            with naming(where):
                return SE3(row.reshape(3, 4))
    raise PoseInputError(f"{path} has no row Tr:", "give KITTI's calib.txt of this sequence")
