"""All tables, plots and pictures of a street benchmark as JSON, CSV, SVG, PNG and one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.bench.common.tables import ResultPage
from foldmap.bench.street.data import SEMI_SYNTHETIC, StreetBenchData
from foldmap.bench.street.localization import Localization
from foldmap.bench.street.retrieval import Retrieval
from foldmap.bench.street.sizes import Size
from foldmap.bench.street.split import LEAKY
from foldmap.bench.street.updates import Updates
from foldmap.metrics.retrieval import LOCALIZATION_M
from foldmap.report.street_map import street_map
from foldmap.report.street_plots import chamfer_plot, library_plot, recall_plot
from foldmap.report.street_windows import WindowRow, window_rows
from foldmap.street.changes.edits import EDITS
from foldmap.street.images.ground import BirdsEye

_QUALITY = {
    "method": "method",
    "library": "library",
    "way_pct": "way to oracle [%]",
    "chamfer_m": "Chamfer [m] ↓",
    "rand_loss": "RandLoss ↓",
    "mmd": "MMD ↓",
    "density_error": "density ↓",
    "reach_error_m": "reach [m] ↓",
    "connectivity_error": "connectivity ↓",
    "line_f": "STSU F ↑",
    "detection_ratio": "detection ↑",
    "connect_f": "connection F ↑",
    "topo_f": "topology F ↑",
    "det_l": "DET_l ↑",
    "top_ll": "TOP_ll ↑",
    "recall_at_1": "recall@1 ↑",
    "recall_at_10": "recall@10 ↑",
}
_METRICS = {key: _QUALITY[key] for key in list(_QUALITY)[3:9]}
"""The paper's six."""
_SCORED = (
    "Means over the queries; the arrow says where better is. Way: (random - method) / (random - oracle) in Chamfer. "
    "recall@k: the query's own graph among the first k of the library and the graphs of all queries. Definitions are "
    "foldmap's own (docs/methods.md): figures of published tables are not comparable."
)
_SHOWN_PX = 240
_EACH = 3
_SHOWN_METHODS = 4
_UNSEEN = (232, 236, 240)
"""Ground that no camera sees is pale."""


@dataclass(frozen=True)
class BenchTable:
    """A table's heading, what it shows, and the heading of each column by key."""

    title: str
    caption: str
    columns: dict[str, str]


TABLES: dict[str, BenchTable] = {
    "main": BenchTable("Graphs for images", _SCORED, _QUALITY),
    "ring": BenchTable("Graphs for camera rings", _SCORED, _QUALITY),
    "modal": BenchTable(
        "Unimodal against cross-modal",
        "Nearest image against nearest graph, both of the same training windows: what the step from images to graphs "
        "costs, and what graphs without images can add. " + _SCORED,
        _QUALITY,
    ),
    "size": BenchTable(
        "Quality against library size",
        "The same queries ask smaller and larger libraries; the last row adds graphs of maps without any image. Way is "
        "within each library, whose chance and best graph move with it.",
        {
            "library": "library",
            "count": "graphs",
            "more": "without images",
            **_METRICS,
            "oracle_m": "oracle [m]",
            "random_m": "random [m]",
            "way_pct": "way [%]",
        },
    ),
    "update": BenchTable(
        "Update detection",
        "Maps with known edits, half of the windows as they are. Thresholds come from the other held-out maps. The "
        "columns by kind are shares of windows (or drives) of that kind that were reported: the last one are false "
        "alarms.",
        {
            "method": "method",
            "level": "level",
            "count": "count",
            "f1": "F1 ↑",
            "f1_95_low": "95 % from",
            "f1_95_high": "to",
            "precision": "precision",
            "recall": "recall",
            **{f"found_{kind.replace(' ', '_')}_pct": f"{kind} [%]" for kind in EDITS},
            "found_same_pct": "unchanged [%]",
        },
    ),
    "localization": BenchTable(
        "Localization",
        "All graphs of the held-out map are in the library, none of its images. A single image has a prior (a disc "
        "that holds the truth, its middle anywhere within) or none; a drive starts anywhere on the map. Every guess "
        "counts, also where the localizer says that it does not stand by it; 'stands' is how often it does.",
        {
            "question": "question",
            "method": "method",
            "count": "count",
            **{f"within_{limit:g}m_pct": f"≤ {limit:g} m [%]" for limit in LOCALIZATION_M},
            "median_m": "median [m]",
            "heading_median_deg": "heading, median [°]",
            "heading_p95_deg": "p95 [°]",
            "stands_pct": "stands [%]",
            "right_when_stands_pct": "of these ≤ 10 m [%]",
        },
    ),
}


Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class StreetResults:
    """Everything that was measured; None or empty where it was not.

    `notes` say what was left out, a sentence each; `command` measured it; `quick` figures are no results.
    """

    data: StreetBenchData
    main: Retrieval | None = None
    ring: Retrieval | None = None
    modal: Retrieval | None = None
    sizes: Sequence[Size] = ()
    updates: Updates | None = None
    localization: Localization | None = None
    notes: Sequence[str] = field(default_factory=list)
    command: str = ""
    quick: bool = False


