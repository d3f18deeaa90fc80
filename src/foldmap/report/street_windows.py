"""Windows of the street map beside what was seen there, changes on the ground, and errors along a drive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from foldmap.errors import InputError
from foldmap.report.style import ACCENT, INK, MARKERS, QUIET, SERIES, legend_beside, plot, to_png, to_svg
from foldmap.street.changes.detect import ADDED, MOVED, REMOVED, Change
from foldmap.street.graph.window import Window
from foldmap.street.source import LINK, LaneGraph
from foldmap.types import ByteArray, DoubleArray

_SIDE_IN = 1.95
_COLOURS = {ADDED: "#2fbf71", REMOVED: ACCENT, MOVED: "#f2a541"}


@dataclass(frozen=True)
class WindowRow:
    """One place: pictures, then graphs of its window."""

    title: str  # left of the row
    pictures: Sequence[tuple[str, ByteArray]]  # title and uint8 (H, W, 3); seen from above row 0 is ahead
    graphs: Sequence[tuple[str, LaneGraph]]  # title and lane graph in the ego frame of each
    truth: LaneGraph | None = None  # drawn pale below each graph, or None


def window_rows(rows: Sequence[WindowRow], window: Window) -> bytes:
    """Draw places below each other: what was seen, then lane graphs, ahead is up; colours are headings. PNG.

    Raises `InputError`: no rows, or rows of different numbers of pictures or graphs.
    """
    if not rows or len({(len(row.pictures), len(row.graphs)) for row in rows}) != 1:
        raise InputError("rows of windows with different numbers of pictures", "give at least one, all alike")
    aspects = [
        max(row.pictures[k][1].shape[1] / row.pictures[k][1].shape[0] for row in rows)
        for k in range(len(rows[0].pictures))
    ]
    widths = [*(min(aspect, 3.2) for aspect in aspects), *[1.0] * len(rows[0].graphs)]
    shape = {"nrows": len(rows), "ncols": len(widths), "squeeze": False, "width_ratios": widths}
    with plot(_SIDE_IN * sum(widths) + 0.3, (_SIDE_IN + 0.28) * len(rows), **shape) as (figure, grid):
        for number, (row, cells) in enumerate(zip(rows, grid, strict=True)):
            for axes, (title, image) in zip(cells, row.pictures, strict=False):
                axes.imshow(image, interpolation="lanczos")
                axes.axis("off")
                axes.set_anchor("W")
                axes.set_title(title, fontsize=8.5)
            for axes, (title, graph) in zip(cells[len(row.pictures) :], row.graphs, strict=True):
                _draw_window(axes, graph, window, row.truth)
                axes.set_title(title, fontsize=8.5)
            cells[0].annotate(
                row.title, (0, 0.5), (-6, 0), "axes fraction", "offset points", rotation=90, ha="right", va="center",
                fontsize=8.5, color=INK,
            )  # fmt: skip
            if number == 0:
                figure.align_titles()
        return to_png(figure)


def _draw_window(axes: Axes, graph: LaneGraph, window: Window, truth: LaneGraph | None) -> None:
    """Draw a lane graph in the ego frame, ahead up and left on the left; links are thin, the ego is a triangle."""
    if truth is not None and truth is not graph:
        axes.add_collection(LineCollection(list(_lines(truth)), colors=QUIET, linewidths=4.0, alpha=0.35))
    lines = _lines(graph)
    step = lines[:, 1] - lines[:, 0]
    link = graph.kind == LINK
    for some, width in ((link, 0.9), (~link, 1.8)):
        heading = np.arctan2(-step[some, 0], step[some, 1])
        axes.add_collection(
            LineCollection(
                list(lines[some]), array=heading, cmap="hsv", clim=(-np.pi, np.pi), linewidths=width, capstyle="round"
            )
        )
    axes.plot([0], [0], marker="^", color=INK, markersize=5)
    axes.set(xlim=(-window.left_m, -window.right_m), ylim=(window.back_m, window.ahead_m), xticks=[], yticks=[])
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set_visible(True)


def _lines(graph: LaneGraph) -> DoubleArray:
    """Both ends of each edge on the picture, (E, 2, 2): ahead is up, left on the left."""
    ends = graph.vertices_m[graph.edges] if len(graph.edges) else np.zeros((0, 2, 2))
    return np.stack([-ends[..., 1], ends[..., 0]], -1)


def change_map(
    image: ByteArray, west_m: float, north_m: float, resolution_m: float, changes: Sequence[Change], before: LaneGraph
) -> bytes:
    """Draw found changes on the ground: green was added, red removed, amber moved; the old map is thin and white.

    The image, uint8 (H, W, 3), is from above with row 0 north; its edges are in the map's frame. PNG.
    """
    height, width = image.shape[0] * resolution_m, image.shape[1] * resolution_m
    with plot(3.6, 3.75 * height / width) as (figure, axes):
        axes.imshow(image, extent=(west_m, west_m + width, north_m - height, north_m), interpolation="lanczos")
        axes.add_collection(
            LineCollection(list(before.vertices_m[before.edges]), colors="white", linewidths=0.7, alpha=0.8)
        )
        shown: set[str] = set()
        for change in changes:
            colour = _COLOURS[change.kind]
            if len(change.before_m):
                axes.plot(*change.before_m.T, color=colour, linewidth=1.6, linestyle=":")
            label = None if change.kind in shown else change.kind
            axes.plot(*change.line_m.T, color=colour, linewidth=2.4, label=label)
            shown.add(change.kind)
        axes.set(xlim=(west_m, west_m + width), ylim=(north_m - height, north_m), xlabel="east [m]", ylabel="north [m]")
        axes.grid(visible=False)
        if shown:
            axes.legend(loc="upper left", fontsize=8, frameon=True, framealpha=0.85)
        return to_png(figure)


def error_line(
    distance_m: DoubleArray, errors_m: Mapping[str, DoubleArray], sure: Mapping[str, DoubleArray], title: str = ""
) -> bytes:
    """Plot errors along a drive on a logarithmic axis; filled marks are answers, hollow ones guesses without a pose.

    Errors (N,) and whether a pose was answered, bool (N,), by name; distances (N,) are driven. SVG.
    """
    with plot(7.2, 3.2) as (figure, axes):
        for index, (name, error) in enumerate(errors_m.items()):
            colour = ACCENT if index == 0 else SERIES[index]
            floor = np.maximum(error, 0.05)
            axes.plot(distance_m, floor, color=colour, linewidth=1.3, label=name, zorder=5 - index)
            answered = np.asarray(sure[name], bool)
            for some, face in ((answered, colour), (~answered, "white")):
                axes.plot(
                    distance_m[some], floor[some], MARKERS[index + 1], color=colour, markerfacecolor=face,
                    markersize=4.5, zorder=6 - index,
                )  # fmt: skip
        axes.axhline(5.0, color=QUIET, linewidth=0.8, linestyle="--")
        axes.set_yscale("log")
        axes.set(xlabel="driven [m]", ylabel="error [m]", title=title)
        legend_beside(axes)
        return to_svg(figure)
