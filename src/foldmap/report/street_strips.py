"""Image, truth and answers side by side: what a street model sees and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from foldmap.errors import InputError
from foldmap.report.style import ACCENT, INK, QUIET, new_figure, styled, to_png
from foldmap.street.graph.window import Window
from foldmap.street.source import LINK, LaneGraph
from foldmap.types import AnyArray, ByteArray

_LANE, _LINK = "#2e6f9e", "#e09f3e"
_ARROW_M = 12.0


@dataclass(frozen=True)
class StreetStrip:
    """One row of pictures.

    Attributes:
        title: written beside it.
        image: uint8 (H, W, 3) of the window in the ego frame, row 0 ahead.
        graphs: heading -> graph in the ego frame, in order; the first is the truth, and drawn pale below the others.
    """

    title: str
    image: ByteArray
    graphs: dict[str, LaneGraph]


def street_strips(strips: Sequence[StreetStrip], window: Window) -> bytes:
    """Draw rows of image, truth and answers; lanes blue, turning links orange, arrows in driving direction.

    Args:
        strips: rows, all with the same headings.
        window: that image and graphs cover.

    Returns:
        PNG.

    Raises:
        InputError: no rows, or rows of other headings.
    """
    if not strips or any(strip.graphs.keys() != strips[0].graphs.keys() for strip in strips):
        raise InputError("the strips are none, or have different headings", "give rows of one kind")
    columns = 1 + len(strips[0].graphs)
    with styled():
        figure = new_figure(2.35 * columns, 2.35 * len(strips) + 0.3)
        grid = figure.subplots(len(strips), columns, squeeze=False)
        for number, (row, strip) in enumerate(zip(grid, strips, strict=True)):
            row[0].imshow(strip.image, extent=(-window.left_m, -window.right_m, window.back_m, window.ahead_m))
            row[0].set_ylabel(strip.title, fontsize=8.5)
            truth = next(iter(strip.graphs.values()))
            for axes, (name, graph) in zip(row[1:], strip.graphs.items(), strict=True):
                if graph is not truth:
                    _lines(axes, truth, (QUIET, QUIET), 3.0, 0.35)
                _lines(axes, graph, (_LANE, _LINK), 1.2, 1.0)
                _arrows(axes, graph)
                if number == 0:
                    axes.set_title(name, fontsize=9.5)
            if number == 0:
                row[0].set_title("image", fontsize=9.5)
            for axes in row:
                axes.plot([0], [0], marker="^", color=ACCENT, markersize=5, markeredgecolor="white", zorder=6)
                axes.set(xlim=(-window.left_m, -window.right_m), ylim=(window.back_m, window.ahead_m), aspect="equal")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.grid(visible=False)
                for spine in axes.spines.values():
                    spine.set(visible=True, color=INK, linewidth=0.5)
        return to_png(figure, 90)


def _screen(points_m: AnyArray) -> AnyArray:
    """Ego x ahead, y left to right and up."""
    return np.stack([-points_m[..., 1], points_m[..., 0]], -1)


def _lines(axes: Axes, graph: LaneGraph, colours: tuple[str, str], width: float, alpha: float) -> None:
    for kind, colour in enumerate(colours):
        edges = graph.edges[(graph.kind == LINK) == bool(kind)]
        lines = LineCollection(list(_screen(graph.vertices_m[edges])), colors=colour, linewidths=width, alpha=alpha)
        axes.add_collection(lines)


def _arrows(axes: Axes, graph: LaneGraph) -> None:
    """An arrow every 12 m of lane."""
    along = np.cumsum(graph.edge_lengths_m)
    at = np.flatnonzero(np.diff(np.floor(along / _ARROW_M), prepend=0.0) > 0)
    ends = _screen(graph.vertices_m[graph.edges[at]])
    if not len(ends):
        return
    way = ends[:, 1] - ends[:, 0]
    way /= np.maximum(np.hypot(*way.T)[:, None], 1e-9)
    axes.quiver(*ends.mean(1).T, *way.T, color=INK, scale=22, width=0.012, headwidth=5, pivot="mid", zorder=5)
