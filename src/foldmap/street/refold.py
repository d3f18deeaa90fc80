"""Put a changed lane graph into a .fold file: one transaction that writes the tiles that changed and no others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.atlas import FoldFile, update
from foldmap.errors import ConfigError, MapInputError, ModelError
from foldmap.street.fold import LAYER, Laid, embed_tile, lay_region, region_facts, tile_key, with_lanes
from foldmap.street.graph.grid import GridGraph, to_grid
from foldmap.street.graph.tiling import TilePosition, join_tiles
from foldmap.street.model import EmbeddingModel
from foldmap.street.places import unlike
from foldmap.street.source import LaneGraph
from foldmap.street.tile import StreetTile, pack_tile
from foldmap.street.unfold import Region, StreetLayer
from foldmap.types import BoolArray, DoubleArray

_SAME_M = 1e-6


@dataclass(frozen=True)
class StreetUpdate:
    """What an update wrote.

    Attributes:
        changed: tiles whose graph is another than before, new ones included.
        removed: tiles that hold nothing any more.
        embedded: tiles whose places were embedded again: those and the ones whose windows reach them.
        kept: tiles that stayed bit for bit.
        places: embedded again.
    """

    changed: tuple[TilePosition, ...]
    removed: tuple[TilePosition, ...]
    embedded: tuple[TilePosition, ...]
    kept: int
    places: int


def update_street(
    path: str | Path,
    region: str,
    graph: LaneGraph,
    *,
    model: EmbeddingModel | None = None,
    layer: str = LAYER,
) -> StreetUpdate:
    """Replace the lane graph of a region.

    Vertices that are where the file's are stay where they are, to the bit: edit what `StreetLayer.graph` gives and pass
    it back, and only the tiles of what was edited change.

    Args:
        path: the file.
        region: whose graph is replaced.
        graph: all of the new graph, in the region's frame.
        model: that made the file's embeddings; needed where they are stored, or thin the places out.
        layer: name of the street layer.

    Raises:
        LayerError: no such layer or region.
        ConfigError: places or stored embeddings depend on a model, and none is given.
        ModelError: a model of another name, size or window.
        MapInputError: the new graph has no lanes, or reaches too far.
    """
    with update(path) as updater:
        with FoldFile.open(path) as file:
            source = StreetLayer(file, layer)
            found = source.region(region)
            _check(source, graph, model)
            before = dict(source.tiles(found))
            old = join_tiles([tile.part for tile in before.values()], source.step_m)[0]
        keeps = with_lanes(graph, source.lanes)
        grid = to_grid(keeps, source.error_m, source.step_m, _unmoved(keeps, old))
        laid = lay_region(grid, found.origin, source.parameters["tile"], source.spacing)
        changed = [key for key in laid.tiles if not _same(laid, before, key)]
        removed = [key for key in before if key not in laid.tiles]
        embeds = model if depends_on_model(source) else None
        seen = _reached(source, found, laid, before, [*changed, *removed]) if embeds is not None else changed
        places = 0
        for key in list(laid.tiles):
            if key not in seen:
                laid.tiles[key] = before[key]
                continue
            if embeds is not None:
                laid.tiles[key] = _embedded(source, laid, key, embeds)
            places += len(laid.tiles[key].edge)
            payload, _ = pack_tile(laid.graphs[key], laid.tiles[key], source.spacing, source.lanes)
            updater.put_tile(layer, *tile_key(found.number, key), payload)
        for key in removed:
            updater.remove_tile(layer, *tile_key(found.number, key))
        facts = region_facts(laid, found.origin, source.parameters["tile"])
        regions = [dict(row) for row in source.parameters["regions"]]
        regions[found.number] |= facts
        updater.set_parameters(layer, {**source.parameters, "regions": regions})
    return StreetUpdate(tuple(changed), tuple(removed), tuple(seen), len(laid.tiles) - len(seen), places)


def _check(source: StreetLayer, graph: LaneGraph, model: EmbeddingModel | None) -> None:
    if not len(graph.edges):
        raise MapInputError("the new street map has no lanes", "give the whole graph of the region")
    if model is None:
        if depends_on_model(source):
            raise ConfigError(
                "the street layer has embeddings that would no longer fit", "give the model that made them"
            )
        return
    if source.model_name is None:
        raise ModelError("the street layer has no embeddings to replace", "fold the map with the model")
    dimension = model.dim if source.codec is None else source.dimension
    if (model.name, model.dim, model.window) != (source.model_name, dimension, source.window):
        raise ModelError(
            f"the model {model.name} of {model.dim} numbers did not make the embeddings, {source.model_name} did",
            "give that one, or fold the map again",
        )


def depends_on_model(source: StreetLayer) -> bool:
    """Whether what the tiles hold depends on the model, beside the graph."""
    return source.codec is not None or isinstance(source.parameters.get("most_cosine"), int | float)


def _unmoved(graph: LaneGraph, old: GridGraph) -> BoolArray:
    """Which vertices of a graph are vertices of the old one."""
    rounded = np.rint(graph.vertices_m / old.step_m).astype(np.int64)
    exact = (np.abs(graph.vertices_m - rounded * old.step_m) < _SAME_M).all(axis=1)
    both = np.concatenate([old.xy, rounded])
    _, number = np.unique(both, axis=0, return_inverse=True)
    unmoved: BoolArray = exact & np.isin(number.ravel()[len(old.xy) :], number.ravel()[: len(old.xy)])
    return unmoved


def _same(laid: Laid, before: dict[TilePosition, StreetTile], key: TilePosition) -> bool:
    if key not in before:
        return False
    new, old = laid.tiles[key], before[key]
    a, b = new.part, old.part
    same = np.array_equal(a.grid.xy, b.grid.xy) and np.array_equal(a.grid.edges, b.grid.edges)
    same = same and np.array_equal(a.grid.kind, b.grid.kind) and np.array_equal(a.rank, b.rank)
    return same and _lanes(new) == _lanes(old)


def _lanes(tile: StreetTile) -> list[object]:
    grid = tile.part.grid
    return [grid.lanes[k] if k >= 0 else None for k in grid.lane.tolist()]


def _embedded(source: StreetLayer, laid: Laid, key: TilePosition, model: EmbeddingModel) -> StreetTile:
    tile = laid.tiles[key]
    rows = embed_tile(laid, key, model)
    most = source.parameters.get("most_cosine")
    edge, along = tile.edge, tile.along
    if isinstance(most, int | float):
        kept = unlike(rows, laid.places(key), float(most))
        rows, edge, along = rows[kept], edge[kept], along[kept]
    return StreetTile(tile.part, edge, along, b"" if source.codec is None else source.codec.encode(rows))


def _reached(
    source: StreetLayer,
    region: Region,
    laid: Laid,
    before: dict[TilePosition, StreetTile],
    changed: list[TilePosition],
) -> list[TilePosition]:
    """Tiles with places whose windows reach an edge of a changed tile, before or after; changed ones included."""
    boxes = []
    for key in changed:
        boxes += [_box(tiles[key]) for tiles in (laid.tiles, before) if key in tiles]
    away = source.window.radius_m / source.step_m + 1
    seen = []
    for key, tile in laid.tiles.items():
        low, high = _box(tile)
        near = any(((low - away <= top) & (high + away >= bottom)).all() for bottom, top in boxes)
        if key in changed or (near and len(tile.edge)):
            seen.append(key)
    return seen


def _box(tile: StreetTile) -> tuple[DoubleArray, DoubleArray]:
    xy = tile.part.grid.xy.astype(np.float64)
    return xy.min(axis=0), xy.max(axis=0)
