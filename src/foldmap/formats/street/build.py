"""Lanes and which of them follow one another, to a lane graph: what every reader of a map with topology ends in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from foldmap.errors import MapInputError
from foldmap.street.source import LANE, LINK, LaneAttributes, LaneGraph
from foldmap.types import BoolArray, ByteArray, DoubleArray, IntArray

JOIN_M = 0.1
"""Ends nearer than this become one vertex; wider gaps between lanes that follow one another become a link edge."""

_TOUCH_M = 0.02
_DRAW_BACK_M = 0.1


@dataclass(frozen=True)
class MapLane:
    """One lane in driving direction, float64 (P, 2), P >= 1; a lane of one point is a place where others meet."""

    line_m: DoubleArray
    attributes: LaneAttributes
    kind: int = LANE


def build_graph(lanes: Sequence[MapLane], follows: Sequence[tuple[int, int]], join_m: float = JOIN_M) -> LaneGraph:
    """One chain of edges a lane, joined exactly as the map says and no further.

    The end of a lane and the start of the next become one vertex where they are within `join_m` of each other and all
    lanes that end there go on into all that start there; otherwise a link edge joins them, so that no turn appears
    that the map does not have. Where such ends coincide they are drawn back by up to 10 cm: a link of no length would
    have no direction. ``follows`` are (lane, next lane), indices into ``lanes``; repetitions do not matter. Edges carry
    the index of their lane, link edges between lanes -1.
    """
    if not lanes:
        return LaneGraph.empty()
    lines = [_distinct(lane) for lane in lanes]
    counts = np.array([len(line) for line in lines])
    first = np.cumsum(counts) - counts
    last = first + counts - 1
    vertices = np.concatenate(lines)
    head = np.repeat(np.arange(len(lanes)), counts - 1)
    start = np.delete(np.arange(len(vertices)), last)
    edges = np.stack([start, start + 1], 1)
    pairs = np.unique(np.array(sorted(set(follows)), np.int64).reshape(-1, 2), axis=0)

    leave, enter = last[pairs[:, 0]], first[pairs[:, 1]]
    group = _merged(vertices, counts, pairs, leave, enter, join_m)
    joined = group[leave] == group[enter]
    _pull_apart(vertices, counts, leave[~joined], enter[~joined])
    links = np.stack([group[leave[~joined]], group[enter[~joined]]], 1)
    total = np.bincount(group, minlength=group.max() + 1)
    places = np.stack([np.bincount(group, vertices[:, axis]) / total for axis in range(2)], 1)
    single = total[group] == 1
    places[group[single]] = vertices[single]  # a sum of one is exact, a mean of equals may not be
    kind = np.append(np.array([lane.kind for lane in lanes], np.uint8)[head], np.full(len(links), LINK, np.uint8))
    owner = np.append(head, np.full(len(links), -1)).astype(np.int64)
    edges = np.concatenate([group[edges], links])
    return _checked(places, edges, kind, owner, tuple(lane.attributes for lane in lanes))


def _distinct(lane: MapLane) -> DoubleArray:
    line = np.asarray(lane.line_m, np.float64)
    if line.ndim != 2 or line.shape[1] != 2 or not len(line) or not np.isfinite(line).all():
        said = f"lane {lane.attributes.identity} has no finite points (shape {line.shape})"
        raise MapInputError(said, "drop or mend it")
    distinct: DoubleArray = line[np.concatenate([[True], np.abs(np.diff(line, axis=0)).sum(1) > 0])]
    return distinct


def _merged(
    vertices: DoubleArray, counts: IntArray, pairs: IntArray, leave: IntArray, enter: IntArray, join_m: float
) -> IntArray:
    """The vertex that each point becomes, (points,), numbered in the order of the points."""
    mergeable = _complete(pairs, len(counts))
    near = np.hypot(*(vertices[leave] - vertices[enter]).T) <= join_m
    # a lane of one piece that ends where it starts would become a self-loop
    bitten = (pairs[:, 0] == pairs[:, 1]) & (counts[pairs[:, 0]] <= 2)
    whole = np.ones(int(mergeable.max(initial=0)) + 2, bool)
    whole[mergeable[~near | bitten]] = False
    joined = (mergeable >= 0) & whole[mergeable]
    count = len(vertices)
    ones = np.ones(int(joined.sum()), np.int8)
    _, group = connected_components(coo_array((ones, (leave[joined], enter[joined])), shape=(count, count)), False)
    _, order, group = np.unique(group, return_index=True, return_inverse=True)
    rank = np.empty(len(order), np.int64)
    rank[np.argsort(order)] = np.arange(len(order))
    found: IntArray = rank[group.ravel()]
    return found


def _pull_apart(vertices: DoubleArray, counts: IntArray, leave: IntArray, enter: IntArray) -> None:
    """Draw coinciding ends of lanes that a link edge will join back along their lanes, in place."""
    first = np.cumsum(counts) - counts
    lane = np.searchsorted(first, np.arange(len(vertices)), side="right") - 1
    touching = np.hypot(*(vertices[leave] - vertices[enter]).T) < _TOUCH_M
    ends, starts = np.unique(leave[touching]), np.unique(enter[touching])
    ends, starts = ends[counts[lane[ends]] > 1], starts[counts[lane[starts]] > 1]
    for points, inward in ((ends, -1), (starts, 1)):
        inside = vertices[points + inward] - vertices[points]
        length = np.hypot(*inside.T)
        vertices[points] += inside * (np.minimum(_DRAW_BACK_M, length / 4) / length)[:, None]


def _complete(pairs: IntArray, lanes: int) -> IntArray:
    """A number for each pair whose meeting of ends and starts is complete (all go on into all), else -1."""
    nodes = 2 * lanes
    ones = np.ones(len(pairs), np.int8)
    _, part = connected_components(coo_array((ones, (pairs[:, 0], lanes + pairs[:, 1])), shape=(nodes, nodes)), False)
    of_pair = part[pairs[:, 0]]
    have = np.bincount(of_pair, minlength=nodes)
    ends = np.bincount(part[np.unique(pairs[:, 0])], minlength=nodes)
    starts = np.bincount(part[lanes + np.unique(pairs[:, 1])], minlength=nodes)
    complete: BoolArray = have == ends * starts
    return np.where(complete[of_pair], of_pair, -1).astype(np.int64)


def _checked(
    vertices: DoubleArray, edges: IntArray, kind: ByteArray, lane: IntArray, lanes: tuple[LaneAttributes, ...]
) -> LaneGraph:
    """Two lanes of one piece with both ends in common would be one edge twice: the later ones get a vertex between.

    Points that no edge uses (lanes of one point that nothing joins) are dropped.
    """
    edges = edges.astype(np.int64)
    loop = edges[:, 0] == edges[:, 1]
    edges, kind, lane = edges[~loop], kind[~loop], lane[~loop]
    _, kept = np.unique(edges, axis=0, return_index=True)
    twice = np.ones(len(edges), bool)
    twice[kept] = False
    again = np.flatnonzero(twice)
    middle = len(vertices) + np.arange(len(again))
    vertices = np.concatenate([vertices, vertices[edges[again]].mean(1)])
    second = np.stack([middle, edges[again, 1]], 1)
    edges[again, 1] = middle
    edges = np.concatenate([edges, second])
    graph = LaneGraph(vertices, edges, np.append(kind, kind[again]), np.append(lane, lane[again]), lanes)
    return graph if len(np.unique(graph.edges)) == len(graph) else graph.take_edges(np.ones(len(graph.edges), bool))
