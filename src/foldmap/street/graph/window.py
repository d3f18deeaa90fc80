"""Windows: the part of a lane graph around an ego pose, in the ego frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.street.source import LaneGraph
from foldmap.types import DoubleArray

_SEAM_M = 1e-6


@dataclass(frozen=True)
class Window:
    """A rectangle in the ego frame: x ahead from `back_m` to `ahead_m`, y left from `right_m` to `left_m`."""

    back_m: float = -20.0
    ahead_m: float = 20.0
    right_m: float = -20.0
    left_m: float = 20.0

    def __post_init__(self) -> None:
        sides = (self.back_m, self.ahead_m, self.right_m, self.left_m)
        if not np.isfinite(sides).all() or self.ahead_m <= self.back_m or self.left_m <= self.right_m:
            raise ConfigError(f"a window of {sides} m holds nothing", "give back < ahead and right < left, in metres")

    @property
    def low_m(self) -> DoubleArray:
        """Corner of least x and y, (2,)."""
        return np.array([self.back_m, self.right_m])

    @property
    def high_m(self) -> DoubleArray:
        """Corner of largest x and y, (2,)."""
        return np.array([self.ahead_m, self.left_m])

    @property
    def size_m(self) -> tuple[float, float]:
        """Length and width."""
        return self.ahead_m - self.back_m, self.left_m - self.right_m

    @property
    def radius_m(self) -> float:
        """From the ego to the farthest corner."""
        return float(np.hypot(max(-self.back_m, self.ahead_m), max(-self.right_m, self.left_m)))


AROUND = Window()
"""40 x 40 m around the ego, the paper's default."""
FRONTAL = Window(0.0, 50.0, -25.0, 25.0)
"""50 x 50 m ahead of the ego, where the paper compares with generators."""


def cut(graph: LaneGraph, world_SE2_ego: SE2, window: Window = AROUND) -> LaneGraph:
    """Clip a graph to a window and move it into the ego frame; an edge that crosses the rim ends on it."""
    # column by column: reductions over an axis of two take several times as long
    local = world_SE2_ego.inverse().apply(graph.vertices_m)
    low, high = window.low_m, window.high_m
    a, b = local[graph.edges[:, 0]], local[graph.edges[:, 1]]
    beyond = (np.minimum(a, b) > high) | (np.maximum(a, b) < low)
    near = np.flatnonzero(~(beyond[:, 0] | beyond[:, 1]))
    a, b = a[near], b[near]
    enter, leave = _inside(a, b, low, high)
    kept = leave - enter > 0
    near, enter, leave, a, b = near[kept], enter[kept], leave[kept], a[kept], b[kept]
    if not len(near):
        return replace(LaneGraph.empty(), lanes=graph.lanes)
    edges = graph.edges[near]
    cut_start, cut_end = enter > 0, leave < 1
    crossings = np.concatenate([(a + enter[:, None] * (b - a))[cut_start], (a + leave[:, None] * (b - a))[cut_end]])
    place = np.full(len(graph), -1, np.int64)
    place[edges[~cut_start, 0]] = place[edges[~cut_end, 1]] = 0
    used = np.flatnonzero(place == 0)
    place[used] = np.arange(len(used))
    start, end = place[edges[:, 0]], place[edges[:, 1]]
    start[cut_start] = len(used) + np.arange(int(cut_start.sum()))
    end[cut_end] = len(used) + int(cut_start.sum()) + np.arange(int(cut_end.sum()))
    return graph.derived(
        vertices_m=np.concatenate([local[used], np.clip(crossings, low, high)]),
        edges=np.stack([start, end], 1),
        kind=graph.kind[near],
        lane=graph.lane[near],
    )


def _inside(a: DoubleArray, b: DoubleArray, low: DoubleArray, high: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Liang-Barsky: the share of each edge, ends (N, 2), where it enters and leaves the box; enter >= leave outside."""
    step = b - a
    still = step == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (low - a) / step, (high - a) / step
    if still.any():
        within = (a >= low) & (a <= high)
        first = np.where(still, np.where(within, -np.inf, np.inf), first)
        second = np.where(still, np.where(within, np.inf, -np.inf), second)
    enter, leave = np.minimum(first, second), np.maximum(first, second)
    enter = np.maximum(enter[:, 0], enter[:, 1]).clip(0, None)
    leave = np.minimum(leave[:, 0], leave[:, 1]).clip(None, 1)
    return np.where(enter < _SEAM_M, 0.0, enter), np.where(leave > 1 - _SEAM_M, 1.0, leave)
