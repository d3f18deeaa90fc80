"""All tables, plots and pictures of a lidar benchmark as JSON, CSV, SVG, PNG and one page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.bench.common.tables import by_family, to_csv, to_json
from foldmap.bench.lidar.ablations import ABLATION_COLUMNS, ablation_rows
from foldmap.bench.lidar.cases import Method
from foldmap.bench.lidar.online_protocol import ONLINE_COLUMNS, online_row
from foldmap.bench.lidar.predict import Predictions
from foldmap.bench.lidar.score import MATCHING_COLUMNS, errors_of, matching_row
from foldmap.bench.lidar.tables import (
    ONLINE_PARTS,
    REDUCED_COLUMNS,
    projected_rows,
    reduced_rows,
    representatives,
    with_online,
)
from foldmap.lidar.bundle import Bundle
from foldmap.metrics import LA_COUNTY, UNITED_STATES, RoadNetwork, format_bytes
from foldmap.report import Page, accuracy_plot, error_cdf_plot, failure_plot, trajectory_plot


@dataclass(frozen=True)
class Picture:
    """One PNG with the name of its file and its caption."""

    name: str
    caption: str
    png: bytes


@dataclass(frozen=True)
class LidarResults:
    """Everything that was measured.

    Attributes:
        methods: all, in the order of the tables.
        matching: answers, one a method.
        resolution_m: of the maps.
        bundles: method -> operating point, of the learned ones.
        online: drives, one a method; empty where none was driven.
        pictures: strips and mosaics.
        lead: what was measured on what, for the head of the page.
        command: that measured it.
        roads: networks for which storage is projected.
    """

    methods: Sequence[Method]
    matching: Sequence[Predictions]
    resolution_m: float
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    online: Sequence[Predictions] = ()
    pictures: Sequence[Picture] = ()
    lead: str = ""
    command: str = ""
    roads: tuple[RoadNetwork, ...] = (LA_COUNTY, UNITED_STATES)


def write_lidar(results: LidarResults, folder: Path) -> list[dict[str, Any]]:
    """Score everything and write it all.

    Args:
        results: what was measured.
        folder: gets ``matching``, ``ablations``, ``reduced``, ``storage`` and ``online`` as JSON and CSV, plots as SVG,
            pictures as PNG, and ``index.html``. The same results give the same bytes.

    Returns:
        The rows of the matching table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [matching_row(result) for result in results.matching]
    page = Page("foldmap lidar benchmark", results.lead)
    if results.command:
        page.command(results.command)
    _matching(page, folder, rows, results.matching)
    driven = _online(page, folder, results.online) if results.online else []
    both = with_online(rows, driven)
    parts = ONLINE_PARTS if driven else {}
    ablations = ablation_rows(results.bundles, both)
    if len(ablations) > 1:
        _kept(folder, "ablations", ablations)
        caption = (
            "Table 4, and the learned rows of table 1: what the codec was trained for, and how coarse its code is."
        )
        page.heading("Ablations").table(ablations, {**ABLATION_COLUMNS, **parts}, caption)
    reduced = reduced_rows(both, results.methods, results.resolution_m)
    _kept(folder, "reduced", reduced)
    caption = (
        "Table 6: maps of fewer, larger pixels. Enlarged again before they are matched; sizes are per square metre."
    )
    page.heading("Reduced resolution").table(reduced, {**REDUCED_COLUMNS, **parts}, caption)
    _storage(page, folder, projected_rows(rows, results.roads, results.resolution_m), results.roads)
    if results.pictures:
        page.heading("Pictures")
    for picture in results.pictures:
        write_whole(folder / f"{picture.name}.png", picture.png)
        page.figure(picture.png, picture.caption)
    page.write(folder / "index.html")
    return rows


def _kept(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    write_whole(folder / f"{name}.json", to_json(rows))
    write_whole(folder / f"{name}.csv", to_csv(rows))


def _figure(page: Page, folder: Path, name: str, svg: bytes, caption: str) -> None:
    write_whole(folder / f"{name}.svg", svg)
    page.figure(svg, caption)


def _matching(page: Page, folder: Path, rows: list[dict[str, Any]], results: Sequence[Predictions]) -> None:
    """Table 1 and figure 4."""
    _kept(folder, "matching", rows)
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
            _figure(page, folder, name, accuracy_plot(kept, bits, label, label, y_log=log), said)
    shown = representatives(rows)
    crowd = "" if len(shown) == len(rows) else " Of each family of codes the thriftiest good one is shown."
    errors = {result.method: errors_of(result).total_m for result in results if result.method in shown}
    _figure(page, folder, "cdf", error_cdf_plot(errors), "Share of the queries below an error." + crowd)
    rates = {row["method"]: row["beyond_50_cm_pct"] / 100 for row in rows if row["method"] in shown}
    sizes = {row["method"]: row["bits_per_m2"] for row in rows if row["method"] in shown}
    bars = failure_plot(rates, sizes, title="Matches off by more than 0.5 m")
    _figure(page, folder, "failures", bars, "Share of the queries off by more than half a metre." + crowd)


def _online(page: Page, folder: Path, results: Sequence[Predictions]) -> list[dict[str, Any]]:
    """Tables 2 and 3, figure 1."""
    rows = [online_row(result) for result in results]
    _kept(folder, "online", rows)
    caption = (
        "Tables 2 and 3. From one rough pose, with noisy odometry and without GPS. A segment fails when the error "
        "exceeds 1 m in it; a frame without an answer has infinite error; a horizon that no segment reaches is not "
        "measured. "
        "histogram-filter keeps a belief; tracking corrects dead reckoning by one match a frame."
    )
    page.heading("Online localization").table(rows, ONLINE_COLUMNS, caption)
    shown = representatives(rows)
    kept = [result for result in results if result.method in shown]
    rates = {row["method"]: row["fail_end_pct"] / 100 for row in rows if row["method"] in shown}
    sizes = {row["method"]: row["bits_per_m2"] for row in rows if row["method"] in shown}
    bars = failure_plot(rates, sizes, title="Segments lost at their end")
    _figure(page, folder, "online-failures", bars, "Figure 1: share of the segments that fail, with the map's size.")
    errors = {result.method: errors_of(result).total_m for result in kept}
    _figure(page, folder, "online-cdf", error_cdf_plot(errors), "Share of the frames below an error.")
    truth = np.array([row.true_pose[:2] for row in results[0].rows])
    tracks = {r.method: np.array([p.pose[:2] if p.pose else (math.nan, math.nan) for p in r.rows]) for r in kept}
    _figure(page, folder, "online-drive", trajectory_plot(truth, tracks), "The drive from above.")
    return rows


def _storage(page: Page, folder: Path, rows: list[dict[str, Any]], roads: Sequence[RoadNetwork]) -> None:
    """Table 5."""
    _kept(folder, "storage", rows)
    words = [{key: v if key == "method" else format_bytes(float(v)) for key, v in row.items()} for row in rows]
    columns = {"method": "method", **{network.name: network.name for network in roads}}
    caption = (
        "Table 5: a projection, not a measurement. Bits per raster pixel at 5 cm times the pixels a metre of road that "
        "the paper assumes (4 MB of 16-bit PNG per 150 m)."
    )
    page.heading("Storage of a county and a country").table(words, columns, caption)
