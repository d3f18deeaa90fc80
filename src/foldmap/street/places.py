"""A library of places: poses along the lanes at equal spacing, and the windows of lane graph that lie around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.street.graph.chains import chains, members, resample
from foldmap.street.graph.window import AROUND, Window, cut
from foldmap.street.source import LaneGraph
from foldmap.types import AnyArray, BoolArray, DoubleArray, FloatArray, IntArray

SPACING_M = 5.0
NEAR_M = 1.0
NEAR_RAD = float(np.deg2rad(10.0))
_UNLIKE_M = 25.0
_CELL_M = 32.0


@dataclass(frozen=True)
class Places:
    """Poses on lanes, in the map's frame.

    `heading_rad` is along the lane, counter-clockwise from x; `edge` int64 (N,) is the edge of the graph that each is
    on, `along_m` float64 (N,) how far from its start.
    """

    x_m: DoubleArray
    y_m: DoubleArray
    heading_rad: DoubleArray
    edge: IntArray
    along_m: DoubleArray

    def __len__(self) -> int:
        return len(self.x_m)

    @property
    def xy_m(self) -> DoubleArray:
        """Positions, (N, 2)."""
        return np.stack([self.x_m, self.y_m], 1)

    def pose(self, index: int) -> SE2:
        """``world_SE2_ego`` of one place."""
        return SE2(float(self.x_m[index]), float(self.y_m[index]), float(self.heading_rad[index]))

    def __iter__(self) -> Iterator[SE2]:
        return map(self.pose, range(len(self)))

    def take(self, kept: AnyArray) -> Places:
        """Some places, by mask or index."""
        return Places(self.x_m[kept], self.y_m[kept], self.heading_rad[kept], self.edge[kept], self.along_m[kept])


def on_edges(graph: LaneGraph, edge: IntArray, along_m: DoubleArray) -> Places:
    """The places at these distances from the starts of these edges."""
    a, b = graph.vertices_m[graph.edges[edge, 0]], graph.vertices_m[graph.edges[edge, 1]]
    step = b - a
    length = np.hypot(step[:, 0], step[:, 1])
    share = np.divide(along_m, length, out=np.zeros(len(edge)), where=length > 0)
    at = a + share[:, None] * step
    x, y = np.ascontiguousarray(at.T)
    return Places(x, y, np.arctan2(step[:, 1], step[:, 0]), edge, along_m)


def sample_places(graph: LaneGraph, spacing_m: float = SPACING_M) -> Places:
    """Places along each chain, half a spacing from its start and then at equal steps, as near to the spacing as fits.

    Chains shorter than half the spacing have none; the other chains' windows show them. Of places nearer than 1 m and
    turned by less than 10 degrees the first is kept; the two directions of a road are different places.
    """
    if not (np.isfinite(spacing_m) and spacing_m > 0):
        raise ConfigError(f"cannot sample places every {spacing_m} m", "give a positive spacing")
    if not len(graph.edges):
        return on_edges(graph, np.zeros(0, np.int64), np.zeros(0))
    found = chains(graph)
    length = graph.edge_lengths_m[found.edge]
    total = np.add.reduceat(length, found.offset[:-1])
    pieces = np.floor(total / spacing_m + 0.5).astype(np.int64)
    chain, rank = members(pieces)
    ends = np.cumsum(length)
    before = (ends - length)[found.offset[:-1]]
    at = before[chain] + total[chain] * (rank + 0.5) / np.maximum(1, pieces[chain])
    index = np.clip(np.searchsorted(ends, at, side="left"), found.offset[:-1][chain], found.offset[1:][chain] - 1)
    along = np.clip(at - (ends - length)[index], 0, length[index])
    places = on_edges(graph, found.edge[index], along)
    return places.take(first_of_near(places))


def first_of_near(places: Places) -> BoolArray:
    """Which places have none before them that is kept, nearer than `NEAR_M` and turned by less than `NEAR_RAD`."""
    if not len(places):
        return np.ones(len(places), bool)
    cell = np.floor(places.xy_m / NEAR_M).astype(np.int64)
    cell -= cell.min(axis=0) - 1
    wide = int(cell[:, 0].max()) + 2
    key = cell[:, 1] * wide + cell[:, 0]
    order = np.argsort(key, kind="stable")
    kept: BoolArray = _thin(places.xy_m, places.heading_rad, key, order, key[order], wide)
    return kept


@njit(cache=True)
def _thin(xy, heading, key, order, sorted_key, wide):  # type: ignore[no-untyped-def]
    kept = np.zeros(len(key), np.bool_)
    for i in range(len(key)):
        alone = True
        for row in range(-1, 2):
            low = np.searchsorted(sorted_key, key[i] + row * wide - 1)
            for k in range(low, len(order)):
                if sorted_key[k] > key[i] + row * wide + 1:
                    break
                j = order[k]
                if j >= i or not kept[j]:
                    continue
                turn = abs((heading[i] - heading[j] + np.pi) % (2 * np.pi) - np.pi)
                if turn < NEAR_RAD and np.hypot(xy[i, 0] - xy[j, 0], xy[i, 1] - xy[j, 1]) < NEAR_M:
                    alone = False
        kept[i] = alone
    return kept


def unlike(embeddings: FloatArray, places: Places, most_cosine: float) -> BoolArray:
    """Which places to keep when neighbours that look alike are one: each is dropped that resembles an earlier kept one.

    Alike are embeddings, unit rows float32 (N, D), of a similarity above `most_cosine`. Only places of one heading
    within 25 m are compared, which bounds what localization loses.
    """
    kept = np.ones(len(places), bool)
    if not len(places):
        return kept
    pairs = cKDTree(places.xy_m).query_pairs(_UNLIKE_M, output_type="ndarray")
    a, b = pairs.min(axis=1), pairs.max(axis=1)
    turn = np.abs((places.heading_rad[a] - places.heading_rad[b] + np.pi) % (2 * np.pi) - np.pi)
    a, b = a[turn < NEAR_RAD], b[turn < NEAR_RAD]
    alike = np.einsum("nd,nd->n", embeddings[a], embeddings[b]) > most_cosine
    order = np.lexsort([a[alike], b[alike]])
    for earlier, later in zip(a[alike][order].tolist(), b[alike][order].tolist(), strict=True):
        if kept[earlier]:
            kept[later] = False
    return kept


def windows(
    graph: LaneGraph, poses: Iterable[SE2], window: Window = AROUND, *, lanes: bool = False
) -> Iterator[LaneGraph]:
    """The part of a graph around each pose, in its ego frame, cut to the window, vertices 1 m apart.

    Each is what ``resample(cut(graph, pose, window), 1.0)`` gives, without attributes unless `lanes`. A grid of
    cells finds the edges, so a window takes as long as what is in it, however large the map.
    """
    if not lanes:
        graph = replace(graph, lanes=(), lane=np.full(len(graph.edges), -1, np.int64))
    index = EdgeIndex(graph)
    for pose in poses:
        near = index.near(pose.x_m, pose.y_m, window.radius_m)
        yield resample(cut(graph.take_edges(near), pose, window), 1.0)


class EdgeIndex:
    """Which edges of a graph are near a point: a grid of square cells that lists the edges whose boxes touch each."""

    def __init__(self, graph: LaneGraph) -> None:
        ends = graph.vertices_m[graph.edges] if len(graph.edges) else np.zeros((0, 2, 2))
        self._low, self._high = ends.min(axis=1), ends.max(axis=1)
        reach = np.ptp(np.concatenate([self._low, self._high]), axis=0) if len(ends) else np.zeros(2)
        self._cell_m = max(_CELL_M, float(reach.max()) / 4096)
        self._origin = self._low.min(axis=0) if len(ends) else np.zeros(2)
        first = np.floor((self._low - self._origin) / self._cell_m).astype(np.int64)
        last = np.floor((self._high - self._origin) / self._cell_m).astype(np.int64)
        self._size = last.max(axis=0) + 1 if len(ends) else np.zeros(2, np.int64)
        wide = last - first + 1
        count = wide.prod(axis=1)
        edge, rank = members(count)
        cell = first[edge] + np.stack([rank % wide[edge, 0], rank // wide[edge, 0]], 1)
        key = cell[:, 1] * int(self._size[0]) + cell[:, 0]
        order = np.argsort(key, kind="stable")
        self._edge, self._key = edge[order], key[order]

    def near(self, x_m: float, y_m: float, radius_m: float) -> IntArray:
        """Ascending indices of the edges whose boxes reach into the square of this half side."""
        at = np.array([x_m, y_m])
        low = np.clip(np.floor((at - radius_m - self._origin) / self._cell_m), 0, self._size).astype(np.int64)
        high = np.clip(np.floor((at + radius_m - self._origin) / self._cell_m) + 1, 0, self._size).astype(np.int64)
        rows = np.arange(low[1], high[1]) * int(self._size[0])
        starts, stops = np.searchsorted(self._key, rows + low[0]), np.searchsorted(self._key, rows + high[0])
        parts = [self._edge[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
        edge = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
        inside = (self._low[edge] <= at + radius_m) & (self._high[edge] >= at - radius_m)
        found: IntArray = edge[inside.all(axis=1)]
        return found
