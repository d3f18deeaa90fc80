"""Poses of sweeps that bring none, by the sweeps alone: a map of one pass is built by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldmap.api.results import Begin, silent
from foldmap.errors import PoseInputError
from foldmap.formats.sweeps.drives import open_unposed
from foldmap.geometry import SE3
from foldmap.lidar.mapping.lean import level
from foldmap.lidar.mapping.registration import SweepRegistration
from foldmap.lidar.source import Sweep

_SAME_M, _BETWEEN_M = 15.0, 60.0


def registered_poses(sweeps: Path | str, intensity_scale: float | None = None, begin: Begin = silent) -> list[SE3]:
    """World_SE3_sensor of every sweep of one pass, in the order of their names; the first is the origin, level.

    A sweep that cannot be read has the pose of the one before.

    Raises:
        SweepInputError: as of `open_drive`.
        PoseInputError: a sweep does not lie on those before it, or the drive comes back to where it was: odometry
            drifts, and closes no loop.
    """
    sequence, _ = open_unposed(sweeps, intensity_scale)
    running, report, start = SweepRegistration(), begin("Registering sweeps"), None
    poses, driven_m = list[SE3](), list[float]()
    for index, (name, sweep) in enumerate(zip(sequence.names, sequence.read(), strict=True), start=1):
        at = running.add(sweep) if isinstance(sweep, Sweep) else None
        if start is None or not isinstance(sweep, Sweep):
            start = level(sweep) if isinstance(sweep, Sweep) else start
            poses.append(poses[-1] if poses else start or SE3(np.eye(4)))
        elif at is None:
            cure = "give --poses; motion is not told where too little stands around, or by sweeps far apart"
            raise PoseInputError(f"{name} does not lie on the sweeps before it", cure)
        else:
            poses.append(start @ at)
        moved_m = np.linalg.norm(poses[-1].translation_m[:2] - poses[-2].translation_m[:2]) if index > 1 else 0.0
        driven_m.append((driven_m[-1] if driven_m else 0.0) + float(moved_m))
        report(index, len(sequence))
    _check_one_pass(poses, np.array(driven_m), sequence.names)
    return poses


def _check_one_pass(poses: list[SE3], driven_m: np.ndarray, names: tuple[str, ...]) -> None:
    at_m = np.array([pose.translation_m[:2] for pose in poses])
    for index, here_m in enumerate(at_m):
        before = driven_m < driven_m[index] - _BETWEEN_M
        if before.any() and np.hypot(*(at_m[before] - here_m).T).min() < _SAME_M:
            said = f"at {names[index]}, after {driven_m[index]:.0f} m, the drive comes back to where it was"
            raise PoseInputError(said, "sweeps alone do not close loops: give --poses, of SLAM or GNSS")
