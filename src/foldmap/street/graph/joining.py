"""Topology: lanes joined where a map names their successors, or where the ends of its polylines meet."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from foldmap.errors import MapInputError
from foldmap.street.graph.chains import Chains, chains
from foldmap.street.graph.repair import Repairs, repair
from foldmap.street.source import LINK, LaneGraph
from foldmap.types import BoolArray, DoubleArray, IntArray

_HEADING_M = 1.0
_STRAIGHT = math.cos(math.pi / 3)
_TRIM_M = 0.5
_STOREYS_M = 2.0, 50.0
"""Ends that differ so much in height are of two levels; what differs by more has a height that nobody measured."""


@dataclass(frozen=True)
class Joined:
    """A graph whose lanes are joined, and how.

    `links` join the end of a lane to the start of one, each exactly once; `bridged` of them are an edge of their own,
    the others a vertex that lanes share. `open_ends` and `open_starts` of all `ends` and `starts` no link names: the
    rim of the map, or a gap in it. `repairs` are of lanes shorter than the tolerance, and of lanes that are there
    twice. `storeys` counts ends that meet a start in plan alone, on another level.
    """

    graph: LaneGraph
    links: int
    bridged: int
    ends: int
    starts: int
    open_ends: int
    open_starts: int
    repairs: Repairs
    storeys: int = 0

    @property
    def joined(self) -> int:
        """Ends that meet a start."""
        return self.ends - self.open_ends


def join_ends(graph: LaneGraph, tolerance_m: float = 0.5, heights_m: DoubleArray | None = None) -> Joined:
    """Join lanes of a map without topology: an end meets the starts near it that go on in its direction.

    Directions, over the last metre of one and the first metre of the other, may differ by 60 degrees. Forks and merges
    come from several starts at an end, several ends at a start. No lane is cut in its middle. An end and the start of
    its own lane are joined if the lane is longer than four tolerances. Joins that are there stay. A start that
    `heights_m` (V,), NaN where unknown, put on another level is not joined.
    """
    if not tolerance_m > 0:
        raise MapInputError(f"cannot join ends within {tolerance_m} m", "give a positive tolerance")
    if not len(graph.edges):
        return connect(graph, np.zeros((0, 2), np.int64), tolerance_m)
    found = chains(graph)
    first, last = graph.edges[found.first, 0], graph.edges[found.last, 1]
    leaving, arriving, length = _directions(graph, found)
    end = np.flatnonzero(graph.out_degree[last] == 0)
    start = np.flatnonzero(graph.in_degree[first] == 0)
    near = cKDTree(graph.vertices_m[last[end]]).sparse_distance_matrix(
        cKDTree(graph.vertices_m[first[start]]), tolerance_m, output_type="ndarray"
    )
    a, b = end[near["i"]], start[near["j"]]
    straight = (arriving[a] * leaving[b]).sum(1) >= _STRAIGHT
    kept = straight & ~((a == b) & (length[a] <= 4 * tolerance_m))
    links = np.stack([last[a[kept]], first[b[kept]]], 1)
    if heights_m is None:
        return connect(graph, links, tolerance_m)
    apart_m = np.abs(np.diff(heights_m[links], axis=1)[:, 0])
    two = (apart_m > _STOREYS_M[0]) & (apart_m < _STOREYS_M[1])
    return replace(connect(graph, links[~two], tolerance_m), storeys=int(two.sum()))


def _directions(graph: LaneGraph, found: Chains) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Unit vectors over the first and the last metre of each chain, (C, 2), and lengths, (C,)."""
    length = graph.edge_lengths_m[found.edge]
    after = np.cumsum(length)
    before = after - length
    begin, stop = found.offset[:-1], found.offset[1:] - 1
    ahead = np.minimum(np.searchsorted(after, before[begin] + _HEADING_M), stop)
    behind = np.maximum(np.searchsorted(before, after[stop] - _HEADING_M, side="right") - 1, begin)
    v, edges = graph.vertices_m, graph.edges[found.edge]
    leaving = v[edges[ahead, 1]] - v[edges[begin, 0]]
    arriving = v[edges[stop, 1]] - v[edges[behind, 0]]
    return _unit(leaving), _unit(arriving), after[stop] - before[begin]


