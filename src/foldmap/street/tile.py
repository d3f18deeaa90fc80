"""One tile of a folded street map as bytes: its part of the lane graph, places on it, and their embeddings."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foldmap.coding.integers import decode_integers, encode_integers
from foldmap.errors import LimitError, MapFormatError
from foldmap.street.graph.chains import chains
from foldmap.street.graph.codec import HEADER_BYTES, MAX_VERTICES, decode_grid, encode_grid, header
from foldmap.street.graph.grid import GridGraph
from foldmap.street.graph.tiling import TileGraph
from foldmap.street.graph.varint import pack, unpack
from foldmap.street.source import LaneAttributes
from foldmap.types import IntArray

MAX_PLACES = 1 << 20
MAX_LANES_BYTES = 16 << 20
PARTS = ("graph", "places", "vectors", "lanes")
_VERSION = 1
_CURE = "the file is damaged; fold the map again"


@dataclass(frozen=True)
class StreetTile:
    """A decoded tile: its part of the graph in the region's grid, with lanes where the file has them, and its places.

    Each place is on an edge, int64 (P,) ascending, so many grid steps along it, int64 (P,) ascending on each edge;
    ``vectors`` are their embeddings as stored.
    """

    part: TileGraph
    edge: IntArray
    along: IntArray
    vectors: bytes = b""


def coded_order(part: TileGraph) -> tuple[bytes, TileGraph]:
    """Code a tile's graph; the bytes, and the same graph in the order in which they decode, lanes kept."""
    data, order = encode_grid(part.grid)
    grid = decode_grid(data)
    wide = len(part.grid)
    before = part.grid.edges[:, 0] * wide + part.grid.edges[:, 1]
    after = order[grid.edges[:, 0]] * wide + order[grid.edges[:, 1]]
    by_key = np.argsort(before)
    lane = part.grid.lane[by_key[np.searchsorted(before[by_key], after)]]
    return data[HEADER_BYTES:], TileGraph(replace(grid, lane=lane, lanes=part.grid.lanes), part.rank[order])


def candidates(grid: GridGraph, spacing: int) -> tuple[IntArray, IntArray]:
    """Where places may be, by a rule in integers that every reader follows.

    A chain of n edges of whole lengths (of dx, dy: the root of dx^2 + dy^2, rounded down), T in all, has
    ``k = (2 T + spacing) // (2 spacing)`` places, number i at ``(2 i + 1) T // (2 k)`` from its start.

    Returns:
        int64 (P,), the edge of each, and int64 (P,), grid steps from that edge's start; in the order of chains.
    """
    none = np.zeros(0, np.int64)
    if spacing == 0 or not len(grid.edges):
        return none, none
    found = chains(replace(grid, lane=np.full(len(grid.edges), -1, np.int64), lanes=()).graph())
    ends = grid.xy[grid.edges[found.edge]]
    length = whole_lengths(ends[:, 1] - ends[:, 0])
    total = np.add.reduceat(length, found.offset[:-1])
    count = (2 * total + spacing) // (2 * spacing)
    if int(count.max()) > MAX_PLACES or int(count.sum()) > MAX_PLACES or int(total.max()) > 1 << 40:
        raise LimitError(f"{int(count.sum())} places on one tile of a street map", "use smaller tiles, wider spacing")
    chain = np.repeat(np.arange(len(found)), count)
    rank = np.arange(len(chain)) - np.repeat(np.cumsum(count) - count, count)
    stops = np.cumsum(length)
    at = (stops - length)[found.offset[:-1]][chain] + (2 * rank + 1) * total[chain] // (2 * count[chain])
    index = np.searchsorted(stops, at, side="right")
    return found.edge[index], at - (stops - length)[index]


def whole_lengths(step: IntArray) -> IntArray:
    """Lengths of integer vectors (N, 2), rounded down, exactly."""
    square = (step * step).sum(axis=1)
    length: IntArray = np.sqrt(square.astype(np.float64)).astype(np.int64)
    length -= length * length > square
    length += (length + 1) * (length + 1) <= square
    return length


def pack_tile(graph: bytes, tile: StreetTile, spacing: int, lanes: str = "none") -> tuple[bytes, dict[str, int]]:
    """The bytes of a tile, and how many of them each of `PARTS` takes.

    The graph and the tile are those of `coded_order`, places some of the `candidates` of this spacing in their order.
    """
    edge, along = candidates(tile.part.grid, spacing)
    wide = int(max(along.max(initial=0), tile.along.max(initial=0))) + 1
    dropped = ~np.isin(edge * wide + along, tile.edge * wide + tile.along)
    places = encode_integers(dropped[:, None].astype(np.int64))
    ranked = np.flatnonzero(tile.part.rank)
    parts = [graph, places, tile.vectors, _pack_lanes(tile.part, lanes)]
    head = bytes([_VERSION]) + pack([len(tile.edge), *map(len, parts), len(ranked)])
    for vertex in ranked.tolist():
        head += pack([vertex, int(tile.part.rank[vertex])])
    return head + b"".join(parts), dict(zip(PARTS, map(len, parts), strict=True))


