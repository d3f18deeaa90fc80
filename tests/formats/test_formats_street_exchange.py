"""GeoJSON and GeoParquet: round trips against networkx and geopandas, plain files, and what is refused."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
from scipy.spatial import cKDTree

from foldmap.errors import MapInputError, MissingExtraError, WriteError
from foldmap.formats import extras
from foldmap.formats.street.argoverse2 import read_argoverse2
from foldmap.formats.street.geojson import read_geojson, write_geojson
from foldmap.formats.street.geoparquet import read_geoparquet, write_geoparquet
from foldmap.formats.street.maps import kind_of, read_street_maps
from foldmap.street.graph.chains import chains, polylines
from foldmap.street.source import LANE, LINK, LaneAttributes, LaneGraph, StreetMap

UTM = "EPSG:32632"
WRITERS = {"geojson": (write_geojson, read_geojson), "parquet": (write_geoparquet, read_geoparquet)}


def town(crs: str | None = UTM) -> StreetMap:
    """Forks, merges, a ring, two lanes between the same places, one edge between places, changes of lane on the way."""
    rng = np.random.default_rng(5)
    lines: list[tuple[int, int, int, int, int]] = [
        (0, 1, 6, LANE, 0), (1, 2, 4, LINK, -1), (1, 3, 4, LINK, -1), (2, 4, 5, LANE, 1), (3, 4, 5, LANE, 2),
        (2, 4, 0, LANE, 3), (4, 0, 0, LANE, 0), (5, 5, 7, LANE, 4), (6, 7, 3, LANE, 0), (7, 8, 3, LANE, 1),
        (4, 2, 0, LANE, 1),
    ]  # fmt: skip
    keys = rng.uniform(0, 300, (9, 2))
    vertices, edges, kinds, owner, count = [keys], [], [], [], 9
    for a, b, inner, kind, lane in lines:
        walk = [a, *range(count, count + inner), b]
        vertices.append(rng.uniform(0, 300, (inner, 2)))
        edges += list(pairwise(walk))
        kinds += [kind] * (inner + 1)
        owner += [lane] * (inner + 1)
        count += inner
    lanes = tuple(LaneAttributes(f"weg {k} ä", 3.0 + k, 13.9 if k else None, ["road", None][k % 2]) for k in range(5))
    place = np.array([691_000.123, 5_334_000.456]) if crs else np.zeros(2)
    order = rng.permutation(len(edges))
    graph = LaneGraph(
        np.concatenate(vertices) + place,
        np.array(edges)[order],
        np.array(kinds, np.uint8)[order],
        np.array(owner)[order],
        lanes,
    )
    return StreetMap("Mitte", graph, crs)


def same(found: LaneGraph, given: LaneGraph, apart_m: float) -> None:
    """The same graph: each edge, between the same vertices, of the same kind and lane."""
    apart, match = cKDTree(given.vertices_m).query(found.vertices_m)
    assert sorted(match) == list(range(len(given)))
    assert apart.max() <= apart_m

    def table(graph: LaneGraph, name: np.ndarray) -> set[Any]:
        attributes = [graph.lanes[k] if k >= 0 else None for k in graph.lane]
        ends = name[graph.edges].tolist()
        return {(*pair, int(kind), who) for pair, kind, who in zip(ends, graph.kind, attributes, strict=True)}

    assert table(found, match) == table(given, np.arange(len(given)))
    assert len(found.edges) == len(given.edges)


@pytest.mark.parametrize("crs", [UTM, None])
@pytest.mark.parametrize("form", WRITERS)
def test_round_trips_are_exact(tmp_path: Path, form: str, crs: str | None) -> None:
    write, read = WRITERS[form]
    given = town(crs)
    path = tmp_path / f"map.{form}"
    write(given, path)
    found = read(path).street_map
    assert (found.name, found.crs) == ("Mitte", crs)
    same(found.graph, given.graph, 1e-3 if form == "geojson" else 0.0)
    first = path.read_bytes()
    write(given, path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("form", WRITERS)
def test_an_empty_map_and_a_full_disk(tmp_path: Path, form: str) -> None:
    write, read = WRITERS[form]
    path = tmp_path / f"map.{form}"
    for crs in (UTM, None):
        write(StreetMap("nothing", LaneGraph.empty(), crs), path)
        found = read(path).street_map
        assert (found.name, len(found.graph), found.crs) == ("nothing", 0, crs)
    with pytest.raises(WriteError, match="cannot be written"):
        write(town(), tmp_path / "missing" / "map")


@pytest.mark.parametrize("form", WRITERS)
def test_other_programs_read_them(tmp_path: Path, form: str) -> None:
    write, _ = WRITERS[form]
    given = town()
    path = tmp_path / f"map.{form}"
    write(given, path)
    frame = geopandas.read_parquet(path) if form == "parquet" else geopandas.read_file(path, engine="pyogrio")
    assert frame.crs == (UTM if form == "parquet" else "EPSG:4326")
    lines = frame.to_crs(UTM).geometry
    assert len(lines) == len(chains(given.graph))
    for line, expected in zip(lines, polylines(given.graph), strict=True):
        assert shapely.hausdorff_distance(line, shapely.LineString(expected)) < 1e-3
    assert set(frame["kind"]) == {"lane", "link"}
    assert lines.length.sum() == pytest.approx(given.graph.length_m, abs=0.01)
    if form == "geojson":
        assert pyogrio.read_info(path)["geometry_type"] == "LineString"


@pytest.mark.shared
@pytest.mark.parametrize("form", WRITERS)
def test_a_real_map_round_trips(tmp_path: Path, shared_data: Path, form: str) -> None:
    (source,) = (shared_data / "street" / "argoverse2").glob("*0a1e6f0a*.json")
    (placed,) = (shared_data / "street" / "argoverse2").glob("*MIA*.json")
    write, read = WRITERS[form]
    for given in (read_argoverse2(source).street_map, read_argoverse2(placed).street_map):
        write(given, tmp_path / "map")
        found = read(tmp_path / "map").street_map
        same(found.graph, given.graph, 1e-3)
        assert found.crs == given.crs
    at = read_geojson_points(tmp_path / "map") if form == "geojson" else None
    if at is not None:
        assert np.abs(at - (-80.19, 25.79)).max() < 0.05  # Miami


def read_geojson_points(path: Path) -> np.ndarray:
    return np.concatenate([f["geometry"]["coordinates"] for f in json.loads(path.read_text())["features"]])


def feature(points: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": {"type": "LineString", "coordinates": points}}


def collection(tmp_path: Path, *features: dict[str, Any], **members: Any) -> Path:
    path = tmp_path / "lanes.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features), **members}))
    return path


def test_plain_degrees_are_projected_and_joined(tmp_path: Path) -> None:
    a, b = [[8.4, 49.0], [8.401, 49.0]], [[8.401, 49.0], [8.402, 49.0005]]
    path = collection(tmp_path, feature(a, lane_type="road", id=7, width_m=3), feature(b, kind="link", width_m="wide"))
    found = read_geojson(path).street_map
    assert len(found.graph) == 3
    assert found.graph.kind.tolist() == [LANE, LINK]
    assert [lane.width_m for lane in found.graph.lanes] == [3.0, None]
    assert (found.graph.lanes[0].identity, found.graph.lanes[0].lane_type) == ("7", "road")
    geodesic = pyproj.Geod(ellps="WGS84")
    expected = sum(geodesic.line_length(*np.transpose(line)) for line in (a, b))
    assert found.graph.length_m == pytest.approx(expected, rel=1e-5)
    assert found.crs is not None
    back = pyproj.Transformer.from_crs(found.crs, 4326, always_xy=True).transform(*found.graph.vertices_m.T)
    assert np.allclose(np.transpose(back)[0], a[0], atol=1e-9)


def test_plain_metres_stay(tmp_path: Path) -> None:
    lines = [[5.0, 5.0], [45.0, 5.0], [45.0, 45.0]], [[45.0, 45.2], [45.0, 85.0]]
    local = read_geojson(collection(tmp_path, *(feature(line) for line in lines))).street_map
    assert (local.crs, local.name, len(local.graph)) == (None, "lanes", 4)
    old = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::25832"}}
    placed = read_geojson(collection(tmp_path, *(feature(line) for line in lines), crs=old)).street_map
    assert placed.crs == "EPSG:25832"
    degrees = {"type": "name", "properties": {"name": "EPSG:4258"}}
    path = collection(tmp_path, *(feature(line) for line in lines), crs=degrees)
    with pytest.raises(MapInputError, match="spans longitudes"):
        read_geojson(path)


@pytest.mark.parametrize("name", ["lanes.gpkg", "lanes.shp", "lanes.fgb"])
def test_layers_of_lines_are_read_as_parquet_is(tmp_path: Path, name: str) -> None:
    """As GIS programs save them; a GeoPackage may hold other layers, or a raster alone."""
    lines = [shapely.LineString([(8.4, 49.0), (8.401, 49.0)]), shapely.LineString([(8.401, 49.0), (8.402, 49.0005)])]
    frame, path = geopandas.GeoDataFrame({"lane_type": ["bus", None]}, geometry=lines, crs=4326), tmp_path / name
    frame.to_file(path)
    frame.to_parquet(tmp_path / "lanes.parquet")
    found, twin = read_street_maps(path)[0], read_geoparquet(tmp_path / "lanes.parquet").street_map
    places = [each.graph.vertices_m[each.graph.vertices_m[:, 0].argsort()] for each in (found, twin)]
    np.testing.assert_allclose(*places, atol=1e-6)  # FlatGeobuf has an order of its own
    assert (found.crs, {lane.lane_type for lane in found.graph.lanes}) == (twin.crs, {"bus", None})
    if name == "lanes.gpkg":
        frame.set_geometry(frame.boundary).to_file(path, layer="stops")
        assert len(read_street_maps(path)[0].graph) == 3
        frame.to_file(path, layer="old")
        with pytest.raises(MapInputError, match="2 layers of lines: lanes, old"):
            read_street_maps(path)
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE gpkg_contents SET data_type = 'tiles'")
        assert kind_of(path) is None
    path.write_bytes(b"SQLite format 3\0 and no more")
    with pytest.raises(MapInputError, match="damaged, or another file"):
        read_street_maps(path)


def test_plain_parquet_is_projected_and_joined(tmp_path: Path) -> None:
    lines = [shapely.LineString([(8.4, 49.0), (8.401, 49.0)]), shapely.LineString([(8.401, 49.0), (8.402, 49.0005)])]
    path = tmp_path / "lanes.parquet"
    geopandas.GeoDataFrame({"lane_type": ["bus", None]}, geometry=lines, crs=4326).to_parquet(path)
    found = read_geoparquet(path).street_map
    assert len(found.graph) == 3
    assert [lane.lane_type for lane in found.graph.lanes] == ["bus", None]
    geopandas.GeoDataFrame({"a": [1, 2]}, geometry=lines).to_parquet(path)
    with pytest.raises(MapInputError, match="degrees"):
        read_geoparquet(path)
    geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(1, 2)], crs=UTM).to_parquet(path)
    with pytest.raises(MapInputError, match="row 0 is no LineString"):
        read_geoparquet(path)
    geopandas.GeoDataFrame({"a": [1, 2]}, geometry=lines, crs=2263).to_parquet(path)
    with pytest.raises(MapInputError, match="not in metres"):
        read_geoparquet(path)
    write_geoparquet(town(), path)
    whole = pq.read_table(path)
    notes = {key: value.replace(b"ProjectedCRS", b"ProjektedCRS") for key, value in whole.schema.metadata.items()}
    pq.write_table(whole.replace_schema_metadata(notes), path)
    with pytest.raises(MapInputError, match="damaged"):
        read_geoparquet(path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(MapInputError, match="damaged"):
        read_geoparquet(path)


def edited(tmp_path: Path, change: Any) -> Path:
    path = tmp_path / "map.geojson"
    write_geojson(town(None), path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def _move(content: Any) -> None:
    content["features"][0]["geometry"]["coordinates"][0][0] += 2.0


def _repeat(content: Any) -> None:
    straight = next(f for f in content["features"] if len(f["geometry"]["coordinates"]) == 2)
    content["features"].append(straight)


def _crs(content: Any) -> None:
    content["foldmap:crs"] = "no such thing"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_move, "m from where another"),
        (lambda c: c["features"][1]["properties"].pop("to"), "feature 1: to is 'None'"),
        (lambda c: c["features"][1]["properties"].update({"from": "x"}), "feature 1: from is 'x'"),
        (lambda c: c["features"][1]["properties"].update(kind="road"), "feature 1: kind is 'road'"),
        (lambda c: c["features"][1]["geometry"].update(type="Point"), "feature 1 is no LineString"),
        (lambda c: c["features"][1]["geometry"].update(coordinates=[[1, 2]]), "feature 1 has 1 points"),
        (lambda c: c["features"][1]["geometry"].update(coordinates=[[1, 2], [3]]), "feature 1 is no list of points"),
        (_repeat, "is there twice"),
        (lambda c: c["features"].append(5), "is no GeoJSON feature"),
        (lambda c: c.update({"foldmap:street": 2}), "version 2"),
        (_crs, "no coordinate reference system"),
        (lambda c: c.update(type="Topology"), "no GeoJSON FeatureCollection"),
    ],
)
def test_edits_that_break_a_file_are_named(tmp_path: Path, change: Any, message: str) -> None:
    read_geojson(edited(tmp_path, lambda content: None))
    with pytest.raises(MapInputError, match=message):
        read_geojson(edited(tmp_path, change))


def test_plain_files_without_lines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MapInputError, match="no LineString"):
        read_geojson(collection(tmp_path))
    with pytest.raises(MapInputError, match="1 of 1 lanes are damaged, the first fault: feature 0 has 1 points"):
        read_geojson(collection(tmp_path, feature([[0, 0]])))
    with pytest.raises(MapInputError, match="NaN"):
        read_geojson(collection(tmp_path, feature([[0, math.nan], [50, 50]])))
    with pytest.raises(MapInputError, match="two distinct"):
        read_geojson(collection(tmp_path, feature([[3, 3], [3, 3]])))


def test_without_a_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    write_geojson(town(), tmp_path / "map.geojson")
    assert len(read_geojson(tmp_path / "map.geojson").street_map.graph) == len(town().graph)
    with pytest.raises(MissingExtraError, match="geopandas"):
        write_geoparquet(town(), tmp_path / "map.parquet")


@pytest.mark.parametrize("form", ["geojson", "parquet"])
@pytest.mark.parametrize(
    ("said", "ways"),
    [
        ({}, [1]), ({"oneway": "yes"}, [1]), ({"oneway": "-1"}, [-1]), ({"oneway": "no"}, [1, -1]),
        ({"oneway": False}, [1, -1]), ({"highway": "residential"}, [1, -1]), ({"highway": "motorway_link"}, [1]),
        ({"highway": "primary", "junction": "roundabout"}, [1]), ({"highway": "footway"}, []),
    ],
)  # fmt: skip
def test_roads_of_openstreetmap_are_driven_as_they_say(
    tmp_path: Path, form: str, said: dict[str, Any], ways: list[int]
) -> None:
    """Each way has lanes of its own; a road for pedestrians beside another is left out and counted."""
    lines = [shapely.LineString([(0, 0), (50, 0), (100, 10)]), shapely.LineString([(0, 90), (50, 90)])]
    table = {name: [value, None] for name, value in said.items()}
    frame = geopandas.GeoDataFrame({"id": ["road", "lane"], **table}, geometry=lines, crs=UTM)
    path = tmp_path / f"map.{form}"
    frame.to_parquet(path) if form == "parquet" else frame.to_file(path, driver="GeoJSON")
    reading = WRITERS[form][1](path)
    found = {lane.identity: k for k, lane in enumerate(reading.street_map.graph.lanes)}
    assert set(found) == {"lane"} | {"road" if way > 0 else "road/reversed" for way in ways}
    assert ways or list(reading.left_out) == ["line of highway footway, closed to vehicles"]
    for way in ways:
        graph = reading.street_map.graph
        edge = graph.edges[graph.lane == found["road" if way > 0 else "road/reversed"]][0]
        assert np.sign(np.diff(graph.vertices_m[edge, 0])[0]) == way


@pytest.mark.parametrize("form", ["json", "parquet"])
@pytest.mark.parametrize(
    ("bridge_m", "ends"), [(6.0, 2), (1.0, 1), (310.0, 1), (None, 1), (1e300, 1), (10**400, 1), ("6", 1)]
)
def test_ends_on_two_levels_are_not_joined(tmp_path: Path, form: str, bridge_m: Any, ends: int) -> None:
    """A road that ends below where a bridge begins; a third goes on from it on its own level."""
    level = [] if bridge_m is None else [bridge_m]
    lines = [
        [[1000.0, 0.0, 0.0], [1050.0, 0.0, 0.0]],
        [[1050.2, 0.0, *level], [1100.0, 0.0, *level]],
        [[1100.0, 0.1, *level], [1150.0, 0.0, *level]],
    ]
    if form == "json":
        features = [
            {"type": "Feature", "properties": {}, "geometry": {"type": "LineString", "coordinates": line}}
            for line in lines
        ]
        path = tmp_path / "lanes.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "foldmap:crs": None, "features": features}))
        found = read_geojson(path)
    else:
        if isinstance(bridge_m, int | str):
            return  # WKB holds none such
        shapes = [
            shapely.LineString([point if len(point) > 2 else [*point, math.nan] for point in line]) for line in lines
        ]
        geopandas.GeoDataFrame({"id": [1, 2, 3]}, geometry=shapes, crs=UTM).to_parquet(tmp_path / "lanes.parquet")
        found = read_geoparquet(tmp_path / "lanes.parquet")
    graph = found.street_map.graph
    assert int((graph.out_degree == 0).sum()) == ends
    assert found.left_out.get("end that meets another line in plan, on another level: not joined", 0) == ends - 1


def test_streets_in_millimetres_are_refused(tmp_path: Path) -> None:
    for name, coordinates in (("long", [[0, 0], [9e6, 0]]), ("wide", [[0, 0], [900, 0]])):
        lane = {"type": "LineString", "coordinates": coordinates}
        features = [{"type": "Feature", "properties": {"width_m": 3500.0}, "geometry": lane}]
        text = json.dumps({"type": "FeatureCollection", "foldmap:crs": None, "features": features})
        (tmp_path / f"{name}.geojson").write_text(text)
        with pytest.raises(MapInputError, match=r"give metres, not millimetres|3,500 m wide"):
            read_geojson(tmp_path / f"{name}.geojson")
