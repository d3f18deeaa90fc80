"""Maps that are polylines without topology: nuScenes lanes (npz), plain GeoJSON, CSV. Lane ends are matched."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.crs import lonlat_lines, metric_lines
from foldmap.formats.street_json import numbers, positive, read_json, word
from foldmap.street.joining import Joined, join_ends
from foldmap.street.repair import METRES, UNSURE, require_metres, unit_of
from foldmap.street.source import LANE, LINK, LaneAttributes, LaneGraph, StreetMap
from foldmap.types import AnyArray, DoubleArray

TOLERANCE_M = 0.5
"""How far the end of a lane may be from the start of the next, unless told otherwise."""

KIND_NAMES = {"lane": LANE, "link": LINK}

_MAX_NUMBERS = 1 << 26


def polyline_map(
    name: str,
    lines: Sequence[DoubleArray],
    kinds: Sequence[int] = (),
    lanes: Sequence[LaneAttributes] = (),
    crs: str | None = None,
    tolerance_m: float = TOLERANCE_M,
) -> tuple[StreetMap, Joined]:
    """Join polylines to a map.

    Args:
        name: of the map.
        lines: float64 (P, 2) each, metres, in driving direction; those without length are left out.
        kinds: `LANE` or `LINK` a line, or none.
        lanes: attributes a line, or none.
        crs: of the coordinates.
        tolerance_m: of `foldmap.street.joining.join_ends`.

    Raises:
        MapInputError: no line has length.
    """
    kept = [k for k, line in enumerate(lines) if len(line) > 1 and np.ptp(line, axis=0).any()]
    if not kept:
        raise MapInputError(f"{name}: there is no line with two distinct points", "give lanes as polylines")
    graph = LaneGraph.from_polylines(
        [lines[k] for k in kept], [kinds[k] for k in kept] if kinds else (), [lanes[k] for k in kept] if lanes else ()
    )
    joined = join_ends(graph, tolerance_m)
    return StreetMap(name, joined.graph, crs), joined


def read_csv(path: Path, tolerance_m: float = TOLERANCE_M) -> StreetMap:
    """Read polylines from a table with the header ``line,x_m,y_m`` (and ``kind``, ``lane_type`` if wanted).

    Rows of one line follow each other in driving direction; ``kind`` is "lane" or "link".

    Raises:
        MapInputError: the file cannot be read, a column is missing, a number is none, or coordinates are degrees; the
            message names the row.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, strict=True))
    except OSError as error:
        raise MapInputError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise MapInputError(f"{path} is no table: {error}", "give columns line,x_m,y_m") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    missing = [column for column in ("line", "x_m", "y_m") if column not in header]
    if missing:
        raise MapInputError(f"{path} has no column {missing[0]}", "give columns line,x_m,y_m with a header")
    at = {column: header.index(column) for column in header}
    points: dict[str, list[tuple[float, float]]] = {}
    about_line: dict[str, tuple[int, LaneAttributes]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        line, point, kind, lane_type = _csv_row(row, at, f"{path}, row {number}")
        points.setdefault(line, []).append(point)
        about_line.setdefault(line, (kind, LaneAttributes(line, lane_type=lane_type)))
    lines = [np.array(run, np.float64) for run in points.values()]
    if lines:
        require_metres(_loose(lines), str(path))
    kinds = [kind for kind, _ in about_line.values()]
    return polyline_map(path.stem, lines, kinds, [lane for _, lane in about_line.values()], None, tolerance_m)[0]


def _csv_row(row: list[str], at: Mapping[str, int], where: str) -> tuple[str, tuple[float, float], int, str | None]:
    cells = {column: row[k].strip() if k < len(row) else "" for column, k in at.items()}
    try:
        point = (float(cells["x_m"]), float(cells["y_m"]))
    except ValueError as error:
        raise MapInputError(f"{where}: {error}", "give metres in x_m and y_m") from error
    if not np.isfinite(point).all():
        raise MapInputError(f"{where}: a coordinate is not finite", "drop or mend the row")
    if not cells["line"]:
        raise MapInputError(f"{where}: the line has no name", "number the lines")
    kind = cells.get("kind") or "lane"
    if kind not in KIND_NAMES:
        raise MapInputError(f"{where}: kind {kind!r}", "give lane or link")
    return cells["line"], point, KIND_NAMES[kind], cells.get("lane_type") or None


def _loose(lines: Sequence[DoubleArray]) -> LaneGraph:
    """Lines that have length, as they are."""
    return LaneGraph.from_polylines([line for line in lines if len(line) > 1 and np.ptp(line, axis=0).any()])


def read_plain_geojson(path: Path, tolerance_m: float = TOLERANCE_M) -> StreetMap:
    """Read LineStrings and MultiLineStrings that are lanes in driving direction, other geometries are passed over.

    Longitude and latitude, as RFC 7946 has it, are projected to a transverse Mercator about the middle of the map. A
    ``crs`` member, as GeoJSON had before, may name another crs, and ``"foldmap:crs": null`` says that coordinates are
    metres of a local frame; coordinates that cannot be degrees are taken for such.

    Properties that are read: ``kind`` ("lane" or "link"), ``lane_type``, ``width_m``, ``speed_limit_mps``, ``id``.

    Raises:
        MapInputError: the file is something else, holds no line, a coordinate is not usable, or coordinates may be
            degrees as well as metres.
    """
    path = Path(path)
    return plain_geojson(read_json(path, "GeoJSON"), path, tolerance_m)


def plain_geojson(content: Any, path: Path, tolerance_m: float = TOLERANCE_M) -> StreetMap:
    """What `read_plain_geojson` makes of a parsed file."""
    lines, kinds, lanes = [], [], []
    for number, feature in enumerate(features(content, path)):
        where = f"{path}, feature {number}"
        properties = feature.get("properties") or {}
        kind = properties.get("kind") or "lane"
        if kind not in KIND_NAMES:
            raise MapInputError(f"{where}: kind {str(kind)[:40]!r}", "give lane or link")
        for line in _geometry_lines(feature.get("geometry"), where):
            lines.append(line)
            kinds.append(KIND_NAMES[kind])
            lanes.append(attributes_of(properties, str(properties.get("id", feature.get("id", number)))))
    if not lines:
        raise MapInputError(f"{path} holds no LineString", "give lanes as LineStrings in driving direction")
    lines, crs = _metric(lines, content, path)
    return polyline_map(path.stem, lines, kinds, lanes, crs, tolerance_m)[0]


def features(content: Any, path: Path) -> list[Mapping[str, Any]]:
    """The features of a parsed GeoJSON file.

    Raises:
        MapInputError: it is no FeatureCollection of features.
    """
    found = content.get("features") if isinstance(content, Mapping) else None
    if not isinstance(found, list) or content.get("type") != "FeatureCollection":
        raise MapInputError(f"{path} is no GeoJSON FeatureCollection", "give one of LineStrings")
    for number, feature in enumerate(found):
        good = isinstance(feature, Mapping) and isinstance(feature.get("properties") or {}, Mapping)
        if not good or not isinstance(feature.get("geometry") or {}, Mapping):
            raise MapInputError(f"{path}, feature {number} is no GeoJSON feature", "give one with geometry, properties")
    return found


def attributes_of(properties: Mapping[str, Any], identity: str) -> LaneAttributes:
    """Lane attributes from the properties of a feature; values of another type are unknown."""
    return LaneAttributes(
        identity,
        positive(properties.get("width_m")),
        positive(properties.get("speed_limit_mps")),
        word(properties.get("lane_type")),
    )


def _geometry_lines(geometry: Mapping[str, Any] | None, where: str) -> list[DoubleArray]:
    kind = geometry.get("type") if geometry else None
    rows = geometry.get("coordinates") if geometry else None
    if kind == "LineString":
        return [numbers(rows, where)]
    if kind == "MultiLineString" and isinstance(rows, list):
        return [numbers(part, where) for part in rows]
    return []


def _metric(lines: list[DoubleArray], content: Mapping[str, Any], path: Path) -> tuple[list[DoubleArray], str | None]:
    """Lines in metres and their crs: what the file says of itself; else degrees, as RFC 7946 has it.

    Files of local metres are common in spite of the RFC: coordinates that cannot be degrees are taken for such.
    """
    label = _named_crs(content, path)
    if label is not None:
        return metric_lines(lines, label, str(path))
    if content.get("foldmap:crs", "") is None:
        return lines, None
    whole, lengths = np.concatenate(lines), [len(line) for line in lines]
    unit = unit_of(lines)
    if unit == METRES:
        return lines, None
    if unit == UNSURE:
        raise MapInputError(
            f"{path}: coordinates such as {whole[0].tolist()} may be degrees of a coarse map or metres of a small one",
            'name it: "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}} for degrees, '
            '"foldmap:crs": null for metres of a local frame',
        )
    return lonlat_lines(whole, lengths, str(path))


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


def open_npz(path: Path, what: str) -> dict[str, AnyArray]:
    """All arrays of an npz file, sizes limited.

    Raises:
        MapInputError: it cannot be read, is no npz, or holds objects or more than 64 million values.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(info.file_size for info in packed.infolist()) > 8 * _MAX_NUMBERS:
                raise MapInputError(f"{path} unpacks to more than 512 MiB", f"give {what}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise MapInputError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, NotImplementedError) as error:
        raise MapInputError(f"{path} is damaged or holds something else: {error}", f"give {what}") from error
