"""Polylines without topology: CSV, nuScenes scenes, damaged archives."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldmap.errors import MapInputError
from foldmap.formats.street.nuscenes import read_nuscenes_groups, read_nuscenes_lanes
from foldmap.formats.street.polylines import read_csv
from foldmap.street.source import LANE, LINK

GOOD = "line,x_m,y_m,kind,lane_type\na,0,0,,bus\na,10,0,,\nb,10.2,0,link,\n\nb,20,5,link,\n"


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "lanes.csv"
    path.write_text(text)
    return path


def test_a_csv(tmp_path: Path) -> None:
    found = read_csv(table(tmp_path, "\ufeff" + GOOD)).street_map
    assert (found.name, found.crs, len(found.graph)) == ("lanes", None, 3)
    assert found.graph.vertices_m[1].tolist() == [10.1, 0.0]
    assert found.graph.kind.tolist() == [LANE, LINK]
    assert [(lane.identity, lane.lane_type) for lane in found.graph.lanes] == [("a", "bus"), ("b", None)]
    assert len(read_csv(table(tmp_path, GOOD), 0.1).street_map.graph) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column line"),
        ("line,x,y\n1,2,3\n", "no column x_m"),
        ("line,x_m,y_m\n1,2,3\n1,x,3\n", "row 3: could not convert"),
        ("line,x_m,y_m\n1,2\n", "row 2: could not convert"),
        ("line,x_m,y_m\n1,2,inf\n", "row 2: a coordinate is not finite"),
        ("line,x_m,y_m\n,2,3\n", "row 2: the line has no name"),
        ("line,x_m,y_m\n1,0,0\n2,0,5\n1,9,0\n2,9,5\n", "row 4: line 1 comes again after rows of other lines"),
        ("line,x_m,y_m\n1,2,3\n", "two distinct points"),
        ("line,x_m,y_m\n", "two distinct points"),
        ("line,x_m,y_m\n1,8.4,49.0\n1,8.4001,49.0001\n1,8.4002,49.0001\n", "are degrees"),
        ('line,x_m,y_m\n1,"2,3\n', "no table"),
    ],
)
def test_bad_tables_name_the_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MapInputError, match=message):
        read_csv(table(tmp_path, text))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(MapInputError, match="cannot be read"):
        read_csv(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MapInputError, match="not a text file"):
        read_csv(tmp_path / "b.csv")


def scene(shift: tuple[float, float], *lanes: tuple[str, list[tuple[float, float]]]) -> dict[str, np.ndarray]:
    points = [(x + shift[0], y + shift[1], 0.0) for _, line in lanes for x, y in line]
    return {
        "points": np.array(points, np.float32),
        "offsets": np.cumsum([0] + [len(line) for _, line in lanes]).astype(np.int32),
        "token": np.array([token for token, _ in lanes]),
    }


A = ("a", [(0.0, 0.0), (10.0, 0.0)])
B = ("b", [(10.1, 0.0), (20.0, 0.0)])
C = ("c", [(20.0, 0.0), (30.0, 5.0)])
FAR = ("far", [(500.0, 0.0), (530.0, 5.0)])


def archive(tmp_path: Path, **scenes: dict[str, Any]) -> Path:
    path = tmp_path / "lanes.npz"
    np.savez(path, **{f"{name}/{part}": value for name, arrays in scenes.items() for part, value in arrays.items()})
    return path


def test_scenes_that_share_lanes_become_one_map(tmp_path: Path) -> None:
    path = archive(tmp_path, s1=scene((0, 0), A, B), s2=scene((-5, 7), FAR), s3=scene((100, -50), B, C))
    both, alone = read_nuscenes_groups(path)
    assert both.street_map.name == "s1+s3"
    assert [lane.identity for lane in both.street_map.graph.lanes] == ["a", "b", "c"]
    assert both.joined.links == 2
    assert (both.map_SE2_scene["s3"].x_m, both.map_SE2_scene["s3"].y_m) == pytest.approx((-100, 50), abs=1e-4)
    assert both.street_map.graph.vertices_m.max(0) == pytest.approx([30, 5], abs=1e-4)
    assert alone.street_map.name == "s2"
    assert [m.street_map.name for m in read_nuscenes_lanes(path, merge=False)] == ["s1", "s2", "s3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.zeros((4, 3), np.int32)}, "do not fit"),
        ({"offsets": np.array([0, 2, 3])}, "offsets do not cover"),
        ({"offsets": np.array([0, 2])}, "do not fit"),
        ({"points": np.full((4, 2), np.nan, np.float32)}, "2 of 2 lanes are damaged, .* not finite"),
        ({"token": np.array(["a", None], object)}, "damaged"),
    ],
)
def test_bad_scenes_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(MapInputError, match=message):
        read_nuscenes_lanes(archive(tmp_path, s1={**scene((0, 0), A, B), **change}))


def test_scenes_that_contradict_each_other_and_other_archives(tmp_path: Path) -> None:
    bent = ("c", [(20.0, 0.0), (30.0, 9.0)])
    path = archive(tmp_path, s1=scene((0, 0), A, B, C), s2=scene((9, 9), B, bent))
    with pytest.raises(MapInputError, match="s1 and s2 share lanes that do not agree"):
        read_nuscenes_lanes(path)
    assert len(read_nuscenes_lanes(path, merge=False)) == 2
    missing = {part: value for part, value in scene((0, 0), A).items() if part != "offsets"}
    with pytest.raises(MapInputError, match="s1 has no offsets"):
        read_nuscenes_lanes(archive(tmp_path, s1=missing))
    with pytest.raises(MapInputError, match="holds no scenes"):
        read_nuscenes_lanes(archive(tmp_path, s1={"points": np.zeros(3)}))
    np.savez_compressed(path, **{f"s1/{part}": value for part, value in scene((0, 0), *[A, B, C] * 9).items()})
    whole = path.read_bytes()
    for at in range(40, 200, 8):  # in the packed bytes, wherever they lie
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(MapInputError):
            read_nuscenes_lanes(path)
    path.write_bytes(b"PK no archive")
    with pytest.raises(MapInputError, match="damaged"):
        read_nuscenes_lanes(path)
    with pytest.raises(MapInputError, match="cannot be read"):
        read_nuscenes_lanes(tmp_path / "none.npz")


@pytest.mark.shared
def test_the_real_scenes_have_the_known_figures(shared_data: Path) -> None:
    path = shared_data / "street" / "nuscenes-lanes" / "lanes.npz"
    scenes = read_nuscenes_groups(path, merge=False)
    assert sum(len(s.street_map.graph.lanes) for s in scenes) == 5958
    assert sum(s.street_map.graph.length_m for s in scenes) == pytest.approx(162_800, rel=1e-3)
    for s in scenes:
        assert 0.885 < s.joined.joined / s.joined.ends < 0.93
        assert s.joined.bridged == 0
    links = [s.joined.links for s in scenes if s.street_map.name != "scene-1077"]
    assert (min(links), max(links)) == (432, 1206)

    cities = {g.street_map.name: g.street_map.graph for g in read_nuscenes_groups(path)}
    assert sum(len(graph.lanes) for graph in cities.values()) == 4694
    assert sum(graph.length_m for graph in cities.values()) == pytest.approx(125_900, rel=1e-3)
    boston = cities["scene-0103+scene-0553+scene-0757+scene-0655"]
    assert (len(boston.lanes), round(boston.length_m / 1000, 1)) == (2359, 65.4)
    assert math.isfinite(boston.vertices_m.sum())
