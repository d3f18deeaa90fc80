"""The one door for recorded lidar drives: sweeps with the poses that belong to them, checked before any work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import SweepInputError
from foldmap.formats.name_times import frame_times_s
from foldmap.formats.poses.trajectories import Trajectory, read_poses
from foldmap.formats.sweeps.files import SweepSequence, open_sweeps
from foldmap.formats.sweeps.pairing import Pairing, pair_sweeps
from foldmap.geometry import SE3
from foldmap.lidar.mapping.alignment import outline
from foldmap.lidar.mapping.belonging import (
    check_alignment,
    check_digits,
    check_ground,
    check_poses,
    pairs_to_compare,
    probed,
)
from foldmap.lidar.mapping.spin import AS_IT_IS, CLOCKWISE, COUNTER_CLOCKWISE, WORDS, spin_of, turns
from foldmap.lidar.source import Sweep
from foldmap.types import DoubleArray

_SAME_S, _DENSE_S = 1e-3, 0.2  # names are rounded to milliseconds; between rows farther apart nobody knows the way


@dataclass(frozen=True)
class RecordedDrive:
    """Sweeps that have a pose and their poses, in driving order, with times where the pose file has some.

    Names are relative to the folder that holds all sweeps; ``alone`` are those of sweeps without a pose, with their
    time.
    """

    sweeps: SweepSequence
    world_SE3_sensors: list[SE3]
    times_s: DoubleArray | None
    names: tuple[str, ...]
    trajectory: Trajectory
    pairing: Pairing
    alone: tuple[tuple[str, float], ...]

    def __len__(self) -> int:
        return len(self.sweeps)

    def read(self) -> Iterator[Sweep | SweepInputError]:
        """Read every sweep; one that cannot be used is its error, so that it does not end the drive."""
        return self.sweeps.read()

    def sweep(self, index: int) -> Sweep | None:
        """Read one sweep; None where it cannot be used."""
        return self.sweeps.usable(index)

    @property
    def clock_s(self) -> DoubleArray | None:
        """Times that tell how far sweeps are apart: of the poses, of names, else by their frames' numbers."""
        named = self.pairing.times_s
        if self.times_s is not None or named is None:
            return frame_times_s(self.names) if self.times_s is None else self.times_s
        return named[list(self.pairing.sweeps)]

    def put_together(self, otherwise: int = AS_IT_IS) -> RecordedDrive:
        """The drive with its sweeps put together by how poses move, where they show that they need it (`spin_of`)."""
        moved = self.world_SE3_sensors, self.clock_s
        spin = spin_of(self.sweep, *moved, otherwise=otherwise)
        turned = turns(*moved) if spin in (CLOCKWISE, COUNTER_CLOCKWISE) else []
        return replace(self, sweeps=self.sweeps.put_together(spin, turned))

    def check_aligned(self, where: str) -> None:
        """Check that sweeps lie on each other where the poses put them; ``where`` is for the PoseInputError else."""
        pairs = pairs_to_compare(self.world_SE3_sensors)
        read = ((i, self.sweep(i)) for i in sorted({i for pair in pairs for i in pair}))
        seen = {i: outline(sweep) for i, sweep in read if sweep is not None}
        whole = [(i, j) for i, j in pairs if i in seen and j in seen]
        at = self.world_SE3_sensors
        compared = [(seen[i], seen[j], at[i], at[j]) for i, j in whole]
        check_alignment(compared, where, quaternions=self.trajectory.layout == "tum")

    def provenance(self) -> dict[str, Any]:
        """How poses and intensities were read, for summaries and settings."""
        poses = {"pose_layout": self.trajectory.layout, "paired": self.pairing.words}
        sweeps = {"intensity_scale": self.sweeps.full_scale, "deskewed": WORDS[self.sweeps.spin]}
        return {**poses, "sweeps_without_pose": len(self.alone), **sweeps}


