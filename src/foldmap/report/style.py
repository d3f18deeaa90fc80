"""One look for all figures, and bytes that depend on the data alone."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from foldmap.errors import InputError
from foldmap.types import AnyArray

INK = "#1d2733"
QUIET = "#8a94a0"
ACCENT = "#d1495b"
FOUND, MISSED = "#39d353", "#ffb454"  # on photos
# Distinct in hue and in lightness, so that they survive a grey print and the common colour blindnesses.
SERIES = ("#8a94a0", "#2e6f9e", "#e09f3e", "#4f9d69", "#7d5ba6", "#30a5a5", "#b5651d", "#5c6b73")
MARKERS = ("s", "o", "^", "D", "v", "P", "X", "<")

_STYLE: Any = {
    "svg.hashsalt": "foldmap",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ed",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


@contextmanager
def styled() -> Iterator[None]:
    """Apply the look within a block."""
    with matplotlib.rc_context(_STYLE):
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """Make a figure that belongs to no window and no global state."""
    return Figure(figsize=(width_in, height_in), layout="constrained")


@contextmanager
def plot(width_in: float, height_in: float, **grid: Any) -> Iterator[tuple[Figure, Any]]:
    """Give a figure and its axes, one pair or a ``grid`` as of `Figure.subplots`, in the look within a block."""
    with styled():
        figure = new_figure(width_in, height_in)
        yield figure, figure.subplots(**grid)


def colour_of(name: str, index: int) -> tuple[str, bool]:
    """Colour of a line of a plot, and whether it is foldmap's own, which is drawn in the accent colour above others."""
    ours = name.startswith("foldmap")
    return ACCENT if ours else SERIES[index % len(SERIES)], ours


def draw_shares(axes: Axes, values: Mapping[str, AnyArray], low: float, high: float) -> None:
    """Draw which share of each method's values lies below so much; infinite ones never do."""
    for index, (name, found) in enumerate(values.items()):
        if not len(found):
            raise InputError(f"{name} has no values", "give one a query")
        shown = np.sort(found[found <= high])
        share = 100 * np.arange(1, len(shown) + 1) / len(found)
        x = np.concatenate([[low], np.maximum(shown, low), [high]])
        y = np.concatenate([[0.0], share, share[-1:] if len(share) else [0.0]])
        colour, ours = colour_of(name, index)
        axes.step(x, y, where="post", color=colour, label=name, linewidth=2.4 if ours else 1.4, zorder=4 if ours else 3)
    axes.set(xlim=(low, high), ylim=(0, 102))


def legend_beside(axes: Axes) -> None:
    """Put the legend to the right of a plot."""
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8.5)


def legend_above(figure: Figure, axes: Axes) -> None:
    """Put the legend into a row above the plot, where it takes nothing of the width that a phone has."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=6, fontsize=8.5, markerscale=1.4)


def legend_on_picture(axes: Axes, **how: Any) -> Legend:
    """Put a dark legend with white words into the corner of a picture."""
    legend = axes.legend(loc="lower left", frameon=True, **how)
    legend.get_frame().set(facecolor=INK, edgecolor="none", alpha=0.75)
    for text in legend.get_texts():
        text.set_color("white")
    return legend


def bare(axes: Axes) -> None:
    """Take ticks and grid from a picture."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)


def to_svg(figure: Figure) -> bytes:
    """Render as SVG without a date."""
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
        buffer, metadata={"Date": None, "Creator": "foldmap"}
    )
    return buffer.getvalue()


def to_png(figure: Figure) -> bytes:
    """Render as PNG without a date or a version."""
    buffer = io.BytesIO()
    figure.set_dpi(110)
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()
