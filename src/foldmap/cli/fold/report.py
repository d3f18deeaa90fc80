"""The trade-off of a scene: what held-out images lose as its file gets smaller, as a page, a plot and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.cli.common import make_folder, plain, write_bytes, write_text
from foldmap.errors import BudgetError

if TYPE_CHECKING:
    from foldmap.localize.visual.plan import Candidate, Planned, PlanOptions
    from foldmap.types import FloatArray
    from foldmap.visual.codes.codecs import DescriptorCodec
    from foldmap.visual.source import SceneModel

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""Budgets that are looked at, as shares of the file's."""


def write_report(
    folder: Path,
    scene: SceneModel,
    means: FloatArray,
    codecs: Sequence[DescriptorCodec],
    options: PlanOptions,
    size_bytes: int,
    planned: Planned,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Plan for several budgets and write what each candidate reached: index.html, curve.svg, curve.json.

    Args:
        folder: made if it is not there.
        scene: with descriptors.
        means: float32 (P, D), of its tracks.
        codecs: candidates.
        options: of the plan.
        size_bytes: of the file, the largest budget looked at.
        planned: what the file was folded by; its curve is taken where it was judged.
        report: called with budgets done and in all.

    Returns:
        What curve.json holds.

    Raises:
        ConfigError: the folder cannot be written.
    """
    make_folder(folder)
    curve = tradeoff(scene, means, codecs, options, size_bytes, planned, report)
    chosen = asdict(planned.chosen)
    held = {"scene_radius_world": scene.radius_world, "chosen": chosen, "candidates": [asdict(one) for one in curve]}
    write_text(folder / "curve.json", json.dumps(plain(held), indent=2) + "\n")
    picture = _plot(curve)
    page = _page(curve, picture, planned)
    if picture is not None:
        write_bytes(folder / "curve.svg", picture)
    write_text(folder / "index.html", page)
    return held


def tradeoff(
    scene: SceneModel,
    means: FloatArray,
    codecs: Sequence[DescriptorCodec],
    options: PlanOptions,
    size_bytes: int,
    planned: Planned,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Candidate]:
    """Candidates for shares of a budget, smallest first; budgets that hold no map are left out."""
    from foldmap.localize.visual.plan import plan_for_budget

    curve: list[Candidate] = []
    for number, share in enumerate(SHARES):
        if share == 1.0 and len(planned.curve) > 1:
            curve += planned.curve
        else:
            try:
                curve += plan_for_budget(scene, means, int(share * size_bytes), codecs, options).curve
            except BudgetError:
                continue
            finally:
                report(number + 1, len(SHARES))
    return sorted(curve, key=lambda one: one.file_bytes)


def name_of(codec: Mapping[str, Any]) -> str:
    """A codec in words: ``transform 0.1``, ``pq 8``."""
    detail = codec.get("step", codec.get("parts", ""))
    return f"{codec['codec']} {detail:g}" if detail != "" else str(codec["codec"])


def _plot(curve: Sequence[Candidate]) -> bytes | None:
    """Median error against bytes, a line for each codec; None where nothing was judged."""
    import math

    from foldmap.report.figures import accuracy_plot

    series: dict[str, list[tuple[float, float]]] = {}
    for one in curve:
        if math.isfinite(one.median_error):
            series.setdefault(name_of(one.codec), []).append((one.file_bytes / 1000, 100 * one.median_error))
    if not series:
        return None
    return accuracy_plot(
        series,
        x_label="size of the file [kB] (log scale)",
        y_label="median error [% of the scene's radius]",
        title="What held-out images lose as the file gets smaller",
        y_log=True,
    )


def _page(curve: Sequence[Candidate], picture: bytes | None, planned: Planned) -> str:
    from foldmap.report.page import Page

    page = Page(
        "Folding a scene: accuracy against bytes",
        f"Chosen: {planned.chosen.points:,} points, {name_of(planned.chosen.codec)}, "
        f"{planned.chosen.file_bytes:,} bytes.",
    )
    page.text(
        "Blocks of the map's own images were taken out of it and localized in what was folded of the rest, with the "
        "keypoints that the model kept of them. Fresh photos bring more clutter: read the figures as a comparison of "
        "candidates, not as the accuracy to expect."
    )
    if picture is not None:
        page.figure(picture, "Median distance of the answered centres from the truth; codecs by their step or bytes.")
    rows = [
        {
            **asdict(one),
            "name": name_of(one.codec),
            "answered": 100 * one.answered,
            "median_error": 100 * one.median_error,
        }
        for one in curve
    ]
    columns = {
        "name": "codec",
        "file_bytes": "bytes of the file",
        "points": "points",
        "answered": "answered [%]",
        "median_error": "median error [% of the radius]",
        "loss": "mean log10 error",
    }
    return page.table(rows, columns, "A dash was not measured: there was one candidate, or too few images.").html()
