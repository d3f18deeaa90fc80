"""Raw arrays to a valid lane graph, what is odd about a valid one, and whether its coordinates are metres at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from foldmap.errors import MapInputError
from foldmap.street.graph.chains import chains
from foldmap.street.source import LANE, LaneAttributes, LaneGraph
from foldmap.types import AnyArray, DoubleArray, IntArray

METRES, DEGREES, UNSURE = "metres", "degrees", "unsure"
_DEGREE_EDGE, _DEGREE_EXTENT = 5e-3, 1.0
_FAR_EAST = 179.0
_METRE_EDGE, _METRE_LINE = 0.2, 5.0
LONG_EDGE_M = 100.0


@dataclass(frozen=True)
class Repairs:
    """What `repair` changed: vertices merged along an edge; self-loops, duplicate edges and lone vertices dropped."""

    merged_vertices: int = 0
    self_loops: int = 0
    duplicate_edges: int = 0
    isolated_vertices: int = 0

    @property
    def total(self) -> int:
        """Sum of all."""
        return sum(vars(self).values())

    def __str__(self) -> str:
        names = "merged vertices", "self-loops", "duplicate edges", "isolated vertices"
        counts = zip(vars(self).values(), names, strict=True)
        return ", ".join(f"{count} {name}" for count, name in counts if count) or "nothing to repair"


def repair(
    vertices_m: AnyArray,
    edges: AnyArray,
    kind: AnyArray | None = None,
    lane: AnyArray | None = None,
    lanes: tuple[LaneAttributes, ...] = (),
) -> tuple[LaneGraph, Repairs]:
    """Build a lane graph from arrays that may break its rules; vertices and edges stay in their order.

    Vertices (V, 2) of one position that an edge joins become one. Edges are (E, 2), (from, to); each has a kind, `LANE`
    if not given, and a lane, an index into `lanes`, unknown if not given.

    Raises:
        MapInputError: a coordinate is not finite, an edge points to a vertex that is not there, or shapes do not fit.
    """
    points = np.ascontiguousarray(vertices_m, np.float64).reshape(-1, 2)
    pairs = np.ascontiguousarray(edges, np.int64).reshape(-1, 2)
    kinds = np.full(len(pairs), LANE, np.uint8) if kind is None else np.asarray(kind).astype(np.uint8)
    owner = np.full(len(pairs), -1, np.int64) if lane is None else np.asarray(lane).astype(np.int64)
    if len(kinds) != len(pairs) or len(owner) != len(pairs):
        raise MapInputError(
            f"{len(pairs)} edges, {len(kinds)} kinds and {len(owner)} lanes", "give one kind and one lane an edge"
        )
    lost = np.flatnonzero(~np.isfinite(points).all(1))
    if len(lost):
        raise MapInputError(f"vertex {lost[0]} is not finite", "drop or mend it")
    outside = np.flatnonzero(((pairs < 0) | (pairs >= len(points))).any(1))
    if len(outside):
        raise MapInputError(
            f"edge {outside[0]} is {pairs[outside[0]].tolist()}, there are {len(points)} vertices", "drop it"
        )
    still = (points[pairs[:, 0]] == points[pairs[:, 1]]).all(1)
    _, stands, label = np.unique(_pieces(len(points), pairs[still])[1], return_index=True, return_inverse=True)
    root = stands[label.ravel()]
    pairs = root[pairs]
    straight = pairs[:, 0] != pairs[:, 1]
    first = np.zeros(len(pairs), np.bool_)
    first[np.unique(pairs, axis=0, return_index=True)[1]] = True
    kept = straight & first
    used = np.unique(pairs[kept])
    place = np.full(len(points), -1, np.int64)
    place[used] = np.arange(len(used))
    merged = int((root != np.arange(len(points))).sum())
    done = Repairs(merged, int((~straight).sum()), int((straight & ~first).sum()), len(points) - merged - len(used))
    return LaneGraph(points[used], place[pairs[kept]], kinds[kept], owner[kept], lanes), done


def _pieces(count: int, edges: IntArray) -> tuple[int, IntArray]:
    """How many weakly connected pieces, and the piece of each vertex."""
    matrix = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    pieces, label = connected_components(matrix, directed=False)
    return int(pieces), label.astype(np.int64)


@dataclass(frozen=True)
class Finding:
    """Something odd in a graph that is valid nevertheless: how many, and a sentence.

    `name` is "duplicate-vertices", "pieces", "isolated-vertices", "no-topology" or "long-edges".
    """

    name: str
    count: int
    message: str


def findings(graph: LaneGraph) -> list[Finding]:
    """What is odd about a graph, edges over 100 m included, in a fixed order; nothing of it prevents folding."""
    found: list[Finding] = []
    same = len(graph) - len(np.unique(graph.vertices_m, axis=0))
    if same:
        found.append(Finding("duplicate-vertices", same, f"{same} vertices lie exactly where another one does"))
    sizes = piece_sizes(graph)
    lanes = sizes[sizes > 1]
    if len(lanes) > 1:
        text = ", ".join(str(size) for size in lanes[:5]) + (", ..." if len(lanes) > 5 else "")
        found.append(Finding("pieces", len(lanes), f"the graph falls into {len(lanes)} pieces of {text} vertices"))
    isolated = int((sizes == 1).sum())
    if isolated:
        found.append(Finding("isolated-vertices", isolated, f"{isolated} vertices have no edge"))
    if len(lanes) > 1 and len(chains(graph)) == len(lanes):
        text = f"none of the {len(lanes)} lanes is joined to another: join their ends with foldmap.street.graph.joining"
        found.append(Finding("no-topology", len(lanes), text))
    length = graph.edge_lengths_m
    long = int((length > LONG_EDGE_M).sum())
    if long:
        text = f"{long} edges are longer than {LONG_EDGE_M:g} m, the longest has {length.max():.1f} m"
        found.append(Finding("long-edges", long, text))
    return found


def piece_sizes(graph: LaneGraph) -> IntArray:
    """Vertices of each weakly connected piece, largest first; an isolated vertex is a piece of one."""
    return np.sort(np.bincount(_pieces(len(graph), graph.edges)[1]))[::-1].astype(np.int64)


def unit_of(lines: Sequence[DoubleArray]) -> str:
    """What the coordinates of lanes (P, 2) can be, judged by what a map has: `METRES`, `DEGREES` or `UNSURE`.

    No map of streets is within a metre, or has half of its vertices within 5 mm of the next: such are longitude and
    latitude, in whatever order. None has half of its vertices 20 cm or more apart in degrees (20 km), or half of its
    lanes longer than 5 (500 km): such are metres. Where all is next to 180, on both sides, it is degrees again.
    """
    steps = [np.hypot(*np.diff(line, axis=0).T) for line in lines]
    whole = np.concatenate([np.zeros((0, 2)), *lines])
    lengths = np.array([step.sum() for step in steps])
    return _unit(whole, np.concatenate([np.zeros(0), *steps]), lengths)


def _unit(points: DoubleArray, steps: DoubleArray, lengths: DoubleArray) -> str:
    steps = steps[steps > 0]
    if not len(steps) or (np.abs(points) > 180.0).any():
        return METRES
    if (np.abs(points) >= (_FAR_EAST, 0)).all() and (np.abs(points[:, 1]) <= 90.0).all() and np.ptp(points[:, 0]) > 180:
        return DEGREES
    if float(np.ptp(points, axis=0).max()) < _DEGREE_EXTENT or np.median(steps) < _DEGREE_EDGE:
        return DEGREES
    if (np.abs(points[:, 1]) > 90.0).any():
        return METRES
    if np.median(steps) > _METRE_EDGE or np.median(lengths[lengths > 0]) > _METRE_LINE:
        return METRES
    return UNSURE


def evidently_degrees(vertices: DoubleArray, edges: IntArray) -> bool:
    """Whether coordinates of a graph can only be longitude and latitude (`unit_of`)."""
    ends = vertices[edges]
    steps = np.hypot(*(ends[:, 1] - ends[:, 0]).T)
    return _unit(vertices, steps, steps) == DEGREES


def require_metres(graph: LaneGraph, where: str) -> None:
    """Refuse a graph that is evidently in degrees (MapInputError); `where` is its file, for the message."""
    if evidently_degrees(graph.vertices_m, graph.edges):
        x, y = graph.vertices_m[0]
        raise MapInputError(
            f"{where}: coordinates such as ({x:.6f}, {y:.6f}) are degrees, not metres",
            "project them to a metric frame such as UTM, or give them as GeoJSON in longitude and latitude",
        )
