"""Messages decoded; by the definitions that ROS ships, never by those that a bag brings."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from foldmap.errors import BagInputError
from foldmap.formats.bags import livox
from foldmap.formats.bags.files import Topic
from foldmap.formats.extras import extra
from foldmap.geometry import SE3
from foldmap.geometry.quaternion import rigid_from_wxyz

ENCODINGS = ("cdr", "ros1")
_TRANSFORMS = "geometry_msgs/TransformStamped[] transforms"


@cache
def typestore(encoding: str) -> Any:
    """The message types of ROS 2 ("cdr") or ROS 1 ("ros1")."""
    types = extra("rosbags.typesys", "a bag")
    store = types.get_typestore(types.Stores.ROS1_NOETIC if encoding == "ros1" else types.Stores.ROS2_HUMBLE)
    for name in ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage"):
        if name not in store.fielddefs:
            store.register(types.get_types_from_msg(_TRANSFORMS, name))
    return store


def decode(topic: Topic, data: bytes) -> Any:
    """The message, Livox' own as a PointCloud2; a BagInputError where its bytes are none."""
    if topic.type in livox.TYPES:
        return livox.cloud_of(topic.encoding, data)
    store = typestore(topic.encoding)
    try:
        read = store.deserialize_ros1 if topic.encoding == "ros1" else store.deserialize_cdr
        return read(data, topic.type)
    except Exception as error:  # generated code raises what it likes on bytes that are no message
        said = f"{type(error).__name__}: {str(error)[:80]}"
        raise BagInputError(f"{topic.name}: a message is damaged ({said})", "record it again") from error


def stamp_ns(message: Any) -> int:
    """When it was measured, as its header says."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def frame_of(message: Any) -> str:
    """The frame of its header, without the slash that ROS 1 put before."""
    return str(message.header.frame_id).lstrip("/")


def vector(one: Any) -> tuple[float, float, float]:
    """x, y, z."""
    return float(one.x), float(one.y), float(one.z)


def pose_of(position: Any, orientation: Any) -> SE3:
    """A pose, from a point or vector and a quaternion; a PoseInputError where it is none."""
    wxyz = [float(getattr(orientation, axis)) for axis in "wxyz"]
    return SE3(rigid_from_wxyz(wxyz, np.array(vector(position))))
