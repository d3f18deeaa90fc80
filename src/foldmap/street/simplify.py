"""Fewer vertices at a bounded error: Douglas-Peucker along each chain."""

from __future__ import annotations

import numpy as np
from numba import njit

from foldmap.errors import MapInputError
from foldmap.street.chains import chains
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, IntArray


def simplify(graph: LaneGraph, tolerance_m: float) -> LaneGraph:
    """Drop vertices inside chains, topology stays exact (Douglas and Peucker 1973).

    Key vertices, where lanes fork, merge, end or change kind or lane, all stay, so do the chains between them. No point
    of a lane is farther than the tolerance from where it was, and the other way round. Rings keep three vertices (two
    where they have no more), and of chains that would become the same straight edge all but one keep a vertex.

    Args:
        graph: any; isolated vertices are dropped.
        tolerance_m: the largest deviation; 0 drops vertices on straight lines only.

    Returns:
        The graph, vertices in their order, edges in the order of the chains.

    Raises:
        MapInputError: a tolerance that is negative or not finite.
    """
    if not (np.isfinite(tolerance_m) and tolerance_m >= 0):
        raise MapInputError(f"cannot simplify to {tolerance_m} m", "give 0 or a positive distance in metres")
    if not len(graph.edges):
        return LaneGraph(np.zeros((0, 2)), graph.edges, graph.kind, graph.lane, graph.lanes)
    found = chains(graph)
    edges = graph.edges[found.edge]
    kept = _kept(graph.vertices_m, edges, found.offset, float(tolerance_m))
    _keep_apart(graph, edges, found.offset, kept)

    at = np.flatnonzero(kept)  # edges that start at a vertex that stays
    stops = np.append(at[1:], len(edges)) - 1
    pairs = np.stack([edges[at, 0], edges[stops, 1]], 1)
    source = found.edge[at]
    used = np.unique(pairs)
    place = np.full(len(graph), -1, np.int64)
    place[used] = np.arange(len(used))
    return LaneGraph(graph.vertices_m[used], place[pairs], graph.kind[source], graph.lane[source], graph.lanes)


def _keep_apart(graph: LaneGraph, edges: IntArray, offset: IntArray, kept: BoolArray) -> None:
    """Chains that became the same single edge: the shortest stays one, the others keep the vertex farthest from it."""
    single = np.flatnonzero(np.add.reduceat(kept.astype(np.int64), offset[:-1]) == 1)
    pairs = np.stack([edges[offset[single], 0], edges[offset[single + 1] - 1, 1]], 1)
    order = np.argsort(offset[single + 1] - offset[single], kind="stable")  # one that has no inner vertex comes first
    first = np.zeros(len(single), np.bool_)
    if len(single):
        first[order[np.unique(pairs[order], axis=0, return_index=True)[1]]] = True
    for c in single[~first]:
        begin, stop = offset[c], offset[c + 1]
        inner = edges[begin + 1 : stop, 0]
        a, b = graph.vertices_m[edges[begin, 0]], graph.vertices_m[edges[stop - 1, 1]]
        away = [_distance(graph.vertices_m[v], a, b) for v in inner]
        kept[begin + 1 + int(np.argmax(away))] = True


@njit(cache=True)
def _distance(p, a, b):  # type: ignore[no-untyped-def]
    """From a point to a segment."""
    x, y = b[0] - a[0], b[1] - a[1]
    square = x * x + y * y
    share = 0.0
    if square > 0:
        share = min(1.0, max(0.0, ((p[0] - a[0]) * x + (p[1] - a[1]) * y) / square))
    return np.hypot(p[0] - a[0] - share * x, p[1] - a[1] - share * y)


@njit(cache=True)
def _farthest(vertices, edges, begin, stop):  # type: ignore[no-untyped-def]
    """Of the vertices that start the edges begin+1 .. stop-1: the one farthest from the segment around them."""
    a, b = vertices[edges[begin, 0]], vertices[edges[stop - 1, 1]]
    worst, where = -1.0, -1
    for e in range(begin + 1, stop):
        away = _distance(vertices[edges[e, 0]], a, b)
        if away > worst:
            worst, where = away, e
    return worst, where


@njit(cache=True)
def _kept(vertices, edges, offset, tolerance):  # type: ignore[no-untyped-def]
    """Whether the vertex that starts an edge stays, in the order of the chains."""
    kept = np.zeros(len(edges), np.bool_)
    stack = np.empty((len(edges) + 2, 2), np.int64)
    for c in range(len(offset) - 1):
        begin, stop = offset[c], offset[c + 1]
        kept[begin] = True
        top = 0
        stack[0, 0], stack[0, 1] = begin, stop
        ring = edges[begin, 0] == edges[stop - 1, 1]
        if ring:  # no line to measure from: the farthest vertex stays, and one more, to keep it a ring
            _, far = _farthest(vertices, edges, begin, stop)
            kept[far] = True
            stack[0, 1] = far
            top = 1
            stack[1, 0], stack[1, 1] = far, stop
        count = 0
        while top >= 0:
            lo, hi = stack[top, 0], stack[top, 1]
            top -= 1
            if hi - lo < 2:
                continue
            worst, where = _farthest(vertices, edges, lo, hi)
            if worst > tolerance:
                kept[where] = True
                count += 1
                top += 1
                stack[top, 0], stack[top, 1] = lo, where
                top += 1
                stack[top, 0], stack[top, 1] = where, hi
        if ring and count == 0 and stop - begin > 2:
            left, e = _farthest(vertices, edges, begin, far)
            right, g = _farthest(vertices, edges, far, stop)
            kept[e if e >= 0 and (g < 0 or left >= right) else g] = True
    return kept
