"""GeoParquet: a lane graph as a table of lines with their coordinate reference system, and back, exactly.

GeoPackage, Shapefile and FlatGeobuf are the same table, as others write it.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.errors import FoldmapError, MapInputError
from foldmap.formats.crs import metric_lines, require_metric
from foldmap.formats.extras import extra
from foldmap.formats.street.geojson import VERSION, properties_of, row_of
from foldmap.formats.street.polylines import (
    TOLERANCE_M,
    attributes_of,
    directions,
    end_heights,
    kind_of_line,
    line_name,
    polyline_map,
    unique_names,
)
from foldmap.formats.street.reading import FARTHEST_M, LeftOut, MapReading, naming_file, reading_of
from foldmap.formats.street.table import chain_rows, graph_of_rows
from foldmap.street.graph.repair import require_metres
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.types import DoubleArray

_COLUMNS = {
    "kind": "object", "from": "int64", "to": "int64", "lane": "Int64", "lane_id": "object", "lane_type": "object",
    "width_m": "float64", "speed_limit_mps": "float64",
}  # fmt: skip
_WHAT = "a GeoParquet file, GeoPackage, Shapefile or FlatGeobuf of LineStrings"
LAYERED = (".gpkg", ".shp", ".fgb")
_MAX_BYTES, _DEEPEST = 1 << 30, 8
_NESTED = (4, 5, 6, 7)
"""Shapely's numbers of geometries that hold others."""


def write_geoparquet(street_map: StreetMap, path: Path) -> None:
    """Write one LineString a chain, in metres of the map's crs, columns as the properties of `write_geojson`.

    The schema's metadata ``foldmap`` holds version, name and crs. Without geopandas or pyarrow this is a
    MissingExtraError.
    """
    geopandas, parquet, shapely = _libraries()
    pandas = extra("pandas", "GeoParquet")
    if street_map.crs is not None:
        require_metric(street_map.crs, street_map.name)
    rows = chain_rows(street_map.graph)
    listed = [properties_of(row) for row in rows]
    columns = {name: pandas.Series([row[name] for row in listed], dtype=dtype) for name, dtype in _COLUMNS.items()}
    index = np.repeat(np.arange(len(rows)), [len(row.line_m) for row in rows])
    points = np.concatenate([row.line_m for row in rows]) if rows else np.zeros((0, 2))
    lines = shapely.linestrings(points, indices=index) if rows else np.zeros(0, object)
    frame = geopandas.GeoDataFrame(columns, geometry=geopandas.GeoSeries(lines, crs=street_map.crs))
    plain = io.BytesIO()
    frame.to_parquet(plain, index=False)
    plain.seek(0)
    table = parquet.read_table(plain)
    about_map = {"street": VERSION, "name": street_map.name, "crs": street_map.crs}
    metadata = {**(table.schema.metadata or {}), b"foldmap": json.dumps(about_map, ensure_ascii=False).encode()}
    marked = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata(metadata), marked)
    write_whole(path, marked.getvalue())


@naming_file
def read_geoparquet(path: Path, tolerance_m: float = TOLERANCE_M) -> MapReading:
    """Read what `write_geoparquet` wrote, or any GeoParquet or file of `LAYERED` with lanes in driving direction.

    Columns ``from`` and ``to`` give topology exactly, without them ends are matched, to ``tolerance_m``. Coordinates
    that are no metres of ground are projected (`foldmap.formats.crs.metric_lines`). Without geopandas or pyarrow this
    is a MissingExtraError.
    """
    frame, noted = _frame(path)
    left_out = LeftOut()
    name = noted.get("name") if isinstance(noted.get("name"), str) and noted["name"] else path.stem
    rows, lines, heights_m = _lines(frame, path, left_out)
    if not lines and len(frame):
        return reading_of(StreetMap(str(name), LaneGraph.empty()), left_out, path)
    own = None if "street" in noted else frame.crs
    lines, crs = metric_lines(lines, noted["crs"] if isinstance(noted.get("crs"), str) else own, str(path))
    table = frame.drop(columns=frame.geometry.name).astype(object)
    listed = table.where(table.notna(), None).to_dict("records") if len(table.columns) else [{}] * len(frame)
    properties = [listed[row] for row in rows]
    if {"from", "to"} <= set(frame.columns) and ("street" in noted or "kind" in frame.columns):
        found = [row_of(listed[k], line, f"{path}, row {k}") for k, line in zip(rows, lines, strict=True)]
        graph = graph_of_rows(found, str(path))
        require_metres(graph, str(path))
        return reading_of(StreetMap(str(name), graph, crs), left_out, path)
    names = unique_names([line_name((each.get("id"),), row) for row, each in zip(rows, properties, strict=True)])
    every = enumerate(zip(properties, names, strict=True))
    driven = [(k, each, title, way) for k, (each, title) in every for way in directions(each, left_out)]
    kinds = [kind_of_line(each.get("kind"), left_out) for _, each, _, _ in driven]
    lanes = [attributes_of(each, title if way > 0 else f"{title}/reversed") for _, each, title, way in driven]
    ways, ends_m = ([of[k][::way] for k, _, _, way in driven] for of in (lines, heights_m))
    found_map, _ = polyline_map(str(name), ways, kinds, lanes, crs, tolerance_m, left_out, ends_m)
    require_metres(found_map.graph, str(path))
    return reading_of(found_map, left_out, path)


