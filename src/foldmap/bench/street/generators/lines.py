"""Lane graphs as lines, which generators are taught, and the lines that they predict as lane graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.geometry import SE2
from foldmap.street.graph.chains import chains, resample, vertices_along
from foldmap.street.graph.window import Window, cut
from foldmap.street.source import LaneGraph
from foldmap.types import AnyArray, BoolArray, DoubleArray, FloatArray

POINTS = 11
"""Points of a taught line, at equal steps of its length."""
JOIN_M = 5.0
"""A predicted connection over a wider gap than this is not made."""
STEP_M = 1.0
"""Between vertices of what generators answer."""


@dataclass(frozen=True)
class LineTargets:
    """The C chains of one graph: `points` float32 (C, POINTS, 2) in driving direction, -1 .. 1 across the window.

    x is ahead, y left. `follows` bool (C, C): line j starts at the vertex where line i ends; `length_m` float64 (C,).
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


def assemble(lines_m: Sequence[DoubleArray], follows: BoolArray, window: Window, shortest_m: float = 1.0) -> LaneGraph:
    """Join lines (P, 2) of the ego frame where one follows another, and give the graph vertices 1 m apart.

    Ends that are connected, directly or through others, become one vertex at their mean; each line is bent linearly
    along its length so that it reaches them. A connection that would close a line onto itself is not made. `follows`
    is bool (C, C), whether line j starts where line i ends; lines shorter than `shortest_m` are dropped before.
    """
    length = np.array([np.hypot(*np.diff(line, axis=0).T).sum() if len(line) > 1 else 0.0 for line in lines_m])
    kept = np.flatnonzero(length >= shortest_m)
    if not len(kept):
        return LaneGraph.empty()
    lines = [np.asarray(lines_m[int(k)], np.float64) for k in kept]
    ends = np.concatenate([line[[0, -1]] for line in lines])  # start of i: 2 i, its end: 2 i + 1
    node = _join(ends, follows[np.ix_(kept, kept)])
    count = int(node.max()) + 1
    sums = np.stack([np.bincount(node, ends[:, axis], count) for axis in (0, 1)], 1)
    place: DoubleArray = np.asarray(sums / np.bincount(node, minlength=count)[:, None], np.float64)
    graph = _chain(lines, node.reshape(-1, 2), place)
    return resample(cut(graph, SE2(0.0, 0.0, 0.0), window), STEP_M)


def _join(ends: DoubleArray, follows: BoolArray) -> AnyArray:
    """The joint vertex of each end, nearest connections first."""
    before, after = np.nonzero(follows)
    gap = np.hypot(*(ends[2 * before + 1] - ends[2 * after]).T)
    order = [k for k in np.argsort(gap, kind="stable") if gap[k] <= JOIN_M and before[k] != after[k]]
    node: AnyArray = np.arange(len(ends))
    for k in order:
        a, b = node[2 * before[k] + 1], node[2 * after[k]]
        if a == b:
            continue
        trial = np.where(node == b, a, node)
        if (trial[0::2] == trial[1::2]).any():  # a line would start where it ends
            continue
        node = trial
    return np.unique(node, return_inverse=True)[1]


def _chain(lines: Sequence[DoubleArray], node: AnyArray, place: DoubleArray) -> LaneGraph:
    vertices, edges, filled = [place], [], len(place)
    for line, (first, last) in zip(lines, node, strict=True):
        at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
        share = (at / at[-1])[:, None]
        bent = line + (1 - share) * (place[first] - line[0]) + share * (place[last] - line[-1])
        inner = np.arange(filled, filled + len(line) - 2)
        run = np.concatenate([[first], inner, [last]])
        vertices.append(bent[1:-1])
        edges.append(np.stack([run[:-1], run[1:]], 1))
        filled += len(inner)
    return LaneGraph(np.concatenate(vertices), np.unique(np.concatenate(edges), axis=0).astype(np.int64))
