"""What a belief over places says: its densest spot, the spread around it, and what speaks for another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from foldmap.geometry import SE2
from foldmap.localize.street.lane_places import LanePlaces, turn_between
from foldmap.types import BoolArray, DoubleArray

SPOT_M = 5.0
"""A spot is what lies within this of a place: the accuracy asked for."""
MODE_M = 15.0
"""A mode is what lies within this of the best place."""
_SAME_WAY_RAD = np.radians(45.0)
_SAME_LANE_M = 1.5
_MIDDLE = 0.01
_MOST_MARGIN = 30.0


@dataclass(frozen=True)
class Mode:
    """The densest spot of a belief and what is around it.

    Attributes:
        place: the most probable place of the spot.
        guess: mean of the spot's part in the lane of that place.
        covariance: (3, 3) of the mode about the guess, with the width of a place and of a lane.
        mass: probability of the mode.
        margin: log ratio of the spot's probability to that of the best spot outside the mode.
        along_m, across_m: standard deviations in the frame of the guess.
        entropy: of the whole belief, 0 to 1.
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
        return float(np.sqrt(np.linalg.eigvalsh(self.covariance[:2, :2]).max()))


class Modes:
    """Finds modes among the places of one map.

    Args:
        places: of the map.
        lane_sigma_m: how far vehicles are from centre lines.
        lane_sigma_rad: how far their headings are from the lane's.
    """

    def __init__(self, places: LanePlaces, lane_sigma_m: float = 0.5, lane_sigma_rad: float = np.radians(3.0)) -> None:
        self._places = places
        self._floor_m, self._floor_rad = lane_sigma_m, lane_sigma_rad
        self._positions = places.positions_m
        self._tree = cKDTree(self._positions) if len(places) else None
        self._near = self._near_each()

    def _near_each(self) -> csr_array:
        """Which places share a spot, both ways, themselves included."""
        count = len(self._places)
        if self._tree is None:
            return csr_array((0, 0))
        pairs = self._tree.query_pairs(SPOT_M, output_type="ndarray")
        turn = turn_between(self._places.heading_rad[pairs[:, 0]], self._places.heading_rad[pairs[:, 1]])
        pairs = pairs[np.abs(turn) <= _SAME_WAY_RAD]
        own = np.arange(count)
        rows = np.concatenate([pairs[:, 0], pairs[:, 1], own])
        columns = np.concatenate([pairs[:, 1], pairs[:, 0], own])
        return csr_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))

    def spots(self, belief: DoubleArray) -> DoubleArray:
        """Probability of the spot around each place, float64 (N,)."""
        summed: DoubleArray = self._near @ belief
        return summed

    def around(self, place: int, radius_m: float) -> BoolArray:
        """Which places lie within a radius of one and lead the same way."""
        p = self._places
        apart = self._positions - self._positions[place]
        inside: BoolArray = (np.hypot(*apart.T) <= radius_m) & (
            np.abs(turn_between(p.heading_rad[place], p.heading_rad)) <= _SAME_WAY_RAD
        )
        return inside

    def best(self, belief: DoubleArray) -> Mode:
        """Summarize a belief float64 (N,) that sums to 1; N is at least 1."""
        p = self._places
        spots = self.spots(belief)
        broad = self._near @ spots  # of spots almost alike, the one in their middle
        top = int(np.argmax(spots / spots.max() + _MIDDLE * broad / broad.max()))
        spot = np.flatnonzero(self.around(top, SPOT_M))
        apart = np.hypot(*(self._positions[spot] - self._positions[top]).T)
        place = int(spot[np.lexsort((apart, -belief[spot].round(9)))[0]])  # of equal ones the middle
        guess = self._guess(belief, top, place)
        mode = self.around(top, MODE_M)
        mass = float(belief[mode].sum())
        other = float(self.spots(belief * ~mode).max())
        margin = _MOST_MARGIN if other <= 0 else min(_MOST_MARGIN, float(np.log(spots[top] / other)))
        covariance = self._covariance(belief, mode, guess, float(np.median(p.length_m)))
        cos, sin = np.cos(guess.heading_rad), np.sin(guess.heading_rad)
        ahead, left = np.array([cos, sin]), np.array([-sin, cos])
        share = belief[belief > 0]
        entropy = float(-(share * np.log(share)).sum() / np.log(len(p))) if len(p) > 1 else 0.0
        return Mode(
            place=place,
            guess=guess,
            covariance=covariance,
            mass=min(1.0, mass),
            margin=margin,
            along_m=float(np.sqrt(ahead @ covariance[:2, :2] @ ahead)),
            across_m=float(np.sqrt(left @ covariance[:2, :2] @ left)),
            entropy=max(0.0, entropy),
        )

    def _guess(self, belief: DoubleArray, top: int, place: int) -> SE2:
        """The mean over the spot in the lane of the place: a mean over neighbouring lanes would lie between them."""
        p = self._places
        near = np.flatnonzero(self.around(top, SPOT_M))
        apart = self._positions[near] - self._positions[place]
        across = np.cos(p.heading_rad[place]) * apart[:, 1] - np.sin(p.heading_rad[place]) * apart[:, 0]
        near = near[np.abs(across) <= _SAME_LANE_M]
        weight = belief[near]
        weight = weight / weight.sum() if weight.sum() > 0 else np.where(near == place, 1.0, 0.0)
        x_m, y_m = weight @ self._positions[near]
        turn = float(weight @ turn_between(p.heading_rad[place], p.heading_rad[near]))
        return SE2(float(x_m), float(y_m), float(turn_between(0.0, p.heading_rad[place] + turn)))

    def _covariance(self, belief: DoubleArray, mode: BoolArray, guess: SE2, step_m: float) -> DoubleArray:
        p = self._places
        weight = belief[mode] / max(float(belief[mode].sum()), np.finfo(float).tiny)
        apart = self._positions[mode] - (guess.x_m, guess.y_m)
        off = np.concatenate([apart, turn_between(guess.heading_rad, p.heading_rad[mode])[:, None]], 1)
        floor = np.array([self._floor_m**2 + step_m**2 / 12] * 2 + [self._floor_rad**2])
        spread: DoubleArray = (off * weight[:, None]).T @ off
        return 0.5 * (spread + spread.T) + np.diag(floor)
