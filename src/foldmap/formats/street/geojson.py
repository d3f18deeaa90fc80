"""GeoJSON: a lane graph as LineStrings that any GIS opens, and back with its topology exact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.errors import MapInputError
from foldmap.formats.crs import lonlat_lines, to_lonlat
from foldmap.formats.street.json_text import numbers, read_json
from foldmap.formats.street.polylines import KIND_NAMES, TOLERANCE_M, attributes_of, features, plain_geojson
from foldmap.formats.street.reading import MapReading, naming_file
from foldmap.formats.street.table import KIND_WORDS, ChainRow, chain_rows, graph_of_rows
from foldmap.street.graph.repair import require_metres
from foldmap.street.source import StreetMap
from foldmap.types import DoubleArray

VERSION = 1
"""Of what the members and properties below mean."""

_LONLAT_DIGITS = 10
_METRE_DIGITS = 5


def write_geojson(street_map: StreetMap, path: Path) -> None:
    """Write one LineString a chain, in driving direction.

    Coordinates are longitude and latitude (RFC 7946, 10 decimals) where the crs is known; otherwise metres of the local
    frame, which ``"foldmap:crs": null`` says. Properties: ``kind`` ("lane", "link"), ``from`` and ``to`` (ids of the
    vertices where chains meet: equal ids are one vertex), ``lane``, ``lane_id``, ``lane_type``, ``width_m``,
    ``speed_limit_mps`` (null where unknown). Members ``foldmap:street`` (version), ``foldmap:name``, ``foldmap:crs``.

    Raises:
        MapInputError: pyproj does not read the crs, or coordinates are outside of it.
        WriteError: the file cannot be written.
    """
    rows = chain_rows(street_map.graph)
    lines = [row.line_m for row in rows]
    digits = _METRE_DIGITS
    if street_map.crs is not None and rows:
        cuts = np.cumsum([len(line) for line in lines])[:-1]
        lines = np.split(to_lonlat(np.concatenate(lines), street_map.crs, street_map.name), cuts)
        digits = _LONLAT_DIGITS
    found = [
        {
            "type": "Feature",
            "id": number,
            "properties": properties_of(row),
            "geometry": {"type": "LineString", "coordinates": np.round(line, digits).tolist()},
        }
        for number, (row, line) in enumerate(zip(rows, lines, strict=True))
    ]
    content = {
        "type": "FeatureCollection",
        "foldmap:street": VERSION,
        "foldmap:name": street_map.name,
        "foldmap:crs": street_map.crs,
        "features": found,
    }
    write_whole(path, json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")


def properties_of(row: ChainRow) -> dict[str, Any]:
    """What is written of a chain beside its line."""
    known = row.attributes
    return {
        "kind": KIND_WORDS[row.kind],
        "from": row.start,
        "to": row.end,
        "lane": row.lane if row.lane >= 0 else None,
        "lane_id": known.identity if known else None,
        "lane_type": known.lane_type if known else None,
        "width_m": known.width_m if known else None,
        "speed_limit_mps": known.speed_limit_mps if known else None,
    }


def row_of(properties: Mapping[str, Any], line: DoubleArray, where: str) -> ChainRow:
    """The chain of a line and its properties.

    Raises:
        MapInputError: ``from`` or ``to`` is missing, or a value is of another type.
    """
    whole: dict[str, int] = {}
    for name in ("from", "to", "lane"):
        value = properties.get(name)
        if name == "lane" and (value is None or value != value):
            value = -1
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 2**53 or value % 1:
            raise MapInputError(
                f"{where}: {name} is {str(value)[:40]!r}",
                "give the number of the vertex, or drop from and to of all lines, so that ends are matched",
            )
        whole[name] = int(value)
    kind = properties.get("kind")
    if not isinstance(kind, str) or kind not in KIND_NAMES:
        raise MapInputError(f"{where}: kind is {str(kind)[:40]!r}", "give lane or link")
    lane = max(-1, whole["lane"])
    identity = properties.get("lane_id")
    attributes = attributes_of(properties, identity if isinstance(identity, str) else str(lane)) if lane >= 0 else None
    return ChainRow(line, whole["from"], whole["to"], KIND_NAMES[kind], lane, attributes)


def read_geojson(path: Path, tolerance_m: float = TOLERANCE_M) -> StreetMap:
    """Read GeoJSON of lanes; see `read_geojson_counted`."""
    return read_geojson_counted(path, tolerance_m).street_map


@naming_file
def read_geojson_counted(path: Path, tolerance_m: float = TOLERANCE_M) -> MapReading:
    """Read what `write_geojson` wrote, or any GeoJSON of lanes (`foldmap.formats.street.polylines.plain_geojson`).

    Args:
        path: the file; lines that have ``from`` and ``to`` keep their topology exactly, those of others are matched at
            their ends.
        tolerance_m: for matching ends.

    Raises:
        MapInputError: the file is something else, of a later version, or lines do not fit together.
    """
    content = read_json(path, "GeoJSON")
    found = features(content, path)
    version = content.get("foldmap:street")
    exact = [feature for feature in found if {"from", "to"} <= set(feature.get("properties") or {})]
    if version is None or not exact:
        if version is not None and not found:
            return MapReading(_empty(content, path))
        return plain_geojson(content, path, tolerance_m)
    if version != VERSION:
        raise MapInputError(f"{path} is of version {str(version)[:20]}, known is {VERSION}", "update foldmap")
    lines = []
    for number, feature in enumerate(found):
        geometry = feature.get("geometry") or {}
        if geometry.get("type") != "LineString":
            raise MapInputError(f"{path}, feature {number} is no LineString", "drop it")
        lines.append(numbers(geometry.get("coordinates"), f"{path}, feature {number}"))
    crs = _crs(content, path)
    if crs is not None:
        lines, crs = lonlat_lines(np.concatenate(lines), [len(line) for line in lines], str(path), crs)
    rows = [
        row_of(feature.get("properties") or {}, line, f"{path}, feature {number}")
        for number, (feature, line) in enumerate(zip(found, lines, strict=True))
    ]
    graph = graph_of_rows(rows, str(path))
    require_metres(graph, str(path))
    return MapReading(StreetMap(_name(content, path), graph, crs))


def _empty(content: Mapping[str, Any], path: Path) -> StreetMap:
    return StreetMap(_name(content, path), graph_of_rows([], str(path)), _crs(content, path))


def _crs(content: Mapping[str, Any], path: Path) -> str | None:
    crs = content.get("foldmap:crs")
    if crs is not None and not isinstance(crs, str):
        raise MapInputError(f"{path}: foldmap:crs is no text", "give what pyproj reads, or null for a local frame")
    return crs


def _name(content: Mapping[str, Any], path: Path) -> str:
    name = content.get("foldmap:name")
    return name if isinstance(name, str) and name else path.stem
