"""TUM trajectories: ``t x y z qx qy qz qw`` a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.textual import number_rows
from foldmap.geometry import SE3
from foldmap.types import DoubleArray

_UNIT_TOLERANCE = 1e-2


def read_tum_poses(path: Path) -> tuple[DoubleArray, list[SE3]]:
    """Read a TUM trajectory.

    Returns:
        Timestamps float64 (N,) in seconds, strictly increasing, and ``world_SE3_sensor`` for each.

    Raises:
        PoseInputError: naming the line that is malformed, not a unit quaternion, or out of time order.
    """
    times_s: list[float] = []
    poses: list[SE3] = []
    for line, row in number_rows(path, 8, "TUM pose (t x y z qx qy qz qw)"):
        if times_s and row[0] <= times_s[-1]:
            raise PoseInputError(
                f"{path}, line {line}: time {row[0]:.9g} s does not follow {times_s[-1]:.9g} s",
                "sort the poses by time, each time once",
            )
        norm = float(np.linalg.norm(row[4:]))
        if abs(norm - 1.0) > _UNIT_TOLERANCE:
            raise PoseInputError(
                f"{path}, line {line}: the quaternion has length {norm:.4g}", "give unit quaternions as qx qy qz qw"
            )
        times_s.append(float(row[0]))
        poses.append(SE3(_matrix(row[1:4], row[4:] / norm)))
    if not poses:
        raise PoseInputError(f"{path} holds no poses", "give one pose a sweep")
    return np.array(times_s), poses


def _matrix(translation_m: DoubleArray, quaternion_xyzw: DoubleArray) -> DoubleArray:
    x, y, z, w = quaternion_xyzw
    matrix = np.empty((3, 4))
    matrix[:, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:, 3] = translation_m
    return matrix
