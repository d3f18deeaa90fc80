"""How the sensor moved from sweep to sweep of a recorded drive: by odometry, by its priors, or by the sweeps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from foldmap.api.results import Begin, silent
from foldmap.errors import PoseInputError
from foldmap.formats.name_times import frame_times_s
from foldmap.formats.sweeps.drives import RecordedDrive, open_unposed
from foldmap.formats.sweeps.files import SweepSequence
from foldmap.geometry import SE3
from foldmap.lidar.mapping.lean import level
from foldmap.lidar.mapping.registration import SweepRegistration
from foldmap.lidar.mapping.rigidity import rigidity_of
from foldmap.lidar.mapping.spin import SpinFinder, Turn, put_together, revolutions, spin_of, turns
from foldmap.lidar.observation import Observation, SweepStack
from foldmap.lidar.source import Sweep
from foldmap.types import DoubleArray

_SAME_M, _BETWEEN_M = 15.0, 60.0  # so near to a place that was left so long before, a drive has come back
ODOMETRY, PRIORS, REGISTERED, ALONE = "odometry", "differences of the poses", "registration of the sweeps", "nothing"


@dataclass
class SweepMotion:
    """Poses of one frame along a drive, and the observations that are laid together by them.

    Attributes:
        how: what the motion is taken from, one of the words of this module.
        given: poses of the file, in driving order.
        note: for people, what was found; empty where there is nothing to tell.
        fresh: whether the last sweep could not be tied to those before it.
        times_s: of the sweeps, where they are known.
        finder: of the way that the lidar spins, for sweeps that are registered; None where they stay as they are.
    """

    how: str
    given: Sequence[SE3]
    note: str = ""
    fresh: bool = False
    times_s: DoubleArray | None = None
    finder: SpinFinder | None = None
    _running: SweepRegistration = field(default_factory=SweepRegistration)
    _start: SE3 | None = None
    _last: int = 0
    _here: SE3 | None = None
    _turn: Turn | None = None

    def pose(self, index: int, sweep: Sweep | None) -> SE3:
        """World_SE3_sensor of a sweep, the next one; None where it could not be read."""
        if self.how != REGISTERED:
            self.fresh = self.how == ALONE
            return self.given[index]
        if self._here is None:
            self._here = self.given[index]
        step = self.given[self._last].inverse() @ self.given[index]
        expected = self._here @ step
        if sweep is None:
            return expected
        found = self._running.add(sweep, step)
        self.fresh = found is None
        if found is None or self._start is None:
            self._start = expected
        before, self._here = self._here, self._start if found is None else self._start @ found
        passed = revolutions(self.times_s, self._last, index)
        self._turn = Turn.around(self._here, before, self._here, passed) if passed > 0 and not self.fresh else None
        self._last = index
        return self._here

    def at_once(self, sweep: Sweep) -> Sweep:
        """The sweep that was given last, as if all of it had been seen at once."""
        if self.finder is None or self._turn is None or self._here is None:
            return sweep
        self.finder.add(sweep, self._here.to_se2(), self._turn)
        return put_together(sweep, self.finder.spin, self._turn)


class LaidSweeps:
    """The last few sweeps (``most``), laid together as a motion says; alone where it says nothing."""

    def __init__(self, resolution_m: float, most: int, sensor_height_m: float | None, *, relief: bool) -> None:
        self._begun = partial(SweepStack, resolution_m, most, sensor_height_m, relief=relief)
        self._stack = self._begun()

    def add(self, sweep: Sweep, pose: SE3, fresh: bool) -> Observation:
        """Lay a sweep on those before, unless nothing ties it to them."""
        self._stack = self._begun() if fresh else self._stack
        return self._stack.add(sweep, pose)


def motion_of(drive: RecordedDrive, is_odometry: bool, where: str, filtered: bool, most: int) -> SweepMotion:
    """Decide how the sensor moved; ``where`` names the file of the poses, ``filtered`` whether a filter moves by them.

    Poses that were not given as odometry are looked at: those with errors of their own would smear what is laid
    together, and the sweeps are registered to each other instead. Where they cannot be, each is taken alone.

    Raises:
        PoseInputError: the sweeps do not lie on each other with these poses.
    """
    poses = drive.world_SE3_sensors
    if is_odometry:
        drive.check_aligned(where)
        return SweepMotion(ODOMETRY, poses)
    if len(drive) < 2 or not (filtered or most > 1):
        return SweepMotion(PRIORS, poses)
    found = rigidity_of(drive.sweep, poses)
    if found.rigid:
        drive.check_aligned(where)
        does = " and ".join([*(["laid together"] if most > 1 else []), *(["followed"] if filtered else [])])
        return SweepMotion(PRIORS, poses, f"no --odometry: sweeps are {does} by the differences of {where}")
    own = f"the poses of {where} are no odometry ({found.words})"
    if found.registered:
        return SweepMotion(REGISTERED, poses, f"{own}: the sweeps are registered to each other; give --odometry")
    alone = "each sweep is taken alone" + (", and the filter follows them all the same" if filtered else "")
    return SweepMotion(ALONE, poses, f"{own}: {alone}; give --odometry")


def registered_poses(
    sweeps: Path | str, intensity_scale: float | None = None, deskew: bool = True, begin: Begin = silent
) -> list[SE3]:
    """World_SE3_sensor of every sweep of one pass, in driving order; the first is the origin, level.

    A sweep that cannot be read has the pose of the one before. Sweeps that need it are put together (`spin_of`), by
    the poses that they tell as they are, and registered anew.

    Raises:
        SweepInputError: as of `open_drive`.
        PoseInputError: a sweep does not lie on those before it, or the drive comes back to where it was: odometry
            drifts, and closes no loop.
    """
    sequence, times_s = open_unposed(sweeps, intensity_scale)
    times_s = frame_times_s(sequence.names) if times_s is None else times_s
    poses = _registered(sequence, begin)
    if deskew and (spin := spin_of(sequence.usable, poses, times_s, independent=False)):
        poses = _registered(sequence.put_together(spin, turns(poses, times_s)), begin)
    return poses


def _registered(sequence: SweepSequence, begin: Begin) -> list[SE3]:
    running, report, start = SweepRegistration(), begin("Registering sweeps"), None
    poses, driven_m = list[SE3](), list[float]()
    for index, (name, sweep) in enumerate(zip(sequence.names, sequence.read(), strict=True), start=1):
        at = running.add(sweep) if isinstance(sweep, Sweep) else None
        if not isinstance(sweep, Sweep):
            poses.append(poses[-1] if poses else SE3(np.eye(4)))
        elif start is None:
            start = level(sweep)
            poses.append(start)
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


def _check_one_pass(poses: list[SE3], driven_m: DoubleArray, names: tuple[str, ...]) -> None:
    at_m = np.array([pose.translation_m[:2] for pose in poses])
    for index, here_m in enumerate(at_m):
        before = driven_m < driven_m[index] - _BETWEEN_M
        if before.any() and np.hypot(*(at_m[before] - here_m).T).min() < _SAME_M:
            said = f"at {names[index]}, after {driven_m[index]:.0f} m, the drive comes back to where it was"
            raise PoseInputError(said, "sweeps alone do not close loops: give --poses, of SLAM or GNSS")
