"""Sweeps put together as if all of a revolution had been seen at once, where nothing tells the times of points.

At 10 m/s a vehicle moves a metre while its lidar turns around once: what it saw on its left lies a quarter of a metre
from where it was, what it saw on its right as far the other way. Azimuths are times where a lidar spins evenly, and its
seam is behind it; which way it spins is told by how well sweeps some metres apart lie on each other (GICP, Segal et al.
2009) once they are put together for either way, and left as they are. Vehicles do not drive sideways: where sweeps
do, their axes are turned (x to the right, say), and the seam is behind the motion.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from foldmap.geometry import SE2, SE3
from foldmap.lidar.source import Sweep
from foldmap.types import DoubleArray

CLOCKWISE, AS_IT_IS, COUNTER_CLOCKWISE, SKEWED = -1, 0, 1, 2
WORDS = {CLOCKWISE: "clockwise", AS_IT_IS: "none", COUNTER_CLOCKWISE: "counter-clockwise", SKEWED: "skewed"}
"""Skewed are sweeps that stay as they are though they need it: their poses were made of them so."""
EITHER = CLOCKWISE, AS_IT_IS, COUNTER_CLOCKWISE
REVOLUTION_S = 0.1
"""Of a lidar of which sweeps come more seldom; else it turns once from one to the next."""
_LEAST_M = 0.15
"""A vehicle that moves less in a revolution is not looked at, nor its sweeps put together."""
_APART_M, _BETWEEN_M = 10.0, 2.5  # sweeps that are compared, and one such pair and the next
_NEAR_M, _FAR_M, _CELL_M, _REACH_M, _NEIGHBOURS, _LEAST_POINTS = 2.5, 40.0, 0.35, 0.5, 10, 300
_MOST_POINTS = 25_000
_STARTS, _PAIRS, _LEAST_PAIRS, _FEW_PAIRS = 250, 12, 6, 3
_MAP_BETWEEN_M, _MOST_ASKED = 0.5, 40  # sweeps that ask a map
_MAP_BLUR = 0.05  # of what stands a map lacks so much for other reasons
_SIDEWAYS = 2.0  # a sensor ahead of the rear axle moves to the side, too, but not so much
_SURE, _SURER = 2.0, 3.0
"""Mean over its standard error: of the gain over sweeps as they are, and over those put together the other way.

4 and 6 and more on two recordings that need it; of those the first is below 0 once they are put together.
"""
_MADE_OF_THEM = 1.5
"""How much farther poses that were made of skewed sweeps are from sweeps that are put together: 2.5, others 0.9."""

Read: TypeAlias = Callable[[int], Sweep | None]


@dataclass(frozen=True)
class Turn:
    """What moves while a lidar turns around once: translation (3,) m and rotation vector (3,) rad, sensor axes."""

    translation_m: DoubleArray
    rotation_rad: DoubleArray

    @staticmethod
    def around(here: SE3, first: SE3, last: SE3, revolutions: float) -> Turn:
        """By the poses at the begin and the end of so many revolutions."""
        from scipy.spatial.transform import Rotation  # a first estimate of a sweep does without

        ahead_m = here.matrix[:3, :3].T @ (last.translation_m - first.translation_m)
        rotation = Rotation.from_matrix(first.matrix[:3, :3].T @ last.matrix[:3, :3]).as_rotvec()
        return Turn(ahead_m / revolutions, rotation / revolutions)

    @staticmethod
    def level(moved: SE2) -> Turn:
        """Of a vehicle on the ground."""
        return Turn(np.array([moved.x_m, moved.y_m, 0.0]), np.array([0.0, 0.0, moved.heading_rad]))

    @property
    def smear_m(self) -> DoubleArray:
        """How far what is beside the vehicle lies off where nothing is known of the spin, or the wrong way: (3,)."""
        return 0.25 * self.translation_m

    @property
    def tells(self) -> bool:
        """Whether the vehicle moves enough to look at it."""
        return float(np.linalg.norm(self.translation_m)) >= _LEAST_M


def put_together(sweep: Sweep, spin: int, turn: Turn) -> Sweep:
    """The sweep as if all its points had been measured when it looked ahead; ``spin`` is one of this module's."""
    if spin in (AS_IT_IS, SKEWED) or not len(sweep.points_sensor_m):
        return sweep
    points = sweep.points_sensor_m.astype(np.float64)
    x, y = _ahead(turn)
    left, ahead = x * points[:, 1] - y * points[:, 0], x * points[:, 0] + y * points[:, 1]
    since = (spin / math.tau * np.arctan2(left, ahead))[:, None]  # revolutions after it looked ahead
    size = float(np.linalg.norm(turn.rotation_rad))
    moved = points + since * turn.translation_m
    if size > 0:  # Rodrigues' formula
        axis = turn.rotation_rad / size
        across = np.cross(axis, points)
        moved += np.sin(since * size) * across + (1 - np.cos(since * size)) * np.cross(axis, across)
    return Sweep(moved.astype(np.float32), sweep.intensity)


