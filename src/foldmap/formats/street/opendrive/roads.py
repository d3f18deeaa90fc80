"""Roads of an OpenDRIVE map: sections of each side, lanes, widths, and the lines in the middle of lanes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from foldmap.formats.street.bounds import pieces_of
from foldmap.formats.street.opendrive.line import ReferenceLine
from foldmap.types import DoubleArray

LEFT, RIGHT = 1, -1
"""Sides of a reference line: the signs of the ids of their lanes."""
SHORTEST_M = 1e-3
"""Shorter sections hold no lanes, only links from what is before to what is after."""
_SEAM_M = 1e-9


@dataclass(frozen=True)
class Cubics:
    """a + b ds + c ds^2 + d ds^3 from each start on; 0 before the first."""

    start_m: DoubleArray
    abcd: DoubleArray

    def at(self, s_m: DoubleArray, last_m: float) -> DoubleArray:
        """Values; a record that starts at or after `last_m` belongs to what follows."""
        if not len(self.start_m):
            return np.zeros(len(s_m))
        chosen = np.searchsorted(self.start_m, np.minimum(s_m, last_m - _SEAM_M) + _SEAM_M / 2, side="right") - 1
        a, b, c, d = self.abcd[chosen.clip(0)].T
        ds = s_m - self.start_m[chosen.clip(0)]
        return np.where(chosen >= 0, a + ds * (b + ds * (c + ds * d)), 0.0)


@dataclass
class RoadLane:
    """One lane of one section; its id is negative on the right of the reference line, positive on its left.

    ``lane_type`` is None where something else of the lane is damaged than its width, ``width`` goes by the distance
    from the start of the section, ``before`` and ``after`` are ids of the lanes it is linked to at its start and end.
    """

    identity: int
    lane_type: str | None
    width: Cubics
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    speed_mps: float | None = None
    direction: str = "standard"


@dataclass
class Section:
    """Lanes of one side of a road between two distances along it; ``number`` is that of its lane section."""

    number: int
    start_m: float
    end_m: float
    lanes: dict[int, RoadLane]

    @property
    def length_m(self) -> float:
        """0 for one that only hands links on."""
        length = self.end_m - self.start_m
        return length if length >= SHORTEST_M else 0.0


@dataclass
class Road:
    """A road, the id of the junction that it is inside of, and whether its traffic keeps to the left.

    ``links`` are what is at its start and end (0, 1): (element type, id, contact point). The sections of each side,
    `LEFT` and `RIGHT`, are in the order of s: one of a single side leaves those of the other one as they are.
    """

    identity: str
    junction: str | None
    left_hand: bool
    line: ReferenceLine
    offset: Cubics
    sections: dict[int, list[Section]]
    speed_mps: float | None
    links: dict[int, tuple[str, str, str | None]] = field(default_factory=dict)

    def at_end(self, end: int) -> list[Section]:
        """The section of each side at the start (0) or end (1) of the road."""
        return [sections[-1 if end else 0] for sections in self.sections.values() if sections]

    def middles(self, section: Section, step_m: float) -> dict[int, tuple[DoubleArray, float]]:
        """The line in the middle of each lane, in the direction of s (P, 2), and the lane's mean width."""
        s = _samples(self, section, step_m)
        points, heading = self.line.at(s)
        left = np.stack([-np.sin(heading), np.cos(heading)], 1)
        edge = self.offset.at(s, section.end_m)
        found = {}
        for identity in sorted(section.lanes, key=abs):
            side = LEFT if identity > 0 else RIGHT
            width = section.lanes[identity].width.at(s - section.start_m, section.end_m - section.start_m).clip(0)
            found[identity] = points + (edge + side * width / 2)[:, None] * left, float(width.mean())
            edge = edge + side * width
        return found


def _samples(road: Road, section: Section, step_m: float) -> DoubleArray:
    """Distances at which lanes are drawn: steps, and wherever a geometry or a record starts."""
    widths = [section.start_m + lane.width.start_m for lane in section.lanes.values()]
    inside = np.concatenate([road.line.breaks_m, road.offset.start_m, *widths])
    inside = inside[(inside > section.start_m + 1e-6) & (inside < section.end_m - 1e-6)]
    marks_m = np.unique(np.concatenate([[section.start_m, section.end_m], inside]))
    pieces = [
        np.linspace(a, b, pieces_of(float(b - a), step_m), endpoint=False) for a, b in itertools.pairwise(marks_m)
    ]
    return np.append(np.concatenate(pieces), section.end_m) if pieces else marks_m
