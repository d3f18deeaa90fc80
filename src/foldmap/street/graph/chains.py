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
    """The edges of a graph, sorted into directed chains.

    A chain starts and ends at key vertices: those that do not have exactly one edge in and one out, or where the kind
    or lane changes. A ring without any is one chain that starts at its lowest vertex. Every edge is in one chain.

    Attributes:
        edge: int64 (E,), edges in the order of the chains.
        offset: int64 (C + 1,), chain c is ``edge[offset[c]:offset[c + 1]]``.
    """

    edge: IntArray
    offset: IntArray

    def __len__(self) -> int:
        return len(self.offset) - 1


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


def polylines(graph: LaneGraph) -> list[DoubleArray]:
    """The vertices of each chain, float64 (P, 2)."""
    found = chains(graph)
    lines = []
    for c in range(len(found)):
        run = found.edge[found.offset[c] : found.offset[c + 1]]
        lines.append(graph.vertices_m[np.append(graph.edges[run, 0], graph.edges[run[-1], 1])])
    return lines


def resample(graph: LaneGraph, step_m: float = 1.0) -> LaneGraph:
    """Vertices at equal steps along each chain, as near to `step_m` as its length allows; key vertices stay.

    Isolated vertices are dropped: they carry no lane.

    Raises:
        MapInputError: a step that is not positive.
    """
    if not step_m > 0:
        raise MapInputError(f"cannot resample at {step_m} m", "give a positive step")
    if not len(graph.edges):
        return replace(graph, vertices_m=np.zeros((0, 2)))
    found = chains(graph)
    length = graph.edge_lengths_m[found.edge]
    total = np.add.reduceat(length, found.offset[:-1])
    pieces = np.maximum(1, np.round(total / step_m).astype(np.int64))
    first, last = found.edge[found.offset[:-1]], found.edge[found.offset[1:] - 1]
    ring = graph.edges[first, 0] == graph.edges[last, 1]
    pieces[ring] = np.maximum(pieces[ring], 3)  # a ring of one or two pieces would be a self-loop or a line
    pieces = _apart(graph.edges[first, 0], graph.edges[last, 1], pieces)
    keys = np.unique(np.concatenate([graph.edges[first, 0], graph.edges[last, 1]]))
    place = np.full(len(graph), -1, np.int64)
    place[keys] = np.arange(len(keys))

    chain = np.repeat(np.arange(len(found)), pieces - 1)
    rank = np.arange(len(chain)) - np.repeat(np.cumsum(pieces - 1) - (pieces - 1), pieces - 1) + 1
    before = np.cumsum(total) - total
    at = before[chain] + total[chain] * rank / pieces[chain]
    ends = np.cumsum(length)
    index = np.minimum(np.searchsorted(ends, at, side="left"), found.offset[1:][chain] - 1)
    edge = found.edge[index]
    share = np.divide(
        at - (ends[index] - length[index]), length[index], out=np.zeros(len(at)), where=length[index] > 0
    ).clip(0, 1)[:, None]
    a, b = graph.vertices_m[graph.edges[edge, 0]], graph.vertices_m[graph.edges[edge, 1]]
    inner = a + share * (b - a)

    of_piece = np.repeat(np.arange(len(found)), pieces)
    number = np.arange(len(of_piece)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    offset = len(keys) + np.cumsum(pieces - 1) - (pieces - 1)
    start = np.where(number == 0, place[graph.edges[first, 0]][of_piece], offset[of_piece] + number - 1)
    end = np.where(number == pieces[of_piece] - 1, place[graph.edges[last, 1]][of_piece], offset[of_piece] + number)
    return replace(
        graph,
        vertices_m=np.concatenate([graph.vertices_m[keys], inner]),
        edges=np.stack([start, end], 1),
        kind=graph.kind[first][of_piece],
        lane=graph.lane[first][of_piece],
    )


def _apart(start: IntArray, end: IntArray, pieces: IntArray) -> IntArray:
    """Chains of one piece between the same two vertices would be one edge twice: the later ones get two pieces."""
    single = np.flatnonzero(pieces == 1)
    pairs = np.stack([start[single], end[single]], 1)
    _, kept = np.unique(pairs, axis=0, return_index=True)
    later = np.ones(len(single), bool)
    later[kept] = False
    pieces = pieces.copy()
    pieces[single[later]] = 2
    return pieces
