"""Maps that are polylines without topology: plain GeoJSON, CSV, and what others share. Lane ends are matched."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.street.json_text import numbers, positive, word
from foldmap.formats.street.reading import FARTHEST_M, LeftOut, MapReading, naming_file, reading_of
from foldmap.formats.street.units import metric_geojson
from foldmap.street.graph.joining import Joined, join_ends
from foldmap.street.graph.repair import require_metres
from foldmap.street.source import LANE, LINK, LaneAttributes, LaneGraph, StreetMap
from foldmap.types import AnyArray, DoubleArray

TOLERANCE_M = 0.5
"""How far the end of a lane may be from the start of the next, unless told otherwise."""

KIND_NAMES = {"lane": LANE, "link": LINK}

LINE_TYPES = ("LineString", "MultiLineString", "GeometryCollection")
"""Geometries of GeoJSON that are or hold lines."""
_DEEPEST = 8

_MAX_NUMBERS = 1 << 26


def polyline_map(
    name: str,
    lines: Sequence[DoubleArray],
    kinds: Sequence[int] = (),
    lanes: Sequence[LaneAttributes] = (),
    crs: str | None = None,
    tolerance_m: float = TOLERANCE_M,
    left_out: LeftOut | None = None,
) -> tuple[StreetMap, Joined]:
    """Join polylines to a map.

    Args:
        name: of the map.
        lines: float64 (P, 2) each, metres, in driving direction; those without length are left out.
        kinds: `LANE` or `LINK` a line, or none.
        lanes: attributes a line, or none.
        crs: of the coordinates.
        tolerance_m: of `foldmap.street.graph.joining.join_ends`.
        left_out: where lines without length, and edges that are there twice, are counted.

    Raises:
        MapInputError: no line has length.
    """
    left_out = LeftOut() if left_out is None else left_out
    kept = [k for k, line in enumerate(lines) if len(line) > 1 and np.ptp(line, axis=0).any()]
    left_out["line without length"] += len(lines) - len(kept)
    if not kept:
        reading_of(StreetMap(name, LaneGraph.empty()), left_out, name)  # says so, if lines were damaged
        raise MapInputError(f"{name}: there is no line with two distinct points", "give lanes as polylines")
    graph = LaneGraph.from_polylines(
        [lines[k] for k in kept], [kinds[k] for k in kept] if kinds else (), [lanes[k] for k in kept] if lanes else ()
    )
    joined = join_ends(graph, tolerance_m)
    left_out["edge that is there twice"] += joined.repairs.duplicate_edges
    left_out["edge shorter than the gap that is closed"] += joined.repairs.self_loops
    return StreetMap(name, joined.graph, crs), joined


def read_csv(path: Path, tolerance_m: float = TOLERANCE_M) -> StreetMap:
    """Read polylines from a table; see `read_csv_counted`."""
    return read_csv_counted(path, tolerance_m).street_map


@naming_file
def read_csv_counted(path: Path, tolerance_m: float = TOLERANCE_M) -> MapReading:
    """Read polylines from a table with the header ``line,x_m,y_m`` (and ``kind``, ``lane_type`` if wanted).

    Rows of one line follow each other in driving direction; ``kind`` is "lane" or "link". A name that comes again after
    other lines is another line; a line with a row that is damaged is dropped.

    Raises:
        MapInputError: the file cannot be read, a column is missing, most lines are damaged, single rows of lines lie
            among those of others, or coordinates are degrees; the message names the row.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, strict=True))
    except OSError as error:
        raise MapInputError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise MapInputError(f"{path} is no table: {error}", "give columns line,x_m,y_m in UTF-8") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    missing = [column for column in ("line", "x_m", "y_m") if column not in header]
    if missing:
        raise MapInputError(f"{path} has no column {missing[0]}", "give columns line,x_m,y_m with a header")
    left_out = LeftOut()
    runs = _runs(rows[1:], {column: header.index(column) for column in header}, left_out)
    lines = [np.array(run.points, np.float64) for run in runs]
    if lines:
        require_metres(_loose(lines), str(path))
    names = unique_names([run.name for run in runs])
    lanes = [LaneAttributes(name, lane_type=run.lane_type) for name, run in zip(names, runs, strict=True)]
    found, _ = polyline_map(path.stem, lines, [run.kind for run in runs], lanes, None, tolerance_m, left_out)
    return reading_of(found, left_out, path)