def _ahead(turn: Turn) -> tuple[int, int]:
    """Where the vehicle's front is in the sensor's axes: along x, unless these move sideways."""
    x, y = (float(along) for along in turn.translation_m[:2])
    return (0, 1 if y > 0 else -1) if turn.tells and abs(y) > _SIDEWAYS * abs(x) else (1, 0)


def told(spin: int) -> list[str]:
    """For people, that sweeps were put together; nothing where they were not."""
    if spin == SKEWED:
        left = "nothing tells the times of their points, and the map's poses were made of such as they are"
        return [f"sweeps are skewed, and left so: {left}; build lidar without --poses puts them together"]
    how = f"the lidar spins {WORDS[spin]} and nothing tells the times of its points"
    return [f"{how}: sweeps are put together by that; --no-deskew leaves them"] if spin else []


def spin_named(word: object) -> int:
    """The other way around; 0 for what is no word of these."""
    return next((spin for spin, name in WORDS.items() if name == word), AS_IT_IS)


def turns(poses: Sequence[SE3], times_s: DoubleArray | None = None) -> list[Turn]:
    """What a sensor moves in a revolution around each sweep, by the poses before and after it."""
    return [_turn_at(poses, times_s, index) for index in range(len(poses))]


def _turn_at(poses: Sequence[SE3], times_s: DoubleArray | None, index: int) -> Turn:
    first, last = max(index - 1, 0), min(index + 1, len(poses) - 1)
    if first == last:
        return Turn.level(SE2(0.0, 0.0, 0.0))
    return Turn.around(poses[index], poses[first], poses[last], revolutions(times_s, first, last))


def revolutions(times_s: DoubleArray | None, first: int, last: int) -> float:
    """How often a lidar turns around from one sweep to another: once from sweep to sweep, unless they come seldom."""
    passed_s = math.nan if times_s is None else float(times_s[last] - times_s[first])
    return passed_s / REVOLUTION_S if passed_s > 1.5 * REVOLUTION_S * (last - first) else last - first


def spin_of(
    read: Read,
    poses: Sequence[SE3],
    times_s: DoubleArray | None = None,
    *,
    independent: bool = True,
    otherwise: int = AS_IT_IS,
) -> int:
    """Which way the lidar of a drive spins that nobody put together; 0 where its sweeps lie best as they are.

    ``read`` gives a sweep by its number, None where it cannot be used. Poses that are ``independent`` of the sweeps are
    asked, too: where these lie at them as they are, but not once put together, the poses were made of them. What few or
    slow sweeps do not tell is as said ``otherwise``.
    """
    found = _Told()
    for before, here in _pairs(poses, times_s):
        if found.settled and not (independent and found.verdict(False, AS_IT_IS)):
            break  # whom poses belong to takes all pairs
        one, other = read(before), read(here)
        if one is not None and other is not None:
            pair = _Seen(one, _turn_at(poses, times_s, before)), _Seen(other, _turn_at(poses, times_s, here))
            for _ in found.compare(*pair, poses[before].inverse() @ poses[here]):
                pass
    return found.verdict(independent, otherwise)


