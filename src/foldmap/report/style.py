"""One look for all figures, and bytes that depend on the data alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK = "#1d2733"
QUIET = "#8a94a0"
ACCENT = "#d1495b"
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


def to_svg(figure: Figure) -> bytes:
    """Render as SVG without a date."""
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
        buffer, metadata={"Date": None, "Creator": "foldmap"}
    )
    return buffer.getvalue()


def to_png(figure: Figure, dpi: int = 110) -> bytes:
    """Render as PNG without a date or a version."""
    buffer = io.BytesIO()
    figure.set_dpi(dpi)
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()
