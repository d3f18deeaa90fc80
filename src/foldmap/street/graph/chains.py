"""Chains: maximal runs of edges between vertices where something happens, and what walks along them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit

from foldmap.errors import MapInputError
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, DoubleArray, IntArray


@dataclass(frozen=True)
class Chains:
    """The edges of a graph, sorted into directed chains: chain c is ``edge[offset[c]:offset[c + 1]]``, int64.

    A chain starts and ends at key vertices: those that do not have exactly one edge in and one out, or where the kind
    or lane changes. A ring without any is one chain that starts at its lowest vertex. Every edge is in one chain.
    """

    edge: IntArray
    offset: IntArray

    def __len__(self) -> int:
        return len(self.offset) - 1

    @property
    def first(self) -> IntArray:
        """First edge of each chain, (C,)."""
        return self.edge[self.offset[:-1]]

    @property
    def last(self) -> IntArray:
        """Last edge of each chain, (C,)."""
        return self.edge[self.offset[1:] - 1]

    def runs(self) -> list[IntArray]:
        """The edges of each chain, in driving direction."""
        return np.split(self.edge, self.offset[1:-1]) if len(self) else []


def key_vertices(graph: LaneGraph) -> BoolArray:
    """Where chains start and end, (V,)."""
    key: BoolArray = (graph.in_degree != 1) | (graph.out_degree != 1)
    into = np.full(len(graph), -1, np.int64)
    out = np.full(len(graph), -1, np.int64)
    into[graph.edges[:, 1]] = np.arange(len(graph.edges))
    out[graph.edges[:, 0]] = np.arange(len(graph.edges))
    inner = np.flatnonzero(~key)
    a, b = into[inner], out[inner]
    key[inner] = (graph.kind[a] != graph.kind[b]) | (graph.lane[a] != graph.lane[b])
    return key


def chains(graph: LaneGraph) -> Chains:
    """Sort the edges of a graph into chains, in the order of their first edges."""
    if not len(graph.edges):
        return Chains(np.zeros(0, np.int64), np.zeros(1, np.int64))
    out = np.full(len(graph), -1, np.int64)
    out[graph.edges[:, 0]] = np.arange(len(graph.edges))
    order, starts = _walk(graph.edges, out, key_vertices(graph))
    return Chains(order, np.append(starts, len(order)))


@njit(cache=True)
def _walk(edges, out, key):  # type: ignore[no-untyped-def]
    count = len(edges)
    order = np.empty(count, np.int64)
    starts = np.empty(count, np.int64)
    done = np.zeros(count, np.bool_)
    filled, found = 0, 0
    for ring in range(2):
        for first in range(count):
            if done[first] or (ring == 0 and not key[edges[first, 0]]):
                continue
            starts[found] = filled
            found += 1
            e = first
            while True:
                done[e] = True
                order[filled] = e
                filled += 1
                v = edges[e, 1]
                if key[v] or done[out[v]]:
                    break
                e = out[v]
    return order, starts[:found]


def vertices_along(graph: LaneGraph, run: IntArray) -> IntArray:
    """The vertices of edges that follow each other, (E + 1,)."""
    return np.append(graph.edges[run, 0], graph.edges[run[-1], 1])


def polylines(graph: LaneGraph) -> list[DoubleArray]:
    """The vertices of each chain, float64 (P, 2)."""
    return [graph.vertices_m[vertices_along(graph, run)] for run in chains(graph).runs()]


def members(counts: IntArray) -> tuple[IntArray, IntArray]:
    """Of groups of these sizes, laid out one after another: each member's group, and its place in the group."""
    group = np.repeat(np.arange(len(counts)), counts)
    return group, np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)


def resample(graph: LaneGraph, step_m: float = 1.0) -> LaneGraph:
    """Vertices at equal steps along each chain, as near to `step_m` as its length allows; key vertices stay.

    Isolated vertices are dropped: they carry no lane.
    """
    if not step_m > 0:
        raise MapInputError(f"cannot resample at {step_m} m", "give a positive step")
    if not len(graph.edges):
        return replace(graph, vertices_m=np.zeros((0, 2)))
    found = chains(graph)
    length = graph.edge_lengths_m[found.edge]
    total = np.add.reduceat(length, found.offset[:-1])
    pieces = np.maximum(1, np.round(total / step_m).astype(np.int64))
    start, end = graph.edges[found.first, 0], graph.edges[found.last, 1]
    pieces[start == end] = np.maximum(pieces[start == end], 3)  # a ring of fewer would be a self-loop or a line
    # chains of one piece between the same two vertices would be one edge twice: the later ones get two pieces
    single = np.flatnonzero(pieces == 1)
    _, kept = np.unique(start[single] * len(graph) + end[single], return_index=True)
    pieces[np.delete(single, kept)] = 2
    return _divided(graph, found, length, pieces, np.unique([start, end]))


