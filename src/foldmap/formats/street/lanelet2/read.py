"""Lanelet2 maps: lanelets between left and right bounds, in OSM XML.

After the documentation of the format (Lanelet2, "Lanelets and Areas", "Tagging"): a relation of type ``lanelet`` has a
``left`` and a ``right`` way, aligned by the rule in `foldmap.formats.street.bounds`; a lanelet follows another where
both bounds go on from the same nodes; subtype, ``participant:*`` and ``one_way`` say who may pass and which way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.street.bounds import aligned, at_steps, middle_line
from foldmap.formats.street.build import MapLane, build_graph
from foldmap.formats.street.lanelet2.osm import USERS, OsmFile, Relation, place_nodes, read_osm
from foldmap.formats.street.reading import FARTHEST_M, LeftOut, MapReading, naming_file, reading_of
from foldmap.formats.street.xml_stream import metres_a_second
from foldmap.street.source import LANE, LINK, LaneAttributes, StreetMap
from foldmap.types import DoubleArray

_SLIMMEST_M = 0.01
_NO, _YES = {"no", "false", "0"}, {"yes", "true", "1"}
_Ends: TypeAlias = tuple[tuple[str, str], tuple[str, str]]
"""Left and right node where a lane starts, and where it ends."""


@naming_file
def read_lanelet2(
    path: Path,
    participant: str | None = "vehicle",
    positions: str = "auto",
    crs: str = "local",
    step_m: float = 0.5,
    name: str | None = None,
) -> MapReading:
    """Read the lanelets that a participant may pass as a lane graph.

    Lanelets open in both directions become two lanes, the second named ``ID/reversed``. Lanelets with a tag
    ``turn_direction``, ``intersection`` or ``junction`` become `LINK` edges. A lanelet without bounds, or of ways or
    nodes that are not there, is dropped. Vertices of centre lines are at most ``step_m`` apart.

    Participants are "vehicle", "vehicle:bus", "bicycle", "pedestrian", ..., None for all lanelets; ``positions``
    "geographic", "tags" or "auto", and ``crs`` "local", "utm", or what pyproj reads, as `place_nodes` has them.
    """
    if not step_m > 0:
        raise ConfigError(f"a step of {step_m} m along centre lines", "give a positive one")
    left_out = LeftOut()
    osm = read_osm(path, left_out)
    chosen = _chosen(osm, participant, left_out)
    bounds: dict[str, list[list[str]]] = {}
    for identity, relation in chosen.items():
        with left_out.dropping("lanelet", 1):
            bounds[identity] = _bounds(osm, identity, relation, left_out)
    used = list(dict.fromkeys(node for ways in bounds.values() for way in ways for node in way))
    place, found_crs = place_nodes(osm, used, positions, crs)
    for node in [node for node, at in place.items() if max(abs(at[0]), abs(at[1])) >= FARTHEST_M]:
        osm.lost[node] = f"node {node} is at {place.pop(node).tolist()}"
    driven: list[tuple[MapLane, _Ends]] = []
    for identity, ways in bounds.items():
        lost = next((node for way in ways for node in way if node not in place), None)
        if lost is not None:
            left_out.fault("lanelet", f"{osm.lost[lost]} (lanelet {identity})", 1)
            continue
        driven += _lanes(identity, chosen[identity], ways, place, step_m, participant, left_out)
    graph = build_graph([lane for lane, _ in driven], _follows([ends for _, ends in driven]))
    return reading_of(StreetMap(name or path.stem or path.name, graph, found_crs), left_out, path)


def _chosen(osm: OsmFile, participant: str | None, left_out: LeftOut) -> dict[str, Relation]:
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
    """As the traffic rules of lanelet2 have it: tags that name participants count, whatever the subtype is."""
    said = {key.partition(":")[2]: value for key, value in relation.tags.items() if key.startswith("participant")}
    if said:
        mine = [key for key in said if _covers(key, participant)]
        return bool(mine) and said[max(mine, key=len)] in _YES
    return any(_covers(user, participant) for user in USERS.get(relation.tags.get("subtype", ""), ()))


def _covers(user: str, participant: str) -> bool:
    return participant == user or participant.startswith(f"{user}:")


def _both_ways(relation: Relation, participant: str | None) -> bool:
    said = {key.partition(":")[2]: value for key, value in relation.tags.items() if key.startswith("one_way")}
    mine = [key for key in said if not key or _covers(key, participant or "")]
    return bool(mine) and said[max(mine, key=len)] in _NO


def _bounds(osm: OsmFile, identity: str, relation: Relation, left_out: LeftOut) -> list[list[str]]:
    """Nodes of the left bound, the right bound and, where the map draws one, the centre line."""
    found = []
    for role in ("left", "right"):
        ways = [ref for kind, its, ref in relation.members if its == role and kind == "way"]
        line = _one_line([_nodes(osm, way, f"{role} of lanelet {identity}") for way in ways])
        if line is None:
            raise MapInputError(f"lanelet {identity} has {len(ways)} {role} ways", "a lanelet has one on each side")
        left_out["bound of several ways, joined end to end"] += len(ways) > 1
        found.append(line)
    drawn = [ref for kind, its, ref in relation.members if its == "centerline" and kind == "way"]
    with left_out.dropping("centre line, for which the middle of the bounds counts"):
        if len(drawn) > 1:
            raise MapInputError(f"lanelet {identity} has {len(drawn)} centerline ways", "give it one")
        found += [_nodes(osm, way, f"centerline of lanelet {identity}") for way in drawn]
    return found


def _one_line(ways: Sequence[list[str]]) -> list[str] | None:
    """Ways that share end nodes, in any order and direction, as one; None where they make no line."""
    if not ways:
        return None
    line, rest = list(ways[0]), list(ways[1:])
    while rest:
        for way in rest:
            for nodes in (way, way[::-1]):
                if nodes[0] == line[-1]:
                    line = line + nodes[1:]
                elif nodes[-1] == line[0]:
                    line = nodes[:-1] + line
                else:
                    continue
                break
            else:
                continue
            rest.remove(way)
            break
        else:
            return None
    return line if len(set(line)) == len(line) or len(ways) == 1 else None


def _nodes(osm: OsmFile, way: str, what: str) -> list[str]:
    nodes, which = osm.ways.get(way), f"way {way}, {what},"
    if nodes is None:
        raise MapInputError(f"{which} is not there", "mend the map")
    if len(nodes) < 2:
        raise MapInputError(f"{which} has {len(nodes)} nodes", "mend the map")
    for node in nodes:
        if node not in osm.nodes:
            raise MapInputError(f"node {node} of {which} is not there", "mend the map")
    unclear = [f"node {node} of {which}" for node in nodes if ("node", node) in osm.unclear]
    if ("way", way) in osm.unclear or unclear:
        first = which if ("way", way) in osm.unclear else unclear[0]
        raise MapInputError(f"{first} is there twice, not alike", "mend the map")
    return nodes


def _lanes(
    identity: str,
    relation: Relation,
    bounds: Sequence[list[str]],
    place: dict[str, DoubleArray],
    step_m: float,
    participant: str | None,
    left_out: LeftOut,
) -> list[tuple[MapLane, _Ends]]:
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
        left_out.fault("lanelet", f"both bounds of lanelet {identity} are the same")
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
    found = [(MapLane(line, attributes, kind), (start, end))]
    if _both_ways(relation, participant):
        other = LaneAttributes(f"{identity}/reversed", width, speed, tags.get("subtype"))
        found.append((MapLane(line[::-1], other, kind), (end[::-1], start[::-1])))
    return found


def _speed(identity: str, tags: dict[str, str], left_out: LeftOut) -> float | None:
    """The tag ``speed_limit``: a number (kilometres an hour), or with a unit."""
    text = tags.get("speed_limit")
    if text is None:
        return None
    number, unit = re.fullmatch(r"\s*([-+.\d]*(?:[eE][-+]?\d+)?)\s*(.*?)\s*", text, re.DOTALL).groups()  # type: ignore[union-attr]
    try:
        return metres_a_second(number or text, unit if number and unit else "km/h")
    except ValueError as error:
        left_out.fault("speed limit", f"the speed limit of lanelet {identity} {error}")
        return None


def _follows(ends: Sequence[_Ends]) -> list[tuple[int, int]]:
    starting: dict[tuple[str, str], list[int]] = {}
    for number, (start, _) in enumerate(ends):
        starting.setdefault(start, []).append(number)
    return [(number, after) for number, (_, end) in enumerate(ends) for after in starting.get(end, ())]
