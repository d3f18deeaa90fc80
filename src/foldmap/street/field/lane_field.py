"""The lane field: how much lane of which heading passes where in a window, as a small dense tensor.

It is what the accurate street model speaks: a graph is drawn into it exactly, without anything learned, and the image
network predicts it. Field cells answer "which lanes are here", so a network learns from every cell of every window,
where a pooled embedding learns from one number a pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from foldmap.errors import ConfigError
from foldmap.street.graph.chains import members
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.source import LaneGraph
from foldmap.types import AnyArray, DoubleArray, FloatArray

_REACH_SIGMA = 3.0
_STEP_M = 1.0
_MAX_CELLS = 1 << 20


@dataclass(frozen=True)
class FieldSpec:
    """How lanes are drawn.

    Attributes:
        window: what the field covers, in the ego frame; a whole number of cells.
        cell_m: side of a cell.
        headings: channels; channel k collects lanes that head ``2 pi k / headings`` from ahead, counter-clockwise; a
            lane between two headings is shared by both.
        sigma_m: lanes are drawn with a Gaussian pen of this standard deviation.
        gain_m: a cell is ``min(1, gain_m * lane density)``, density in lane metres per m2: the middle of one straight
            lane has ``1 / (sqrt(2 pi) sigma_m)``.
    """

    window: Window = AROUND
    cell_m: float = 1.0
    headings: int = 8
    sigma_m: float = 1.0
    gain_m: float = 2.2

    def __post_init__(self) -> None:
        numbers = (self.cell_m, self.sigma_m, self.gain_m)
        if not all(math.isfinite(n) and n > 0 for n in numbers) or not 2 <= self.headings <= 64:
            raise ConfigError(f"a lane field of {self}", "give positive sizes and 2 to 64 headings")
        for size in self.window.size_m:
            if abs(size / self.cell_m - round(size / self.cell_m)) > 1e-6:
                what = f"a window of {size} m is not a whole number of {self.cell_m} m cells"
                raise ConfigError(what, "choose another")
        if math.prod(self.shape) > _MAX_CELLS:
            raise ConfigError(f"a lane field of shape {self.shape} is too large", "take larger cells")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows (row 0 ahead), columns (column 0 left)."""
        length, width = self.window.size_m
        return self.headings, round(length / self.cell_m), round(width / self.cell_m)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> FieldSpec:
        """What `asdict` gave (ConfigError: a key is missing, unknown or unusable)."""
        try:
            return FieldSpec(**{**values, "window": Window(**values["window"])})
        except (TypeError, KeyError) as error:
            raise ConfigError(f"not the parameters of a lane field: {error}", "give those that were saved") from error


def draw(graph: LaneGraph, spec: FieldSpec) -> FloatArray:
    """The lane field of a graph in the ego frame, float32 `spec.shape`, 0 to 1.

    Lanes beyond the window's rim count as far as the pen reaches into it: cut graphs a little larger where that
    matters.
    """
    drawn: FloatArray = draw_all([graph], spec)[0]
    return drawn


def draw_all(graphs: Sequence[LaneGraph], spec: FieldSpec) -> FloatArray:
    """`draw` for many: float32 (N, headings, rows, columns)."""
    fields = np.zeros((len(graphs), *spec.shape), np.float32)
    for field, graph in zip(fields, graphs, strict=True):
        _ink(strokes(graph), field, *_pen(spec))
    return np.minimum(fields, 1.0, out=fields)


def draw_around(ends_m: DoubleArray, poses: DoubleArray, spec: FieldSpec) -> FloatArray:
    """The lane fields of windows of one graph, float32 (N, headings, rows, columns), 0 to 1.

    `ends_m` float64 (E, 2, 2) is from where to where the graph's edges go, `poses` float64 (N, 3) x, y (m) and heading
    (rad) of each window's ego in the graph's frame.
    """
    fields = np.zeros((len(poses), *spec.shape), np.float32)
    window = spec.window
    sides = window.back_m, window.ahead_m, window.right_m, window.left_m
    _around(np.ascontiguousarray(ends_m), np.ascontiguousarray(poses), fields, sides, _pen(spec))
    return np.minimum(fields, 1.0, out=fields)


def strokes(graph: LaneGraph) -> DoubleArray:
    """Straight pieces of all edges, about 1 m at most, float64 (S, 4): middle x, y (m), heading (rad), length (m)."""
    if not len(graph.edges):
        return np.zeros((0, 4))
    ends = graph.vertices_m[graph.edges]
    step = ends[:, 1] - ends[:, 0]
    length = np.hypot(step[:, 0], step[:, 1])
    pieces = np.maximum(1, np.ceil(length / _STEP_M - 0.25).astype(np.int64))
    edge, rank = members(pieces)
    middle = ends[edge, 0] + ((rank + 0.5) / pieces[edge])[:, None] * step[edge]
    heading = np.arctan2(step[:, 1], step[:, 0])
    return np.column_stack([middle, heading[edge], (length / pieces)[edge]])