def tile_sizes(payload: bytes) -> tuple[int, dict[str, int], list[tuple[int, int]], int]:
    """``(places, bytes of each part, (vertex, rank) of ranked vertices, where the parts begin)``.

    Raises:
        MapFormatError: bytes that `pack_tile` does not write.
    """
    if not payload or payload[0] != _VERSION:
        raise MapFormatError("a tile of the street layer is empty or of another version", "update foldmap")
    (count, *sizes, ranked), at = unpack(payload, 1, 2 + len(PARTS))
    if count > MAX_PLACES or 2 * ranked > len(payload):
        raise LimitError(f"a tile of the street layer declares {count} places and {ranked} ranks", _CURE)
    pairs, at = unpack(payload, at, 2 * ranked)
    if at + sum(sizes) != len(payload):
        raise MapFormatError("a tile of the street layer does not have the length it says", _CURE)
    return count, dict(zip(PARTS, sizes, strict=True)), list(zip(pairs[::2], pairs[1::2], strict=True)), at


def unpack_tile(payload: bytes, step_m: float, spacing: int, row_bytes: int, most: int = MAX_VERTICES) -> StreetTile:
    """Decode a tile of `pack_tile`, with embeddings of so many bytes each (0: none) and at most so many edges.

    Raises:
        MapFormatError: bytes that `pack_tile` does not write for this layer.
    """
    count, sizes, ranked, at = tile_sizes(payload)
    ends = np.cumsum([at, *sizes.values()]).tolist()
    graph, places, vectors, lanes = (payload[begin:end] for begin, end in itertools.pairwise(ends))
    if len(vectors) != count * row_bytes:
        raise MapFormatError(f"a tile of the street layer has {len(vectors)} bytes for {count} embeddings", _CURE)
    grid = decode_grid(header(step_m) + graph, min(MAX_VERTICES, 2 * most))
    rank = np.zeros(len(grid), np.int64)
    for vertex, value in ranked:
        if not (vertex < len(grid) and 0 < value < MAX_VERTICES):
            raise MapFormatError("a tile of the street layer ranks a vertex that it does not have", _CURE)
        rank[vertex] = value
    edge, along = candidates(grid, spacing)
    dropped = decode_integers(places, (len(edge), 1))[:, 0]
    if len(dropped) and not 0 <= int(dropped.min()) <= int(dropped.max()) <= 1:
        raise MapFormatError("a street tile drops places in numbers that are not 0 or 1", _CURE)
    kept = dropped == 0
    if int(kept.sum()) != count:
        raise MapFormatError(f"a street tile says {count} places and has {int(kept.sum())}", _CURE)
    return StreetTile(TileGraph(_with_lanes(grid, lanes), rank), edge[kept], along[kept], vectors)


def _pack_lanes(part: TileGraph, lanes: str) -> bytes:
    if lanes == "none" or not (part.grid.lane >= 0).any():
        return b""
    rows = [
        (lane.identity if lanes == "all" else "", lane.width_m, lane.speed_limit_mps, lane.lane_type)
        for lane in part.grid.lanes
    ]
    used = np.unique(part.grid.lane[part.grid.lane >= 0])
    table = list(dict.fromkeys(rows[k] for k in used.tolist()))
    place = {row: number for number, row in enumerate(table)}
    number = np.full(len(rows) + 1, -1, np.int64)  # the last is that of lane -1
    for k in used.tolist():
        number[k] = place[rows[k]]
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    if len(text) > MAX_LANES_BYTES:
        raise LimitError(f"the lanes of one tile take {len(text)} bytes of text", "use smaller tiles")
    packed = zlib.compress(text, 9)
    steps = encode_integers(np.diff(number[part.grid.lane], prepend=-1)[:, None])
    return pack([len(text), len(packed)]) + packed + steps


def _with_lanes(grid: GridGraph, data: bytes) -> GridGraph:
    if not data:
        return grid
    (size, packed), at = unpack(data, 0, 2)
    if size > MAX_LANES_BYTES or packed > len(data) - at:
        raise LimitError(f"the lanes of a street tile declare {size} bytes of text", _CURE)
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(data[at : at + packed], size + 1)
        rows = json.loads(text) if len(text) == size and inflate.eof else None
    except (zlib.error, ValueError, RecursionError) as error:
        raise MapFormatError("the lanes of a street tile cannot be read", _CURE) from error
    lanes = tuple(_attributes(row) for row in rows) if isinstance(rows, list) else ()
    lane = np.cumsum(decode_integers(data[at + packed :], (len(grid.edges), 1))[:, 0]) - 1
    if not lanes or int(lane.min()) < -1 or int(lane.max()) >= len(lanes):
        raise MapFormatError("edges of a street tile name lanes that are not there", _CURE)
    return replace(grid, lane=lane, lanes=lanes)


def _attributes(row: Any) -> LaneAttributes:
    if not (isinstance(row, Sequence) and len(row) == 4 and isinstance(row[0], str)):
        raise MapFormatError("a lane of a street tile is not described as it should be", _CURE)
    numbers = [value is None or (isinstance(value, int | float) and abs(value) < 1e9) for value in row[1:3]]
    if not (all(numbers) and (row[3] is None or isinstance(row[3], str))):
        raise MapFormatError("a lane of a street tile has attributes of other types", _CURE)
    return LaneAttributes(row[0], *row[1:])
