"""TUM trajectories: ``t x y z qx qy qz qw`` a line, or the order that the file's header gives (EuRoC puts qw first)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.poses.columns import PoseColumns, pose_columns
from foldmap.formats.textual import number_rows
from foldmap.geometry import SE3
from foldmap.types import DoubleArray

_UNIT_TOLERANCE = 1e-2
_STAMPS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""Times since 1970 beyond these are in nanoseconds, microseconds, milliseconds: as seconds they would be millennia."""


def seconds_per_unit(time: float) -> float:
    """What one unit of a time stamp is in seconds, told from its size: 1 below 1e11 (the year 5138)."""
    return next((seconds for least, seconds in _STAMPS if abs(time) >= least), 1.0)


def read_tum_poses(path: Path, columns: PoseColumns | None = None) -> tuple[DoubleArray, list[SE3]]:
    """Read a TUM trajectory; stamps in milli-, micro- or nanoseconds since 1970 become seconds.

    Args:
        path: the text file.
        columns: of `pose_columns`, where that was called already.

    Returns:
        Timestamps float64 (N,) in seconds, strictly increasing, and ``world_SE3_sensor`` for each.

    Raises:
        PoseInputError: naming the line that is malformed, not a unit quaternion, or out of time order.
    """
    columns = columns or pose_columns(path) or PoseColumns()
    every = list(number_rows(path, columns.count, "TUM pose (t x y z qx qy qz qw)", columns.header_line))
    if not every:
        raise PoseInputError(f"{path} holds no poses", "give one pose a sweep")
    rows = np.stack([row for _, row in every])[:, list(columns.order)]
    rows[:, 0] *= _seconds(rows[:, 0], columns.seconds)
    poses: list[SE3] = []
    for index, ((line, _), row) in enumerate(zip(every, rows, strict=True)):
        if index and row[0] <= rows[index - 1, 0]:
            raise PoseInputError(
                f"{path}, line {line}: time {row[0]:.9g} s does not follow {rows[index - 1, 0]:.9g} s",
                "sort the poses by time, each time once",
            )
        norm = float(np.linalg.norm(row[4:]))
        if abs(norm - 1.0) > _UNIT_TOLERANCE:
            raise PoseInputError(
                f"{path}, line {line}: the quaternion has length {norm:.4g}", "give unit quaternions as qx qy qz qw"
            )
        poses.append(SE3(_matrix(row[1:4], row[4:] / norm)))
    return rows[:, 0].copy(), poses


def _seconds(times: DoubleArray, said: float | None) -> float:
    """One unit of a file's times in seconds: as its header says, but a stamp with a fraction counts no nanoseconds."""
    if said is not None and (said == 1 or (times == np.round(times)).all()):
        return said
    return seconds_per_unit(float(np.abs(times).max()))


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
