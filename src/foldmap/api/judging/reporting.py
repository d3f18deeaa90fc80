"""A page about one run of ``foldmap localize``: how good, where, when, what failed, by which command."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api import opened
from foldmap.api.judging.answers import Answers, true_positions
from foldmap.api.judging.runs import map_ground, read_run
from foldmap.api.opened import FoldedMap
from foldmap.errors import ConfigError
from foldmap.metrics.consistency import consistency, level_score, observed_shares, squared_distances
from foldmap.report.page import Page, format_cell
from foldmap.report.run_figures import RunSeries, run_map, run_over_time
from foldmap.report.trust_figures import calibration_plot
from foldmap.types import DoubleArray

_WORST = 12


def report_run(run: Path, output: Path, *, fold_file: Path | None = None, truth: Path | None = None) -> dict[str, Any]:
    """Write the page of a run.

    Args:
        run: what ``foldmap localize`` wrote: the poses, their JSON lines, or the folder of them.
        output: the HTML page.
        fold_file: the map, whose ground is drawn; that of the run's settings where left out, if it is there.
        truth: true poses, as ``foldmap evaluate`` takes them.

    Raises:
        PoseInputError: the run or the truth cannot be used.
    """
    read = read_run(run, fold_file)
    answers, settings, fold_file = read.answers, read.settings, read.fold_file
    true = np.full(answers.positions.shape, np.nan) if truth is None else true_positions(answers, truth)
    series, town = _series(answers, true), None
    if fold_file is not None:
        with opened.open(fold_file) as town:
            metric = answers.kind != "visual" or bool(town.visual.parameters.get("metric"))
            series = replace(series, ground=ground_around(town, answers.kind, series), unit="m" if metric else "")
            sizes = town.sizes
    told = _told(answers, series)
    page = Page(f"Run of {read.estimates.name}", _lead(told, series.unit))
    if fold_file is not None:
        page.text(f"Map: {fold_file.name}, {fold_file.stat().st_size:,} bytes: " + _shares(sizes))
    elif "map" in settings:
        page.text(f"Its map, {settings['map']}, is not there: it is drawn below where it is given (--map).")
    page.figure(run_map(series), "Where each observation was answered to be, in the colour of its status.")
    page.figure(run_over_time(series), "Error, three sigma and protection level, and the status below.")
    _failures(page, answers, series)
    _numbers(page, answers, true, series, told)
    page.heading("How it was made")
    for line in (f"foldmap {settings.get('command', 'localize')}", f"foldmap report {run} -o {output}"):
        page.command(line)
    shown = {key: value for key, value in settings.items() if key != "localizer"}
    page.command(json.dumps(shown, indent=1))
    page.write(output)
    return {"report": str(output), **told}


def _series(answers: Answers, true: DoubleArray) -> RunSeries:
    axes, names = [0, 1], ("east", "north")
    places = np.concatenate([answers.positions, true])
    places = places[np.isfinite(places[:, 0])]
    if answers.kind == "visual":
        if len(places):
            axes = sorted(np.argsort(-np.ptp(places, axis=0), kind="stable")[:2].tolist())
        names = ("xyz"[axes[0]], "xyz"[axes[1]])
    with np.errstate(invalid="ignore"):
        error = np.linalg.norm(answers.positions - true, axis=1)
    sigma, placed = np.full(len(error), np.nan), answers.answered
    sigma[placed] = np.sqrt(np.linalg.eigvalsh(answers.covariances[placed]).max(axis=1))
    return RunSeries(
        answers.times_s, answers.statuses, answers.positions[:, axes], sigma, answers.levels, true[:, axes], error,
        axes=names,
    )  # fmt: skip


def ground_around(town: FoldedMap, kind: str, series: RunSeries) -> DoubleArray:
    """The ground around the run in the plane that is drawn, (M, 2)."""
    places = np.concatenate([series.positions, series.true])
    places = places[np.isfinite(places).all(axis=1)]
    if not len(places):
        return np.zeros((0, 2))
    picked = ["xyz".index(name) if name in "xyz" else ("east", "north").index(name) for name in series.axes]
    low, high = np.full(3, -np.inf), np.full(3, np.inf)
    if kind != "visual":
        low[picked], high[picked] = places.min(axis=0) - 20.0, places.max(axis=0) + 20.0
    return map_ground(town, kind, low, high)[:, picked]


def _told(answers: Answers, series: RunSeries) -> dict[str, Any]:
    known = series.error[np.isfinite(series.error)]
    told: dict[str, Any] = {
        "observations": len(answers.rows),
        "answered": int(answers.answered.sum()),
        "by_status": dict(Counter(answers.statuses)),
    }
    if len(known):
        told["median_error"], told["p99_error"] = float(np.median(known)), float(np.quantile(known, 0.99))
    levels = answers.levels[np.isfinite(answers.levels)]
    if len(levels):
        told["median_level"] = float(np.median(levels))
        told["level_below_0.29_percent"] = 100.0 * float(np.sum(levels < 0.29)) / len(answers.rows)
    return told


def _lead(told: dict[str, Any], unit: str) -> str:
    ok, asked = told["by_status"].get("ok", 0), told["observations"]
    words = f"{told['answered']:,} of {asked:,} observations answered, {ok:,} of them ok"
    if "median_error" in told:
        words += (
            f"; median error {format_cell(told['median_error'])} {unit}, 99 % below {format_cell(told['p99_error'])}"
        )
    if "median_level" in told:
        words += f"; median protection level {format_cell(told['median_level'])} {unit}"
    return words.rstrip() + "."


def _shares(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} {size:,}" for name, size in sizes.items()) + "."


def _failures(page: Page, answers: Answers, series: RunSeries) -> None:
    """What went wrong, before what went well: errors beyond their level, refusals by reason, the largest errors."""
    page.heading("What failed")
    with np.errstate(invalid="ignore"):
        bound = np.where(np.isfinite(series.level), series.level, 3.0 * series.sigma)
        beyond = np.flatnonzero(series.error > bound)
    worst = np.argsort(-np.nan_to_num(series.error, nan=-1.0), kind="stable")[:_WORST]
    rows = [*beyond.tolist(), *(row for row in worst.tolist() if row not in beyond and np.isfinite(series.error[row]))]
    told = [
        {
            "name": str(answers.rows[row]["name"]),
            "status": answers.statuses[row],
            "error": float(series.error[row]),
            "bound": float(bound[row]),
            "beyond": "beyond" if row in beyond else "",
            "reason": answers.rows[row]["diagnostics"]["reason"],
        }
        for row in rows[:_WORST]
    ]
    unit = f" [{series.unit}]" if series.unit else ""
    columns = {
        "name": "observation",
        "status": "status",
        "error": f"error{unit}",
        "bound": f"bound{unit}",
        "beyond": "",
        "reason": "why",
    }
    if told:
        page.table(told, columns, "Largest errors; those beyond their protection level, else three sigma, come first.")
    refused = Counter(
        (row["status"], _kind_of(row["diagnostics"]["reason"])) for row in answers.rows if row["status"] != "ok"
    )
    if refused:
        counted = [{"status": status, "why": why, "n": count} for (status, why), count in refused.most_common(_WORST)]
        page.table(counted, {"status": "status", "why": "why", "n": "observations"}, "Why answers were not ok.")
    if not told and not refused:
        page.text("Nothing: every observation is ok, and nobody gave the truth.")


def _kind_of(reason: str) -> str:
    """A reason without its numbers, so that like ones are counted together."""
    return " ".join("…" if any(sign.isdigit() for sign in word) else word for word in reason.split())


def _numbers(page: Page, answers: Answers, true: DoubleArray, series: RunSeries, told: dict[str, Any]) -> None:
    page.heading("In numbers")
    rows = [{"status": status, "n": count, "share": 100.0 * count / len(answers.rows)} for status, count in
            Counter(answers.statuses).most_common()]  # fmt: skip
    for row in rows:
        errors = series.error[series.of(str(row["status"])) & np.isfinite(series.error)]
        if len(errors):
            quantiles = np.quantile(errors, [0.5, 0.95, 0.99, 1.0]).tolist()
            row |= dict(zip(("median", "p95", "p99", "most"), quantiles, strict=True))
    unit = f" [{series.unit}]" if series.unit else ""
    columns = {"status": "status", "n": "observations", "share": "%"}
    if "median_error" in told:
        columns |= {"median": f"median error{unit}", "p95": "95 %", "p99": "99 %", "most": "largest"}
    page.table(rows, columns)
    known = answers.answered & np.isfinite(true[:, 0])
    if not known.any():
        page.text("The truth was not given (--truth): errors, and whether sigma is right, are unknown.")
        return
    axes = true.shape[1]
    squared = squared_distances((answers.positions - true)[known], answers.covariances[known])
    names = {
        "answers": "answers",
        "within": "within 1 / 2 / 3 sigma [%]",
        "nees": "NEES / axis",
        "bounds": "95 % of right ones",
    }
    judged = consistency(squared, axes)
    row = {
        "answers": judged.count,
        "within": " / ".join(f"{100 * share:.1f}" for share in judged.covered),
        "nees": judged.nees,
        "bounds": f"{judged.nees_low:.2f} to {judged.nees_high:.2f}",
    }
    page.table([row], names, "Is sigma sigma? A Gaussian has 68.3 / 95.4 / 99.7.")
    nominal = np.linspace(0.0, 1.0, 101)
    curve = {"errors": (nominal, observed_shares(squared, axes, nominal))}
    page.figure(calibration_plot(curve), "Errors in the region that should hold so many: below, sigma is too small.")
    levelled = known & np.isfinite(answers.levels)
    if levelled.any():
        score = level_score(series.error[levelled], answers.levels[levelled])
        columns = {"levels": "levels", "beyond_level": "errors beyond", "beyond_level_most_pct": "at most [%]",
                   "median_level": f"median level{unit}", "level_over_error": "level / error (medians)"}  # fmt: skip
        page.table([score.row()], columns, "Do protection levels hold? At most: 95 % confidence.")


def check_page(output: Path) -> None:
    """Refuse what is no page."""
    if output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{output} is no page", "name it .html")
