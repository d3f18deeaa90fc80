"""Vehicle poses on the ground as a table: CSV by column names, or a trajectory of either known layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.poses.trajectories import read_poses
from foldmap.formats.street.observations.track import require_headings, require_metres_of_track
from foldmap.formats.textual import numbers, read_csv_table, read_text
from foldmap.geometry import SE2
from foldmap.geometry.se2 import wrap_rad
from foldmap.types import DoubleArray

_WHAT = "a line of column names: x_m, y_m, heading_rad or heading_deg, and where known name, time_s and map"


@dataclass(frozen=True)
class PoseTable:
    """Poses in the order of their lines: float64 (N, 2) in the map's frame, (N,) counter-clockwise from x.

    What the table does not have is None: headings, names of the observations, times (strictly increasing), names of
    street maps.
    """

    path: Path
    xy_m: DoubleArray
    heading_rad: DoubleArray | None = None
    names: tuple[str, ...] | None = None
    times_s: DoubleArray | None = None
    maps: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.xy_m)

    def poses(self) -> list[SE2]:
        """world_SE2_ego of each line; a PoseInputError where the table has no headings."""
        if self.heading_rad is None:
            raise PoseInputError(f"{self.path} has no headings", "add a column heading_rad or heading_deg")
        return [SE2(*row) for row in np.column_stack([self.xy_m, self.heading_rad]).tolist()]

    def for_observations(self, names: Sequence[str]) -> PoseTable:
        """The lines of some observations, in their order: by name where the table has names, else by number."""
        if self.names is None:
            if len(self) != len(names):
                cure = "give one pose an observation, in their order, or a column name"
                raise PoseInputError(f"{self.path} holds {len(self)} poses for {len(names)} observations", cure)
            return self
        line = {name: number for number, name in enumerate(self.names)}
        missing = [name for name in names if name not in line]
        if missing:
            raise PoseInputError(f"{self.path} has no pose of {missing[0]!r}", "add it, or leave the observation out")
        rows = [line[name] for name in names]
        heading, times = (None if each is None else each[rows] for each in (self.heading_rad, self.times_s))
        maps = None if self.maps is None else tuple(self.maps[row] for row in rows)
        return PoseTable(self.path, self.xy_m[rows], heading, tuple(names), times, maps)


def read_pose_table(path: Path | str) -> PoseTable:
    """Read a CSV with a line of column names; or TUM or KITTI rows, of which x, y and yaw are taken.

    Other columns are passed over. The pairs.csv of a folder of pairs is such a table.
    """
    path = Path(path)
    text = read_text(path)
    first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    if "x_m" not in first:
        if any(word in first.lower() for word in ("name", "time", "lat", "head", "yaw")):
            raise PoseInputError(f"{path} has no column x_m", f"give {_WHAT}")
        trajectory = read_poses(path)
        flat = [pose.to_se2() for pose in trajectory.world_SE3_sensors]
        xy = np.array([(pose.x_m, pose.y_m) for pose in flat]).reshape(-1, 2)
        require_metres_of_track(path, xy)
        return PoseTable(path, xy, np.array([pose.heading_rad for pose in flat]), None, trajectory.times_s)
    table = read_csv_table(path, ("x_m", "y_m"), _WHAT, PoseInputError)
    if not table.rows:
        raise PoseInputError(f"{path} has no rows", f"give {_WHAT}")
    columns = {name: [(line, cells[name]) for line, cells in table.rows] for name in table.columns}
    unit = next((name for name in ("heading_rad", "heading_deg") if name in columns), None)
    xy = np.stack([_numbers(path, name, columns[name]) for name in ("x_m", "y_m")], 1)
    maps = tuple(cell for _, cell in columns["map"]) if "map" in columns else None
    require_metres_of_track(path, xy)
    heading = None
    if unit is not None:
        values = _numbers(path, unit, columns[unit])
        radians = values if unit == "heading_rad" else np.radians(values)
        heading = np.array([wrap_rad(float(value)) for value in radians])
        require_headings(path, unit, xy, values, maps)
    times = _numbers(path, "time_s", columns["time_s"]) if "time_s" in columns else None
    back = [] if times is None else np.flatnonzero(np.diff(times) <= 0).tolist()
    if back:
        at = f"{path}, line {columns['time_s'][back[0] + 1][0]}"
        raise PoseInputError(f"{at}: time does not increase", "sort the lines")
    names = tuple(cell for _, cell in columns["name"]) if "name" in columns else None
    if names is not None and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise PoseInputError(f"{path} has two poses of {twice!r}", "keep one")
    return PoseTable(path, xy, heading, names, times, maps)


def _numbers(path: Path, name: str, cells: Sequence[tuple[int, str]]) -> DoubleArray:
    return np.concatenate([numbers(path, line, [cell], f"a number in {name}") for line, cell in cells])
