"""Lane graphs in few bytes: topology exact, lines within a stated distance.

    graph --fewest vertices on a grid (`to_grid`)--> key vertices and chains --one walk, context mixing--> bytes

Key vertices are where chains start and end (`chains`). A decoded graph is the same graph with other numbers: the order
of vertices and edges is the coder's to choose.
"""

from __future__ import annotations

import struct

import numpy as np
from numba import njit

from foldmap.coding import mixing
from foldmap.coding.rangecoder import DECODE, ENCODE
from foldmap.errors import LimitError, MapFormatError, MapInputError
from foldmap.street.graph import kernel
from foldmap.street.graph.chains import chains, members
from foldmap.street.graph.grid import MAX_COORDINATE, GridGraph
from foldmap.street.graph.varint import fold_sign, pack, unfold_sign, unpack
from foldmap.street.source import LaneGraph
from foldmap.types import AnyArray, IntArray

MAX_VERTICES = 1 << 20
"""Vertices, chains and edges of one stream, each; a reader takes about 200 bytes for each."""

_HEADER = struct.Struct("<Bd")  # version, step; key vertices, chains, inner vertices and the origin follow as varints
HEADER_BYTES = _HEADER.size
_VERSION = 1
_BESIDE_M = 6.0
_CURE = "the file is damaged; fold the map again"


def without_lanes(graph: LaneGraph) -> LaneGraph:
    """The same graph with nothing known about its lanes: chains run on where only the lane's name changes."""
    return LaneGraph(graph.vertices_m, graph.edges, graph.kind)


def encode_grid(grid: GridGraph) -> tuple[bytes, IntArray]:
    """Code a graph on a grid without loss, but for its lanes and the order of its vertices and edges.

    Returns the bytes, and int64 ``order``: vertex i of the decoded graph is vertex ``order[i]``.

    Raises `MapInputError`: coordinates that spread too far; `LimitError`: too many vertices.
    """
    if not len(grid.edges):
        return header(grid.step_m) + pack([0] * 5), np.zeros(0, np.int64)
    grid = GridGraph(grid.step_m, grid.xy, grid.edges, grid.kind, np.full(len(grid.edges), -1, np.int64))
    if max(len(grid), len(grid.edges)) > MAX_VERTICES:
        raise LimitError(f"a lane graph of {len(grid)} vertices exceeds {MAX_VERTICES}", "use smaller tiles")
    origin = grid.xy[np.unique(grid.edges)].min(axis=0)
    if int((grid.xy.max(axis=0) - origin).max()) >= MAX_COORDINATE:
        raise MapInputError("a lane graph spreads over too much of the grid", "use smaller tiles or a larger error")
    *tables, order = _tables(grid, origin)
    sizes = [len(table) for table in tables]
    payload = np.zeros(64 + 32 * sum(sizes), np.uint8)
    size = _run(ENCODE, grid.step_m, tables, payload)
    counts = pack([sizes[2], *sizes[:2], *map(fold_sign, origin.tolist())])
    return header(grid.step_m) + counts + payload[:size].tobytes(), order


def decode_grid(data: bytes, most: int = MAX_VERTICES) -> GridGraph:
    """The graph that `encode_grid` coded; memory is taken for at most `most` vertices (LimitError beyond)."""
    if len(data) < _HEADER.size:
        raise MapFormatError(f"a coded lane graph of {len(data)} bytes is truncated", _CURE)
    version, step = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise MapFormatError(f"a coded lane graph has version {version}", "update foldmap")
    (keys, count, inner, *folded), at = unpack(data, _HEADER.size, 5)
    origin = [unfold_sign(value) for value in folded]
    if max(keys + inner, count) > min(most, MAX_VERTICES):
        raise LimitError(f"a coded lane graph declares {keys + inner} vertices in {count} chains", _CURE)
    if not (1e-6 < step < 1e6 and max(abs(origin[0]), abs(origin[1])) < 1 << 52):
        raise MapFormatError("a coded lane graph has an impossible grid", _CURE)
    if not keys:
        if count or inner or len(data) > at:
            raise MapFormatError("a coded lane graph of no vertices has chains", _CURE)
        return GridGraph.empty(step)
    if count + inner > (len(data) + 8) << 12:
        raise LimitError(f"a coded lane graph of {len(data)} bytes declares {count} chains", _CURE)
    tables = [np.zeros((count, 6), np.int64), np.zeros((inner, 2), np.int64), _fresh_vertices(keys)]
    payload = np.frombuffer(data, np.uint8, offset=at).copy()
    if not len(payload) or _run(DECODE, step, tables, payload) < 0:
        raise MapFormatError("a coded lane graph is damaged", _CURE)
    return _joined(step, np.array(origin, np.int64), *tables)


def header(step_m: float) -> bytes:
    """The first `HEADER_BYTES` of a coded graph, for those who keep them apart."""
    return _HEADER.pack(_VERSION, step_m)


