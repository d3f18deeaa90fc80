"""Which topics of a bag are used for what, decided once; what could be meant in several ways is refused by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foldmap.errors import BagInputError, ConfigError, InputError, MapInputError
from foldmap.formats.bags.clouds import intensity_field, read_cloud
from foldmap.formats.bags.files import Bag
from foldmap.formats.bags.images import camera_of
from foldmap.formats.bags.messages import frame_of, stamp_ns
from foldmap.formats.bags.survey import NONE, ROLES, BagOptions, Survey, is_rectified
from foldmap.formats.drives.read import in_vehicle_axes
from foldmap.formats.sweeps.cloud import Cloud, native_scale, scale_of
from foldmap.geometry import SE3
from foldmap.lidar.mapping.belonging import check_ground
from foldmap.street.images.observation import CameraRing

_EIGHT_BITS = 255.0


@dataclass
class Plan:
    """The topics of a bag by what they are used for.

    Attributes:
        lidar, fix, odometry, twist, imu: a topic each, empty where there is none.
        cameras: the topic of each camera of the ring, by the ring's name of it.
        base: the vehicle's frame.
        intensity, full_scale: the field of reflectances, and its value of full reflectance.
        notes: what is not used, and why.
        several: of a role the topics of which one must be named.
    """

    lidar: str = ""
    fix: str = ""
    odometry: str = ""
    twist: str = ""
    imu: str = ""
    cameras: dict[str, str] = field(default_factory=dict)
    ring: CameraRing | None = None
    base: str = ""
    intensity: str = ""
    full_scale: float = 1.0
    notes: list[str] = field(default_factory=list)
    several: dict[str, list[str]] = field(default_factory=dict)

    @property
    def used(self) -> dict[str, str]:
        """What each topic is used as."""
        singles = {getattr(self, role): role for role in ROLES if role != "camera" and getattr(self, role)}
        open_ = {name: f"{role}? several fit: name one" for role, names in self.several.items() for name in names}
        return open_ | singles | {topic: f"camera {name}" for name, topic in self.cameras.items()}


def plan_of(bag: Bag, options: BagOptions, wanted: Collection[str] = ROLES, strict: bool = True) -> tuple[Plan, Survey]:
    """Decide what a bag's topics are used for; roles that are not ``wanted`` are passed over.

    Raises:
        BagInputError: no messages, several topics fit, or those of the lidar (or one that an option names) do not;
            with ``strict`` False only the first, the rest are notes.
    """
    if bag.span_ns is None:
        raise BagInputError(f"{bag.path} holds no messages", "; ".join(bag.cut) or "record a drive")
    survey, plan = Survey(bag, options), Plan()
    for role in ROLES:
        if role in wanted and options.topics.get(role) != (NONE,):
            try:
                _choose(role, survey, plan, options)
            except InputError as error:
                if strict:
                    raise
                plan.notes.append(str(error))
    if plan.lidar and not plan.odometry and not plan.twist and _is_moved(survey):
        topic = survey.transforms_topics(static=False)[0]
        plan.notes.append(f"nothing but TF tells the motion: --topic odometry={topic} takes it")
    if survey.transforms.damaged:
        plan.notes.append(f"left out: {survey.transforms.damaged} transforms that are none")
    return plan, survey


def _choose(role: str, survey: Survey, plan: Plan, options: BagOptions) -> None:
    """Choose the topics of one role."""
    named = options.topics.get(role, ())
    candidates = list(named) or sorted(name for name, its in survey.roles.items() if its == role)
    reasons = {name: survey.unfit(name) for name in candidates}
    fits = [name for name in candidates if not reasons[name]]
    unfit = {name: reason for name, reason in reasons.items() if reason}
    if unfit and (named or (role == "lidar" and not fits)):
        said = "; ".join(f"{name}: {reason}" for name, reason in unfit.items())
        raise BagInputError(f"no {role} can be used: {said}", f"--topic {role}=none leaves it out")
    plan.notes += [f"{name} is not used: {reason}" for name, reason in unfit.items()]
    if fits and not named and (why := _needless(role, fits, plan)):
        plan.notes.append(f"{' and '.join(fits)}: not used, {why}")
        return
    if not fits:
        return
    plan.base = survey.base if role != "fix" else plan.base
    if role == "camera":
        _cameras(fits, survey, plan, bool(named))
        return
    if len(fits) > 1:
        plan.several[role] = fits
        raise _several(role, fits)
    setattr(plan, role, fits[0])
    if role == "lidar":
        _lidar(fits[0], survey, plan)


def _is_moved(survey: Survey) -> bool:
    return bool(survey.transforms_topics(static=False)) and survey.carriers is not None


def _needless(role: str, fits: list[str], plan: Plan) -> str:
    """Why topics of motion tell nothing that is not known; empty where they do."""
    if role == "imu" and not plan.twist:
        return "yaw rates without a speed tell no motion"
    if role in ("twist", "imu") and plan.odometry and len(fits) > 1:
        return "odometry tells the motion, and several fit"
    return ""


def _several(role: str, names: Iterable[str]) -> ConfigError:
    listed = list(names)
    return ConfigError(f"several topics fit {role}: {', '.join(listed)}", f"name one: --topic {role}={listed[0]}")


def _lidar(name: str, survey: Survey, plan: Plan) -> None:
    """Find the scale of intensities by the first sweeps, and check that they stand on the ground in vehicle axes."""
    messages = survey.first[name]
    fields = [found for message in messages if (found := intensity_field(message)) is not None]
    plan.intensity = fields[0]
    clouds = []
    for message in messages:
        with suppress(InputError):  # said where it is read
            clouds.append((read_cloud(message, plan.intensity, name, 0.0).cloud, message))
    plan.full_scale = survey.options.intensity_scale or full_scale_of([cloud for cloud, _ in clouds], name)
    turned = []
    for cloud, message in clouds:
        with suppress(InputError):
            mount = survey.transforms.lookup(plan.base, frame_of(message))
            turned.append(in_vehicle_axes(cloud.sweep(plan.full_scale), mount))
    try:
        check_ground(turned, [SE3(np.eye(4))] * len(turned), name)
    except InputError as error:
        frame = frame_of(messages[0])
        cure = f"{error.cure}; or check the transform from {frame} to {plan.base}: x ahead, y left, z up"
        raise BagInputError(f"{error.message}, seen in {plan.base}", cure) from error


def full_scale_of(clouds: list[Cloud], where: str) -> float:
    """Full reflectance: 1 or 255 of floating-point numbers, as drivers write them, else the type's largest value."""
    kinds = {cloud.values.dtype for cloud in clouds}
    highest = max((cloud.highest for cloud in clouds), default=0.0)
    if len(kinds) != 1 or highest <= 0:
        return 1.0
    kind = kinds.pop()
    if kind.kind != "f":
        return scale_of(kind, highest, where)
    if highest <= 1.0:
        return native_scale(kind)
    if highest <= _EIGHT_BITS:
        return _EIGHT_BITS
    cure = "give the value of full reflectance: --intensity-scale"
    raise BagInputError(f"{where}: intensities up to {highest:,.0f} have no known scale", cure)


