"""OpenDRIVE maps (``.xodr``).

After ASAM OpenDRIVE 1.4 to 1.8: lanes lie beside a reference line, their widths are cubics along it; lanes are linked
through sections, roads and junctions. Elevation and lateral profiles are laid flat.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.crs import metric_lines
from foldmap.formats.street.build import MapLane, build_graph
from foldmap.formats.street.opendrive.elements import Element, read_tree
from foldmap.formats.street.opendrive.links import Contact, Place, contacts
from foldmap.formats.street.opendrive.read import read_road
from foldmap.formats.street.opendrive.roads import Road
from foldmap.formats.street.reading import LeftOut, MapReading, naming_file, reading_of
from foldmap.formats.street.xml_stream import needed, real
from foldmap.street.source import LANE, LINK, LaneAttributes, StreetMap
from foldmap.types import DoubleArray

DRIVING = (
    "driving", "entry", "exit", "onRamp", "offRamp", "connectingRamp", "mwyEntry", "mwyExit", "slipLane",
    "bidirectional",
)  # fmt: skip
"""Types of lanes that are read by default."""
_READ_BY_PYPROJ = (
    "+proj", "+init", "EPSG:", "epsg:", "urn:ogc:def:crs:", "PROJCS", "PROJCRS", "COMPD_CS", "COMPOUNDCRS", "BOUNDCRS",
    "LOCAL_CS", "ENGCRS", "ENGINEERINGCRS",
)  # fmt: skip


@naming_file
def read_opendrive(
    path: Path, lane_types: Collection[str] = DRIVING, step_m: float = 1.0, name: str | None = None
) -> MapReading:
    """Read the lanes of the given types, joined by the links of the map.

    Lanes on the right of the reference line run along it, those on the left against it (the other way round where the
    road's rule is LHT); a lane for both directions becomes two, the second named with ``/reversed``. Lanes of junction
    roads become `LINK` edges. Lanes are named ``ROAD/SECTION/LANE``. A road, lane or link that is damaged is dropped.
    Vertices along the reference line are at most ``step_m`` apart. The map is named as the file unless told otherwise.
    """
    if not step_m > 0:
        raise ConfigError(f"a step of {step_m} m along lanes", "give a positive one")
    left_out = LeftOut()
    root = read_tree(path, left_out)
    if not root.all("road"):
        raise MapInputError(f"{path} holds no road", "give a map with roads")
    roads: dict[str, Road] = {}
    for element in root.all("road"):
        _add_road(element, roads, lane_types, left_out)
    crs, turn, shift = _placed(root.one("header"), left_out)
    lanes: list[MapLane] = []
    directed: dict[Place, list[tuple[int, bool]]] = {}
    for place, lane, forward in _lanes(roads, lane_types, step_m, left_out):
        directed.setdefault(place, []).append((len(lanes), forward))
        lanes.append(MapLane(lane.line_m @ turn.T + shift, lane.attributes, lane.kind))
    lines, crs = metric_lines([each.line_m for each in lanes], crs, str(path))
    lanes = [replace(each, line_m=line) for each, line in zip(lanes, lines, strict=True)]
    graph = build_graph(lanes, list(_follows(contacts(roads, root.all("junction"), left_out), directed)))
    street_map = StreetMap(name or path.name.removesuffix(".gz").removesuffix(".xodr") or path.name, graph, crs)
    return reading_of(street_map, left_out, path)


def _add_road(element: Element, roads: dict[str, Road], lane_types: Collection[str], left_out: LeftOut) -> None:
    """Read a road, or drop it with its lanes."""
    sections = [each for lanes in element.all("lanes") for each in lanes.all("laneSection")]
    sides = [group for each in sections for group in each.children if group.name in ("left", "right")]
    lanes = sum(lane.attributes.get("type") in lane_types for side in sides for lane in side.all("lane"))
    try:
        length_m = lanes / max(1, len(sections)) * real(element.attributes, "length", "a road", 0.0)
    except MapInputError:
        length_m = 0.0
    with left_out.dropping("road", lanes, length_m):
        identity = needed(element.attributes, "id", "a road")
        if identity in roads:
            raise MapInputError(f"road {identity} is there twice", "drop one")
        roads[identity] = read_road(element, lane_types, left_out)


def _placed(header: Element | None, left_out: LeftOut) -> tuple[str | None, DoubleArray, DoubleArray]:
    """The projection, and how coordinates are turned and shifted into it."""
    turn, shift = np.eye(2), np.zeros(2)
    reference = header.one("geoReference") if header else None
    crs = reference.text.strip() if reference is not None else ""
    if not crs:
        return None, turn, shift
    if not crs.startswith(_READ_BY_PYPROJ) or "longlat" in crs or "latlong" in crs:
        left_out[f"geographic reference {crs[:60]!r}, which is not metric or not read"] += 1
        return None, turn, shift
    offset = header.one("offset") if header else None
    if offset is not None:
        what = "the offset of the header"
        x, y, heading = (real(offset.attributes, key, what, 0.0) for key in ("x", "y", "hdg"))
        turn = np.array([[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]])
        shift = np.array([x, y])
    return crs, turn, shift


def _lanes(
    roads: dict[str, Road], lane_types: Collection[str], step_m: float, left_out: LeftOut
) -> Iterator[tuple[Place, MapLane, bool]]:
    """Lanes in driving direction, with their place and whether they run along s."""
    for road in roads.values():
        kind = LANE if road.junction is None else LINK
        for section in sorted(itertools.chain(*road.sections.values()), key=lambda each: each.number):
            if not section.length_m:
                continue
            middles = road.middles(section, step_m)
            for identity, lane in section.lanes.items():
                if lane.lane_type not in lane_types:
                    if lane.lane_type is not None:
                        left_out.lane(f"lane of type {lane.lane_type}", section.length_m)
                    continue
                line, width = middles[identity]
                speed = lane.speed_mps if lane.speed_mps is not None else road.speed_mps
                standard = (identity < 0) != road.left_hand
                both = lane.direction == "both" or lane.lane_type == "bidirectional"
                place = (road.identity, section.number, identity)
                for forward in (True, False) if both else (standard != (lane.direction == "reversed"),):
                    title = "/".join(map(str, place)) + ("/reversed" if both and not forward else "")
                    attributes = LaneAttributes(title, width if width > 0 else None, speed, lane.lane_type)
                    yield place, MapLane(line if forward else line[::-1], attributes, kind), forward


def _follows(met: set[Contact], directed: dict[Place, list[tuple[int, bool]]]) -> Iterator[tuple[int, int]]:
    """(lane, next lane) wherever the end of one lane is the start of another."""
    for contact in sorted(met):
        for (place, end), (other, other_end) in (contact, contact[::-1]):
            for lane, forward in directed.get(place, []):
                for after, along in directed.get(other, []):
                    if forward == bool(end) and along != bool(other_end):
                        yield lane, after