def _pairs(poses: Sequence[SE3], times_s: DoubleArray | None) -> list[tuple[int, int]]:
    """Sweeps ten metres apart, all along the drive, in an order that soon has seen all of it."""
    at_m = np.array([pose.translation_m for pose in poses]).reshape(-1, 3)
    pairs = list[tuple[int, int]]()
    for index in sorted(set(np.linspace(0, len(poses) - 1, _STARTS).astype(int))) if len(poses) else []:
        far = np.flatnonzero(np.linalg.norm(at_m[index:] - at_m[index], axis=1) >= _APART_M)
        pair = (int(index), int(index + far[0])) if len(far) else None
        if pair is not None and all(_turn_at(poses, times_s, one).tells for one in pair):
            pairs.append(pair)
    asked = sorted(set(np.linspace(0, len(pairs) - 1, _PAIRS).round().astype(int))) if pairs else []
    return [pairs[k] for k in asked[::2] + asked[1::2]]


class SpinFinder:
    """The same of sweeps that come one after another, by how the vehicle moves: until it is told as at first.

    A map tells, too, where what stands in it was put together: before sweeps lie ten metres apart.
    """

    def __init__(self, first: int = AS_IT_IS) -> None:
        self.spin = self._first = first
        self._told, self._kept = _Told(), deque[tuple[_Seen, SE2]]()
        self._stood, self._stood_at, self._asked = _Told(), SE2(math.inf, 0.0, 0.0), 0
        self._comparing: Iterator[None] | None = None

    @property
    def told(self) -> bool:
        """Whether this drive said so, or said nothing else in all that it is asked; else it is only assumed."""
        return self._done or self._stood.settled or self._stood.agrees(self._first)

    @property
    def _done(self) -> bool:
        return self._first == SKEWED or self._told.settled or len(self._told.misfits) >= _PAIRS

    def asks_map(self, here: SE2, turn: Turn) -> bool:
        """Whether a map is to be asked by a sweep of this place."""
        asks = not self.told and turn.tells and self._asked < _MOST_ASKED
        return asks and _apart_m(self._stood_at, here) >= _MAP_BETWEEN_M

    def stood(self, missing: Sequence[float] | None, here: SE2) -> None:
        """Take the share of what stands around that a map has not, once put together each of the three ways.

        None where too little is seen, or nothing in the map looks so.
        """
        self._stood_at, self._asked = here, self._asked + 1
        if missing is not None:
            self._stood.misfits.append([_MAP_BLUR + one for one in missing])
            self._decide()

    def _decide(self) -> None:
        by = self._told if self._told.settled or not self._stood.settled else self._stood
        self.spin = by.verdict(independent=False, otherwise=self._first)

    def add(self, sweep: Sweep, here: SE2, turn: Turn) -> None:
        """Take the next sweep in the vehicle's axes, start_SE2_vehicle there, and what moves in a revolution.

        Of a pair one way is looked at by each sweep, so that none takes long.
        """
        if self._done or not turn.tells:
            return
        if not self._kept or _apart_m(self._kept[-1][1], here) >= _BETWEEN_M:
            seen = _Seen(sweep, turn)
            self._kept.append((seen, here))
            while len(self._kept) > 1 and _apart_m(self._kept[1][1], here) >= _APART_M:
                self._kept.popleft()
            before, there = self._kept[0]
            if self._comparing is None and _apart_m(there, here) >= _APART_M:
                self._kept.popleft()
                self._comparing = self._told.compare(before, seen, SE3.from_se2(there.inverse() @ here))
        if self._comparing is not None and next(self._comparing, True):
            self._comparing = None
            self._decide()


class _Seen:
    """A sweep and what moves in a revolution around it; what it shows, put together each way, is found once."""

    def __init__(self, sweep: Sweep, turn: Turn) -> None:
        self._sweep, self._turn, self._found = thinned(sweep), turn, dict[int, tuple[Any, Any]]()

    def surfaces(self, spin: int) -> tuple[Any, Any]:
        """Points with their normals, and their tree; no tree where they are too few."""
        if spin not in self._found:
            self._found[spin] = self._surfaces(spin)
        return self._found[spin]

    def _surfaces(self, spin: int) -> tuple[Any, Any]:
        import small_gicp

        points = put_together(self._sweep, spin, self._turn).points_sensor_m.astype(np.float64)
        range_m = np.hypot(points[:, 0], points[:, 1])
        near = points[(range_m > _NEAR_M) & (range_m < _FAR_M)]
        if len(near) < _LEAST_POINTS:
            return small_gicp.PointCloud(near), None
        points, tree = small_gicp.preprocess_points(near, _CELL_M, num_neighbors=_NEIGHBOURS)
        return points, tree


