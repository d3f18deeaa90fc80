"""What training runs of all layers leave in their folder: the model, and the validation curve as CSV and PNG."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from foldmap.api.results import Begin
from foldmap.atlas.whole import write_whole
from foldmap.report.style import new_figure, styled, to_png
from foldmap.training.loop import LOG, Trainer, train

MODEL = "model.safetensors"
Line = TypeVar("Line")


def run_to_end(
    trainer: Trainer[Any, Line],
    folder: Path,
    begin: Begin,
    shown: Mapping[str, str],
    model: Callable[[], bytes] | None = None,
) -> Line:
    """Train in a folder, or go on with the run that it holds; gives the last line of the log.

    `shown` are numbers of a log line that the picture of the curve shows, with their labels. `model` gives the bytes of
    the model file, written after each validation; None leaves that to the caller. Errors are as `train` has them.
    """
    report, lines = begin("Training"), []
    # the first number of a line is its step or epoch
    for line in train(trainer, folder, lambda line: report(next(iter(vars(line).values())), trainer.steps)):
        lines.append(line)
        if model is not None:
            write_whole(folder / MODEL, model())
        _write_curve(folder, trainer, shown)
    return lines[-1]


def _write_curve(folder: Path, trainer: Trainer[Any, Any], shown: Mapping[str, str]) -> None:
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    kept = [line for step, line in enumerate(lines, 1) if step % trainer.every == 0 or step == trainer.steps]
    rows = [{key: float("nan") if value is None else float(value) for key, value in line.items()} for line in kept]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / "curve.csv", text.getvalue())
    steps = next(iter(rows[0]))
    with styled():
        figure = new_figure(3.0 * len(shown), 2.8)
        for axes, (key, label) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
            axes.plot([row[steps] for row in rows], [row[key] for row in rows], marker="o", markersize=3)
            axes.set(xlabel=steps, ylabel=label)
        write_whole(folder / "curve.png", to_png(figure))
