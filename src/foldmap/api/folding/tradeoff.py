"""The trade-off of a scene: what held-out images lose as its file gets smaller, as a page, a plot and JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from foldmap.api.folding.options import Begin, VisualOptions
from foldmap.api.folding.scenes import ChosenScene, codecs_of
from foldmap.atlas.whole import make_folder, write_whole
from foldmap.errors import BudgetError
from foldmap.localize.visual.plan import Candidate, plan_for_budget
from foldmap.report.figures import accuracy_plot
from foldmap.report.page import Page

_SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""Budgets that are looked at, as shares of the file's."""
_COLUMNS = {
    "name": "codec",
    "file_bytes": "bytes of the file",
    "points": "points",
    "answered": "answered [%]",
    "median_error": "median error [% of the radius]",
    "loss": "mean log10 error",
}
_METHOD = (
    "Blocks of the map's own images were taken out of it and localized in what was folded of the rest, with the "
    "keypoints that the model kept of them. Fresh photos bring more clutter: read the figures as a comparison of "
    "candidates, not as the accuracy to expect."
)


def write_tradeoff(folder: Path, made: ChosenScene, options: VisualOptions, size_bytes: int, begin: Begin) -> None:
    """Plan for several budgets, up to one, and write what each candidate reached: index.html, curve.svg, curve.json.

    Raises `ConfigError`: the folder cannot be made; `WriteError`: it cannot be written to.
    """
    make_folder(folder)
    chosen, curve = made.planned.chosen, _curve(made, options, size_bytes, begin)
    rows = [_row(one) for one in curve]
    held = {"scene_radius_world": made.scene.radius_world, "chosen": _row(chosen), "candidates": rows}
    write_whole(folder / "curve.json", json.dumps(held, indent=2) + "\n")
    words = f"Chosen: {chosen.points:,} points, {_name_of(chosen.codec)}, {chosen.file_bytes:,} bytes."
    page = Page("Folding a scene: accuracy against bytes", words)
    page.text(_METHOD)
    picture = _plot(curve)
    if picture is not None:
        page.figure(picture, "Median distance of the answered centres from the truth; codecs by their step or bytes.")
        write_whole(folder / "curve.svg", picture)
    percent = [replace(one, answered=100 * one.answered, median_error=100 * one.median_error) for one in curve]
    named = [{**asdict(one), "name": _name_of(one.codec)} for one in percent]
    page.table(named, _COLUMNS, "A dash was not measured: there was one candidate, or too few images.")
    write_whole(folder / "index.html", page.html())


def _curve(made: ChosenScene, options: VisualOptions, size_bytes: int, begin: Begin) -> list[Candidate]:
    """Candidates for shares of a budget, smallest first; budgets that hold no map are left out."""
    codecs = codecs_of(made.scene, made.means, options, True, begin)
    report = begin("Trade-off curve")
    curve: list[Candidate] = []
    for number, share in enumerate(_SHARES, start=1):
        if share == 1.0 and len(made.planned.curve) > 1:
            curve += made.planned.curve
        else:
            try:
                curve += plan_for_budget(made.scene, made.means, int(share * size_bytes), codecs, made.wanted).curve
            except BudgetError:
                continue
        report(number, len(_SHARES))
    return sorted(curve, key=lambda one: one.file_bytes)


def _row(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON has it: NaN is null, infinity "inf"."""
    return {
        key: (None if math.isnan(value) else "inf") if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(candidate).items()
    }


def _name_of(codec: Mapping[str, Any]) -> str:
    """A codec in words: ``transform 0.1``, ``pq 8``."""
    detail = codec.get("step", codec.get("parts", ""))
    return f"{codec['codec']} {detail:g}" if detail != "" else str(codec["codec"])


def _plot(curve: Sequence[Candidate]) -> bytes | None:
    """Median error against bytes, a line for each codec; None where nothing was judged."""
    series: dict[str, list[tuple[float, float]]] = {}
    for one in curve:
        if math.isfinite(one.median_error):
            series.setdefault(_name_of(one.codec), []).append((one.file_bytes / 1000, 100 * one.median_error))
    if not series:
        return None
    return accuracy_plot(
        series,
        x_label="size of the file [kB] (log scale)",
        y_label="median error [% of the scene's radius]",
        title="What held-out images lose as the file gets smaller",
        y_log=True,
    )
