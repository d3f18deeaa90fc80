"""Bags as drives, in all three containers: what is read, what is said of what cannot be, and damage anywhere."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_samples import CONTAINERS, FLAT, Made, cloud_fields, ground, odometry, plain_drive
from test_formats_drives import events

from foldmap.errors import BagInputError, ConfigError, FoldmapError, MissingExtraError, PoseInputError
from foldmap.formats.bags.drive import BagDrive, describe, open_bag_drive
from foldmap.formats.bags.files import is_bag
from foldmap.formats.bags.survey import BagOptions, topics_of
from foldmap.formats.bags.write import write_bag
from foldmap.geometry import SE2
from foldmap.localize.journey.events import (
    CameraEvent,
    FixEvent,
    OdometryEvent,
    SweepEvent,
    TwistEvent,
    YawRateEvent,
)

SECOND, EYE = 10**9, np.eye(4)
MAP_FIX = BagOptions({"fix": ("/gnss/pose",)})
Fill = Callable[[Made], None]


def made(folder: Path, fill: Fill, name: str = "made.mcap") -> Path:
    with Made(folder / name) as one:
        fill(one)
    return folder / name


@pytest.mark.parametrize("name", CONTAINERS)
def test_livox_messages_are_clouds(tmp_path: Path, name: str) -> None:
    from rosbags.typesys import get_types_from_msg

    point = "uint32 offset_time\nfloat32 x\nfloat32 y\nfloat32 z\nuint8 reflectivity\nuint8 tag\nuint8 line"
    whole = (
        "std_msgs/Header header\nuint64 timebase\nuint32 point_num\nuint8 lidar_id\nuint8[3] rsvd\nCustomPoint[] points"
    )
    kinds = [("offset_time", "u4"), ("x", "f4"), ("y", "f4"), ("z", "f4"), ("reflectivity", "u1")]
    rows = np.zeros(40, np.dtype([(field, f"<{kind}") for field, kind in kinds]))
    for field, values in zip("xyz", np.random.default_rng(0).normal(0, 9, (3, 40)), strict=True):
        rows[field] = values if field != "z" else values / 100 - 1.7
    rows["offset_time"], rows["reflectivity"] = np.arange(40) * 2_000_000, np.arange(40) * 6
    sweeps = []
    for custom in (True, False):
        (tmp_path / str(custom)).mkdir()
        with Made(tmp_path / str(custom) / name) as bag:
            bag.transform("base_link", "lidar", EYE, SECOND)
            for k in range(3):
                odometry(bag, SECOND + k * 10**8, 0.5 * k)
            if custom and "livox_ros_driver2/msg/CustomMsg" not in bag.store.fielddefs:
                for text, kind in ((point, "CustomPoint"), (whole, "CustomMsg")):
                    bag.store.register(get_types_from_msg(text, f"livox_ros_driver2/msg/{kind}"))
            if custom:
                points = [bag.new("livox_ros_driver2/CustomPoint", **dict(zip(rows.dtype.names, row, strict=True)))
                          for row in rows.tolist()]  # fmt: skip
                said: dict[str, Any] = {"timebase": SECOND + 10**8, "point_num": 40, "points": points}
                bag.put("/livox/lidar", "livox_ros_driver2/CustomMsg", SECOND + 10**8, "lidar", **said)
            else:
                said = cloud_fields(bag, kinds, rows.view(np.uint8), 40)
                bag.put("/livox/lidar", "sensor_msgs/PointCloud2", SECOND + 10**8, "lidar", **said)
        drive = open_bag_drive(tmp_path / str(custom) / name)
        sweeps += [event.sweep for event in drive.events() if isinstance(event, SweepEvent)]
        assert drive.damaged == []
        assert drive.deskewed == 1
    assert len(sweeps) == 2
    np.testing.assert_array_equal(sweeps[0].points_sensor_m, sweeps[1].points_sensor_m)
    np.testing.assert_array_equal(sweeps[0].intensity, sweeps[1].intensity)


def test_damaged_livox_messages_are_named() -> None:
    from foldmap.formats.bags.files import Topic
    from foldmap.formats.bags.messages import decode

    for encoding in ("cdr", "ros1"):
        topic = Topic("/livox", "livox_ros_driver/msg/CustomMsg", encoding, None)
        for data in (b"", b"\0\1\0\0" * 9, b"\0\1\0\0" + b"\xff" * 60):
            with pytest.raises(BagInputError, match="CustomMsg"):
                decode(topic, data)


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    given = events()
    path = write_bag(tmp_path / name, given)
    assert is_bag(path)
    (tmp_path / "drive.json").write_text("{}")
    assert not is_bag(tmp_path)  # a run that was written into its drive's folder leaves a bag there
    drive = open_bag_drive(path, MAP_FIX)
    assert drive.brings == ("sweeps", "images", "fixes", "odometry", "twist", "yaw_rate")
    assert drive.observations == 5
    found = list(drive.events())
    assert drive.damaged == drive.notes == []
    assert [one.time_s for one in found] == sorted(one.time_s for one in given)
    assert [drive.stamp(one.time_s) for one in found][:2] == ["0.000000", "0.100000"]
    for kind in (TwistEvent, YawRateEvent, FixEvent):
        parts = ([one for one in each if isinstance(one, kind)] for each in (found, given))
        for one, wanted in zip(*parts, strict=True):
            assert list(vars(one).values()) == pytest.approx(list(vars(wanted).values()), abs=1e-12)
    sweeps = ([e.sweep for e in each if isinstance(e, SweepEvent)] for each in (found, given))
    for one, wanted in zip(*sweeps, strict=True):
        np.testing.assert_array_equal(one.points_sensor_m, wanted.points_sensor_m)
        np.testing.assert_array_equal(one.intensity, wanted.intensity)
    frames = ([e.frame for e in each if isinstance(e, CameraEvent)] for each in (found, given))
    for one, wanted in zip(*frames, strict=True):
        for camera in wanted.ring.names:
            ours, theirs = one.ring.names.index(camera), wanted.ring.names.index(camera)
            assert (one.images[ours] is None) == (wanted.images[theirs] is None)
            assert one.images[ours] is None or np.array_equal(one.images[ours], wanted.images[theirs])
            np.testing.assert_allclose(
                one.ring.vehicle_SE3_camera[ours], wanted.ring.vehicle_SE3_camera[theirs], atol=1e-12
            )
            np.testing.assert_allclose(one.ring.cameras[ours].params, wanted.ring.cameras[theirs].params)
    with pytest.raises(ConfigError, match="there already"):
        write_bag(path, given)


def test_odometry_is_told_as_increments(tmp_path: Path) -> None:
    steps = [SE2(0, 0, 0), SE2(0.5, 0.1, 0.2), SE2(0.4, -0.1, -0.5)]
    path = write_bag(tmp_path / "made.mcap", [OdometryEvent(0.1 * k, step) for k, step in enumerate(steps)])
    with pytest.raises(BagInputError, match=r"no sweeps, images or fixes.*/odom \(nav_msgs/msg/Odometry\)"):
        open_bag_drive(path)
    with Made(tmp_path / "two.mcap") as bag:
        bag.transform("base_link", "lidar", EYE)
        for k in (0, 2, 1, 3):  # out of order
            odometry(bag, k * SECOND // 20, 0.5 * k)
        bag.cloud("/points", 0, "lidar", ground(0))
    found = [e for e in open_bag_drive(tmp_path / "two.mcap").events() if isinstance(e, OdometryEvent)]
    assert [e.time_s for e in found] == [0.0, 0.05, 0.1, 0.15]
    assert [e.previous_SE2_current.x_m for e in found] == pytest.approx([0.0, 0.5, 0.5, 0.5])


def test_a_sweep_with_times_is_put_together(tmp_path: Path) -> None:
    """A wall seen from 10 m/s is a wall again; so it is told, and --no-deskew leaves it."""
    fields = [*FLAT, ("t", "u4")]

    def fill(bag: Made) -> None:
        bag.transform("base_link", "lidar", EYE, SECOND)
        for k in range(6):
            odometry(bag, SECOND + k * 10**8, 1.0 * k)
        points = ground(1)
        offsets = np.linspace(0, 0.1, len(points))
        points[:, 0] -= 10.0 * offsets  # seen from farther on
        rows = np.zeros(len(points), [(name, f"<{kind}") for name, kind in fields])
        for column, (name, _) in enumerate(FLAT):
            rows[name] = points[:, column]
        rows["t"] = np.round(offsets * 1e9)
        said = cloud_fields(bag, fields, rows.view(np.uint8).reshape(-1), len(rows))
        bag.put("/points", "sensor_msgs/PointCloud2", SECOND + 2 * 10**8, "lidar", **said)

    path = made(tmp_path, fill)
    for deskew, off_m in ((True, 1e-5), (False, 1.0)):
        drive = open_bag_drive(path, BagOptions(deskew=deskew))
        (sweep,) = (e.sweep for e in drive.events() if isinstance(e, SweepEvent))
        assert np.abs(sweep.points_sensor_m - ground(1)[:, :3]).max() == pytest.approx(off_m, abs=1e-5)
        assert drive.told["deskewed"].startswith("1 of 1" if deskew else "0 of 0")


def test_other_encodings_in_an_mcap(tmp_path: Path) -> None:
    """ROS 1 messages are read, JSON is told."""
    from mcap.writer import Writer

    held: list[tuple[str, str, int, Any]] = []
    with Made(tmp_path / "plain.bag") as bag:
        bag._put = lambda topic, kind, ns, message: held.append((topic, kind, ns, message))
        bag.transform("base_link", "lidar", EYE, SECOND)
        bag.cloud("/points", SECOND, "lidar", ground(3))
        store = bag.store
    with (tmp_path / "one.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros1")
        for topic, kind, ns, message in held:
            schema = writer.register_schema(kind.replace("/msg/", "/"), "ros1msg", b"")
            channel = writer.register_channel(topic, "ros1", schema)
            writer.add_message(channel, ns, bytes(store.serialize_ros1(message, kind)), ns)
        schema = writer.register_schema("sensor_msgs/msg/NavSatFix", "jsonschema", b"{}")
        writer.add_message(writer.register_channel("/fix", "json", schema), SECOND, b"{}", SECOND)
        writer.finish()
    drive = open_bag_drive(tmp_path / "one.mcap")
    (sweep,) = (e.sweep for e in drive.events())
    np.testing.assert_array_equal(sweep.points_sensor_m, np.float32(ground(3)[:, :3]))
    assert drive.notes == ["/fix is not used: its encoding 'json' is not read"]


def test_times_of_points_are_written_too(tmp_path: Path) -> None:
    """A vehicle that backs up by 0.2 m while the sweep is seen; the last point is where it was seen from."""
    given = [e for e in events() if isinstance(e, SweepEvent)][:1]
    moves = [OdometryEvent(0.05 * k, SE2(-0.1, 0, 0)) for k in range(6)]
    offsets = np.linspace(0.0, 0.1, 50)
    path = write_bag(tmp_path / "made.mcap", [*moves, *given], offsets_s=lambda event: offsets)
    drive = open_bag_drive(path)
    (sweep,) = (e.sweep for e in drive.events() if isinstance(e, SweepEvent))
    wanted = given[0].sweep.points_sensor_m - np.outer(2.0 * offsets, [1, 0, 0])
    np.testing.assert_allclose(sweep.points_sensor_m, wanted, atol=1e-5)
    assert drive.told["deskewed"] == "1 of 1 sweeps with times of points"


def test_topics_that_could_be_meant(tmp_path: Path) -> None:
    def fill(bag: Made) -> None:
        for name in ("front", "rear"):
            bag.transform("base_link", name, EYE)
            bag.cloud(f"/{name}/points", 0, name, ground(2))
        bag.cloud("/elsewhere", 0, "nowhere", ground(2))
        names = [("x", "f4"), ("y", "f4"), ("z", "f4")]
        said = cloud_fields(bag, names, np.ones(12, np.uint8), 1)
        bag.put("/obstacles", "sensor_msgs/PointCloud2", 0, "front", **said)
        bag.put("/cmd_vel", "geometry_msgs/TwistStamped", 0, "base_link")
        bag.put("/imu", "sensor_msgs/Imu", 0, "front")

    path = made(tmp_path, fill)
    with pytest.raises(ConfigError, match=r"several.*/front/points, /rear/points.*--topic lidar=/front/points"):
        open_bag_drive(path)
    drive = open_bag_drive(path, BagOptions(topics_of(["lidar=/rear/points"])))
    assert drive.plan.used == {"/rear/points": "lidar"}
    assert any("/imu: not used, yaw rates without a speed" in note for note in drive.notes)
    with pytest.raises(BagInputError, match="no transform from nowhere to base_link; frames there: base_link, front"):
        open_bag_drive(path, BagOptions({"lidar": ("/elsewhere",)}))
    with pytest.raises(ConfigError, match="no topic /gone"):
        open_bag_drive(path, BagOptions({"lidar": ("/gone",)}))
    with pytest.raises(ConfigError, match="which is no lidar"):
        open_bag_drive(path, BagOptions({"lidar": ("/imu",)}))
    shown = {row["topic"]: row["used_as"] for row in describe(path)["topics"]}
    assert shown["/front/points"] == "lidar? several fit: name one"
    assert "no reflectances: its fields are x, y, z" in shown["/obstacles"]
    assert "command" in shown["/cmd_vel"]
    assert shown["/tf_static"] == "transforms"
    for wrong in ("lidar", "radar=/a", "lidar="):
        with pytest.raises(ConfigError, match="names no role"):
            topics_of([wrong])
    with pytest.raises(ConfigError, match="name one"):
        topics_of(["fix=/a", "fix=/b"])
    with pytest.raises(ConfigError, match="choose stamps or received"):
        BagOptions(clock="wall")


@pytest.mark.parametrize("name", CONTAINERS)
def test_transforms_that_are_wrong_or_missing(tmp_path: Path, name: str) -> None:
    upside = np.diag([1.0, -1, -1, 1])
    with pytest.raises(BagInputError, match=r"above the sensor, seen in base_link.*from lidar to base_link"):
        open_bag_drive(plain_drive(tmp_path / name, mount=upside))
    (tmp_path / "other").mkdir()
    bare = plain_drive(tmp_path / "other" / name)
    with pytest.raises(BagInputError, match=r"no frame of the vehicle.*--base-frame.*of messages: lidar, odom"):
        open_bag_drive(bare)
    with pytest.raises(BagInputError, match="has no frame car"):
        open_bag_drive(bare, BagOptions(base_frame="car"))
    own = open_bag_drive(bare, BagOptions({"odometry": ("none",)}, base_frame="lidar"))
    assert len(list(own.events())) == 3


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_bag_without_messages(tmp_path: Path, name: str) -> None:
    made(tmp_path, lambda bag: None, name)
    with pytest.raises(BagInputError, match="holds no messages"):
        open_bag_drive(tmp_path / name)
    with pytest.raises(BagInputError, match="there is no bag"):
        open_bag_drive(tmp_path / "gone.mcap")


def test_clocks_that_jump(tmp_path: Path) -> None:
    def fill(bag: Made) -> None:
        bag.transform("base_link", "lidar", EYE, SECOND)
        for k in range(8):
            at = SECOND + k * 10**8
            stamp = at + (3600 * SECOND if k >= 4 else 0)
            bag.cloud("/points", stamp, "lidar", ground(k, count=50), at)
            odometry(bag, at, 0.5 * k)

    path = made(tmp_path, fill)
    with pytest.raises(BagInputError, match=r"clock of /points jumps by \+3,600.0 s at 1.300 s.*--clock received"):
        list(open_bag_drive(path).events())
    received = open_bag_drive(path, BagOptions(clock="received"))
    assert len([e for e in received.events() if isinstance(e, SweepEvent)]) == 8


def test_fixes_on_earth_need_a_crs(tmp_path: Path) -> None:
    fixes = [FixEvent(0.5 * k, 690_000.0 + k, 5_334_000.0, 0.7) for k in range(3)]
    path = write_bag(tmp_path / "made.mcap", fixes, "EPSG:32632")
    found = list(open_bag_drive(path).events("EPSG:32632"))
    for one, wanted in zip(found, fixes, strict=True):
        assert list(vars(one).values()) == pytest.approx(list(vars(wanted).values()), abs=1e-6)
    with pytest.raises(PoseInputError, match=r"local frame.*--topic fix=none"):
        list(open_bag_drive(path).events())
    with Made(tmp_path / "lost.mcap") as bag:
        lost = bag.new("sensor_msgs/NavSatStatus", status=-1)
        bag.put("/fix", "sensor_msgs/NavSatFix", 0, "gnss", status=lost)
        bag.put("/fix", "sensor_msgs/NavSatFix", 10**8, "gnss", latitude=48.1, longitude=11.5)
        bag.put("/fix", "sensor_msgs/NavSatFix", 2 * 10**8, "gnss")
        bag.put("/fix", "sensor_msgs/NavSatFix", 3 * 10**8, "gnss", latitude=11.5, longitude=48.1)
    drive = open_bag_drive(tmp_path / "lost.mcap")
    (only,) = drive.events("EPSG:32632")
    assert only.sigma_m == 2.0  # the receiver tells no covariance
    assert [told.split(" (")[0] for told in drive.damaged] == ["/fix: 3 messages: the receiver had no fix"]


def test_an_antenna_aside_makes_fixes_less_sure(tmp_path: Path) -> None:
    def fill(bag: Made) -> None:
        aside = np.eye(4)
        aside[:3, 3] = 3.0, 4.0, 1.5
        bag.transform("base_link", "gnss", aside)
        spread = np.diag([1.44] * 3).reshape(-1)
        said = {"latitude": 48.1, "longitude": 11.5, "position_covariance": spread, "position_covariance_type": 2}
        bag.put("/fix", "sensor_msgs/NavSatFix", 10**8, "gnss", **said)

    (fix,) = open_bag_drive(made(tmp_path, fill)).events("EPSG:32632")
    assert fix.sigma_m == pytest.approx(np.hypot(1.2, 5.0))


def test_several_rates_do_not_matter_beside_odometry(tmp_path: Path) -> None:
    def fill(bag: Made) -> None:
        for child in ("lidar", "front", "rear"):
            bag.transform("base_link", child, EYE)
        bag.cloud("/points", 0, "lidar", ground(0))
        bag.put("/twist", "geometry_msgs/TwistStamped", 0, "base_link")
        for name in ("front", "rear"):
            bag.put(f"/{name}/imu", "sensor_msgs/Imu", 0, name)

    path = made(tmp_path, fill)
    with pytest.raises(ConfigError, match=r"several topics fit imu: /front/imu, /rear/imu"):
        open_bag_drive(path)
    with Made(tmp_path / "more.mcap") as bag:
        fill(bag)
        odometry(bag, 0, 0.0)
    drive = open_bag_drive(tmp_path / "more.mcap")
    assert drive.brings == ("sweeps", "odometry", "twist")
    assert drive.notes == ["/front/imu and /rear/imu: not used, odometry tells the motion, and several fit"]


def test_a_frame_that_moves_is_looked_up_at_each_time(tmp_path: Path) -> None:
    """All transforms in /tf, as ROS 1 publishes static ones too; the lidar turns by 0.1 rad a sweep."""

    def fill(bag: Made) -> None:
        for k in range(12):
            at, turn = SECOND + k * 10**8, np.eye(4)
            turn[:2, :2] = [[np.cos(0.1 * k), -np.sin(0.1 * k)], [np.sin(0.1 * k), np.cos(0.1 * k)]]
            bag.transform("base_link", "mast", EYE, at, "/tf")
            bag.transform("mast", "lidar", turn, at, "/tf")
            bag.cloud("/points", at, "lidar", ground(k, count=300))

    drive = open_bag_drive(made(tmp_path, fill, "made.bag"))
    sweeps = [e.sweep for e in drive.events()]
    assert len(sweeps) == 12
    for k, sweep in enumerate(sweeps):
        points, cos, sin = ground(k, count=300)[:, :3], np.cos(0.1 * k), np.sin(0.1 * k)
        turned = points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        np.testing.assert_allclose(sweep.points_sensor_m, turned, atol=1e-5)


def test_tf_moves_the_vehicle_where_it_is_named(tmp_path: Path) -> None:
    """In odom, not in the map, whose corrections jump."""

    def at(x_m: float, turn: float) -> np.ndarray:
        pose = np.eye(4)
        pose[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        pose[0, 3] = x_m
        return pose

    def fill(bag: Made) -> None:
        bag.transform("base_link", "lidar", EYE, SECOND)
        bag.cloud("/points", SECOND, "lidar", ground(0))
        for k in range(5):
            bag.transform("map", "odom", at(7.0 * k, 0.3), SECOND + k * 10**8, "/tf")
            bag.transform("odom", "base_link", at(0.5 * k, 0.1 * k), SECOND + k * 10**8, "/tf")

    path = made(tmp_path, fill)
    (note,) = open_bag_drive(path).notes
    assert "--topic odometry=/tf" in note
    drive = open_bag_drive(path, BagOptions({"odometry": ("/tf",)}))
    assert drive.brings == ("sweeps", "odometry")
    steps = [e for e in drive.events() if isinstance(e, OdometryEvent)]
    assert [e.time_s for e in steps] == pytest.approx([0.1 * k for k in range(5)])
    for k, event in enumerate(steps[1:]):
        wanted = np.linalg.inv(at(0.5 * k, 0.1 * k)) @ at(0.5 * (k + 1), 0.1 * (k + 1))
        step = event.previous_SE2_current
        assert [step.x_m, step.y_m, step.heading_rad] == pytest.approx([*wanted[:2, 3], 0.1])
    still = made(tmp_path, lambda bag: bag.transform("base_link", "lidar", EYE, 0, "/tf_static"), "still.mcap")
    assert not [row for row in describe(still)["topics"] if row["used_as"] != "transforms"]


def test_images_of_another_size_than_their_calibration_are_left_out(tmp_path: Path) -> None:
    optical = np.array([[0.0, 0, 1, 1.5], [-1, 0, 0, 0], [0, -1, 0, 1.6], [0, 0, 0, 1]])

    def fill(bag: Made) -> None:
        bag.transform("base_link", "eye", optical)
        k = np.array([30.0, 0, 15.5, 0, 30, 11.5, 0, 0, 1])
        letters = {("K" if bag.path.suffix == ".bag" else "k"): k}
        bag.put("/eye/camera_info", "sensor_msgs/CameraInfo", 0, "eye", height=24, width=32, **letters)
        for at, width in enumerate((32, 32, 64, 32)):
            said = {"height": 24, "width": width, "encoding": "mono8", "step": width, "data": np.ones(24 * width, "u1")}
            bag.put("/eye/image_raw", "sensor_msgs/Image", at * 10**8, "eye", **said)

    drive = open_bag_drive(made(tmp_path, fill, "made.bag"))
    assert len(list(drive.events())) == 3
    assert len(drive.damaged) == 1
    assert "1 messages" in drive.damaged[0]
    assert "64 x 24" in drive.damaged[0]


def test_a_twist_is_brought_to_the_vehicle(tmp_path: Path) -> None:
    """Measured 2 m ahead and turned by 90 degrees: what turns there moves the origin too."""
    mount = np.array([[0.0, -1, 0, 2], [1, 0, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 1]])

    def fill(bag: Made) -> None:
        bag.transform("base_link", "sensor", mount)
        bag.transform("base_link", "lidar", EYE)
        bag.cloud("/points", 0, "lidar", ground(0))
        vectors = [bag.new("geometry_msgs/Vector3", x=x, y=y, z=z) for x, y, z in ((1.0, -6.0, 0.0), (0.0, 0.0, 0.4))]
        twist = bag.new("geometry_msgs/Twist", linear=vectors[0], angular=vectors[1])
        bag.put("/twist", "geometry_msgs/TwistStamped", 0, "sensor", twist=twist)

    (twist,) = (e for e in open_bag_drive(made(tmp_path, fill)).events() if isinstance(e, TwistEvent))
    sensor_in_vehicle = mount[:3, :3] @ [1.0, -6.0, 0.0]
    origin = sensor_in_vehicle + np.cross([0, 0, 0.4], -mount[:3, 3])  # v_origin = v_sensor + w x (origin - sensor)
    assert twist.ahead_mps == pytest.approx(origin[0])
    assert twist.yaw_rate_radps == pytest.approx(0.4)


def test_scales_of_intensities(tmp_path: Path) -> None:
    def fill(bag: Made) -> None:
        bag.transform("base_link", "lidar", EYE)
        bag.cloud("/points", 0, "lidar", ground(1) * [1, 1, 1, 200])

    drive = open_bag_drive(made(tmp_path, fill))
    (sweep,) = (e.sweep for e in drive.events())
    np.testing.assert_allclose(sweep.intensity, ground(1)[:, 3] * 200 / 255, rtol=1e-6)
    bright = made(tmp_path, fill_bright, "bright.mcap")
    with pytest.raises(BagInputError, match="intensity-scale"):
        open_bag_drive(bright)
    given = open_bag_drive(bright, BagOptions(intensity_scale=4000.0))
    assert given.told["full_reflectance"] == 4000.0


def fill_bright(bag: Made) -> None:
    bag.transform("base_link", "lidar", EYE)
    bag.cloud("/points", 0, "lidar", ground(1) * [1, 1, 1, 4000])


def read_all(path: Path) -> tuple[BagDrive, list]:
    drive = open_bag_drive(path, MAP_FIX)
    return drive, list(drive.events())


@pytest.mark.parametrize("name", ["made.mcap", "made.bag"])
def test_of_a_cut_bag_what_is_whole_is_read(tmp_path: Path, name: str) -> None:
    with Made(tmp_path / name) as bag:
        bag.transform("base_link", "lidar", EYE, SECOND)
        for k in range(40):  # several chunks
            bag.cloud("/points", SECOND + k * 10**8, "lidar", ground(k))
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(0.7 * len(data))])
    drive = open_bag_drive(tmp_path / name)
    sweeps = [e for e in drive.events() if isinstance(e, SweepEvent)]
    assert 10 < len(sweeps) < 40
    np.testing.assert_array_equal(sweeps[-1].sweep.points_sensor_m, np.float32(ground(len(sweeps) - 1)[:, :3]))
    assert any("cut or damaged" in note for note in drive.notes)
    assert "cut or damaged" in " ".join(describe(tmp_path / name)["notes"])
    (tmp_path / name).write_bytes(data[:300])
    with pytest.raises(BagInputError, match=r"holds no messages|cannot be read"):
        open_bag_drive(tmp_path / name)


@pytest.mark.parametrize("name", CONTAINERS)
def test_damaged_bags_are_read_or_refused_by_name(tmp_path: Path, name: str) -> None:
    path = write_bag(tmp_path / name, events())
    file = next(path.glob("*.db3")) if path.is_dir() else path
    data, rng, refused = file.read_bytes(), np.random.default_rng(8), 0
    for trial in range(24):
        bad = bytearray(data[: rng.integers(len(data))] if trial % 2 else data)
        for at in rng.integers(0, max(len(bad), 1), 4 if trial % 2 == 0 else 0):
            bad[at] ^= 1 << rng.integers(8)
        file.write_bytes(bytes(bad))
        try:
            read_all(path)
        except FoldmapError:  # and nothing else
            refused += 1
    assert refused > 0


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [plain_drive(tmp_path / name, mount=EYE) for name in CONTAINERS]
    whole = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name.split(".")[0] in ("mcap", "rosbags"):
            raise ImportError(name)
        return whole(name, *rest)

    import sys

    for name in list(sys.modules):
        if name.split(".")[0] in ("mcap", "rosbags"):
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(builtins, "__import__", lacking)
    for path in paths:
        with pytest.raises(MissingExtraError, match=r"pip install 'foldmap\[bags\]'"):
            open_bag_drive(path)
