"""How well photos were localized: distributions of their errors, and cameras seen from above."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from foldmap.errors import InputError
from foldmap.geometry.quaternion import centres_of
from foldmap.report.style import ACCENT, FOUND, INK, QUIET, draw_shares, legend_beside, plot, to_png, to_svg
from foldmap.types import DoubleArray

_DECADES = 1e-3  # errors below this share of the largest threshold are drawn at the left rim


def camera_error_plot(
    errors: Mapping[str, tuple[DoubleArray, DoubleArray]], unit: str, thresholds: Sequence[tuple[float, float]] = ()
) -> bytes:
    """Plot which share of the queries errs by less than so much: of the centre, and of the rotation; SVG.

    Raises `InputError`: a method has no errors.

    Args:
        errors: method -> centre errors (N,) and rotation errors (N,) in degrees; infinite where nothing was answered,
            which never counts as less.
        unit: of centre errors.
        thresholds: (centre, degrees) that are marked.
    """
    if not errors:
        raise InputError("there are no errors to draw", "give one a query")
    with plot(9.0, 3.8, ncols=2, sharey=True) as (figure, (left, right)):
        for column, axes in enumerate((left, right)):
            marks = [threshold[column] for threshold in thresholds]
            _distribution(axes, {name: both[column] for name, both in errors.items()}, marks)
        left.set(xlabel=f"error of the centre [{unit}]", ylabel="queries below [%]")
        left.set_title("Error of the answered poses")
        right.set_xlabel("error of the rotation [°]")
        if len(errors) > 1:
            legend_beside(right)
        return to_svg(figure)


def _distribution(axes: Axes, errors: Mapping[str, DoubleArray], marks: Sequence[float]) -> None:
    """Cumulative distributions over a logarithmic axis that holds every threshold and most errors."""
    finite = np.concatenate([error[np.isfinite(error)] for error in errors.values()])
    high = 2.0 * max([*marks, float(np.percentile(finite, 99)) if len(finite) else 0.0, 1e-9])
    low = max(min([*marks, float(finite.min()) if len(finite) else high]) / 2.0, high * _DECADES)
    draw_shares(axes, errors, low, high)
    for mark in marks:
        axes.axvline(mark, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
        axes.annotate(f"{mark:g}", (mark, 3), xytext=(3, 0), textcoords="offset points", fontsize=8, color=INK)
    axes.set_xscale("log")
    axes.set_xlim(low, high)


def camera_plan(
    points_world: DoubleArray,
    map_SE3_world: DoubleArray,
    true_SE3_world: DoubleArray,
    estimated_SE3_world: Sequence[DoubleArray | None],
    title: str = "",
) -> bytes:
    """Draw cameras from above; x is east, y is north, each camera has a tick along its view. PNG.

    Args:
        points_world: float64 (P, 3), of the map around them.
        map_SE3_world: float64 (I, 4, 4), ``camera_SE3_world`` of the map's photos.
        true_SE3_world: float64 (Q, 4, 4) of the queries.
        estimated_SE3_world: of the queries as they were localized, None where nothing was answered.
        title: headline.
    """
    answered = np.array([pose for pose in estimated_SE3_world if pose is not None]).reshape(-1, 4, 4)
    # the cameras and what is near them: the farthest points would make everything else small
    near = np.percentile(points_world, (25, 75), axis=0)
    around = np.concatenate([centres_of(map_SE3_world), centres_of(true_SE3_world), near])[:, :2]
    low, high = around.min(axis=0), around.max(axis=0)
    reach = max(0.55 * float((high - low).max()), 1.0)
    with plot(7.2, 5.4) as (figure, axes):
        x, y = points_world[:, 0], points_world[:, 1]
        axes.scatter(x, y, s=1.5, color=QUIET, alpha=0.6, linewidths=0, label="points in the file")
        _cameras(axes, map_SE3_world, "^", "#2e6f9e", "photos of the map", 0.05 * reach, 4.5)
        _cameras(axes, true_SE3_world, "o", FOUND, "queries, true", 0.1 * reach, 10)
        _cameras(axes, answered, "+", ACCENT, "queries, found", 0.07 * reach, 8)
        axes.set_aspect("equal")
        middle = 0.5 * (low + high)
        axes.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach))
        axes.set(xlabel="east [m]", ylabel="north [m]", title=title)
        legend_beside(axes)
        return to_png(figure)


def _cameras(
    axes: Axes, camera_SE3_world: DoubleArray, symbol: str, colour: str, label: str, tick: float, size: float
) -> None:
    centres, ahead = centres_of(camera_SE3_world)[:, :2], camera_SE3_world[:, 2, :2]
    lines = list(np.stack([centres, centres + tick * ahead], axis=1))
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.2, zorder=3))
    face = "none" if symbol == "o" else colour
    look: dict[str, Any] = {"markerfacecolor": face, "markeredgewidth": 1.6, "linestyle": "none", "zorder": 4}
    axes.plot(*centres.T, symbol, color=colour, markersize=size, label=label, **look)
