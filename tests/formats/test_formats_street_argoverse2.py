"""Argoverse 2: hand-made maps with known answers, and the real ones against their own JSON and shapely."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyproj
import pytest
import shapely
from scipy.spatial.transform import Rotation

from foldmap.errors import MapInputError, MissingExtraError
from foldmap.formats import extras
from foldmap.formats.street.argoverse2 import _CITY_UTM, read_argoverse2
from foldmap.formats.street.observations.argoverse2_rig import GROUND_Z_M, read_ring
from foldmap.geometry import Camera
from foldmap.street.source import LANE, LINK, LaneGraph

MAPS = ("0a1e6f0a", "3b3570b4", "3bffdcff", "7fab2350", "adcf7d18")


def bound(*points: tuple[float, float]) -> list[dict[str, float]]:
    return [{"x": x, "y": y, "z": 1.0} for x, y in points]


def segment(number: int, left: Any, right: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "is_intersection": False,
        "lane_type": "VEHICLE",
        "left_lane_boundary": left,
        "right_lane_boundary": right,
        "successors": [],
        "predecessors": [],
        **more,
    }


def street(tmp_path: Path, *segments: dict[str, Any], name: str = "log_map_archive_abc____PIT_city_1.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps({"lane_segments": {str(s["id"]): s for s in segments}, "drivable_areas": {}}))
    return path


def two_lanes() -> list[dict[str, Any]]:
    first = segment(1, bound((0, 2), (20, 2)), bound((0, -2), (5, -2), (20, -2)), successors=[2, 99])
    second = segment(
        2,
        bound((20, 2), (30, 2)),
        bound((20, -2), (30, -2)),
        is_intersection=True,
        lane_type="BUS",
        predecessors=[1, 7],
    )
    return [first, second]


def test_a_small_map(tmp_path: Path) -> None:
    found = read_argoverse2(street(tmp_path, *two_lanes()))
    graph = found.street_map.graph
    assert (found.links, found.dangling, found.bridged) == (1, 2, 0)
    assert found.street_map.name == "PIT-abc"
    assert graph.vertices_m[:, 1].tolist() == [0.0] * 31
    assert np.allclose(np.sort(graph.vertices_m[:, 0]), np.arange(31.0))
    assert graph.kind.tolist() == [LANE] * 20 + [LINK] * 10
    assert [(a.identity, a.width_m, a.lane_type) for a in graph.lanes] == [("1", 4.0, "VEHICLE"), ("2", 4.0, "BUS")]


def test_a_centerline_is_taken_as_it_is(tmp_path: Path) -> None:
    first, second = two_lanes()
    first["centerline"] = bound((0, 0.5), (11, 1), (20, 0))
    graph = read_argoverse2(street(tmp_path, first, second)).street_map.graph
    assert graph.vertices_m[:3].tolist() == [[0, 0.5], [11, 1], [20, 0]]
    assert graph.lanes[0].width_m == 4.0
    del first["left_lane_boundary"]
    assert read_argoverse2(street(tmp_path, first, second)).street_map.graph.lanes[0].width_m is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left_lane_boundary": []}, "lane 1 has neither"),
        ({"left_lane_boundary": [{"x": 1}, {"x": 2}]}, "left_lane_boundary is no list of points"),
        ({"left_lane_boundary": bound((0, 2))}, "has 1 points"),
        ({"left_lane_boundary": [{"x": "a", "y": 0}] * 2}, "is no list of points"),
        ({"left_lane_boundary": bound((3, 3), (3, 3)), "right_lane_boundary": bound((3, 3), (3, 3))}, "no length"),
        ({"successors": 5}, "successors is no list"),
        ({"id": 2}, "twice"),
    ],
)
def test_bad_lanes_are_dropped_and_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    first, second = two_lanes()
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"lane_segments": {"1": first | change, "2": second}}))
    reading = read_argoverse2(path)
    (fault,) = reading.faults
    assert re.search(message, fault.where)
    kept = ["1", "2"] if not fault.lanes else ["2"]
    assert [lane.identity for lane in reading.street_map.graph.lanes] == kept
    path.write_text(json.dumps({"lane_segments": {"1": first | change, "3": first | {"id": 3} | change}}))
    if fault.lanes and "id" not in change:
        with pytest.raises(MapInputError, match=r"map\.json: 2 of 2 lanes are damaged, .*" + message):
            read_argoverse2(path)


@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", '{"lane_segments": []}', '{"lane_segments": {"1": NaN}}', "[" * 90_000]
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log_map_archive_x.json"
    path.write_text(text)
    with pytest.raises(MapInputError, match="log_map_archive_x"):
        read_argoverse2(path)


def test_degrees_are_refused(tmp_path: Path) -> None:
    left, right = bound((-80.0, 40.0), (-80.0, 40.0002)), bound((-80.00003, 40.0), (-80.00003, 40.0002))
    with pytest.raises(MapInputError, match="degrees"):
        read_argoverse2(street(tmp_path, segment(1, left, right)))


def test_city_frames_are_utm_shifted_to_the_city(tmp_path: Path) -> None:
    origins = {  # latitude and longitude of each frame's origin, as the data set publishes them
        "ATX": (30.27464237939507, -97.7404457407424), "DTW": (42.29993066912924, -83.17555750783717),
        "MIA": (25.77452579915163, -80.19656914449405), "PAO": (37.416065, -122.13571963362166),
        "PIT": (40.44177902989321, -80.01294377242584), "WDC": (38.889377, -77.0355047439081),
    }  # fmt: skip
    assert set(origins) == set(_CITY_UTM)
    for city, (lat, lon) in origins.items():
        found = read_argoverse2(
            street(tmp_path, *two_lanes(), name=f"log_map_archive_a____{city}_city_1.json")
        ).street_map
        assert found.crs is not None
        to_city = pyproj.Transformer.from_crs("EPSG:4326", found.crs, always_xy=True)
        utm = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{32600 + _CITY_UTM[city][0]}", always_xy=True)
        at = np.array(to_city.transform(lon + 0.02, lat - 0.03))
        expected = np.array(utm.transform(lon + 0.02, lat - 0.03)) - utm.transform(lon, lat)
        assert np.abs(at - expected).max() < 2e-3


@pytest.mark.shared
@pytest.mark.parametrize("log", MAPS)
def test_real_maps_have_the_links_of_their_file(shared_data: Path, log: str) -> None:
    (path,) = (shared_data / "street" / "argoverse2").glob(f"log_map_archive_{log}*.json")
    segments = {int(k): v for k, v in json.loads(path.read_text())["lane_segments"].items()}
    found = read_argoverse2(path)
    graph = found.street_map.graph
    links = {(a, b) for a, s in segments.items() for b in s["successors"] if b in segments}
    links |= {(a, b) for b, s in segments.items() for a in s["predecessors"] if a in segments}
    assert found.links == len(links)
    assert found.bridged == 0
    assert follows(graph) == links
    assert {int(lane.identity) for lane in graph.lanes} == set(segments)
    for number, lane in enumerate(graph.lanes):
        content = segments[int(lane.identity)]
        run = graph.edges[graph.lane == number]
        line = shapely.LineString(graph.vertices_m[[*run[:, 0], run[-1, 1]]])
        given = content.get("centerline")
        if given:
            assert shapely.hausdorff_distance(line, shapely.LineString([(p["x"], p["y"]) for p in given])) < 1e-9
        sides = [
            shapely.LineString([(p["x"], p["y"]) for p in content[f"{s}_lane_boundary"]]) for s in ("left", "right")
        ]
        for share in (0.0, 0.3, 0.5, 1.0):
            middle = [side.interpolate(share, normalized=True) for side in sides]
            expected = shapely.Point((middle[0].x + middle[1].x) / 2, (middle[0].y + middle[1].y) / 2)
            assert line.distance(expected) < (0.2 if given else 0.1)
        assert set(graph.kind[graph.lane == number]) == {LINK if content["is_intersection"] else LANE}
        assert lane.lane_type == content["lane_type"]
        across = [
            np.subtract(*(s.interpolate(t, normalized=True).coords[0] for s in sides)) for t in np.linspace(0, 1, 50)
        ]
        assert lane.width_m == pytest.approx(np.hypot(*np.transpose(across)).mean(), rel=0.02)


def follows(graph: LaneGraph) -> set[tuple[int, int]]:
    """(lane, next lane) by networkx, identities of the file."""
    walk = nx.DiGraph()
    for (a, b), lane in zip(graph.edges.tolist(), graph.lane.tolist(), strict=True):
        walk.add_edge(a, b, lane=int(graph.lanes[lane].identity))
    pairs = ((walk.edges[a, b]["lane"], walk.edges[b, c]["lane"]) for a, b in walk.edges for c in walk.successors(b))
    return {(a, b) for a, b in pairs if a != b}


@pytest.mark.shared
def test_real_maps_have_the_known_size(shared_data: Path) -> None:
    folder = shared_data / "street" / "argoverse2"
    maps = [read_argoverse2(path) for path in sorted(folder.glob("*.json"))]
    assert sum(len(found.street_map.graph.lanes) for found in maps) == 814
    assert sum(found.street_map.graph.length_m for found in maps) == pytest.approx(15_800, rel=0.005)
    named = [json.loads(path.read_text())["lane_segments"].values() for path in sorted(folder.glob("*.json"))]
    assert (
        sum(len(s["successors"]) for lanes in named for s in lanes) == 978
    )  # those that lead out of the maps included


@pytest.mark.shared
def test_the_real_rig_stands_on_the_ground_of_its_map(shared_data: Path) -> None:
    folder = shared_data / "street" / "argoverse2"
    files = folder / "7fab2350_intrinsics.feather", folder / "7fab2350_egovehicle_SE3_sensor.feather"
    ring = read_ring(*files)
    assert len(ring) == 7
    assert {camera.model for camera in ring.cameras} == {"PINHOLE"}
    assert len(read_ring(*files, cameras="")) == 9
    ahead = ring.vehicle_SE3_camera[ring.names.index("ring_front_center"), :3, 2]
    assert ahead[0] > 0.99  # the camera's z axis is the vehicle's x
    sides = {name: pose[1, 2] for name, pose in zip(ring.names, ring.vehicle_SE3_camera, strict=True)}
    assert sides["ring_side_left"] > 0.9
    assert sides["ring_side_right"] < -0.9
    lens = read_ring(*files, cameras=["ring_rear_left"], distorted=True).cameras[0]
    row = next(r for r in feather.read_table(files[0]).to_pylist() if r["sensor_name"] == "ring_rear_left")
    x, y = 0.3, -0.2
    square = x * x + y * y
    bend = 1 + row["k1"] * square + row["k2"] * square**2 + row["k3"] * square**3
    expected = [row["fx_px"] * x * bend + row["cx_px"], row["fy_px"] * y * bend + row["cy_px"]]
    assert lens.project(np.array([[x, y, 1.0]]))[0] == pytest.approx(expected)

    driven = feather.read_table(folder / "7fab2350_city_SE3_egovehicle.feather").to_pydict()
    place = np.stack([driven[name] for name in ("tx_m", "ty_m", "tz_m")], 1)[::50]
    (path,) = folder.glob("log_map_archive_7fab2350*.json")
    lanes = list(json.loads(path.read_text())["lane_segments"].values())
    points = [(p["x"], p["y"], p["z"]) for s in lanes for side in ("left", "right") for p in s[f"{side}_lane_boundary"]]
    surface = np.array(points)
    apart = np.linalg.norm(surface[:, None, :2] - place[:, :2], axis=2)
    near = apart.min(0) < 2.5
    height = surface[apart.argmin(0), 2] - place[:, 2]
    assert np.median(height[near]) == pytest.approx(GROUND_Z_M, abs=0.03)


RIG = {
    "sensor_name": ["ring_front", "stereo"], "fx_px": [900.0, 900.0], "fy_px": [901.0, 900.0], "cx_px": [320.0, 320.0],
    "cy_px": [240.0, 240.0], "k1": [0.1, 0.0], "k2": [0.0, 0.0], "k3": [0.0, 0.0], "height_px": [480, 480],
    "width_px": [640, 640],
}  # fmt: skip
POSE = {
    "sensor_name": ["up_lidar", "ring_front"], "qw": [1.0, 0.6], "qx": [0.0, 0.8], "qy": [0.0, 0.0], "qz": [0.0, 0.0],
    "tx_m": [0.0, 1.5], "ty_m": [0.0, 0.0], "tz_m": [0.0, 1.4],
}  # fmt: skip


def rig(tmp_path: Path, lens: dict[str, Any], pose: dict[str, Any]) -> tuple[Path, Path]:
    files = tmp_path / "intrinsics.feather", tmp_path / "poses.feather"
    feather.write_feather(pa.table(lens), files[0])
    feather.write_feather(pa.table(pose), files[1])
    return files


def test_a_small_rig(tmp_path: Path) -> None:
    ring = read_ring(*rig(tmp_path, RIG, POSE))
    assert ring.names == ("ring_front",)
    assert isinstance(ring.cameras[0], Camera)
    assert ring.cameras[0].params.tolist() == [900, 901, 320, 240]
    assert np.allclose(ring.vehicle_SE3_camera[0, :3, :3], Rotation.from_quat([0.8, 0, 0, 0.6]).as_matrix())
    assert ring.vehicle_SE3_camera[0, :3, 3].tolist() == [1.5, 0, 1.4]


@pytest.mark.parametrize(
    ("lens", "pose", "message"),
    [
        ({"sensor_name": ["a", "b"]}, {}, "no camera 'ring_'"),
        ({"fx_px": [-1.0, 1.0]}, {}, "intrinsics.feather, ring_front"),
        ({"fx_px": [np.nan, 1.0]}, {}, "intrinsics.feather, ring_front"),
        ({"cx_px": [None, 1.0]}, {}, "column cx_px has empty"),
        ({"k3": ["x", "y"]}, {}, "column k3"),
        ({}, {"qw": [1.0, 0.9]}, "poses.feather: a quaternion has length 1.2"),
        ({}, {"tx_m": [1.0, np.inf]}, "poses.feather: a pose has NaN"),
        ({}, {"sensor_name": ["a", "b"]}, "ring_front has 0 poses"),
        ({}, {"sensor_name": ["ring_front", "ring_front"]}, "ring_front has 2 poses"),
    ],
)
def test_bad_calibration_is_named(tmp_path: Path, lens: Any, pose: Any, message: str) -> None:
    with pytest.raises(MapInputError, match=message):
        read_ring(*rig(tmp_path, RIG | lens, POSE | pose))


def test_missing_columns_and_files(tmp_path: Path) -> None:
    files = rig(tmp_path, {k: v for k, v in RIG.items() if k != "k2"}, POSE)
    with pytest.raises(MapInputError, match="no column k2"):
        read_ring(*files)
    with pytest.raises(MapInputError, match="cannot be read"):
        read_ring(tmp_path / "none.feather", files[1])
    feather.write_feather(pa.table(RIG), files[0], compression="uncompressed")
    files[0].write_bytes(files[0].read_bytes().replace(b"width_px", b"wid\xffh_px"))
    with pytest.raises(MapInputError, match="damaged"):
        read_ring(*files)
    files[0].write_bytes(b"no feather at all")
    with pytest.raises(MapInputError, match="no feather file"):
        read_ring(*files)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match="pyarrow") as caught:
        read_ring(tmp_path / "lens.feather", tmp_path / "poses.feather")
    assert caught.value.cure == "pip install 'foldmap[street]'"
