"""Where the nodes of a Lanelet2 map are, where latitude and longitude and local_x and local_y disagree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import MapInputError
from foldmap.formats.crs import about, to_lonlat
from foldmap.formats.street.lanelet2.read import read_lanelet2

LOCAL = np.add([[0.0, 3.5], [25, 3.5], [50, 3.5], [0, 0], [25, 0], [50, 0]], (80_000, 40_000))
TOKYO = np.array([[139.0, 35.0]])


def write(path: Path, lonlat: np.ndarray | None, local: np.ndarray | None, without: tuple[int, ...] = ()) -> Path:
    nodes = []
    for at in range(6):
        place = "" if lonlat is None else f'lat="{lonlat[at, 1]:.11f}" lon="{lonlat[at, 0]:.11f}"'
        tags = ""
        if local is not None and at not in without:
            tags = "".join(f'<tag k="local_{axis}" v="{local[at, k]:.4f}"/>' for k, axis in enumerate("xy"))
        nodes.append(f'<node id="{at + 1}" {place}>{tags}</node>')
    ways = "".join(
        f'<way id="{way}">' + "".join(f'<nd ref="{node}"/>' for node in run) + "</way>"
        for way, run in ((11, (1, 2)), (12, (2, 3)), (21, (4, 5)), (22, (5, 6)))
    )
    relations = "".join(
        f'<relation id="{100 + k}"><member type="way" ref="1{k}" role="left"/>'
        f'<member type="way" ref="2{k}" role="right"/>'
        '<tag k="type" v="lanelet"/><tag k="subtype" v="road"/><tag k="one_way" v="yes"/></relation>'
        for k in (1, 2)
    )
    file = path / "map.osm"
    file.write_text(f'<osm version="0.6">{"".join(nodes)}{ways}{relations}</osm>')
    return file


def earthly(stretch: float = 1.0, turn: float = 0.0) -> np.ndarray:
    x, y = ((LOCAL - LOCAL.mean(0)) * stretch).T
    turned = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1)
    return to_lonlat(turned, about(TOKYO))


@pytest.mark.parametrize(
    "lonlat",
    [
        earthly(10.0),
        earthly(1.05),
        np.repeat(TOKYO, 6, 0),
        earthly() + np.eye(6)[:, :2] * 1e-4,  # one node was moved
        earthly()[[3, 4, 5, 0, 1, 2]],  # mirrored
        earthly() * (1, 40),  # no latitudes at all
    ],
)
def test_tags_win_where_they_contradict(tmp_path: Path, lonlat: np.ndarray) -> None:
    reading = read_lanelet2(write(tmp_path, lonlat, LOCAL))
    assert reading.street_map.crs is None
    assert reading.street_map.graph.length_m == pytest.approx(50.0, abs=0.01)
    assert reading.street_map.graph.vertices_m.min() > 30_000
    (note,) = [what for what in reading.left_out if "contradict" in what]
    assert reading.left_out[note] >= 1


@pytest.mark.parametrize("turn", [0.0, 0.03, 2.0])
@pytest.mark.parametrize("stretch", [1.0, 0.9996])
def test_both_that_agree_stay_on_earth(tmp_path: Path, turn: float, stretch: float) -> None:
    reading = read_lanelet2(write(tmp_path, earthly(stretch, turn), LOCAL))
    assert str(reading.street_map.crs).startswith("+proj=tmerc")
    assert reading.street_map.graph.length_m == pytest.approx(50.0 * stretch, abs=0.01)
    assert not reading.left_out


def test_latitudes_win_where_tags_are_no_help(tmp_path: Path) -> None:
    for local, without in ((LOCAL, (2,)), (np.zeros((6, 2)), ()), (None, ())):
        reading = read_lanelet2(write(tmp_path, earthly(), local, without))
        assert reading.street_map.crs is not None
        assert reading.street_map.graph.length_m == pytest.approx(50.0, abs=0.01)


def test_null_island_is_a_place_where_nothing_else_is_said(tmp_path: Path) -> None:
    """As lanelet2 reads highD's maps, whose latitudes and longitudes are metres from 0, 0 in degrees."""
    near = to_lonlat(LOCAL - LOCAL.min(0), about(np.zeros((1, 2))))
    found = read_lanelet2(write(tmp_path, near, None)).street_map
    assert found.graph.length_m == pytest.approx(50.0, abs=0.01)
    assert found.crs is not None
    assert read_lanelet2(write(tmp_path, near, LOCAL)).street_map.crs is None
    assert read_lanelet2(write(tmp_path, None, LOCAL)).street_map.graph.length_m == pytest.approx(50.0)
    with pytest.raises(MapInputError, match="neither latitude and longitude nor"):
        read_lanelet2(write(tmp_path, None, None))
    with pytest.raises(MapInputError, match="these are radians"):
        read_lanelet2(write(tmp_path, np.radians(earthly()), None))


def test_a_crs_that_is_asked_for_is_one_of_metres_there(tmp_path: Path) -> None:
    path = write(tmp_path, earthly(), None)
    assert read_lanelet2(path, crs="utm").street_map.crs == "EPSG:32654"
    with pytest.raises(MapInputError, match=r"the option crs: metres of EPSG:3857 .* off by 22") as caught:
        read_lanelet2(path, crs="EPSG:3857")
    assert caught.value.cure == "give EPSG:32654"
    with pytest.raises(MapInputError, match="foot"):
        read_lanelet2(path, crs="EPSG:2263")
