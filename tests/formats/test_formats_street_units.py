"""GeoJSON and GeoParquet: degrees without a word of it, and metres in spite of the standard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from foldmap.errors import MapInputError
from foldmap.formats.crs import about, to_lonlat
from foldmap.formats.street.geojson import read_geojson, write_geojson
from foldmap.formats.street.geoparquet import read_geoparquet
from foldmap.street.source import LaneGraph, StreetMap

GEOD = pyproj.Geod(ellps="WGS84")


def collection(path: Path, *lines: Any, **members: Any) -> Path:
    features = [
        {
            "type": "Feature",
            "properties": {},
            "geometry": {"type": "LineString", "coordinates": np.asarray(line).tolist()},
        }
        for line in lines
    ]
    file = path / "lanes.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", **members, "features": features}))
    return file


def named(name: Any) -> dict[str, Any]:
    return {"type": "name", "properties": {"name": name}}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    step_m=st.sampled_from([1.0, 30.0, 400.0, 3000.0]),
    longitude=st.floats(-179, 179),
    latitude=st.floats(-70, 75),
    turn=st.floats(-3, 3),
)
def test_degrees_without_a_word(tmp_path: Path, step_m: float, longitude: float, latitude: float, turn: float) -> None:
    assume(abs(longitude) > 4 or abs(latitude) > 2)  # the sea where radians would lie
    walk = np.arange(15)[:, None] * step_m * [np.cos(turn), np.sin(turn)] + np.sin(np.arange(15))[:, None] * step_m / 20
    place = to_lonlat(walk, about(np.array([[longitude, latitude]])))
    try:
        found = read_geojson(collection(tmp_path, place)).street_map
    except MapInputError:  # so coarse a map may be one of metres: it is asked for, and never guessed wrong
        if step_m < 3000:
            raise
        with pytest.raises(MapInputError, match="may be degrees of a coarse map"):
            read_geojson(collection(tmp_path, place))
        found = read_geojson(collection(tmp_path, place, crs=named("urn:ogc:def:crs:OGC:1.3:CRS84"))).street_map
    assert found.graph.length_m == pytest.approx(GEOD.line_length(*place.T), rel=1e-3)
    said = read_geojson(collection(tmp_path, place, crs=named("urn:ogc:def:crs:OGC:1.3:CRS84"))).street_map
    np.testing.assert_allclose(said.graph.vertices_m, found.graph.vertices_m, atol=1e-9)


PLACE = np.array([[-122.42, 37.77], [-122.4195, 37.77], [-122.419, 37.7705]])


@pytest.mark.parametrize(
    ("lines", "members", "message", "cure"),
    [
        (PLACE[:, ::-1], {}, "no longitude and latitude", "longitude before latitude"),
        (PLACE[:, ::-1], {"crs": named("OGC:CRS84")}, "no longitude and latitude", "longitude before latitude"),
        (np.radians(np.add(PLACE, [130, 0])), {}, "these are radians", "degrees"),
        (PLACE * [-6, 130], {}, "all lanes are within", "longitude, latitude"),  # degrees and minutes in one number
        (np.array([[0.0, 0.0], [0.4, 0.3]]), {"foldmap:crs": None}, "all lanes are within 0.4 m", "kilometres"),
    ],
)
def test_coordinates_of_another_order_or_unit_are_refused(
    tmp_path: Path, lines: np.ndarray, members: dict[str, Any], message: str, cure: str
) -> None:
    with pytest.raises(MapInputError, match=message) as caught:
        read_geojson(collection(tmp_path, lines, **members))
    assert cure in caught.value.cure


def test_a_country_in_degrees(tmp_path: Path) -> None:
    """Wider than a degree, with vertices every few hundred metres."""
    east = np.linspace(0, 1.5, 400)
    place = np.stack([10 + east, 50 + 0.01 * np.sin(9 * east)], 1)
    assert read_geojson(collection(tmp_path, place)).street_map.graph.length_m == pytest.approx(
        GEOD.line_length(*place.T), rel=1e-3
    )


@pytest.mark.parametrize("step_m", [0.5, 10.0])
@pytest.mark.parametrize("start", [(0, 0), (-40, -30), (20, 10)])
def test_metres_of_a_small_town_stay(tmp_path: Path, step_m: float, start: tuple[float, float]) -> None:
    line = np.add(np.arange(0, 80, step_m)[:, None] * [0.8, 0.6], start)
    found = read_geojson(collection(tmp_path, line)).street_map
    assert found.crs is None
    assert found.graph.length_m == pytest.approx(np.hypot(*(line[-1] - line[0])))


def test_what_may_be_both_is_refused_until_it_is_named(tmp_path: Path) -> None:
    line = np.add(np.arange(0, 2, 0.05)[:, None] * [1.0, 0.2], (8, 49))
    with pytest.raises(MapInputError, match="may be degrees of a coarse map or metres of a small one") as caught:
        read_geojson(collection(tmp_path, line))
    assert "CRS84" in caught.value.cure
    assert read_geojson(collection(tmp_path, line, **{"foldmap:crs": None})).street_map.graph.length_m == pytest.approx(
        1.99, abs=0.01
    )
    said = read_geojson(collection(tmp_path, line, crs=named("OGC:CRS84"))).street_map
    assert said.graph.length_m == pytest.approx(GEOD.line_length(*line.T), rel=1e-3)


@pytest.mark.parametrize(
    ("crs", "message"),
    [
        (named("EPSG:2263"), "US survey foot"),
        (named("no such"), "no coordinate reference system"),
        (named(7.5), "its crs has no name"),
        (named(True), "its crs has no name"),
        ({"type": "link"}, "its crs has no name"),
        ("EPSG:25832", "its crs has no name"),
    ],
)
def test_members_that_say_too_little_or_too_much(tmp_path: Path, crs: Any, message: str) -> None:
    with pytest.raises(MapInputError, match=message):
        read_geojson(collection(tmp_path, [[4e5, 5e6], [4e5, 5.0001e6]], crs=crs))


def test_a_code_is_a_name(tmp_path: Path) -> None:
    old = {"type": "EPSG", "properties": {"code": 25832}}
    assert read_geojson(collection(tmp_path, [[4e5, 5e6], [4e5, 5.0001e6]], crs=old)).street_map.crs == "EPSG:25832"


@pytest.mark.parametrize("crs", [None, "EPSG:25832"])
def test_our_own_files_come_back_without_their_topology_too(tmp_path: Path, crs: str | None) -> None:
    line = np.add(np.arange(0, 1.8, 0.2)[:, None] * [1.0, 0.5], (0, 0) if crs is None else (4e5, 5.4e6))
    street = StreetMap("small", LaneGraph.from_polylines([line]), crs)
    write_geojson(street, tmp_path / "a.geojson")
    content = json.loads((tmp_path / "a.geojson").read_text())
    for feature in content["features"]:
        feature["properties"] = {}
    (tmp_path / "b.geojson").write_text(json.dumps(content))
    for name in ("a.geojson", "b.geojson"):
        found = read_geojson(tmp_path / name).street_map
        assert found.graph.length_m == pytest.approx(street.graph.length_m, rel=5e-3)
        assert (found.crs is None) is (crs is None)


def test_parquet_without_a_crs(tmp_path: Path) -> None:
    """The specification: a crs that is missing is CRS84, one that is null is not known."""
    place = np.stack([11 + np.arange(12) * 5e-3, 48 + 1e-3 * np.sin(np.arange(12))], 1)
    path = tmp_path / "lanes.parquet"
    geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.LineString(place)]).to_parquet(path)
    with pytest.raises(MapInputError, match="are degrees"):
        read_geoparquet(path)
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    del geo["columns"]["geometry"]["crs"]
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"geo": json.dumps(geo).encode()}), path)
    assert read_geoparquet(path).street_map.graph.length_m == pytest.approx(GEOD.line_length(*place.T), rel=1e-3)
    geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.LineString(place * 1000)]).to_parquet(path)
    assert read_geoparquet(path).street_map.crs is None


def test_lanes_across_the_date_line_are_degrees(tmp_path: Path) -> None:
    """A step of 359.998 degrees is one of 219 m; nobody's metres lie at 180 on both sides, and nowhere between."""
    line = [[179.999, -16.8], [-179.999, -16.8], [-179.998, -16.8]]
    found = read_geojson(collection(tmp_path, line)).street_map
    length_m = GEOD.line_length(*np.transpose(line))
    assert found.graph.edge_lengths_m.sum() == pytest.approx(length_m, rel=1e-3)
    metres = [[179.999, -16.8], [100.0, -16.8], [-179.999, -16.8]]
    assert read_geojson(collection(tmp_path, metres)).street_map.crs is None
