"""How a belief over places moves along lanes when odometry says that the vehicle drove and turned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2
from foldmap.localize.estimate import check_numbers
from foldmap.localize.motion import check_increment
from foldmap.localize.street.lane_places import LanePlaces
from foldmap.types import DoubleArray

_REACH_SIGMA = 4.5
_LEAST_BRANCH = 1e-4
_LEAST_BELIEF = 1e-12
_LEAST_HOP_M = 0.05


@dataclass(frozen=True)
class LaneMotion:
    """What moves a belief besides odometry, and how well odometry fits lanes.

    Attributes:
        distance_m, distance_per_m: standard deviation of the distance driven, fixed and a share of it.
        turn_rad, turn_per_rad: standard deviation of the turn, fixed (vehicles do not follow centre lines) and a share.
        lane_change_per_m: chance to change to the lane on one side, a metre driven.
        restart: chance, a step, that the vehicle is anywhere: it left the map, or the belief is wrong.
        most_m: a longer step than this is refused.
    """

    distance_m: float = 0.3
    distance_per_m: float = 0.05
    turn_rad: float = 0.1
    turn_per_rad: float = 0.1
    lane_change_per_m: float = 0.004
    restart: float = 0.001
    most_m: float = 150.0

    def __post_init__(self) -> None:
        check_numbers(self, "lane motion", 0.0)
        if self.restart > 0.5 or self.turn_rad == 0:
            raise ConfigError(f"restart {self.restart}, turn_rad {self.turn_rad}", "give at most 0.5, and more than 0")


def driven_m(increment: SE2) -> float:
    """Length of the arc that an increment spans, negative when it led backwards."""
    chord, half = math.hypot(increment.x_m, increment.y_m), 0.5 * increment.heading_rad
    arc = chord if abs(half) < 1e-6 else chord * half / math.sin(half)
    return math.copysign(arc, increment.x_m if increment.x_m else 1.0)


class LaneWalker:
    """Moves beliefs along the lanes of one map.

    From each place the belief goes along every path of links to the places about as far away as odometry says, split
    evenly where lanes fork or, backwards, merge. It is weighed by how well the lane's turn on the way agrees with
    odometry's, so that a turn leaves only those places where lanes turn. What remains is less than one where no lane
    explains the step; a restart gains by that.
    """

    def __init__(self, places: LanePlaces, motion: LaneMotion | None = None) -> None:
        self._places, self._motion = places, motion or LaneMotion()
        self._before_offset, self._before = places.reversed_links()
        self._step_m = float(np.median(places.length_m)) if len(places) else 1.0

    def predict(self, belief: DoubleArray, increment: SE2, anywhere: DoubleArray) -> DoubleArray:
        """Move a belief float64 (N,) that sums to 1 by odometry; so does ``anywhere``, where a restart begins."""
        check_increment(increment)
        p, m = self._places, self._motion
        far_m = driven_m(increment)
        if abs(far_m) > m.most_m:
            raise PoseInputError(f"a step of {far_m:.0f} m, the most is {m.most_m:g}", "start the filter again")
        # half a step between places is added: it keeps the mean true on their grid
        sigma_m = math.sqrt(m.distance_m**2 + (m.distance_per_m * far_m) ** 2 + (0.5 * self._step_m) ** 2)
        sigma_rad = math.sqrt(m.turn_rad**2 + (m.turn_per_rad * increment.heading_rad) ** 2)
        turn_rad = float(increment.heading_rad)  # of a whole number the walk would be compiled again
        arguments = (belief, p.length_m, p.heading_rad, far_m, sigma_m, turn_rad, sigma_rad)
        moved = _walk(*arguments, p.follow_offset, p.follow, 1.0)
        moved += _walk(*arguments, self._before_offset, self._before, -1.0)
        changed, chance = moved.copy(), min(0.5, m.lane_change_per_m * abs(far_m))
        for beside in (p.left, p.right):
            there = np.flatnonzero(beside >= 0)
            share = 0.5 * chance * moved[there]
            np.add.at(changed, beside[there], share)
            changed[there] -= share
        changed = (1 - m.restart) * changed + m.restart * anywhere
        total = float(changed.sum())
        return changed / total if total > 0 else anywhere.copy()


@njit(cache=True)
def _walk(  # type: ignore[no-untyped-def]
    belief, length_m, heading_rad, far_m, sigma_m, turn_rad, sigma_rad, offset, after, sign
):
    """All paths in one direction; the place itself, at no distance, is counted in the forward one."""
    moved = np.zeros(len(belief))
    reach_m = sign * far_m + _REACH_SIGMA * sigma_m
    if reach_m < 0:
        return moved
    scale = 1.0 / (np.sqrt(2 * np.pi) * sigma_m)
    size = 256
    place, path_m, share = np.empty(size, np.int64), np.empty(size), np.empty(size)
    for start in range(len(belief)):
        if belief[start] < _LEAST_BELIEF:
            continue
        place[0], path_m[0], share[0] = start, 0.0, 1.0
        top = 1
        while top > 0:
            top -= 1
            here, done_m, part = place[top], path_m[top], share[top]
            if sign > 0 or done_m > 0:
                off_m = (sign * done_m - far_m) / sigma_m
                turn = heading_rad[here] - heading_rad[start] - turn_rad
                off_rad = ((turn + np.pi) % (2 * np.pi) - np.pi) / sigma_rad
                if off_m > -_REACH_SIGMA * 2 and off_m < _REACH_SIGMA * 2:
                    weight = scale * length_m[here] * np.exp(-0.5 * (off_m * off_m + off_rad * off_rad))
                    moved[here] += belief[start] * part * weight
            ways = offset[here + 1] - offset[here]
            if ways == 0 or part / ways < _LEAST_BRANCH:
                continue
            while top + ways > size:
                place = np.concatenate((place, np.empty(size, np.int64)))
                path_m = np.concatenate((path_m, np.empty(size)))
                share = np.concatenate((share, np.empty(size)))
                size *= 2
            for link in range(offset[here], offset[here + 1]):
                there = after[link]
                hop_m = max(0.5 * (length_m[here] + length_m[there]), _LEAST_HOP_M)
                if done_m + hop_m <= reach_m:
                    place[top], path_m[top], share[top] = there, done_m + hop_m, part / ways
                    top += 1
    return moved
