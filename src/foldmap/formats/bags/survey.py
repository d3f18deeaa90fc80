"""What the topics of a bag are good for: found by type, by the first messages, and by TF."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foldmap.errors import BagInputError, ConfigError, InputError
from foldmap.formats.bags import livox
from foldmap.formats.bags.clock import CLOCKS
from foldmap.formats.bags.clouds import intensity_field
from foldmap.formats.bags.files import Bag
from foldmap.formats.bags.images import camera_of, image_rgb
from foldmap.formats.bags.messages import ENCODINGS, decode, frame_of, stamp_ns
from foldmap.formats.bags.transforms import Transforms

TYPES = {
    "sensor_msgs/msg/PointCloud2": "lidar",
    **dict.fromkeys(livox.TYPES, "lidar"),
    "sensor_msgs/msg/Image": "camera",
    "sensor_msgs/msg/CompressedImage": "camera",
    "sensor_msgs/msg/NavSatFix": "fix",
    "nav_msgs/msg/Odometry": "odometry",
    "geometry_msgs/msg/TwistStamped": "twist",
    "geometry_msgs/msg/TwistWithCovarianceStamped": "twist",
    "sensor_msgs/msg/Imu": "imu",
}
ROLES = ("lidar", "camera", "fix", "odometry", "twist", "imu")
BY_NAME = {
    "geometry_msgs/msg/PoseWithCovarianceStamped": "fix",
    "tf2_msgs/msg/TFMessage": "odometry",
    "tf/msg/tfMessage": "odometry",
}
"""Taken for a role only where an option names the topic: a position in the map's frame, as Autoware gives it; how TF
moves the vehicle."""
INFO, STATIC_TF, TF = "sensor_msgs/msg/CameraInfo", "tf_static", "tf"
_TRANSFORMS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_BASES = ("base_link", "base_footprint", "base", "vehicle", "ego_vehicle", "rear_axle")
_PROBED = {"lidar": 3}
_PROBE_NS, _SETTLED_NS = 30_000_000_000, 2_000_000_000
NONE = "none"


@dataclass(frozen=True)
class BagOptions:
    """What a user says of a bag.

    Attributes:
        topics: of a role the topics that are taken for it, or ("none",).
        base_frame: the vehicle's frame in TF; the first of base_link, base_footprint, ... where None.
        ground_z_m: height of the ground in it, for cameras; that of base_footprint, else 0, where None.
        clock: "stamps" or "received".
        deskew: whether sweeps with times of points are de-skewed where motion is known.
        intensity_scale: of full reflectance; 1 or 255 by the first sweeps, or the type's, where None.
    """

    topics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    base_frame: str | None = None
    ground_z_m: float | None = None
    clock: str = "stamps"
    deskew: bool = True
    intensity_scale: float | None = None

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise ConfigError(f"there is no clock {self.clock!r}", f"choose {' or '.join(CLOCKS)}")
        scale, ground_z_m = self.intensity_scale or 1.0, self.ground_z_m or 0.0
        if not (math.isfinite(scale) and scale > 0 and math.isfinite(ground_z_m)):
            raise ConfigError("the intensity scale or the ground's height is no number", "give finite ones, scale > 0")


def topics_of(said: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Topics by role, from texts like ``lidar=/points``; a role may be said several times, cameras are several."""
    found: dict[str, tuple[str, ...]] = {}
    for one in said:
        role, _, name = one.partition("=")
        if role not in ROLES or not name:
            raise ConfigError(
                f"--topic {one!r} names no role and topic", f"ROLE=TOPIC or ROLE=none: {', '.join(ROLES)}"
            )
        found[role] = (*found.get(role, ()), name)
    for role, names in found.items():
        if len(names) > 1 and (role != "camera" or NONE in names):
            raise ConfigError(f"--topic names {len(names)} topics for {role}", "name one")
    return found