def _cameras(names: list[str], survey: Survey, plan: Plan, named: bool) -> None:
    """The ring of all cameras; of one camera's raw and compressed images the raw ones."""
    frames: dict[str, list[str]] = {}
    for name in names:
        frames.setdefault(frame_of(survey.first[name][0]), []).append(name)
    chosen: list[str] = []
    for same in frames.values():
        bases = {name.removesuffix("/compressed") for name in same}
        if len(bases) > 1 and not named:
            plan.several["camera"] = same
            raise _several("camera", same)
        raw = [name for name in same if not name.endswith("/compressed")]
        chosen.append((raw or same)[0])
    ground_z_m, parts, transforms = _ground(survey, plan.base), list[tuple[str, str, Any, Any]](), survey.transforms
    for topic in sorted(chosen):
        camera, turn = camera_of(survey.camera_info(topic), is_rectified(topic), topic)
        pose = transforms.lookup(plan.base, frame_of(survey.first[topic][0])).matrix.copy()
        pose[:3, :3] = pose[:3, :3] @ turn
        short = topic.removesuffix("/compressed").rsplit("/", 1)[0].strip("/") or topic.strip("/")
        short = topic if short in [one[0] for one in parts] else short
        try:
            CameraRing((short,), (camera,), pose[None], ground_z_m)
        except MapInputError as error:
            said = f"{topic}, seen in {plan.base}: {error.message}"
            cure = f"{error.cure}; the ground's height is --ground-z, now {ground_z_m:g}"
            if named:
                raise BagInputError(said, cure) from error
            plan.notes.append(f"{said} is not used ({cure})")
            continue
        parts.append((short, topic, camera, pose))
    if parts:
        shorts, topics, cameras, poses = zip(*parts, strict=True)
        plan.cameras = dict(zip(shorts, topics, strict=True))
        plan.ring = CameraRing(shorts, cameras, np.stack(poses), ground_z_m)


def _ground(survey: Survey, base: str) -> float:
    """Height of the ground in the vehicle's frame."""
    if survey.options.ground_z_m is not None:
        return survey.options.ground_z_m
    if "base_footprint" in survey.transforms.frames and base != "base_footprint":
        return float(survey.transforms.lookup(base, "base_footprint").translation_m[2])
    return 0.0


def start_of(bag: Bag, survey: Survey, clock: str) -> int:
    """A whole second (ns) from which times of the drive are counted, so that they keep their digits."""
    stamps = [stamp_ns(messages[0]) for messages in survey.first.values()]
    first = bag.span_ns[0] if clock == "received" or not stamps else min(stamps)  # type: ignore[index]
    return first // 1_000_000_000 * 1_000_000_000
