"""A graph on a grid cut into square tiles and joined again: each edge in one tile, no vertex lost or doubled.

An edge belongs to the tile of its middle. A vertex that edges of several tiles use is in each of them; joined again, it
is known by its coordinates. Of several vertices at one point all but the first carry a rank that tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from foldmap.errors import MapFormatError, MapInputError
from foldmap.street.graph.grid import GridGraph
from foldmap.types import AnyArray, IntArray

MAX_TILE = 1 << 15
"""Tiles of a region reach from -MAX_TILE to MAX_TILE - 1 in column and row."""

TilePosition = tuple[int, int]


@dataclass(frozen=True)
class TileGraph:
    """The edges of one tile, in the region's grid.

    `rank` int64 (V,) is 0 but for further vertices at one point of the region.
    """

    grid: GridGraph
    rank: IntArray


def split_tiles(grid: GridGraph, origin: tuple[int, int], side: int) -> dict[TilePosition, TileGraph]:
    """Cut a graph into tiles; what a tile holds does not depend on the order of vertices and edges.

    `origin` is the lower left corner of tile (0, 0), `side` that of a tile, in grid steps.
    """
    if not len(grid.edges):
        return {}
    rank = _ranks(grid.xy)
    twice = grid.xy[grid.edges].sum(axis=1) - 2 * np.array(origin)
    tile = twice // (2 * side)
    if int(np.abs(tile).max()) >= MAX_TILE:
        raise MapInputError("the street map reaches too far for its tiles", "use larger tiles")
    keys, of_edge = np.unique(tile[:, ::-1], axis=0, return_inverse=True)
    order = np.argsort(of_edge.ravel(), kind="stable")
    cuts = np.flatnonzero(np.diff(of_edge.ravel()[order])) + 1
    parts = np.split(order, cuts)
    return {(int(x), int(y)): _canonical(grid, rank, part) for (y, x), part in zip(keys, parts, strict=True)}


def join_tiles(tiles: Sequence[TileGraph], step_m: float) -> tuple[GridGraph, IntArray]:
    """The graph that tiles were cut from, edges in the order of the tiles; int64 (T + 1,), where each tile's begin."""
    offset = np.concatenate([[0], np.cumsum([len(tile.grid.edges) for tile in tiles])]).astype(np.int64)
    if not int(offset[-1]):
        return GridGraph.empty(step_m), offset
    keys = np.concatenate([np.concatenate([tile.grid.xy, tile.rank[:, None]], axis=1) for tile in tiles])
    order = np.lexsort([keys[:, 2], keys[:, 0], keys[:, 1]])
    new = np.concatenate([[True], (np.diff(keys[order], axis=0) != 0).any(axis=1)])
    place = np.empty(len(keys), np.int64)
    place[order] = np.cumsum(new) - 1
    first = np.concatenate([[0], np.cumsum([len(tile.grid) for tile in tiles])])
    edges = place[np.concatenate([tile.grid.edges + first[k] for k, tile in enumerate(tiles)])]
    number = edges[:, 0] * len(keys) + edges[:, 1]
    if (edges[:, 0] == edges[:, 1]).any() or len(np.unique(number)) < len(edges):
        raise MapFormatError("two tiles of a street map hold the same edge", "the file is damaged; fold the map again")
    lanes = tuple(lane for tile in tiles for lane in tile.grid.lanes)
    shift = np.concatenate([[0], np.cumsum([len(tile.grid.lanes) for tile in tiles])])
    lane = np.concatenate([np.where(t.grid.lane < 0, -1, t.grid.lane + shift[k]) for k, t in enumerate(tiles)])
    kind = np.concatenate([tile.grid.kind for tile in tiles])
    return GridGraph(step_m, keys[order][new][:, :2].copy(), edges, kind, lane.astype(np.int64), lanes), offset


def _ranks(xy: IntArray) -> IntArray:
    """How many vertices before each are at its point."""
    order = np.lexsort([xy[:, 0], xy[:, 1]])
    same = np.concatenate([[False], (np.diff(xy[order], axis=0) == 0).all(axis=1)])
    run = np.arange(len(xy))
    start = np.maximum.accumulate(np.where(same, 0, run))
    rank = np.empty(len(xy), np.int64)
    rank[order] = run - start
    return rank


def _canonical(grid: GridGraph, rank: IntArray, edge: AnyArray) -> TileGraph:
    """A tile's part, vertices sorted by point and rank, edges by their ends."""
    used, place = np.unique(grid.edges[edge], return_inverse=True)
    xy, ranks = grid.xy[used], rank[used]
    order = np.lexsort([ranks, xy[:, 0], xy[:, 1]])
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    edges = back[place.reshape(-1, 2)]
    by_ends = np.lexsort([edges[:, 1], edges[:, 0]])
    kept = edge[by_ends]
    part = replace(grid, xy=xy[order], edges=edges[by_ends], kind=grid.kind[kept], lane=grid.lane[kept])
    return TileGraph(part, ranks[order])
