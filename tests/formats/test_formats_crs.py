"""Coordinate reference systems, against pyproj's geodesics: units, axes, scale at the place, and every map reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldmap.errors import MapInputError
from foldmap.formats.crs import (
    about,
    from_lonlat,
    is_world_mercator,
    lonlat_lines,
    metric_lines,
    moved_poses,
    read_crs,
    require_metric,
    require_true,
    scale_error,
    to_lonlat,
    utm_of,
)
from foldmap.formats.street.geojson import read_geojson, write_geojson
from foldmap.formats.street.lanelet2.write import write_lanelet2
from foldmap.formats.street.maps import read_street_maps
from foldmap.geometry import SE2
from foldmap.street.source import StreetMap

GEOD = pyproj.Geod(ellps="WGS84")
EARTHED = "+proj=utm +zone=32 +datum=WGS84 +geoidgrids=egm96_15.gtx +vunits=m +units=m +no_defs"
MERCATORS = [
    "EPSG:3857", "EPSG:3395", "+proj=merc +lon_0=0 +k=1 +datum=WGS84 +units=m", "urn:ogc:def:crs:EPSG::3857",
    "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +k=1 +units=m +nadgrids=@null +wktext +no_defs",
]  # fmt: skip
OTHER_UNITS = [
    ("EPSG:2263", "US survey foot"), ("EPSG:2222", "foot"), ("+proj=tmerc +lat_0=40 +lon_0=-74 +units=us-ft", "foot"),
    ("+proj=utm +zone=32 +units=km", "kilometre"), ('LOCAL_CS["a",UNIT["US survey foot",0.304800609601219]]', "foot"),
    ('LOCAL_CS["a",UNIT["unknown",1000]]', "1000 m"), ("EPSG:4978", "Geocentric"), ("EPSG:5703", "Vertical"),
    ('ENGCRS["a",EDATUM["d"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["kilometre",1000]]', "kilom"),
    ("EPSG:2053", "point west and south"), ("EPSG:5513", "point south and west"),
    ("+proj=tmerc +lat_0=48 +lon_0=11 +axis=wsu", "point west and south"),
]  # fmt: skip
UNREADABLE = ["+proj=tmercator +lat_0=37.35", "+proj=utm", "+proj=utm +zone=99", "EPSG:1", "", "metres", "x" * 70_000]


@pytest.mark.parametrize("crs", UNREADABLE)
def test_what_only_fails_later_fails_at_once(crs: str) -> None:
    with pytest.raises(MapInputError, match=r"^here: .*(no coordinate reference system|characters)"):
        metric_lines([np.zeros((2, 2))], crs, "here")


@pytest.mark.parametrize(("crs", "message"), OTHER_UNITS)
def test_units_and_axes_that_are_no_metres_east_and_north(crs: str, message: str) -> None:
    for use in (
        lambda: metric_lines([np.eye(2) * 1000], crs, "here"),
        lambda: require_metric(crs, "here"),
        lambda: require_true(crs, np.eye(2), "here"),
    ):
        with pytest.raises(MapInputError, match=f"here.*{message}") as caught:
            use()
        assert caught.value.cure


@pytest.mark.parametrize(
    ("crs", "text"),
    [
        ("EPSG:25832", "EPSG:25832"), ("epsg:25832", "EPSG:25832"), (25832, "EPSG:25832"),
        ("+init=epsg:25832", "EPSG:25832"),
        ("urn:ogc:def:crs:EPSG::25832", "EPSG:25832"), ("EPSG:5555", "EPSG:25832"), ("EPSG:25832+5783", "EPSG:25832"),
        (pyproj.CRS("EPSG:25832").to_wkt(), "EPSG:25832"), (pyproj.CRS("EPSG:25832").to_json_dict(), "EPSG:25832"),
        (pyproj.CRS("EPSG:5555").to_wkt("WKT1_GDAL"), "EPSG:25832"), ("EPSG:31467", "EPSG:31467"),
        (EARTHED, "+proj=utm +zone=32 +datum=WGS84 +units=m +no_defs"),
        ("+proj=utm +zone=32 +ellps=bessel +towgs84=598,73,418,0,0,0,0 +units=m +vto_meter=1", None),
    ],
)  # fmt: skip
def test_only_the_horizontal_part_counts(crs: Any, text: str | None) -> None:
    place = np.array([[8.4, 49.0], [8.41, 49.0]])
    xy = from_lonlat(place, crs)
    lines, kept = metric_lines([xy], crs, "here")
    assert text in (kept, None)
    assert lines[0] is xy
    np.testing.assert_allclose(to_lonlat(xy, kept), place, atol=1e-9)
    assert require_true(crs, xy, "here") == kept


@pytest.mark.parametrize("crs", MERCATORS)
@pytest.mark.parametrize("latitude", [-60.0, 0.5, 48.0])
def test_a_metre_of_mercator_is_a_metre_at_the_equator_only(crs: str, latitude: float) -> None:
    place = np.array([[11.0, latitude], [11.004, latitude + 0.001], [11.008, latitude]])
    xy = from_lonlat(place, crs)
    lines, kept = metric_lines([xy], crs, "here")
    true_m = GEOD.line_length(*place.T)
    assert np.hypot(*np.diff(lines[0], axis=0).T).sum() == pytest.approx(true_m, rel=1e-3)
    np.testing.assert_allclose(to_lonlat(lines[0], kept), place, atol=1e-9)
    assert is_world_mercator(crs)
    if latitude == 0.5:
        assert lines[0] is xy
        require_true(crs, xy, "here")
    else:
        assert str(kept).startswith("+proj=tmerc")
        with pytest.raises(MapInputError, match="are not metres of ground") as caught:
            require_true(crs, xy, "here")
        assert utm_of(place) in caught.value.cure


@pytest.mark.parametrize(
    ("crs", "place", "true"),
    [
        ("+proj=merc +lat_ts=48 +datum=WGS84", (11, 48), True),
        ("+proj=merc +lat_ts=48 +datum=WGS84", (11, 60), False),
        ("EPSG:3035", (10, 52), True),
        ("EPSG:3035", (-8, 38), False),
        ("EPSG:25832", (6.1, 51), True),
        ("EPSG:4087", (11, 48), False),
        ("EPSG:31467", (9, 48), True),
    ],
)
def test_any_projection_is_judged_where_the_map_is(crs: str, place: tuple[float, float], true: bool) -> None:
    lonlat = np.array([place, np.add(place, 0.01)], np.float64)
    xy = from_lonlat(lonlat, crs)
    placed, kept = metric_lines([xy], crs, "here")
    length_m = float(np.hypot(*(placed[0][1] - placed[0][0])))
    assert length_m == pytest.approx(GEOD.line_length(*lonlat.T), rel=3e-3)
    assert (placed[0] is xy) is true
    assert (scale_error(read_crs(kept, "here"), lonlat) < 0.005) is True
    assert not is_world_mercator(crs)


def test_degrees_of_any_kind_and_maps_too_large() -> None:
    place = np.array([[8.4, 49.0], [8.41, 49.0]])
    paris = "EPSG:4807"  # grads from Paris
    lines, kept = metric_lines([to_grads(place)], paris, "here")
    assert np.hypot(*np.diff(lines[0], axis=0)[0]) == pytest.approx(GEOD.line_length(*place.T), rel=1e-3)
    assert str(kept).startswith("+proj=tmerc")
    with pytest.raises(MapInputError, match="in degrees"):
        metric_lines([place], "EPSG:4326", "here", degrees=False)
    with pytest.raises(MapInputError, match="no longitude and latitude"):
        lonlat_lines(np.array([[5e5, 5e6]]), [1], "here")
    with pytest.raises(MapInputError, match="spans longitudes"):
        metric_lines([place, np.add(place, (20.0, 0.0))], "EPSG:4326", "here")
    fiji = np.array([[179.99, -17.0], [-179.99, -17.0]])
    lines, _ = metric_lines([fiji], "OGC:CRS84", "here")
    assert np.hypot(*np.diff(lines[0], axis=0)[0]) == pytest.approx(GEOD.line_length(*fiji.T), rel=1e-5)
    assert "+lon_0=-180.0" in about(fiji)
    with pytest.raises(MapInputError, match=r"far outside|is outside"):
        metric_lines([np.array([[9e6, 9e6], [9e6, 9.1e6]])], "EPSG:25832", "here")
    assert metric_lines([], "EPSG:25832", "here") == ([], "EPSG:25832")
    assert metric_lines([place], None, "here")[1] is None
    assert metric_lines([place], 'LOCAL_CS["a",UNIT["metre",1]]', "here")[1] is None


def to_grads(lonlat: np.ndarray) -> np.ndarray:
    change = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:4807", always_xy=True)
    return np.stack(change.transform(*lonlat.T), 1)


# the same road through every reader


def road(bend: float, turn: float, points: int = 12) -> np.ndarray:
    """Metres of a road about (0, 0), two hundred metres long."""
    along = np.linspace(-100, 100, points)
    line = np.stack([along, bend * along**2 / 400], 1)
    return line @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def as_geojson(path: Path, line: np.ndarray, crs: str | None) -> Path:
    path = path / "road.geojson"
    member = {} if crs is None else {"crs": {"type": "name", "properties": {"name": crs}}}
    geometry = {"type": "LineString", "coordinates": line.tolist()}
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    path.write_text(json.dumps({"type": "FeatureCollection", **member, "features": [feature]}))
    return path


def as_parquet(path: Path, line: np.ndarray, crs: str | None) -> Path:
    path = path / "road.parquet"
    geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.LineString(line)], crs=crs).to_parquet(path)
    return path


def as_sumo(path: Path, line: np.ndarray, crs: str | None) -> Path:
    path = path / "road.net.xml"
    shift = -np.round(line[0])
    shape = " ".join(f"{x:.9f},{y:.9f}" for x, y in line + shift)
    path.write_text(
        f'<net><location netOffset="{shift[0]:.2f},{shift[1]:.2f}" projParameter="{crs or "!"}"/><edge id="a">'
        f'<lane id="a_0" index="0" shape="{shape}"/></edge></net>'
    )
    return path


def as_opendrive(path: Path, line: np.ndarray, crs: str | None) -> Path:
    """A straight road: what one geometry element can be."""
    path = path / "road.xodr"
    ahead = line[-1] - line[0]
    length, heading = np.hypot(*ahead), np.arctan2(ahead[1], ahead[0])
    reference = f"<geoReference><![CDATA[\n{crs}\n]]></geoReference>" if crs else ""
    path.write_text(
        f'<OpenDRIVE><header revMajor="1" revMinor="7">{reference}<offset x="{line[0, 0]:.9f}" y="{line[0, 1]:.9f}" '
        f'z="0" hdg="{heading:.12f}"/></header><road id="1" length="{length:.9f}" junction="-1"><planView><geometry '
        f's="0" x="0" y="0" hdg="0" length="{length:.9f}"><line/></geometry></planView><lanes><laneSection s="0">'
        '<right><lane id="-1" type="driving"><width sOffset="0" a="0.0001" b="0" c="0" d="0"/></lane></right>'
        "</laneSection></lanes></road></OpenDRIVE>"
    )
    return path


WRITERS = [as_geojson, as_parquet, as_sumo, as_opendrive]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("crs", "message"), [each for each in OTHER_UNITS if "[" not in each[0]])
def test_every_reader_refuses_other_units(tmp_path: Path, write: Any, crs: str, message: str) -> None:
    if write is as_sumo and not crs.startswith(("+", "EPSG")):
        pytest.skip("SUMO writes PROJ texts and codes")
    with pytest.raises(MapInputError, match=message) as caught:
        read_street_maps(write(tmp_path, np.add(road(0, 0), (4e5, 5e6)), crs))
    assert "road." in caught.value.message


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    crs=st.sampled_from(["EPSG:25832", "EPSG:3857", "EPSG:3035", EARTHED, MERCATORS[2], MERCATORS[4]]),
    longitude=st.floats(7, 11),
    latitude=st.floats(44, 58),
    bend=st.floats(-1, 1),
    turn=st.floats(-3, 3),
)
def test_every_reader_has_the_road_where_and_as_long_as_it_is(
    tmp_path: Path, crs: str, longitude: float, latitude: float, bend: float, turn: float
) -> None:
    place = to_lonlat(road(bend, turn), about(np.array([[longitude, latitude]])))
    xy = from_lonlat(place, crs)
    for write in WRITERS:
        if write is as_parquet and crs is EARTHED:
            continue  # geopandas itself cannot write a crs whose grid it lacks
        expected = place[[0, -1]] if write is as_opendrive else place
        found = read_street_maps(write(tmp_path, xy, crs))[0]
        assert found.graph.length_m == pytest.approx(
            GEOD.line_length(*expected.T), rel=5.1e-3 if "3035" in crs else 3e-3
        )
        back = to_lonlat(found.graph.vertices_m, found.crs)
        ends = np.array([back[found.graph.in_degree == 0][0], back[found.graph.out_degree == 0][0]])
        assert np.abs(GEOD.inv(*ends.T, *expected[[0, -1]].T)[2]).max() < 0.01
        write_geojson(found, tmp_path / "out.geojson")
        write_lanelet2(tmp_path / "out.osm", found)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    east=st.integers(-200_000, 200_000),
    north=st.integers(-200_000, 200_000),
    bend=st.floats(-1, 1),
    turn=st.floats(-3, 3),
)
def test_moving_a_map_moves_it_and_nothing_else(
    tmp_path: Path, east: int, north: int, bend: float, turn: float
) -> None:
    start = np.array([500_000.0, 5_400_000.0])
    for write in WRITERS:
        one = read_street_maps(write(tmp_path, road(bend, turn) + start, "EPSG:25832"))[0]
        other = read_street_maps(write(tmp_path, road(bend, turn) + start + np.array([east, north]), "EPSG:25832"))[0]
        assert one.crs == other.crs == "EPSG:25832"
        np.testing.assert_allclose(other.graph.vertices_m, np.add(one.graph.vertices_m, (east, north)), atol=1e-5)
        np.testing.assert_array_equal(other.graph.edges, one.graph.edges)
        local = read_street_maps(write(tmp_path, np.add(road(bend, turn), (east, north)), None))[0]
        assert local.crs is None
        assert local.graph.length_m == pytest.approx(one.graph.length_m, abs=1e-6)


def test_a_reference_with_a_geoid_folds_and_comes_out(tmp_path: Path) -> None:
    """The grid file is nowhere, and heights do not matter."""
    found = read_street_maps(as_opendrive(tmp_path, np.add(road(0, 0.3), (4e5, 5.4e6)), EARTHED))[0]
    assert "geoid" not in str(found.crs)
    write_geojson(found, tmp_path / "out.geojson")
    again = read_geojson(tmp_path / "out.geojson").street_map
    np.testing.assert_allclose(np.sort(again.graph.vertices_m, 0), np.sort(found.graph.vertices_m, 0), atol=1e-4)
    write_lanelet2(tmp_path / "out.osm", StreetMap("a", found.graph, EARTHED))


@pytest.mark.shared
def test_the_case_of_a_reference_with_a_geoid(shared_data: Path, tmp_path: Path) -> None:
    case = shared_data.parent / "cases" / "street-maps" / "esmini__xodr__curve_r100.xodr"
    if not case.is_file():
        pytest.skip(f"no case at {case}")
    found = read_street_maps(case)[0]
    write_geojson(found, tmp_path / "out.geojson")
    write_lanelet2(tmp_path / "out.osm", found)


def test_poses_of_one_crs_in_another() -> None:
    place = np.array([[9.0, 49.0], [8.2, 49.01]])
    local, utm = about(place), "EPSG:32632"
    turned = from_lonlat(place, utm)
    poses = [SE2(x, y, heading) for (x, y), heading in zip(turned.tolist(), (0.3, -3.0), strict=True)]
    moved = moved_poses(poses, utm, local, "here")
    np.testing.assert_allclose([(one.x_m, one.y_m) for one in moved], from_lonlat(place, local), atol=1e-4)
    ahead = [one @ SE2(50.0, 0.0, 0.0) for one in poses]
    there = moved_poses(ahead, utm, local, "here")
    for one, other in zip(moved, there, strict=True):  # what lies ahead of one does so of the other
        step = one.inverse() @ other
        assert (step.x_m, step.y_m) == pytest.approx((50.0, 0.0), abs=0.05)
    assert moved_poses(poses, utm, "epsg:32632", "here") == poses
