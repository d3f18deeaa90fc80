"""Maps that are polylines without topology: lane ends are matched. What CSV, GeoJSON, GeoParquet and nuScenes share.

CSV is a table with the columns ``line,x_m,y_m``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.street.reading import FARTHEST_M, LeftOut, MapReading, naming_file, reading_of
from foldmap.formats.textual import CsvTable, read_csv_table
from foldmap.street.graph.joining import Joined, join_ends
from foldmap.street.graph.repair import require_metres
from foldmap.street.source import LANE, LINK, LaneAttributes, LaneGraph, StreetMap
from foldmap.types import DoubleArray

TOLERANCE_M = 0.5
"""How far the end of a lane may be from the start of the next, unless told otherwise."""

_AGAINST, _BOTH_WAYS = {"-1", "reverse", "backward"}, {"no", "false", "0"}
_WALKED = {"footway", "path", "steps", "pedestrian", "cycleway", "bridleway", "corridor", "platform", "proposed"}

KIND_NAMES = {"lane": LANE, "link": LINK}


def polyline_map(
    name: str,
    lines: Sequence[DoubleArray],
    kinds: Sequence[int] = (),
    lanes: Sequence[LaneAttributes] = (),
    crs: str | None = None,
    tolerance_m: float = TOLERANCE_M,
    left_out: LeftOut | None = None,
    heights_m: Sequence[DoubleArray] = (),
) -> tuple[StreetMap, Joined]:
    """Join polylines, float64 (P, 2) in metres and driving direction, to a map; a MapInputError where none has length.

    Kinds (`LANE` or `LINK`) and attributes are one a line, or none. Lines without length, and edges that are there
    twice, are left out and counted. ``tolerance_m`` is that of `foldmap.street.graph.joining.join_ends`; ``heights_m``
    are of the first and the last point of each line (2,), or none (`end_heights`).
    """
    left_out = LeftOut() if left_out is None else left_out
    kept = [k for k, line in enumerate(lines) if has_length(line)]
    left_out["line without length"] += len(lines) - len(kept)
    if not kept:
        reading_of(StreetMap(name, LaneGraph.empty()), left_out, name)  # says so, if lines were damaged
        raise MapInputError(f"{name}: there is no line with two distinct points", "give lanes as polylines")
    kinds, lanes = [kinds[k] for k in kept] if kinds else (), [lanes[k] for k in kept] if lanes else ()
    graph = LaneGraph.from_polylines([lines[k] for k in kept], kinds, lanes)
    levels_m = None
    if len(heights_m):
        levels_m = np.full(len(graph), np.nan)
        first_last = np.array([heights_m[k] for k in kept], np.float64)
        levels_m[graph.in_degree == 0], levels_m[graph.out_degree == 0] = first_last.T
    joined = join_ends(graph, tolerance_m, levels_m)
    left_out["end that meets another line in plan, on another level: not joined"] += joined.storeys
    left_out["edge that is there twice"] += joined.repairs.duplicate_edges
    left_out["edge shorter than the gap that is closed"] += joined.repairs.self_loops
    return StreetMap(name, joined.graph, crs), joined


def has_length(line_m: DoubleArray) -> bool:
    """Whether a polyline (P, 2) has two distinct points."""
    return len(line_m) > 1 and bool(np.ptp(line_m, axis=0).any())


def end_heights(points: Any) -> DoubleArray:
    """Heights of the first and the last of some points (2,), NaN where they have none."""
    heights = [point[2] if len(point) > 2 else None for point in (points[0], points[-1])]
    known = [isinstance(each, int | float) and abs(each) < FARTHEST_M for each in heights]
    return np.array([each if here else math.nan for each, here in zip(heights, known, strict=True)], np.float64)


def line_name(ids: Sequence[Any], row: object) -> str:
    """The first id that is one, of a line; the number of its row where there is none, null or NaN."""
    for identity in ids:
        if isinstance(identity, (str, int, np.integer)) and identity != "":
            return str(identity)
        if isinstance(identity, (float, np.floating)) and identity == identity:
            return str(int(identity)) if float(identity).is_integer() else str(identity)
    return str(row)


def unique_names(names: Sequence[str]) -> list[str]:
    """The same names, those that were there before with a number."""
    taken = set(names)
    found: dict[str, None] = {}
    for name in names:
        unique, number = name, 1
        while unique in found or (unique != name and unique in taken):
            number += 1
            unique = f"{name}-{number}"
        found[unique] = None
    return list(found)


def kind_of_line(kind: Any, left_out: LeftOut) -> int:
    """`LANE` or `LINK`; other words, which other people's files may hold, are counted and taken for a lane."""
    if kind is None or kind != kind or kind == "":
        return LANE
    if kind not in KIND_NAMES:
        left_out[f"kind {str(kind)[:40]!r}, which is neither lane nor link: taken for a lane"] += 1
    return KIND_NAMES.get(str(kind), LANE)


