"""Splits by place and city, and distances in real coordinates, against geodesics of pyproj."""

import numpy as np
import pytest

from foldmap.bench.street.split import LEAKY, check_disjoint, cities, distances, split_maps
from foldmap.errors import ConfigError
from foldmap.formats.crs import local_crs, to_lonlat
from foldmap.geometry import SE2
from foldmap.street.graph.window import AROUND
from foldmap.street.source import LaneGraph, StreetMap

pyproj = pytest.importorskip("pyproj")

LINE = LaneGraph.from_polylines([np.array([[0.0, 0.0], [50.0, 0.0], [90.0, 30.0]])])
BOSTON_A = StreetMap("a", LINE, local_crs(42.31, -71.10))
BOSTON_B = StreetMap("b", LINE, local_crs(42.33, -71.06))
BOSTON_UTM = StreetMap("u", LINE.moved(SE2(328_000.0, 4_690_000.0, 0.0)), "EPSG:32619")
AUSTIN = StreetMap("t", LINE, local_crs(30.27, -97.74))
NOWHERE, ELSEWHERE = StreetMap("n", LINE), StreetMap("m", LINE)


def test_cities_are_found_by_distance() -> None:
    found = cities([BOSTON_A, AUSTIN, BOSTON_B, NOWHERE, BOSTON_UTM, ELSEWHERE])
    assert found["a"] == found["b"] == found["u"]
    assert len({found[name] for name in "atnm"}) == 4


def test_splits_hold_out_maps_or_whole_cities() -> None:
    maps = [BOSTON_A, BOSTON_B, AUSTIN]
    assert split_maps(maps, "place", ["b"]).train == ("a", "t")
    assert split_maps(maps, "city", ["b"]).test == ("a", "b")
    drawn = split_maps(maps, "place")
    assert set(drawn.test) < {"a", "b"}  # the only city with several
    assert split_maps(maps, "leaky").leaky
    for by, names, words in (
        ("place", ["x"], "no map 'x'"),
        ("random", [], "no split by"),
        ("place", ["a", "b", "t"], "3 of 3"),
    ):
        with pytest.raises(ConfigError, match=words):
            split_maps(maps, by, names)
    with pytest.raises(ConfigError, match="held out"):
        split_maps([NOWHERE], "place")


def test_distances_are_those_of_the_geodesic() -> None:
    maps = {street.name: street for street in (BOSTON_A, BOSTON_B, BOSTON_UTM)}
    queries = np.array([[0.0, 0.0], [500.0, -300.0]])
    training = {"b": np.array([[10.0, 20.0], [900.0, 0.0]]), "u": np.array([[328_100.0, 4_690_100.0]])}
    found = distances(maps, ["a", "a"], queries, training)
    geod = pyproj.Geod(ellps="WGS84")
    for query, value in zip(queries, found.nearest_m, strict=True):
        lon, lat = to_lonlat(query[None], BOSTON_A.crs)[0]
        places = np.concatenate([to_lonlat(xy, maps[name].crs) for name, xy in training.items()])
        expected = min(geod.inv(lon, lat, *place)[2] for place in places)
        assert value == pytest.approx(expected, rel=1e-5)
    assert "km" in str(distances(maps, ["a"], queries[:1], {"u": np.array([[328_000.0, 4_790_000.0]])}))


def test_what_is_nowhere_is_said_to_be_unknown() -> None:
    maps = {street.name: street for street in (NOWHERE, ELSEWHERE, BOSTON_A)}
    queries = np.zeros((2, 2))
    found = distances(maps, ["n", "a"], queries, {"m": np.ones((3, 2))})
    assert np.isnan(found.nearest_m).all()
    assert "unknown, different maps, for 2 of 2" in str(found)
    same = distances(maps, ["n", "n"], queries, {"n": np.array([[30.0, 40.0]]), "m": np.ones((3, 2))})
    assert same.nearest_m.tolist() == [50.0, 50.0]


def test_a_leak_is_refused_unless_asked_for_by_name() -> None:
    near = {"n": np.array([[30.0, 40.0]])}
    found = distances({"n": NOWHERE}, ["n"], np.zeros((1, 2)), near)
    with pytest.raises(ConfigError, match="the split leaks"):
        check_disjoint(found, AROUND)
    asked = distances({"n": NOWHERE}, ["n"], np.zeros((1, 2)), near, leaky=True)
    assert check_disjoint(asked, AROUND).tolist() == [True]
    assert LEAKY in str(asked)
    far = distances({"n": NOWHERE}, ["n"], np.zeros((1, 2)), {"n": np.array([[60.0, 0.0]])})
    assert not check_disjoint(far, AROUND).any()
