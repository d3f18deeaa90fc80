"""Ortho tiles with hand-labelled lane graphs: ``tile_N_graph.npz``, ``tile_N.jpg``, and an ``index.json`` for all."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.street.reading import LeftOut, MapReading, naming_file, reading_of
from foldmap.formats.street.untrusted import open_npz, read_json
from foldmap.street.graph.repair import repair
from foldmap.street.source import LANE, LINK, StreetMap
from foldmap.types import ByteArray

PIXEL_M, TILE_PX = 0.125, 4096
METRES_PER_DEGREE = 111_139.0
"""Tiles of one city abut at 512 m steps with this many metres a degree of latitude: a sphere, not the ellipsoid."""

_WHAT = "a tile: tile_<number>_graph.npz with nodes_px and edges"
_MARGIN_PX = 1024.0


def read_aerial_tile(path: Path) -> StreetMap:
    """Read the lane graph of a tile; see `read_aerial_tile_counted`."""
    return read_aerial_tile_counted(path).street_map


@naming_file
def read_aerial_tile_counted(path: Path) -> MapReading:
    """Read the lane graph of a tile, in metres from its south-west corner, x east, y north.

    Labels are pixel indices, x right and y down; a pixel means its centre, so pixel (x, y) lies at
    ``((x + 0.5) / 8, 512 - (y + 0.5) / 8)`` m. Edges of type 0 are lanes, those of type 1 turning links; others, and
    those of nodes that are not there, are dropped. Lanes may leave the tile by some metres.

    ``index.json`` beside the file gives latitude and longitude of the south-west corner (tiles that are neighbours by
    these numbers have images that match at that edge); the crs is the one that the imagery was cut in, an
    equirectangular sphere about the corner, so that a pixel is 0.125 m exactly. True metres differ by up to 0.4 %. The
    crs is None where there is no index, or the tile is not in it.
    """
    left_out = LeftOut()
    name = path.name.removesuffix(".npz").removesuffix("_graph")
    arrays = open_npz(path, _WHAT)
    missing = [part for part in ("nodes_px", "edges") if part not in arrays]
    if missing:
        raise MapInputError(f"{path} has no {missing[0]}", f"give {_WHAT}")
    nodes, edges = arrays["nodes_px"], arrays["edges"]
    if nodes.ndim != 2 or nodes.shape[1] != 2 or edges.ndim != 2 or edges.shape[1] != 3 or edges.dtype.kind not in "iu":
        raise MapInputError(f"{path} has nodes {nodes.shape} and edges {edges.shape}", "give (N, 2) and (E, 3)")
    nodes = nodes.astype(np.float64)
    if not ((nodes > -_MARGIN_PX) & (nodes < TILE_PX + _MARGIN_PX)).all():
        raise MapInputError(f"{path} has nodes far outside of its {TILE_PX} px", "give x right, y down, in pixels")
    odd = ~np.isin(edges[:, 2], (0, 1))
    outside = ((edges[:, :2] < 0) | (edges[:, :2] >= len(nodes))).any(1)
    for number in np.flatnonzero(odd | outside):
        what = f"of type {edges[number, 2]}, not 0 or 1" if odd[number] else f"of nodes {edges[number, :2].tolist()}"
        left_out.fault("edge", f"edge {number} is {what}; there are {len(nodes)} nodes", 1)
    edges = edges[~(odd | outside)]
    east_m = (nodes[:, 0] + 0.5) * PIXEL_M
    north_m = (TILE_PX - nodes[:, 1] - 0.5) * PIXEL_M
    kind = np.where(edges[:, 2] == 1, LINK, LANE).astype(np.uint8)
    graph, repairs = repair(np.stack([east_m, north_m], 1), edges[:, :2], kind)
    left_out["edge that is there twice"] += repairs.duplicate_edges
    left_out["edge from a place to itself"] += repairs.self_loops
    return reading_of(StreetMap(name, graph, _crs(path, name)), left_out, path, kept=len(graph.edges))


def _crs(path: Path, name: str) -> str | None:
    index = path.with_name("index.json")
    number = re.search(r"(\d+)$", name)
    if not index.exists() or number is None:
        return None
    content = read_json(index, "the index of the tiles")
    tiles = content.get("tiles") if isinstance(content, Mapping) else None
    if not isinstance(tiles, list) or not all(isinstance(tile, Mapping) for tile in tiles):
        raise MapInputError(f"{index} lists no tiles", "give the index that came with the tiles, or remove it")
    for tile in tiles:
        if tile.get("tile") == int(number[1]):
            return _sphere(tile.get("lat"), tile.get("lon"), f"{index}, tile {number[1]}")
    return None


def _sphere(lat: object, lon: object, where: str) -> str:
    numbers = [value for value in (lat, lon) if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) != 2 or not (abs(numbers[0]) < 85 and abs(numbers[1]) <= 180):
        raise MapInputError(f"{where} has latitude {lat} and longitude {lon}", "give degrees")
    place = f"+lat_ts={numbers[0]!r} +lat_0={numbers[0]!r} +lon_0={numbers[1]!r}"
    return f"+proj=eqc {place} +x_0=0 +y_0=0 +R={METRES_PER_DEGREE * 180 / math.pi:.3f} +units=m"


def tile_image(path: Path) -> ByteArray:
    """The image of a tile, ``tile_N.jpg`` or that beside its npz: uint8 (4096, 4096, 3) RGB, row 0 north."""
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    if path.suffix == ".npz":
        path = path.with_name(path.name.removesuffix(".npz").removesuffix("_graph") + ".jpg")
    try:
        with Image.open(path) as image:
            if image.size != (TILE_PX, TILE_PX):
                raise MapInputError(f"{path} is {image.size[0]} x {image.size[1]} px", f"give {TILE_PX} x {TILE_PX}")
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise MapInputError(f"{path} cannot be read: {error}", "give the tile's JPEG") from error
