"""Networks of the traffic simulator SUMO (``.net.xml``, ``.net.xml.gz``).

After the documentation of SUMO's network format: edges hold lanes with a shape; a ``<connection>`` says that a lane
goes on into another, across the junction ``via`` an internal lane where the network was built with those;
``<location>`` says how the coordinates came about (projected coordinates + ``netOffset``).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.crs import metric_lines
from foldmap.formats.street.build import MapLane, build_graph
from foldmap.formats.street.reading import LeftOut, MapReading, naming_file, reading_of
from foldmap.formats.street.xml_stream import Attributes, needed, parse_xml, points, real
from foldmap.street.source import LANE, LINK, LaneAttributes, StreetMap
from foldmap.types import DoubleArray

_WHAT = "a SUMO network"
_SIDE = {"crossing", "walkingarea", "connector"}
"""Functions of edges that are no lanes to drive on."""


@naming_file
def read_sumo(path: Path, vehicle_class: str = "passenger", name: str | None = None) -> MapReading:
    """Read the lanes that a class of vehicles may use, joined by the connections it may take.

    Internal lanes become `LINK` edges; a connection across a junction without internal lanes is one straight `LINK`
    edge. The crs is the network's projection, where it has one and that does not stretch the ground (`metric_lines`). A
    lane or connection that is damaged is dropped. The class is SUMO's word: ``passenger``, ``bus``, ``bicycle``, ...;
    the map is named as the file unless told otherwise.
    """
    net = _Net()
    parse_xml(path, _WHAT, net.enter, net.leave)
    if not net.found:
        raise MapInputError(f"{path} has no <net> element", f"give {_WHAT}")
    if not net.lanes and not net.left_out.faults:
        raise MapInputError(f"{path} holds no lane", f"give {_WHAT}")
    crs, offset = net.place(path)
    kept, follows = net.topology(vehicle_class)
    lines, crs = metric_lines([each.line - offset for each in kept], crs, str(path), degrees=False)
    lanes = []
    for each, line in zip(kept, lines, strict=True):
        known = LaneAttributes(each.identity, each.width_m, each.speed_mps, each.function or each.lane_type)
        lanes.append(MapLane(line, known, LINK if each.function == "internal" else LANE))
    graph = build_graph(lanes, follows)
    title = name or path.name.removesuffix(".gz").removesuffix(".xml").removesuffix(".net")
    return reading_of(StreetMap(title or path.name, graph, crs), net.left_out, path)


@dataclass
class _NetLane:
    identity: str
    line: DoubleArray
    function: str
    lane_type: str | None
    width_m: float | None
    speed_mps: float | None
    access: Attributes


@dataclass
class _Net:
    """What the file says, as it is read."""

    found: bool = False
    lanes: dict[str, _NetLane] = field(default_factory=dict)
    by_index: dict[tuple[str, str], str] = field(default_factory=dict)
    connections: list[Attributes] = field(default_factory=list)
    location: Attributes = field(default_factory=dict)
    edge: Attributes | None = None
    of_edge: list[tuple[str, str]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def enter(self, name: str, attributes: Attributes) -> None:
        if name == "lane":
            usual = int(self.edge is not None and self.edge.get("function") not in _SIDE)
            with self.left_out.dropping("lane", usual):
                self._lane(attributes)
        elif name == "connection":
            self.connections.append(attributes)
        elif name == "edge":
            self.edge = attributes
        elif name == "location":
            self.location = attributes
        elif name == "net":
            self.found = True

    def leave(self, name: str) -> None:
        if name == "edge" and self.edge is not None:
            # connections name lanes by their place in the edge; "index" should say the same, some writers repeat 0
            told = [index for index, _ in self.of_edge]
            whole = sorted(told) == sorted(map(str, range(len(told))))
            for place, (index, identity) in enumerate(self.of_edge):
                self.by_index[self.edge.get("id", ""), index if whole else str(place)] = identity
            self.edge = None
            self.of_edge = []

    def _lane(self, attributes: Attributes) -> None:
        identity = needed(attributes, "id", "a lane")
        self.of_edge.append((attributes.get("index", ""), identity))
        if self.edge is None:
            raise MapInputError(f"lane {identity!r} is outside of any edge", f"give {_WHAT}")
        if identity in self.lanes:
            raise MapInputError(f"lane {identity!r} is there twice", "the network is damaged")
        what = f"lane {identity!r}"
        width, speed = (self._number(attributes, key, what) for key in ("width", "speed"))
        line = points(needed(attributes, "shape", what), what)
        function = self.edge.get("function", "").replace("normal", "")
        lane_type = attributes.get("type") or self.edge.get("type")
        access: Attributes = {key: attributes[key] for key in ("allow", "disallow") if key in attributes}
        self.lanes[identity] = _NetLane(identity, line, function, lane_type, width or None, speed, access)

    def _number(self, attributes: Attributes, key: str, what: str) -> float | None:
        """A number from 0 on, or None with a note where it is damaged."""
        try:
            value = real(attributes, key, what) if key in attributes else None
        except MapInputError as error:
            self.left_out.fault(f"{key} of a lane", error.message)
            return None
        if value is not None and value < 0:
            self.left_out.fault(f"{key} of a lane", f"{key} of {what} is {value:g}")
            return None
        return value

    def place(self, path: Path) -> tuple[str | None, DoubleArray]:
        """The projection, and what is to be taken off coordinates."""
        projection = self.location.get("projParameter", "!").strip()
        offset = points(self.location.get("netOffset", "0,0"), f"the offset of {path.name}")[0]
        if not projection.startswith(("+proj=", "+init=", "EPSG:", "epsg:")):
            if projection not in ("", "!"):
                self.left_out[f"projection {projection!r}, which pyproj does not read"] += 1
            return None, offset * 0
        return projection, offset

    def topology(self, vehicle_class: str) -> tuple[list[_NetLane], list[tuple[int, int]]]:
        """Lanes that are open, and which follows which."""
        usable: dict[str, _NetLane] = {}
        for identity, lane in self.lanes.items():
            if lane.function in _SIDE and vehicle_class != "pedestrian":
                self.left_out.lane(f"lane of a {lane.function}", _length_m(lane.line))
            elif not _open(lane.access, vehicle_class):
                self.left_out.lane(f"{lane.function or 'normal'} lane closed to {vehicle_class}", _length_m(lane.line))
            else:
                usable[identity] = lane
        # an internal lane that has connections of its own goes on where those say: turns may wait inside the junction
        inner = {self.by_index.get((each.get("from", ""), each.get("fromLane", ""))) for each in self.connections}
        found = [self._chain(each, usable, vehicle_class) for each in self.connections]
        found = [chain[:2] if len(chain) == 3 and chain[1] in inner else chain for chain in found]
        pairs = [pair for chain in found for pair in itertools.pairwise(chain)]
        kept = _through(usable, pairs)
        for identity in usable.keys() - kept.keys():
            self.left_out.lane("internal lane without connection", _length_m(usable[identity].line))
        number = {identity: at for at, identity in enumerate(kept)}
        follows = [(number[a], number[b]) for a, b in pairs if a in number and b in number]
        return list(kept.values()), follows

    def _chain(self, connection: Attributes, usable: dict[str, _NetLane], vehicle_class: str) -> list[str]:
        """The lanes that a connection joins, two or three; none if it is closed or damaged."""
        what = f"connection from {connection.get('from')!r} to {connection.get('to')!r}"
        ends: list[str] = []
        with self.left_out.dropping("connection"):
            for side in ("from", "to"):
                edge, index = needed(connection, side, what), needed(connection, f"{side}Lane", what)
                identity = self.by_index.get((edge, index))
                if identity is None:
                    raise MapInputError(f"{what}: there is no lane {index} of edge {edge!r}", "mend the map")
                ends.append(identity)
        if len(ends) < 2:
            return []
        via = connection.get("via")
        if via and via not in self.lanes:
            self.left_out.fault("way of a connection", f"{what}: there is no lane {via!r} to go via")
            via = None
        chain = [ends[0], via, ends[1]] if via else ends
        if not all(each in usable for each in chain) or not _open(connection, vehicle_class):
            self.left_out[f"connection closed to {vehicle_class}"] += 1
            return []
        return chain


def _length_m(line: DoubleArray) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def _through(usable: dict[str, _NetLane], pairs: list[tuple[str, str]]) -> dict[str, _NetLane]:
    """All but internal lanes that nothing leads into or out of: what is left of turns that are closed."""
    kept = usable
    while True:
        open_pairs = [(a, b) for a, b in pairs if a in kept and b in kept]
        entered, left = {b for _, b in open_pairs}, {a for a, _ in open_pairs}
        passed = entered & left
        fewer = {key: lane for key, lane in kept.items() if lane.function != "internal" or key in passed}
        if len(fewer) == len(kept):
            return kept
        kept = fewer


def _open(access: Attributes, vehicle_class: str) -> bool:
    """Whether a class may pass: ``allow`` lists all that may, ``disallow`` all that may not, neither means all may."""
    allows = "allow" in access
    named = {vehicle_class, "all"} & set(access.get("allow" if allows else "disallow", "").split())
    return bool(named) == allows
