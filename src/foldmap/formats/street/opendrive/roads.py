"""Roads of an OpenDRIVE map: the reference line, sections of each side, lanes, widths, and the middle of lanes.

Reference lines are lines, arcs, spirals, poly3 and paramPoly3 by arc length.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_simpson
from scipy.special import fresnel

from foldmap.errors import MapInputError
from foldmap.formats.street.bounds import pieces_of
from foldmap.formats.street.opendrive.elements import Element
from foldmap.formats.street.reading import FARTHEST_M, LeftOut
from foldmap.formats.street.xml_stream import real
from foldmap.types import DoubleArray, IntArray

_ComplexArray: TypeAlias = NDArray[np.complex128]

_STRAIGHT = 1e-10
"""Curvatures (1/m) and their rates (1/m2) below this are none: over a kilometre they move a line by 0.2 mm."""
_LONGEST_M = 1e6
_POLY_STEP_M = 0.05
_GEOMETRIES = ("line", "arc", "spiral", "poly3", "paramPoly3")


@dataclass(frozen=True)
class Piece:
    """One geometry of a plan view: where it starts, how long it is, its kind and numbers."""

    s_m: float
    x_m: float
    y_m: float
    heading_rad: float
    length_m: float
    kind: str
    numbers: tuple[float, ...]

    def at(self, s_m: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Points (N, 2) and headings (N,) at distances from the start of the road."""
        along = s_m - self.s_m
        if self.kind in ("poly3", "paramPoly3"):
            local, turn = self._poly3(along) if self.kind == "poly3" else self._param_poly3(along)
        else:  # no curvature (a line), one (an arc), or one at each end (a spiral)
            curvatures = self.numbers or (0.0,)
            local, turn = _clothoid(along, curvatures[0], (curvatures[-1] - curvatures[0]) / self.length_m)
        placed = self.x_m + 1j * self.y_m + local * np.exp(1j * self.heading_rad)
        return np.stack([placed.real, placed.imag], 1), self.heading_rad + turn

    def _poly3(self, along: DoubleArray) -> tuple[_ComplexArray, DoubleArray]:
        """v(u) is given, arc length is asked for: u is found from the integral of sqrt(1 + v'^2), tabulated."""
        a, b, c, d = self.numbers
        u = np.linspace(0, self.length_m, max(65, int(self.length_m / _POLY_STEP_M) + 1))
        length = cumulative_simpson(np.hypot(1, b + u * (2 * c + u * 3 * d)), x=u, initial=0)
        at = np.interp(along, length, u)
        local = at + 1j * (a + at * (b + at * (c + at * d)))
        return local, np.arctan(b + at * (2 * c + at * 3 * d))

    def _param_poly3(self, along: DoubleArray) -> tuple[_ComplexArray, DoubleArray]:
        au, bu, cu, du, av, bv, cv, dv, normalized = self.numbers
        p = along / self.length_m if normalized else along
        local = au + p * (bu + p * (cu + p * du)) + 1j * (av + p * (bv + p * (cv + p * dv)))
        slope_u, slope_v = bu + p * (2 * cu + p * 3 * du), bv + p * (2 * cv + p * 3 * dv)
        return local, np.arctan2(slope_v, slope_u)


def _clothoid(along: DoubleArray, curvature: float, rate: float) -> tuple[_ComplexArray, DoubleArray]:
    """Integral of exp(i (k s + c s^2 / 2)): a line, an arc, or by completing the square two Fresnel integrals."""
    turn = along * (curvature + rate * along / 2)
    if abs(rate) < _STRAIGHT:
        if abs(curvature) < _STRAIGHT:
            return along.astype(np.complex128), turn
        arc: _ComplexArray = (np.exp(1j * turn) - 1) / (1j * curvature)
        return arc, turn
    scale = np.sqrt(abs(rate) / np.pi)
    origin = curvature / rate
    sine, cosine = fresnel(scale * (along + origin))
    sine_0, cosine_0 = fresnel(scale * origin)
    step = (cosine - cosine_0) + 1j * np.sign(rate) * (sine - sine_0)
    local: _ComplexArray = step * (np.exp(-1j * curvature * origin / 2) / scale)
    return local, turn


