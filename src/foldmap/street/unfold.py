"""Read the street layer of a .fold file: regions, their lane graphs, places and embeddings, tile by tile as needed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.atlas import FoldFile
from foldmap.atlas.parameters import number_of, value_of, whole_of
from foldmap.errors import ConfigError, FoldmapError, LayerError, LimitError, MapFormatError
from foldmap.street.defaults import shelf
from foldmap.street.embed import embed_places
from foldmap.street.fold import CODEC, LANES, LAYER, MAX_REGIONS, MODEL, VECTORS_MODEL, tile_key
from foldmap.street.graph.grid import GridGraph
from foldmap.street.graph.tiling import MAX_TILE, TilePosition, join_tiles
from foldmap.street.graph.window import Window
from foldmap.street.model import EmbeddingModel, read_model
from foldmap.street.places import EdgeIndex, Places, on_edges
from foldmap.street.source import LaneGraph
from foldmap.street.tile import PARTS, StreetTile, tile_sizes, unpack_tile
from foldmap.street.vectors import FORMS, MAX_DIMENSION, VectorCodec
from foldmap.types import FloatArray, IntArray

MAX_EDGES = 1 << 25
_MOST = 1 << 50
_CURE = "fold the map again"


@dataclass(frozen=True)
class Region:
    """One street map of a layer, of a name that no other has; ``crs`` is what pyproj reads, None for a local frame.

    ``number`` is that of its block of tiles, ``origin`` the grid coordinates of the lower left corner of its tile
    (0, 0), ``reach`` the most grid steps by which edges leave the tile that they are in; ``length_m`` is of all lanes.
    """

    name: str
    crs: str | None
    number: int
    origin: tuple[int, int]
    reach: int
    edges: int
    places: int
    length_m: float


class FoldedStreet:
    """A folded street map.

    Args:
        file: an open .fold file.
        name: of its street layer.

    Raises:
        LayerError: no such layer, or one of another kind.
        MapFormatError: the layer's parameters do not make sense.
    """

    def __init__(self, file: FoldFile, name: str = LAYER) -> None:
        info = file.layer(name)
        if info.kind != "street":
            raise LayerError(f"layer {name!r} is a {info.kind} layer, not a street layer", "name a street layer")
        self._file, self._name, self.parameters = file, name, info.parameters
        if value_of(info.parameters, "street", "codec", str) != CODEC:
            raise MapFormatError(f"lane graphs are coded as {info.parameters['codec']!r}", "update foldmap")
        self.step_m = number_of(info.parameters, "street", "step_m", 1e-6, 1e6)
        self.error_m = number_of(info.parameters, "street", "error_m", 1e-6, 1e6)
        self.spacing = whole_of(info.parameters, "street", "spacing", 0, 1 << 40)
        self._side = whole_of(info.parameters, "street", "tile", 1, 1 << 40)
        self.dimension = whole_of(info.parameters, "street", "dimension", 0, MAX_DIMENSION)
        self.lanes = value_of(info.parameters, "street", "lanes", str)
        if self.lanes not in LANES:
            raise MapFormatError(f"the street layer keeps lanes {self.lanes[:20]!r}", "update foldmap")
        self.window = _window(info.parameters)
        self.codec = self._vector_codec()
        kind = self.parameters.get("model")
        self.model_name = kind if isinstance(kind, str) else None
        self.regions = _regions(info.parameters)
        self._joined: dict[int, tuple[GridGraph, IntArray]] = {}
        self._tiles: dict[int, dict[TilePosition, StreetTile]] = {}
        self._model: EmbeddingModel | None = None
        self._drawn: dict[int, tuple[EmbeddingModel, FloatArray]] = {}

    def region(self, name: str) -> Region:
        """One region by name.

        Raises:
            LayerError: there is none of that name.
        """
        for region in self.regions:
            if region.name == name:
                return region
        there = ", ".join(region.name for region in self.regions[:8])
        raise LayerError(f"the street layer has no region {name!r}", f"regions there: {there}")

    def graph(self, region: str) -> LaneGraph:
        """The whole lane graph of a region, in metres of its frame."""
        return self._whole(self.region(region))[0].graph()

    def graph_near(self, region: str, x_m: float, y_m: float, radius_m: float) -> LaneGraph:
        """The edges that come within `radius_m` of a point in x and in y; reads the tiles around it only.

        Raises:
            ConfigError: a point or radius that is not finite.
        """
        if not (math.isfinite(x_m) and math.isfinite(y_m) and math.isfinite(radius_m) and radius_m >= 0):
            raise ConfigError(f"lanes within {radius_m} m of ({x_m}, {y_m})", "give finite metres")
        found = self.region(region)
        bounds = []
        for at, origin in zip((x_m, y_m), found.origin, strict=True):
            for sign in (-1, 1):
                steps = (at + sign * radius_m) / self.step_m + sign * (found.reach + 1) - origin
                bounds.append(int(np.clip(steps // self._side, -MAX_TILE, MAX_TILE - 1)))
        tiles = [self.tile(found, key).part for key in self._keys(found, *bounds)]
        graph = join_tiles(tiles, self.step_m)[0].graph()
        return graph.take_edges(EdgeIndex(graph).near(x_m, y_m, radius_m))

    def places(self, region: str) -> Places:
        """All places of a region; their edges are those of `graph`."""
        found = self.region(region)
        tiles = list(self.tiles(found).values())
        grid, offset = self._whole(found)
        none = np.zeros(0, np.int64)
        edge = np.concatenate([none, *(tile.edge + offset[k] for k, tile in enumerate(tiles))])
        along = np.concatenate([none, *(tile.along for tile in tiles)])
        places = on_edges(grid.graph(), edge, along * self.step_m)
        if len(places) != found.places:
            raise MapFormatError(f"region {region!r} has {len(places)} places, not the {found.places} it says", _CURE)
        return places

    def embeddings(
        self,
        region: str,
        model: EmbeddingModel | None = None,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> FloatArray:
        """Embeddings of a region's places, float32 (N, D) unit rows, in their order: what is stored, else drawn once.

        They are drawn by the given model, or the layer's own; ``report`` is called with places drawn and in all.

        Raises:
            LayerError: none are stored, and there is no model to draw them.
            ModelError: the layer's model is not installed here.
        """
        found = self.region(region)
        if self.codec is not None:
            rows = [self.codec.decode(tile.vectors, len(tile.edge)) for tile in self.tiles(found).values()]
            return np.concatenate([np.zeros((0, self.dimension), np.float32), *rows])
        model = model or self.model()
        kept = self._drawn.get(found.number)
        if kept is None or kept[0] is not model:
            kept = model, embed_places(self.graph(region), self.places(region), model, report)
            self._drawn[found.number] = kept
        return kept[1]

    def model(self) -> EmbeddingModel:
        """The model that makes the layer's embeddings, read once: held by the file, or shipped and named in it.

        Raises:
            LayerError: the layer was folded without one.
            ModelError: it is not installed here, or cannot be read.
        """
        if self._model is None:
            if self.model_name is None:
                raise LayerError("the street layer was folded without a model", "give one, or fold the map with one")
            self._model = read_model(self.model_bytes())
        return self._model

    def model_bytes(self, name: str = MODEL) -> bytes:
        """One of the layer's models: what the file holds, or the shipped one that it names.

        Raises `LayerError`: there is none of that name; `ModelError`: it is named, and not installed here.
        """
        return shelf().read(self._file, self._name, name)

    def byte_report(self) -> dict[str, Any]:
        """``lane_km``, and ``bytes`` of the layer by use: "graph", "places", "vectors", "lanes", "headers", "model"."""
        used = Counter(dict.fromkeys((*PARTS, "headers", "model"), 0))
        for key in self._file.tiles(self._name):
            payload = self._file.tile(self._name, *key) or b""
            sizes = tile_sizes(payload)[1]
            used.update(sizes, headers=len(payload) - sum(sizes.values()))
        used["model"] = sum(model.payload_bytes for model in self._file.layer(self._name).models)
        return {"lane_km": sum(region.length_m for region in self.regions) / 1000, "bytes": dict(used)}

    def tiles(self, region: Region) -> dict[TilePosition, StreetTile]:
        """All tiles of a region, decoded, ascending by row, then column; kept in memory.

        Raises:
            MapFormatError: damaged, or more in them than the region says.
        """
        if region.number not in self._tiles:
            found: dict[TilePosition, StreetTile] = {}
            edges = 0
            for key in self._keys(region, -MAX_TILE, MAX_TILE - 1, -MAX_TILE, MAX_TILE - 1):
                found[key] = self.tile(region, key)
                edges += len(found[key].part.grid.edges)
                if edges > region.edges:
                    raise MapFormatError(f"region {region.name!r} has more than the edges it says", _CURE)
            self._tiles[region.number] = found
        return self._tiles[region.number]

    def _whole(self, region: Region) -> tuple[GridGraph, IntArray]:
        if region.number not in self._joined:
            joined = join_tiles([tile.part for tile in self.tiles(region).values()], self.step_m)
            if (edges := len(joined[0].edges)) != region.edges:
                raise MapFormatError(f"region {region.name!r} has {edges} edges, not {region.edges}", _CURE)
            self._joined[region.number] = joined
        return self._joined[region.number]

    def _keys(self, region: Region, left: int, right: int, low: int, high: int) -> list[TilePosition]:
        base = tile_key(region.number, (0, 0))[1]
        keys = self._file.tiles_in(self._name, left, right + 1, base + low, base + high + 1)
        return [(column, row - base) for column, row in keys]

    def tile(self, region: Region, position: TilePosition) -> StreetTile:
        """One tile of a region, decoded; an empty one is a MapFormatError."""
        kept = self._tiles.get(region.number, {}).get(position)
        if kept is not None:
            return kept
        payload = self._file.tile(self._name, *tile_key(region.number, position))
        row_bytes = 0 if self.codec is None else self.codec.row_bytes
        return unpack_tile(payload or b"", self.step_m, self.spacing, row_bytes, region.edges)

    def _vector_codec(self) -> VectorCodec | None:
        form = value_of(self.parameters, "street", "vectors", str)
        if form == "none":
            return None
        if form not in FORMS or not self.dimension:
            raise MapFormatError(f"embeddings are stored as {form[:20]!r}", "update foldmap")
        if form == "pq":
            return VectorCodec.from_model(self.model_bytes(VECTORS_MODEL), self.dimension)
        return VectorCodec(form, self.dimension)


def _regions(parameters: dict[str, Any]) -> tuple[Region, ...]:
    rows = value_of(parameters, "street", "regions", list)
    if len(rows) > MAX_REGIONS:
        raise LimitError(f"the street layer declares {len(rows)} regions", _CURE)
    regions = []
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise MapFormatError(f"region {number} of the street layer is not an object", _CURE)
        origin, crs = value_of(row, "street", "origin", list), row.get("crs")
        if len(origin) != 2 or not all(type(v) is int and abs(v) < _MOST for v in origin):
            raise MapFormatError(f"region {number} of the street layer has the origin {origin!r}"[:120], _CURE)
        if not (crs is None or isinstance(crs, str)):
            raise MapFormatError(f"region {number} of the street layer has a crs of another type", _CURE)
        edges, places = whole_of(row, "street", "edges", 0, MAX_EDGES), whole_of(row, "street", "places", 0, MAX_EDGES)
        reach, length = whole_of(row, "street", "reach", 0, 1 << 40), number_of(row, "street", "length_m", 0.0, 1e12)
        name = value_of(row, "street", "name", str)
        regions.append(Region(name, crs, number, (origin[0], origin[1]), reach, edges, places, length))
    if len({region.name for region in regions}) < len(regions):
        raise MapFormatError("two regions of the street layer have one name", _CURE)
    return tuple(regions)


def _window(parameters: dict[str, Any]) -> Window:
    sides = value_of(parameters, "street", "window_m", list)
    if len(sides) != 4 or not all(type(v) in (int, float) for v in sides):
        raise MapFormatError("the street layer's window_m is no rectangle", _CURE)
    try:
        return Window(*map(float, sides))
    except FoldmapError as error:
        raise MapFormatError(f"the street layer's window_m: {error.message}", _CURE) from error
