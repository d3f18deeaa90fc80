"""What the layers of one map make of what a drive brings: sweeps laid together, cameras as poses of the vehicle."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from foldmap.geometry import SE2, SE3
from foldmap.geometry.quaternion import inverse_rigid
from foldmap.lidar.observation import Observation, SweepStack
from foldmap.lidar.source import Sweep
from foldmap.localize.estimate import Status
from foldmap.localize.journey.estimate import LayerHealth
from foldmap.localize.journey.events import CameraEvent
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.localize.lidar.outline import WholeOutline
from foldmap.localize.street.localizer import StreetLocalizer
from foldmap.localize.visual.estimate import CameraEstimate
from foldmap.street.images.observation import RingFrame
from foldmap.types import ByteArray, DoubleArray
from foldmap.visual.source import Features, Query

if TYPE_CHECKING:  # its solver is not there for every processor; the other layers go on without
    from foldmap.localize.visual.localizer import VisualLocalizer

Part = TypeVar("Part")
_UPRIGHT_RAD = math.radians(20.0)


@dataclass(frozen=True)
class Layers:
    """The localizers of what a map has, all in one frame in metres; None for what it has not.

    ``extract`` makes the features of a camera's image, uint8 (H, W, 3), where the events bring images alone.
    The outline is of what stands beside the road.
    """

    lidar: LidarLocalizer | None = None
    visual: VisualLocalizer | None = None
    street: StreetLocalizer | None = None
    extract: Callable[[ByteArray], Features] | None = None
    outline: WholeOutline | None = None


@dataclass(frozen=True)
class PhotoPose:
    """What cameras say of the vehicle: world_SE2_vehicle, its covariance (3, 3), whether sure, the pose in full."""

    pose: SE2
    covariance: DoubleArray
    sure: bool
    world_SE3_vehicle: SE3


class Senses:
    """Sweeps and photos, made ready for the layers; and the health of each."""

    def __init__(self, layers: Layers, sweeps: int) -> None:
        self._layers, self._most = layers, sweeps
        self._stack: SweepStack | None = None
        self._turn = 0
        self.health: dict[str, LayerHealth] = {}

    def drawn(self, sweep: Sweep | Observation, start_SE2_vehicle: SE2, known: bool) -> Observation:
        """The ground of the last few sweeps; of the newest alone where motion is not known."""
        if isinstance(sweep, Observation):
            return sweep
        assert self._layers.lidar is not None
        if self._stack is None or not known:
            folded = self._layers.lidar.folded
            relief = bool(getattr(folded, "relief", False))
            self._stack = SweepStack(folded.grid.resolution_m, self._most, relief=relief)
        return self._stack.add(sweep, SE3.from_se2(start_SE2_vehicle))

    @property
    def broken(self) -> bool:
        """Whether the newest sweep did not show the ground that odometry laid it on."""
        return self._stack is not None and self._stack.broken

    def queries(self, event: CameraEvent, most: int) -> tuple[Query, ...]:
        """Some photos of an event with their features, in the vehicle's axes; none where nothing extracts them.

        At most so many cameras of a frame are looked at, in turn: features take longer than all else.
        """
        if event.queries:
            return self._some(event.queries, most)
        if self._layers.extract is None or not isinstance(event.frame, RingFrame):
            return ()
        ring, extract = event.frame.ring, self._layers.extract
        parts = zip(ring.names, ring.cameras, ring.vehicle_SE3_camera, event.frame.images, strict=True)
        usable = [part for part in parts if part[3] is not None]
        return tuple(
            Query(name, camera.of_size(*image.shape[1::-1]), extract(image), None, inverse_rigid(vehicle_SE3_camera))
            for name, camera, vehicle_SE3_camera, image in self._some(usable, most)
            if image is not None
        )

    def _some(self, every: Sequence[Part], most: int) -> tuple[Part, ...]:
        if len(every) <= most:
            return tuple(every)
        first, self._turn = self._turn, self._turn + most
        return tuple(every[(first + number) % len(every)] for number in range(most))

    def seen(self, queries: Sequence[Query], near: tuple[SE2, float] | None) -> PhotoPose | None:
        """The vehicle's pose by its cameras, where they give one and it stands upright."""
        assert self._layers.visual is not None
        pose, radius = (None, 64.0) if near is None else near
        found = self._layers.visual.localize(list(queries), pose, radius)
        planar = planar_pose(found)
        tilted = found.pose is not None and planar is None
        self.told("visual", "no_match" if tilted else found.status.value, found.diagnostics.reason)
        if planar is None or found.pose is None:
            return None
        return PhotoPose(*planar, found.status is Status.OK, SE3(inverse_rigid(found.pose)))

    def told(self, layer: str, status: str, reason: str = "", explained: float | None = None) -> None:
        """Note what a layer said."""
        before = self.health.get(layer, LayerHealth())
        ok_age_s = 0.0 if status == "ok" else before.ok_age_s
        self.health[layer] = LayerHealth(status, reason, 0.0, ok_age_s, explained)

    def older(self, dt_s: float) -> None:
        """Time goes by."""
        for one in self.health.values():
            one.age_s = None if one.age_s is None else one.age_s + dt_s
            one.ok_age_s = None if one.ok_age_s is None else one.ok_age_s + dt_s


def planar_pose(found: CameraEstimate) -> tuple[SE2, DoubleArray] | None:
    """World_SE2_vehicle and its covariance (3, 3) by an estimate of a rig in vehicle axes; None where it is tilted."""
    if found.pose is None or found.covariance is None:
        return None
    world_SE3_vehicle = inverse_rigid(found.pose)
    if world_SE3_vehicle[2, 2] < math.cos(_UPRIGHT_RAD):
        return None
    heading_rad = math.atan2(world_SE3_vehicle[1, 0], world_SE3_vehicle[0, 0])
    x_m, y_m = (float(value) for value in world_SE3_vehicle[:2, 3])
    # the covariance is over the origin in the world and a rotation vector in the vehicle's own axes
    pick = np.zeros((3, 6))
    pick[0, 0] = pick[1, 1] = 1.0
    pick[2, 3:] = world_SE3_vehicle[2, :3]  # the world's up, in the vehicle
    covariance = pick @ found.covariance @ pick.T
    return SE2(x_m, y_m, heading_rad), 0.5 * (covariance + covariance.T) + 1e-8 * np.eye(3)
