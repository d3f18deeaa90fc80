"""Polylines from a table: ``line,x_m,y_m``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.street.csv_table import CsvTable, read_csv_table
from foldmap.formats.street.polylines import KIND_NAMES, TOLERANCE_M, has_length, polyline_map, unique_names
from foldmap.formats.street.reading import FARTHEST_M, LeftOut, MapReading, naming_file, reading_of
from foldmap.street.graph.repair import require_metres
from foldmap.street.source import LANE, LaneAttributes, LaneGraph


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