class Survey:
    """The first messages of the topics that may be used, and all that TF tells until each has been seen."""

    def __init__(self, bag: Bag, options: BagOptions) -> None:
        self.bag, self.options, self.transforms = bag, options, Transforms()
        named = {name: role for role, names in options.topics.items() for name in names if name != NONE}
        for name, role in named.items():
            _check_named(bag, name, role)
        self.roles = {
            name: named.get(name, TYPES.get(topic.type, ""))
            for name, topic in bag.topics.items()
            if name in named or topic.type in TYPES
        }
        self.first: dict[str, list[Any]] = {}
        self._read()

    @property
    def base(self) -> str:
        """The vehicle's frame; a BagInputError where TF has none that is known."""
        given, frames = self.options.base_frame, self.transforms.frames
        if given is not None:
            every = sorted({*frames, *(frame_of(messages[0]) for messages in self.first.values())} - {""})
            if given not in every:
                raise BagInputError(f"{self.bag.path} has no frame {given}", f"frames there: {_list(every)}")
            return given
        found = next((name for name in _BASES if name in frames), None)
        if found is None:
            there = f"frames there: {_list(frames)}"
            own = sorted({frame_of(messages[0]) for messages in self.first.values()} - {""})
            cure = f"give --base-frame FRAME, x ahead, y left, z up ({there}; of messages: {_list(own)})"
            raise BagInputError(f"{self.bag.path}: TF has no frame of the vehicle, such as base_link", cure)
        return found

    def unfit(self, name: str) -> str:
        """Why a topic cannot be used for its role; empty where it can."""
        topic, role = self.bag.topics[name], self.roles[name]
        if topic.encoding not in ENCODINGS:
            return f"its encoding {topic.encoding!r} is not read"
        if topic.type in _TRANSFORMS:
            return "" if self.carriers else f"no transform moves {self.base}"
        if name not in self.first:
            return "no messages"
        try:
            return self._unfit(name, role, self.first[name][0])
        except InputError as error:
            return str(error)

    @property
    def carriers(self) -> tuple[str, set[str]] | None:
        """The frame in which TF moves the vehicle, "odom" or the topmost, and the frames that move in between."""
        above = self.transforms.above(self.base)
        top = "odom" if "odom" in above else above[-1]
        moving = self.transforms.moving(top, self.base)
        return (top, moving) if moving else None

    def transforms_topics(self, static: bool) -> list[str]:
        """The topics of TF."""
        return [
            name
            for name, topic in self.bag.topics.items()
            if topic.type in _TRANSFORMS and topic.encoding in ENCODINGS and name.endswith(STATIC_TF) == static
        ]

    def camera_info(self, name: str) -> Any:
        """The CameraInfo beside an image, or of its frame; None where there is none."""
        infos = {other: m[0] for other, m in self.first.items() if self.bag.topics[other].type == INFO}
        parents = [name.rsplit("/", depth)[0] for depth in (1, 2)]
        for parent in parents:
            if f"{parent}/camera_info" in infos:
                return infos[f"{parent}/camera_info"]
        frame = frame_of(self.first[name][0])
        same = [info for info in infos.values() if frame_of(info) == frame]
        return same[0] if len(same) == 1 else None

    def _unfit(self, name: str, role: str, message: Any) -> str:
        if role == "lidar":
            if intensity_field(message) is None:
                return f"no reflectances: its fields are {_list([field.name for field in message.fields])}"
            self.transforms.lookup(self.base, frame_of(message))
        elif role == "camera":
            image_rgb(message, name)
            info = self.camera_info(name)
            if info is None:
                return "no CameraInfo beside it"
            camera_of(info, is_rectified(name), name)
            self.transforms.lookup(self.base, frame_of(message))
        elif role == "imu":
            if float(np.asarray(message.angular_velocity_covariance)[0]) == -1.0:
                return "it tells no rates"
            self.transforms.lookup(self.base, frame_of(message))
        elif role == "twist":
            if "cmd" in name.lower() or "command" in name.lower():
                return "" if name in self.options.topics.get(role, ()) else "it seems to be a command"
            self.transforms.lookup(self.base, frame_of(message) or self.base)
        elif role == "odometry":
            self.transforms.lookup(self.base, str(message.child_frame_id).lstrip("/") or self.base)
        return ""

    def _read(self) -> None:
        """Read all static transforms, then all topics until each has been seen, 30 s at most."""
        for name in self.transforms_topics(static=True):
            for raw in self.bag.messages([name]):
                self._transform(name, raw.data, static=True)
        moving = self.transforms_topics(static=False)
        infos = [name for name, topic in self.bag.topics.items() if topic.type == INFO and topic.encoding in ENCODINGS]
        wanted = {name: _PROBED.get(role, 1) for name, role in self.roles.items()} | dict.fromkeys(infos, 1)
        wanted = {name: most for name, most in wanted.items() if name not in moving}
        held = {name for name, topic in self.bag.topics.items() if topic.encoding in ENCODINGS and topic.count}
        wanted = {name: most for name, most in wanted.items() if name in held}
        waiting = dict(wanted)
        start_ns = None
        for raw in self.bag.messages([*wanted, *moving]):
            start_ns = raw.received_ns if start_ns is None else start_ns
            if raw.topic in moving:
                self._transform(raw.topic, raw.data, static=False)
            elif raw.topic in waiting:
                try:
                    message = decode(self.bag.topics[raw.topic], raw.data)
                    stamp_ns(message)
                except InputError:
                    continue
                self.first.setdefault(raw.topic, []).append(message)
                if len(self.first[raw.topic]) == waiting[raw.topic]:
                    del waiting[raw.topic]
            passed_ns = raw.received_ns - start_ns
            if passed_ns > _PROBE_NS or (not waiting and (not moving or passed_ns > _SETTLED_NS)):
                return

    def _transform(self, name: str, data: bytes, static: bool) -> None:
        try:
            self.transforms.add(decode(self.bag.topics[name], data), static)
        except InputError:
            self.transforms.damaged += 1


