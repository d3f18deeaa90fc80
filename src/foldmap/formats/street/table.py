"""A lane graph as a table of lines: one row a chain, with ids of the vertices where chains meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.naming import naming
from foldmap.street.graph.chains import chains, polylines
from foldmap.street.source import LANE, LINK, LaneAttributes, LaneGraph
from foldmap.types import DoubleArray

MEET_M = 0.01
"""How far apart two lines may place the vertex that they share."""

KIND_WORDS = {LANE: "lane", LINK: "link"}


@dataclass(frozen=True)
class ChainRow:
    """One chain, float64 (P, 2), P >= 2, of kind `LANE` or `LINK`.

    ``start`` and ``end`` are ids of its first and last vertex; rows that meet there have the same. ``lane`` numbers its
    lane, -1 where unknown; rows of one lane have the same.
    """

    line_m: DoubleArray
    start: int
    end: int
    kind: int
    lane: int
    attributes: LaneAttributes | None


def chain_rows(graph: LaneGraph) -> list[ChainRow]:
    """The chains of a graph in their order; isolated vertices, which carry no lane, are not in them."""
    found = chains(graph)
    rows = []
    for c, line in enumerate(polylines(graph)):
        first, last = found.edge[found.offset[c]], found.edge[found.offset[c + 1] - 1]
        start, end, lane = int(graph.edges[first, 0]), int(graph.edges[last, 1]), int(graph.lane[first])
        known = graph.lanes[lane] if lane >= 0 else None
        rows.append(ChainRow(line, start, end, int(graph.kind[first]), lane, known))
    return rows


def graph_of_rows(rows: Sequence[ChainRow], where: str) -> LaneGraph:
    """The graph whose chains these are: the same vertices, edges and attributes, in the order of the rows.

    Lines that place a vertex that they share more than 1 cm apart, that have two points and end where they start, or
    are the same straight edge, are a MapInputError that begins with ``where``.
    """
    if not rows:
        return LaneGraph.empty()
    ids = sorted({row.start for row in rows} | {row.end for row in rows})
    place = {name: k for k, name in enumerate(ids)}
    lanes = sorted({row.lane for row in rows if row.lane >= 0})
    rank = {lane: k for k, lane in enumerate(lanes)} | {-1: -1}
    attributes = {row.lane: row.attributes for row in rows}
    keys = np.full((len(ids), 2), np.nan)
    inner, edges, kinds, owner, count = [keys], [], [], [], len(ids)
    for number, row in enumerate(rows):
        for name, point in ((row.start, row.line_m[0]), (row.end, row.line_m[-1])):
            known = keys[place[name]]
            if np.isnan(known[0]):
                keys[place[name]] = point
            elif (apart_m := np.hypot(*(known - point))) > MEET_M:
                said = f"{where}: line {number} has vertex {name} {apart_m:.2f} m from where another line has it"
                cure = "move all lines that meet there, or drop the columns from and to, so that ends are matched"
                raise MapInputError(said, cure)
        more = len(row.line_m) - 2
        walk = np.array([place[row.start], *range(count, count + more), place[row.end]], np.int64)
        inner.append(row.line_m[1:-1])
        count += more
        edges.append(np.stack([walk[:-1], walk[1:]], 1))
        kinds.append(np.full(len(walk) - 1, row.kind, np.uint8))
        owner.append(np.full(len(walk) - 1, rank[row.lane], np.int64))
    known_lanes = tuple(attributes[lane] or LaneAttributes(str(lane)) for lane in lanes)
    with naming(where):
        vertices = np.concatenate(inner)
        return LaneGraph(vertices, np.concatenate(edges), np.concatenate(kinds), np.concatenate(owner), known_lanes)
