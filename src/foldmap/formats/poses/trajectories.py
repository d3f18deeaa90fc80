"""Trajectories, KITTI or TUM, told apart by their number of columns.

TUM is ``t x y z qx qy qz qw`` a line, or as the header says (EuRoC: ``#timestamp [ns], p_x [m]...``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.listing import is_number
from foldmap.formats.name_times import seconds_per_unit
from foldmap.formats.sweeps.kitti import read_kitti_calibration, read_kitti_poses
from foldmap.formats.textual import content_lines, number_rows, read_text
from foldmap.geometry import SE3
from foldmap.geometry.quaternion import rigid_from_wxyz
from foldmap.types import DoubleArray

_UNIT_TOLERANCE, _MOST_COMMENTS = 1e-2, 50
_TIME = re.compile(
    r"(?:t|ts|time|stamp|timestamp|time_?stamp|sec|secs|seconds|nsec)(?:_?(ns|nsec|us|usec|ms|msec|s|sec))?"
)
_POSITION = re.compile(r"(?:.*position[._])?(?:(?:p|t|pos|position|trans|translation)(?:[._].*?)?[._]?)?([xyz])")
_QUATERNION = re.compile(
    r"(?:.*orientation[._])?(?:(?:q|quat|quaternion|orientation|rot|rotation)(?:[._].*?)?[._]?)?([wxyz])"
)
_UNIT = re.compile(r"[\[(]\s*([^\])]*?)\s*[\])]")
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "usec": 1e-6, "ns": 1e-9, "nsec": 1e-9}
_METRES = ("", "m", "metre", "metres", "meters")
_W_FIRST = re.compile(r"q?_?w\b.{0,12}\bq?_?x\b", re.IGNORECASE)
_ORDER = ("t", "x", "y", "z", "qx", "qy", "qz", "qw")


@dataclass(frozen=True)
class PoseColumns:
    """Where a row of a table has t x y z qx qy qz qw, after which line, and how many columns it has.

    ``header_line`` is 0 where TUM's own order is taken, ``seconds`` what one unit of time is, where the header says.
    """

    header_line: int = 0
    count: int = 8
    order: tuple[int, ...] = tuple(range(8))
    seconds: float | None = None


def pose_columns(path: Path) -> PoseColumns | None:
    """The columns that a pose table's header names; None where no line before the first row of numbers names them."""
    comments: list[tuple[int, str]] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split("#", 1)[0].replace(",", " ").replace(";", " ").split()
        if words and is_number(words[0]):
            return _of_comments(path, comments, len(words))
        if line.strip(", \t"):
            comments.append((number, line))
        if len(comments) > _MOST_COMMENTS:
            break
    return None


def _of_comments(path: Path, comments: list[tuple[int, str]], count: int) -> PoseColumns | None:
    for number, line in comments:
        found = _of_header(path, number, line.lstrip("# \t"), count)
        if found is not None:
            return found
    w_first = [number for number, line in comments if line.startswith("#") and _W_FIRST.search(line)]
    if count == 8 and w_first:
        cure = "give rows t x y z qx qy qz qw, or name the columns: # t x y z qw qx qy qz"
        raise PoseInputError(f"{path}, line {w_first[0]} puts qw before qx", cure)
    return None


def _of_header(path: Path, number: int, header: str, count: int) -> PoseColumns | None:
    pieces = header.split(",") if header.count(",") >= count - 1 else re.sub(r"\s+(?=[\[(])", "", header).split()
    units = [(_UNIT.search(piece) or [piece, ""])[1].lower() for piece in pieces]
    names = [_UNIT.sub("", piece).strip(" \t,").lower() for piece in pieces]
    if len(names) < count:
        return None
    found: dict[str, int] = {}
    for column, name in enumerate(names[:count]):
        kind = _kind(name, set(found))
        if kind is not None:
            found.setdefault(kind, column)
    if not all(kind in found for kind in _ORDER):
        return None
    strange = [units[found[axis]] for axis in "xyz" if units[found[axis]] not in _METRES]
    if strange:
        raise PoseInputError(f"{path}, line {number}: positions are in {strange[0]}", "give them in metres")
    time = names[found["t"]]
    match = _TIME.fullmatch(time)
    unit = "ns" if time == "nsec" else units[found["t"]] or (match[1] if match and match[1] else "")
    if unit not in _SECONDS:
        raise PoseInputError(f"{path}, line {number}: times are in {unit}", "give them in seconds")
    return PoseColumns(number, count, tuple(found[kind] for kind in _ORDER), _SECONDS[unit] if unit else None)


def _kind(name: str, taken: set[str]) -> str | None:
    """What a column is, one of `_ORDER`. A bare x after a position has been named is the quaternion's."""
    if _TIME.fullmatch(name) and "t" not in taken:
        return "t"
    match = _POSITION.fullmatch(name)
    if match and match[1] not in taken:
        return match[1]
    match = _QUATERNION.fullmatch(name)
    return f"q{match[1]}" if match else None


def read_tum_poses(path: Path, columns: PoseColumns | None = None) -> tuple[DoubleArray, list[SE3]]:
    """Timestamps float64 (N,) in seconds, strictly increasing, and ``world_SE3_sensor`` for each.

    Stamps in milli-, micro- or nanoseconds since 1970 become seconds. ``columns`` are of `pose_columns`, where that was
    called already.
    """
    columns = columns or pose_columns(path) or PoseColumns()
    every = list(number_rows(path, columns.count, "TUM pose (t x y z qx qy qz qw)", columns.header_line))
    if not every:
        raise PoseInputError(f"{path} holds no poses", "give one pose a sweep")
    rows = np.stack([row for _, row in every])[:, list(columns.order)]
    rows[:, 0] *= _seconds(rows[:, 0], columns.seconds)
    norms = np.linalg.norm(rows[:, 4:], axis=1)
    for index, ((line, _), row) in enumerate(zip(every, rows, strict=True)):
        if index and row[0] <= rows[index - 1, 0]:
            said = f"{path}, line {line}: time {row[0]:.16g} s does not follow {rows[index - 1, 0]:.16g} s"
            raise PoseInputError(said, "sort the poses by time, each time once")
        if abs(norms[index] - 1.0) > _UNIT_TOLERANCE:
            said = f"{path}, line {line}: the quaternion has length {norms[index]:.4g}"
            raise PoseInputError(said, "give unit quaternions as qx qy qz qw")
    return rows[:, 0].copy(), [SE3(pose) for pose in rigid_from_wxyz(rows[:, [7, 4, 5, 6]], rows[:, 1:4])]


def _seconds(times: DoubleArray, said: float | None) -> float:
    """One unit of a file's times in seconds: as its header says, but a stamp with a fraction counts no nanoseconds."""
    if said is not None and (said == 1 or (times == np.round(times)).all()):
        return said
    return seconds_per_unit(float(np.abs(times).max()))


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
    if len(words) in (12, 16):
        camera_SE3_sensor = read_kitti_calibration(Path(calibration)) if calibration is not None else None
        return Trajectory(path, "kitti", read_kitti_poses(path, camera_SE3_sensor))
    cure = "give row-major 3x4 matrices or t x y z qx qy qz qw, as evo_traj --save_as_tum makes of others"
    raise PoseInputError(f"{path}, line {line}: {len(words)} columns, neither KITTI (12, 16) nor TUM (8)", cure)
