"""The sweeps of a bag as files, with the poses that its odometry tells, for what takes a recorded lidar drive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.errors import BagInputError
from foldmap.formats.bags.drive import open_bag_drive
from foldmap.formats.bags.survey import BagOptions
from foldmap.geometry import SE2, SE3
from foldmap.geometry.quaternion import wxyz_from_rigid
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.events import Moves, SweepEvent, in_order
from foldmap.localize.journey.moving import Moving

_REACH_S = 0.15
"""A sweep so far outside of the motion's times still has a pose."""


@dataclass(frozen=True)
class Unpacked:
    """A folder of sweeps whose names are their times, a TUM file of poses, and what there is to tell."""

    sweeps: Path
    poses: Path
    notes: list[str]


def unpack_bag(
    path: Path | str,
    folder: Path,
    options: BagOptions | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Unpacked:
    """Write the sweeps of a bag, in the vehicle's axes and de-skewed, and world_SE3_vehicle of each by odometry.

    The world is where odometry begins; height, roll and pitch are 0. The folder holds 16 bytes a point.

    Raises:
        BagInputError: the bag has no sweeps; errors of `open_bag_drive`.
    """
    drive = open_bag_drive(path, options, ("lidar", "odometry", "twist", "imu"))
    if not drive.plan.lidar:
        raise BagInputError(f"{path} has no sweeps", "; ".join(drive.notes) or "record PointCloud2")
    sweeps = folder / "sweeps"
    sweeps.mkdir()
    moving, moved, seen = Moving(), list[tuple[float, SE2]](), list[tuple[float, str]]()
    for event in in_order(drive.events()):
        if isinstance(event, Moves):
            moving.add(event)
            moved.append((event.time_s, moving.at(event.time_s)[0]))
        elif isinstance(event, SweepEvent) and isinstance(event.sweep, Sweep):
            name = drive.stamp(event.time_s)
            rows = np.column_stack([event.sweep.points_sensor_m, event.sweep.intensity])
            write_whole(sweeps / f"{name}.bin", rows.astype("<f4").tobytes())
            seen.append((event.time_s, name))
            report(len(seen), drive.observations)
    notes = [*drive.notes, *(f"left out: {one}" for one in drive.damaged)]
    if not seen:
        raise BagInputError(f"{path}: none of its sweeps can be used", "; ".join(notes))
    write_whole(folder / "poses.txt", _poses(moved, seen))
    return Unpacked(sweeps, folder / "poses.txt", [*notes, f"sweeps: {drive.told['deskewed']} were de-skewed"])


def _poses(moved: list[tuple[float, SE2]], seen: list[tuple[float, str]]) -> str:
    """TUM rows of the sweeps at whose time motion is known, between motion events evenly."""
    lines = ["# t x y z qx qy qz qw, world_SE3_vehicle by odometry"]
    if len(moved) > 1:
        times_s = np.array([time_s for time_s, _ in moved])
        rows = np.array([[pose.x_m, pose.y_m, pose.heading_rad] for _, pose in moved])
        rows[:, 2] = np.unwrap(rows[:, 2])
        for time_s, name in seen:
            if times_s[0] - _REACH_S <= time_s <= times_s[-1] + _REACH_S:
                x_m, y_m, heading = (float(np.interp(time_s, times_s, rows[:, axis])) for axis in range(3))
                pose = SE3.from_se2(SE2(x_m, y_m, heading)).matrix
                w, x, y, z = wxyz_from_rigid(pose).tolist()
                lines.append(" ".join([name, *(f"{value:.12g}" for value in (x_m, y_m, 0.0, x, y, z, w))]))
    return "\n".join(lines) + "\n"
