"""Which ends of OpenDRIVE lanes meet: through sections, roads and junctions."""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

from foldmap.errors import MapInputError
from foldmap.formats.street_opendrive_roads import Road
from foldmap.formats.street_opendrive_xml import Element
from foldmap.formats.street_xml import needed, whole

Place: TypeAlias = tuple[str, int, int]
"""Road, section, lane."""
End: TypeAlias = tuple[Place, int]
"""A lane's start (0) or end (1) in the direction of s."""
Contact: TypeAlias = tuple[End, End]


def contacts(roads: dict[str, Road], junctions: list[Element], left_out: Counter[str]) -> set[Contact]:
    """All pairs of lane ends that the map links, each once.

    Raises:
        MapInputError: a link to a road, junction or lane that is not there; the message names both ends.
    """
    known = {needed(each.attributes, "id", "a junction") for each in junctions}
    found: set[Contact] = set()
    for road in roads.values():
        _through_sections(road, found)
        for end in road.links:
            _to_road(roads, road, end, known, found)
    for junction in junctions:
        if junction.attributes.get("type") == "virtual":
            left_out["virtual junction"] += 1
            continue
        for connection in junction.all("connection"):
            _connection(roads, junction, connection, found)
    return found


def _add(found: set[Contact], one: End, two: End) -> None:
    found.add((one, two) if one <= two else (two, one))


def _place(roads: dict[str, Road], road: str, section: int, lane: int, what: str) -> Place:
    if lane not in roads[road].sections[section].lanes:
        raise MapInputError(f"{what} is linked to lane {lane} of road {road}, which is not there", "mend the link")
    return road, section, lane


def _through_sections(road: Road, found: set[Contact]) -> None:
    roads = {road.identity: road}
    for number, section in enumerate(road.sections):
        for identity, lane in section.lanes.items():
            what = f"lane {identity} of road {road.identity}, section {number},"
            here = (road.identity, number, identity)
            for ids, end, other in ((lane.before, 0, number - 1), (lane.after, 1, number + 1)):
                if 0 <= other < len(road.sections):
                    for each in ids:
                        if each:
                            _add(found, (here, end), (_place(roads, road.identity, other, each, what), 1 - end))


def _side(road: Road, end: int) -> int:
    """The section at an end of a road."""
    return len(road.sections) - 1 if end else 0


def _to_road(roads: dict[str, Road], road: Road, end: int, junctions: set[str], found: set[Contact]) -> None:
    kind, identity, contact = road.links[end]
    name = "successor" if end else "predecessor"
    if identity not in (roads if kind == "road" else junctions):
        raise MapInputError(
            f"the {name} of road {road.identity} is {kind} {identity}, which is not there", "mend the link"
        )
    if kind == "junction":
        return  # its connections say which lanes meet
    section, other_end = _side(road, end), int(contact == "end")
    for lane in road.sections[section].lanes.values():
        what = f"lane {lane.identity} of road {road.identity}, section {section},"
        for each in lane.after if end else lane.before:
            if each:
                there = _place(roads, identity, _side(roads[identity], other_end), each, what)
                _add(found, ((road.identity, section, lane.identity), end), (there, other_end))


def _connection(roads: dict[str, Road], junction: Element, connection: Element, found: set[Contact]) -> None:
    what = f"connection {connection.attributes.get('id', '?')} of junction {junction.attributes['id']}"
    direct = "linkedRoad" in connection.attributes
    into, through = (
        needed(connection.attributes, key, what)
        for key in ("incomingRoad", "linkedRoad" if direct else "connectingRoad")
    )
    for road in (into, through):
        if road not in roads:
            raise MapInputError(f"{what} is of road {road}, which is not there", "mend the junction")
    contact = needed(connection.attributes, "contactPoint", what)
    if contact not in ("start", "end"):
        raise MapInputError(f"{what} has the contact point {contact[:40]!r}", "give start or end")
    there = int(contact == "end")
    here = _incoming_end(roads[into], roads[through], there, junction.attributes["id"], what)
    from_section, to_section = _side(roads[into], here), _side(roads[through], there)
    links = [
        (whole(each.attributes, "from", what), whole(each.attributes, "to", what))
        for each in connection.all("laneLink")
    ]
    if not links:  # after the standard: lanes of the same id
        lanes = roads[through].sections[to_section].lanes
        links = [(each, each) for each in roads[into].sections[from_section].lanes if each in lanes]
    for one, two in links:
        if one and two:
            start = _place(roads, into, from_section, one, what)
            _add(found, (start, here), (_place(roads, through, to_section, two, what), there))


def _incoming_end(road: Road, through: Road, there: int, junction: str, what: str) -> int:
    """The end of the incoming road that is at the junction."""
    link = through.links.get(there)
    if link is not None and link[0] == "road" and link[1] == road.identity:
        return int(link[2] == "end")
    ends = [end for end, (kind, identity, _) in road.links.items() if kind == "junction" and identity == junction]
    if len(ends) != 1:
        raise MapInputError(
            f"{what}: {'both ends' if ends else 'no end'} of road {road.identity} could be at the junction",
            "link the connecting road to it with a contact point",
        )
    return ends[0]