@dataclass(frozen=True)
class ReferenceLine:
    """Pieces in the order of s."""

    pieces: tuple[Piece, ...]

    @property
    def length_m(self) -> float:
        """Where the last piece ends."""
        return self.pieces[-1].s_m + self.pieces[-1].length_m

    @property
    def breaks_m(self) -> DoubleArray:
        """Where pieces start, float64."""
        return np.array([piece.s_m for piece in self.pieces])

    def at(self, s_m: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Points (N, 2) and headings (N,) at distances along the road."""
        points, headings = np.empty((len(s_m), 2)), np.empty(len(s_m))
        which: IntArray = (np.searchsorted(self.breaks_m, s_m, side="right") - 1).clip(0).astype(np.int64)
        for number in np.unique(which):
            mine = which == number
            points[mine], headings[mine] = self.pieces[number].at(s_m[mine])
        return points, headings


def reference_line(road: Element, what: str, left_out: LeftOut) -> ReferenceLine:
    """The plan view of a road, its pieces in the order of s; those of no length are dropped."""
    view = road.one("planView")
    pieces = [_piece(each, what) for each in (view.all("geometry") if view else [])]
    if not pieces:
        raise MapInputError(f"{what} has no plan view", "give a reference line of geometries")
    empty = [piece for piece in pieces if not piece.length_m > 0]
    if len(empty) == len(pieces):
        where = f"the geometry of {what} at s = {pieces[0].s_m:g}"
        raise MapInputError(f"{where} is {pieces[0].length_m} m long", "give a positive length, or drop it")
    for piece in empty:
        left_out.fault("geometry", f"the geometry of {what} at s = {piece.s_m:g} is {piece.length_m:g} m long")
    kept = sorted((piece for piece in pieces if piece.length_m > 0), key=lambda piece: piece.s_m)
    if any(b.s_m <= a.s_m for a, b in itertools.pairwise(kept)):
        raise MapInputError(f"two geometries of {what} start at one place", "drop one")
    line = ReferenceLine(tuple(kept))
    if line.length_m > _LONGEST_M:
        raise MapInputError(f"{what} is {line.length_m:g} m long", "give metres")
    return line


def _piece(geometry: Element, what: str) -> Piece:
    start = [real(geometry.attributes, key, f"a geometry of {what}") for key in ("s", "x", "y", "hdg", "length")]
    where = f"the geometry of {what} at s = {start[0]:g}"
    shapes = [child for child in geometry.children if child.name in _GEOMETRIES]
    if len(shapes) != 1:
        names = ", ".join(child.name for child in geometry.children) or "nothing"
        raise MapInputError(f"{where} holds {names}", f"give one of {', '.join(_GEOMETRIES)}")
    shape = shapes[0]
    its = f"the {shape.name} of {what} at s = {start[0]:g}"
    keys = {
        "line": (), "arc": ("curvature",), "spiral": ("curvStart", "curvEnd"), "poly3": ("a", "b", "c", "d"),
        "paramPoly3": ("aU", "bU", "cU", "dU", "aV", "bV", "cV", "dV"),
    }[shape.name]  # fmt: skip
    numbers = [real(shape.attributes, key, its) for key in keys]
    if shape.name == "paramPoly3":
        span = shape.attributes.get("pRange", "normalized")
        if span not in ("arcLength", "normalized"):
            raise MapInputError(f"pRange of {its} is {span[:40]!r}", "give arcLength or normalized")
        numbers.append(float(span == "normalized"))
    s_m, x_m, y_m, heading_rad, length_m = start
    if max(map(abs, [*start, *numbers])) > FARTHEST_M:
        raise MapInputError(f"{where} has numbers beyond {FARTHEST_M:g}", "give metres")
    return Piece(s_m, x_m, y_m, heading_rad, length_m, shape.name, tuple(numbers))


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
    ends = itertools.pairwise(marks_m)
    pieces = [np.linspace(a, b, pieces_of(float(b - a), step_m), endpoint=False) for a, b in ends]
    return np.append(np.concatenate(pieces), section.end_m) if pieces else marks_m
