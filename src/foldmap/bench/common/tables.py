"""Write results as JSON and CSV, and as a page with plots."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.bench.lidar.online_protocol import ONLINE_COLUMNS, online_row
from foldmap.bench.lidar.predict import Predictions
from foldmap.bench.lidar.score import MATCHING_COLUMNS, errors_of, matching_row, storage_rows
from foldmap.metrics import LA_COUNTY, UNITED_STATES, RoadNetwork, format_bytes
from foldmap.report import Page, accuracy_plot, error_cdf_plot, failure_plot, trajectory_plot


def to_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as JSON; infinite becomes the string "inf", NaN becomes null, since JSON knows neither."""
    return json.dumps([{k: _plain(v) for k, v in row.items()} for row in rows], indent=2) + "\n"


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with the union of their keys as header, in order of appearance."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if _plain(v) is None else _plain(v) for k, v in row.items()} for row in rows)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def write_matching(
    results: Sequence[Predictions],
    folder: Path,
    title: str,
    lead: str = "",
    command: str = "",
    strips: Sequence[tuple[str, bytes]] = (),
    roads: Sequence[RoadNetwork] = (LA_COUNTY, UNITED_STATES),
) -> list[dict[str, Any]]:
    """Score methods and write ``matching.json``, ``matching.csv``, plots and ``index.html``.

    Args:
        results: answers, one a method, all on one benchmark.
        folder: where to write; made where missing.
        title: of the page.
        lead: one sentence that says what was measured on what.
        command: that reproduces it.
        strips: captions and PNG pictures.
        roads: networks for which storage is projected.

    Returns:
        The rows of the table.
    """
    rows = [matching_row(result) for result in results]
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "matching.json", to_json(rows))
    write_whole(folder / "matching.csv", to_csv(rows))
    pictures = matching_plots(results, rows)
    for name, picture in pictures.items():
        write_whole(folder / f"{name}.svg", picture)
    page = Page(title, lead)
    if command:
        page.command(command)
    page.heading("Accuracy and size").table(
        rows, MATCHING_COLUMNS, "Errors of all queries; a query without an answer has infinite error."
    )
    captions = {
        "accuracy": "Median error against the size of the map; down and to the left is better.",
        "p95": "The 95th percentile against the size of the map.",
        "top1": "Share of the queries matched to the true pixel against the size of the map (figure 4 of the paper).",
        "cdf": "Share of the queries below an error.",
        "failures": "Share of the queries off by more than half a metre, with the size of the map.",
    }
    for name, picture in pictures.items():
        page.figure(picture, captions[name])
    storage = [
        {key: value if key == "method" else format_bytes(value) for key, value in row.items()}
        for row in storage_rows(rows, roads)
    ]
    columns = {"method": "method", **{network.name: network.name for network in roads}}
    page.heading("Storage of a county and a country").table(
        storage,
        columns,
        "Bits per raster pixel at 5 cm times the road length that the paper assumes (4 MB of PNG per 150 m).",
    )
    if strips:
        page.heading("Pictures")
        for caption, picture in strips:
            page.figure(picture, caption)
    page.write(folder / "index.html")
    return rows


def write_online(
    results: Sequence[Predictions],
    folder: Path,
    title: str,
    lead: str = "",
    command: str = "",
    segment_m: float = 1000.0,
) -> list[dict[str, Any]]:
    """Score drives and write ``online.json``, ``online.csv``, plots and ``online.html`` (tables 2 to 4, figure 1).

    Args:
        results: of `run_online`, one a method, all on one drive.
        folder: where to write; made where missing.
        title: of the page.
        lead: one sentence that says what was measured on what.
        command: that reproduces it.
        segment_m: of the failure rates; the table says how long segments really were.

    Returns:
        The rows of the table.
    """
    rows = [online_row(result, segment_m) for result in results]
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "online.json", to_json(rows))
    write_whole(folder / "online.csv", to_csv(rows))
    rates = {str(row["method"]): row["fail_end_pct"] / 100 for row in rows}
    sizes = {str(row["method"]): row["bits_per_m2"] for row in rows}
    truth = np.array([row.true_pose[:2] for row in results[0].rows])
    tracks = {
        result.method: np.array([row.pose[:2] if row.pose else (math.nan, math.nan) for row in result.rows])
        for result in results
    }
    pictures = {
        "online-failures": (failure_plot(rates, sizes), "Share of the segments lost, as figure 1 of the paper."),
        "online-cdf": (
            error_cdf_plot({result.method: errors_of(result).total_m for result in results}),
            "Share of the frames below an error.",
        ),
        "online-drive": (trajectory_plot(truth, tracks), "The drive from above."),
    }
    page = Page(title, lead)
    if command:
        page.command(command)
    page.heading("Online localization").table(
        rows,
        ONLINE_COLUMNS,
        "A segment fails when the error exceeds 1 m in it. A horizon that no segment reaches is not measured.",
    )
    for name, (picture, caption) in pictures.items():
        write_whole(folder / f"{name}.svg", picture)
        page.figure(picture, caption)
    page.write(folder / "online.html")
    return rows


def matching_plots(results: Sequence[Predictions], rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Draw the plots of a matching benchmark as SVG, by name."""
    median, p95, top1 = (by_family(rows, key) for key in ("median_cm", "p95_cm", "top1_px_pct"))
    return {
        "accuracy": accuracy_plot(median, title="Median error against map size", y_log=True),
        "p95": accuracy_plot(p95, y_label="95th percentile [cm]", title="95th percentile against map size", y_log=True),
        "top1": accuracy_plot(top1, y_label="top-1 px [%]", title="Matched to the pixel"),
        "cdf": error_cdf_plot({r.method: errors_of(r).total_m for r in results}),
        "failures": failure_plot(
            {str(row["method"]): row["beyond_50_cm_pct"] / 100 for row in rows},
            {str(row["method"]): row["bits_per_m2"] for row in rows},
            title="Off by more than 0.5 m",
        ),
    }


def by_family(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[tuple[float, float]]]:
    """Group rows into series of (bits per m2, value): one a codec family, reduction and matcher, qualities along it."""
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        series[family_of(str(row["method"]))].append((float(row["bits_per_m2"]), float(row[key])))
    return dict(series)


def family_of(method: str) -> str:
    """``webp-20/4x + ncc`` -> ``webp + ncc``; ``1bit-jxl-40cm + ncc`` -> ``1bit-jxl + ncc``."""
    codec, plus, matcher = method.partition(" + ")
    base = codec.split("/")[0]
    head, dash, tail = base.rpartition("-")
    if dash and tail.removesuffix("cm").replace(".", "", 1).isdigit():
        base = head
    return base + plus + matcher