def _libraries() -> tuple[Any, Any, Any]:
    what = "GeoParquet"
    return extra("geopandas", what), extra("pyarrow.parquet", what), extra("shapely", what)


def _frame(path: Path) -> tuple[Any, dict[str, Any]]:
    geopandas, parquet, _ = _libraries()
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MapInputError(f"{path} is larger than 1 GiB", "split the map")
        if path.suffix.lower() in LAYERED:
            return geopandas.read_file(path, layer=_layer_of_lines(geopandas, path)), {}
        frame = geopandas.read_parquet(path)
        noted = json.loads((parquet.read_schema(path).metadata or {}).get(b"foldmap", b"{}"))
    except OSError as error:
        raise MapInputError(f"{path} cannot be read: {error.strerror or error}", f"give {_WHAT}") from error
    except FoldmapError:
        raise
    except Exception as error:
        # pyarrow, pyproj, GEOS and the JSON inside: each has exceptions of its own for damage
        raise MapInputError(f"{path} is damaged, or another file: {str(error)[:200]}", f"give {_WHAT}") from error
    noted = noted if isinstance(noted, dict) else {}
    if noted.get("street", VERSION) != VERSION:
        raise MapInputError(f"{path} is of version {str(noted['street'])[:20]}, known is {VERSION}", "update foldmap")
    return frame, noted


def _layer_of_lines(geopandas: Any, path: Path) -> str:
    """The layer of a file that holds lines, or may; a MapInputError where several do."""
    listed = geopandas.list_layers(path)
    kinds = [str(kind) for kind in listed["geometry_type"]]
    named = [str(name) for name, kind in zip(listed["name"], kinds, strict=True) if "LineString" in kind]
    named = named or [str(name) for name, kind in zip(listed["name"], kinds, strict=True) if kind == "Unknown"]
    if len(named) != 1:
        said = f"{len(named)} layers of lines: {', '.join(named[:8])}" if named else "no layer of lines"
        raise MapInputError(
            f"{path} holds {said}", "save that of the lanes as a file of its own (ogr2ogr NEW OLD LAYER)"
        )
    return named[0]


def _lines(frame: Any, path: Path, left_out: LeftOut) -> tuple[list[int], list[DoubleArray], list[DoubleArray]]:
    """Rows, coordinates (P, 2) and `end_heights` of lines: also of MultiLineStrings and GeometryCollections."""
    _, _, shapely = _libraries()
    shapes, row = frame.geometry.to_numpy(), np.arange(len(frame))
    for _ in range(_DEEPEST):
        nested = np.isin(shapely.get_type_id(shapes), _NESTED)
        if not nested.any():
            break
        parts, of = shapely.get_parts(shapes[nested], return_index=True)
        row = np.concatenate([row[~nested], row[nested][of]])
        shapes = np.concatenate([shapes[~nested], parts])
    order = np.argsort(row, kind="stable")
    rows, lines, heights_m = [], [], []
    for shape, number in zip(shapes[order], row[order].tolist(), strict=True):
        if shape is None or shape.is_empty:
            left_out["feature without a geometry"] += 1
        elif shape.geom_type not in ("LineString", "LinearRing"):
            left_out[f"geometry of type {shape.geom_type}"] += 1
        else:
            points = np.asarray(shapely.get_coordinates(shape, include_z=True), np.float64)
            if (np.abs(points[:, :2]) < FARTHEST_M).all():
                rows.append(number)
                lines.append(points[:, :2])
                heights_m.append(end_heights(points))
            else:
                left_out.fault("line", f"row {number}: a coordinate is not finite", 1)
    if not lines and len(frame) and not left_out.faults:
        raise MapInputError(f"{path}, row 0 is no LineString", "give one lane a row")
    return rows, lines, heights_m
