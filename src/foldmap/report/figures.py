"""Plots of results: accuracy against size, failures, error distributions, trajectories. All return SVG bytes.

Names that start with foldmap are drawn in the accent colour, above the others.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from foldmap.errors import InputError
from foldmap.report.page import format_cell
from foldmap.report.style import (
    ACCENT,
    INK,
    MARKERS,
    QUIET,
    SERIES,
    colour_of,
    draw_shares,
    legend_beside,
    plot,
    to_svg,
)
from foldmap.types import DoubleArray

_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
_LIMIT_CM = 50.0


def accuracy_plot(
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str = "bits per m² of observed ground (log scale)",
    y_label: str = "median error [cm]",
    title: str = "",
    y_log: bool = False,
) -> bytes:
    """Plot a quality against bits on a logarithmic axis, as figure 4 of the paper.

    Raises `InputError`: no finite point with positive bits.

    Args:
        series: name -> (bits, value) points; joined by a line in order of bits. Infinite and NaN are left out.
        x_label: says bits of what.
        y_label: quantity and unit.
        title: headline.
        y_log: logarithmic value axis.
    """
    drawn = 0
    with plot(7.2, 4.4) as (figure, axes):
        for index, (name, points) in enumerate(series.items()):
            kept = sorted((x, y) for x, y in points if x > 0 and math.isfinite(x) and math.isfinite(y))
            if not kept:
                continue
            drawn += len(kept)
            colour, ours = colour_of(name, index)
            axes.plot(
                *zip(*kept, strict=True),
                color=colour,
                marker="*" if ours else MARKERS[index % len(MARKERS)],
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
        axes.xaxis.set_major_formatter(_PLAIN)
        low, high = axes.get_xlim()
        if high < 10 * low:  # ticks lie within one power of ten, and would be written as multiples of it
            axes.xaxis.set_minor_formatter(_PLAIN)
        if y_log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(_PLAIN)
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set(xlabel=x_label, ylabel=y_label, title=title)
        legend_beside(axes)
        return to_svg(figure)


def failure_plot(
    rates: Mapping[str, float], bits: Mapping[str, float], title: str = "Failure rate at the end"
) -> bytes:
    """Draw failure rates as bars with each method's bit/m² beside it, smallest map first, as figure 1 of the paper.

    Rates are shares in 0..1; NaN is drawn as "not measured". Raises `InputError`: the two name different methods, or
    none.
    """
    if not rates or set(rates) != set(bits):
        raise InputError("rates and bits name different methods", "give a rate and a size for each method")
    order = sorted(rates, key=lambda name: (bits[name], name))
    with plot(7.2, 0.9 + 0.36 * len(order)) as (figure, axes):
        for row, name in enumerate(order):
            measured = math.isfinite(rates[name])
            percent = 100 * rates[name] if measured else 0
            axes.barh(row, percent, color=ACCENT if colour_of(name, row)[1] else SERIES[1], height=0.62)
            label = f"{percent:.1f} %" if measured else "not measured"
            axes.annotate(
                f"{label}  ·  {format_cell(float(bits[name]))} bit/m²",
                (percent, row),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=INK,
            )
        top = max([rates[name] for name in order if math.isfinite(rates[name])], default=0.0)
        axes.set_yticks(range(len(order)), order)
        axes.set_xlim(0, max(100 * top * 1.45, 5))
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel="failures [%]  (lower is better)", title=title)
        return to_svg(figure)


def error_cdf_plot(errors_m: Mapping[str, DoubleArray]) -> bytes:
    """Plot which share of the queries errs by less than so many centimetres.

    Errors (N,) of a method are infinite where nothing was answered; those never count as less.
    """
    with plot(7.2, 4.2) as (figure, axes):
        draw_shares(axes, {name: 100 * np.abs(error_m) for name, error_m in errors_m.items()}, 0.0, _LIMIT_CM)
        axes.set(xlabel="error [cm]", ylabel="queries below [%]", title="Distribution of the error")
        legend_beside(axes)
        return to_svg(figure)


def trajectory_plot(true_xy_m: DoubleArray, estimates_xy_m: Mapping[str, DoubleArray], title: str = "Drive") -> bytes:
    """Draw the driven path (N, 2), east and north, with each method's estimates; NaN where nothing was answered."""
    with plot(7.2, 4.6) as (figure, axes):
        axes.plot(*np.asarray(true_xy_m).T, color=QUIET, linewidth=6, alpha=0.45, solid_capstyle="round", label="truth")
        for index, (name, xy_m) in enumerate(estimates_xy_m.items()):
            colour, _ = colour_of(name, index + 1)
            axes.plot(*np.asarray(xy_m).T, color=colour, marker="o", markersize=2.5, linewidth=1.1, label=name)
        axes.plot(*np.asarray(true_xy_m)[0], marker="o", markersize=7, color=INK, label="start", linestyle="none")
        axes.set_aspect("equal", adjustable="datalim")
        axes.set(xlabel="east [m]", ylabel="north [m]", title=title)
        legend_beside(axes)
        return to_svg(figure)
