"""What the street layer folds: lane graphs, plain validated data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from foldmap.errors import MapInputError
from foldmap.geometry import SE2
from foldmap.types import AnyArray, ByteArray, DoubleArray, IntArray

LANE = 0
"""Kind of an edge that follows a lane."""
LINK = 1
"""Kind of an edge that joins lanes inside a junction: a turning link, a lane connector."""
KINDS = (LANE, LINK)


FARTHEST_M = 1e9
"""Beyond any coordinate of a map of the Earth, false origins included."""


@dataclass(frozen=True)
class LaneAttributes:
    """What a map says about one lane; None where it says nothing.

    `identity` is the map's own name of the lane, `lane_type` its own word: "VEHICLE", "BUS", "road", "bicycle_lane".
    """

    identity: str
    width_m: float | None = None
    speed_limit_mps: float | None = None
    lane_type: str | None = None


@dataclass(frozen=True)
class LaneGraph:
    """A directed lane graph in a metric frame: centre lines as vertices, and edges in driving direction.

    Any number of vertices, none included. Arrays are made read-only.

    Attributes:
        vertices_m: float64 (V, 2), x east (or ahead, in an ego frame), y north (or left).
        edges: int64 (E, 2), (from, to) indices of vertices, in driving direction.
        kind: uint8 (E,), `LANE` or `LINK`; all `LANE` if not given.
        lane: int64 (E,), index into `lanes`, -1 where unknown; all -1 if not given.
        lanes: attributes of the lanes where the map has them.

    Raises:
        MapInputError: names the first offender: not finite, an edge to nowhere, a self-loop, an edge twice.
    """

    vertices_m: DoubleArray
    edges: IntArray
    kind: ByteArray = field(default_factory=lambda: np.zeros(0, np.uint8))
    lane: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    lanes: tuple[LaneAttributes, ...] = ()

    def __post_init__(self) -> None:
        edges = len(self.edges)
        if edges and not len(self.kind):
            object.__setattr__(self, "kind", np.zeros(edges, np.uint8))
        if edges and not len(self.lane):
            object.__setattr__(self, "lane", np.full(edges, -1, np.int64))
        _typed("vertices_m", self.vertices_m, (len(self.vertices_m), 2), np.float64)
        _typed("edges", self.edges, (edges, 2), np.int64)
        _typed("kind", self.kind, (edges,), np.uint8)
        _typed("lane", self.lane, (edges,), np.int64)
        self._check_values()
        for name in ("vertices_m", "edges", "kind", "lane"):
            getattr(self, name).setflags(write=False)

    def _check_values(self) -> None:
        """Refuse what no graph is; the offender is sought where there is one: graphs are made by the million."""
        if not (np.abs(self.vertices_m) <= FARTHEST_M).all():
            lost = np.flatnonzero(~np.isfinite(self.vertices_m).all(1))
            if len(lost):
                raise MapInputError(f"vertex {lost[0]} of the lane graph is not finite", "drop or mend it")
            far = np.flatnonzero((np.abs(self.vertices_m) > FARTHEST_M).any(1))
            raise MapInputError(
                f"vertex {far[0]} of the lane graph is at {self.vertices_m[far[0]].tolist()}: no place on Earth",
                "mend it; coordinates are metres",
            )
        count = len(self.vertices_m)
        if len(self.edges) and not (int(self.edges.min()) >= 0 and int(self.edges.max()) < count):
            outside = np.flatnonzero(((self.edges < 0) | (self.edges >= count)).any(1))
            what = f"edge {outside[0]} of the lane graph is {self.edges[outside[0]].tolist()}"
            raise MapInputError(f"{what}, there are {count} vertices", "drop it")
        start, end = self.edges[:, 0], self.edges[:, 1]
        if (start == end).any():
            loop = np.flatnonzero(start == end)[0]
            what = f"edge {loop} of the lane graph is a self-loop at vertex {start[loop]}"
            raise MapInputError(what, "drop it, or let `foldmap.street.graph.repair` drop it")
        key = start * max(1, count) + end
        in_order = np.sort(key)
        if (in_order[1:] == in_order[:-1]).any():
            order = np.argsort(key, kind="stable")
            twice = np.flatnonzero(in_order[1:] == in_order[:-1])
            what = f"edge {order[twice[0] + 1]} of the lane graph is there twice"
            raise MapInputError(what, "drop one, or let `foldmap.street.graph.repair` drop it")
        if len(self.kind) and int(self.kind.max()) > max(KINDS):
            raise MapInputError(f"an edge of the lane graph has kind {int(self.kind.max())}", f"give one of {KINDS}")
        if len(self.lane) and not (int(self.lane.min()) >= -1 and int(self.lane.max()) < len(self.lanes)):
            what = f"edges name lanes {int(self.lane.min())}..{int(self.lane.max())}, there are {len(self.lanes)}"
            raise MapInputError(what, "give -1 where the lane is unknown")

    def derived(self, **arrays: AnyArray) -> LaneGraph:
        """As `dataclasses.replace`, by arrays that are right because this graph's are: nothing is looked at again."""
        made = object.__new__(LaneGraph)
        made.__dict__.update(self.__dict__, **arrays)
        for array in arrays.values():
            array.setflags(write=False)
        return made

    @staticmethod
    def empty() -> LaneGraph:
        """A graph of nothing: what a window without streets holds."""
        return LaneGraph(np.zeros((0, 2)), np.zeros((0, 2), np.int64))

    @staticmethod
    def from_polylines(
        polylines_m: Sequence[DoubleArray], kinds: Sequence[int] = (), lanes: Sequence[LaneAttributes] = ()
    ) -> LaneGraph:
        """One chain of edges a polyline; ends are not joined (see `foldmap.street.graph.joining`).

        Polylines are float64 (P, 2), in driving direction; repeated points are dropped, two must be left. Kinds are one
        a polyline, all `LANE` if empty; lanes are one a polyline, or none.
        """
        vertices, edges, starts = [], [], [0]
        for number, line in enumerate(polylines_m):
            points = np.asarray(line, np.float64)
            if points.ndim != 2 or points.shape[1] != 2:
                raise MapInputError(f"polyline {number} has shape {points.shape}", "give (P, 2)")
            distinct = np.concatenate([[True], np.abs(np.diff(points, axis=0)).sum(1) > 0])[: len(points)]
            points = points[distinct]
            if len(points) < 2:
                raise MapInputError(f"polyline {number} has fewer than two distinct points", "drop it")
            chain = starts[-1] + np.arange(len(points))
            vertices.append(points)
            edges.append(np.stack([chain[:-1], chain[1:]], 1))
            starts.append(starts[-1] + len(points))
        if not vertices:
            return LaneGraph.empty()
        of: IntArray = np.repeat(np.arange(len(edges)), np.diff(starts) - 1)
        kind = np.asarray(kinds, np.uint8)[of] if len(kinds) else np.full(len(of), LANE, np.uint8)
        lane = of if len(lanes) else np.full(len(of), -1)
        return LaneGraph(np.concatenate(vertices), np.concatenate(edges), kind, lane, tuple(lanes))

    def __len__(self) -> int:
        return len(self.vertices_m)

    @property
    def edge_lengths_m(self) -> DoubleArray:
        """Length of each edge, (E,)."""
        step = self.vertices_m[self.edges[:, 1]] - self.vertices_m[self.edges[:, 0]]
        lengths: DoubleArray = np.hypot(step[:, 0], step[:, 1])
        return lengths

    @property
    def length_m(self) -> float:
        """Lane metres: the sum of all edges."""
        return float(self.edge_lengths_m.sum())

    @property
    def out_degree(self) -> IntArray:
        """Edges that leave each vertex, (V,)."""
        return np.bincount(self.edges[:, 0], minlength=len(self))

    @property
    def in_degree(self) -> IntArray:
        """Edges that enter each vertex, (V,)."""
        return np.bincount(self.edges[:, 1], minlength=len(self))

    def moved(self, target_SE2_source: SE2) -> LaneGraph:
        """The same graph in another frame."""
        return replace(self, vertices_m=target_SE2_source.apply(self.vertices_m))

    def take_edges(self, kept: AnyArray) -> LaneGraph:
        """Some edges, by mask or index, each once, and the vertices that they use in their order; lanes stay all."""
        used, place = np.unique(self.edges[kept], return_inverse=True)
        edges = place.reshape(-1, 2).astype(np.int64)
        return self.derived(vertices_m=self.vertices_m[used], edges=edges, kind=self.kind[kept], lane=self.lane[kept])

    def with_chain(self, vertices_m: DoubleArray, chain: IntArray) -> LaneGraph:
        """One more lane: further vertices, and where it runs, by index into the old vertices and these."""
        edges = np.stack([chain[:-1], chain[1:]], 1)
        edges = edges[edges[:, 0] != edges[:, 1]]
        return replace(
            self,
            vertices_m=np.concatenate([self.vertices_m, vertices_m]),
            edges=np.concatenate([self.edges, edges]),
            kind=np.append(self.kind, np.full(len(edges), LANE, np.uint8)),
            lane=np.append(self.lane, np.full(len(edges), -1)),
        )

    def take_vertices(self, kept: AnyArray) -> LaneGraph:
        """Some vertices, by mask or ascending index, and the edges among them."""
        index = np.flatnonzero(kept) if kept.dtype == np.bool_ else np.asarray(kept)
        place = np.full(len(self), -1, np.int64)
        place[index] = np.arange(len(index))
        inside = (place[self.edges] >= 0).all(1)
        return replace(
            self,
            vertices_m=self.vertices_m[index],
            edges=place[self.edges[inside]],
            kind=self.kind[inside],
            lane=self.lane[inside],
        )


@dataclass(frozen=True)
class StreetMap:
    """A lane graph that is somewhere; its name is that of a city, a tile, a log, unique in a library.

    `crs` is what pyproj reads (EPSG code, PROJ string, WKT) such that `vertices_m` are (easting, northing) of it; None
    for a local frame.
    """

    name: str
    graph: LaneGraph
    crs: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise MapInputError("a street map has no name", "give one, such as the city or the file's name")


def _typed(name: str, array: Any, shape: tuple[int, ...], dtype: type) -> None:
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise MapInputError(f"{name} of the lane graph is {found}", f"give {np.dtype(dtype)} {shape}")
