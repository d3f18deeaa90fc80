"""The street plan: jittered junctions on a lattice, joined by curved streets; every street generated on its own."""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from foldmap.town.hashing import block_rng
from foldmap.types import DoubleArray

PITCH_M = 90.0
NODE_JITTER_M = 20.0
SEGMENT_M = 0.75
REACH_M = 34.0
"""How far from its centre line a street decides what the ground is."""

_NODE, _LINE, _STREET = 1, 2, 3
_PAVED = 0.4  # reflectance of a closed street

StreetKey = tuple[int, int, int]
"""(i, j, axis): the street that leaves junction (i, j) to the east (axis 0) or to the north (axis 1)."""


def arc_lengths(points_m: DoubleArray) -> DoubleArray:
    """Arc length at each point (N, 2) of a line, from 0."""
    arc: DoubleArray = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points_m, axis=0), axis=1))])
    return arc


def points_at(points_m: DoubleArray, arc_m: DoubleArray, at_m: DoubleArray | float) -> DoubleArray:
    """Points (..., 2) of a line at arc lengths (...), those of its ends beyond them."""
    return np.stack([np.interp(at_m, arc_m, points_m[:, k]) for k in (0, 1)], axis=-1)


@dataclass(frozen=True)
class LineStyle:
    """What all streets on one line of the lattice share: a road keeps its character over junctions."""

    rank: int
    lanes_each_way: int
    lane_width_m: float
    tram: bool
    exists_share: float


