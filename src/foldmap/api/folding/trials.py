"""The page of a folded raster: which codes were tried on it, what they cost and reached, and what the file holds."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foldmap.atlas import FoldFile
from foldmap.atlas.whole import make_folder, write_whole
from foldmap.localize.lidar.choosing import HELD_OUT
from foldmap.report.codes_view import codes_png
from foldmap.report.figures import accuracy_plot
from foldmap.report.page import Page

_COLUMNS = {
    "model": "code",
    "bit_per_m2": "bit/m²",
    "model_bytes": "model [B]",
    "ok": "answered ok [%]",
    "median_m": "median error [cm]",
    "p95_m": "95th percentile [cm]",
    "places": "sweeps",
}
_SIMULATED = (
    "Sweeps were simulated on the map itself, and localized in what each code keeps of it, from priors off by up to a "
    "metre and 5 degrees. They share the map's errors, which flatters every code alike: read the figures as a "
    "comparison, not as the accuracy to expect."
)
_HELD_OUT = (
    "Sweeps of the drive, five laid together, were localized in what each code keeps of a map that was built without "
    "them and without 15 sweeps on each side, from priors off by up to a metre and 5 degrees."
)
_CHOICE = (
    "Taken is the code that is smallest for the whole map, its model included, of those that answer within 5 % of the "
    "most places, with a median error within a quarter of the least."
)


def write_trials(folder: Path, fold_file: Path, summary: Mapping[str, Any]) -> None:
    """Write raster.html, raster.json and, where codes were tried, raster.svg into a folder.

    The summary is what `foldmap.api.folding.rasters.fold_rasters` gives. A ConfigError where the folder cannot be made.
    """
    make_folder(folder)
    tried = summary["tried"]
    lead = (
        f"{summary['model']}: {summary['bit_per_m2']:.2f} bit/m² of observed ground, {summary['payload_bytes']:,} "
        f"bytes of tiles for {summary['observed_m2']:,.0f} m², {fold_file.stat().st_size:,} bytes in all."
    )
    page = Page("Folding a raster: codes that were tried", lead)
    if tried:
        page.text(_HELD_OUT if tried[0]["sweeps"] == HELD_OUT else _SIMULATED)
        picture = _plot(tried, summary["model"])
        if picture is not None:
            page.figure(
                picture, "Median error of all answers, right or refused, against size; down and left is better."
            )
            write_whole(folder / "raster.svg", picture)
        page.table([_row(one) for one in tried], _COLUMNS, _CHOICE)
    else:
        page.text("No codes were tried on this map: it shows too little ground to place sweeps on.")
    if adapted := summary.get("adapted"):
        page.heading("Adapted to the sensor").table([adapted], {key: key.replace("_", " ") for key in adapted})
    with FoldFile.open(fold_file) as file:
        page.heading("What the file holds").figure(
            codes_png(file), "The binary channels of the code, all that is stored."
        )
    held = {key: value for key, value in summary.items() if key != "tried"}
    write_whole(folder / "raster.json", json.dumps({**held, "tried": tried}, indent=2) + "\n")
    write_whole(folder / "raster.html", page.html())


def _row(trial: Mapping[str, Any]) -> dict[str, Any]:
    """With lengths in centimetres and shares in percent."""
    errors = {key: 100 * float(trial[key]) for key in ("median_m", "p95_m")}
    return {**trial, **errors, "ok": 100 * trial["ok"]}


def _plot(tried: Sequence[Mapping[str, Any]], chosen: str) -> bytes | None:
    """A point a code, the one that was taken in the accent colour; None where none was matched."""
    points = {
        f"foldmap: {one['model']}" if one["model"] == chosen else one["model"]: [
            (one["bit_per_m2"], 100 * float(one["median_m"]))
        ]
        for one in tried
    }
    if not any(math.isfinite(y) and x > 0 for ((x, y),) in points.values()):
        return None
    return accuracy_plot(points, title="What codes of this map cost, and reach")
