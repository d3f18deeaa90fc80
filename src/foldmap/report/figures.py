"""Plots of results: accuracy against size, failures, error distributions, trajectories. All return SVG bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from foldmap.errors import InputError
from foldmap.report.page import format_cell
from foldmap.report.style import ACCENT, INK, MARKERS, QUIET, SERIES, new_figure, styled, to_svg
from foldmap.types import DoubleArray

Series = Mapping[str, Sequence[tuple[float, float]]]


def _colour(name: str, index: int, emphasis: str) -> tuple[str, str]:
    if emphasis and name.startswith(emphasis):
        return ACCENT, "*"
    return SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)]


def accuracy_plot(
    series: Series,
    x_label: str = "bits per m² of observed ground (log scale)",
    y_label: str = "median error [cm]",
    title: str = "",
    emphasis: str = "foldmap",
    y_log: bool = False,
) -> bytes:
    """Plot a quality against bits on a logarithmic axis, as figure 4 of the paper.

    Args:
        series: name -> (bits, value) points; joined by a line in order of bits. Infinite and NaN are left out.
        x_label: says bits of what.
        y_label: quantity and unit.
        title: headline.
        emphasis: series whose name starts with this are drawn in the accent colour, above the others.
        y_log: logarithmic value axis.

    Raises:
        InputError: no finite point with positive bits.
    """
    with styled():
        figure = new_figure(7.2, 4.4)
        axes = figure.subplots()
        drawn = 0
        for index, (name, points) in enumerate(series.items()):
            kept = sorted((x, y) for x, y in points if x > 0 and math.isfinite(x) and math.isfinite(y))
            if not kept:
                continue
            drawn += len(kept)
            colour, marker = _colour(name, index, emphasis)
            ours = colour == ACCENT
            axes.plot(
                *zip(*kept, strict=True),
                color=colour,
                marker=marker,
                markersize=13 if ours else 6,
                markeredgecolor="white",
                markeredgewidth=0.8,
                linewidth=2.2 if ours else 1.3,
                zorder=5 if ours else 3,
                label=name,
            )
        if not drawn:
            raise InputError("no point to plot", "give finite values with positive bits")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        if y_log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set(xlabel=x_label, ylabel=y_label, title=title)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8.5)
        return to_svg(figure)


def failure_plot(
    rates: Mapping[str, float],
    bits: Mapping[str, float],
    bits_unit: str = "bit/m²",
    title: str = "Failure rate at the end",
    emphasis: str = "foldmap",
) -> bytes:
    """Draw failure rates as bars with each method's size beside it, as figure 1 of the paper.

    Args:
        rates: method -> share in 0..1; NaN is drawn as "not measured".
        bits: method -> size; the order of the bars, largest map first.
        bits_unit: unit of ``bits``.
        title: headline.
        emphasis: methods whose name starts with this are drawn in the accent colour.

    Raises:
        InputError: the two name different methods, or none.
    """
    if not rates or set(rates) != set(bits):
        raise InputError("rates and bits name different methods", "give a rate and a size for each method")
    order = sorted(rates, key=lambda name: (bits[name], name))
    with styled():
        figure = new_figure(7.2, 0.9 + 0.36 * len(order))
        axes = figure.subplots()
        top = max([rates[n] for n in order if math.isfinite(rates[n])], default=0.0)
        for row, name in enumerate(order):
            rate = rates[name]
            colour = ACCENT if emphasis and name.startswith(emphasis) else SERIES[1]
            axes.barh(row, 100 * rate if math.isfinite(rate) else 0, color=colour, height=0.62)
            label = f"{100 * rate:.1f} %" if math.isfinite(rate) else "not measured"
            axes.annotate(
                f"{label}  ·  {format_cell(float(bits[name]))} {bits_unit}",
                (100 * rate if math.isfinite(rate) else 0, row),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=INK,
            )
        axes.set_yticks(range(len(order)), order)
        axes.set_xlim(0, max(100 * top * 1.45, 5))
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel="failures [%]  (lower is better)", title=title)
        return to_svg(figure)


def error_cdf_plot(
    errors_m: Mapping[str, DoubleArray],
    limit_m: float = 0.5,
    title: str = "Distribution of the error",
    emphasis: str = "foldmap",
) -> bytes:
    """Plot which share of the queries errs by less than so many centimetres; unanswered ones never count as less.

    Args:
        errors_m: method -> total errors (N,), infinite where not answered.
        limit_m: right end of the plot.
        title: headline.
        emphasis: methods whose name starts with this are drawn in the accent colour.

    Raises:
        InputError: a method has no errors.
    """
    with styled():
        figure = new_figure(7.2, 4.2)
        axes = figure.subplots()
        for index, (name, error_m) in enumerate(errors_m.items()):
            if len(error_m) == 0:
                raise InputError(f"{name} has no errors", "give one a query")
            ordered = np.sort(np.abs(error_m))
            shown = ordered[ordered <= limit_m]
            share = 100 * np.arange(1, len(shown) + 1) / len(ordered)
            x_cm = np.concatenate([[0.0], 100 * shown, [100 * limit_m]])
            y = np.concatenate([[0.0], share, share[-1:] if len(share) else [0.0]])
            colour, marker = _colour(name, index, emphasis)
            width = 2.4 if marker == "*" else 1.4
            axes.step(
                x_cm, y, where="post", color=colour, linewidth=width, label=name, zorder=4 if marker == "*" else 3
            )
        axes.set(xlabel="error [cm]", ylabel="queries below [%]", title=title, ylim=(0, 102), xlim=(0, 100 * limit_m))
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8.5)
        return to_svg(figure)


def trajectory_plot(
    true_xy_m: DoubleArray,
    estimates_xy_m: Mapping[str, DoubleArray],
    title: str = "Drive",
    emphasis: str = "foldmap",
) -> bytes:
    """Draw the driven path from above with each method's estimates.

    Args:
        true_xy_m: (N, 2) east, north.
        estimates_xy_m: method -> (N, 2), NaN rows where nothing was answered.
        title: headline.
        emphasis: methods whose name starts with this are drawn in the accent colour.
    """
    with styled():
        figure = new_figure(7.2, 4.6)
        axes = figure.subplots()
        axes.plot(*np.asarray(true_xy_m).T, color=QUIET, linewidth=6, alpha=0.45, solid_capstyle="round", label="truth")
        for index, (name, xy_m) in enumerate(estimates_xy_m.items()):
            colour, _ = _colour(name, index + 1, emphasis)
            axes.plot(*np.asarray(xy_m).T, color=colour, marker="o", markersize=2.5, linewidth=1.1, label=name)
        axes.plot(*np.asarray(true_xy_m)[0], marker="o", markersize=7, color=INK, label="start", linestyle="none")
        axes.set_aspect("equal", adjustable="datalim")
        axes.set(xlabel="east [m]", ylabel="north [m]", title=title)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8.5)
        return to_svg(figure)