def is_rectified(name: str) -> bool:
    """Whether an image topic is called as image_proc calls rectified images."""
    return "rect" in name.rsplit("/", 2)[-1].lower() or "image_rect" in name.lower()


def rows(survey: Survey, used: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A row a topic for people: its type, messages, rate, and what it is used as, or why not."""
    span = survey.bag.span_ns
    seconds = (span[1] - span[0]) / 1e9 if span else 0.0
    for name, topic in sorted(survey.bag.topics.items()):
        role = survey.roles.get(name)
        transforms = topic.type in _TRANSFORMS
        said = used.get(name) or ("transforms" if transforms else "calibration" if topic.type == INFO else "")
        if not said and role is not None:
            said = f"not used: {survey.unfit(name) or 'see the notes'}"
        if not said and BY_NAME.get(topic.type) == "fix":
            said = f"{BY_NAME[topic.type]} where --topic {BY_NAME[topic.type]}={name} says so"
        count = topic.count or 0
        rate_hz = round(count / seconds, 2) if seconds > 0 else None
        kind = topic.type.replace("/msg/", "/")
        yield {"topic": name, "type": kind, "messages": count, "rate_hz": rate_hz, "used_as": said or "-"}


def _check_named(bag: Bag, name: str, role: str) -> None:
    """Refuse a topic that is not there, or of another type than its role takes."""
    topic = bag.topics.get(name)
    if topic is None:
        raise ConfigError(f"{bag.path} has no topic {name}", f"topics there: {_list(sorted(bag.topics))}")
    if role not in (TYPES.get(topic.type), BY_NAME.get(topic.type)):
        takes = ", ".join(kind for kind, of in [*TYPES.items(), *BY_NAME.items()] if of == role)
        raise ConfigError(f"{name} is {topic.type}, which is no {role}", f"{role} takes {takes}")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)[:400] or "none"
