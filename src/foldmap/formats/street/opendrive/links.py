"""Which ends of OpenDRIVE lanes meet: through sections, roads and junctions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from foldmap.errors import MapInputError
from foldmap.formats.street.opendrive.elements import Element
from foldmap.formats.street.opendrive.roads import Road, Section
from foldmap.formats.street.reading import LeftOut
from foldmap.formats.street.xml_stream import needed, whole

Place: TypeAlias = tuple[str, int, int]
"""Road, section, lane."""
End: TypeAlias = tuple[Place, int]
"""A lane's start (0) or end (1) in the direction of s."""
Contact: TypeAlias = tuple[End, End]


def contacts(roads: dict[str, Road], junctions: list[Element], left_out: LeftOut) -> set[Contact]:
    """All pairs of lane ends that the map links, each once; links to what is not there are noted and dropped.

    Lanes of sections without length are not among them: what they link on both sides meets directly.
    """
    links = _Links(roads, {each.attributes.get("id", "") for each in junctions}, left_out)
    for road in roads.values():
        links.through_sections(road)
        for end in road.links:
            with left_out.dropping("road link"):
                links.to_road(road, end)
    for junction in junctions:
        if junction.attributes.get("type") == "virtual":
            left_out["virtual junction"] += 1
            continue
        for connection in junction.all("connection"):
            with left_out.dropping("junction connection"):
                links.connection(junction, connection)
    empty = (
        (road.identity, section.number, lane)
        for road in roads.values()
        for section in itertools.chain(*road.sections.values())
        for lane in (section.lanes if not section.length_m else ())
    )
    return _contracted(links.found, empty)


def _contracted(found: set[Contact], gone: Iterable[Place]) -> set[Contact]:
    """Contacts without some places: what met them at one end meets what met them at the other."""
    there: dict[End, set[End]] = {}
    for one, two in found:
        there.setdefault(one, set()).add(two)
        there.setdefault(two, set()).add(one)
    for place in gone:
        before, after = (there.pop((place, end), set()) - {(place, 0), (place, 1)} for end in (0, 1))
        for mine, others in ((before, after), (after, before)):
            for end in mine:
                there[end] = (there[end] - {(place, 0), (place, 1)}) | (others - {end})
    return {_contact(one, two) for one, met in there.items() for two in met}


def _contact(one: End, two: End) -> Contact:
    return (one, two) if one <= two else (two, one)


@dataclass
class _Links:
    """What is found, as the map is gone through."""

    roads: dict[str, Road]
    junctions: set[str]
    left_out: LeftOut
    found: set[Contact] = field(default_factory=set)

    def _lane(self, sections: Iterable[Section | None], road: str, lane: int, what: str) -> Place | None:
        """The lane of some sections, if it is there."""
        for section in sections:
            if section is not None and lane in section.lanes:
                return road, section.number, lane
        self.left_out.fault("lane link", f"{what} is linked to lane {lane} of road {road}, which is not there")
        return None

    def _add(self, here: End, sections: Iterable[Section | None], road: str, lane: int, end: int, what: str) -> None:
        """Link an end to one of a lane of some sections, if it is there."""
        there = self._lane(sections, road, lane, what)
        if there is not None:
            self.found.add(_contact(here, (there, end)))

    def _link_lanes(self, road: Road, section: Section, end: int, sections: list[Section], other: str, to: int) -> None:
        """Link what the lanes of a section name at one of its ends to an end of lanes of other sections."""
        for lane in section.lanes.values():
            what = f"lane {lane.identity} of road {road.identity}, section {section.number},"
            for each in filter(None, lane.after if end else lane.before):
                self._add(((road.identity, section.number, lane.identity), end), sections, other, each, to, what)

    def through_sections(self, road: Road) -> None:
        for sections in road.sections.values():
            for before, after in itertools.pairwise(sections):
                self._link_lanes(road, before, 1, [after], road.identity, 0)
                self._link_lanes(road, after, 0, [before], road.identity, 1)

    def to_road(self, road: Road, end: int) -> None:
        kind, identity, contact = road.links[end]
        name = "successor" if end else "predecessor"
        if identity not in (self.roads if kind == "road" else self.junctions):
            said = f"the {name} of road {road.identity} is {kind} {identity}, which is not there"
            raise MapInputError(said, "mend the link")
        if kind == "junction":
            return  # its connections say which lanes meet
        other_end = int(contact == "end")
        sections = self.roads[identity].at_end(other_end)
        for section in road.at_end(end):
            self._link_lanes(road, section, end, sections, identity, other_end)

    def connection(self, junction: Element, connection: Element) -> None:
        named = needed(junction.attributes, "id", "a junction")
        what = f"connection {connection.attributes.get('id', '?')} of junction {named}"
        other = "linkedRoad" if "linkedRoad" in connection.attributes else "connectingRoad"
        into, through = (needed(connection.attributes, key, what) for key in ("incomingRoad", other))
        for road in (into, through):
            if road not in self.roads:
                raise MapInputError(f"{what} is of road {road}, which is not there", "mend the junction")
        contact = needed(connection.attributes, "contactPoint", what)
        if contact not in ("start", "end"):
            raise MapInputError(f"{what} has the contact point {contact[:40]!r}", "give start or end")
        there = int(contact == "end")
        here = _incoming_end(self.roads[into], self.roads[through], there, named, what)
        mine, others = self.roads[into].at_end(here), self.roads[through].at_end(there)
        given = [each.attributes for each in connection.all("laneLink")]
        links = [(whole(each, "from", what), whole(each, "to", what)) for each in given]
        if not links:  # after the standard: lanes of the same id
            known = {lane for section in others for lane in section.lanes}
            links = [(lane, lane) for section in mine for lane in section.lanes if lane in known]
        for one, two in links:
            start = self._lane(mine, into, one, what) if one and two else None
            if start is not None:
                self._add((start, here), others, through, two, there, what)


def _incoming_end(road: Road, through: Road, there: int, junction: str, what: str) -> int:
    """The end of the incoming road that is at the junction."""
    link = through.links.get(there)
    if link is not None and link[0] == "road" and link[1] == road.identity:
        return int(link[2] == "end")
    ends = [end for end, (kind, identity, _) in road.links.items() if kind == "junction" and identity == junction]
    if len(ends) != 1:
        said = f"{what}: {'both ends' if ends else 'no end'} of road {road.identity} could be at the junction"
        raise MapInputError(said, "link the connecting road to it with a contact point")
    return ends[0]
