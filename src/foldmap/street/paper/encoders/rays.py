"""Calibration as the image encoder reads it: where nine pixels of a camera are, and which way they look.

A pinhole, a fisheye and an orthographic view from above differ in nothing else. For a camera all nine rays start at its
centre; for an aerial crop they start on the ground and look straight down. Resizing an image, whatever it does to the
aspect, does not change its rays; taking the left for the right changes signs and order.
"""

from __future__ import annotations

import numpy as np

from foldmap.errors import MapInputError
from foldmap.geometry import Camera
from foldmap.street.graph.window import Window
from foldmap.types import DoubleArray, FloatArray

SIDE = 3
"""Pixels a side: at 1/6, 1/2 and 5/6 of the image."""
RAYS = SIDE * SIDE * 6
"""Values a camera."""
_SHARES = (np.arange(SIDE) + 0.5) / SIDE


def camera_rays(camera: Camera, vehicle_SE3_camera: DoubleArray, ground_z_m: float, name: str = "") -> FloatArray:
    """Rays of one camera.

    Args:
        camera: intrinsics.
        vehicle_SE3_camera: float64 (4, 4).
        ground_z_m: height of the ground in the vehicle frame: origins are given above the ground.
        name: of the camera, for the message.

    Returns:
        float32 (`RAYS`,): row by row of the pixels, origin (x, y, z above ground, metres) and unit direction.

    Raises:
        MapInputError: the calibration images nothing at one of the pixels.
    """
    across, down = np.meshgrid(_SHARES * camera.width_px, _SHARES * camera.height_px)
    plane = camera.unproject(np.stack([across.ravel(), down.ravel()], 1))
    if not np.isfinite(plane).all():
        raise MapInputError(f"the calibration of camera {name!r} sees nothing in parts of its image", "check it")
    rays = np.concatenate([plane, np.ones((len(plane), 1))], 1) @ vehicle_SE3_camera[:3, :3].T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    origin = np.broadcast_to(vehicle_SE3_camera[:3, 3] - [0, 0, ground_z_m], rays.shape)
    return np.concatenate([origin, rays], 1).astype(np.float32).ravel()


def crop_rays(window: Window) -> FloatArray:
    """Rays of an aerial crop: they start on the ground, and look down."""
    ahead = window.ahead_m - _SHARES * window.size_m[0]
    left = window.left_m - _SHARES * window.size_m[1]
    y, x = np.meshgrid(left, ahead)
    still = np.zeros(x.size)
    return np.stack([x.ravel(), y.ravel(), still, still, still, still - 1], 1).astype(np.float32).ravel()


def mirrored_rays(rays_R: FloatArray) -> FloatArray:
    """Rays of the camera that a mirrored image belongs to; any leading axes."""
    grid = rays_R.reshape(*rays_R.shape[:-1], SIDE, SIDE, 6)[..., ::-1, :].copy()
    grid[..., [1, 4]] *= -1
    return grid.reshape(rays_R.shape)
