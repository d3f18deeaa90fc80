"""Write timed events as a bag that ROS tools, and `open_bag_drive`, read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from foldmap.errors import ConfigError
from foldmap.formats.bags.messages import typestore
from foldmap.formats.extras import extra
from foldmap.geometry import SE2, SE3, Camera
from foldmap.geometry.quaternion import wxyz_from_rigid
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.events import (
    CameraEvent,
    Event,
    FixEvent,
    OdometryEvent,
    SweepEvent,
    TwistEvent,
    YawRateEvent,
)
from foldmap.street.images.observation import CameraRing, RingFrame
from foldmap.types import DoubleArray

BASE, LIDAR = "base_link", "lidar"

Put = Callable[[str, str, int, Any], None]
"""Takes topic, type, time (ns) and message."""


def write_bag(
    path: Path | str,
    events: Iterable[Event],
    crs: str = "",
    offsets_s: Callable[[SweepEvent], DoubleArray] | None = None,
) -> Path:
    """Write events, in any order, as a bag: MCAP where it is called .mcap, ROS 1 where .bag, else a rosbag2 folder.

    Sweeps become PointCloud2 in the frame "lidar", images Image (rgb8) with their CameraInfo, odometry its integral;
    the frames hang on "base_link". Fixes are NavSatFix by ``crs``, or positions in the frame "map" without one.
    ``offsets_s`` tells when each point of a sweep was measured, seconds after it (N,): the field "time".

    Raises:
        ConfigError: the bag is there already; an event holds no raw data; a camera or twist has no message for it.
        MissingExtraError: `rosbags` or `mcap` is not installed.
    """
    path = Path(path)
    if path.exists():
        raise ConfigError(f"{path} is there already", "choose another name")
    store = typestore("ros1" if path.suffix == ".bag" else "cdr")
    with ExitStack() as stack:
        put = open_writer(path, store, stack)
        writer = _Writer(store, put, crs, offsets_s)
        for event in events:
            writer.add(event)
    return path


class _Writer:
    """Makes messages of events."""

    def __init__(self, store: Any, put: Put, crs: str, offsets_s: Callable[[SweepEvent], DoubleArray] | None) -> None:
        self._store, self._put, self._crs, self._offsets_s = store, put, crs, offsets_s
        self._odom_SE2_vehicle, self._rings = SE2(0.0, 0.0, 0.0), list[CameraRing]()
        self._lidar = False

    def add(self, event: Event) -> None:
        """Write an event."""
        at_ns = round(event.time_s * 1e9)
        if isinstance(event, SweepEvent):
            self._sweep(event, at_ns)
        elif isinstance(event, CameraEvent):
            self._frame(event, at_ns)
        elif isinstance(event, FixEvent):
            self._fix(event, at_ns)
        elif isinstance(event, OdometryEvent):
            self._odom_SE2_vehicle = self._odom_SE2_vehicle @ event.previous_SE2_current
            pose = self._new("geometry_msgs/Pose", **_pose(SE3.from_se2(self._odom_SE2_vehicle).matrix))
            pose = self._new("geometry_msgs/PoseWithCovariance", pose=pose, covariance=np.zeros(36))
            twist = self._new("geometry_msgs/TwistWithCovariance", covariance=np.zeros(36))
            header = self._header(at_ns, "odom")
            said = {"header": header, "child_frame_id": BASE, "pose": pose, "twist": twist}
            self._write("/odom", "nav_msgs/Odometry", at_ns, **said)
        elif isinstance(event, TwistEvent):
            if event.yaw_rate_radps is None:
                raise ConfigError("a twist without a yaw rate", "give it, or the speed with a YawRateEvent")
            twist = self._twist(event.ahead_mps, event.yaw_rate_radps)
            self._write("/twist", "geometry_msgs/TwistStamped", at_ns, header=self._header(at_ns, BASE), twist=twist)
        elif isinstance(event, YawRateEvent):
            turning = self._new("geometry_msgs/Vector3", x=0.0, y=0.0, z=event.yaw_rate_radps)
            self._transform(at_ns, "imu", np.eye(4))
            said = {"header": self._header(at_ns, "imu"), "angular_velocity": turning}
            self._write("/imu", "sensor_msgs/Imu", at_ns, **said)

    def _sweep(self, event: SweepEvent, at_ns: int) -> None:
        if not isinstance(event.sweep, Sweep):
            raise ConfigError("an observation drawn of sweeps is no raw sweep", "write the sweeps that it was drawn of")
        if not self._lidar:
            self._transform(at_ns, LIDAR, np.eye(4))
            self._lidar = True
        times = [] if self._offsets_s is None else [self._offsets_s(event)]
        rows = np.column_stack([event.sweep.points_sensor_m, event.sweep.intensity, *times]).astype("<f4")
        names = ("x", "y", "z", "intensity", "time")[: rows.shape[1]]
        fields = [
            self._new("sensor_msgs/PointField", name=name, offset=4 * at, datatype=7, count=1)
            for at, name in enumerate(names)
        ]
        step = 4 * len(names)
        self._write(
            "/points", "sensor_msgs/PointCloud2", at_ns, header=self._header(at_ns, LIDAR), height=1, width=len(rows),
            fields=fields, point_step=step, row_step=step * len(rows), data=rows.reshape(-1).view(np.uint8),
            is_dense=True,
        )  # fmt: skip

    def _frame(self, event: CameraEvent, at_ns: int) -> None:
        frame = event.frame
        if not isinstance(frame, RingFrame):
            raise ConfigError("a camera event without images", "write the frames of a ring")
        if not self._rings:
            self._rings.append(frame.ring)
            self._transform(at_ns, "base_footprint", SE3.from_se2(SE2(0, 0, 0), frame.ring.ground_z_m).matrix)
            for name, camera, pose in zip(
                frame.ring.names, frame.ring.cameras, frame.ring.vehicle_SE3_camera, strict=True
            ):
                self._transform(at_ns, f"{name}_optical", pose)
                self._info(name, camera, at_ns)
        if self._rings[0].names != frame.ring.names:
            raise ConfigError("frames of two rings", "write a bag each")
        for name, image in zip(frame.ring.names, frame.images, strict=True):
            if image is not None:
                height, width = image.shape[:2]
                self._write(
                    f"/{name}/image_raw", "sensor_msgs/Image", at_ns, header=self._header(at_ns, f"{name}_optical"),
                    height=height, width=width, encoding="rgb8", step=3 * width, data=image.reshape(-1),
                )  # fmt: skip

    def _info(self, name: str, camera: Camera, at_ns: int) -> None:
        model, distortion = _distortion(camera)
        (fx, fy), (cx, cy) = camera.focal_px, camera.centre_px
        matrices = {"k": np.array([fx, 0, cx - 0.5, 0, fy, cy - 0.5, 0, 0, 1.0]), "d": np.array(distortion)}
        matrices |= {"r": np.eye(3).reshape(-1), "p": np.zeros(12)}
        upper = "K" in {word for word, _ in self._store.fielddefs["sensor_msgs/msg/CameraInfo"][1]}
        said = {key.upper() if upper else key: value.astype(np.float64) for key, value in matrices.items()}
        self._write(
            f"/{name}/camera_info", "sensor_msgs/CameraInfo", at_ns, header=self._header(at_ns, f"{name}_optical"),
            height=camera.height_px, width=camera.width_px, distortion_model=model, **said,
        )  # fmt: skip

    def _fix(self, event: FixEvent, at_ns: int) -> None:
        variance = event.sigma_m**2
        if not self._crs:
            matrix = SE3.from_se2(SE2(event.east_m, event.north_m, 0.0)).matrix
            pose = self._new("geometry_msgs/Pose", **_pose(matrix))
            covariance = np.diag([variance, variance, 0, 0, 0, 0]).reshape(-1)
            pose = self._new("geometry_msgs/PoseWithCovariance", pose=pose, covariance=covariance)
            kind, header = "geometry_msgs/PoseWithCovarianceStamped", self._header(at_ns, "map")
            self._write("/gnss/pose", kind, at_ns, header=header, pose=pose)
            return
        from foldmap.formats.crs import to_lonlat

        ((longitude, latitude),) = to_lonlat(np.array([[event.east_m, event.north_m]]), self._crs).tolist()
        said = {"position_covariance": np.diag([variance] * 3).reshape(-1), "position_covariance_type": 2}
        header = self._header(at_ns, "gnss")
        self._write(
            "/gnss/fix", "sensor_msgs/NavSatFix", at_ns, header=header, latitude=latitude, longitude=longitude, **said
        )

    def _twist(self, ahead_mps: float, yaw_radps: float) -> Any:
        parts = {"linear": (ahead_mps, 0.0, 0.0), "angular": (0.0, 0.0, yaw_radps)}
        vectors = {key: self._new("geometry_msgs/Vector3", x=x, y=y, z=z) for key, (x, y, z) in parts.items()}
        return self._new("geometry_msgs/Twist", **vectors)

    def _transform(self, at_ns: int, child: str, matrix: DoubleArray) -> None:
        pose = _pose(matrix)
        place = {axis: getattr(pose["position"], axis) for axis in "xyz"}
        moved = self._new("geometry_msgs/Vector3", **place)
        transform = self._new("geometry_msgs/Transform", translation=moved, rotation=pose["orientation"])
        stamped = {"header": self._header(at_ns, BASE), "child_frame_id": child, "transform": transform}
        one = self._new("geometry_msgs/TransformStamped", **stamped)
        self._write("/tf_static", "tf2_msgs/TFMessage", at_ns, transforms=[one])

    def _header(self, at_ns: int, frame: str) -> Any:
        time = self._new("builtin_interfaces/Time", sec=at_ns // 1_000_000_000, nanosec=at_ns % 1_000_000_000)
        return self._new("std_msgs/Header", stamp=time, frame_id=frame)

    def _write(self, topic: str, kind: str, at_ns: int, **said: Any) -> None:
        name = kind.replace("/", "/msg/")
        self._put(topic, name, at_ns, self._new(kind, **said))

    def _new(self, kind: str, **said: Any) -> Any:
        """A message of a type, empty but for what is said."""
        return new_message(self._store, kind.replace("/", "/msg/"), said)


def new_message(store: Any, name: str, said: dict[str, Any]) -> Any:
    """A message with the fields of its type, empty but for what is said."""
    from rosbags.interfaces import Nodetype

    found = SimpleNamespace()
    for field, (node, detail) in store.fielddefs[name][1]:
        if field in said:
            value = said[field]
        elif node == Nodetype.BASE:
            value = {"string": "", "bool": False}.get(detail[0], 0)
        elif node == Nodetype.NAME:
            value = new_message(store, detail, {})
        elif node == Nodetype.ARRAY:
            value = np.zeros(detail[1], detail[0][1][0])
        else:
            of, kind = detail[0]
            value = np.zeros(0, kind[0]) if of == Nodetype.BASE and kind[0] != "string" else []
        setattr(found, field, value)
    return found


def open_writer(path: Path, store: Any, stack: ExitStack) -> Put:
    """What puts messages of a typestore into a bag, of the kind that its name says, until the stack is closed."""
    if path.suffix == ".mcap":
        return _mcap(path, store, stack)
    extra("rosbags", "a bag")
    if path.suffix == ".bag":
        from rosbags.rosbag1 import Writer as Writer1

        writer: Any = stack.enter_context(Writer1(path))
        serialize = store.serialize_ros1
    else:
        from rosbags.rosbag2 import Writer as Writer2

        writer = stack.enter_context(Writer2(path, version=9))
        serialize = store.serialize_cdr
    made: dict[str, Any] = {}

    def put(topic: str, kind: str, at_ns: int, message: Any) -> None:
        if topic not in made:
            made[topic] = writer.add_connection(topic, kind, typestore=store)
        writer.write(made[topic], at_ns, serialize(message, kind))

    return put


def _mcap(path: Path, store: Any, stack: ExitStack) -> Put:
    writers = extra("mcap.writer", "MCAP")
    file = stack.enter_context(path.open("wb"))
    writer = writers.Writer(file)
    writer.start(profile="ros2", library="foldmap")
    stack.callback(writer.finish)
    schemas: dict[str, int] = {}
    channels: dict[str, int] = {}

    def put(topic: str, kind: str, at_ns: int, message: Any) -> None:
        if kind not in schemas:
            text = store.generate_msgdef(kind, ros_version=2)[0]
            schemas[kind] = writer.register_schema(kind, "ros2msg", text.encode())
        if topic not in channels:
            channels[topic] = writer.register_channel(topic, "cdr", schemas[kind])
        writer.add_message(channels[topic], at_ns, bytes(store.serialize_cdr(message, kind)), at_ns)

    return put


def _pose(matrix: DoubleArray) -> dict[str, Any]:
    """Position and orientation of a message."""
    w, x, y, z = wxyz_from_rigid(matrix).tolist()
    at = dict(zip("xyz", matrix[:3, 3].tolist(), strict=True))
    return {"position": SimpleNamespace(**at), "orientation": SimpleNamespace(w=w, x=x, y=y, z=z)}


def _distortion(camera: Camera) -> tuple[str, list[float]]:
    k = camera.distortion.tolist()
    if camera.model in ("SIMPLE_PINHOLE", "PINHOLE"):
        return "plumb_bob", []
    if camera.model in ("SIMPLE_RADIAL", "RADIAL", "OPENCV"):
        return "plumb_bob", [*k, 0.0, 0.0, 0.0, 0.0][:5] if camera.model != "OPENCV" else [*k, 0.0]
    if camera.model == "OPENCV_FISHEYE":
        return "equidistant", k
    if camera.model == "FULL_OPENCV":
        return "rational_polynomial", k
    raise ConfigError(f"a {camera.model} camera has no CameraInfo", "undistort the images")
