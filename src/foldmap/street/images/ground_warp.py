"""From the ground to cameras: what a calibrated ring would see of a flat ortho image. SEMI-SYNTHETIC.

Real colours of real ground under a real calibration, but nothing stands up: cars, trees and buildings lie flat, and
above the horizon there is one neutral colour. Figures on such frames must say so.
"""

# mypy: allow-untyped-decorators
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, Camera
from foldmap.street.images.ground import main_axes
from foldmap.street.images.ground_image import GroundImage
from foldmap.street.images.observation import CameraRing, RingFrame
from foldmap.street.images.pyramid import sample
from foldmap.types import ByteArray, DoubleArray, FloatArray

RANGE_M = 80.0
"""Ground farther from the camera than this is not drawn: a tile is too coarse a picture of a camera's horizon."""
NEUTRAL = 128
"""Grey level of all that is not ground."""


@dataclass(frozen=True)
class _Rays:
    """Pixels of one camera that see the ground: index, and x, y, long side (x, y), short side in the ego frame, m."""

    pixel: np.ndarray[tuple[int], np.dtype[np.int64]]
    place: FloatArray
    shape: tuple[int, int]


class RingWarp:
    """Draws ortho images into one ring, distortion included (semi-synthetic); the rays are computed once.

    The widest camera's image has `width_px`, the others are scaled alike; ground beyond `range_m` is not drawn.
    """

    def __init__(self, ring: CameraRing, width_px: int = 400, range_m: float = RANGE_M) -> None:
        if not (math.isfinite(range_m) and range_m > 0):
            raise ConfigError(f"a range of {range_m} m", "give a positive range")
        self.ring = ring
        scale = width_px / max(camera.width_px for camera in ring.cameras)
        shapes = [(round(scale * camera.height_px), round(scale * camera.width_px)) for camera in ring.cameras]
        if min(min(shape) for shape in shapes) < 16:
            raise ConfigError(f"images of {width_px} px a ring", "give enough for 16 px a side")
        self._rays = [
            _rays(camera, pose, ring.ground_z_m, shape, range_m)
            for camera, pose, shape in zip(ring.cameras, ring.vehicle_SE3_camera, shapes, strict=True)
        ]

    def __call__(self, ground: GroundImage, world_SE2_ego: SE2) -> RingFrame:
        """Draw one frame of a vehicle (its origin on the rear axle); ground beyond the image's edge is neutral grey."""
        cos, sin = math.cos(world_SE2_ego.heading_rad), math.sin(world_SE2_ego.heading_rad)
        origin = ground.xy_px(np.array([[world_SE2_ego.x_m, world_SE2_ego.y_m]]))[0]
        # ego metres to pixels of the ground image, whose y counts southwards
        turn = np.array([cos, -sin, -sin, -cos]) / ground.grid.resolution_m
        affine = np.concatenate([origin, turn]).astype(np.float64)
        images: list[ByteArray] = []
        for rays in self._rays:
            image = np.full((rays.shape[0] * rays.shape[1], 3), NEUTRAL, np.uint8)
            _draw(*ground.pyramid, affine, 1.0 / ground.grid.resolution_m, rays.pixel, rays.place, image)
            images.append(image.reshape(*rays.shape, 3))
        return RingFrame(self.ring, tuple(images))


def ground_of_pixels(
    camera: Camera, vehicle_SE3_camera: DoubleArray, ground_z_m: float, xy_px: DoubleArray
) -> DoubleArray:
    """Where pixels (N, 2) meet the flat ground, float64 (N, 2) in the vehicle frame; NaN at and above the horizon."""
    rays = camera.unproject(xy_px)
    directions = np.concatenate([rays, np.ones((len(rays), 1))], 1) @ vehicle_SE3_camera[:3, :3].T
    drop = vehicle_SE3_camera[2, 3] - ground_z_m
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(directions[:, 2] < 0, -drop / directions[:, 2], np.nan)
    return vehicle_SE3_camera[:2, 3] + depth[:, None] * directions[:, :2]


def _rays(camera: Camera, pose: DoubleArray, ground_z_m: float, shape: tuple[int, int], range_m: float) -> _Rays:
    """Meet the ground at the corners of all pixels: centre and sides of each pixel's footprint follow."""
    rows, columns = np.mgrid[: shape[0] + 1, : shape[1] + 1]
    xy = np.stack([columns * (camera.width_px / shape[1]), rows * (camera.height_px / shape[0])], -1)
    corner = ground_of_pixels(camera, pose, ground_z_m, xy.reshape(-1, 2)).reshape(*xy.shape)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]
    centre = (0.25 * (a + b + c + d)).reshape(-1, 2)
    near = np.hypot(*(centre - pose[:2, 3]).T) <= range_m  # NaN compares false
    pixel = np.flatnonzero(near)
    across, down = (0.5 * (b + d - a - c)).reshape(-1, 2)[pixel], (0.5 * (c + d - a - b)).reshape(-1, 2)[pixel]
    long, short = main_axes(across, down)
    place = np.concatenate([centre[pixel], long, short[:, None]], 1)
    return _Rays(pixel, place.astype(np.float32), shape)


@njit(cache=True, nogil=True)
def _draw(pixels, table, affine, per_m, pixel, place, image):  # type: ignore[no-untyped-def]
    colour = np.empty(3, np.float32)
    ox, oy, xx, xy, yx, yy = affine
    for n in range(len(pixel)):
        ex, ey = place[n, 0], place[n, 1]
        x, y = ox + xx * ex + xy * ey, oy + yx * ex + yy * ey
        if not (0.0 <= x <= table[0, 2] and 0.0 <= y <= table[0, 1]):
            continue
        ax, ay = place[n, 2], place[n, 3]
        colour[:] = 0.0
        sample(pixels, table, x, y, xx * ax + xy * ay, yx * ax + yy * ay, per_m * place[n, 4], np.float32(1.0), colour)
        for k in range(3):
            image[pixel[n], k] = np.uint8(min(max(colour[k] + np.float32(0.5), np.float32(0.0)), np.float32(255.0)))
