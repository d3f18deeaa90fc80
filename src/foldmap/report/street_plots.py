"""Plots of the street layer: quality against library size, localization recall, Chamfer distances. SVG bytes."""

from collections.abc import Mapping, Sequence

from matplotlib.ticker import FuncFormatter

from foldmap.errors import InputError
from foldmap.report.style import ACCENT, INK, QUIET, draw_shares, legend_beside, plot, to_svg
from foldmap.types import DoubleArray


def library_plot(
    counts: Sequence[int], chamfer_m: Sequence[float], oracle_m: Sequence[float], random_m: Sequence[float], title: str
) -> bytes:
    """Mean Chamfer distance against the number of graphs, between chance (random) and the best there is (oracle).

    Raises `InputError`: no library, or lengths differ.
    """
    if not counts or {len(chamfer_m), len(oracle_m), len(random_m)} != {len(counts)}:
        raise InputError("the library plot has no libraries, or lengths differ", "give one value of each a library")
    with plot(7.2, 4.2) as (figure, axes):
        axes.plot(counts, random_m, color=QUIET, marker="s", label="random")
        axes.plot(counts, chamfer_m, color=ACCENT, marker="o", label="foldmap")
        axes.plot(counts, oracle_m, color=INK, marker="^", label="oracle")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_ylim(bottom=0)
        axes.set(xlabel="graphs in the library (log scale)", ylabel="mean Chamfer distance [m]", title=title)
        axes.legend(loc="best")
        return to_svg(figure)


def recall_plot(errors_m: Mapping[str, DoubleArray], title: str) -> bytes:
    """Share of the answers within a distance of the truth: method -> (N,), infinite where there is no answer."""
    labels = ("distance from the truth [m]", "answers within [%]")
    return _shares(errors_m, labels, title, 30.0, (1.0, 3.0, 5.0, 10.0))


def chamfer_plot(chamfer_m: Mapping[str, DoubleArray], title: str) -> bytes:
    """Share of the queries whose graph is nearer to the truth than a Chamfer distance: method -> (Q,)."""
    return _shares(chamfer_m, ("Chamfer distance [m]", "queries below [%]"), title, 6.0, ())


def _shares(
    values: Mapping[str, DoubleArray], labels: tuple[str, str], title: str, limit_m: float, lines: Sequence[float]
) -> bytes:
    with plot(7.2, 4.2) as (figure, axes):
        for line in lines:
            axes.axvline(line, color=QUIET, linewidth=0.8, linestyle=":")
        draw_shares(axes, values, 0.0, limit_m)
        axes.set(xlabel=labels[0], ylabel=labels[1], title=title)
        legend_beside(axes)
        return to_svg(figure)
