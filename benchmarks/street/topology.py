"""Whether two lane graphs are the same but for small moves: an isomorphism by refinement, written for this alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from foldmap.street.graph.chains import chains, key_vertices
from foldmap.street.source import LaneGraph
from foldmap.types import DoubleArray, IntArray


@dataclass(frozen=True)
class Skeleton:
    """Key vertices of a graph, and the chains between them.

    Attributes:
        at_m: float64 (K, 2).
        ends: int64 (C, 2), start and end of each chain.
        kind: int64 (C,).
        rings: how many rings without a key vertex there are, by kind.
    """

    at_m: DoubleArray
    ends: IntArray
    kind: IntArray
    rings: Counter[int]

    @staticmethod
    def of(graph: LaneGraph) -> Skeleton:
        """Vertices without edges do not count."""
        key = key_vertices(graph) & ((graph.in_degree > 0) | (graph.out_degree > 0))
        found = chains(graph)
        first, last = found.edge[found.offset[:-1]], found.edge[found.offset[1:] - 1]
        start, end, kind = graph.edges[first, 0], graph.edges[last, 1], graph.kind[first].astype(np.int64)
        ring = ~key[start]
        place = np.cumsum(key) - 1
        ends = np.stack([place[start[~ring]], place[end[~ring]]], 1).astype(np.int64)
        return Skeleton(graph.vertices_m[key], ends, kind[~ring], Counter(kind[ring].tolist()))


def same_topology(one: LaneGraph, other: LaneGraph, near_m: float) -> bool:
    """Whether key vertices pair up, each within small steps of `near_m`, such that all chains pair up by kind.

    Vertices are coloured by where they are, then by the colours along their chains until nothing changes (colour
    refinement); where vertices of one place still look alike, one of them is paired with one of the other graph's and
    the colours are refined again. Never true for graphs that differ; may be false for equal ones only where pieces
    that look alike lie in one place and are not interchangeable.
    """
    a, b = Skeleton.of(one), Skeleton.of(other)
    if a.at_m.shape != b.at_m.shape or a.ends.shape != b.ends.shape or a.rings != b.rings:
        return False
    count = len(a.at_m)
    if not count:
        return True
    ends, kind = np.concatenate([a.ends, b.ends + count]), np.concatenate([a.kind, b.kind])
    colour = _refined(_by_place(np.concatenate([a.at_m, b.at_m]), near_m), ends, kind)
    for _ in range(count + 1):
        classes = int(colour.max()) + 1
        held = np.bincount(colour[:count], minlength=classes)
        if (held != np.bincount(colour[count:], minlength=classes)).any():
            return False
        several = np.flatnonzero(held > 1)
        if not len(several):
            return True
        pair = [int(np.flatnonzero(colour[side] == several[0])[0]) for side in (slice(count), slice(count, None))]
        colour = colour.copy()
        colour[[pair[0], pair[1] + count]] = classes
        colour = _refined(colour, ends, kind)
    return False


def _by_place(at_m: DoubleArray, near_m: float) -> IntArray:
    """A number for each group of points that are linked by steps of at most `near_m`."""
    pairs = cKDTree(at_m).query_pairs(near_m, output_type="ndarray")
    joined = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(at_m), len(at_m)))
    label: IntArray = connected_components(joined, directed=False)[1].astype(np.int64)
    return label


def _refined(colour: IntArray, ends: IntArray, kind: IntArray) -> IntArray:
    """Colours split by the multiset of (direction, kind, colour there) along the chains, until none splits."""
    here = np.concatenate([ends[:, 0], ends[:, 1]])
    there = np.concatenate([ends[:, 1], ends[:, 0]])
    way = np.concatenate([kind * 2, kind * 2 + 1])
    while True:
        seen = np.unique(np.stack([way, colour[there]], 1), axis=0, return_inverse=True)[1].ravel()
        order = np.lexsort((seen, here))
        counts = np.bincount(here, minlength=len(colour))
        wide = np.full((len(colour), 1 + int(counts.max(initial=0))), -1, np.int64)
        wide[:, 0] = colour
        rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        wide[here[order], 1 + rank] = seen[order]
        finer: IntArray = np.unique(wide, axis=0, return_inverse=True)[1].ravel().astype(np.int64)
        if finer.max(initial=0) == colour.max(initial=0):
            return finer
        colour = finer
