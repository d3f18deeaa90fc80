"""A bag as a drive: its messages as timed events, read one after another."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import BagInputError, InputError, PoseInputError
from foldmap.formats.bags.clock import Clock
from foldmap.formats.bags.clouds import read_cloud
from foldmap.formats.bags.deskew import Track, deskewed
from foldmap.formats.bags.files import Bag, Raw
from foldmap.formats.bags.images import image_rgb
from foldmap.formats.bags.messages import decode, frame_of, pose_of, stamp_ns, vector
from foldmap.formats.bags.plan import Plan, plan_of, start_of
from foldmap.formats.bags.survey import ROLES, BagOptions, Survey
from foldmap.formats.drives.read import in_vehicle_axes
from foldmap.geometry import SE3
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.events import (
    CameraEvent,
    Event,
    FixEvent,
    Moves,
    OdometryEvent,
    SweepEvent,
    TwistEvent,
    YawRateEvent,
)
from foldmap.street.images.observation import RingFrame
from foldmap.types import ByteArray, DoubleArray

HELD_S = 0.2
"""How long messages are held back, for motion that tells how a sweep was driven through and for late ones."""
SAME_FRAME_S = 0.01
"""Images of several cameras that were taken so close to each other are one frame."""
FIX_SIGMA_M = 2.0
_BRINGS = {"lidar": "sweeps", "fix": "fixes", "odometry": "odometry", "twist": "twist", "imu": "yaw_rate"}


@dataclass
class _Sweep:
    time_s: float
    sweep: Sweep
    offsets_s: DoubleArray | None


@dataclass(eq=False)
class _Frame:
    time_s: float
    images: dict[str, ByteArray] = field(default_factory=dict)


@dataclass
class _Odometry:
    time_s: float
    odom_SE3_vehicle: SE3


_Held = _Sweep | _Frame | _Odometry | FixEvent | TwistEvent | YawRateEvent
_RANKS = {_Sweep: 1, _Frame: 2, FixEvent: 3}
"""At equal times motion comes first, and the rest in the order of a drive's folder."""