def _run(mode: int, step_m: float, tables: list[IntArray], payload: AnyArray) -> int:
    model = mixing.fresh(kernel.SLOTS, kernel.SETS, kernel.INPUTS)
    scores = np.zeros(1024, np.int64)
    beside = max(1, min(1 << 20, int(_BESIDE_M / step_m)))
    state = np.zeros(4, np.uint64)
    return int(kernel.walk(mode, beside, *tables, scores, model, mixing.tables(), state, payload))


def _fresh_vertices(count: int) -> IntArray:
    vertices = np.zeros((count, 8), np.int64)
    vertices[:, kernel.IN_CHAIN :] = -1
    return vertices


def _tables(grid: GridGraph, origin: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Chains, inner points and vertices in the order of the walk, and the vertices' old numbers."""
    found = chains(grid.graph())
    keys, of_key = np.unique([grid.edges[found.first, 0], grid.edges[found.last, 1]], return_inverse=True)
    ends = np.ascontiguousarray(of_key.reshape(2, -1).T.astype(np.int64))
    both = ends.T.ravel()
    by_vertex = np.argsort(both, kind="stable")
    offset = np.concatenate([[0], np.cumsum(np.bincount(both, minlength=len(keys)))])
    order, backward, number = _visit(ends, by_vertex, offset, _along_a_curve(grid.xy[keys] - origin))
    vertices = _fresh_vertices(len(keys))
    vertices[number, :2] = grid.xy[keys] - origin
    table = np.zeros((len(order), 6), np.int64)
    turned = np.where(backward[:, None], ends[order][:, ::-1], ends[order])
    table[:, kernel.FROM], table[:, kernel.TO] = number[turned[:, 0]], number[turned[:, 1]]
    table[:, kernel.BACKWARD], table[:, kernel.KIND] = backward, grid.kind[found.first[order]]
    size = np.diff(found.offset)[order] - 1
    table[:, kernel.INNER], table[:, kernel.FIRST] = size, np.cumsum(size) - size
    chain, rank = members(size)
    rank = np.where(backward[chain].astype(bool), size[chain] - 1 - rank, rank)
    inner = grid.edges[found.edge[found.offset[order[chain]] + rank], 1]
    back = np.empty(len(keys), np.int64)
    back[number] = keys
    return table, grid.xy[inner] - origin, vertices, np.concatenate([back, inner])


def _along_a_curve(xy: IntArray) -> IntArray:
    """Points in Morton order."""
    key = np.zeros(len(xy), np.uint64)
    for place in range(27, -1, -1):
        for axis in (1, 0):
            key = (key << np.uint64(1)) | ((xy[:, axis] >> place) & 1).astype(np.uint64)
    return np.argsort(key, kind="stable").astype(np.int64)


@njit(cache=True)
def _visit(ends, by_vertex, offset, roots):  # type: ignore[no-untyped-def]
    """``(chains in the order of the walk, whether each runs backwards, the new number of each key vertex)``."""
    chains_, count = len(ends), len(offset) - 1
    order, backward = np.empty(chains_, np.int64), np.empty(chains_, np.int64)
    number = np.full(count, -1, np.int64)
    queue = np.empty(count, np.int64)
    done = np.zeros(chains_, np.bool_)
    head, tail, filled = 0, 0, 0
    for root in roots:
        if number[root] >= 0:
            continue
        number[root] = tail
        queue[tail] = root
        tail += 1
        while head < tail:
            v = queue[head]
            head += 1
            for k in range(offset[v], offset[v + 1]):
                at = by_vertex[k]
                chain, back = at % chains_, at // chains_
                if done[chain]:
                    continue
                done[chain] = True
                order[filled], backward[filled] = chain, back
                filled += 1
                w = ends[chain, 1 - back]
                if number[w] < 0:
                    number[w] = tail
                    queue[tail] = w
                    tail += 1
    return order, backward, number


def _joined(step_m: float, origin: IntArray, table: IntArray, points: IntArray, vertices: IntArray) -> GridGraph:
    """Chains back to edges, in driving direction."""
    keys = len(vertices)
    size = table[:, kernel.INNER] + 1
    chain, rank = members(size)
    inner = keys + table[chain, kernel.FIRST] + rank
    start = np.where(rank == 0, table[chain, kernel.FROM], inner - 1)
    end = np.where(rank == size[chain] - 1, table[chain, kernel.TO], inner)
    backward = table[chain, kernel.BACKWARD] == 1
    edges = np.where(backward[:, None], np.stack([end, start], 1), np.stack([start, end], 1))
    different = np.unique(edges[:, 0] * (keys + len(points)) + edges[:, 1])
    if (edges[:, 0] == edges[:, 1]).any() or len(different) < len(edges):
        raise MapFormatError("a coded lane graph has an edge twice, or a self-loop", _CURE)
    xy = np.concatenate([vertices[:, :2], points]) + origin
    kind = table[chain, kernel.KIND].astype(np.uint8)
    # the edges of a chain follow each other in driving direction, whichever way it was coded
    place = np.arange(len(chain)) - rank + np.where(backward, size[chain] - 1 - rank, rank)
    edges[place] = edges.copy()
    return GridGraph(step_m, xy, np.ascontiguousarray(edges), kind, np.full(len(edges), -1, np.int64))
