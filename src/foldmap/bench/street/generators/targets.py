"""What generators are taught: the chains of a graph as polylines of equally many points, and which follows which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldmap.geometry import SE2
from foldmap.street.graph.chains import chains, vertices_along
from foldmap.street.graph.window import Window, cut
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, DoubleArray, FloatArray

POINTS = 11
"""Points of a taught line, at equal steps of its length."""


@dataclass(frozen=True)
class LineTargets:
    """The chains of one graph.

    Attributes:
        points: float32 (C, POINTS, 2), in driving direction, -1 .. 1 across the window (x ahead, y left).
        follows: bool (C, C), whether line j starts at the vertex where line i ends.
        length_m: float64 (C,).
    """

    points: FloatArray
    follows: BoolArray
    length_m: DoubleArray

    def __len__(self) -> int:
        return len(self.points)


def line_targets(graph: LaneGraph, window: Window, shortest_m: float = 1.0) -> LineTargets:
    """Clip a graph (ego frame) to the window; its chains of at least `shortest_m` become targets."""
    clipped = cut(graph, SE2(0.0, 0.0, 0.0), window)
    lines, starts, ends, lengths = [], [], [], []
    for run in chains(clipped).runs():
        nodes = vertices_along(clipped, run)
        line = clipped.vertices_m[nodes]
        length = float(np.hypot(*np.diff(line, axis=0).T).sum())
        if length < shortest_m:
            continue
        lines.append(equal_steps(line, POINTS))
        starts.append(nodes[0])
        ends.append(nodes[-1])
        lengths.append(length)
    if not lines:
        return LineTargets(np.zeros((0, POINTS, 2), np.float32), np.zeros((0, 0), bool), np.zeros(0))
    follows: BoolArray = np.array(ends)[:, None] == np.array(starts)[None]
    np.fill_diagonal(follows, False)
    return LineTargets(to_unit(np.stack(lines), window).astype(np.float32), follows, np.array(lengths))


def equal_steps(line_m: DoubleArray, count: int) -> DoubleArray:
    """`count` points at equal steps along a polyline (P, 2), its ends included."""
    at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line_m, axis=0).T))])
    wanted = np.linspace(0.0, at[-1], count)
    return np.stack([np.interp(wanted, at, line_m[:, 0]), np.interp(wanted, at, line_m[:, 1])], 1)


def to_unit(points_m: DoubleArray, window: Window) -> DoubleArray:
    """Ego metres (..., 2) to -1 .. 1 across the window."""
    return (points_m - (window.low_m + window.high_m) / 2) / half_size_m(window)


def to_metres(points: DoubleArray, window: Window) -> DoubleArray:
    """The inverse of `to_unit`."""
    return np.asarray(points, np.float64) * half_size_m(window) + (window.low_m + window.high_m) / 2


def half_size_m(window: Window) -> DoubleArray:
    """Metres of one unit in x and y, (2,)."""
    return (window.high_m - window.low_m) / 2