def open_drive(
    sweeps: Path | str,
    poses: Path | str,
    calibration: Path | str | None = None,
    intensity_scale: float | None = None,
    *,
    time_limit_s: float | None = None,
    others_heed: bool = False,
    aligned: bool = True,
    deskew: bool = True,
) -> RecordedDrive:
    """Open a drive and check that its sweeps and poses belong together; a few sweeps are read for that.

    Sweeps and their ``intensity_scale`` are as `open_sweeps` and `read_sweep` have them, poses a KITTI or TUM file,
    with KITTI's calib.txt when they are the camera's. Where names of sweeps are times, their poses lie no farther away
    than ``time_limit_s``, which ``others_heed`` as `pair_sweeps` has it. ``aligned`` is False for priors, which need
    not put sweeps on each other, nor tell how to put one together; ``deskew`` is False for sweeps that are to stay as
    they are.

    Raises:
        SweepInputError: there are no sweeps, they are not in the sensor's frame, or their intensities have no scale.
        PoseInputError: the poses cannot be read, cannot be paired, or do not belong to these sweeps.
        ConfigError: a limit is said that cannot be heeded.
    """
    sequence = open_sweeps(sweeps, intensity_scale)
    trajectory = read_poses(poses, calibration)
    names = sequence.names
    pairing = pair_sweeps(names, len(trajectory), trajectory.times_s, str(poses), time_limit_s, others_heed=others_heed)
    chosen = sequence.chosen(pairing.sweeps)
    world_SE3_sensors, times_s = _at_sweeps(trajectory, pairing)
    check_poses(world_SE3_sensors, str(poses))
    _check_ground(chosen, world_SE3_sensors, str(sweeps))
    clock_s = np.zeros(len(names)) if pairing.times_s is None else pairing.times_s
    alone = tuple((names[index], float(clock_s[index])) for index in pairing.alone)
    paired = tuple(names[index] for index in pairing.sweeps)
    drive = RecordedDrive(chosen, world_SE3_sensors, times_s, paired, trajectory, pairing, alone)
    if aligned:
        check_digits(world_SE3_sensors, str(poses))
        drive.check_aligned(f"{poses} and {sweeps}")
        drive = drive.put_together() if deskew else drive
    return drive


def open_unposed(sweeps: Path | str, intensity_scale: float | None = None) -> tuple[SweepSequence, DoubleArray | None]:
    """Open the sweeps of a drive of which no pose is known, in driving order, and their names' times (N,), if any.

    Raises `SweepInputError`: as of `open_drive`; `PoseInputError`: names do not tell the order.
    """
    sequence = open_sweeps(sweeps, intensity_scale)
    _check_ground(sequence, [SE3(np.eye(4))] * len(sequence), str(sweeps))
    order = pair_sweeps(sequence.names, len(sequence), None, str(sweeps))
    times_s = None if order.times_s is None else order.times_s[list(order.sweeps)]
    return sequence.chosen(order.sweeps), times_s


def _at_sweeps(trajectory: Trajectory, pairing: Pairing) -> tuple[list[SE3], DoubleArray | None]:
    """Poses of paired sweeps, and their times: between two rows of a dense trajectory, where names tell other times."""
    rows, known_s = trajectory.world_SE3_sensors, trajectory.times_s
    poses = [rows[row] for row in pairing.poses]
    if known_s is None:
        return poses, None
    times_s = known_s[list(pairing.poses)]
    if pairing.how == "time" and pairing.times_s is not None:
        for k, (row, wanted_s) in enumerate(zip(pairing.poses, pairing.times_s[list(pairing.sweeps)], strict=True)):
            off_s = float(wanted_s - known_s[row])
            other = row + (1 if off_s > 0 else -1)
            if abs(off_s) > _SAME_S and 0 <= other < len(rows) and abs(known_s[other] - known_s[row]) <= _DENSE_S:
                share = off_s / float(known_s[other] - known_s[row])
                poses[k], times_s[k] = rows[row].towards(rows[other], share), wanted_s
    return poses, times_s


def _check_ground(sequence: SweepSequence, world_SE3_sensors: Sequence[SE3], sweeps: str) -> None:
    """Read a few sweeps and check them; damaged ones are not the drive's fault and are passed over."""
    some = [(sweep, world_SE3_sensors[i]) for i in probed(len(sequence)) if (sweep := sequence.usable(i)) is not None]
    if not some and all(sequence.usable(i) is None for i in range(len(sequence))):
        sequence[0]  # none can be read: say why the first cannot
    check_ground([sweep for sweep, _ in some], [pose for _, pose in some], sweeps)
