"""Put a changed lane graph into a .fold file: the tiles that changed are written and no others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from foldmap.atlas import FoldUpdater
from foldmap.errors import MapInputError, ModelError
from foldmap.street.fold import LAYER, CodedRegion, code_region, embed_tile, region_facts, tile_key, with_lanes
from foldmap.street.graph.grid import GridGraph, to_grid
from foldmap.street.graph.tiling import TilePosition, join_tiles
from foldmap.street.model import EmbeddingModel
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.street.tile import StreetTile, coded_order, pack_tile
from foldmap.street.unfold import FoldedStreet
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
    updater: FoldUpdater, street_map: StreetMap, *, model: EmbeddingModel | None = None, layer: str = LAYER
) -> StreetUpdate:
    """Replace the lane graph of the region that a street map is named as.

    Vertices that are where the file's are stay where they are, to the bit: edit what `graph` gives and pass
    it back, or pass what the file was folded of with some of it changed, and only the tiles of what was edited change.

    Args:
        updater: of the file; the caller commits.
        street_map: all of the region, in its frame.
        model: that made the file's embeddings; None: the file's own, where tiles depend on it.
        layer: name of the street layer.

    Raises:
        LayerError: no such layer or region.
        ModelError: a model of another name, size or window, or one that is not installed here.
        MapInputError: the new graph has no lanes, reaches too far, or is in another frame.
    """
    source = FoldedStreet(updater.before, layer)
    found = source.region(street_map.name)
    if not len(street_map.graph.edges):
        raise MapInputError("the new street map has no lanes", "give the whole graph of the region")
    if street_map.crs != found.crs:
        new, old_frame = (crs or "a local frame" for crs in (street_map.crs, found.crs))
        cure = "give it in the region's frame, or fold the maps anew"
        raise MapInputError(f"the new map of {found.name!r} is in {new}, the region in {old_frame}", cure)
    model = _model(source, model)
    before = dict(source.tiles(found))
    old = join_tiles([tile.part for tile in before.values()], source.step_m)[0]
    keeps = with_lanes(street_map.graph, source.lanes)
    grid = to_grid(keeps, source.error_m, source.step_m, _unmoved(keeps, old))
    known = {key: tile.part for key, tile in before.items()}
    region = code_region(grid, found.origin, source.parameters["tile"], source.spacing, known)
    changed = [key for key in region.tiles if key in region.graphs]
    removed = [key for key in before if key not in region.tiles]
    embedded = changed if model is None else _reached(source, region, before, changed, removed)
    places = 0
    for key in list(region.tiles):
        if key not in embedded:
            region.tiles[key] = before[key]
            continue
        if model is not None:
            tile, rows = embed_tile(region, key, model, source.parameters.get("most_cosine"))
            region.tiles[key] = replace(tile, vectors=b"" if source.codec is None else source.codec.encode(rows))
        places += len(region.tiles[key].edge)
        graph = region.graphs.get(key) or coded_order(region.tiles[key].part)[0]
        payload, _ = pack_tile(graph, region.tiles[key], source.spacing, source.lanes)
        updater.put_tile(layer, *tile_key(found.number, key), payload)
    for key in removed:
        updater.remove_tile(layer, *tile_key(found.number, key))
    regions = [dict(row) for row in source.parameters["regions"]]
    regions[found.number] |= region_facts(region, found.origin, source.parameters["tile"])
    updater.set_parameters(layer, {**source.parameters, "regions": regions})
    return StreetUpdate(tuple(changed), tuple(removed), tuple(embedded), len(region.tiles) - len(embedded), places)


def _model(source: FoldedStreet, given: EmbeddingModel | None) -> EmbeddingModel | None:
    """The model that tiles have to be embedded with again, None where nothing in them but the graph depends on one."""
    depends = source.codec is not None or isinstance(source.parameters.get("most_cosine"), int | float)
    model = given or (source.model() if depends else None)
    if model is None:
        return None
    if source.model_name is None:
        raise ModelError("the street layer has no embeddings to replace", "fold the map with the model")
    dimension = model.dim if source.codec is None else source.dimension
    if (model.name, model.dim, model.window) != (source.model_name, dimension, source.window):
        wrong = f"the model {model.name} of {model.dim} numbers did not make the embeddings, {source.model_name} did"
        raise ModelError(wrong, "give that one, or fold the map again")
    return model if depends else None


def _unmoved(graph: LaneGraph, old: GridGraph) -> BoolArray:
    """Which vertices of a graph are vertices of the old one."""
    rounded = np.rint(graph.vertices_m / old.step_m).astype(np.int64)
    exact = (np.abs(graph.vertices_m - rounded * old.step_m) < _SAME_M).all(axis=1)
    both = np.concatenate([old.xy, rounded])
    _, number = np.unique(both, axis=0, return_inverse=True)
    return exact & np.isin(number.ravel()[len(old.xy) :], number.ravel()[: len(old.xy)])


def _reached(
    source: FoldedStreet,
    region: CodedRegion,
    before: dict[TilePosition, StreetTile],
    changed: list[TilePosition],
    removed: list[TilePosition],
) -> list[TilePosition]:
    """Tiles with places whose windows reach an edge of a changed tile, before or after; changed ones included."""
    boxes = []
    for key in (*changed, *removed):
        boxes += [_box(tiles[key]) for tiles in (region.tiles, before) if key in tiles]
    away = source.window.radius_m / source.step_m + 1
    seen = []
    for key, tile in region.tiles.items():
        low, high = _box(tile)
        near = any(((low - away <= top) & (high + away >= bottom)).all() for bottom, top in boxes)
        if key in changed or (near and len(tile.edge)):
            seen.append(key)
    return seen


def _box(tile: StreetTile) -> tuple[DoubleArray, DoubleArray]:
    xy = tile.part.grid.xy.astype(np.float64)
    return xy.min(axis=0), xy.max(axis=0)
