"""A lane graph on a grid: the fewest vertices, at integer coordinates, whose lines stay within a stated distance.

Simplifying first and rounding afterwards would spend the error twice. Here each chain's vertices are rounded first, and
of them the fewest are kept such that every original vertex lies within `error_m` of the segment that replaces it: a
shortest path over the chain (Imai and Iri 1988), feasible segments found by intersecting wedges (Chan and Chin 1996). A
capsule is convex, so the Hausdorff distance between the original and the coded lines is at most `error_m`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit

from foldmap.errors import ConfigError, MapInputError
from foldmap.street.graph.chains import chains
from foldmap.street.source import LaneAttributes, LaneGraph
from foldmap.types import BoolArray, ByteArray, IntArray

MAX_COORDINATE = 1 << 27
"""Grid steps from a stream's origin; on the finest usual grid (1 cm) 1,300 km."""

STEP_OF_ERROR = 1.35
"""Grid step over error: coarser grids cost fewer bits a vertex, and more vertices."""


@dataclass(frozen=True)
class GridGraph:
    """A lane graph at integer coordinates, int64 (V, 2), of `step_m`; edges and their attributes as in `LaneGraph`.

    The grid's origin is the frame's.
    """

    step_m: float
    xy: IntArray
    edges: IntArray
    kind: ByteArray
    lane: IntArray
    lanes: tuple[LaneAttributes, ...] = ()

    def __len__(self) -> int:
        return len(self.xy)

    @staticmethod
    def empty(step_m: float, lanes: tuple[LaneAttributes, ...] = ()) -> GridGraph:
        """A graph of nothing."""
        none = np.zeros((0, 2), np.int64)
        return GridGraph(step_m, none, none, np.zeros(0, np.uint8), np.zeros(0, np.int64), lanes)

    def graph(self) -> LaneGraph:
        """In metres."""
        return LaneGraph(self.xy.astype(np.float64) * self.step_m, self.edges, self.kind, self.lane, self.lanes)

    def take_edges(self, kept: IntArray) -> GridGraph:
        """Some edges and the vertices that they use."""
        used, place = np.unique(self.edges[kept], return_inverse=True)
        edges = place.reshape(-1, 2).astype(np.int64)
        return replace(self, xy=self.xy[used], edges=edges, kind=self.kind[kept], lane=self.lane[kept])


def to_grid(
    graph: LaneGraph, error_m: float = 0.10, step_m: float | None = None, fixed: BoolArray | None = None
) -> GridGraph:
    """Round and simplify a graph. Topology, kinds and lanes stay exactly; isolated vertices, which carry no lane, go.

    Args:
        graph: in metres.
        error_m: largest distance between original and decoded lines, both ways (Hausdorff).
        step_m: of the grid, below ``error_m * sqrt(2)``; `STEP_OF_ERROR` times the error where None.
        fixed: bool (V,), vertices to keep whether needed or not: those that come from a decoded graph.

    Raises:
        ConfigError: an error or step that is not positive, or a step too coarse for the error.
    """
    step = STEP_OF_ERROR * error_m if step_m is None else step_m
    if not (np.isfinite(error_m) and np.isfinite(step) and 0 < step < 1.41 * error_m):
        raise ConfigError(f"a grid of {step} m cannot keep an error of {error_m} m", "give a step below 1.4 times it")
    if len(graph) and float(np.abs(graph.vertices_m).max()) / step > 1 << 52:
        raise MapInputError("coordinates are too large for the grid", "move the origin near the map")
    rounded = np.rint(graph.vertices_m / step)
    if not len(graph.edges):
        return GridGraph.empty(step, graph.lanes)
    found = chains(graph)
    point = np.empty(len(found.edge) + len(found), np.int64)
    offset = found.offset + np.arange(len(found) + 1)
    inside = np.ones(len(point), bool)
    inside[offset[1:] - 1] = False
    point[inside] = graph.edges[found.edge, 0]
    point[offset[1:] - 1] = graph.edges[found.last, 1]
    # a ring keeps two vertices and chains between the same two one each, or they would be a self-loop or one edge twice
    force = _forced(point, offset)
    if fixed is not None:
        force |= fixed[point]
    kept = _fewest(graph.vertices_m[point], rounded[point] * step, offset, force, error_m * (1 - 1e-6))
    point, of_chain = point[kept], np.repeat(np.arange(len(found)), np.diff(offset))[kept]
    joined = of_chain[1:] == of_chain[:-1]
    edge = found.first[of_chain[1:][joined]]
    used, place = np.unique(np.stack([point[:-1][joined], point[1:][joined]], 1), return_inverse=True)
    edges = place.reshape(-1, 2).astype(np.int64)
    return GridGraph(step, rounded[used].astype(np.int64), edges, graph.kind[edge], graph.lane[edge], graph.lanes)


def _forced(point: IntArray, offset: IntArray) -> BoolArray:
    """The middle of each chain that is a ring, or that shares both ends with another chain."""
    start, end, size = point[offset[:-1]], point[offset[1:] - 1], np.diff(offset)
    _, group, count = np.unique(np.stack([start, end], 1), axis=0, return_inverse=True, return_counts=True)
    needs = (size > 2) & ((start == end) | (count[group.ravel()] > 1))
    forced = np.zeros(len(point), bool)
    forced[(offset[:-1] + size // 2)[needs]] = True
    ring = (size > 3) & (start == end)
    forced[(offset[:-1] + np.maximum(1, size // 4))[ring]] = True
    return forced


@njit(cache=True)
def _fewest(exact, rounded, offset, force, error):  # type: ignore[no-untyped-def]
    """Which points of each chain stay, bool (P,)."""
    kept = np.zeros(len(exact), np.bool_)
    cost = np.empty(len(exact), np.int64)
    back = np.empty(len(exact), np.int64)
    for c in range(len(offset) - 1):
        low, high = offset[c], offset[c + 1]
        cost[low:high] = np.iinfo(np.int64).max
        cost[low] = 0
        for i in range(low, high - 1):
            _reach(exact, rounded, i, high, force, error, cost, back)
        i = high - 1
        while i > low:
            kept[i] = True
            i = back[i]
        kept[low] = True
    return kept


@njit(cache=True)
def _reach(exact, rounded, i, high, force, error, cost, back):  # type: ignore[no-untyped-def]
    """Offer to the points behind `i` the segment from it, while one within `error` of all between exists."""
    px, py = rounded[i, 0], rounded[i, 1]
    far = 0.0
    middle, low, top = 0.0, -4.0, 4.0
    known = False
    for j in range(i + 1, high):
        dx, dy = rounded[j, 0] - px, rounded[j, 1] - py
        length = np.hypot(dx, dy)
        good = j == i + 1
        if not good and length > 0 and length >= far:
            turn = _wrapped(np.arctan2(dy, dx) - middle) if known else 0.0
            good = low <= turn <= top
        if good and cost[i] + 1 < cost[j]:
            cost[j] = cost[i] + 1
            back[j] = i
        if force[j]:
            break
        ex, ey = exact[j, 0] - px, exact[j, 1] - py
        reach = np.hypot(ex, ey)
        far = max(far, reach)
        if reach > error:
            width = np.arcsin(error / reach)
            angle = np.arctan2(ey, ex)
            if not known:
                known = True
                middle = angle
            turn = _wrapped(angle - middle)
            low, top = max(low, turn - width), min(top, turn + width)
            if low > top:
                break


@njit(cache=True)
def _wrapped(angle):  # type: ignore[no-untyped-def]
    return (angle + np.pi) % (2 * np.pi) - np.pi
