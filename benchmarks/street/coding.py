"""Row 5: bytes of lane graphs in a real file, with the error of their lines measured and their topology compared."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.spatial import cKDTree

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_most, information
from benchmarks.street.data import street
from benchmarks.street.topology import same_topology
from foldmap.atlas import FoldFile, FoldWriter
from foldmap.errors import MissingExtraError
from foldmap.formats.street.maps import read_street_maps
from foldmap.street.fold import StreetPlan, fold_street
from foldmap.street.graph.chains import chains
from foldmap.street.graph.codec import without_lanes
from foldmap.street.graph.grid import to_grid
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.street.unfold import FoldedStreet
from foldmap.types import DoubleArray, IntArray

SOURCES = {
    "aerial": "aerial",
    "argoverse2": "argoverse2/log_map_archive_*.json",
    "lanelet2": "lanelet2/*.osm",
    "nuscenes": "nuscenes-lanes/lanes.npz",
    "sumo": "sumo/*.net.xml.gz",
}
"""Name -> where its maps lie in the street recordings."""
_SAMPLE_M = 0.25
_NEAR = 12


@dataclass(frozen=True)
class Coding:
    """Row 5. All maps of a source are folded into one file, and the graphs that are measured are read back from it.

    Attributes:
        error_m: asked of the coder; what is measured must not exceed it.
        most_bytes_km: target, of the graph part.
        sources: of `SOURCES`.
    """

    number: ClassVar[int] = 5
    name: ClassVar[str] = "code"
    title: ClassVar[str] = "lane graphs in few bytes"
    error_m: float = 0.10
    most_bytes_km: float = 2000.0
    sources: tuple[str, ...] = tuple(SOURCES)

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = street(board)
        for source in self.sources:
            try:
                maps = read_source(board.data, source)
            except RowSkipped as skipped:
                yield Line(self.number, source, None, note=str(skipped))
                continue
            yield from self._measured(source, maps, board.scratch / f"{source}.fold")

    def _measured(self, source: str, maps: Sequence[StreetMap], path: Path) -> Iterator[Line]:
        with FoldWriter(path) as writer:
            report = fold_street(writer, maps, StreetPlan(error_m=self.error_m))
            writer.commit()
        kilometres = sum(one.graph.length_m for one in maps) / 1000
        worst, same = 0.0, 0
        with FoldFile.open(path) as file:
            layer = FoldedStreet(file)
            for one in maps:
                truth, back = without_lanes(one.graph), layer.graph(one.name)
                worst = max(worst, apart_m(truth, back), apart_m(back, truth))
                same += same_topology(truth, back, 2 * self.error_m)
        packed = sum(len(topojson_xz(to_grid(without_lanes(one.graph), self.error_m))) for one in maps)
        n = self.number
        yield at_most(
            n, f"{source}: graph", report.bytes["graph"] / kilometres, self.most_bytes_km, "bytes/km",
            note=f"{len(maps)} maps, {kilometres:.1f} lane km",
        )  # fmt: skip
        yield at_most(n, f"{source}: largest error of a line, measured", 100 * worst, 100 * self.error_m, "cm")
        yield at_most(n, f"{source}: maps whose topology differs", len(maps) - same, 0)
        size = path.stat().st_size
        yield information(n, f"{source}: whole file, with places", size / kilometres, "bytes/km")
        yield information(n, f"{source}: quantized TopoJSON, xz", packed / kilometres, "bytes/km")


def read_source(data: Path, source: str) -> list[StreetMap]:
    """All street maps of a source that have lanes, their names made unique.

    Raises:
        RowSkipped: none is here, or reading them needs what is not installed.
    """
    paths = sorted(data.glob(SOURCES[source]))
    if not paths:
        raise RowSkipped(f"skipped: no recordings at {data / SOURCES[source]}")
    maps: list[StreetMap] = []
    try:
        for path in paths:
            for one in read_street_maps(path):
                if len(one.graph.edges):
                    maps.append(replace(one, name=f"{len(maps)}-{one.name}"))
    except MissingExtraError as error:
        raise RowSkipped(f"skipped: {error.message} ({error.cure})") from error
    return maps


def apart_m(one: LaneGraph, other: LaneGraph) -> float:
    """Largest distance from a line of one graph, sampled every 0.25 m, to the nearest line of the other."""
    at, _ = _sampled(one, _SAMPLE_M)
    near, edge = _sampled(other, _SAMPLE_M)
    if not len(at) or not len(near):
        return 0.0 if len(at) == len(near) else float("inf")
    rows = cKDTree(near).query(at, k=min(_NEAR, len(near)))[1].reshape(len(at), -1)
    a, b = (other.vertices_m[other.edges[edge[rows], end]] for end in (0, 1))
    step = b - a
    square = np.maximum((step * step).sum(-1), 1e-18)
    share = np.clip(((at[:, None] - a) * step).sum(-1) / square, 0, 1)
    away = at[:, None] - a - share[..., None] * step
    return float(np.sqrt((away * away).sum(-1)).min(1).max())


def _sampled(graph: LaneGraph, step_m: float) -> tuple[DoubleArray, IntArray]:
    """Points along every edge, ends included, and the edge of each."""
    pieces = np.maximum(1, np.ceil(graph.edge_lengths_m / step_m).astype(np.int64))
    edge = np.repeat(np.arange(len(pieces)), pieces + 1)
    rank = np.arange(len(edge)) - np.repeat(np.cumsum(pieces + 1) - pieces - 1, pieces + 1)
    a, b = graph.vertices_m[graph.edges[edge, 0]], graph.vertices_m[graph.edges[edge, 1]]
    at: DoubleArray = a + (rank / pieces[edge])[:, None] * (b - a)
    return at, edge.astype(np.int64)


def topojson_xz(grid: Any) -> bytes:
    """The baseline: the same quantized, simplified lines as delta-coded arcs in TopoJSON, packed by xz."""
    graph = grid.graph()
    found = chains(graph)
    arcs, kinds = [], []
    for number in range(len(found)):
        edge = found.edge[found.offset[number] : found.offset[number + 1]]
        xy = grid.xy[np.append(graph.edges[edge, 0], graph.edges[edge[-1], 1])]
        arcs.append([xy[0].tolist(), *np.diff(xy, axis=0).tolist()])
        kinds.append(int(graph.kind[edge[0]]))
    whole = {"type": "Topology", "transform": {"scale": [grid.step_m, grid.step_m]}, "arcs": arcs, "kinds": kinds}
    return lzma.compress(json.dumps(whole, separators=(",", ":")).encode(), preset=9 | lzma.PRESET_EXTREME)
