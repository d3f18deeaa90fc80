"""Write street maps into a .fold file: one layer, a region a map, tiles of lane graph with places and embeddings.

Tile (column, row) of the layer belongs to region ``row >> 16``; within it, ``column`` and ``(row & 0xffff) - 32768``
count tiles from the region's origin. What a tile holds depends on the graph within it alone, so an update writes the
tiles that changed and no others; embeddings alone look beyond their tile, as far as the window reaches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from foldmap.atlas import FoldWriter
from foldmap.errors import ConfigError, MapInputError
from foldmap.street.defaults import shelf
from foldmap.street.embed import embed_places
from foldmap.street.graph.codec import without_lanes
from foldmap.street.graph.grid import GridGraph, to_grid
from foldmap.street.graph.tiling import MAX_TILE, TileGraph, TilePosition, join_tiles, split_tiles
from foldmap.street.graph.window import AROUND
from foldmap.street.model import EmbeddingModel
from foldmap.street.places import SPACING_M, Places, first_of_near, on_edges, unlike
from foldmap.street.source import LaneAttributes, LaneGraph, StreetMap
from foldmap.street.tile import PARTS, StreetTile, candidates, coded_order, pack_tile
from foldmap.street.vectors import FORMS, VectorCodec
from foldmap.types import AnyArray, FloatArray

LAYER = "street"
CODEC = "lanes-1"
MODEL, VECTORS_MODEL = "embedding", "codebooks"
MAX_REGIONS = 4096
LANES = ("none", "traits", "all")


@dataclass(frozen=True)
class StreetPlan:
    """How street maps are stored.

    Attributes:
        error_m: largest distance between original and stored lane lines.
        tile_m: side of a tile; larger tiles cost fewer bytes, smaller ones are quicker to read and to replace.
        spacing_m: between places along a lane; 0: no places.
        vectors: how embeddings are stored, one of `foldmap.street.vectors.FORMS`; "none": they are drawn from the
            graph when they are wanted, which is as exact and costs seconds for every 10,000 places.
        parts: bytes of an embedding with "pq".
        lanes: attributes to keep: "none", "traits" (width, speed, type) or "all" (the lanes' names too).
        most_cosine: places within 25 m whose embeddings are more alike than this are one; None: all stay.
        model: makes the embeddings; None: places and graphs only.
        embed_model: put a model that ships into the file, too; else the file names it. Others are always put in.
        seed: of codebooks.

    Raises:
        ConfigError: a plan that makes no sense.
    """

    error_m: float = 0.10
    tile_m: float = 512.0
    spacing_m: float = SPACING_M
    vectors: str = "none"
    parts: int = 64
    lanes: str = "none"
    most_cosine: float | None = None
    model: EmbeddingModel | None = field(default=None, kw_only=True)
    embed_model: bool = field(default=False, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if not 0.001 <= self.error_m <= 10 or not 10 * self.error_m <= self.tile_m <= 1e6:
            tiles = f"tiles of {self.tile_m} m with an error of {self.error_m} m"
            raise ConfigError(tiles, "give an error from 1 mm, larger tiles")
        if self.vectors not in ("none", *FORMS) or self.lanes not in LANES:
            forms = f"one of none, {FORMS}, one of {LANES}"
            raise ConfigError(f"vectors {self.vectors!r}, lanes {self.lanes!r}", forms)
        if not (self.spacing_m == 0 or 1 <= self.spacing_m <= 1000):
            raise ConfigError(f"places every {self.spacing_m} m", "give 1 to 1,000 metres, or 0 for none")


@dataclass(frozen=True)
class StreetReport:
    """How many of each are stored, and bytes by use: "graph", "places", "vectors", "lanes", "headers", "model"."""

    regions: int
    tiles: int
    places: int
    lane_km: float
    bytes: Mapping[str, int]

    @property
    def bytes_per_km(self) -> dict[str, float]:
        """Bytes a lane-km of each use and of all; those of the model are of no place, so not a km."""
        return bytes_per_km(self.bytes, self.lane_km)


def bytes_per_km(used: Mapping[str, int], lane_km: float) -> dict[str, float]:
    """Bytes a lane-km of each use and of all, rounded; the model's are of no place, so left out."""
    per_km = {use: round(size / max(lane_km, 1e-9), 1) for use, size in used.items() if use != "model"}
    return {**per_km, "all": round(sum(per_km.values()), 1)}


@dataclass
class CodedRegion:
    """A region as it will be decoded: all of its grid, edges in the order of the tiles, and those by row, then column.

    ``graphs`` are coded, of each tile whose graph was not known before.
    """

    grid: GridGraph
    tiles: dict[TilePosition, StreetTile]
    graphs: dict[TilePosition, bytes]

    def places(self, position: TilePosition) -> Places:
        """The places of one tile, in the region's frame, edges numbered within the tile."""
        tile = self.tiles[position]
        return on_edges(tile.part.grid.graph(), tile.edge, tile.along.astype(np.float64) * self.grid.step_m)


def fold_street(
    writer: FoldWriter,
    maps: Sequence[StreetMap],
    plan: StreetPlan | None = None,
    *,
    layer: str = LAYER,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> StreetReport:
    """Fold street maps into a file that is being written; a layer of that name is replaced whole.

    Args:
        writer: of the file; the caller commits.
        maps: one a region; names must differ.
        plan: see there.
        layer: its name.
        report: called with maps done and in all.

    Raises:
        MapInputError: no map, two of one name, a map without lanes, or one that reaches too far.
        ConfigError: a plan that makes no sense.
        ModelError: the model makes other vectors than it says.
    """
    plan = plan or StreetPlan()
    _check(maps)
    step = to_grid(LaneGraph.empty(), plan.error_m).step_m
    side = max(16, round(plan.tile_m / step))
    spacing = max(1, round(plan.spacing_m / step)) if plan.spacing_m else 0
    coded: list[CodedRegion] = []
    regions: list[dict[str, Any]] = []
    for one in maps:
        grid = to_grid(with_lanes(one.graph, plan.lanes), plan.error_m)
        left, low = (grid.xy.min(axis=0) // side * side).tolist()
        coded.append(code_region(grid, (left, low), side, spacing))
        regions.append({"name": one.name, "crs": one.crs, "origin": [left, low]})
    codec = embed_regions(coded, plan)
    writer.put_layer(layer, "street", {})
    used = Counter(dict.fromkeys((*PARTS, "headers", "model"), 0))
    for number, region in enumerate(coded):
        for position in region.tiles:
            payload, sizes = pack_tile(region.graphs[position], region.tiles[position], spacing, plan.lanes)
            writer.put_tile(layer, *tile_key(number, position), payload)
            used.update(sizes, headers=len(payload) - sum(sizes.values()))
        regions[number] |= region_facts(region, regions[number]["origin"], side)
        report(number + 1, len(maps))
    used["model"] = _put_models(writer, layer, plan, codec)
    window = AROUND if plan.model is None else plan.model.window
    facts = {
        "codec": CODEC,
        "step_m": step,
        "error_m": plan.error_m,
        "tile": side,
        "spacing": spacing,
        "lanes": plan.lanes,
        "model": None if plan.model is None else plan.model.name,
        "window_m": [window.back_m, window.ahead_m, window.right_m, window.left_m],
        "vectors": "none" if codec is None else codec.form,
        "dimension": 0 if codec is None else codec.dimension,
        "most_cosine": plan.most_cosine,
        "regions": regions,
    }
    writer.set_parameters(layer, facts)
    places = sum(int(region["places"]) for region in regions)
    length = sum(float(region["length_m"]) for region in regions) / 1000
    return StreetReport(len(maps), sum(len(region.tiles) for region in coded), places, length, used)


def with_lanes(graph: LaneGraph, kept: str) -> LaneGraph:
    """A graph with what a file keeps of its lanes (`LANES`); with "traits", lanes of equal traits are one."""
    if kept == "none":
        return without_lanes(graph)
    if kept == "all" or not graph.lanes:
        return graph
    bare = [replace(lane, identity="") for lane in graph.lanes]
    table = list(dict.fromkeys(bare))
    place = {lane: number for number, lane in enumerate(table)}
    number = np.array([*(place[lane] for lane in bare), -1], np.int64)
    return replace(graph, lane=number[graph.lane], lanes=tuple(table))


def tile_key(region: int, position: TilePosition) -> tuple[int, int]:
    """``(column, row)`` in the layer."""
    return position[0], (region << 16) + MAX_TILE + position[1]


def code_region(
    grid: GridGraph,
    origin: tuple[int, int],
    side: int,
    spacing: int,
    known: Mapping[TilePosition, TileGraph] = MappingProxyType({}),
) -> CodedRegion:
    """Cut a region into tiles, code their graphs, and put places on what decodes.

    Graphs that are ``known``, as they decode, are not coded again.
    """
    tiles, graphs = {}, {}
    for position, part in split_tiles(grid, origin, side).items():
        decoded = known.get(position)
        if decoded is None or not _same_graph(part, decoded):
            graphs[position], decoded = coded_order(part)
        edge, along = candidates(decoded.grid, spacing)
        kept = first_of_near(on_edges(decoded.grid.graph(), edge, along.astype(np.float64) * grid.step_m))
        tiles[position] = StreetTile(decoded, edge[kept], along[kept])
    whole, _ = join_tiles([tile.part for tile in tiles.values()], grid.step_m)
    return CodedRegion(whole, tiles, graphs)


def _same_graph(one: TileGraph, other: TileGraph) -> bool:
    """Whether two tiles are the same but for the order of vertices and edges."""
    if len(one.grid) != len(other.grid) or len(one.grid.edges) != len(other.grid.edges):
        return False
    (arrays, lanes), (others, other_lanes) = _in_order(one), _in_order(other)
    return lanes == other_lanes and all(np.array_equal(a, b) for a, b in zip(arrays, others, strict=True))


def _in_order(part: TileGraph) -> tuple[list[AnyArray], list[LaneAttributes | None]]:
    grid = part.grid
    vertex = np.lexsort((part.rank, grid.xy[:, 1], grid.xy[:, 0]))
    edges = np.argsort(vertex)[grid.edges]
    edge = np.lexsort((edges[:, 1], edges[:, 0]))
    lanes = [grid.lanes[k] if k >= 0 else None for k in grid.lane[edge].tolist()]
    return [grid.xy[vertex], part.rank[vertex], edges[edge], grid.kind[edge]], lanes


def embed_tile(
    region: CodedRegion, position: TilePosition, model: EmbeddingModel, most_cosine: float | None
) -> tuple[StreetTile, FloatArray]:
    """A tile without places that look like their neighbours, and the embeddings of the rest, float32 (P, D) unit rows.

    Windows look over the tile's rim.
    """
    tile, places = region.tiles[position], region.places(position)
    found = embed_places(region.grid.graph(), places, model)
    if most_cosine is None:
        return tile, found
    kept = unlike(found, places, most_cosine)
    return StreetTile(tile.part, tile.edge[kept], tile.along[kept]), found[kept]


def embed_regions(coded: Sequence[CodedRegion], plan: StreetPlan) -> VectorCodec | None:
    """Give every tile its embeddings, and drop places that look like their neighbours; each if the plan says so."""
    model = plan.model
    if model is None or (plan.vectors == "none" and plan.most_cosine is None):
        return None
    rows: dict[tuple[int, TilePosition], FloatArray] = {}
    for number, region in enumerate(coded):
        for position in region.tiles:
            region.tiles[position], rows[number, position] = embed_tile(region, position, model, plan.most_cosine)
    if plan.vectors == "none":
        return None
    every = np.concatenate([np.zeros((0, model.dim), np.float32), *rows.values()])
    codec = VectorCodec.fit(plan.vectors if len(every) else "int8", every, parts=plan.parts, seed=plan.seed)
    for (number, position), found in rows.items():
        tiles = coded[number].tiles
        tiles[position] = replace(tiles[position], vectors=codec.encode(found))
    return codec


def region_facts(region: CodedRegion, origin: Sequence[int], side: int) -> dict[str, Any]:
    """What the parameters say of a region: how many edges and places, how long, how far edges leave their tiles."""
    reach = 0
    for position, tile in region.tiles.items():
        low = np.array(origin) + np.array(position) * side
        xy = tile.part.grid.xy
        reach = max(reach, int((low - xy.min(axis=0)).max()), int((xy.max(axis=0) - low - side).max()))
    return {
        "edges": len(region.grid.edges),
        "places": sum(len(tile.edge) for tile in region.tiles.values()),
        "length_m": round(region.grid.graph().length_m, 1),
        "reach": max(0, reach),
    }


def _check(maps: Sequence[StreetMap]) -> None:
    if not maps or len(maps) > MAX_REGIONS:
        raise MapInputError(f"{len(maps)} street maps to fold", f"give 1 to {MAX_REGIONS}")
    name, times = min(Counter(one.name for one in maps).items(), key=lambda row: (row[1] == 1, row[0]))
    if times > 1:
        raise MapInputError(f"two street maps are named {name!r}", "rename one")
    for one in maps:
        if not len(one.graph.edges):
            raise MapInputError(f"the street map {one.name!r} has no lanes", "leave it out")


def _put_models(writer: FoldWriter, layer: str, plan: StreetPlan, codec: VectorCodec | None) -> int:
    size = 0
    if plan.model is not None:
        payload = plan.model.payload()
        data = shelf().stored(payload, embed=plan.embed_model) or payload
        writer.put_model(layer, MODEL, data, "embedding")
        size += len(data)
    if codec is not None and codec.quantizer is not None:
        writer.put_model(layer, VECTORS_MODEL, codec.model(), "vector codec")
        size += len(codec.model())
    return size