@dataclass(frozen=True)
class Street:
    """One street between two junctions."""

    key: StreetKey  # (i, j, axis)
    style: LineStyle  # of its line
    points_m: DoubleArray  # float64 (P, 2), centre line from the west or south junction, world metres
    arc_m: DoubleArray  # float64 (P,), arc length at the points
    setback_m: tuple[float, float]  # from either junction's centre to where the street's own markings begin
    base_half_m: float  # half width of the carriageway near junctions
    bike_m: tuple[float, float]  # widths (left, right), 0 where there is none: bicycle lane,
    park_m: tuple[float, float]  # parking lane,
    sidewalk_m: tuple[float, float]  # sidewalk
    tone: float  # reflectance of the asphalt
    seed: int  # of everything below the street's scale
    closed: bool = False  # to vehicles, and paved over

    @property
    def length_m(self) -> float:
        """Length of the centre line."""
        return float(self.arc_m[-1])

    @property
    def sides(self) -> tuple[tuple[int, float, float], ...]:
        """(+1, bicycle lane, parking lane) of the left side and (-1, ...) of the right one, widths in metres."""
        return (1, self.bike_m[0], self.park_m[0]), (-1, self.bike_m[1], self.park_m[1])

    @property
    def extra_m(self) -> tuple[float, float]:
        """Width added to the left and right half between junctions."""
        return self.bike_m[0] + self.park_m[0], self.bike_m[1] + self.park_m[1]

    def frame_at(self, arc_m: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Points (N, 2) and unit tangents (N, 2) at arc lengths, continued straight beyond both ends."""
        arc = np.asarray(arc_m, np.float64)
        inside = np.clip(arc, 0.0, self.length_m)
        steps = [np.clip(inside + step, 0.0, self.length_m) for step in (0, 0.5, -0.5)]
        points, ahead, behind = (points_at(self.points_m, self.arc_m, at) for at in steps)
        chord = ahead - behind
        tangent = chord / np.linalg.norm(chord, axis=-1, keepdims=True)
        return points + (arc - inside)[..., None] * tangent, tangent

    def offset_path(self, arc_m: DoubleArray, lateral_m: DoubleArray | float) -> DoubleArray:
        """Points (N, 2) at arc lengths and a lateral offset, positive to the left."""
        points, tangent = self.frame_at(arc_m)
        normal = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)
        return points + np.asarray(lateral_m)[..., None] * normal


class TownPlan:
    """The streets of a seeded town; unbounded, each generated when it is asked for.

    Some may be closed to vehicles: they stay where they are, and look otherwise.
    """

    def __init__(self, seed: int, closed: Collection[StreetKey] = ()) -> None:
        self.seed, self._closed = seed, frozenset(closed)
        self._streets: dict[StreetKey, Street | None] = {}

    def line_style(self, axis: int, index: int) -> LineStyle:
        """Style of the lattice line: row ``index`` for axis 0, column for axis 1."""
        rng = block_rng(self.seed, _LINE, axis, index)
        rank = int(rng.choice(3, p=[0.35, 0.4, 0.25]))  # 0 local, 1 collector, 2 arterial
        lanes = 2 if rank == 2 else 1
        width = float(rng.uniform(2.7, 3.2) if rank == 0 else rng.uniform(3.0, 3.7))
        tram = bool(rng.random() < (0.0, 0.3, 0.45)[rank])
        return LineStyle(rank, lanes, width, tram, (0.78, 0.93, 1.0)[rank])

    def exists(self, key: StreetKey) -> bool:
        """Whether that street was built."""
        i, j, axis = key
        style = self.line_style(axis, j if axis == 0 else i)
        return bool(block_rng(self.seed, _STREET, i, j, axis).random() < style.exists_share)

    def junction(self, i: int, j: int) -> tuple[DoubleArray, tuple[float, float]]:
        """Centre (2,) of junction (i, j) and the directions in which its eastern and northern streets leave."""
        rng = block_rng(self.seed, _NODE, i, j)
        centre = np.array([i, j]) * PITCH_M + rng.uniform(-NODE_JITTER_M, NODE_JITTER_M, 2)
        turn = rng.uniform(-0.4, 0.4)
        return centre, (turn, math.pi / 2 + turn + rng.uniform(-0.25, 0.25))

    def crossing_half_m(self, i: int, j: int, axis: int) -> float:
        """Half width of the widest street that crosses ``axis`` at junction (i, j); 0 where none does."""
        cross = 1 - axis
        back = (i - 1, j, cross) if cross == 0 else (i, j - 1, cross)
        if not (self.exists((i, j, cross)) or self.exists(back)):
            return 0.0
        return _base_half_m(self.line_style(cross, j if cross == 0 else i))

    def street(self, key: StreetKey) -> Street | None:
        """Return the street, or None where none was built."""
        if key not in self._streets:
            if len(self._streets) > 4096:
                self._streets.clear()  # bounded memory; a street is cheap to generate again
            self._streets[key] = self._generate(key) if self.exists(key) else None
        return self._streets[key]

    def streets_near(self, west_m: float, south_m: float, east_m: float, north_m: float) -> list[Street]:
        """All streets that can decide what lies in the box, in a fixed order."""
        margin = PITCH_M + 2 * NODE_JITTER_M + REACH_M
        found = []
        for i in range(math.floor((west_m - margin) / PITCH_M), math.ceil((east_m + margin) / PITCH_M) + 1):
            for j in range(math.floor((south_m - margin) / PITCH_M), math.ceil((north_m + margin) / PITCH_M) + 1):
                for axis in (0, 1):
                    street = self.street((i, j, axis))
                    if street is None:
                        continue
                    low, high = street.points_m.min(0) - REACH_M, street.points_m.max(0) + REACH_M
                    if low[0] <= east_m and high[0] >= west_m and low[1] <= north_m and high[1] >= south_m:
                        found.append(street)
        return found

    def _generate(self, key: StreetKey) -> Street:
        i, j, axis = key
        style = self.line_style(axis, j if axis == 0 else i)
        ahead = (i + 1, j) if axis == 0 else (i, j + 1)
        start, directions = self.junction(i, j)
        end, end_directions = self.junction(*ahead)
        points, arc = _hermite(start, directions[axis], end, end_directions[axis])
        rng = block_rng(self.seed, _STREET, i, j, axis, 7)
        setbacks = []
        for node in ((i, j), ahead):
            crossing = self.crossing_half_m(*node, axis)
            setbacks.append(crossing * 1.12 + 2.5 if crossing else 0.0)
        bike_share, park_share = ((0.05, 0.7), (0.35, 0.5), (0.4, 0.25))[style.rank]
        bike = float(rng.uniform(1.3, 1.8)) if rng.random() < bike_share else 0.0
        park = tuple(float(rng.uniform(2.0, 2.4)) if rng.random() < park_share else 0.0 for _ in range(2))
        walk = rng.uniform(1.6, 5.0, 2)
        tone, seed = float(np.clip(rng.normal(0.23, 0.045), 0.11, 0.36)), int(rng.integers(1 << 30))
        back, widths = (setbacks[0], setbacks[1]), ((bike, bike), (park[0], park[1]), (float(walk[0]), float(walk[1])))
        street = Street(key, style, points, arc, back, _base_half_m(style), *widths, tone, seed)
        return replace(street, tone=_PAVED, closed=True) if key in self._closed else street


def _base_half_m(style: LineStyle) -> float:
    return style.lanes_each_way * style.lane_width_m + 0.35 + (0.4 if style.tram else 0.0)


def _hermite(start: DoubleArray, start_rad: float, end: DoubleArray, end_rad: float) -> tuple[DoubleArray, DoubleArray]:
    """Sample a cubic Hermite curve between two points and headings; returns points (P, 2) and arc lengths (P,)."""
    chord = float(np.linalg.norm(end - start))
    t = np.linspace(0.0, 1.0, 400)[:, None]
    tangent0 = chord * np.array([math.cos(start_rad), math.sin(start_rad)])
    tangent1 = chord * np.array([math.cos(end_rad), math.sin(end_rad)])
    dense = (2 * t**3 - 3 * t**2 + 1) * start + (t**3 - 2 * t**2 + t) * tangent0
    dense = dense + (-2 * t**3 + 3 * t**2) * end + (t**3 - t**2) * tangent1
    arc = arc_lengths(dense)
    points = points_at(dense, arc, np.linspace(0.0, arc[-1], max(2, math.ceil(arc[-1] / SEGMENT_M)) + 1))
    return points, arc_lengths(points)
