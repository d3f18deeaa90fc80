"""What a drive brings, moment by moment; any of it may be missing, and it may come out of order."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from foldmap.errors import PoseInputError
from foldmap.geometry import SE2
from foldmap.lidar.mapping.registration import SweepOdometry
from foldmap.lidar.observation import Observation
from foldmap.lidar.source import Sweep
from foldmap.localize.motion import check_increment
from foldmap.localize.street.localizer import Seen
from foldmap.visual.source import Query

REORDERED_S = 0.5
"""How long events are held back for others that are late."""


@dataclass(frozen=True)
class SweepEvent:
    """A sweep in the vehicle's axes (x ahead, y left; heights above the sensor), or an observation drawn of some.

    ``at_once`` says that it was put together by the times of its points.
    """

    time_s: float
    sweep: Sweep | Observation
    at_once: bool = False


@dataclass(frozen=True)
class CameraEvent:
    """What the cameras saw: of the streets (a ring's frame, an aerial crop, an embedding), and features of photos.

    The queries' ``camera_SE3_rig`` are in the vehicle frame.
    """

    time_s: float
    frame: Seen | None = None
    queries: tuple[Query, ...] = ()


@dataclass(frozen=True)
class FixEvent:
    """A satellite fix in the map's frame, and its standard deviation along each axis, metres."""

    time_s: float
    east_m: float
    north_m: float
    sigma_m: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.east_m, self.north_m, self.sigma_m))) or self.sigma_m <= 0:
            raise PoseInputError(f"the fix {self} is not usable", "give finite values and sigma > 0")


@dataclass(frozen=True)
class OdometryEvent:
    """How far the vehicle came since the odometry event before: previous_SE2_current."""

    time_s: float
    previous_SE2_current: SE2

    def __post_init__(self) -> None:
        check_increment(self.previous_SE2_current)


@dataclass(frozen=True)
class TwistEvent:
    """Speed ahead (m/s) and, where known, the yaw rate (rad/s), from now on."""

    time_s: float
    ahead_mps: float
    yaw_rate_radps: float | None = None


@dataclass(frozen=True)
class YawRateEvent:
    """The yaw rate of an IMU, rad/s, counter-clockwise, from now on."""

    time_s: float
    yaw_rate_radps: float


Event: TypeAlias = SweepEvent | CameraEvent | FixEvent | OdometryEvent | TwistEvent | YawRateEvent
Moves = OdometryEvent | TwistEvent | YawRateEvent


def in_order(events: Iterable[Event], held_s: float = REORDERED_S) -> Iterator[Event]:
    """Sort events that come out of order by no more than ``held_s``; later ones are left out.

    An event is too late where a younger one was given already. At equal times motion comes first. Events are held
    until one comes that is so much younger.
    """
    heap: list[tuple[float, int, int, Event]] = []
    given_s = newest_s = -math.inf
    for number, event in enumerate(events):
        if not math.isfinite(event.time_s):
            raise PoseInputError(f"an event at the time {event.time_s}", "give finite seconds")
        if event.time_s < given_s:
            continue
        heapq.heappush(heap, (event.time_s, 0 if isinstance(event, Moves) else 1, number, event))
        newest_s = max(newest_s, event.time_s)
        while heap and heap[0][0] <= newest_s - held_s:
            given_s, *_, oldest = heapq.heappop(heap)
            yield oldest
    while heap:
        yield heapq.heappop(heap)[-1]


def moved_by_sweeps(events: Iterable[Event]) -> Iterator[Event]:
    """The events of a drive that brings no motion, with the motion that its sweeps tell."""
    odometry = SweepOdometry()
    for event in events:
        if isinstance(event, SweepEvent) and isinstance(event.sweep, Sweep):
            step = odometry.add(event.sweep)
            if step is not None:
                yield OdometryEvent(event.time_s, step)
        yield event
