"""All tables, plots and pictures of a visual benchmark as JSON, CSV, SVG, PNG and one page."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldmap.bench.common.tables import Picture, ResultPage
from foldmap.bench.visual.methods import Line
from foldmap.bench.visual.predict import Measured, Wanted
from foldmap.bench.visual.protocol import HeldOut
from foldmap.bench.visual.tables import Table, columns_of, memory_columns, row_of, scene_cell
from foldmap.metrics.camera_pose import Threshold
from foldmap.report import accuracy_plot

Rows = list[dict[str, Any]]

PLOTTED = (
    *(
        "foldmap",
        "simple-raw",
        "simple-pq",
        "simple-binary",
        "observations",
        "track-means",
        "raw",
        "raw+gamma",
        "pq",
        "pq+gamma",
    ),
    *("dpqed", "dpqed+gamma", "dpqed+"),
)
"""Families of the plots, in their order; the tables hold the rest."""


@dataclass(frozen=True)
class SceneResults:
    """What was measured on one scene."""

    held_out: HeldOut  # scene and queries
    lines: Mapping[str, Sequence[Line]]  # rows of each table, by the table's name in `TABLES`
    found: Mapping[Wanted, Measured]  # answers
    pictures: Sequence[Picture] = ()  # correspondences
    note: str = ""  # a sentence on what was left out, or empty

    def rows(self, table: str, thresholds: Sequence[Threshold]) -> Rows:
        """Rows of one table."""
        return [row_of(line, self.found, self.held_out, thresholds) for line in self.lines[table]]


@dataclass(frozen=True)
class VisualResults:
    """Everything that was measured; `lead` and `command` are for the head of the page."""

    scenes: Sequence[SceneResults]
    tables: Mapping[str, Table]
    thresholds: Sequence[Threshold]
    lead: str = ""
    command: str = ""


def write_visual(results: VisualResults, folder: Path) -> dict[str, Rows]:
    """Score everything and write it all; the same results give the same bytes. Returns rows by "scene/table".

    The folder gets a folder a scene with tables (JSON, CSV), plots and pictures; ``scenes``, and ``index.html``.
    """
    page = ResultPage(folder, "foldmap visual benchmark", results.lead, results.command)
    written: dict[str, Rows] = {}
    for scene in results.scenes:
        written |= _scene(page, scene, results)
    if "scenes" in results.tables:
        rows = _scene_by_scene(results)
        page.keep_rows("scenes", rows)
        written["scenes"] = rows
        table = results.tables["scenes"]
        columns = {"method": "map"}
        for scene in results.scenes:
            name, unit = scene.held_out.name, scene.held_out.scale.name
            columns |= {f"{name}_file_bytes": f"{name}: file [B]", name: f"{name} [{unit} / ° / %]"}
            columns |= {f"{name}_plain": f"{name}, plain"}
        page.heading(table.title).table(rows, columns, table.caption)
    page.write(folder / "index.html")
    return written


def _scene(page: ResultPage, scene: SceneResults, results: VisualResults) -> dict[str, Rows]:
    held_out, thresholds = scene.held_out, results.thresholds
    (page.folder / held_out.name).mkdir(exist_ok=True)
    written: dict[str, Rows] = {}
    every: dict[str, dict[str, Any]] = {}
    page.heading(held_out.name)
    page.text(
        f"{len(held_out.queries)} queries in {len(held_out.scene.points_world):,} points of "
        f"{len(held_out.scene.image_names)} images."
        + (" Errors of centres in percent of the scene's radius." if held_out.scale.name == "%" else "")
        + (f" {scene.note}" if scene.note else "")
    )
    for key, table in results.tables.items():
        rows = scene.rows(key, thresholds)
        every |= {row["map"]: row for row in rows if not scene.lines[key] or "median" in row}
        if table.kind == "scenes" or not rows:
            continue
        name = f"{held_out.name}/{table.name}"
        page.keep_rows(name, rows)
        written[name] = rows
        page.heading(table.title, level=3).table(rows, _columns(table, scene, results), _caption(table, rows))
    page.heading("Accuracy against bytes", level=3)
    for name, svg, caption in scene_plots(every.values(), held_out, thresholds):
        page.keep_figure(f"{held_out.name}/{name}.svg", svg, caption)
    page.keep_pictures(scene.pictures, f"{held_out.name}/")
    return written


def _columns(table: Table, scene: SceneResults, results: VisualResults) -> dict[str, str]:
    scale = scene.held_out.scale
    if table.kind == "memory":
        return memory_columns(scale, results.thresholds)
    ways = [line.matcher for name, one in results.tables.items() if one is table for line in scene.lines[name]]
    return columns_of(scale, results.thresholds, ways)


def _caption(table: Table, rows: Rows) -> str:
    problems = [f"{row['method'].strip()}: {row['problem']}." for row in rows if "problem" in row]
    plain = " Columns without a prefix: foldmap's localizer; plain: nearest neighbours of ratio 0.85 and RANSAC."
    said = table.caption + (plain if any("plain_median" in row for row in rows) and table.kind == "accuracy" else "")
    return " ".join([said, *problems])


def _scene_by_scene(results: VisualResults) -> Rows:
    merged: dict[str, dict[str, Any]] = {}
    label = ""
    for scene in results.scenes:
        name = scene.held_out.name
        for row in scene.rows("scenes", results.thresholds):
            label = f"{label} {row['method'].strip()}" if row["method"].startswith(" ") else row["method"]
            merged.setdefault(label, {"method": label})
            plain = {key.removeprefix("plain_"): value for key, value in row.items() if key.startswith("plain_")}
            merged[label] |= {
                f"{name}_file_bytes": row.get("file_bytes"),
                f"{name}_code_bytes": row.get("code_bytes"),
                name: scene_cell(row, results.thresholds),
                f"{name}_plain": scene_cell(plain, results.thresholds),
            }
    return list(merged.values())


def scene_plots(rows: Any, held_out: HeldOut, thresholds: Sequence[Threshold]) -> list[tuple[str, bytes, str]]:
    """Name, SVG and caption of each plot: shares within the first two thresholds, against file and against codes."""
    plots = []
    for number, threshold in enumerate(thresholds[:2], start=1):
        label = held_out.scale.label(threshold)
        for key, what in (("file_bytes", "file"), ("code_bytes", "descriptors alone")):
            series = _series(list(rows), key, f"within_{number}_pct")
            if not series:
                continue
            size = f"bytes of the {what}"
            svg = accuracy_plot(series, f"{size} (log scale)", label, f"{label} against {size}")
            caption = f"Queries within {threshold[0]:g} {held_out.scale.name} and {threshold[1]:g}° against {size}"
            caption += "; up and to the left is better. Simple maps with the plain localizer, others with ours."
            plots.append((f"within-{number}-{key.split('_')[0]}", svg, caption))
    return plots


def _series(rows: Rows, key: str, value: str) -> dict[str, list[tuple[float, float]]]:
    """Points by family; simple maps with the plain localizer that belongs to them."""
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        family, simple = family_of(str(row["map"])), str(row["map"]).startswith("simple")
        found = row.get(f"plain_{value}" if simple else value)
        size = row.get(key)
        if found is None or size is None or "+images" in str(row["map"]) or not math.isfinite(float(found)):
            continue
        series[family].append((float(size), float(found)))
    return {name: sorted(set(series[name])) for name in PLOTTED if name in series}


def family_of(name: str) -> str:
    """``pq4+gamma@30kB`` -> ``pq+gamma``; ``pq4-dpqed`` -> ``dpqed``; ``simple-pq16+cover@9kB`` -> ``simple-pq``."""
    base = name.split("@")[0]
    if base.startswith("simple"):
        return next((family for family in ("simple-pq", "simple-binary") if base.startswith(family)), "simple-raw")
    codec, plus, select = base.partition("+")
    select = select.split("-")[0]
    head, dash, recipe = codec.partition("-")
    if head.startswith("pq") and head[2:].isdigit():
        codec = recipe if dash else "pq"
    return codec + plus + select
