"""GeoParquet: a lane graph as a table of lines with their coordinate reference system, and back, exactly."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.errors import MapInputError
from foldmap.formats.street_crs import about, extra, from_lonlat, require_metric
from foldmap.formats.street_geojson import VERSION, properties_of, row_of
from foldmap.formats.street_polylines import KIND_NAMES, TOLERANCE_M, attributes_of, polyline_map
from foldmap.formats.street_table import chain_rows, graph_of_rows
from foldmap.street.repair import require_metres
from foldmap.street.source import StreetMap
from foldmap.types import DoubleArray

_COLUMNS = {
    "kind": "object", "from": "int64", "to": "int64", "lane": "Int64", "lane_id": "object", "lane_type": "object",
    "width_m": "float64", "speed_limit_mps": "float64",
}  # fmt: skip
_WHAT = "a GeoParquet file of LineStrings"
_MAX_BYTES = 1 << 30


def write_geoparquet(street_map: StreetMap, path: Path) -> None:
    """Write one LineString a chain, in metres of the map's crs, columns as the properties of `write_geojson`.

    The schema's metadata ``foldmap`` holds version, name and crs.

    Raises:
        MapInputError: pyproj does not read the crs.
        MissingExtraError: geopandas or pyarrow is not installed.
        WriteError: the file cannot be written.
    """
    geopandas, parquet, shapely = _libraries()
    pandas = extra("pandas", "GeoParquet")
    if street_map.crs is not None:
        require_metric(street_map.crs, street_map.name)
    rows = chain_rows(street_map.graph)
    listed = [properties_of(row) for row in rows]
    columns = {
        name: pandas.Series([row[name] for row in listed], dtype=dtype, name=name) for name, dtype in _COLUMNS.items()
    }
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


def read_geoparquet(path: Path, tolerance_m: float = TOLERANCE_M) -> StreetMap:
    """Read what `write_geoparquet` wrote, or any GeoParquet of lanes in driving direction.

    Args:
        path: the file; columns ``from`` and ``to`` give topology exactly, without them ends are matched. Longitude and
            latitude are projected to a transverse Mercator about the middle of the map.
        tolerance_m: for matching ends.

    Raises:
        MapInputError: the file is something else, has other geometries, is in feet or in degrees without saying so, or
            lines do not fit together.
        MissingExtraError: geopandas or pyarrow is not installed.
    """
    path = Path(path)
    frame, noted = _frame(path)
    name = noted.get("name") if isinstance(noted.get("name"), str) and noted["name"] else path.stem
    lines = _lines(frame, path)
    crs, lines = _metric(frame.crs, noted, lines, path)
    properties = frame.drop(columns=frame.geometry.name).astype(object).to_dict("records")
    if {"from", "to"} <= set(frame.columns):
        rows = [
            row_of(found, line, f"{path}, row {k}")
            for k, (found, line) in enumerate(zip(properties, lines, strict=True))
        ]
        graph = graph_of_rows(rows, str(path))
        require_metres(graph, str(path))
        return StreetMap(str(name), graph, crs)
    kinds = [KIND_NAMES.get(str(found.get("kind")), 0) for found in properties]
    lanes = [attributes_of(found, str(found.get("id", k))) for k, found in enumerate(properties)]
    found_map, _ = polyline_map(str(name), lines, kinds, lanes, crs, tolerance_m)
    require_metres(found_map.graph, str(path))
    return found_map


def _libraries() -> tuple[Any, Any, Any]:
    what = "GeoParquet"
    return extra("geopandas", what), extra("pyarrow.parquet", what), extra("shapely", what)


def _frame(path: Path) -> tuple[Any, dict[str, Any]]:
    geopandas, parquet, _ = _libraries()
    arrow, pyproj = extra("pyarrow", "GeoParquet"), extra("pyproj", "GeoParquet")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MapInputError(f"{path} is larger than 1 GiB", "split the map")
        frame = geopandas.read_parquet(path)
        noted = json.loads((parquet.read_schema(path).metadata or {}).get(b"foldmap", b"{}"))
    except OSError as error:
        raise MapInputError(f"{path} cannot be read: {error.strerror or error}", f"give {_WHAT}") from error
    except (arrow.ArrowException, pyproj.exceptions.CRSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MapInputError(f"{path} is damaged or no GeoParquet: {str(error)[:200]}", f"give {_WHAT}") from error
    noted = noted if isinstance(noted, dict) else {}
    if noted.get("street", VERSION) != VERSION:
        raise MapInputError(f"{path} is of version {str(noted['street'])[:20]}, known is {VERSION}", "update foldmap")
    return frame, noted


def _lines(frame: Any, path: Path) -> list[DoubleArray]:
    """Coordinates of each row, float64 (P, 2)."""
    _, _, shapely = _libraries()
    shapes = frame.geometry.to_numpy()
    other = np.flatnonzero((shapely.get_type_id(shapes) != 1) | (shapely.get_num_points(shapes) < 2))
    if len(other):
        raise MapInputError(f"{path}, row {other[0]} is no LineString", "give one lane a row")
    points = np.asarray(shapely.get_coordinates(shapes), np.float64)
    if not np.isfinite(points).all():
        raise MapInputError(f"{path}: a coordinate is not finite", "drop or mend its line")
    return np.split(points, np.cumsum(shapely.get_num_points(shapes))[:-1]) if len(shapes) else []


def _metric(
    crs: Any, noted: dict[str, Any], lines: list[DoubleArray], path: Path
) -> tuple[str | None, list[DoubleArray]]:
    own = noted.get("crs")
    if isinstance(own, str):
        require_metric(own, str(path))
        return own, lines
    if crs is None or ("street" in noted and own is None):
        return None, lines
    if crs.is_geographic and lines:
        whole = np.concatenate(lines)
        local = about(whole)
        return local, np.split(from_lonlat(whole, local), np.cumsum([len(line) for line in lines])[:-1])
    return require_metric(crs, str(path)), lines