@dataclass
class _Run:
    """Rows of one line that follow each other."""

    name: str
    first_row: int
    kind: int = LANE
    lane_type: str | None = None
    points: list[tuple[float, float]] = field(default_factory=list)
    fault: str | None = None


def _runs(rows: Sequence[list[str]], at: Mapping[str, int], left_out: LeftOut) -> list[_Run]:
    runs: list[_Run] = []
    for number, row in enumerate(rows, start=2):
        cells = {column: row[k].strip() if k < len(row) else "" for column, k in at.items()}
        if not any(cells.values()):
            continue
        if not cells["line"]:
            left_out.fault("row", f"row {number}: the line has no name")
            continue
        if not runs or runs[-1].name != cells["line"]:
            runs.append(_Run(cells["line"], number, lane_type=cells.get("lane_type") or None))
            kind = cells.get("kind") or "lane"
            runs[-1].kind = KIND_NAMES.get(kind, LANE)
            if kind not in KIND_NAMES:
                left_out.fault(
                    "kind of a line, taken for a lane", f"row {number}: kind {kind[:40]!r} is neither lane nor link"
                )
        try:
            point = (float(cells["x_m"]), float(cells["y_m"]))
        except ValueError as error:
            runs[-1].fault = runs[-1].fault or f"row {number}: {error}"
            continue
        if not (np.abs(point) < FARTHEST_M).all():
            runs[-1].fault = runs[-1].fault or f"row {number}: a coordinate is not finite"
        runs[-1].points.append(point)
    _check_repeated(runs, left_out)
    for run in runs:
        if run.fault is not None:
            left_out.fault("line", run.fault, 1)
    return [run for run in runs if run.fault is None]


def _check_repeated(runs: Sequence[_Run], left_out: LeftOut) -> None:
    """Look at names that come again after other lines.

    Raises:
        MapInputError: with single rows: lines that are mixed row by row would fall apart.
    """
    first: dict[str, _Run] = {}
    for run in runs:
        before = first.setdefault(run.name, run)
        if before is run:
            continue
        if min(len(before.points), len(run.points)) < 2:
            raise MapInputError(
                f"row {run.first_row}: line {run.name} comes again after rows of other lines",
                "sort the table by line, or give each line a name of its own",
            )
        left_out.fault(
            "name of a line, used again and taken for another line",
            f"row {run.first_row}: line {run.name} comes again after others",
        )


def name_of(ids: Sequence[Any], row: object) -> str:
    """The first id that is one, of a line; the number of its row where there is none, null or NaN."""
    for identity in ids:
        if isinstance(identity, (str, int, np.integer)) and identity != "":
            return str(identity)
        if isinstance(identity, (float, np.floating)) and identity == identity:
            return str(int(identity)) if float(identity).is_integer() else str(identity)
    return str(row)


def unique_names(names: Sequence[str]) -> list[str]:
    """The same names, those that were there before with a number."""
    taken, found = set(names), []
    seen: set[str] = set()
    for name in names:
        unique, number = name, 1
        while unique in seen or (unique != name and unique in taken):
            number += 1
            unique = f"{name}-{number}"
        seen.add(unique)
        found.append(unique)
    return found


def _loose(lines: Sequence[DoubleArray]) -> LaneGraph:
    """Lines that have length, as they are."""
    return LaneGraph.from_polylines([line for line in lines if len(line) > 1 and np.ptp(line, axis=0).any()])


