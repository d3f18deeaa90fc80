"""A graph with vertices about a metre apart that remembers which of them it was given, and the way back.

A folded graph has few vertices, changes are found and lanes are joined a metre apart. `thinned` takes out again what
`densified` put in and nobody used, so that what was not edited is what it was, to the bit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foldmap.errors import MapInputError
from foldmap.street.source import LaneGraph
from foldmap.types import DoubleArray


def densified(graph: LaneGraph, step_m: float = 1.0) -> tuple[LaneGraph, DoubleArray]:
    """Cut each edge into equal pieces of at most `step_m`.

    Returns:
        The graph, its first vertices those of `graph`; and float64 (K, 2), the vertices that came in between.

    Raises:
        MapInputError: a step that is not positive.
    """
    if not step_m > 0:
        raise MapInputError(f"cannot cut edges to {step_m} m", "give a positive step")
    pieces = np.maximum(1, np.ceil(graph.edge_lengths_m / step_m)).astype(np.int64)
    edge = np.repeat(np.arange(len(pieces)), pieces - 1)
    rank = np.arange(len(edge)) - np.repeat(np.cumsum(pieces - 1) - (pieces - 1), pieces - 1) + 1
    a, b = graph.vertices_m[graph.edges[edge, 0]], graph.vertices_m[graph.edges[edge, 1]]
    between: DoubleArray = a + (rank / pieces[edge])[:, None] * (b - a)
    of_piece = np.repeat(np.arange(len(pieces)), pieces)
    number = np.arange(len(of_piece)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = len(graph) + np.cumsum(pieces - 1) - (pieces - 1)
    start = np.where(number == 0, graph.edges[of_piece, 0], first[of_piece] + number - 1)
    end = np.where(number == pieces[of_piece] - 1, graph.edges[of_piece, 1], first[of_piece] + number)
    dense = replace(
        graph,
        vertices_m=np.concatenate([graph.vertices_m, between]),
        edges=np.stack([start, end], 1),
        kind=graph.kind[of_piece],
        lane=graph.lane[of_piece],
    )
    return dense, between


def thinned(graph: LaneGraph, between_m: DoubleArray) -> LaneGraph:
    """Take vertices of `densified` out where one edge still leads in and one out.

    Args:
        graph: a densified graph, edited.
        between_m: float64 (K, 2), of `densified`.

    Returns:
        The graph without them; edges of a run become one.
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
