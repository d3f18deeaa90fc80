"""What a ring of cameras sees along a drive through the town, rendered ray by ray."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, SE3
from foldmap.street.images.observation import CameraRing, RingFrame
from foldmap.town.camera.render import RenderedPicture, TownCamera
from foldmap.town.world import TownWorld

_CELL_M = 48.0
_KEPT = 6
_OPEN_M = 0.2


class TownCells:
    """Cameras of a town, each for the places of a square cell; what stands around is traced once.

    Larger cells are traced less often, and see less far beyond their rims.
    """

    def __init__(self, world: TownWorld, cell_m: float = 24.0) -> None:
        self._world, self._cell_m = world, cell_m
        self._towns: OrderedDict[tuple[int, int], TownCamera] = OrderedDict()

    def at(self, place: SE2) -> TownCamera:
        """The camera of the cell that a place lies in."""
        cell = math.floor(place.x_m / self._cell_m), math.floor(place.y_m / self._cell_m)
        if cell not in self._towns:
            self._towns[cell] = TownCamera(self._world, (np.array(cell) + 0.5) * self._cell_m)
            if len(self._towns) > _KEPT:
                self._towns.popitem(last=False)
        self._towns.move_to_end(cell)
        return self._towns[cell]


class RingView:
    """Frames of a ring of pinhole cameras on one day; the vehicle's origin is on the ring's ground.

    A camera that would stand inside something has no image. A ConfigError where a camera is no pinhole.
    """

    def __init__(self, world: TownWorld, ring: CameraRing, day_seed: int) -> None:
        for name, camera in zip(ring.names, ring.cameras, strict=True):
            if camera.model not in ("PINHOLE", "SIMPLE_PINHOLE"):
                raise ConfigError(f"{name} is a {camera.model} camera", "give pinholes to render the town with")
        self.ring, self.day_seed, self._cells = ring, day_seed, TownCells(world, _CELL_M)

    def __call__(self, world_SE2_vehicle: SE2) -> RingFrame | None:
        """One frame, in colour; None where every camera would stand inside something."""
        images = tuple(None if one is None else one[0].image for one in self.pictures(world_SE2_vehicle))
        return None if all(image is None for image in images) else RingFrame(self.ring, images)

    def pictures(self, world_SE2_vehicle: SE2) -> list[tuple[RenderedPicture, SE3] | None]:
        """Each camera's picture and world_SE3_camera."""
        town = self._cells.at(world_SE2_vehicle)
        lift = SE3.from_se2(world_SE2_vehicle, -self.ring.ground_z_m)
        taken: list[tuple[RenderedPicture, SE3] | None] = []
        for number, (camera, pose) in enumerate(zip(self.ring.cameras, self.ring.vehicle_SE3_camera, strict=True)):
            world_SE3_camera = lift @ SE3(pose)
            if not town.is_open(world_SE3_camera.translation_m[:2], self.day_seed, _OPEN_M):
                taken.append(None)
                continue
            picture = town.picture(camera, world_SE3_camera, self.day_seed, shot_seed=number, colour=True)
            taken.append((picture, world_SE3_camera))
        return taken