def densified(graph: LaneGraph, step_m: float = 1.0) -> tuple[LaneGraph, DoubleArray]:
    """Cut each edge into equal pieces of at most `step_m`; `thinned` is the way back.

    Returns:
        The graph, its first vertices those of `graph`; and float64 (K, 2), the vertices that came in between.
    """
    if not step_m > 0:
        raise MapInputError(f"cannot cut edges to {step_m} m", "give a positive step")
    if not len(graph.edges):
        return graph, np.zeros((0, 2))
    length = graph.edge_lengths_m
    pieces = np.maximum(1, np.ceil(length / step_m)).astype(np.int64)
    each = Chains(np.arange(len(pieces)), np.arange(len(pieces) + 1))
    dense = _divided(graph, each, length, pieces, np.arange(len(graph)))
    return dense, dense.vertices_m[len(graph) :]


def thinned(graph: LaneGraph, between_m: DoubleArray) -> LaneGraph:
    """Take vertices of `densified` (`between_m`) out again where one edge still leads in and one out.

    So what was not edited in between is what it was, to the bit; edges of a run become one.
    """
    if not len(graph.edges) or not len(between_m):
        return graph
    known = {row.tobytes() for row in np.ascontiguousarray(between_m)}
    inner = np.array([row.tobytes() in known for row in np.ascontiguousarray(graph.vertices_m)])
    inner &= (graph.in_degree == 1) & (graph.out_degree == 1)
    after = np.arange(len(graph))
    from_inner = inner[graph.edges[:, 0]]
    after[graph.edges[from_inner, 0]] = graph.edges[from_inner, 1]
    end = graph.edges[:, 1].copy()
    for _ in range(int(np.ceil(np.log2(len(graph) + 1))) + 1):  # pointers double their reach each time
        end = after[end]
        after = after[after]
    runs = ~from_inner
    edges = np.stack([graph.edges[runs, 0], end[runs]], 1)
    whole = replace(graph, edges=edges, kind=graph.kind[runs], lane=graph.lane[runs])
    return whole.take_vertices(np.unique(whole.edges))


def _divided(graph: LaneGraph, found: Chains, length: DoubleArray, pieces: IntArray, keys: IntArray) -> LaneGraph:
    """Each chain as so many edges of equal length; vertices `keys` come first, then those between, chain by chain.

    ``length`` is that of each edge of the chains, in their order.
    """
    total = np.add.reduceat(length, found.offset[:-1])
    place = np.full(len(graph), -1, np.int64)
    place[keys] = np.arange(len(keys))

    chain, rank = members(pieces - 1)
    at = (np.cumsum(total) - total)[chain] + total[chain] * (rank + 1) / pieces[chain]
    ends = np.cumsum(length)
    index = np.minimum(np.searchsorted(ends, at, side="left"), found.offset[1:][chain] - 1)
    before, size = (ends - length)[index], length[index]
    share = np.divide(at - before, size, out=np.zeros(len(at)), where=size > 0).clip(0, 1)[:, None]
    a, b = graph.vertices_m[graph.edges[found.edge[index]]].swapaxes(0, 1)

    of_piece, number = members(pieces)
    behind = (len(keys) + np.cumsum(pieces - 1) - (pieces - 1))[of_piece] + number
    start = np.where(number == 0, place[graph.edges[found.first, 0]][of_piece], behind - 1)
    end = np.where(number == pieces[of_piece] - 1, place[graph.edges[found.last, 1]][of_piece], behind)
    return replace(
        graph,
        vertices_m=np.concatenate([graph.vertices_m[keys], a + share * (b - a)]),
        edges=np.stack([start, end], 1),
        kind=graph.kind[found.first][of_piece],
        lane=graph.lane[found.first][of_piece],
    )
