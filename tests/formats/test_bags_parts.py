"""What bags are made of: transforms, images and cameras, clocks; and poses written for other tools."""

from __future__ import annotations

import io
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bag_samples import Made
from PIL import Image
from pyproj import Geod, Transformer
from scipy.spatial.transform import Rotation

from foldmap.errors import BagInputError
from foldmap.formats.bags.clock import Clock
from foldmap.formats.bags.images import camera_of, image_rgb
from foldmap.formats.bags.poses import TimedAnswer, write_poses
from foldmap.formats.bags.transforms import Transforms
from foldmap.formats.poses.geopose import geopose_lines
from foldmap.geometry import SE2
from foldmap.localize.estimate import Estimate, Status
from foldmap.localize.journey.estimate import JourneyDiagnostics, LayerHealth

SECOND = 10**9


def told(parent: str, child: str, turn: Rotation, at: list[float], ns: int = 0) -> SimpleNamespace:
    x, y, z, w = turn.as_quat().tolist()
    vector, rotation = SimpleNamespace(**dict(zip("xyz", at, strict=True))), SimpleNamespace(x=x, y=y, z=z, w=w)
    header = SimpleNamespace(stamp=SimpleNamespace(sec=ns // SECOND, nanosec=ns % SECOND), frame_id=parent)
    transform = SimpleNamespace(translation=vector, rotation=rotation)
    one = SimpleNamespace(header=header, child_frame_id=child, transform=transform)
    return SimpleNamespace(transforms=[one])


def rigid(turn: Rotation, at: list[float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn.as_matrix(), at
    return pose


def test_transforms_are_chained_and_interpolated() -> None:
    rng, tree = np.random.default_rng(1), Transforms()
    turns = Rotation.random(4, rng)
    places = rng.normal(0, 2, (4, 3)).tolist()
    tree.add(told("/base_link", "mast", turns[0], places[0]), static=True)
    tree.add(told("mast", "lidar", turns[1], places[1]), static=True)
    tree.add(told("base_link", "imu", turns[2], places[2]), static=True)
    for k in range(11):  # the head turns evenly
        tree.add(told("mast", "head", Rotation.from_euler("z", 0.1 * k), [0.2 * k, 0, 1], k * SECOND // 10), False)
    chained = np.linalg.inv(rigid(turns[2], places[2])) @ rigid(turns[0], places[0]) @ rigid(turns[1], places[1])
    np.testing.assert_allclose(tree.lookup("imu", "lidar").matrix, chained, atol=1e-12)
    np.testing.assert_allclose(tree.lookup("lidar", "imu").matrix, np.linalg.inv(chained), atol=1e-12)
    between = rigid(Rotation.from_euler("z", 0.234), [0.468, 0, 1])
    np.testing.assert_allclose(tree.lookup("mast", "head", 234 * SECOND // 1000).matrix, between, atol=1e-9)
    assert tree.is_fixed("imu", "lidar")
    assert not tree.is_fixed("lidar", "head")
    with pytest.raises(BagInputError, match=r"2\.0 s away"):
        tree.lookup("mast", "head", 3 * SECOND)
    tree.add(told("other", "gnss", turns[3], places[3]), static=True)
    with pytest.raises(BagInputError, match="no transform from gnss to base_link; frames there: base_link, gnss, head"):
        tree.lookup("base_link", "gnss")
    bad = told("a", "b", turns[0], places[0])
    bad.transforms[0].transform.rotation.w += 3.0
    tree.add(bad, static=True)
    assert tree.damaged == 1
    assert "b" not in tree.frames


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
def test_encodings_of_images(encoding: str) -> None:
    rgb = np.random.default_rng(2).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    rgb = np.repeat(rgb[:, :, :1], 3, 2) if encoding == "mono8" else rgb
    channels = {"rgb8": rgb, "bgr8": rgb[:, :, ::-1], "mono8": rgb[:, :, :1]}
    alpha = np.full((5, 7, 1), 9, np.uint8)
    channels |= {"rgba8": np.dstack([rgb, alpha]), "bgra8": np.dstack([rgb[:, :, ::-1], alpha])}
    rows = channels[encoding].reshape(5, -1)
    padded = np.pad(rows, [(0, 0), (0, 3)])
    message = SimpleNamespace(height=5, width=7, encoding=encoding, step=padded.shape[1], data=padded.reshape(-1))
    np.testing.assert_array_equal(image_rgb(message, "/image"), rgb)
    message.data = message.data[:-20]
    with pytest.raises(BagInputError, match="7 x 5 px"):
        image_rgb(message, "/image")


def test_images_that_are_not_used() -> None:
    blank = {"height": 2, "width": 2, "step": 4, "data": np.zeros(8, np.uint8)}
    with pytest.raises(BagInputError, match=r"bayer_rggb8.*image_proc"):
        image_rgb(SimpleNamespace(encoding="bayer_rggb8", **blank), "/image")
    with pytest.raises(BagInputError, match=r"16UC1.*depth"):
        image_rgb(SimpleNamespace(encoding="16UC1", **blank), "/image")
    with pytest.raises(BagInputError, match="no photo"):
        image_rgb(SimpleNamespace(format="jpeg", data=np.arange(9, dtype=np.uint8)), "/image")
    depths = io.BytesIO()
    Image.fromarray(np.full((20, 30), 4000, np.uint16)).save(depths, "PNG")
    for head, what in ((b"", "16UC1; png compressed"), (bytes(12), "16UC1; compressedDepth png")):
        data = np.frombuffer(head + depths.getvalue(), np.uint8)
        with pytest.raises(BagInputError, match=r"16UC1.*depth"):
            image_rgb(SimpleNamespace(format=what, data=data), "/image")
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    message = SimpleNamespace(format="rgb8; png compressed", data=np.frombuffer(held.getvalue(), np.uint8))
    np.testing.assert_array_equal(image_rgb(message, "/image"), pixels)


def info(model: str, d: list[float], **more: Any) -> SimpleNamespace:
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    k = np.array([500.0, 0, 319.5, 0, 510.0, 239.5, 0, 0, 1])
    said = {"width": 640, "height": 480, "distortion_model": model, "d": np.array(d), "k": k, "r": np.eye(3).ravel()}
    said |= {"p": np.zeros(12), "binning_x": 0, "binning_y": 0, "roi": roi}
    return SimpleNamespace(**said | more)


def opencv(points: np.ndarray, model: str, d: list[float]) -> np.ndarray:
    """OpenCV's formulas of its manual, point by point."""
    out = []
    for x, y, z in points:
        a, b = x / z, y / z
        r2 = a * a + b * b
        if model == "equidistant":
            r = math.sqrt(r2)
            t = math.atan(r)
            bent = t * (1 + d[0] * t**2 + d[1] * t**4 + d[2] * t**6 + d[3] * t**8) / r
            u, v = a * bent, b * bent
        else:
            k1, k2, p1, p2, k3, k4, k5, k6 = [*d, *[0.0] * (8 - len(d))]
            radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
            u = a * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a * a)
            v = b * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * a * b
        out.append((500 * u + 319.5, 510 * v + 239.5))
    return np.array(out)


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", []),
        ("plumb_bob", [-0.1, 0.02, 0.001, -0.002, 0.0]),
        ("plumb_bob", [-0.1, 0.02, 0.001, -0.002, 0.003]),
        ("rational_polynomial", [0.1, 0.02, 0.001, -0.002, 0.003, 0.05, 0.01, 0.002]),
        ("equidistant", [0.01, -0.02, 0.003, 0.001]),
    ],
)
def test_cameras_project_as_opencv_says(model: str, d: list[float]) -> None:
    camera, turn = camera_of(info(model, d), False, "/image")
    points = np.random.default_rng(4).normal(0, 1, (20, 3)) * [1.2, 0.8, 0.5] + [0, 0, 4]
    np.testing.assert_allclose(camera.project(points), opencv(points, model, d) + 0.5, atol=1e-9)
    np.testing.assert_array_equal(turn, np.eye(3))


def test_cameras_that_are_not_known() -> None:
    with pytest.raises(BagInputError, match="kannala"):
        camera_of(info("kannala", [1.0] * 3), False, "/image")
    with pytest.raises(BagInputError, match="binning"):
        camera_of(info("plumb_bob", [], binning_x=2), False, "/image")
    with pytest.raises(BagInputError, match="PINHOLE camera has parameters"):
        camera_of(info("plumb_bob", [], k=np.zeros(9)), False, "/image")
    p = np.array([400.0, 0, 300, 0, 0, 401, 200, 0, 0, 0, 1, 0])
    turned = Rotation.from_euler("y", 0.02).as_matrix()
    camera, turn = camera_of(info("plumb_bob", [-0.3, 0, 0, 0, 0], p=p, r=turned.ravel()), True, "/image_rect")
    assert camera.params.tolist() == [400, 401, 300.5, 200.5]
    np.testing.assert_allclose(turn, turned.T)


def test_clocks() -> None:
    clock, ns = Clock(), 10**8
    for k in range(5):
        assert clock.time_ns("/a", k * ns, 7 * SECOND + k * ns) == k * ns
    assert clock.time_ns("/a", 900 * SECOND, 7 * SECOND + 5 * ns) is None  # one that strays alone
    assert clock.time_ns("/a", 6 * ns, 7 * SECOND + 6 * ns) == 6 * ns
    with pytest.raises(BagInputError, match=r"clocks of /a and /b differ by 7.0 s.*--clock received"):
        clock.time_ns("/b", 7 * SECOND + 6 * ns, 7 * SECOND + 6 * ns)
    back = [(k * ns - 3600 * SECOND, 7 * SECOND + k * ns) for k in range(7, 10)]
    assert [clock.time_ns("/a", *each) for each in back[:2]] == [None, None]
    with pytest.raises(BagInputError, match=r"clock of /a jumps by -3,600.0 s at 0.600 s"):
        clock.time_ns("/a", *back[2])
    still = Clock()
    assert [still.time_ns("/a", 0, k * ns) for k in range(5)] == [0] * 5
    with pytest.raises(BagInputError, match="stand still"):
        still.time_ns("/a", 0, 5 * ns)
    received = Clock("received")
    assert [received.time_ns("/a", 0, k) for k in range(9)] == list(range(9))


def test_poses_are_read_by_another_reader(tmp_path: Path) -> None:
    """rosbags reads what mcap-ros2-support wrote."""
    from rosbags.highlevel import AnyReader

    spread = np.array([[0.04, 0.01, 0.001], [0.01, 0.09, 0.002], [0.001, 0.002, 0.0001]])
    health = {"lidar": LayerHealth("ok", "", 0.0, 0.1), "gnss": LayerHealth("ok", "", 0.2, None)}
    start = 1_700_000_000 * SECOND + 123_456_000
    answers = []
    for k in range(4):
        diagnostics = JourneyDiagnostics("", 0.01, "track", ("lidar",), health, 1, 0.3, 0)
        pose = SE2(10.0 + k, -20.0, 0.3 * k)
        estimate = Estimate(Status.OK, pose, spread, diagnostics)
        if k == 2:
            lost = JourneyDiagnostics("gone", 0.01, "lost", (), {"lidar": LayerHealth("no_match", "no place")})
            estimate = Estimate.without_pose(Status.NO_MATCH, lost)
        answers.append(TimedAnswer(start + k * SECOND // 10, estimate))
    write_poses(tmp_path / "poses.mcap", answers, "base_link")
    found: dict[str, list] = {}
    with AnyReader([tmp_path / "poses.mcap"]) as reader:
        for connection, ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            found.setdefault(connection.topic, []).append((ns, message))
    assert {name: len(each) for name, each in found.items()} == {
        "/foldmap/pose": 3, "/tf": 3, "/foldmap/path": 1, "/foldmap/health": 4
    }  # fmt: skip
    whole = [one for one in answers if one.estimate.pose is not None]
    for (ns, message), (_, tf), answer in zip(found["/foldmap/pose"], found["/tf"], whole, strict=True):
        pose = answer.estimate.pose
        assert ns == answer.time_ns == message.header.stamp.sec * SECOND + message.header.stamp.nanosec
        assert message.header.frame_id == "map"
        at, turned = message.pose.pose.position, message.pose.pose.orientation
        assert (at.x, at.y, at.z) == (pose.x_m, pose.y_m, 0.0)
        heading = Rotation.from_quat([turned.x, turned.y, turned.z, turned.w]).as_euler("xyz")[2]
        assert heading == pytest.approx(pose.heading_rad, abs=1e-12)
        covariance = message.pose.covariance.reshape(6, 6)
        np.testing.assert_array_equal(covariance[np.ix_([0, 1, 5], [0, 1, 5])], spread)
        assert (np.diag(covariance)[2:5] > 9).all()  # what is not estimated is not claimed
        moved = tf.transforms[0]
        assert (moved.header.frame_id, moved.child_frame_id) == ("map", "base_link")
        assert (moved.transform.translation.x, moved.transform.rotation.z) == (pose.x_m, turned.z)
    assert len(found["/foldmap/path"][0][1].poses) == 3
    lost = found["/foldmap/health"][2][1].status
    assert [(one.name, one.level, one.message) for one in lost] == [
        ("foldmap", 2, "no_match: gone"), ("foldmap: lidar", 2, "no_match: no place")
    ]  # fmt: skip
    levels = {one.name: one.level for one in found["/foldmap/health"][0][1].status}
    assert levels == {"foldmap": 0, "foldmap: lidar": 0, "foldmap: gnss": 0}


def test_geoposes_are_turned_to_true_north() -> None:
    import json

    crs, east, north = "EPSG:32632", 690_000.0, 5_334_000.0  # grid north is 1.9 degrees off there
    poses = [SE2(east, north, heading) for heading in (0.0, 1.0, -2.5)]
    lines = [json.loads(line) for line in geopose_lines([1.5, 2.5, 3.5], poses, crs)]
    longitude, latitude = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(east, north)
    up = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    lon, lat, _ = Geod(ellps="WGS84").fwd(longitude, latitude, 0.0, 50.0)  # true north, on the grid
    x, y = up.transform(lon, lat)
    convergence = math.atan2(-(x - east), y - north)
    assert abs(convergence) > 0.02
    for line, pose, ms in zip(lines, poses, (1500, 2500, 3500), strict=True):
        assert line["validTime"] == ms
        frame = line["frameSpecification"]
        assert (frame["authority"], frame["id"]) == ("/geopose/1.0", "LTP-ENU")
        told = dict(part.split("=") for part in frame["parameters"].split("&"))
        assert float(told["longitude"]) == pytest.approx(longitude, abs=1e-9)
        assert float(told["latitude"]) == pytest.approx(latitude, abs=1e-9)
        yaw = 2 * math.atan2(line["quaternion"]["z"], line["quaternion"]["w"])
        assert math.remainder(yaw - (pose.heading_rad - convergence), math.tau) == pytest.approx(0, abs=2e-5)


def test_a_made_bag_has_what_was_put(tmp_path: Path) -> None:
    with Made(tmp_path / "made.mcap") as made:
        made.put("/imu", "sensor_msgs/Imu", 5, "imu")
    from foldmap.formats.bags.files import Bag

    bag = Bag(tmp_path / "made.mcap")
    assert [(t.name, t.type, t.encoding, t.count) for t in bag.topics.values()] == [
        ("/imu", "sensor_msgs/msg/Imu", "cdr", 1)
    ]
    assert bag.span_ns == (5, 5)