def directions(properties: Mapping[str, Any], left_out: LeftOut) -> tuple[int, ...]:
    """Which ways a line is driven: 1 as it runs, -1 against; none where it is closed to vehicles, which is counted.

    Lines are in driving direction, unless OpenStreetMap's properties say otherwise: ``oneway`` yes, no or -1; a
    ``highway`` that says nothing of it is open both ways, but for motorways and roundabouts.
    """
    highway, oneway = properties.get("highway"), properties.get("oneway")
    if isinstance(highway, str) and highway in _WALKED:
        left_out[f"line of highway {highway}, closed to vehicles"] += 1
        return ()
    said = str(oneway).strip().lower() if isinstance(oneway, str | bool | int) else ""
    if said in _AGAINST:
        return (-1,)
    implied = str(highway).startswith("motorway") or properties.get("junction") in ("roundabout", "circular")
    both = said in _BOTH_WAYS or (said == "" and isinstance(highway, str) and not implied)
    return (1, -1) if both else (1,)


def attributes_of(properties: Mapping[str, Any], identity: str) -> LaneAttributes:
    """Lane attributes from the properties of a feature; values of another type are unknown."""
    lane_type = properties.get("lane_type")
    width_m, speed_mps = (_positive(properties.get(key)) for key in ("width_m", "speed_limit_mps"))
    return LaneAttributes(identity, width_m, speed_mps, lane_type if isinstance(lane_type, str) and lane_type else None)


def _positive(value: Any) -> float | None:
    """A number above zero, or None: a width or speed that the map does not know."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    # compared before it is converted: an integer may be too large for a float
    return float(value) if 0 < value <= sys.float_info.max else None


@naming_file
def read_csv(path: Path, tolerance_m: float = TOLERANCE_M) -> MapReading:
    """Read polylines from a table with the header ``line,x_m,y_m`` (and ``kind``, ``lane_type`` if wanted).

    Rows of one line follow each other in driving direction; ``kind`` is "lane" or "link". A name that comes again after
    other lines is another line; a line with a row that is damaged is dropped. Single rows of lines among those of
    others, and coordinates in degrees, are a MapInputError.
    """
    table = read_csv_table(path, ("line", "x_m", "y_m"), "columns line,x_m,y_m with a header, in UTF-8", ragged=True)
    left_out = LeftOut()
    runs = _runs(table, left_out)
    lines = [np.array(run.points, np.float64) for run in runs]
    if lines:
        require_metres(LaneGraph.from_polylines([line for line in lines if has_length(line)]), str(path))
    names = unique_names([run.name for run in runs])
    lanes = [LaneAttributes(name, lane_type=run.lane_type) for name, run in zip(names, runs, strict=True)]
    found, _ = polyline_map(path.stem, lines, [run.kind for run in runs], lanes, None, tolerance_m, left_out)
    return reading_of(found, left_out, path)


@dataclass
class _LineRows:
    """Rows of one line that follow each other."""

    name: str
    first_row: int
    kind: int = LANE
    lane_type: str | None = None
    points: list[tuple[float, float]] = field(default_factory=list)
    fault: str | None = None


def _runs(table: CsvTable, left_out: LeftOut) -> list[_LineRows]:
    runs: list[_LineRows] = []
    for number, cells in table.rows:
        if not cells["line"]:
            left_out.fault("row", f"row {number}: the line has no name")
            continue
        if not runs or runs[-1].name != cells["line"]:
            kind = cells.get("kind") or "lane"
            if kind not in KIND_NAMES:
                where = f"row {number}: kind {kind[:40]!r} is neither lane nor link"
                left_out.fault("kind of a line, taken for a lane", where)
            runs.append(_LineRows(cells["line"], number, KIND_NAMES.get(kind, LANE), cells.get("lane_type") or None))
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


def _check_repeated(runs: Sequence[_LineRows], left_out: LeftOut) -> None:
    """Look at names that come again after other lines; with single rows, lines that are mixed would fall apart."""
    first: dict[str, _LineRows] = {}
    for run in runs:
        before, again = first.setdefault(run.name, run), f"row {run.first_row}: line {run.name} comes again after"
        if before is run:
            continue
        if min(len(before.points), len(run.points)) < 2:
            cure = "sort the table by line, or give each line a name of its own"
            raise MapInputError(f"{again} rows of other lines", cure)
        left_out.fault("name of a line, used again and taken for another line", f"{again} others")