@dataclass
class _Told:
    """What pairs of sweeps told: misfits clockwise, as they are, counter-clockwise; and how far ahead poses are off."""

    misfits: list[list[float]] = field(default_factory=list)
    off_m: list[list[float]] = field(default_factory=list)

    def compare(self, before: _Seen, here: _Seen, step: SE3) -> Iterator[None]:
        """Lay a sweep on one before it, put together each way; between two ways there is time for others."""
        import small_gicp

        misfits, off_m = list[float](), list[float]()
        ahead = step.translation_m / np.linalg.norm(step.translation_m)  # what revolutions smear
        for number, spin in enumerate(EITHER):
            if number:
                yield
            (target, tree), (source, _) = before.surfaces(spin), here.surfaces(spin)
            if min(target.size(), source.size()) < _LEAST_POINTS:
                return
            found = small_gicp.align(
                target, source, tree, step.matrix, registration_type="GICP", max_correspondence_distance=_REACH_M
            )
            if found.num_inliers < _LEAST_POINTS:
                return
            misfits.append(found.error / found.num_inliers)
            off_m.append(abs(float(ahead @ (found.T_target_source - step.matrix)[:3, 3])))
        self.misfits.append(misfits)
        self.off_m.append(off_m)

    def verdict(self, independent: bool, otherwise: int) -> int:
        """The way that makes sweeps fit; what is said otherwise where they do not tell."""
        if len(self.misfits) < _LEAST_PAIRS:
            return AS_IT_IS if self._contradicted(otherwise) else otherwise
        spin, gain, _ = self._gains()
        if not self.settled:  # what another drive told is not held against all that this one tells
            return AS_IT_IS if len(self.misfits) >= _PAIRS and gain < 0 else otherwise
        if gain < 0:
            return AS_IT_IS
        off_m = np.median(self.off_m, axis=0) if independent else np.zeros(3)
        return SKEWED if off_m[1 + spin] > _MADE_OF_THEM * off_m[1] else spin

    @property
    def settled(self) -> bool:
        """Whether more sweeps would tell nothing else."""
        if len(self.misfits) < _LEAST_PAIRS:
            return False
        _, gain, over = self._gains()
        return gain < -_SURE or (gain > _SURE and over > _SURER)

    def agrees(self, spin: int) -> bool:
        """Whether the few there are lie clearly best where they are put together as is assumed."""
        if len(self.misfits) < _FEW_PAIRS:
            return False
        misfits = np.array(self.misfits)
        over = np.delete(misfits, 1 + spin, axis=1) - misfits[:, 1 + spin, None]
        return bool((over.mean(axis=0) > _SURE * over.std(axis=0, ddof=1) / math.sqrt(len(over))).all())

    def _contradicted(self, spin: int) -> bool:
        """Whether the few pairs there are lie less well on each other once they are put together as is assumed."""
        if spin not in EITHER or len(self.misfits) < _FEW_PAIRS:
            return False
        misfits = np.array(self.misfits)
        gains = 1.0 - misfits[:, 1 + spin] / np.maximum(misfits[:, 1], 1e-12)
        return bool(gains.mean() < -gains.std(ddof=1) / math.sqrt(len(gains)))

    def _gains(self) -> tuple[int, float, float]:
        """The better way, and its mean gains over their standard errors: over what is, and over the other way."""
        misfits = np.array(self.misfits)
        gains = 1.0 - misfits / np.maximum(misfits[:, 1:2], 1e-12)
        spin = COUNTER_CLOCKWISE if gains[:, 2].mean() > gains[:, 0].mean() else CLOCKWISE
        both = gains[:, 1 + spin], gains[:, 1 + spin] - gains[:, 1 - spin]
        gain, over = (float(one.mean() / (one.std(ddof=1) / math.sqrt(len(one)) + 1e-12)) for one in both)
        return spin, gain, over


def thinned(sweep: Sweep) -> Sweep:
    """Every so many-th point: as many as tell as well as all, in half of the time."""
    step = max(len(sweep.points_sensor_m) // _MOST_POINTS, 1)
    return Sweep(sweep.points_sensor_m[::step], sweep.intensity[::step])


def _apart_m(one: SE2, other: SE2) -> float:
    return math.hypot(one.x_m - other.x_m, one.y_m - other.y_m)
