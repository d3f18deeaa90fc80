"""Places of what models are trained on and asked about: street maps, drives, rasters, photo scenes."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foldmap.formats.crs import to_lonlat
from foldmap.geometry import SE3
from foldmap.street.source import StreetMap
from foldmap.training.places import Place, place_of, places_of, refuse_overlap, shipped_places, town_place
from foldmap.types import DoubleArray

_MM = 1000.0
_HEAD_BYTES = 1 << 20
_TOWN_TILE = re.compile(r"town-(\d+)-")


def map_places(maps: Sequence[StreetMap]) -> list[Place]:
    """A place for each street map: its lanes' corners to the millimetre, its box where it is on the Earth.

    Tiles of a generated town are that town.
    """
    return [_map_place(street) for street in maps]


def _map_place(street: StreetMap) -> Place:
    if town := _TOWN_TILE.match(street.name):
        return town_place(int(town[1]))
    corners_m = street.graph.vertices_m
    box = None
    if street.crs is not None and len(corners_m):
        lonlat = to_lonlat(corners_m, street.crs)
        west, south, east, north = (*map(float, lonlat.min(0)), *map(float, lonlat.max(0)))
        box = west, south, east, north
    return place_of("street map", street.name, [_rounded(corners_m)] if len(corners_m) else [], box)


def drive_place(name: str, world_SE3_sensors: Sequence[SE3]) -> Place:
    """A drive: where each sweep was taken, to the millimetre."""
    return place_of("drive", name, [_rounded(pose.matrix) for pose in world_SE3_sensors])


def raster_place(path: Path) -> Place:
    """A raster file, by its size and its first megabyte, which holds its frame."""
    with path.open("rb") as file:
        return place_of("raster", path.name, [str(path.stat().st_size).encode() + file.read(_HEAD_BYTES)])


def scene_place(name: str, image_names: Sequence[str], camera_SE3_world: DoubleArray) -> Place:
    """A photo scene: each image by its name and pose, float64 (N, 4, 4)."""
    images = zip(image_names, camera_SE3_world, strict=True)
    return place_of("scene", name, [image.encode() + _rounded(pose) for image, pose in images])


def refuse_trained_on(model: Path, asked: Sequence[Place], shipped: Path | None = None) -> None:
    """Raise a ConfigError where a model file was trained on a place that is asked about.

    Args:
        model: the file; nothing is refused where it cannot be read, which whoever opens it says.
        asked: the queries' places.
        shipped: folder of shipped models, whose places stand beside them.
    """
    name = model.stem if shipped is not None and model.parent == shipped else str(model)
    refuse_overlap(name, known_places(model, shipped), asked)


def known_places(model: Path | None, shipped: Path | None = None) -> list[Place]:
    """Where a model file was trained; arguments as `refuse_trained_on`."""
    if model is None or not model.is_file():
        return []
    payload = model.read_bytes()
    return places_of(payload) + (shipped_places(shipped, payload) if shipped is not None else [])


def _rounded(values: DoubleArray) -> bytes:
    return np.rint(np.asarray(values, np.float64) * _MM).astype(np.int64).tobytes()
