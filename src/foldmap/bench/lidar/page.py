"""All tables, plots and pictures of a lidar benchmark as JSON, CSV, SVG, PNG and one page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.bench.common.tables import Picture, ResultPage
from foldmap.bench.lidar.cases import Method
from foldmap.bench.lidar.online_protocol import ONLINE_COLUMNS, online_row
from foldmap.bench.lidar.predict import Predictions
from foldmap.bench.lidar.tables import (
    ABLATION_COLUMNS,
    MATCHING_COLUMNS,
    ONLINE_PARTS,
    REDUCED_COLUMNS,
    ablation_rows,
    by_family,
    errors_of,
    matching_row,
    projected_rows,
    reduced_rows,
    representatives,
    with_online,
)
from foldmap.lidar.bundle import Bundle
from foldmap.metrics import LA_COUNTY, UNITED_STATES, format_bytes
from foldmap.report import accuracy_plot, error_cdf_plot, failure_plot, trajectory_plot

ROADS = LA_COUNTY, UNITED_STATES
"""Networks for which storage is projected."""


@dataclass(frozen=True)
class LidarResults:
    """Everything that was measured."""

    methods: Sequence[Method]  # all, in the order of the tables
    matching: Sequence[Predictions]  # answers, one a method
    resolution_m: float  # of the maps
    bundles: Mapping[str, Bundle] = field(default_factory=dict)  # method -> operating point, of the learned ones
    online: Sequence[Predictions] = ()  # drives, one a method; empty where none was driven
    pictures: Sequence[Picture] = ()  # strips and mosaics
    lead: str = ""  # what was measured on what, for the head of the page
    command: str = ""  # that measured it


def write_lidar(results: LidarResults, folder: Path) -> list[dict[str, Any]]:
    """Score everything and write it all; the same results give the same bytes. Returns the rows of the matching table.

    The folder gets ``matching``, ``ablations``, ``reduced``, ``storage``, ``online`` (JSON, CSV), plots and index.html.
    """
    rows = [matching_row(result) for result in results.matching]
    page = ResultPage(folder, "foldmap lidar benchmark", results.lead, results.command)
    _matching(page, rows, results.matching)
    driven = _online(page, results.online) if results.online else []
    both = with_online(rows, driven)
    parts = ONLINE_PARTS if driven else {}
    ablations = ablation_rows(results.bundles, both)
    if len(ablations) > 1:
        page.keep_rows("ablations", ablations)
        caption = (
            "Table 4, and the learned rows of table 1: what the codec was trained for, and how coarse its code is."
        )
        page.heading("Ablations").table(ablations, {**ABLATION_COLUMNS, **parts}, caption)
    reduced = reduced_rows(both, results.methods, results.resolution_m)
    page.keep_rows("reduced", reduced)
    caption = (
        "Table 6: maps of fewer, larger pixels. Enlarged again before they are matched; sizes are per square metre."
    )
    page.heading("Reduced resolution").table(reduced, {**REDUCED_COLUMNS, **parts}, caption)
    _storage(page, projected_rows(rows, ROADS, results.resolution_m))
    if results.pictures:
        page.heading("Pictures")
        page.keep_pictures(results.pictures)
    page.write(folder / "index.html")
    return rows


def _matching(page: ResultPage, rows: list[dict[str, Any]], results: Sequence[Predictions]) -> None:
    """Table 1 and figure 4."""
    page.keep_rows("matching", rows)
    caption = (
        "Table 1. Errors of all queries; a query without an answer has infinite error. Matchers: ncc is plain "
        "normalized cross-correlation; learned is a model's uncompressed embedding of the decoded map, trained on maps "
        "that no codec touched; learned-on-output was trained further on this codec's output."
    )
    page.heading("Matching").table(rows, MATCHING_COLUMNS, caption)
    bits = "bits per m² of observed ground (log scale)"
    plots = (
        ("top1", "top1_px_pct", "top-1 px [%]", False, "Figure 4: queries matched to the true pixel against size."),
        ("top9", "top9_px_pct", "top-9 px [%]", False, "Queries matched to the true pixel or one beside it."),
        ("accuracy", "median_cm", "median error [cm]", True, "Median error against size; down and left is better."),
        ("p95", "p95_cm", "95th percentile [cm]", True, "The 95th percentile of the error against size."),
    )
    for name, key, label, log, said in plots:
        series = by_family(rows, key)
        if any(math.isfinite(value) and (value > 0 or not log) for points in series.values() for _, value in points):
            kept = {n: [(x, y) for x, y in points if y > 0 or not log] for n, points in series.items()}
            page.keep_figure(f"{name}.svg", accuracy_plot(kept, bits, label, label, y_log=log), said)
    shown = representatives(rows)
    crowd = "" if len(shown) == len(rows) else " Of each family of codes the thriftiest good one is shown."
    _cdf(page, "cdf.svg", results, shown, "Share of the queries below an error." + crowd)
    bars = _failures(rows, shown, "beyond_50_cm_pct", "Matches off by more than 0.5 m")
    page.keep_figure("failures.svg", bars, "Share of the queries off by more than half a metre." + crowd)


def _online(page: ResultPage, results: Sequence[Predictions]) -> list[dict[str, Any]]:
    """Tables 2 and 3, figure 1."""
    rows = [online_row(result) for result in results]
    page.keep_rows("online", rows)
    caption = (
        "Tables 2 and 3. From one rough pose, with noisy odometry and without GPS. A segment fails when the error "
        "exceeds 1 m in it; a frame without an answer has infinite error; a horizon that no segment reaches is not "
        "measured. "
        "histogram-filter keeps a belief; tracking corrects dead reckoning by one match a frame."
    )
    page.heading("Online localization").table(rows, ONLINE_COLUMNS, caption)
    shown = representatives(rows)
    bars = _failures(rows, shown, "fail_end_pct", "Segments lost at their end")
    page.keep_figure("online-failures.svg", bars, "Figure 1: share of the segments that fail, with the map's size.")
    _cdf(page, "online-cdf.svg", results, shown, "Share of the frames below an error.")
    truth = np.array([row.true_pose[:2] for row in results[0].rows])
    tracks = {
        result.method: np.array([row.pose[:2] if row.pose else (math.nan, math.nan) for row in result.rows])
        for result in results
        if result.method in shown
    }
    page.keep_figure("online-drive.svg", trajectory_plot(truth, tracks), "The drive from above.")
    return rows


def _cdf(page: ResultPage, file: str, results: Sequence[Predictions], shown: Sequence[str], caption: str) -> None:
    errors = {result.method: errors_of(result).total_m for result in results if result.method in shown}
    page.keep_figure(file, error_cdf_plot(errors), caption)


def _failures(rows: Sequence[Mapping[str, Any]], shown: Sequence[str], key: str, title: str) -> bytes:
    chosen = [row for row in rows if row["method"] in shown]
    rates = {row["method"]: row[key] / 100 for row in chosen}
    return failure_plot(rates, {row["method"]: row["bits_per_m2"] for row in chosen}, title=title)


def _storage(page: ResultPage, rows: list[dict[str, Any]]) -> None:
    """Table 5."""
    page.keep_rows("storage", rows)
    words = [{key: v if key == "method" else format_bytes(float(v)) for key, v in row.items()} for row in rows]
    columns = {"method": "method", **{network.name: network.name for network in ROADS}}
    caption = (
        "Table 5: a projection, not a measurement. Bits per raster pixel at 5 cm times the pixels a metre of road that "
        "the paper assumes (4 MB of 16-bit PNG per 150 m)."
    )
    page.heading("Storage of a county and a country").table(words, columns, caption)