def write_street(results: StreetResults, folder: Path) -> dict[str, Rows]:
    """Write each table as JSON and CSV, plots as SVG, pictures as PNG, and ``report.html``; returns rows by table."""
    page = _StreetPage(folder, "foldmap street benchmark", _lead(results), results.command)
    done = results.main or results.modal or results.ring
    page.leaky = done.distances.leaky if done else results.data.split.leaky
    page.separation = f"{LEAKY}." if page.leaky else "Held-out maps share no map with the training places."
    page.separation = str(done.distances) if done else page.separation
    written = {
        name: page.retrieval(name, one)
        for name, one in (("main", results.main), ("ring", results.ring), ("modal", results.modal))
        if one is not None
    }
    if results.sizes:
        written["size"] = page.sizes(results.sizes, results.data.label)
    if results.updates is not None:
        written["update"] = page.rows("update", results.updates.rows(), results.updates.label)
    if results.localization is not None:
        written["localization"] = page.localization(results.localization)
    if results.notes:
        page.heading("Left out")
    for note in results.notes:
        page.text(note)
    page.write(folder / "report.html")
    return written


def _lead(results: StreetResults) -> str:
    split = results.data.split
    said = f"Split by {split.by}: queries come from {', '.join(split.test)}; the others train and are retrieved. "
    said = f"{LEAKY}. " if split.leaky else said
    said += "Given models are taken at their word that they have not seen the held-out maps."
    return said + (" A quick run: its figures are no results." if results.quick else "")


class _StreetPage(ResultPage):
    """The page, and what its headings and captions say of the split."""

    leaky = False
    separation = ""

    def marked(self, text: str, label: str) -> str:
        """A heading with what a reader must not miss."""
        marks = [mark for mark, there in (("LEAKY", self.leaky), ("SEMI-SYNTHETIC", SEMI_SYNTHETIC in label)) if there]
        return f"{text} [{', '.join(marks)}]" if marks else text

    def rows(self, name: str, rows: Rows, label: str, separation: str = "") -> Rows:
        rows = [{**row, "images": label, "leaky": self.leaky} for row in rows]
        self.keep_rows(name, rows)
        table = TABLES[name]
        columns = {key: title for key, title in table.columns.items() if any(key in row for row in rows)}
        self.heading(self.marked(table.title, label))
        self.table(rows, columns, f"Images: {label}. {separation or self.separation} {table.caption}")
        return rows

    def retrieval(self, name: str, done: Retrieval) -> Rows:
        rows = self.rows(name, done.rows(), done.label, f"{len(done.truths)} queries. {done.distances}")
        values = {key: scored.chamfer_m for key, scored in done.methods.items()}
        svg = chamfer_plot(values, self.marked("Chamfer distance of the first graph", done.label))
        self.keep_figure(f"{name}-chamfer.svg", svg, "Share of the queries below a Chamfer distance.")
        if name != "modal":
            caption = "foldmap's best, middle and worst queries: image, truth, answers with the truth pale below."
            self.keep_figure(f"{name}-pictures.png", best_and_worst(done), self.marked(caption, done.label))
        return rows

    def sizes(self, sizes: Sequence[Size], label: str) -> Rows:
        rows = self.rows("size", [size.row() for size in sizes], label)
        columns = ([row[key] for row in rows] for key in ("count", "chamfer_m", "oracle_m", "random_m"))
        count, ours, best, chance = columns
        svg = library_plot(count, ours, best, chance, self.marked("Quality against library size", label))
        self.keep_figure("size.svg", svg, "Mean Chamfer distance against library size.")
        return rows

    def localization(self, done: Localization) -> Rows:
        rows = self.rows("localization", done.rows(), done.label)
        places = ", ".join(f"{name} {count:,}" for name, count in done.places.items())
        self.text(f"Places of each map: {places}.")
        for number, question in enumerate(dict.fromkeys(question for question, _ in done.found)):
            errors = {method: one.error_m for (asked, method), one in done.found.items() if asked == question}
            svg = recall_plot(errors, self.marked(f"Localization: {question}", done.label))
            self.keep_figure(f"localization-{number}.svg", svg, f"Answers within: {question}.")
        if done.example is not None:
            at, estimate, truth = done.example
            png = street_map(at, estimate.belief, truth, estimate, self.marked("The end of a drive", done.label))
            caption = "Belief over the lanes at the end of the first map's drive."
            self.keep_figure("localization-drive.png", png, caption)
        return rows


def best_and_worst(done: Retrieval) -> bytes:
    """Image, truth and answers side by side for foldmap's best, median and worst queries; PNG."""
    order = np.argsort(done.methods["foldmap"].chamfer_m, kind="stable")
    middle = max(0, len(order) // 2 - _EACH // 2)
    picked = {"best": order[:_EACH], "median": order[middle : middle + _EACH], "worst": order[-_EACH:]}
    eye = BirdsEye(done.window, _SHOWN_PX)
    shown = [name for name in done.methods if name not in ("random", "foldmap")]
    rows = []
    for what, queries in picked.items():
        for query in dict.fromkeys(queries.tolist()):
            image, seen = eye(done.queries[query].observation)
            image = np.where(seen[..., None], image, np.array(_UNSEEN, np.uint8))
            truth = done.truths[query]
            graphs = [("truth", truth)]
            graphs += [(n, done.methods[n].answers.graphs[query]) for n in ("foldmap", *shown)[: 1 + _SHOWN_METHODS]]
            title = f"{what}: {done.methods['foldmap'].chamfer_m[query]:.2f} m"
            rows.append(WindowRow(title, [("image", image)], graphs, truth))
    return window_rows(rows, done.window)
