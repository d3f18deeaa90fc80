"""Lane graphs for the tests of the street codec, and what they are compared by."""

from __future__ import annotations

import networkx as nx
import numpy as np
import shapely

from foldmap.street.graph.chains import key_vertices
from foldmap.street.source import LaneGraph


def crossing(seed: int = 0, blocks: int = 3, side_m: float = 90.0) -> LaneGraph:
    """A grid of two-way streets with lanes either side, links through junctions, curves and noise."""
    rng = np.random.default_rng(seed)
    lines, kinds = [], []
    for along in range(2):
        for row in range(blocks):
            for lane in (-1.75, 1.75):
                for k in range(blocks):
                    t = np.linspace(k * side_m + 10, (k + 1) * side_m - 10, 40)
                    y = row * side_m + lane + 2 * np.sin(t / 40) * (row % 2)
                    line = np.stack([t, y], 1) + rng.normal(0, 0.004, (40, 2))
                    line = line if lane < 0 else line[::-1]
                    lines.append(line if along == 0 else line[:, ::-1])
                    kinds.append(0)
    ends = [(line[-1], line[-1] - line[-2], line[0], line[1] - line[0]) for line in lines]
    for end, step, _, _ in ends:
        for _, _, start, first in ends:
            gap = start - end
            if 1 < np.hypot(*gap) < 32 and gap @ step > 0 and gap @ first > 0:
                t = np.linspace(0, 1, 12)[:, None]
                pull = np.hypot(*gap) * 0.4
                a, b = end + step / np.hypot(*step) * pull, start - first / np.hypot(*first) * pull
                lines.append((1 - t) ** 3 * end + 3 * t * (1 - t) ** 2 * a + 3 * t**2 * (1 - t) * b + t**3 * start)
                kinds.append(1)
    graph = LaneGraph.from_polylines(lines, kinds)
    _, first, place = np.unique(np.round(graph.vertices_m, 6), axis=0, return_index=True, return_inverse=True)
    return LaneGraph(graph.vertices_m[first], place.ravel()[graph.edges].astype(np.int64), graph.kind)


def chain_topology(graph: LaneGraph) -> nx.MultiDiGraph:
    """Key vertices, and between them an edge a chain with its kind: walked here by networkx, not by the package."""
    whole = nx.DiGraph()
    for (a, b), kind in zip(graph.edges.tolist(), graph.kind.tolist(), strict=True):
        whole.add_edge(a, b, kind=kind)
    bare = LaneGraph(graph.vertices_m, graph.edges, graph.kind)
    keys = set(np.flatnonzero(key_vertices(bare)).tolist()) & set(whole)
    small = nx.MultiDiGraph()
    small.add_nodes_from((key, {"at": graph.vertices_m[key]}) for key in keys)
    for key in keys:
        for _, at, data in whole.out_edges(key, data=True):
            while at not in keys:
                (at,) = whole.successors(at)
            small.add_edge(key, at, kind=data["kind"])
    return small


def same_topology(a: LaneGraph, b: LaneGraph, near_m: float) -> bool:
    """Isomorphic, with key vertices that correspond within `near_m`."""
    return bool(
        nx.is_isomorphic(
            chain_topology(a),
            chain_topology(b),
            node_match=lambda u, v: np.hypot(*(u["at"] - v["at"])) <= near_m,
            edge_match=lambda u, v: sorted(d["kind"] for d in u.values()) == sorted(d["kind"] for d in v.values()),
        )
    )


def line_error_m(a: LaneGraph, b: LaneGraph) -> float:
    """Hausdorff distance of lane lines, both ways, by shapely: points every 0.5 m of one to the other's lines."""
    lines = [shapely.linestrings(graph.vertices_m[graph.edges]) for graph in (a, b)]
    worst = 0.0
    for graph, other in ((a, lines[1]), (b, lines[0])):
        ends = graph.vertices_m[graph.edges]
        pieces = np.ceil(graph.edge_lengths_m / 0.5).astype(int) + 1
        edge = np.repeat(np.arange(len(pieces)), pieces + 1)
        share = np.concatenate([np.linspace(0, 1, count + 1) for count in pieces])[:, None]
        points = shapely.points(ends[edge, 0] + share * (ends[edge, 1] - ends[edge, 0]))
        worst = max(worst, float(shapely.STRtree(other).query_nearest(points, return_distance=True)[1].max()))
    return worst


def edge_keys(graph: LaneGraph, step_m: float) -> list[tuple[int, ...]]:
    """All edges by their ends' grid coordinates, sorted: equal for the same graph however it is numbered."""
    ends = np.rint(graph.vertices_m[graph.edges].reshape(-1, 4) / step_m).astype(int)
    return sorted(map(tuple, np.concatenate([ends, graph.kind[:, None]], 1).tolist()))
