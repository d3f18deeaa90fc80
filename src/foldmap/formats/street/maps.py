"""Street maps of any format: what a file is, and who reads it."""

from __future__ import annotations

import logging
import sqlite3
import zipfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.naming import reading
from foldmap.formats.street.argoverse2 import read_argoverse2
from foldmap.formats.street.geojson import read_geojson
from foldmap.formats.street.geoparquet import LAYERED, read_geoparquet
from foldmap.formats.street.lanelet2.read import read_lanelet2
from foldmap.formats.street.nuscenes import read_nuscenes_lanes
from foldmap.formats.street.observations.aerial import read_aerial_tile_counted
from foldmap.formats.street.opendrive.graph import read_opendrive
from foldmap.formats.street.polylines import read_csv, unique_names
from foldmap.formats.street.reading import MapReading
from foldmap.formats.street.sumo import read_sumo
from foldmap.formats.street.untrusted import read_json
from foldmap.formats.street.xml_stream import first_element
from foldmap.street.source import StreetMap

_FORMATS: Mapping[str, tuple[str, Callable[[Path], MapReading | list[MapReading]]]] = {
    "argoverse2": ("Argoverse 2 vector maps (log_map_archive_*.json)", read_argoverse2),
    "lanelet2": ("Lanelet2 (.osm)", read_lanelet2),
    "sumo": ("SUMO networks (.net.xml, .net.xml.gz)", read_sumo),
    "opendrive": ("OpenDRIVE (.xodr)", read_opendrive),
    "geojson": ("GeoJSON LineStrings (.geojson, .json)", read_geojson),
    "geoparquet": ("GeoParquet LineStrings (.parquet)", read_geoparquet),
    "geopackage": ("GeoPackage, Shapefile, FlatGeobuf LineStrings (.gpkg, .shp, .fgb)", read_geoparquet),
    "csv": ("polylines (.csv with line,x_m,y_m)", read_csv),
    "aerial": ("labelled ortho tiles (tile_N_graph.npz)", read_aerial_tile_counted),
    "nuscenes": ("nuScenes lanes (.npz with <scene>/points, offsets, token)", read_nuscenes_lanes),
}
KINDS: Mapping[str, str] = {kind: files for kind, (files, _) in _FORMATS.items()}
"""Kind of map -> what files it comes in."""
_log = logging.getLogger(__name__)
_LONGEST_HEADER = 1 << 16
_XML_NAMES = {".xodr": "opendrive", ".net.xml": "sumo", ".osm": "lanelet2"}


def read_street_maps(path: Path, kind: str | None = None) -> list[StreetMap]:
    """Read the street maps of a file, or of all files in a folder that hold some; see `read_street_maps_counted`.

    What is damaged and dropped is logged as a warning, which Python shows on stderr unless told otherwise.
    """
    readings = read_street_maps_counted(path, kind)
    for each in readings:
        if each.faults:
            lanes, first = sum(fault.lanes for fault in each.faults), each.faults[0]
            said = "%s: %d damaged pieces were dropped, %d lanes with them; the first, a %s: %s"
            _log.warning(said, each.street_map.name, len(each.faults), lanes, first.what, first.where)
    return [each.street_map for each in readings]


def read_street_maps_counted(path: Path, kind: str | None = None) -> list[MapReading]:
    """Read the street maps of a file or a folder (without its subfolders), each with what of its file is not in it.

    ``kind`` is a key of `KINDS`, where the content does not tell it; in a folder, only those are read. Maps come in the
    order of the file names; names are made unique by a number. A map that is damaged in most of its lanes is a
    MapInputError, a format that needs a library that is not installed a MissingExtraError.
    """
    path = Path(path)
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"there is no kind of street map {kind!r}", f"give one of {', '.join(KINDS)}")
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
        told = [(file, found) for file in files if (found := kind_of(file)) is not None and kind in (None, found)]
    else:
        table = "csv" if path.suffix.lower() == ".csv" else None  # its reader names the columns that are missing
        told = [(path, found) for found in [kind or kind_of(path) or table] if found is not None]
    if not told:
        lack = f"holds no {kind or 'street'} map" if path.is_dir() else "is no street map"
        raise MapInputError(f"{path} {lack} that foldmap reads", "read are " + "; ".join(KINDS.values()))
    readings: list[MapReading] = []
    for file, found in told:
        read = _FORMATS[found][1](file)
        readings += read if isinstance(read, list) else [read]
    names = unique_names([each.street_map.name for each in readings])
    renamed = [replace(each.street_map, name=name) for each, name in zip(readings, names, strict=True)]
    return [replace(each, street_map=street_map) for each, street_map in zip(readings, renamed, strict=True)]


def kind_of(path: Path) -> str | None:
    """The kind of map in a file, by its name and content; None where it is none."""
    path = Path(path)
    name = path.name.lower()
    if name.endswith((".json", ".geojson")):
        return _json_kind(path)
    if name.endswith((".xml", ".osm", ".xodr", ".gz")):
        return _xml_kind(path)
    if name.endswith(".npz"):
        return _npz_kind(path)
    if name.endswith((".parquet", ".geoparquet")):
        return "geoparquet"
    if name.endswith(LAYERED):
        return "geopackage" if not name.endswith(".gpkg") or _has_features(path) else None
    if name.endswith(".csv"):
        with reading(path), path.open("rb") as file:
            return "csv" if b"line" in file.readline(_LONGEST_HEADER) else None
    return None


def _has_features(path: Path) -> bool:
    """Whether a GeoPackage holds features, not tiles of a raster alone; True where it is damaged."""
    query = "SELECT count(*) FROM gpkg_contents WHERE data_type = 'features'"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            return bool(file.execute(query).fetchone()[0])
    except sqlite3.Error:
        return True


def _json_kind(path: Path) -> str | None:
    if path.name.startswith("log_map_archive_"):
        return "argoverse2"
    content = read_json(path, "GeoJSON or an Argoverse 2 map")
    if isinstance(content, dict) and "lane_segments" in content:
        return "argoverse2"
    kinds = ("FeatureCollection", "Feature", "LineString", "MultiLineString", "GeometryCollection")
    return "geojson" if isinstance(content, dict) and content.get("type") in kinds else None


def _xml_kind(path: Path) -> str | None:
    """By the first element, after whatever comments; by the name where the file is damaged before that."""
    first = first_element(path)
    if first is not None:
        return {"OpenDRIVE": "opendrive", "net": "sumo", "osm": "lanelet2"}.get(first)
    name = path.name.lower().removesuffix(".gz")
    return next((kind for suffix, kind in _XML_NAMES.items() if name.endswith(suffix)), None)


def _npz_kind(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as packed:
            names = packed.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise MapInputError(f"{path} cannot be read: {error}", "give an npz of lanes") from error
    if "nodes_px.npy" in names:
        return "aerial"
    return "nuscenes" if any(name.endswith("/token.npy") for name in names) else None
