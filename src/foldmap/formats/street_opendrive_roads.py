"""Roads of an OpenDRIVE file: lane sections, lanes, widths, and the lines in the middle of lanes."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.street_opendrive_line import ReferenceLine, reference_line
from foldmap.formats.street_opendrive_xml import Element
from foldmap.formats.street_xml import needed, real, whole
from foldmap.types import DoubleArray

_MOST_NEGATIVE_M = -0.01
_SEAM_M = 1e-9
_UNITS = {"m/s": 1.0, "km/h": 1 / 3.6, "mph": 0.44704}
_NO_LIMIT = {"no limit", "undefined"}


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
class Lane:
    """One lane of one section.

    Attributes:
        identity: negative on the right of the reference line, positive on its left.
        lane_type: OpenDRIVE's word.
        width: by distance from the start of the section.
        before, after: ids of the lanes it is linked to at the start and end of the section.
        speed_mps: the lowest limit, None if there is none.
        direction: "standard", "reversed" or "both".
    """

    identity: int
    lane_type: str
    width: Cubics
    before: list[int]
    after: list[int]
    speed_mps: float | None
    direction: str


@dataclass
class Section:
    """Lanes between two distances along a road."""

    start_m: float
    end_m: float
    lanes: dict[int, Lane]


@dataclass
class Road:
    """A road.

    Attributes:
        identity: its id.
        junction: id of the junction it is inside of, None if of none.
        links: what is at its start and end (0, 1): (element type, id, contact point).
        left_hand: whether traffic keeps to the left.
    """

    identity: str
    junction: str | None
    left_hand: bool
    line: ReferenceLine
    offset: Cubics
    sections: list[Section]
    speed_mps: float | None
    links: dict[int, tuple[str, str, str | None]] = field(default_factory=dict)

    def middles(self, section: Section, step_m: float) -> dict[int, tuple[DoubleArray, float]]:
        """The line in the middle of each lane, in the direction of s (P, 2), and the lane's mean width.

        Raises:
            MapInputError: a width below 0; the message names road and lane.
        """
        s = _samples(self, section, step_m)
        points, heading = self.line.at(s)
        left = np.stack([-np.sin(heading), np.cos(heading)], 1)
        base = self.offset.at(s, section.end_m)
        found = {}
        for sign in (1, -1):
            edge = base
            for identity in sorted((lane for lane in section.lanes if lane * sign > 0), key=abs):
                width = section.lanes[identity].width.at(s - section.start_m, section.end_m - section.start_m)
                if not width.min() >= _MOST_NEGATIVE_M:
                    raise MapInputError(
                        f"lane {identity} of road {self.identity} is {width.min():.3g} m wide at s = "
                        f"{s[width.argmin()]:.6g}",
                        "give widths of 0 or more",
                    )
                width = np.maximum(width, 0)
                found[identity] = points + (edge + sign * width / 2)[:, None] * left, float(width.mean())
                edge = edge + sign * width
        return found


def _samples(road: Road, section: Section, step_m: float) -> DoubleArray:
    """Distances at which lanes are drawn: steps, and wherever a geometry or a record starts."""
    marks = [road.line.breaks_m, road.offset.start_m]
    marks += [section.start_m + lane.width.start_m for lane in section.lanes.values()]
    inside = np.concatenate(marks)
    inside = inside[(inside > section.start_m + 1e-6) & (inside < section.end_m - 1e-6)]
    marks_m = np.unique(np.concatenate([[section.start_m, section.end_m], inside]))
    pieces = [
        np.linspace(a, b, max(1, int(np.ceil((b - a) / step_m - 1e-9))), endpoint=False)
        for a, b in itertools.pairwise(marks_m)
    ]
    return np.append(np.concatenate(pieces), section.end_m) if pieces else marks_m


def read_road(element: Element, left_out: Counter[str]) -> Road:
    """One road.

    Raises:
        MapInputError: it is damaged; the message names the road and the lane.
    """
    identity = needed(element.attributes, "id", "a road")
    what = f"road {identity}"
    line = reference_line(element, what)
    if abs(real(element.attributes, "length", what) - line.length_m) > 0.5:
        left_out["road whose length is not that of its geometries, which count"] += 1
    tilt = element.one("lateralProfile")
    if tilt is not None and any(child.name in ("superelevation", "crossfall", "shape") for child in tilt.children):
        left_out["lateral profile of a road, laid flat"] += 1
    lanes = element.one("lanes")
    if lanes is None:
        raise MapInputError(f"{what} has no lanes", "give each road at least one lane section")
    rule = element.attributes.get("rule", "RHT")
    if rule not in ("RHT", "LHT"):
        raise MapInputError(f"{what} has the rule {rule[:40]!r}", "give RHT or LHT")
    junction = element.attributes.get("junction", "-1")
    return Road(
        identity,
        None if junction in ("-1", "") else junction,
        rule == "LHT",
        line,
        _cubics(lanes.all("laneOffset"), "s", f"laneOffset of {what}"),
        _sections(lanes, line.length_m, what, left_out),
        _speed([type_.one("speed") for type_ in element.all("type")], what),
        _links(element.one("link"), what),
    )


def _links(link: Element | None, what: str) -> dict[int, tuple[str, str, str | None]]:
    found = {}
    for end, name in enumerate(("predecessor", "successor")):
        there = link.one(name) if link else None
        if there is None:
            continue
        kind = there.attributes.get("elementType", "road")
        contact = there.attributes.get("contactPoint")
        if kind not in ("road", "junction") or (kind == "road" and contact not in ("start", "end")):
            raise MapInputError(
                f"the {name} of {what} is a {kind[:40]!r} with contact point {contact!r}",
                "give a junction, or a road with start or end",
            )
        found[end] = (kind, needed(there.attributes, "elementId", f"the {name} of {what}"), contact)
    return found


def _sections(lanes: Element, length_m: float, what: str, left_out: Counter[str]) -> list[Section]:
    elements = lanes.all("laneSection")
    starts = [real(each.attributes, "s", f"a lane section of {what}") for each in elements]
    if not elements:
        raise MapInputError(f"{what} has no lane section", "give each road at least one")
    ends = [*starts[1:], length_m]
    found = []
    for number, (element, start, end) in enumerate(zip(elements, starts, ends, strict=True)):
        if end < start - 1e-6:
            raise MapInputError(f"lane section {number} of {what} is from {start} to {end} m", "sort them by s")
        section = Section(start, max(start, end), {})
        for side in ("left", "center", "right"):
            group = element.one(side)
            for each in group.all("lane") if group else []:
                lane = _lane(each, side, f"{what}, section {number}", left_out)
                if lane is None:
                    continue
                if lane.identity in section.lanes:
                    raise MapInputError(f"{what}, section {number}: lane {lane.identity} is there twice", "drop one")
                section.lanes[lane.identity] = lane
        found.append(section)
    return found


def _lane(element: Element, side: str, where: str, left_out: Counter[str]) -> Lane | None:
    identity = whole(element.attributes, "id", f"a lane of {where}")
    what = f"lane {identity} of {where}"
    if side == "center" or identity == 0:
        return None
    if (identity > 0) != (side == "left"):
        raise MapInputError(f"{what} is on the {side}", "ids are positive on the left, negative on the right")
    width = element.all("width")
    if not width:
        raise MapInputError(f"{what} has no width", "give a width record")
    link = element.one("link")
    direction = element.attributes.get("direction", "standard")
    if direction not in ("standard", "reversed", "both"):
        raise MapInputError(f"{what} has the direction {direction[:40]!r}", "give standard, reversed or both")
    left_out["access rule of a lane"] += len(element.all("access"))
    return Lane(
        identity,
        needed(element.attributes, "type", what),
        _cubics(width, "sOffset", f"width of {what}"),
        [
            whole(each.attributes, "id", f"the predecessor of {what}")
            for each in (link.all("predecessor") if link else [])
        ],
        [whole(each.attributes, "id", f"the successor of {what}") for each in (link.all("successor") if link else [])],
        _speed(list(element.all("speed")), what),
        direction,
    )


def _cubics(elements: list[Element], key: str, what: str) -> Cubics:
    rows = [[real(each.attributes, name, what) for name in (key, "a", "b", "c", "d")] for each in elements]
    table = np.array(rows, np.float64).reshape(-1, 5)
    if (np.diff(table[:, 0]) < 0).any():
        raise MapInputError(f"the records of {what} are out of order", f"sort them by {key}")
    return Cubics(table[:, 0], table[:, 1:])


def _speed(elements: list[Element | None], what: str) -> float | None:
    """The lowest limit, in metres a second."""
    found = []
    for each in elements:
        if each is None or each.attributes.get("max") in _NO_LIMIT:
            continue
        unit = each.attributes.get("unit", "m/s")
        if unit not in _UNITS:
            raise MapInputError(f"the speed limit of {what} is in {unit[:40]!r}", f"give one of {', '.join(_UNITS)}")
        value = real(each.attributes, "max", f"the speed limit of {what}")
        if value < 0:
            raise MapInputError(f"the speed limit of {what} is {value}", "give none that is negative")
        found.append(value * _UNITS[unit])
    return min(found, default=None)
