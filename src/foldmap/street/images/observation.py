"""What a vehicle brings to the street layer, a ring of camera images or an aerial crop, and whether it can be."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from foldmap.errors import MapInputError
from foldmap.geometry import SE2, Camera
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.source import LaneGraph
from foldmap.types import ByteArray, DoubleArray

HIGHEST_M, FARTHEST_M = 20.0, 30.0
"""No camera of a road vehicle is higher above the ground, or farther from the vehicle's origin."""
_USUAL_M = 0.3, 5.0
_LONGEST_CM = 600.0
"""From the origin to a camera, in centimetres; a larger number is of millimetres."""
_STEEPEST = np.sin(np.radians(45))
_SEEN_M = 100.0
_GRID = np.linspace(0.02, 0.98, 9)
_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""Axes of a camera frame (x right, y down, z ahead) in a body frame (x ahead, y left, z up)."""


@dataclass(frozen=True)
class CameraRing:
    """A rig of any number of calibrated cameras, with names of their own.

    `vehicle_SE3_camera` is float64 (N, 4, 4): vehicle frame x ahead, y left, z up, its origin on the rear axle; camera
    frame x right, y down, z ahead. `ground_z_m` is the height of the (flat) ground in the vehicle frame; negative where
    the axle is above it.

    Raises:
        MapInputError: no camera, counts differ, two names agree, a pose is not rigid, or no ground can be seen from it.
    """

    names: tuple[str, ...]
    cameras: tuple[Camera, ...]
    vehicle_SE3_camera: DoubleArray
    ground_z_m: float = 0.0

    def __post_init__(self) -> None:
        count = len(self.names)
        if not count:
            raise MapInputError("a ring without cameras", "give at least one calibrated camera")
        if len(self.cameras) != count or self.vehicle_SE3_camera.shape != (count, 4, 4):
            what = f"{count} names, {len(self.cameras)} cameras and poses {self.vehicle_SE3_camera.shape} in a ring"
            raise MapInputError(what, "give a name, intrinsics and a 4x4 pose for each camera")
        if len(set(self.names)) != count:
            raise MapInputError("two cameras of the ring have one name", "rename one")
        for name, camera, pose in zip(self.names, self.cameras, self.vehicle_SE3_camera, strict=True):
            if not _is_rigid(pose):
                cure = "give rotations (right-handed) and metres, and 0 0 0 1 as the last row"
                raise MapInputError(f"the pose of camera {name} is not rigid", cure)
            check_mounting(name, camera, pose, self.ground_z_m)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, *names: str) -> CameraRing:
        """Some cameras of the ring (MapInputError: a camera that the ring does not have)."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise MapInputError(f"the ring has no camera {missing[0]!r}", f"it has {', '.join(self.names)}")
        rows = [self.names.index(name) for name in names]
        return CameraRing(names, tuple(self.cameras[i] for i in rows), self.vehicle_SE3_camera[rows], self.ground_z_m)


def _is_rigid(pose: DoubleArray) -> bool:
    turn = pose[:3, :3]
    if not np.isfinite(pose).all() or not np.array_equal(pose[3], [0, 0, 0, 1]) or np.abs(turn).max() > 2:
        return False
    return np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) and bool(np.linalg.det(turn) > 0)


def check_mounting(name: str, camera: Camera, vehicle_SE3_camera: DoubleArray, ground_z_m: float) -> None:
    """Refuse a pose that sees nothing of the ground: vehicle x ahead, y left, z up; camera x right, y down, z ahead.

    The MapInputError names the camera and what is wrong; its cure is what would make the pose a possible one.
    """
    wrong = _wrong(camera, vehicle_SE3_camera, ground_z_m)
    turned: DoubleArray = np.linalg.inv(vehicle_SE3_camera).astype(np.float64)
    if wrong is None:
        if _upright(vehicle_SE3_camera) or not _upright(turned) or _wrong(camera, turned, ground_z_m) is not None:
            return
        wrong = "lies on its side"
    scaled, upside = vehicle_SE3_camera.copy(), vehicle_SE3_camera.copy()
    centimetres = float(np.linalg.norm(scaled[:3, 3])) < _LONGEST_CM
    scaled[:3, 3] /= 100 if centimetres else 1000
    upside[1:3] *= -1
    cures = [
        (turned, "give vehicle_SE3_camera, which takes points from the camera to the vehicle, not its inverse"),
        (vehicle_SE3_camera @ _OPTICAL, "turn it into the optical frame: camera x right, y down, z ahead"),
        (upside, "give the vehicle frame with x ahead, y left, z up"),
        (scaled, f"give metres, not {'centimetres' if centimetres else 'millimetres'}"),
    ]
    for pose, cure in cures:
        height_m = pose[2, 3] - ground_z_m
        if _USUAL_M[0] < height_m < _USUAL_M[1] and _upright(pose) and _wrong(camera, pose, ground_z_m) is None:
            raise MapInputError(f"camera {name} {wrong}", cure)
    raise MapInputError(
        f"camera {name} {wrong}", "give poses in metres, camera to vehicle, and ground_z_m, or leave the camera out"
    )


