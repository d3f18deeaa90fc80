"""GeoJSON: a lane graph as LineStrings that any GIS opens, and back with its topology exact; anybody's lines; findings.

Findings are lines with properties, such as retrieved graphs and changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.errors import MapInputError
from foldmap.formats.crs import lonlat_lines, metric_lines, to_lonlat
from foldmap.formats.street.polylines import (
    KIND_NAMES,
    TOLERANCE_M,
    attributes_of,
    directions,
    end_heights,
    kind_of_line,
    line_name,
    polyline_map,
    unique_names,
)
from foldmap.formats.street.reading import LeftOut, MapReading, naming_file, reading_of
from foldmap.formats.street.table import KIND_WORDS, ChainRow, chain_rows, graph_of_rows
from foldmap.formats.street.untrusted import json_points, read_json
from foldmap.street.graph.repair import METRES, UNSURE, require_metres, unit_of
from foldmap.street.source import LaneAttributes, LaneGraph, StreetMap
from foldmap.types import DoubleArray

VERSION = 1
"""Of what the members and properties below mean."""

_LONLAT_DIGITS, _METRE_DIGITS, _FINDING_DIGITS = 10, 5, 3
_LINE_TYPES = ("LineString", "MultiLineString", "GeometryCollection")
"""Geometries that are or hold lines."""
_DEEPEST = 8


def write_geojson(street_map: StreetMap, path: Path) -> None:
    """Write one LineString a chain, in driving direction.

    Coordinates are longitude and latitude (RFC 7946, 10 decimals) where the crs is known; otherwise metres of the local
    frame, which ``"foldmap:crs": null`` says. Properties: ``kind`` ("lane", "link"), ``from`` and ``to`` (ids of the
    vertices where chains meet: equal ids are one vertex), ``lane``, ``lane_id``, ``lane_type``, ``width_m``,
    ``speed_limit_mps`` (null where unknown). Members ``foldmap:street`` (version), ``foldmap:name``, ``foldmap:crs``.
    """
    rows = chain_rows(street_map.graph)
    lines = [row.line_m for row in rows]
    digits = _METRE_DIGITS
    if street_map.crs is not None and rows:
        cuts = np.cumsum([len(line) for line in lines])[:-1]
        lines = np.split(to_lonlat(np.concatenate(lines), street_map.crs, street_map.name), cuts)
        digits = _LONLAT_DIGITS
    found = []
    for number, (row, line) in enumerate(zip(rows, lines, strict=True)):
        geometry = {"type": "LineString", "coordinates": np.round(line, digits).tolist()}
        found.append({"type": "Feature", "id": number, "properties": properties_of(row), "geometry": geometry})
    members = {"foldmap:street": VERSION, "foldmap:name": street_map.name, "foldmap:crs": street_map.crs}
    content = {"type": "FeatureCollection", **members, "features": found}
    write_whole(path, json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")


def properties_of(row: ChainRow) -> dict[str, Any]:
    """What is written of a chain beside its line."""
    known = row.attributes
    lane = row.lane if row.lane >= 0 else None
    of_lane = {name: getattr(known, name) if known else None for name in ("lane_type", "width_m", "speed_limit_mps")}
    ends = {"kind": KIND_WORDS[row.kind], "from": row.start, "to": row.end, "lane": lane}
    return {**ends, "lane_id": known.identity if known else None, **of_lane}


def row_of(properties: Mapping[str, Any], line: DoubleArray, where: str) -> ChainRow:
    """The chain of a line and its properties."""
    whole: dict[str, int] = {}
    for name in ("from", "to", "lane"):
        value = properties.get(name)
        if name == "lane" and (value is None or value != value):
            value = -1
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 2**53 or value % 1:
            cure = "give the number of the vertex, or drop from and to of all lines, so that ends are matched"
            raise MapInputError(f"{where}: {name} is {str(value)[:40]!r}", cure)
        whole[name] = int(value)
    kind = properties.get("kind")
    if not isinstance(kind, str) or kind not in KIND_NAMES:
        raise MapInputError(f"{where}: kind is {str(kind)[:40]!r}", "give lane or link")
    lane = max(-1, whole["lane"])
    identity = properties.get("lane_id")
    attributes = attributes_of(properties, identity if isinstance(identity, str) else str(lane)) if lane >= 0 else None
    return ChainRow(line, whole["from"], whole["to"], KIND_NAMES[kind], lane, attributes)


@naming_file
def read_geojson(path: Path, tolerance_m: float = TOLERANCE_M) -> MapReading:
    """Read what `write_geojson` wrote, or any GeoJSON of lanes in driving direction; other geometries are counted.

    Lines that have ``from`` and ``to`` keep their topology exactly; those of other files are matched at their ends, to
    ``tolerance_m``. Of those, LineStrings, MultiLineStrings and what is such in GeometryCollections are read, with the
    properties ``kind`` ("lane" or "link"), ``lane_type``, ``width_m``, ``speed_limit_mps``, ``id``, and OpenStreetMap's
    (`directions`). Longitude and latitude, as RFC 7946 has it, are projected to a transverse Mercator about the middle
    of the map. A ``crs`` member, as GeoJSON had before, may name another crs, and ``"foldmap:crs": null`` says that
    coordinates are metres of a local frame; coordinates that cannot be degrees are taken for such, those that may be
    either are a MapInputError.
    """
    content = read_json(path, "GeoJSON")
    found = _features(content, path)
    version, name = content.get("foldmap:street"), content.get("foldmap:name")
    name = name if isinstance(name, str) and name else path.stem
    exact = any({"from", "to"} <= set(feature.get("properties") or {}) for feature in found)
    if version is not None and not found:
        return MapReading(StreetMap(name, LaneGraph.empty(), _own_crs(content)))
    if version is None or not exact:
        return _loose_lines(content, found, path, tolerance_m)
    if version != VERSION:
        raise MapInputError(f"{path} is of version {str(version)[:20]}, known is {VERSION}", "update foldmap")
    lines = []
    for number, feature in enumerate(found):
        geometry = feature.get("geometry") or {}
        if geometry.get("type") != "LineString":
            raise MapInputError(f"{path}, feature {number} is no LineString", "drop it")
        lines.append(json_points(geometry.get("coordinates"), f"{path}, feature {number}"))
    crs = _own_crs(content)
    if crs is not None:
        lines, crs = lonlat_lines(np.concatenate(lines), [len(line) for line in lines], str(path), crs)
    listed = [feature.get("properties") or {} for feature in found]
    pairs = enumerate(zip(listed, lines, strict=True))
    rows = [row_of(properties, line, f"{path}, feature {number}") for number, (properties, line) in pairs]
    graph = graph_of_rows(rows, str(path))
    require_metres(graph, str(path))
    return MapReading(StreetMap(name, graph, crs))


def _own_crs(content: Mapping[str, Any]) -> str | None:
    crs = content.get("foldmap:crs")
    if crs is not None and not isinstance(crs, str):
        raise MapInputError("foldmap:crs is no text", "give what pyproj reads, or null for a local frame")
    return crs


def _features(content: Any, path: Path) -> list[Mapping[str, Any]]:
    """The features of a collection, or the single feature or geometry that the content is."""
    kind = content.get("type") if isinstance(content, Mapping) else None
    found: Any = content.get("features") if kind == "FeatureCollection" else None
    if kind == "Feature" or kind in _LINE_TYPES:
        found = [content if kind == "Feature" else {"type": "Feature", "properties": {}, "geometry": content}]
    if not isinstance(found, list):
        raise MapInputError(f"{path} is no GeoJSON FeatureCollection", "give one of LineStrings")
    for number, feature in enumerate(found):
        good = isinstance(feature, Mapping) and isinstance(feature.get("properties") or {}, Mapping)
        if not good or not isinstance(feature.get("geometry") or {}, Mapping):
            raise MapInputError(f"{path}, feature {number} is no GeoJSON feature", "give one with geometry, properties")
    return found


def _loose_lines(content: Mapping[str, Any], found: list[Any], path: Path, tolerance_m: float) -> MapReading:
    """Lines whose ends are matched."""
    left_out = LeftOut()
    lines, kinds, lanes = list[DoubleArray](), list[int](), list[LaneAttributes]()
    heights_m = list[DoubleArray]()
    taken: set[str] = set()
    for number, feature in enumerate(found):
        properties = feature.get("properties") or {}
        name = line_name((properties.get("id"), feature.get("id")), number)
        mine = _geometry_lines(feature.get("geometry"), f"feature {number}", left_out)
        if mine and name in taken:
            left_out["id that was there before, numbered on"] += 1
        taken.add(name)
        for way in directions(properties, left_out) if mine else ():
            lines += [line[::way] for line, _ in mine]
            heights_m += [ends_m[::way] for _, ends_m in mine]
            kinds += [kind_of_line(properties.get("kind"), left_out)] * len(mine)
            lanes += [attributes_of(properties, name if way > 0 else f"{name}/reversed")] * len(mine)
    if not lines and not left_out.faults:
        open_to = " that is open to vehicles" if left_out else ""
        raise MapInputError(f"{path} holds no LineString{open_to}", "give lanes as LineStrings in driving direction")
    if not lines:
        return reading_of(StreetMap(path.stem, LaneGraph.empty()), left_out, path)
    names = unique_names([lane.identity for lane in lanes])
    lanes = [replace(lane, identity=name) for lane, name in zip(lanes, names, strict=True)]
    lines, crs = _in_metres(lines, content, path)
    found_map, _ = polyline_map(path.stem, lines, kinds, lanes, crs, tolerance_m, left_out, heights_m)
    return reading_of(found_map, left_out, path)


def _geometry_lines(
    geometry: Any, where: str, left_out: LeftOut, depth: int = 0
) -> list[tuple[DoubleArray, DoubleArray]]:
    """All lines of a geometry, and their `end_heights`; what is damaged is noted, what is no line counted."""
    if not geometry:
        left_out["feature without a geometry"] += 1
        return []
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    parts = geometry.get({"GeometryCollection": "geometries"}.get(str(kind), "coordinates")) if kind else None
    found: list[tuple[DoubleArray, DoubleArray]] = []
    if kind not in _LINE_TYPES or depth > _DEEPEST:
        left_out[f"geometry of type {str(kind)[:40]}"] += 1
    elif kind == "GeometryCollection" and isinstance(parts, list):
        found = [line for part in parts for line in _geometry_lines(part, where, left_out, depth + 1)]
    else:
        rows = parts if kind == "MultiLineString" and isinstance(parts, list) else [parts]
        for row in rows:
            with left_out.dropping("line", 1):
                found.append((json_points(row, where), end_heights(row)))
    return found


def _in_metres(lines: list[DoubleArray], content: Any, path: Path) -> tuple[list[DoubleArray], str | None]:
    """Lines in metres and their crs, None for a local frame: as the file says; else from degrees, as RFC 7946 has it.

    Files of local metres are common in spite of the RFC: coordinates that cannot be degrees are taken for such.
    """
    label = _named_crs(content, path)
    if label is not None:
        return metric_lines(lines, label, str(path))
    unit = METRES if content.get("foldmap:crs", "") is None else unit_of(lines)
    if unit == METRES:
        return lines, None
    if unit == UNSURE:
        first = f"{path}: coordinates such as {lines[0][0].tolist()}"
        cure = (
            'name it: "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}} for degrees, '
            '"foldmap:crs": null for metres of a local frame'
        )
        raise MapInputError(f"{first} may be degrees of a coarse map or metres of a small one", cure)
    return lonlat_lines(np.concatenate(lines), [len(line) for line in lines], str(path))


def _named_crs(content: Mapping[str, Any], path: Path) -> Any:
    """What the ``crs`` member that GeoJSON had before RFC 7946 names, None where there is none."""
    crs = content.get("crs")
    if crs is None:
        return None
    named = crs.get("properties") if isinstance(crs, Mapping) else None
    label = named.get("name", named.get("code")) if isinstance(named, Mapping) else None
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise MapInputError(f"{path}: its crs has no name", "drop the crs member, or name an EPSG code")
    return label


@dataclass(frozen=True)
class LineFeature:
    """Some lines, float64 (P, 2), that belong together; none makes a feature without a geometry.

    ``crs`` is what pyproj reads, or None for a local frame; ``other_lines_m`` are properties that are written as
    coordinates, for example where a lane was before.
    """

    lines_m: Sequence[DoubleArray]
    crs: str | None
    properties: Mapping[str, Any]
    other_lines_m: Mapping[str, DoubleArray] = field(default_factory=dict)


def write_features(path: Path, features: Sequence[LineFeature], members: Mapping[str, Any] | None = None) -> None:
    """Write a FeatureCollection, with further members if wanted.

    Coordinates are longitude and latitude where all features have a crs; metres of the local frame where none has one,
    which ``"foldmap:crs": null`` says; a MapInputError where some have one.
    """
    placed = {one.crs is not None for one in features}
    if len(placed) > 1:
        said = "some of the street maps are placed on Earth and some are in local frames"
        raise MapInputError(said, "write them one by one")
    found = []
    for number, one in enumerate(features):
        lines = [_coordinates(line, one.crs) for line in one.lines_m]
        kind, coordinates = ("LineString", lines[0]) if len(lines) == 1 else ("MultiLineString", lines)
        geometry = {"type": kind, "coordinates": coordinates} if lines else None
        others = {name: _coordinates(line, one.crs) for name, line in one.other_lines_m.items()}
        properties = {**one.properties, **others}
        found.append({"type": "Feature", "id": number, "properties": properties, "geometry": geometry})
    crs = {} if placed == {True} else {"foldmap:crs": None}
    content = {"type": "FeatureCollection", **crs, **(members or {}), "features": found}
    write_whole(path, json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")


def _coordinates(line_m: DoubleArray, crs: str | None) -> Any:
    digits = _FINDING_DIGITS if crs is None else _LONLAT_DIGITS
    return np.round(line_m if crs is None else to_lonlat(line_m, crs), digits).tolist()
