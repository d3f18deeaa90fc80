"""Reading the roads of an OpenDRIVE file; what of a road is damaged is dropped and noted, the rest is kept."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.street.opendrive.elements import Element
from foldmap.formats.street.opendrive.roads import (
    LEFT,
    RIGHT,
    SHORTEST_M,
    Cubics,
    ReferenceLine,
    Road,
    RoadLane,
    Section,
    reference_line,
)
from foldmap.formats.street.reading import FARTHEST_M, LeftOut
from foldmap.formats.street.xml_stream import metres_a_second, needed, real, whole

_SLIGHT_M, _MOST_NEGATIVE_M = 0.01, 0.5
_WIDEST_M = 1000.0
_NO_LIMIT = {"no limit", "undefined"}
_SIDES = {"left": LEFT, "right": RIGHT}
_Found: TypeAlias = tuple[int, Element]
"""The id of a lane, and its element."""


def read_road(element: Element, lane_types: Collection[str], left_out: LeftOut) -> Road:
    """One road; lanes (those of the ``lane_types`` are lost lanes), sections, links that are damaged are noted."""
    identity = needed(element.attributes, "id", "a road")
    what = f"road {identity}"
    line = reference_line(element, what, left_out)
    with left_out.dropping("road length, for which that of the geometries counts"):
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
    inside = None if junction in ("-1", "") else junction
    offset = _cubics(lanes.all("laneOffset"), "s", f"laneOffset of {what}")
    sections = _sections(lanes, line, what, lane_types, left_out)
    speed_mps = _speed([type_.one("speed") for type_ in element.all("type")], what, left_out)
    links = _links(element.one("link"), what, left_out)
    return Road(identity, inside, rule == "LHT", line, offset, sections, speed_mps, links)


def _links(link: Element | None, what: str, left_out: LeftOut) -> dict[int, tuple[str, str, str | None]]:
    found = {}
    for end, name in enumerate(("predecessor", "successor")):
        there = link.one(name) if link else None
        if there is None:
            continue
        kind = there.attributes.get("elementType", "road")
        contact = there.attributes.get("contactPoint")
        if kind not in ("road", "junction") or (kind == "road" and contact not in ("start", "end")):
            left_out.fault("road link", f"the {name} of {what} is a {kind[:40]!r} with contact point {contact!r}")
            continue
        with left_out.dropping("road link"):
            found[end] = (kind, needed(there.attributes, "elementId", f"the {name} of {what}"), contact)
    return found


def _sections(
    lanes: Element, line: ReferenceLine, what: str, lane_types: Collection[str], left_out: LeftOut
) -> dict[int, list[Section]]:
    """Sections of each side, in the order of s, between the start and the end of the road."""
    elements = lanes.all("laneSection")
    if not elements:
        raise MapInputError(f"{what} has no lane section", "give each road at least one")
    starts = [real(each.attributes, "s", f"a lane section of {what}") for each in elements]
    if any(b < a for a, b in itertools.pairwise(starts)):
        left_out.fault("order of lane sections", f"the lane sections of {what} are not in the order of s: sorted")
    order = sorted(range(len(starts)), key=starts.__getitem__)
    of_side = [_by_side(each, f"{what}, section {number}", left_out) for number, each in enumerate(elements)]
    found: dict[int, list[Section]] = {LEFT: [], RIGHT: []}
    for side in found:
        mine = [number for number in order if _covers(elements[number], of_side[number], side)]
        bounds = [min(max(starts[number], 0.0), line.length_m) for number in mine] + [line.length_m]
        for number, start, end in zip(mine, bounds, bounds[1:], strict=False):
            found[side].append(Section(number, start, end, {}))
            _fill(found[side][-1], of_side[number][side], what, lane_types, left_out)
    for number, start in enumerate(starts):
        of_it = [each for sections in found.values() for each in sections if each.number == number]
        if of_it and not any(each.length_m for each in of_it):
            extent = f"starts at {start:g} m of {line.length_m:g}" if start > line.length_m else "has no length"
            left_out.fault("lane section", f"lane section {number} of {what} {extent}")
    return found


def _by_side(section: Element, where: str, left_out: LeftOut) -> dict[int, list[_Found]]:
    """The lanes of a section left and right of the reference line, from the innermost on: their ids say which side."""
    found: dict[int, list[_Found]] = {LEFT: [], RIGHT: []}
    for name, side in _SIDES.items():
        group = section.one(name)
        for each in group.all("lane") if group else []:
            with left_out.dropping("lane", 1):
                identity = whole(each.attributes, "id", f"a lane of {where}")
                own = LEFT if identity > 0 else RIGHT
                if identity and own != side:
                    left_out.fault("side of a lane", f"lane {identity} of {where} is on the {name}, its id counts")
                if identity:
                    found[own].append((identity, each))
    return {side: sorted(rows, key=lambda row: abs(row[0])) for side, rows in found.items()}


def _covers(section: Element, of_side: dict[int, list[_Found]], side: int) -> bool:
    """Whether a lane section says anything of a side: one of a single side leaves the other as it was before."""
    single = section.attributes.get("singleSide", "false").lower() in ("true", "1")
    return not single or bool(of_side[side]) or not any(of_side.values())


def _fill(section: Section, elements: list[_Found], what: str, lane_types: Collection[str], left_out: LeftOut) -> None:
    """Read the lanes of a side. Where one cannot be placed, neither can those beyond it."""
    where = f"{what}, section {section.number}"
    damaged: int | None = None
    for identity, each in elements:
        wanted = int(each.attributes.get("type") in lane_types)
        with left_out.dropping("lane", wanted, section.length_m * wanted):
            if identity in section.lanes:
                raise MapInputError(f"{where}: lane {identity} is there twice", "drop one")
            if damaged is not None:
                raise MapInputError(f"lane {identity} of {where} lies beyond lane {damaged}, which is damaged", "")
            damaged = identity
            section.lanes[identity] = _lane(each, identity, section, where, wanted, left_out)
            damaged = None


def _lane(element: Element, identity: int, section: Section, where: str, wanted: int, left_out: LeftOut) -> RoadLane:
    """One lane; where its width cannot be known it is refused."""
    what = f"lane {identity} of {where}"
    borders, records = element.all("border"), element.all("width")
    if not records:
        has = "borders instead of a width" if borders else "no width"
        raise MapInputError(f"{what} has {has}", "give a width record")
    left_out["lane border beside a width, which counts"] += bool(borders)
    left_out["access rule of a lane"] += len(element.all("access"))
    lane = RoadLane(identity, None, _width(_cubics(records, "sOffset", f"width of {what}"), section, what, left_out))
    with left_out.dropping("lane", wanted, section.length_m * wanted):
        direction = element.attributes.get("direction", "standard")
        if direction not in ("standard", "reversed", "both"):
            raise MapInputError(f"{what} has the direction {direction[:40]!r}", "give standard, reversed or both")
        lane = replace(lane, lane_type=needed(element.attributes, "type", what), direction=direction)
    link = element.one("link")
    for name, ids in (("predecessor", lane.before), ("successor", lane.after)):
        for each in link.all(name) if link else []:
            with left_out.dropping("lane link"):
                ids.append(whole(each.attributes, "id", f"the {name} of {what}"))
    lane.speed_mps = _speed(list(element.all("speed")), what, left_out)
    return lane


def _width(width: Cubics, section: Section, what: str, left_out: LeftOut) -> Cubics:
    """The width, after a look at its least value."""
    length = section.end_m - section.start_m
    if length < SHORTEST_M:
        return width
    s = np.linspace(0, length, max(2, min(1000, int(length) + 2)))
    values = width.at(s, length)
    if values.max() > _WIDEST_M:
        raise MapInputError(f"{what} is {values.max():.3g} m wide", "give metres")
    if values.min() < -_MOST_NEGATIVE_M:
        where = f"at s = {section.start_m + s[values.argmin()]:.6g}"
        raise MapInputError(f"{what} is {values.min():.3g} m wide {where}", "give widths of 0 or more")
    if values.min() < -_SLIGHT_M:
        left_out.fault("lane width, taken as 0", f"{what} is {values.min():.3g} m wide at its narrowest")
    return width


def _cubics(elements: list[Element], key: str, what: str) -> Cubics:
    """Records by where they start, in that order."""
    rows = [[real(each.attributes, name, what) for name in (key, "a", "b", "c", "d")] for each in elements]
    table = np.array(rows, np.float64).reshape(-1, 5)
    if (np.abs(table) > FARTHEST_M).any():
        raise MapInputError(f"{what} has numbers beyond {FARTHEST_M:g}", "give metres")
    table = table[np.argsort(table[:, 0], kind="stable")]
    return Cubics(table[:, 0], table[:, 1:])


def _speed(elements: list[Element | None], what: str, left_out: LeftOut) -> float | None:
    """The lowest limit, in metres a second."""
    found = []
    for each in elements:
        if each is None or each.attributes.get("max") in _NO_LIMIT:
            continue
        with left_out.dropping("speed limit"):
            limit = needed(each.attributes, "max", f"the speed limit of {what}")
            try:
                found.append(metres_a_second(limit, each.attributes.get("unit", "m/s")))
            except ValueError as error:
                left_out.fault("speed limit", f"the speed limit of {what} {error}")
    return min(found, default=None)
