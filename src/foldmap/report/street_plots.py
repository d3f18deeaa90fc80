"""Plots of the street layer: quality against library size, localization recall, distributions of Chamfer distance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter

from foldmap.errors import InputError
from foldmap.report.style import ACCENT, INK, MARKERS, QUIET, SERIES, new_figure, styled, to_svg
from foldmap.types import DoubleArray


def library_plot(
    counts: Sequence[int], chamfer_m: Sequence[float], oracle_m: Sequence[float], random_m: Sequence[float], title: str
) -> bytes:
    """Mean Chamfer distance against the number of graphs, between chance and the best there is.

    Args:
        counts: graphs of each library, positive.
        chamfer_m: of the model.
        oracle_m: of the best graph of the library.
        random_m: of a random one.
        title: headline.

    Returns:
        SVG.

    Raises:
        InputError: no library, or lengths differ.
    """
    if not counts or {len(chamfer_m), len(oracle_m), len(random_m)} != {len(counts)}:
        raise InputError("the library plot has no libraries, or lengths differ", "give one value of each a library")
    with styled():
        figure = new_figure(7.2, 4.2)
        axes = figure.subplots()
        for name, values, colour, marker in (
            ("random", random_m, QUIET, "s"),
            ("foldmap", chamfer_m, ACCENT, "o"),
            ("oracle", oracle_m, INK, "^"),
        ):
            axes.plot(counts, values, color=colour, marker=marker, label=name)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_ylim(bottom=0)
        axes.set(xlabel="graphs in the library (log scale)", ylabel="mean Chamfer distance [m]", title=title)
        axes.legend(loc="best")
        return to_svg(figure)


def recall_plot(errors_m: Mapping[str, DoubleArray], title: str, limit_m: float = 30.0) -> bytes:
    """Share of the answers within a distance of the truth; answers that are not there never are.

    Args:
        errors_m: method -> (N,), infinite where there is no answer.
        title: headline.
        limit_m: right end.

    Returns:
        SVG.

    Raises:
        InputError: a method has no errors.
    """
    return _shares(errors_m, "distance from the truth [m]", "answers within [%]", title, limit_m, (1.0, 3.0, 5.0, 10.0))


def chamfer_plot(chamfer_m: Mapping[str, DoubleArray], title: str, limit_m: float = 6.0) -> bytes:
    """Share of the queries whose graph is nearer to the truth than a Chamfer distance.

    Args:
        chamfer_m: method -> (Q,).
        title: headline.
        limit_m: right end.

    Returns:
        SVG.

    Raises:
        InputError: a method has no values.
    """
    return _shares(chamfer_m, "Chamfer distance [m]", "queries below [%]", title, limit_m, ())


def _shares(
    values: Mapping[str, DoubleArray], x_label: str, y_label: str, title: str, limit_m: float, lines: Sequence[float]
) -> bytes:
    with styled():
        figure = new_figure(7.2, 4.2)
        axes = figure.subplots()
        for line in lines:
            axes.axvline(line, color=QUIET, linewidth=0.8, linestyle=":")
        for index, (name, found) in enumerate(values.items()):
            if not len(found):
                raise InputError(f"{name} has no values", "give one a query")
            ordered = np.sort(found[np.isfinite(found) & (found <= limit_m)])
            share = 100 * np.arange(1, len(ordered) + 1) / len(found)
            x = np.concatenate([[0.0], ordered, [limit_m]])
            y = np.concatenate([[0.0], share, share[-1:] if len(share) else [0.0]])
            ours = name.startswith("foldmap")
            colour = ACCENT if ours else SERIES[index % len(SERIES)]
            axes.step(x, y, where="post", color=colour, linewidth=2.4 if ours else 1.4, label=name)
            if not ours and len(ordered):
                at = min(len(x) - 1, math.ceil(len(x) / 2))
                axes.plot(x[at], y[at], marker=MARKERS[index % len(MARKERS)], color=colour)
        axes.set(xlabel=x_label, ylabel=y_label, title=title, xlim=(0, limit_m), ylim=(0, 102))
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8.5)
        return to_svg(figure)
