"""All tables, plots and pictures of a street benchmark as JSON, CSV, SVG, PNG and one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.bench.common.tables import to_csv, to_json
from foldmap.bench.street.data import SEMI_SYNTHETIC, StreetData
from foldmap.bench.street.localization import Localization
from foldmap.bench.street.retrieval import Retrieval
from foldmap.bench.street.sizes import Size
from foldmap.bench.street.split import LEAKY
from foldmap.bench.street.tables import TABLES
from foldmap.bench.street.updates import Updates
from foldmap.report import Page
from foldmap.report.street_map import street_map
from foldmap.report.street_plots import chamfer_plot, library_plot, recall_plot
from foldmap.report.street_windows import WindowRow, window_rows
from foldmap.street.images.ground import BirdsEye
from foldmap.types import BoolArray, ByteArray

Rows = list[dict[str, Any]]
_SHOWN_PX = 240
_EACH = 3
_SHOWN_METHODS = 4


@dataclass(frozen=True)
class StreetResults:
    """Everything that was measured; None or empty where it was not.

    `notes` say what was left out, a sentence each; `command` measured it; `quick` figures are no results.
    """

    data: StreetData
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
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("foldmap street benchmark", _lead(results))
    if results.command:
        page.command(results.command)
    written: dict[str, Rows] = {}
    for name, done in (("main", results.main), ("ring", results.ring), ("modal", results.modal)):
        if done is not None:
            written[name] = _retrieval(page, folder, name, done)
    separation = _separation(results)
    if results.sizes:
        written["size"] = _sizes(page, folder, results, separation)
    if results.updates is not None:
        rows = results.updates.rows()
        written["update"] = _table(page, folder, "update", rows, results.updates.label, separation)
    if results.localization is not None:
        written["localization"] = _localization(page, folder, results.localization, separation, results)
    if results.notes:
        page.heading("Left out")
        for note in results.notes:
            page.text(note)
    page.write(folder / "report.html")
    return written


def _lead(results: StreetResults) -> str:
    split = results.data.split
    said = (
        f"{LEAKY}. "
        if split.leaky
        else f"Split by {split.by}: queries come from {', '.join(split.test)}; the others train and are retrieved. "
    )
    said += "Given models are taken at their word that they have not seen the held-out maps."
    return said + (" A quick run: its figures are no results." if results.quick else "")


def _separation(results: StreetResults) -> str:
    done = results.main or results.modal or results.ring
    if done is not None:
        return str(done.distances)
    return f"{LEAKY}." if results.data.split.leaky else "Held-out maps share no map with the training places."


def _labelled(text: str, label: str, leaky: bool) -> str:
    marks = [mark for mark, there in (("LEAKY", leaky), ("SEMI-SYNTHETIC", SEMI_SYNTHETIC in label)) if there]
    return f"{text} [{', '.join(marks)}]" if marks else text


def _table(page: Page, folder: Path, name: str, rows: Rows, label: str, separation: str) -> Rows:
    leaky = LEAKY in separation
    rows = [{**row, "images": label, "leaky": leaky} for row in rows]
    write_whole(folder / f"{name}.json", to_json(rows))
    write_whole(folder / f"{name}.csv", to_csv(rows))
    table = TABLES[name]
    columns = {key: title for key, title in table.columns.items() if any(key in row for row in rows)}
    page.heading(_labelled(table.title, label, leaky))
    page.table(rows, columns, f"Images: {label}. {separation} {table.caption}")
    return rows


def _retrieval(page: Page, folder: Path, name: str, done: Retrieval) -> Rows:
    separation = f"{len(done.truths)} queries. {done.distances}"
    rows = _table(page, folder, name, done.rows(), done.label, separation)
    leaky = done.distances.leaky
    values = {key: scored.chamfer_m for key, scored in done.methods.items()}
    svg = chamfer_plot(values, _labelled("Chamfer distance of the first graph", done.label, leaky))
    _figure(page, folder, f"{name}-chamfer.svg", svg, "Share of the queries below a Chamfer distance.")
    if name != "modal":
        png = qualitative(done)
        caption = "foldmap's best, middle and worst queries: image, truth, answers with the truth pale below."
        caption = _labelled(caption, done.label, leaky)
        _figure(page, folder, f"{name}-pictures.png", png, caption)
    return rows


def qualitative(done: Retrieval, each: int = _EACH) -> bytes:
    """Image, truth and answers side by side for foldmap's best, median and worst queries; PNG."""
    order = np.argsort(done.methods["foldmap"].chamfer_m, kind="stable")
    middle = max(0, len(order) // 2 - each // 2)
    picked = {"best": order[:each], "median": order[middle : middle + each], "worst": order[-each:]}
    eye = BirdsEye(done.window, _SHOWN_PX)
    shown = [name for name in done.methods if name not in ("random", "foldmap")]
    rows = []
    for what, queries in picked.items():
        for query in dict.fromkeys(queries.tolist()):
            image, seen = eye(done.queries[query].observation)
            truth = done.truths[query]
            graphs = [("truth", truth)]
            graphs += [(n, done.methods[n].answers.graphs[query]) for n in ("foldmap", *shown)[: 1 + _SHOWN_METHODS]]
            title = f"{what}: {done.methods['foldmap'].chamfer_m[query]:.2f} m"
            rows.append(WindowRow(title, [("image", _blanked(image, seen))], graphs, truth))
    return window_rows(rows, done.window)


def _sizes(page: Page, folder: Path, results: StreetResults, separation: str) -> Rows:
    sizes = results.sizes
    rows = _table(page, folder, "size", [size.row() for size in sizes], results.data.label, separation)
    title = _labelled("Quality against library size", results.data.label, results.data.split.leaky)
    svg = library_plot(
        [size.count for size in sizes],
        [size.chamfer_m for size in sizes],
        [size.oracle_m for size in sizes],
        [size.random_m for size in sizes],
        title,
    )
    _figure(page, folder, "size.svg", svg, "Mean Chamfer distance against library size.")
    return rows


def _localization(page: Page, folder: Path, done: Localization, separation: str, results: StreetResults) -> Rows:
    rows = _table(page, folder, "localization", done.rows(), done.label, separation)
    places = ", ".join(f"{name} {count:,}" for name, count in done.places.items())
    page.text(f"Places of each map: {places}.")
    leaky = results.data.split.leaky
    for number, question in enumerate(dict.fromkeys(question for question, _ in done.found)):
        errors = {method: one.error_m for (asked, method), one in done.found.items() if asked == question}
        title = _labelled(f"Localization: {question}", done.label, leaky)
        _figure(page, folder, f"localization-{number}.svg", recall_plot(errors, title), f"Answers within: {question}.")
    if done.example is not None:
        at, estimate, truth = done.example
        png = street_map(at, estimate.belief, truth, estimate, _labelled("The end of a drive", done.label, leaky))
        _figure(
            page, folder, "localization-drive.png", png, "Belief over the lanes at the end of the first map's drive."
        )
    return rows


def _figure(page: Page, folder: Path, name: str, picture: bytes, caption: str) -> None:
    write_whole(folder / name, picture)
    page.figure(picture, caption)


def _blanked(image: ByteArray, seen: BoolArray) -> ByteArray:
    """Ground that no camera sees is pale."""
    shown = image.copy()
    shown[~seen] = (232, 236, 240)
    return shown