def _unit(vectors: DoubleArray) -> DoubleArray:
    length = np.hypot(vectors[:, 0], vectors[:, 1])[:, None]
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def connect(graph: LaneGraph, links: IntArray, merge_m: float = 0.5) -> Joined:
    """Put the links that a map names into its graph, those and no others.

    Where every end of a group is linked to every start of it and they lie within `merge_m`, all of them become one
    vertex, in their middle. Elsewhere that would make links that the map does not have: there each link is an edge of
    its own. It leads over the gap (as `LINK`), or from the end, which moves back along its last edge by half a metre at
    most (the new edge takes over kind and lane). `links` int64 (L, 2) are the vertex where a lane ends (no edge out)
    and the vertex where the next one starts (none in).
    """
    links = np.unique(np.asarray(links, np.int64).reshape(-1, 2), axis=0)
    out, into = graph.out_degree, graph.in_degree
    is_end, is_start = (out == 0) & (into > 0), (into == 0) & (out > 0)
    _check(links, len(graph), is_end, is_start)
    ends, starts = int(is_end.sum()), int(is_start.sum())
    gap = np.hypot(*(graph.vertices_m[links[:, 1]] - graph.vertices_m[links[:, 0]]).T)
    label, whole = _groups(links, gap <= merge_m, len(graph))
    shared = whole[label]
    vertices = _centred(graph.vertices_m, label, shared)
    stands = np.arange(len(graph))
    lowest = np.full(len(whole), len(graph))
    np.minimum.at(lowest, label, stands)
    stands = np.where(shared, lowest[label], stands)

    alone = ~shared[links[:, 0]]
    trimmed = links[alone & (gap <= merge_m)]
    last = np.full(len(graph), -1, np.int64)
    last[graph.edges[:, 1]] = np.arange(len(graph.edges))
    moved = np.unique(trimmed[:, 0])
    vertices[moved] = _trimmed(graph, last[moved])
    takes = np.where(gap[alone] <= merge_m, last[links[alone, 0]], -1)
    made, kind, lane = links[alone], graph.kind, graph.lane
    if len(made):
        kind = np.concatenate([kind, np.where(takes >= 0, kind[takes], LINK)])
        lane = np.concatenate([lane, np.where(takes >= 0, lane[takes], -1)])
    joined, repairs = repair(vertices, np.concatenate([stands[graph.edges], made]), kind, lane, graph.lanes)
    merged = len(graph) - len(np.unique(stands))  # these vertices are not lost ones
    return Joined(
        graph=joined,
        links=len(links),
        bridged=len(made),
        ends=ends,
        starts=starts,
        open_ends=ends - len(np.unique(links[:, 0])),
        open_starts=starts - len(np.unique(links[:, 1])),
        repairs=replace(repairs, isolated_vertices=max(0, repairs.isolated_vertices - merged)),
    )


def _check(links: IntArray, count: int, is_end: BoolArray, is_start: BoolArray) -> None:
    outside = np.flatnonzero(((links < 0) | (links >= count)).any(1))
    if len(outside):
        raise MapInputError(f"link {links[outside[0]].tolist()} names no vertex of {count}", "drop it")
    wrong = np.flatnonzero(~(is_end[links[:, 0]] & is_start[links[:, 1]]))
    if len(wrong):
        raise MapInputError(
            f"link {links[wrong[0]].tolist()} does not lead from the end of a lane to the start of one",
            "give (last vertex, first vertex) in driving direction",
        )


def _groups(links: IntArray, near: BoolArray, count: int) -> tuple[IntArray, BoolArray]:
    """The group of each vertex, (V,), and whether a group is complete and near, and so can be one vertex."""
    matrix = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(count, count))
    groups, label = connected_components(matrix, directed=True, connection="weak")
    label = label.astype(np.int64)
    ends = np.bincount(label[np.unique(links[:, 0])], minlength=groups)
    starts = np.bincount(label[np.unique(links[:, 1])], minlength=groups)
    close = np.bincount(label[links[near, 0]], minlength=groups)
    return label, (ends > 0) & (close == ends * starts)


def _centred(vertices_m: DoubleArray, label: IntArray, shared: BoolArray) -> DoubleArray:
    """Vertices of a shared group in the middle of its bounds, which for equal positions is that position exactly."""
    groups = int(label.max()) + 1 if len(label) else 0
    low, high = np.full((groups, 2), np.inf), np.full((groups, 2), -np.inf)
    np.minimum.at(low, label, vertices_m)
    np.maximum.at(high, label, vertices_m)
    return np.where(shared[:, None], (low + (high - low) / 2)[label], vertices_m)


def _trimmed(graph: LaneGraph, edge: IntArray) -> DoubleArray:
    """Where edges end when they are shortened by half a metre, by half their length at most."""
    a, b = graph.vertices_m[graph.edges[edge, 0]], graph.vertices_m[graph.edges[edge, 1]]
    length = np.maximum(graph.edge_lengths_m[edge], 1e-12)
    moved: DoubleArray = b - (b - a) * (np.minimum(_TRIM_M, length / 2) / length)[:, None]
    return moved
