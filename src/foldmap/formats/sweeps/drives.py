"""The one door for recorded lidar drives: sweeps with the poses that belong to them, checked before any work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldmap.errors import SweepInputError
from foldmap.formats.poses.trajectories import Trajectory, read_poses
from foldmap.formats.sweeps.files import SweepSequence, open_sweeps
from foldmap.formats.sweeps.pairing import Pairing, pair_sweeps
from foldmap.geometry import SE3
from foldmap.geometry.association import DEFAULT_LIMIT_S
from foldmap.lidar.mapping.alignment import outline
from foldmap.lidar.mapping.belonging import check_alignment, check_ground, check_poses, pairs_to_compare, probed
from foldmap.lidar.source import Sweep
from foldmap.types import DoubleArray


@dataclass(frozen=True)
class RecordedDrive:
    """Sweeps and their poses, in driving order.

    Attributes:
        sweeps: those that have a pose.
        world_SE3_sensors: one a sweep.
        times_s: of the poses, strictly increasing, where their file has times.
        names: of the sweeps, relative to the folder that holds them all.
        trajectory: the pose file.
        pairing: how sweeps and poses were paired.
        alone: names of the sweeps that have no pose, with their time.
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
        for index in range(len(self)):
            try:
                yield self.sweeps[index]
            except SweepInputError as error:
                yield error

    def provenance(self) -> dict[str, Any]:
        """How poses and intensities were read, for summaries and settings."""
        return {
            "pose_layout": self.trajectory.layout,
            "paired": self.pairing.words,
            "sweeps_without_pose": len(self.alone),
            "intensity_scale": self.sweeps.full_scale,
        }


def open_drive(
    sweeps: Path | str,
    poses: Path | str,
    calibration: Path | str | None = None,
    intensity_scale: float | None = None,
    *,
    time_limit_s: float = DEFAULT_LIMIT_S,
    aligned: bool = True,
) -> RecordedDrive:
    """Open a drive and check that its sweeps and poses belong together; a few sweeps are read for that.

    Args:
        sweeps: folder, file or glob; see `open_sweeps`.
        poses: KITTI or TUM file.
        calibration: KITTI calib.txt, when the poses are the camera's.
        intensity_scale: see `foldmap.formats.sweeps.files.read_sweep`.
        time_limit_s: where names of sweeps are times, their poses lie no farther away.
        aligned: check that sweeps lie on each other where the poses put them; not for priors that need not.

    Raises:
        SweepInputError: there are no sweeps, they are not in the sensor's frame, or their intensities have no scale.
        PoseInputError: the poses cannot be read, cannot be paired, or do not belong to these sweeps.
    """
    sequence = open_sweeps(sweeps, intensity_scale)
    trajectory = read_poses(poses, calibration)
    names = sequence.names
    pairing = pair_sweeps(names, len(trajectory), trajectory.times_s, str(poses), time_limit_s)
    chosen = sequence.chosen(pairing.sweeps)
    world_SE3_sensors = [trajectory.world_SE3_sensors[row] for row in pairing.poses]
    check_poses(world_SE3_sensors, str(poses))
    _check_sweeps(chosen, world_SE3_sensors, str(sweeps), str(poses), aligned)
    clock_s = pairing.times_s
    return RecordedDrive(
        chosen,
        world_SE3_sensors,
        None if trajectory.times_s is None else trajectory.times_s[list(pairing.poses)],
        tuple(names[index] for index in pairing.sweeps),
        trajectory,
        pairing,
        tuple((names[index], 0.0 if clock_s is None else float(clock_s[index])) for index in pairing.alone),
    )


def _check_sweeps(
    sequence: SweepSequence, world_SE3_sensors: Sequence[SE3], sweeps: str, poses: str, aligned: bool
) -> None:
    """Read a few sweeps and check them; damaged ones are not the drive's fault and are passed over."""
    some = [(sweep, world_SE3_sensors[i]) for i in probed(len(sequence)) if (sweep := _read(sequence, i)) is not None]
    if not some and all(_read(sequence, i) is None for i in range(len(sequence))):
        sequence[0]  # none can be read: say why the first cannot
    check_ground([sweep for sweep, _ in some], [pose for _, pose in some], sweeps)
    if not aligned:
        return
    pairs = pairs_to_compare(world_SE3_sensors)
    seen = {
        i: outline(sweep)
        for i in sorted({i for pair in pairs for i in pair})
        if (sweep := _read(sequence, i)) is not None
    }
    whole = [
        (seen[i], seen[j], world_SE3_sensors[i], world_SE3_sensors[j]) for i, j in pairs if i in seen and j in seen
    ]
    check_alignment(whole, f"{poses} and {sweeps}")


def _read(sequence: SweepSequence, index: int) -> Sweep | None:
    try:
        return sequence[index]
    except SweepInputError:
        return None
