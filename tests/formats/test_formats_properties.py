"""For every map reader: what is moved moves, what is renamed is renamed, and nothing else changes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
from colmap_samples import small_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from colmap_writer import write_model
from foldmap.formats.colmap.scene import read_model
from foldmap.formats.street.geojson import write_geojson
from foldmap.formats.street.geoparquet import write_geoparquet
from foldmap.formats.street.lanelet2.write import write_lanelet2
from foldmap.formats.street.maps import read_street_maps
from foldmap.formats.sweeps.files import read_sweep
from foldmap.street.source import LaneAttributes, LaneGraph, StreetMap

FEW = settings(max_examples=6, deadline=None)
metres = st.floats(-3000, 3000).map(lambda value: round(value, 2))
LINES = ([[0, 0], [50, 0]], [[60, 5], [90, 10]], [[60, -20], [90, -25], [120, -40]])
UTM = "EPSG:25832"


def csv(lines: list[np.ndarray], names: list[str], path: Path) -> None:
    rows = [f"{name},{x!r},{y!r}" for name, line in zip(names, lines, strict=True) for x, y in line.tolist()]
    path.write_text("\n".join(["line,x_m,y_m", *rows]) + "\n")


def sumo(lines: list[np.ndarray], names: list[str], path: Path) -> None:
    shapes = [" ".join(f"{x!r},{y!r}" for x, y in line.tolist()) for line in lines]
    edges = "".join(
        f'<edge id="{name}" from="a" to="b"><lane id="{name}_0" index="0" speed="9" length="9" shape="{shape}"/></edge>'
        for name, shape in zip(names, shapes, strict=True)
    )
    bounds = 'convBoundary="0,0,1,1" origBoundary="0,0,1,1"'
    path.write_text(f'<net version="1.9"><location netOffset="0,0" {bounds} projParameter="!"/>{edges}</net>')


def opendrive(lines: list[np.ndarray], names: list[str], path: Path) -> None:
    lane = '<lane id="-1" type="driving"><width sOffset="0" a="0" b="0" c="0" d="0"/></lane>'
    middle = '<center><lane id="0" type="none"/></center>'
    lanes = f'<lanes><laneSection s="0">{middle}<right>{lane}</right></laneSection></lanes>'
    roads = []
    for name, line in zip(names, lines, strict=True):
        step = np.diff(line, axis=0)
        length, heading = np.hypot(*step.T), np.arctan2(step[:, 1], step[:, 0])
        at = np.concatenate([[0.0], np.cumsum(length)])
        pieces = "".join(
            f'<geometry s="{s!r}" x="{x!r}" y="{y!r}" hdg="{h!r}" length="{long!r}"><line/></geometry>'
            for s, x, y, h, long in np.column_stack([at[:-1], line[:-1], heading, length]).tolist()
        )
        head = f'<road id="{name}" junction="-1" length="{float(at[-1])!r}">'
        roads.append(f"{head}<planView>{pieces}</planView>{lanes}</road>")
    path.write_text(f'<OpenDRIVE><header revMajor="1" revMinor="7"/>{"".join(roads)}</OpenDRIVE>')


def argoverse2(lines: list[np.ndarray], names: list[str], path: Path) -> None:
    segments = {
        name: {"id": name, "successors": [], "centerline": [{"x": x, "y": y, "z": 0} for x, y in line.tolist()]}
        for name, line in zip(names, lines, strict=True)
    }
    path.write_text(json.dumps({"lane_segments": segments}))


def own(write: Callable[[StreetMap, Path], None]) -> Callable[[list[np.ndarray], list[str], Path], None]:
    def put(lines: list[np.ndarray], names: list[str], path: Path) -> None:
        lanes = [LaneAttributes(name) for name in names]
        placed = [line + np.array([500_000.0, 5_400_000.0]) for line in lines]
        write(StreetMap("town", LaneGraph.from_polylines(placed, lanes=lanes), UTM), path)

    return put


READERS = {
    "csv": (csv, "a.csv", 1e-9),
    "sumo": (sumo, "a.net.xml", 1e-9),
    "opendrive": (opendrive, "a.xodr", 1e-6),
    "argoverse2": (argoverse2, "a.json", 1e-9),
    "geojson": (own(write_geojson), "a.geojson", 1e-3),
    "geoparquet": (own(write_geoparquet), "a.parquet", 1e-9),
    "lanelet2": (own(lambda street, path: write_lanelet2(path, street)), "a.osm", 0.1),
}


def lanes_read(reader: str, lines: list[np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    """Start and end of each lane, and its length, by its name, relative to the frame that it was written in."""
    write, name, _ = READERS[reader]
    with tempfile.TemporaryDirectory() as folder:
        write(lines, names, Path(folder) / name)
        (street,) = read_street_maps(Path(folder) / name)
    graph, found = street.graph, {}
    places = graph.vertices_m
    if street.crs not in (None, UTM):  # Lanelet2 is read into a frame about its middle
        to_utm = pyproj.Transformer.from_crs(street.crs, UTM, always_xy=True)
        places = np.column_stack(to_utm.transform(*places.T))
    for number, lane in enumerate(graph.lanes):
        edges = graph.edges[graph.lane == number]
        start = np.setdiff1d(edges[:, 0], edges[:, 1])
        stop = np.setdiff1d(edges[:, 1], edges[:, 0])
        length = graph.edge_lengths_m[graph.lane == number].sum()
        found[lane.identity] = np.concatenate([places[start[0]], places[stop[0]], [length]])
    return found


def sorted_rows(found: dict[str, np.ndarray]) -> np.ndarray:
    """By length, which no two of the lanes share and no move changes."""
    rows = np.array(list(found.values()))
    return rows[np.argsort(rows[:, 4])]


@pytest.mark.parametrize("reader", READERS)
@given(east=metres, north=metres)
@FEW
def test_moved_lanes_move(reader: str, east: float, north: float) -> None:
    lines, names = [np.array(line, float) for line in LINES], ["11", "12", "13"]
    before = sorted_rows(lanes_read(reader, lines, names))
    after = sorted_rows(lanes_read(reader, [line + np.array([east, north]) for line in lines], names))
    np.testing.assert_allclose(after - before, np.tile([east, north, east, north, 0], (3, 1)), atol=READERS[reader][2])


@pytest.mark.parametrize("reader", READERS)
@given(order=st.permutations(range(3)), first=st.integers(20, 90))
@FEW
def test_renamed_and_reordered_lanes_stay(reader: str, order: list[int], first: int) -> None:
    lines, names = [np.array(line, float) for line in LINES], ["11", "12", "13"]
    before = sorted_rows(lanes_read(reader, lines, names))
    after = lanes_read(reader, [lines[k] for k in order], [str(first + k) for k in order])
    np.testing.assert_allclose(sorted_rows(after), before, atol=READERS[reader][2])
    if reader != "lanelet2":  # whose writer numbers its lanelets itself
        assert len(after) == 3
        assert all(any(str(first + k) in name for name in after) for k in range(3))


@pytest.mark.parametrize("text", [False, True])
@given(shift=st.tuples(metres, metres, metres))
@FEW
def test_a_moved_scene_moves(text: bool, shift: tuple[float, float, float]) -> None:
    names = ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    scene = small_scene(names=names)
    poses = scene.camera_SE3_world.copy()
    poses[:, :3, 3] -= poses[:, :3, :3] @ np.array(shift)
    renamed = tuple(f"sub/{name}" for name in names)
    moved = replace(scene, points_world=scene.points_world + shift, camera_SE3_world=poses, image_names=renamed)
    with tempfile.TemporaryDirectory() as folder:
        write_model(scene, Path(folder) / "a", text=text)
        write_model(moved, Path(folder) / "b", text=text)
        one, other = read_model(Path(folder) / "a"), read_model(Path(folder) / "b")
    np.testing.assert_allclose(other.points_world, one.points_world + shift, atol=1e-9)
    assert other.image_names == tuple(f"sub/{name}" for name in one.image_names)
    centre = [-pose[:3, :3].T @ pose[:3, 3] for pose in other.camera_SE3_world]
    before = [-pose[:3, :3].T @ pose[:3, 3] for pose in one.camera_SE3_world]
    np.testing.assert_allclose(centre, np.array(before) + shift, atol=1e-8)
    np.testing.assert_array_equal(one.tracks.xy_px, other.tracks.xy_px)
    np.testing.assert_array_equal(one.tracks.point, other.tracks.point)


@given(scale=st.sampled_from([10.0, 100.0, 255.0, 65535.0]), order=st.permutations(range(8)))
@FEW
def test_a_sweep_by_its_scale_and_order(scale: float, order: list[int]) -> None:
    points = np.column_stack([np.arange(8.0) + 1, np.arange(8.0), np.full(8, -1.8), np.linspace(0.1, 1, 8)])
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "0.bin", Path(folder) / "1.bin"
        points.astype("<f4").tofile(one)
        (points * [1, 1, 1, scale])[order].astype("<f4").tofile(other)
        before, after = read_sweep(one), read_sweep(other, scale)
    np.testing.assert_array_equal(after.points_sensor_m, before.points_sensor_m[order])
    np.testing.assert_allclose(after.intensity, before.intensity[order], rtol=1e-6)
