"""Street maps of any format: what a file is, and who reads it."""

from __future__ import annotations

import gzip
import importlib
import logging
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.street.reading import MapReading, naming_file
from foldmap.formats.street.xml_stream import first_element
from foldmap.street.source import StreetMap

KINDS: Mapping[str, str] = {
    "argoverse2": "Argoverse 2 vector maps (log_map_archive_*.json)",
    "lanelet2": "Lanelet2 (.osm)",
    "sumo": "SUMO networks (.net.xml, .net.xml.gz)",
    "opendrive": "OpenDRIVE (.xodr)",
    "geojson": "GeoJSON LineStrings (.geojson, .json)",
    "geoparquet": "GeoParquet LineStrings (.parquet)",
    "csv": "polylines (.csv with line,x_m,y_m)",
    "aerial": "labelled ortho tiles (tile_N_graph.npz)",
    "nuscenes": "nuScenes lanes (.npz with <scene>/points, offsets, token)",
}
"""Kind of map -> what files it comes in."""

_READERS = {
    "argoverse2": ("argoverse2", "read_argoverse2"),
    "lanelet2": ("lanelet2.read", "read_lanelet2"),
    "sumo": ("sumo", "read_sumo"),
    "opendrive": ("opendrive.graph", "read_opendrive"),
    "geojson": ("geojson", "read_geojson"),
    "geoparquet": ("geoparquet", "read_geoparquet"),
    "csv": ("csv_lines", "read_csv"),
    "aerial": ("observations.aerial", "read_aerial_tile_counted"),
    "nuscenes": ("nuscenes", "read_nuscenes_lanes"),
}
_log = logging.getLogger(__name__)
_HEAD_BYTES = 1 << 16
_XML_NAMES = {".xodr": "opendrive", ".net.xml": "sumo", ".osm": "lanelet2"}


def read_street_maps(path: Path, kind: str | None = None) -> list[StreetMap]:
    """Read the street maps of a file, or of all files in a folder that hold some; see `read_street_maps_counted`.

    What is damaged and dropped is logged as a warning, which Python shows on stderr unless told otherwise.
    """
    readings = read_street_maps_counted(path, kind)
    for reading in readings:
        if reading.faults:
            lanes, first = sum(fault.lanes for fault in reading.faults), reading.faults[0]
            _log.warning(
                "%s: %d damaged pieces were dropped, %d lanes with them; the first, a %s: %s",
                *(reading.street_map.name, len(reading.faults), lanes, first.what, first.where),
            )
    return [reading.street_map for reading in readings]


def read_street_maps_counted(path: Path, kind: str | None = None) -> list[MapReading]:
    """Read the street maps of a file or a folder, each with what of its file is not in it.

    Args:
        path: a file of any kind of `KINDS`, or a folder (its subfolders are left out).
        kind: a key of `KINDS`, where the content does not tell it; in a folder, only those are read.

    Returns:
        Maps in the order of the file names; names are made unique by a number.

    Raises:
        MapInputError: nothing here is a street map, or one that should be is damaged in most of its lanes.
        MissingExtraError: a format needs a library that is not installed.
    """
    path = Path(path)
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"there is no kind of street map {kind!r}", f"give one of {', '.join(KINDS)}")
    if path.is_dir():
        readings = _folder(path, kind)
    else:
        found = kind or kind_of(path)
        if found is None:
            raise MapInputError(f"{path} is no street map that foldmap reads", _known())
        readings = _read(path, found)
    return _unique(readings)


def _folder(path: Path, kind: str | None) -> list[MapReading]:
    files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
    told = [(file, found) for file in files if (found := kind_of(file)) is not None and kind in (None, found)]
    if not told:
        raise MapInputError(f"{path} holds no {kind or 'street'} map that foldmap reads", _known())
    return [reading for file, found in told for reading in _read(file, found)]


@naming_file
def _read(path: Path, kind: str) -> list[MapReading]:
    return _reader(kind)(path)


def _known() -> str:
    return "read are " + "; ".join(KINDS.values())


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
    if name.endswith(".csv"):
        return "csv" if b"line" in _head(path).split(b"\n", 1)[0] else None
    return None


def _json_kind(path: Path) -> str | None:
    from foldmap.formats.street.untrusted import read_json

    if path.name.startswith("log_map_archive_"):
        return "argoverse2"
    content = read_json(path, "GeoJSON or an Argoverse 2 map")
    if isinstance(content, dict) and "lane_segments" in content:
        return "argoverse2"
    kinds = ("FeatureCollection", "Feature", "LineString", "MultiLineString", "GeometryCollection")
    return "geojson" if isinstance(content, dict) and content.get("type") in kinds else None


def _head(path: Path) -> bytes:
    """The first bytes of a file, unpacked where it is gzip."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if head[:2] != b"\x1f\x8b":
            return head
        with gzip.open(path) as packed:
            return packed.read(_HEAD_BYTES)
    except EOFError as error:
        raise MapInputError(f"{path} is cut short", "fetch it again") from error
    except (OSError, zlib.error) as error:
        raise MapInputError(f"{path} cannot be read: {error}", "check the path") from error


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


def _reader(kind: str) -> Callable[[Path], list[MapReading]]:
    """Who reads a kind; imported when it is needed."""
    module, name = _READERS[kind]
    read = getattr(importlib.import_module(f"foldmap.formats.street.{module}"), name)
    return read if kind == "nuscenes" else lambda path: [read(path)]


def _unique(readings: list[MapReading]) -> list[MapReading]:
    taken: set[str] = set()
    found = []
    for reading in readings:
        name, number = reading.street_map.name, 1
        while name in taken:
            number += 1
            name = f"{reading.street_map.name}-{number}"
        taken.add(name)
        named = replace(reading.street_map, name=name)
        found.append(reading if name == reading.street_map.name else replace(reading, street_map=named))
    return found
