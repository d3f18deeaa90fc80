"""Argoverse 2: vector maps (``log_map_archive_*.json``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.street.bounds import at_shares, distances_along, pieces_of
from foldmap.formats.street.polylines import line_name
from foldmap.formats.street.reading import LeftOut, MapReading, naming_file, reading_of
from foldmap.formats.street.untrusted import json_points, read_json
from foldmap.street.graph.joining import connect
from foldmap.street.graph.repair import require_metres
from foldmap.street.source import LANE, LINK, LaneAttributes, LaneGraph, StreetMap
from foldmap.types import DoubleArray

STEP_M = 1.0
"""Vertex spacing of mid-lines between boundaries."""

_MERGE_M = 1.0
_WIDTHS = 30
_WHAT = "an Argoverse 2 vector map (log_map_archive_*.json)"
_CITY_UTM = {
    "ATX": (14, 621150.027, 3349890.000), "DTW": (17, 320669.935, 4685369.999), "MIA": (17, 580560.009, 2850960.000),
    "PAO": (10, 576480.001, 4141379.935), "PIT": (17, 583710.007, 4477260.000), "WDC": (18, 323460.000, 4306469.987),
}  # fmt: skip
"""UTM zone, easting and northing of the origin of each city's frame, whose axes are those of UTM."""


@dataclass(frozen=True)
class Argoverse2Reading(MapReading):
    """A map, named ``<city>-<log>`` or after the log alone, and what its file says about topology.

    ``links`` counts relations between lanes of the map, ``dangling`` those with lanes outside, where it was cut,
    ``bridged`` links whose lanes do not meet, or not all of a group, so that they became edges of their own.
    """

    links: int = 0
    dangling: int = 0
    bridged: int = 0


@naming_file
def read_argoverse2(path: Path) -> Argoverse2Reading:
    """Read the lanes of a vector map, and count links: in the city's frame, metres, with lane type and mean width.

    Lanes follow ``centerline`` where the file has it, otherwise the middle between both boundaries, taken at equal
    shares of their lengths, 1 m apart. ``is_intersection`` makes a lane `LINK`. Successors outside of the file are
    tolerated: maps are cut around a log. A lane that is damaged is dropped. The city is known by the file's name only
    (``log_map_archive_<log>____<city>_city_<number>.json``).
    """
    left_out = LeftOut()
    content = read_json(path, _WHAT)
    segments = content.get("lane_segments") if isinstance(content, Mapping) else None
    if not isinstance(segments, Mapping):
        raise MapInputError(f"{path} has no lane_segments", f"give {_WHAT}")
    lines, kinds, lanes = list[DoubleArray](), list[int](), list[LaneAttributes]()
    rows: dict[str, int] = {}
    for key, segment in segments.items():
        where = f"lane {str(key)[:40]}"
        with left_out.dropping("lane", 1):
            if not isinstance(segment, Mapping):
                raise MapInputError(f"{where} is no object", f"give {_WHAT}")
            identity = line_name((segment.get("id"),), key)
            if identity in rows:
                raise MapInputError(f"{where}: the id is there twice", "drop one of the lanes")
            line, width_m = _centre(segment, where)
            rows[identity] = len(lines)
            lines.append(line)
            kinds.append(LINK if segment.get("is_intersection") is True else LANE)
            lane_type = segment.get("lane_type")
            lanes.append(LaneAttributes(identity, width_m, None, lane_type if isinstance(lane_type, str) else None))
    graph = LaneGraph.from_polylines(lines, kinds, lanes)
    require_metres(graph, str(path))
    links, dangling = _links(segments, rows, left_out)
    first, last = np.flatnonzero(graph.in_degree == 0), np.flatnonzero(graph.out_degree == 0)
    joined = connect(graph, np.stack([last[links[:, 0]], first[links[:, 1]]], 1), _MERGE_M)
    name, crs = _place(path)
    left_out["link to a lane beyond the map"] += dangling
    read = reading_of(StreetMap(name, joined.graph, crs), left_out, path)
    return Argoverse2Reading(**vars(read), links=joined.links, dangling=dangling, bridged=joined.bridged)


def _links(segments: Mapping[str, Any], rows: dict[str, int], left_out: LeftOut) -> tuple[Any, int]:
    """(lane, next lane) rows, int64 (L, 2), and how many relations lead out of the map."""
    found: set[tuple[int, int]] = set()
    outside: set[tuple[str, str]] = set()
    for key, segment in segments.items():
        own = line_name((segment.get("id"),), key) if isinstance(segment, Mapping) else ""
        for word in ("successors", "predecessors") if own in rows else ():
            others = segment.get(word) or []
            if not isinstance(others, list):
                left_out.fault("lane link", f"lane {own[:40]}: {word} is no list")
                continue
            for other in map(str, others):
                pair = (own, other) if word == "successors" else (other, own)
                if other in rows:
                    found.add((rows[pair[0]], rows[pair[1]]))
                else:
                    outside.add(pair)
    return np.array(sorted(found), np.int64).reshape(-1, 2), len(outside)


def _centre(segment: Mapping[str, Any], where: str) -> tuple[DoubleArray, float | None]:
    """The centre line, float64 (P, 2), and the mean distance of the boundaries where they are given."""
    names = [name for name in ("left_lane_boundary", "right_lane_boundary") if segment.get(name)]
    sides = [_points(segment[name], f"{where}, {name}") for name in names]
    given = segment.get("centerline")
    if len(sides) < 2 and not given:
        raise MapInputError(f"{where} has neither a centerline nor two boundaries", "complete it, or drop it")
    width_m = None
    line = _points(given, f"{where}, centerline") if given else np.zeros((0, 2))
    if len(sides) == 2:
        count = 1 + pieces_of(max(float(distances_along(side)[-1]) for side in sides), STEP_M)
        line = line if given else (at_shares(sides[0], count) + at_shares(sides[1], count)) / 2
        across = at_shares(sides[0], count + _WIDTHS) - at_shares(sides[1], count + _WIDTHS)
        width_m = float(np.hypot(*across.T).mean()) or None
    if not np.ptp(line, axis=0).any():
        raise MapInputError(f"{where} has no length", "drop it")
    return line, width_m


def _points(rows: Any, where: str) -> DoubleArray:
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) and "x" in row and "y" in row for row in rows):
        raise MapInputError(f"{where} is no list of points with x and y", f"give {_WHAT}")
    return json_points([(row["x"], row["y"]) for row in rows], where)


def _place(path: Path) -> tuple[str, str | None]:
    """Name and crs, from the name of the file."""
    name = path.name.removesuffix(".json").removeprefix("log_map_archive_")
    log, _, rest = name.partition("____")
    city = re.match(r"([A-Z]{3})_city", rest)
    if city is None or city[1] not in _CITY_UTM:
        return name or path.name, None
    zone, east_m, north_m = _CITY_UTM[city[1]]
    origin = f"+x_0={500_000 - east_m:.3f} +y_0={-north_m:.3f}"
    crs = f"+proj=tmerc +lat_0=0 +lon_0={6 * zone - 183} +k=0.9996 {origin} +datum=WGS84 +units=m"
    return f"{city[1]}-{log}", crs