def plain_geojson(content: Any, path: Path, tolerance_m: float = TOLERANCE_M) -> MapReading:
    """Read lines that are lanes in driving direction from parsed GeoJSON; other geometries are counted.

    LineStrings, MultiLineStrings and those in GeometryCollections are read. Longitude and latitude, as RFC 7946 has it,
    are projected to a transverse Mercator about the middle of the map. A ``crs`` member, as GeoJSON had before, may
    name another crs, and ``"foldmap:crs": null`` says that coordinates are metres of a local frame; coordinates that
    cannot be degrees are taken for such.

    Properties that are read: ``kind`` ("lane" or "link"), ``lane_type``, ``width_m``, ``speed_limit_mps``, ``id``.

    Raises:
        MapInputError: the content is something else, holds no line, most of its lines are damaged, or coordinates may
            be degrees as well as metres.
    """
    left_out = LeftOut()
    lines: list[DoubleArray] = []
    kinds: list[int] = []
    lanes: list[LaneAttributes] = []
    taken: set[str] = set()
    for number, feature in enumerate(features(content, path)):
        where = f"feature {number}"
        properties = feature.get("properties") or {}
        name = name_of((properties.get("id"), feature.get("id")), number)
        found = _geometry_lines(feature.get("geometry"), where, left_out)
        if found and name in taken:
            left_out["id that was there before, numbered on"] += 1
        taken.add(name)
        lines += found
        kinds += [kind_of_line(properties.get("kind"), left_out)] * len(found)
        lanes += [attributes_of(properties, name)] * len(found)
    if not lines and not left_out.faults:
        raise MapInputError(f"{path} holds no LineString", "give lanes as LineStrings in driving direction")
    if not lines:
        return reading_of(StreetMap(path.stem, LaneGraph.empty()), left_out, path)
    names = unique_names([lane.identity for lane in lanes])
    lanes = [replace(lane, identity=name) for lane, name in zip(lanes, names, strict=True)]
    lines, crs = metric_geojson(lines, content, path)
    return reading_of(polyline_map(path.stem, lines, kinds, lanes, crs, tolerance_m, left_out)[0], left_out, path)


def kind_of_line(kind: Any, left_out: LeftOut) -> int:
    """`LANE` or `LINK`; other words, which other people's files may hold, are counted and taken for a lane."""
    if kind is None or kind != kind or kind == "":
        return LANE
    if kind not in KIND_NAMES:
        left_out[f"kind {str(kind)[:40]!r}, which is neither lane nor link: taken for a lane"] += 1
    return KIND_NAMES.get(str(kind), LANE)


def features(content: Any, path: Path) -> list[Mapping[str, Any]]:
    """The features of parsed GeoJSON: of a collection, or the single feature or geometry that it is.

    Raises:
        MapInputError: it is neither.
    """
    kind = content.get("type") if isinstance(content, Mapping) else None
    found: Any
    if kind == "Feature":
        found = [content]
    elif kind in LINE_TYPES:
        found = [{"type": "Feature", "properties": {}, "geometry": content}]
    else:
        found = content.get("features") if kind == "FeatureCollection" else None
    if not isinstance(found, list):
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


def _geometry_lines(geometry: Any, where: str, left_out: LeftOut, depth: int = 0) -> list[DoubleArray]:
    """All lines of a geometry; those that are damaged are noted, geometries that are no lines counted."""
    if not geometry:
        left_out["feature without a geometry"] += 1
        return []
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    parts = geometry.get({"GeometryCollection": "geometries"}.get(str(kind), "coordinates")) if kind else None
    found: list[DoubleArray] = []
    if kind not in LINE_TYPES or depth > _DEEPEST:
        left_out[f"geometry of type {str(kind)[:40]}"] += 1
    elif kind == "GeometryCollection" and isinstance(parts, list):
        found = [line for part in parts for line in _geometry_lines(part, where, left_out, depth + 1)]
    else:
        rows = parts if kind == "MultiLineString" and isinstance(parts, list) else [parts]
        for row in rows:
            with left_out.dropping("line", 1):
                found.append(numbers(row, where))
    return found


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