class BagDrive:
    """A bag that is read as `foldmap.formats.drives.read.Drive` is; times count from ``start_ns``.

    Attributes:
        plan: which topics are used.
        deskewed: sweeps that were de-skewed, of ``timed`` that tell the times of their points; filled while read.
    """

    def __init__(self, bag: Bag, plan: Plan, survey: Survey) -> None:
        self.plan, self._bag, self._survey, self._options = plan, bag, survey, survey.options
        self.start_ns = start_of(bag, survey, self._options.clock)
        self.deskewed = self.timed = 0
        self._left_out: dict[tuple[str, str], int] = {}
        self._mounts: dict[str, SE3] = {}
        self._transformer: Any = None

    @property
    def brings(self) -> tuple[str, ...]:
        """What it has, in the words of a drive's folder."""
        found = {word for role, word in _BRINGS.items() if getattr(self.plan, role)}
        found |= {"images"} if self.plan.cameras else set()
        return tuple(one for one in ("sweeps", "images", "fixes", "odometry", "twist", "yaw_rate") if one in found)

    @property
    def observations(self) -> int:
        """How many events are no mere motion, as far as the bag tells."""
        counts = [self._bag.topics[name].count or 0 for name in (self.plan.lidar, self.plan.fix) if name]
        frames = [self._bag.topics[name].count or 0 for name in self.plan.cameras.values()]
        return sum(counts) + max(frames, default=0)

    @property
    def notes(self) -> list[str]:
        """What is not used of the bag, and why; where it was cut."""
        return [*self.plan.notes, *self._bag.cut]

    @property
    def damaged(self) -> list[str]:
        """What could not be used, by topic; filled while events are read."""
        return [f"{name}: {count:,} messages: {why}" for (name, why), count in self._left_out.items()]

    @property
    def told(self) -> dict[str, Any]:
        """What there is to tell of how it was read."""
        said = f"{self.deskewed} of {self.timed} sweeps with times of points"
        sweeps = {"deskewed": said, "full_reflectance": self.plan.full_scale} if self.plan.lidar else {}
        return {"topics": self.plan.used, "base_frame": self.plan.base, "clock": self._options.clock, **sweeps}

    def stamp(self, time_s: float) -> str:
        """A time of an event as seconds in the bag's own clock."""
        micro = (self.start_ns + round(time_s * 1e9) + 500) // 1000
        return f"{micro // 1_000_000}.{micro % 1_000_000:06d}"

    def events(self, crs: str = "") -> Iterator[Event]:
        """All events, about in order of time; fixes are brought into the map's crs.

        Raises:
            BagInputError: the clock jumps, or topics have several (`foldmap.formats.bags.clock`).
            PoseInputError: fixes in degrees meet a map in a local frame.
        """
        if self.plan.fix and not crs and self._bag.topics[self.plan.fix].type.endswith("/NavSatFix"):
            raise PoseInputError(
                f"{self.plan.fix} gives latitude and longitude, and the map is in a local frame, without a crs",
                "leave it out with --topic fix=none, or fold the map with its crs",
            )
        clock, track, number = Clock(self._options.clock), Track(), itertools.count()
        held: list[tuple[float, int, int, _Held]] = []
        frames: list[_Frame] = []
        newest_s, before, moving = -math.inf, list[_Odometry](), self._moving()
        for raw in self._bag.messages(self._names() | moving):
            try:
                message = decode(self._bag.topics[raw.topic], raw.data)
                if raw.topic in moving:
                    self._survey.transforms.add(message, static=False)
                    for pose in self._carried(raw, message):
                        newest_s = max(newest_s, pose.time_s)
                        heapq.heappush(held, (pose.time_s, 0, next(number), pose))
                    continue
            except InputError as error:
                self._leave_out(raw.topic, error)
                continue
            time_ns = clock.time_ns(raw.topic, stamp_ns(message), raw.received_ns)
            if time_ns is None:
                self._leave_out(raw.topic, BagInputError("the stamp strays from the time of recording"))
                continue
            time_s = (time_ns - self.start_ns) / 1e9
            try:
                found = self._read(raw.topic, message, time_s, crs, frames)
            except InputError as error:
                self._leave_out(raw.topic, error)
                continue
            newest_s = max(newest_s, time_s)
            if found is not None:
                heapq.heappush(held, (_due(found), _RANKS.get(type(found), 0), next(number), found))
            while held and held[0][0] <= newest_s - HELD_S:
                yield from self._release(heapq.heappop(held)[-1], track, before, frames)
        while held:
            yield from self._release(heapq.heappop(held)[-1], track, before, frames)

    def _moving(self) -> set[str]:
        """TF topics that are needed while events are read."""
        messages = (self._survey.first[name][0] for name in (self.plan.lidar, self.plan.imu, self.plan.twist) if name)
        frames = [frame_of(one) or self.plan.base for one in messages]
        topics = set(self._survey.transforms_topics(static=False))
        fixed = all(self._survey.transforms.is_fixed(self.plan.base, frame) for frame in frames)
        return set() if fixed and self.plan.odometry not in topics else topics

    def _carried(self, raw: Raw, message: Any) -> list[_Odometry]:
        """Where transforms of a message put the vehicle, where they are taken for odometry."""
        found, told = list[_Odometry](), self._survey.carriers
        if raw.topic != self.plan.odometry or told is None:
            return found
        top, moving = told
        for one in message.transforms:
            if str(one.child_frame_id).lstrip("/") in moving:
                at_ns = raw.received_ns if self._options.clock == "received" else stamp_ns(one)
                pose = self._survey.transforms.lookup(top, self.plan.base, stamp_ns(one))
                found.append(_Odometry((at_ns - self.start_ns) / 1e9, pose))
        return found

    def _names(self) -> set[str]:
        plan = self.plan
        return ({plan.lidar, plan.fix, plan.odometry, plan.twist, plan.imu} - {""}) | set(plan.cameras.values())

    def _read(self, topic: str, message: Any, time_s: float, crs: str, frames: list[_Frame]) -> _Held | None:
        """What a message tells; None where it joins what another one began, or tells nothing."""
        plan = self.plan
        if topic == plan.lidar:
            return self._sweep(message, time_s)
        if topic == plan.fix:
            return self._fix(message, time_s, crs)
        if topic == plan.odometry:
            child = str(message.child_frame_id).lstrip("/") or plan.base
            pose = pose_of(message.pose.pose.position, message.pose.pose.orientation)
            return _Odometry(time_s, pose @ self._mount(plan.base, child, time_s).inverse())
        if topic == plan.imu:
            turn = self._mount(plan.base, frame_of(message), time_s).matrix[:3, :3]
            return YawRateEvent(time_s, _finite(float((turn @ vector(message.angular_velocity))[2])))
        if topic == plan.twist:
            return self._twist(message, time_s)
        name = next(name for name, its in plan.cameras.items() if its == topic)
        image, ring = image_rgb(message, topic), plan.ring
        assert ring is not None
        RingFrame(ring, tuple(image if one == name else None for one in ring.names))  # refused here, alone
        frame = next((f for f in frames if abs(f.time_s - time_s) <= SAME_FRAME_S and name not in f.images), None)
        if frame is not None:
            frame.images[name] = image
            return None
        frames.append(_Frame(time_s, {name: image}))
        return frames[-1]

    def _sweep(self, message: Any, time_s: float) -> _Sweep:
        stamp_s = stamp_ns(message) / 1e9
        where = f"{self.plan.lidar} at {self.stamp(time_s)} s"
        found = read_cloud(message, self.plan.intensity, where, stamp_s)
        mount = self._mount(self.plan.base, frame_of(message), time_s)
        sweep = in_vehicle_axes(found.cloud.sweep(self.plan.full_scale), mount)
        return _Sweep(time_s, sweep, found.offsets_s if self._options.deskew else None)

    def _fix(self, message: Any, time_s: float, crs: str) -> FixEvent:
        if hasattr(message, "pose"):  # in the map's frame already
            at, covariance = message.pose.pose.position, np.asarray(message.pose.covariance, np.float64)[[0, 7]]
            return FixEvent(time_s, float(at.x), float(at.y), _sigma_m(covariance))
        if int(message.status.status) < 0:
            raise PoseInputError("the receiver had no fix")
        lonlat = np.array([[float(message.longitude), float(message.latitude)]])
        if not np.isfinite(lonlat).all() or (np.abs(lonlat) > (180.0, 90.0)).any():
            raise PoseInputError("latitude and longitude are none")
        if not lonlat.any():
            raise PoseInputError("latitude and longitude are 0: the receiver had no fix")
        from foldmap.formats.crs import fixes_in

        (east_m, north_m), *_ = fixes_in(lonlat, crs, "a fix").tolist()
        known = int(message.position_covariance_type) != 0
        covariance = np.asarray(message.position_covariance, np.float64)[[0, 4]]
        sigma_m = _sigma_m(covariance) if known else FIX_SIGMA_M
        return FixEvent(time_s, east_m, north_m, math.hypot(sigma_m, self._antenna_m(frame_of(message))))

    def _antenna_m(self, frame: str) -> float:
        """How far an antenna is from the vehicle's origin, from above, where TF tells: fixes are so much less sure."""
        base, transforms = self.plan.base or self._survey.options.base_frame or "base_link", self._survey.transforms
        if frame not in transforms.frames or base not in transforms.frames:
            return 0.0
        try:
            return float(np.hypot(*transforms.lookup(base, frame).translation_m[:2]))
        except BagInputError:
            return 0.0

    def _twist(self, message: Any, time_s: float) -> TwistEvent:
        """The twist of the vehicle's origin, of that of the frame it was measured in."""
        twist = message.twist.twist if hasattr(message.twist, "twist") else message.twist
        mount = self._mount(self.plan.base, frame_of(message) or self.plan.base, time_s)
        turning = mount.matrix[:3, :3] @ vector(twist.angular)
        going = mount.matrix[:3, :3] @ vector(twist.linear) - np.cross(turning, mount.translation_m)
        return TwistEvent(time_s, _finite(float(going[0])), _finite(float(turning[2])))

    def _mount(self, base: str, frame: str, time_s: float) -> SE3:
        """base_SE3_frame; looked up once where nothing between them moves."""
        if frame not in self._mounts:
            transforms = self._survey.transforms
            if not transforms.is_fixed(base, frame):
                return transforms.lookup(base, frame, self.start_ns + round(time_s * 1e9))
            self._mounts[frame] = transforms.lookup(base, frame)
        return self._mounts[frame]

    def _release(self, held: _Held, track: Track, before: list[_Odometry], frames: list[_Frame]) -> Iterator[Event]:
        """The event of what was held back long enough."""
        if isinstance(held, _Odometry):
            last = before.pop() if before else held
            before.append(held)
            if held.time_s < last.time_s:
                self._leave_out(self.plan.odometry, PoseInputError(f"later than {HELD_S} s"))
                before[0] = last
                return
            step = (last.odom_SE3_vehicle.inverse() @ held.odom_SE3_vehicle).to_se2()
            moved: Moves = OdometryEvent(held.time_s, step)
            track.add(moved)
            yield moved
        elif isinstance(held, TwistEvent | YawRateEvent):
            track.add(held)
            yield held
        elif isinstance(held, _Frame):
            frames.remove(held)
            ring = self.plan.ring
            assert ring is not None
            images = tuple(held.images.get(name) for name in ring.names)
            yield CameraEvent(held.time_s, RingFrame(ring, images))
        elif isinstance(held, _Sweep):
            yield self._put_together(held, track)
        else:
            yield held

    def _put_together(self, held: _Sweep, track: Track) -> SweepEvent:
        if held.offsets_s is None:
            return SweepEvent(held.time_s, held.sweep)
        self.timed += 1
        found = deskewed(held.sweep, held.offsets_s, held.time_s, track)
        self.deskewed += found is not None
        return SweepEvent(held.time_s, found or held.sweep, at_once=found is not None)

    def _leave_out(self, topic: str, error: InputError) -> None:
        known = next((key for key in self._left_out if key[0] == topic), (topic, str(error)))
        self._left_out[known] = self._left_out.get(known, 0) + 1


