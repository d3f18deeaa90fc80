"""Lanelet2 maps: lanelets between left and right bounds, in OSM XML.

After the documentation of the format (Lanelet2, "Lanelets and Areas", "Tagging"): a relation of type ``lanelet`` has a
``left`` and a ``right`` way, aligned by the rule in `foldmap.formats.street_bounds`; a lanelet follows another where
both bounds go on from the same nodes; subtype, ``participant:*`` and ``one_way`` say who may pass and which way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.street_bounds import aligned, at_steps, middle_line
from foldmap.formats.street_build import MapLane, MapReading, build_graph
from foldmap.formats.street_lanelet2_osm import USERS, OsmFile, Relation, place_nodes, read_osm
from foldmap.formats.street_lanelet2_write import write_lanelet2
from foldmap.formats.street_xml import real
from foldmap.street.source import LANE, LINK, LaneAttributes, StreetMap
from foldmap.types import DoubleArray

__all__ = ["read_lanelet2", "read_lanelet2_counted", "write_lanelet2"]

_SLIMMEST_M = 0.01
_NO = {"no", "false", "0"}
_UNITS = {"": 1 / 3.6, "km/h": 1 / 3.6, "kmh": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704, "m/s": 1.0, "mps": 1.0}


def read_lanelet2(
    path: Path | str,
    participant: str | None = "vehicle",
    positions: str = "auto",
    crs: str = "local",
    step_m: float = 0.5,
    name: str | None = None,
) -> StreetMap:
    """Read the lanelets that a participant may pass as a lane graph.

    Lanelets open in both directions become two lanes, the second named ``ID/reversed``. Lanelets with a tag
    ``turn_direction``, ``intersection`` or ``junction`` become `LINK` edges.

    Args:
        path: OSM XML.
        participant: "vehicle", "vehicle:bus", "bicycle", "pedestrian", ...; None for all lanelets.
        positions: where nodes are: "geographic" (lat, lon), "tags" (``local_x``, ``local_y``), or "auto": tags only
            where latitudes and longitudes are empty or hold a place.
        crs: to project latitudes and longitudes to: "local" (transverse Mercator about the middle of the map), "utm",
            or what pyproj reads.
        step_m: between vertices of centre lines, at most.
        name: of the map; the file's name if not given.

    Raises:
        MapInputError: not a Lanelet2 map, cut short, a lanelet without bounds, a way or node that is not there; the
            message names the element.
        ConfigError: an option is something else.
        MissingExtraError: latitudes and longitudes without pyproj.
    """
    return read_lanelet2_counted(path, participant, positions, crs, step_m, name).street_map


def read_lanelet2_counted(
    path: Path | str,
    participant: str | None = "vehicle",
    positions: str = "auto",
    crs: str = "local",
    step_m: float = 0.5,
    name: str | None = None,
) -> MapReading:
    """`read_lanelet2`, and how much of the file was left out and why."""
    if not step_m > 0:
        raise ConfigError(f"a step of {step_m} m along centre lines", "give a positive one")
    path = Path(path)
    osm = read_osm(path)
    left_out: Counter[str] = Counter()
    chosen = _chosen(osm, participant, left_out)
    bounds = {identity: _bounds(osm, identity, relation) for identity, relation in chosen.items()}
    used = list(dict.fromkeys(node for ways in bounds.values() for way in ways for node in way))
    place, found_crs = place_nodes(osm, used, positions, crs)
    lanes: list[MapLane] = []
    ends: list[tuple[tuple[str, str], tuple[str, str]]] = []
    for identity, relation in chosen.items():
        for each in _lanes(identity, relation, bounds[identity], place, step_m, participant, left_out):
            lanes.append(each.lane)
            ends.append((each.start, each.end))
    graph = build_graph(lanes, _follows(ends))
    return MapReading(StreetMap(name or path.stem or path.name, graph, found_crs), dict(left_out))


def _chosen(osm: OsmFile, participant: str | None, left_out: Counter[str]) -> dict[str, Relation]:
    """Lanelets that the participant may pass; the rest is counted."""
    chosen, lanelets = {}, 0
    for identity, relation in osm.relations.items():
        kind, subtype = relation.tags.get("type"), relation.tags.get("subtype", "none")
        if kind != "lanelet":
            left_out[f"{kind or 'relation without type'} of subtype {subtype}"] += 1
            continue
        lanelets += 1
        if participant is None or _passes(relation, participant):
            chosen[identity] = relation
        else:
            known = "" if subtype in USERS else "unknown "
            left_out[f"lanelet of {known}subtype {subtype}, closed to {participant}"] += 1
    if not lanelets:
        raise MapInputError(f"{osm.path} holds no lanelet", "give a Lanelet2 map, not plain OpenStreetMap data")
    return chosen


def _passes(relation: Relation, participant: str) -> bool:
    said = {key.partition(":")[2]: value for key, value in relation.tags.items() if key.startswith("participant:")}
    if said:
        mine = [key for key in said if _covers(key, participant)]
        return bool(mine) and said[max(mine, key=len)] not in _NO
    return any(_covers(user, participant) for user in USERS.get(relation.tags.get("subtype", ""), ()))


def _covers(user: str, participant: str) -> bool:
    return participant == user or participant.startswith(f"{user}:")


def _both_ways(relation: Relation, participant: str | None) -> bool:
    said = {key.partition(":")[2]: value for key, value in relation.tags.items() if key.startswith("one_way")}
    mine = [key for key in said if not key or _covers(key, participant or "")]
    return bool(mine) and said[max(mine, key=len)] in _NO


def _bounds(osm: OsmFile, identity: str, relation: Relation) -> list[list[str]]:
    """Nodes of the left bound, the right bound and, where the map draws one, the centre line."""
    found = []
    for role in ("left", "right", "centerline"):
        ways = [ref for kind, its, ref in relation.members if its == role and kind == "way"]
        if role == "centerline" and not ways:
            continue
        if len(ways) != 1:
            raise MapInputError(
                f"{osm.path}: lanelet {identity} has {len(ways)} {role} ways", "a lanelet has one way on each side"
            )
        nodes = osm.ways.get(ways[0])
        if nodes is None:
            raise MapInputError(
                f"{osm.path}: way {ways[0]}, {role} of lanelet {identity}, is not there", "mend the map"
            )
        if len(nodes) < 2:
            raise MapInputError(
                f"{osm.path}: way {ways[0]} of lanelet {identity} has {len(nodes)} nodes", "mend the map"
            )
        for node in nodes:
            if node not in osm.nodes:
                raise MapInputError(f"{osm.path}: node {node} of way {ways[0]} is not there", "mend the map")
        found.append(nodes)
    return found


@dataclass(frozen=True)
class _Lane:
    lane: MapLane
    start: tuple[str, str]
    end: tuple[str, str]


def _lanes(
    identity: str,
    relation: Relation,
    bounds: Sequence[list[str]],
    place: dict[str, DoubleArray],
    step_m: float,
    participant: str | None,
    left_out: Counter[str],
) -> list[_Lane]:
    """One lane, or two where the lanelet is open in both directions, with the nodes where it starts and ends."""
    lines = [np.stack([place[node] for node in nodes]) for nodes in bounds]
    turn_left, turn_right = aligned(lines[0], lines[1])
    left_nodes = bounds[0][::-1] if turn_left else bounds[0]
    right_nodes = bounds[1][::-1] if turn_right else bounds[1]
    left, right = (line[::-1] if turn else line for line, turn in zip(lines, (turn_left, turn_right), strict=False))
    line, width = middle_line(left, right, step_m)
    if len(lines) > 2:
        drawn = lines[2] if (lines[2][-1] - lines[2][0]) @ (line[-1] - line[0]) >= 0 else lines[2][::-1]
        line = at_steps(drawn, step_m)
    if not np.abs(np.diff(line, axis=0)).sum() > 0 or width < _SLIMMEST_M:
        left_out[f"lanelet {identity}, which has no extent: both bounds are the same"] += 1
        return []
    tags = relation.tags
    turns = {"turn_direction", "intersection", "junction"} & tags.keys()
    kind = LINK if turns and tags[min(turns)] not in _NO else LANE
    speed = _speed(identity, tags, left_out)
    for _, role, _ in relation.members:
        if role not in ("left", "right", "centerline"):
            left_out[f"{role or 'member without role'} of a lanelet"] += 1
    start, end = (left_nodes[0], right_nodes[0]), (left_nodes[-1], right_nodes[-1])
    attributes = LaneAttributes(identity, width, speed, tags.get("subtype"))
    found = [_Lane(MapLane(line, attributes, kind), start, end)]
    if _both_ways(relation, participant):
        other = LaneAttributes(f"{identity}/reversed", width, speed, tags.get("subtype"))
        found.append(_Lane(MapLane(line[::-1], other, kind), end[::-1], start[::-1]))
    return found


def _speed(identity: str, tags: dict[str, str], left_out: Counter[str]) -> float | None:
    """The tag ``speed_limit``: a number (kilometres an hour), or with a unit."""
    text = tags.get("speed_limit")
    if text is None:
        return None
    match = re.fullmatch(r"\s*([-+\w.]*?)\s*(km/h|kmh|kph|mph|m/s|mps|)\s*", text)
    if match is None or not re.match(r"[-+.\d]|nan|inf", match[1]):
        left_out[f"speed limit {text[:40]!r}"] += 1
        return None
    value = real({"speed_limit": match[1]}, "speed_limit", f"lanelet {identity}")
    if value < 0:
        raise MapInputError(f"lanelet {identity} has a speed limit of {text[:40]}", "give none that is negative")
    return value * _UNITS[match[2]]


def _follows(ends: Sequence[tuple[tuple[str, str], tuple[str, str]]]) -> list[tuple[int, int]]:
    starting: dict[tuple[str, str], list[int]] = {}
    for number, (start, _) in enumerate(ends):
        starting.setdefault(start, []).append(number)
    return [(number, after) for number, (_, end) in enumerate(ends) for after in starting.get(end, ())]
