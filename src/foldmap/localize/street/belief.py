"""What a belief over places says: its densest spot, the spread around it, and what speaks for another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from foldmap.geometry import SE2, wrap_rad
from foldmap.localize.estimate import largest_sigma
from foldmap.localize.street.lane_places import LanePlaces, turn_between
from foldmap.types import BoolArray, DoubleArray, IntArray

SPOT_M = 5.0  # a spot is what lies within this of a place: the accuracy asked for
MODE_M = 15.0  # a mode is what lies within this of the best place
_SAME_WAY_RAD = np.radians(45.0)
_SAME_LANE_M = 1.5
_MIDDLE = 0.01
_MOST_MARGIN = 30.0


@dataclass(frozen=True)
class Mode:
    """The densest spot of a belief, its most probable place, and what is around it.

    Attributes:
        guess: mean of the spot's part in the lane of that place.
        covariance: (3, 3) of the mode about the guess, with the width of a place and of a lane.
        mass, entropy: probability of the mode; of the whole belief, 0 to 1.
        margin: log ratio of the spot's probability to that of the best spot outside the mode.
        along_m, across_m: standard deviations in the frame of the guess.
    """

    place: int
    guess: SE2
    covariance: DoubleArray
    mass: float
    margin: float
    along_m: float
    across_m: float
    entropy: float

    @property
    def sigma_m(self) -> float:
        """Largest position standard deviation."""
        return largest_sigma(self.covariance[:2, :2])


class Modes:
    """Finds modes among the places of one map; vehicles are 0.5 m and 3 degrees (sigma) from lanes."""

    def __init__(self, places: LanePlaces) -> None:
        self._places, self._positions = places, places.positions_m
        step_m = float(np.median(places.length_m)) if len(places) else 0.0
        self._floor: DoubleArray = np.diag([0.5**2 + step_m**2 / 12] * 2 + [np.radians(3.0) ** 2])
        self._near = self._near_each()

    def _near_each(self) -> csr_array:
        """Which places share a spot, both ways, themselves included."""
        count, heading = len(self._places), self._places.heading_rad
        if not count:
            return csr_array((0, 0))
        pairs = cKDTree(self._positions).query_pairs(SPOT_M, output_type="ndarray")
        pairs = pairs[np.abs(turn_between(*heading[pairs.T])) <= _SAME_WAY_RAD]
        rows, columns = np.concatenate([pairs, pairs[:, ::-1], np.arange(count)[:, None].repeat(2, 1)]).T
        return csr_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))

    def around(self, place: int, radius_m: float) -> BoolArray:
        """Which places lie within a radius of one and lead the same way."""
        turn = turn_between(self._places.heading_rad[place], self._places.heading_rad)
        apart_m = np.hypot(*(self._positions - self._positions[place]).T)
        return np.asarray((apart_m <= radius_m) & (np.abs(turn) <= _SAME_WAY_RAD))

    def best(self, belief: DoubleArray) -> Mode:
        """Summarize a belief float64 (N,) that sums to 1; N is at least 1."""
        spots = self._near @ belief  # probability of the spot around each place
        broad = self._near @ spots  # of spots almost alike, the one in their middle
        top = int(np.argmax(spots / spots.max() + _MIDDLE * broad / broad.max()))
        spot = np.flatnonzero(self.around(top, SPOT_M))
        apart = np.hypot(*(self._positions[spot] - self._positions[top]).T)
        place = int(spot[np.lexsort((apart, -belief[spot].round(9)))[0]])  # of equal ones the middle
        guess = self._guess(belief, spot, place)
        mode = self.around(top, MODE_M)
        other = float((self._near @ (belief * ~mode)).max())
        covariance = self._covariance(belief, mode, guess)
        cos, sin = np.cos(guess.heading_rad), np.sin(guess.heading_rad)
        along_m, across_m = (float(np.sqrt(of @ covariance[:2, :2] @ of)) for of in np.array([[cos, sin], [-sin, cos]]))
        share = belief[belief > 0]
        entropy = float(-(share * np.log(share)).sum() / np.log(len(belief))) if len(belief) > 1 else 0.0
        return Mode(
            place=place,
            guess=guess,
            covariance=covariance,
            mass=min(1.0, float(belief[mode].sum())),
            margin=_MOST_MARGIN if other <= 0 else min(_MOST_MARGIN, float(np.log(spots[top] / other))),
            along_m=along_m,
            across_m=across_m,
            entropy=max(0.0, entropy),
        )

    def _guess(self, belief: DoubleArray, spot: IntArray, place: int) -> SE2:
        """The mean over the spot in the lane of the place: a mean over neighbouring lanes would lie between them."""
        heading = self._places.heading_rad
        apart = self._positions[spot] - self._positions[place]
        across = np.cos(heading[place]) * apart[:, 1] - np.sin(heading[place]) * apart[:, 0]
        near = spot[np.abs(across) <= _SAME_LANE_M]
        weight = belief[near]
        weight = weight / weight.sum() if weight.sum() > 0 else np.where(near == place, 1.0, 0.0)
        x_m, y_m = weight @ self._positions[near]
        turn = float(weight @ turn_between(heading[place], heading[near]))
        return SE2(float(x_m), float(y_m), wrap_rad(float(heading[place]) + turn))

    def _covariance(self, belief: DoubleArray, mode: BoolArray, guess: SE2) -> DoubleArray:
        weight = belief[mode] / max(float(belief[mode].sum()), np.finfo(float).tiny)
        apart = self._positions[mode] - (guess.x_m, guess.y_m)
        off = np.column_stack([apart, turn_between(guess.heading_rad, self._places.heading_rad[mode])])
        spread: DoubleArray = (off * weight[:, None]).T @ off
        return 0.5 * (spread + spread.T) + self._floor
