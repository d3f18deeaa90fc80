"""Key points with directions and embeddings to a directed graph: thin, link, close gaps, smooth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from foldmap.bench.street.generators.assemble import STEP_M
from foldmap.geometry import SE2
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import Window, cut
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, DoubleArray, IntArray

APART_M = 0.9
"""Key points of one heading that are closer than this are one."""
REACH_M = 3.0
"""From a key point to the next of the same lane."""
GAP_M = 6.0
"""From a lane's end to the next lane's start."""
SHORTEST_M = 4.0
"""Pieces of the graph with fewer metres are dropped: they are noise."""
_SAME_HEADING = 0.7
_ALIKE_HEADING = 0.5
_SIDEWAYS = 0.6
_SMOOTHINGS = 3


@dataclass(frozen=True)
class KeyPoints:
    """What a network found: places (P, 2) in the ego frame, unit directions (P, 2), embeddings (P, D), confidence."""

    place_m: DoubleArray
    direction: DoubleArray
    embedding: DoubleArray
    chance: DoubleArray


def link(points: KeyPoints, margin: float, window: Window) -> LaneGraph:
    """Make a graph of the key points of one image, in the ego frame, vertices 1 m apart; maybe an empty one.

    Points are thinned, the most confident first. Each is linked to the best next point and the best previous point of
    its lane: ahead of it, of like heading, of an embedding within half the margin between lanes. Points that are left
    without a next or a previous one look farther, whatever the embedding: so lanes connect, fork and merge.
    """
    kept = thin(points)
    place, direction = points.place_m[kept], points.direction[kept]
    if len(place) < 2:
        return LaneGraph.empty()
    cost = _cost(place, direction)
    alike = np.linalg.norm(points.embedding[kept][:, None] - points.embedding[kept][None], axis=2) <= margin / 2
    near = np.where(alike, cost, np.inf)
    near[_apart(place) > REACH_M] = np.inf
    edges = _best(near, np.ones(len(place), bool), np.ones(len(place), bool))
    far = cost.copy()
    far[_apart(place) > GAP_M] = np.inf
    more = _best(far, ~np.isin(np.arange(len(place)), edges[:, 0]), ~np.isin(np.arange(len(place)), edges[:, 1]))
    edges = without_shortcuts(np.unique(np.concatenate([edges, more]), axis=0), len(place))
    graph = LaneGraph(place, edges)
    graph = _long_pieces(graph)
    graph = LaneGraph(_smooth(graph), graph.edges.copy())
    return resample(cut(graph, SE2(0.0, 0.0, 0.0), window), STEP_M)


def thin(points: KeyPoints) -> IntArray:
    """Rows to keep: of points close together and of one heading the most confident, ascending."""
    apart = _apart(points.place_m)
    rival = (apart < APART_M) & (points.direction @ points.direction.T > _SAME_HEADING)
    free = np.ones(len(apart), bool)
    kept = []
    for row in np.argsort(-points.chance, kind="stable"):
        if free[row]:
            kept.append(row)
            free &= ~rival[row]
    return np.sort(np.array(kept, np.int64))


def without_shortcuts(edges: IntArray, count: int) -> IntArray:
    """Drop edges (i, k) where (i, j) and (j, k) are there too."""
    net = np.zeros((count, count), bool)
    net[edges[:, 0], edges[:, 1]] = True
    around = (net.astype(np.float32) @ net.astype(np.float32)) > 0
    return np.argwhere(net & ~around).astype(np.int64)


def _apart(place: DoubleArray) -> DoubleArray:
    apart: DoubleArray = np.linalg.norm(place[:, None] - place[None], axis=2)
    return apart


def _cost(place: DoubleArray, direction: DoubleArray) -> DoubleArray:
    """Of each step i to j: its length and how far it leaves both headings sideways; infinite where no lane would."""
    move = place[None] - place[:, None]
    along = np.minimum((move * direction[:, None]).sum(2), (move * direction[None]).sum(2))
    aside = np.maximum(_cross(direction[:, None], move), _cross(direction[None], move))
    possible = (along > 0) & (aside <= _SIDEWAYS * along) & (direction @ direction.T > _ALIKE_HEADING)
    return np.where(possible, along + 3 * aside, np.inf)


def _cross(a: DoubleArray, b: DoubleArray) -> DoubleArray:
    return np.abs(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _best(cost: DoubleArray, seek_next: BoolArray, seek_previous: BoolArray) -> IntArray:
    """Cheapest next of the points that seek one, cheapest previous of those that seek one, (E, 2)."""
    rows = np.flatnonzero(seek_next & np.isfinite(cost.min(1)))
    columns = np.flatnonzero(seek_previous & np.isfinite(cost.min(0)))
    ahead = np.stack([rows, cost[rows].argmin(1)], 1)
    behind = np.stack([cost[:, columns].argmin(0), columns], 1)
    return np.unique(np.concatenate([ahead, behind]), axis=0).astype(np.int64)


def _long_pieces(graph: LaneGraph) -> LaneGraph:
    ones = np.ones(len(graph.edges))
    net = coo_array((ones, (graph.edges[:, 0], graph.edges[:, 1])), shape=(len(graph), len(graph)))
    piece = connected_components(net, directed=False)[1][graph.edges[:, 0]]
    length = np.bincount(piece, graph.edge_lengths_m, minlength=len(graph))
    return graph.take_edges(length[piece] >= SHORTEST_M)


def _smooth(graph: LaneGraph) -> DoubleArray:
    """Vertices with one edge in and one out move halfway to the middle of their neighbours, a few times."""
    place = graph.vertices_m.copy()
    inner = np.flatnonzero((graph.in_degree == 1) & (graph.out_degree == 1))
    before, after = np.zeros(len(graph), np.int64), np.zeros(len(graph), np.int64)
    before[graph.edges[:, 1]] = graph.edges[:, 0]
    after[graph.edges[:, 0]] = graph.edges[:, 1]
    for _ in range(_SMOOTHINGS):
        place[inner] = place[inner] / 2 + (place[before[inner]] + place[after[inner]]) / 4
    return place
