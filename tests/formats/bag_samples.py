"""Small bags of hand-made messages, in each of the three containers."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.formats.bags.messages import typestore
from foldmap.formats.bags.write import new_message, open_writer
from foldmap.geometry.quaternion import wxyz_from_rigid

CONTAINERS = ("made.mcap", "made.bag", "made")
KINDS = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
FLAT = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4")]


class Made:
    """Makes a bag; times are nanoseconds, received is the stamp where it is not said."""

    def __init__(self, path: Path) -> None:
        self.path, self._stack = path, ExitStack()
        self.store = typestore("ros1" if path.suffix == ".bag" else "cdr")
        self._put = open_writer(path, self.store, self._stack)

    def __enter__(self) -> Made:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def new(self, kind: str, **said: Any) -> Any:
        return new_message(self.store, kind.replace("/", "/msg/"), said)

    def header(self, ns: int, frame: str) -> Any:
        stamp = self.new("builtin_interfaces/Time", sec=ns // 10**9, nanosec=ns % 10**9)
        return self.new("std_msgs/Header", stamp=stamp, frame_id=frame)

    def put(self, topic: str, kind: str, ns: int, frame: str = "", received_ns: int | None = None, **said: Any) -> None:
        message = self.new(kind, header=self.header(ns, frame), **said)
        self._put(topic, kind.replace("/", "/msg/"), ns if received_ns is None else received_ns, message)

    def transform(self, parent: str, child: str, matrix: np.ndarray, ns: int = 0, topic: str = "/tf_static") -> None:
        w, x, y, z = wxyz_from_rigid(matrix).tolist()
        moved = self.new("geometry_msgs/Vector3", **dict(zip("xyz", matrix[:3, 3].tolist(), strict=True)))
        turned = self.new("geometry_msgs/Quaternion", w=w, x=x, y=y, z=z)
        transform = self.new("geometry_msgs/Transform", translation=moved, rotation=turned)
        header = self.header(ns, parent)
        one = self.new("geometry_msgs/TransformStamped", header=header, child_frame_id=child, transform=transform)
        self._put(topic, "tf2_msgs/msg/TFMessage", ns, self.new("tf2_msgs/TFMessage", transforms=[one]))

    def cloud(self, topic: str, ns: int, frame: str, points: np.ndarray, received_ns: int | None = None) -> None:
        """A cloud of x y z intensity, float32."""
        said = cloud_fields(self, FLAT, points.astype("<f4").reshape(-1).view(np.uint8), len(points))
        self.put(topic, "sensor_msgs/PointCloud2", ns, frame, received_ns, **said)


def cloud_fields(
    made: Any, fields: list[tuple[str, str]], data: np.ndarray, width: int, height: int = 1, *,
    offsets: list[int] | None = None, step: int | None = None, row: int | None = None, big: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """What a PointCloud2 says of its data; fields follow each other where no offsets are given."""
    sizes = [int(kind[1]) for _, kind in fields]
    at = [sum(sizes[:k]) for k in range(len(sizes))] if offsets is None else offsets
    step = sum(sizes) if step is None else step
    described = [
        made.new("sensor_msgs/PointField", name=name, offset=offset, datatype=KINDS[kind], count=1)
        for (name, kind), offset in zip(fields, at, strict=True)
    ]
    said = {"height": height, "width": width, "fields": described, "point_step": step, "is_bigendian": big}
    return said | {"row_step": width * step if row is None else row, "data": data, "is_dense": True}


def ground(seed: int, height_m: float = 1.7, count: int = 3000) -> np.ndarray:
    """Returns of flat ground below a lidar, and of walls beside it: x y z intensity."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-15, 15, (count, 2))
    flat = np.column_stack([xy, np.full(count, -height_m), rng.uniform(0.1, 0.9, count)])
    wall = np.column_stack([rng.uniform(-15, 15, 200), np.full(200, 8.0), rng.uniform(-1, 3, 200), np.full(200, 0.5)])
    return np.vstack([flat, wall])


def plain_drive(path: Path, sweeps: int = 3, mount: np.ndarray | None = None, start_ns: int = 10**9) -> Path:
    """Sweeps of a lidar and odometry ahead at 5 m/s; the lidar hangs on base_link."""
    with Made(path) as made:
        if mount is not None:
            made.transform("base_link", "lidar", mount, start_ns)
        for k in range(sweeps):
            ns = start_ns + k * 10**8
            odometry(made, ns, 0.5 * k)
            made.cloud("/points", ns, "lidar", ground(k))
    return path


def odometry(made: Made, ns: int, x_m: float, received_ns: int | None = None) -> None:
    point, turned = made.new("geometry_msgs/Point", x=x_m), made.new("geometry_msgs/Quaternion", w=1.0)
    pose = made.new("geometry_msgs/Pose", position=point, orientation=turned)
    whole = made.new("geometry_msgs/PoseWithCovariance", pose=pose)
    made.put("/odom", "nav_msgs/Odometry", ns, "odom", received_ns, child_frame_id="base_link", pose=whole)