def heading_weights(heading_rad: AnyArray, headings: int) -> DoubleArray:
    """Which channels count as lanes of a heading, (N, headings): 1 up to a channel away, 0 from two channels on.

    A lane between two headings has its ink in both, and a field that was turned once more in three: their sum is the
    lane.
    """
    turn = np.asarray(heading_rad, np.float64)[:, None] / (2 * np.pi) * headings
    apart = np.mod(turn - np.arange(headings) + headings / 2, headings) - headings / 2
    weights: DoubleArray = np.clip(2 - np.abs(apart), 0, 1)
    return weights


def _pen(spec: FieldSpec) -> tuple[float, float, float, float, float]:
    return spec.window.ahead_m, spec.window.left_m, spec.cell_m, spec.sigma_m, spec.gain_m


@njit(cache=True)
def _ink(pieces, field, ahead_m, left_m, cell_m, sigma_m, gain_m):  # type: ignore[no-untyped-def]
    headings, rows, columns = field.shape
    reach = _REACH_SIGMA * sigma_m / cell_m
    peak = gain_m / (2 * np.pi * sigma_m * sigma_m)
    sharp = cell_m * cell_m / (2 * sigma_m * sigma_m)
    along, across = np.empty(rows), np.empty(columns)
    for n in range(len(pieces)):
        x, y, heading, length = pieces[n]
        row, column = (ahead_m - x) / cell_m - 0.5, (left_m - y) / cell_m - 0.5
        turn = heading / (2 * np.pi) * headings
        low = int(np.floor(turn))
        share = turn - low
        first, second = low % headings, (low + 1) % headings
        top, bottom = max(0, int(np.ceil(row - reach))), min(rows, int(np.floor(row + reach)) + 1)
        left, right = max(0, int(np.ceil(column - reach))), min(columns, int(np.floor(column + reach)) + 1)
        for i in range(top, bottom):  # a round pen is the product of two
            along[i] = length * peak * np.exp(-((i - row) ** 2) * sharp)
        for j in range(left, right):
            across[j] = np.exp(-((j - column) ** 2) * sharp)
        for i in range(top, bottom):
            for j in range(left, right):
                ink = along[i] * across[j]
                field[first, i, j] += ink * (1 - share)
                field[second, i, j] += ink * share


@njit(cache=True)
def _clipped(start, end, kept, back_m, ahead_m, right_m, left_m):  # type: ignore[no-untyped-def]
    """Liang-Barsky: the pieces of edges within a window, as `strokes` gives them, into ``kept``; returns how many."""
    count = 0
    for n in range(len(start)):
        a, step = start[n], end[n] - start[n]
        enter, leave = 0.0, 1.0
        for axis in range(2):
            low, high = (back_m, ahead_m) if axis == 0 else (right_m, left_m)
            if step[axis] == 0:
                if a[axis] < low or a[axis] > high:
                    leave = -1.0
                continue
            first, second = (low - a[axis]) / step[axis], (high - a[axis]) / step[axis]
            enter, leave = max(enter, min(first, second)), min(leave, max(first, second))
        if leave <= enter:
            continue
        length = (leave - enter) * np.hypot(step[0], step[1])
        pieces = max(1, int(np.ceil(length / _STEP_M - 0.25)))
        heading = np.arctan2(step[1], step[0])
        for rank in range(pieces):
            if count < len(kept):
                at = enter + (rank + 0.5) / pieces * (leave - enter)
                kept[count, 0], kept[count, 1] = a[0] + at * step[0], a[1] + at * step[1]
                kept[count, 2], kept[count, 3] = heading, length / pieces
            count += 1
    return count


@njit(cache=True)
def _around(ends, poses, fields, sides, pen):  # type: ignore[no-untyped-def]
    """Draw the edges (E, 2, 2) into a field for each pose (N, 3), in its own frame, cut to its window."""
    kept = np.empty((256, 4))
    start, end = np.empty((len(ends), 2)), np.empty((len(ends), 2))
    for n in range(len(poses)):
        x, y, heading = poses[n]
        c, s = np.cos(heading), np.sin(heading)
        for e in range(len(ends)):
            for side in range(2):
                dx, dy = ends[e, side, 0] - x, ends[e, side, 1] - y
                into = start if side == 0 else end
                into[e, 0], into[e, 1] = c * dx + s * dy, c * dy - s * dx
        count = _clipped(start, end, kept, *sides)
        if count > len(kept):
            kept = np.empty((count, 4))
            _clipped(start, end, kept, *sides)
        _ink(kept[:count], fields[n], *pen)