def _due(held: _Held) -> float:
    """When something is given on: a sweep once its last point was measured."""
    if isinstance(held, _Sweep) and held.offsets_s is not None:
        return held.time_s + max(float(held.offsets_s.max()), 0.0)
    return held.time_s


def _sigma_m(covariance_m2: DoubleArray) -> float:
    sigma_m = math.sqrt(max(float(covariance_m2.mean()), 0.0))
    return sigma_m if math.isfinite(sigma_m) and sigma_m > 0 else FIX_SIGMA_M


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise PoseInputError("a speed or rate is not finite")
    return value


def open_bag_drive(path: Path | str, options: BagOptions | None = None, wanted: Collection[str] = ROLES) -> BagDrive:
    """Open a bag and decide what its topics are used for; roles that are not ``wanted`` are passed over.

    Raises:
        BagInputError: it cannot be read, or what it brings cannot be used; the message names topic or frame.
        ConfigError: several topics fit, or an option names what is not there.
        MissingExtraError: `rosbags` or `mcap` is not installed.
    """
    bag = Bag(path)
    plan, survey = plan_of(bag, options or BagOptions(), wanted)
    drive = BagDrive(bag, plan, survey)
    if not {"sweeps", "images", "fixes"} & set(drive.brings):
        there = ", ".join(f"{one.name} ({one.type})" for one in bag.topics.values())[:400] or "none"
        why = "; ".join(plan.notes) or "foldmap show tells what its topics are used as"
        raise BagInputError(f"{bag.path} brings no sweeps, images or fixes; topics there: {there}", why)
    return drive


def describe(path: Path | str, options: BagOptions | None = None) -> dict[str, Any]:
    """What a bag holds, for people: its topics with types, counts and rates, and what each is used as."""
    from foldmap.formats.bags.survey import rows

    bag = Bag(path)
    if bag.span_ns is None:
        raise BagInputError(f"{bag.path} holds no messages", "; ".join(bag.cut) or "record a drive")
    plan, survey = plan_of(bag, options or BagOptions(), strict=False)
    start, end = (f"{ns // 1_000_000_000}.{ns % 1_000_000_000:09d}" for ns in bag.span_ns)
    span = {"from_s": start, "to_s": end, "seconds": round((bag.span_ns[1] - bag.span_ns[0]) / 1e9, 3)}
    counted: Counter[str] = Counter({name: topic.count or 0 for name, topic in bag.topics.items()})
    return {
        "bag": str(path), **span, "messages": counted.total(), "base_frame": plan.base or None,
        "frames": ", ".join(survey.transforms.frames) or "none", "notes": [*plan.notes, *bag.cut],
        "topics": list(rows(survey, plan.used)),
    }  # fmt: skip