def _wrong(camera: Camera, pose: DoubleArray, ground_z_m: float) -> str | None:
    """What is wrong with a pose, in words; None if it can be."""
    x, y, z = pose[:3, 3]
    height = z - ground_z_m
    if not 0 < height <= HIGHEST_M:
        return f"is {abs(height):.4g} m {'above' if height > 0 else 'below'} the ground"
    if max(abs(x), abs(y)) > FARTHEST_M:
        return f"is {max(abs(x), abs(y)):.4g} m away from the vehicle's origin"
    if pose[2, 2] > _STEEPEST:
        return "looks up"
    pixels = np.stack(np.meshgrid(_GRID * camera.width_px, _GRID * camera.height_px), -1).reshape(-1, 2)
    rays = camera.unproject(pixels)
    rays = np.concatenate([rays, np.ones((len(rays), 1))], 1)[np.isfinite(rays).all(1)] @ pose[:3, :3].T
    down = rays[rays[:, 2] < 0]
    away = height * np.hypot(down[:, 0], down[:, 1]) / -down[:, 2]
    return None if (away < _SEEN_M).any() else f"sees no ground within {_SEEN_M:g} m"


def _upright(pose: DoubleArray) -> bool:
    """Whether rows of the image are level; looking steeply down, any turn is."""
    return bool(abs(pose[2, 0]) < _STEEPEST or abs(pose[2, 2]) > _STEEPEST)


@dataclass(frozen=True)
class RingFrame:
    """What a ring saw at one moment.

    Images are uint8 (H, W, 3) one a camera, of any size with the calibration's aspect; None where a camera is missing.
    """

    ring: CameraRing
    images: tuple[ByteArray | None, ...]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.ring):
            raise MapInputError(f"{len(self.images)} images for a ring of {len(self.ring)}", "give None where missing")
        if all(image is None for image in self.images):
            raise MapInputError("a frame without images", "give at least one camera's image")
        for name, camera, image in zip(self.ring.names, self.ring.cameras, self.images, strict=True):
            if image is None:
                continue
            check_rgb(f"the image of {name}", image)
            scale = image.shape[1] / camera.width_px
            if abs(image.shape[0] - scale * camera.height_px) > 1.5:
                raise MapInputError(
                    f"the image of {name} is {image.shape[1]} x {image.shape[0]} px, its calibration says "
                    f"{camera.width_px} x {camera.height_px}",
                    "give the whole image, scaled alike in both directions, or the calibration that belongs to it",
                )


@dataclass(frozen=True)
class AerialCrop:
    """The ground from above, uint8 (H, W, 3), in the ego frame: row 0 is the edge ahead, column 0 the edge on the left.

    `window` is what it covers; pixels are square.
    """

    image: ByteArray
    window: Window = AROUND

    def __post_init__(self) -> None:
        check_rgb("the aerial crop", self.image)
        length, width = self.window.size_m
        if abs(self.image.shape[0] / length - self.image.shape[1] / width) * max(length, width) > 1.5:
            what = f"an aerial crop of {self.image.shape[1]} x {self.image.shape[0]} px for {width:g} x {length:g} m"
            raise MapInputError(what, "give square pixels")


Observation = RingFrame | AerialCrop


@dataclass(frozen=True)
class StreetPair:
    """An observation and the lane graph around it: what the networks learn from and are measured on.

    The graph is the truth in the ego frame, cut to the window, vertices 1 m apart. `place` names the map (tile, log,
    city) that it comes from: splits are by place; `world_SE2_ego` is in that map's frame.
    """

    observation: Observation
    graph: LaneGraph
    place: str
    world_SE2_ego: SE2


class LazyPairs(Sequence[StreetPair]):
    """Pairs that are rendered when they are asked for; where they are, and their graphs, without rendering."""

    @abstractmethod
    def render(self, number: int) -> StreetPair:
        """Render one pair."""

    @abstractmethod
    def places(self) -> list[tuple[str, SE2]]:
        """Map and world_SE2_ego of each pair."""

    @abstractmethod
    def graph(self, number: int) -> LaneGraph:
        """The truth of a pair."""

    @overload
    def __getitem__(self, index: int) -> StreetPair: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StreetPair]: ...
    def __getitem__(self, index: int | slice) -> StreetPair | Sequence[StreetPair]:
        """Render a pair, or, for a slice, a list of them."""
        if isinstance(index, slice):
            return [self.render(number) for number in range(*index.indices(len(self)))]
        return self.render(range(len(self))[index])  # negative counts from the end, IndexError beyond


def check_rgb(what: str, image: ByteArray) -> None:
    """Refuse images that are not uint8 (H, W, 3) of at least 16 px a side (MapInputError: names `what` it is)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise MapInputError(f"{what} is {image.dtype} {image.shape}", "give 8-bit RGB")
    if min(image.shape[:2]) < 16:
        raise MapInputError(f"{what} is {image.shape[1]} x {image.shape[0]} px", "give at least 16 px a side")
