"""Pictures of how well photos were localized. All return SVG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from foldmap.errors import InputError
from foldmap.report.style import ACCENT, INK, QUIET, SERIES, new_figure, styled, to_svg
from foldmap.types import AnyArray, DoubleArray

_DECADES = 1e-3
"""Errors below this share of the largest threshold are drawn at the left rim."""


def camera_error_plot(
    errors: Mapping[str, tuple[DoubleArray, DoubleArray]],
    unit: str,
    thresholds: Sequence[tuple[float, float]] = (),
    title: str = "Error of the answered poses",
    emphasis: str = "foldmap",
) -> bytes:
    """Plot which share of the queries errs by less than so much: of the centre, and of the rotation.

    Args:
        errors: method -> centre errors (N,) and rotation errors (N,) in degrees; infinite where nothing was answered,
            which never counts as less.
        unit: of centre errors.
        thresholds: (centre, degrees) that are marked.
        title: headline.
        emphasis: methods whose name starts with this are drawn in the accent colour.

    Raises:
        InputError: a method has no errors.
    """
    if not errors or any(len(centre) == 0 for centre, _ in errors.values()):
        raise InputError("there are no errors to draw", "give one a query")
    with styled():
        figure = new_figure(9.0, 3.8)
        for column, axes in enumerate(figure.subplots(1, 2, sharey=True)):
            _distribution(
                axes,
                {name: both[column] for name, both in errors.items()},
                [threshold[column] for threshold in thresholds],
                emphasis,
            )
            axes.set_xlabel(f"error of the centre [{unit}]" if column == 0 else "error of the rotation [°]")
            if column == 0:
                axes.set(ylabel="queries below [%]", title=title, ylim=(0, 102))
        if len(errors) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8.5)
        return to_svg(figure)


def _distribution(axes: Axes, errors: Mapping[str, DoubleArray], marks: Sequence[float], emphasis: str) -> None:
    """Cumulative distributions over a logarithmic axis that holds every threshold and most errors."""
    finite = np.concatenate([error[np.isfinite(error)] for error in errors.values()])
    high = 2.0 * max([*marks, float(np.percentile(finite, 99)) if len(finite) else 0.0, 1e-9])
    low = max(min([*marks, float(finite.min()) if len(finite) else high]) / 2.0, high * _DECADES)
    for index, (name, error) in enumerate(errors.items()):
        ours = bool(emphasis) and name.startswith(emphasis)
        axes.step(
            *_steps(error, low, high),
            where="post",
            color=ACCENT if ours else SERIES[index % len(SERIES)],
            linewidth=2.4 if ours else 1.4,
            zorder=4 if ours else 3,
            label=name,
        )
    for mark in marks:
        axes.axvline(mark, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
        axes.annotate(f"{mark:g}", (mark, 3), xytext=(3, 0), textcoords="offset points", fontsize=8, color=INK)
    axes.set_xscale("log")
    axes.set_xlim(low, high)


def _steps(error: AnyArray, low: float, high: float) -> tuple[DoubleArray, DoubleArray]:
    ordered = np.sort(error)
    shown = ordered[ordered <= high]
    share = 100.0 * np.arange(1, len(shown) + 1) / len(ordered)
    x = np.concatenate([[low], np.maximum(shown, low), [high]])
    y = np.concatenate([[0.0], share, share[-1:] if len(share) else [0.0]])
    return x, y
