"""Whether a camera's pose on a vehicle can be: near the vehicle, above the ground, and with ground in view."""

from __future__ import annotations

import numpy as np

from foldmap.errors import MapInputError
from foldmap.geometry import Camera
from foldmap.types import DoubleArray

HIGHEST_M, FARTHEST_M = 20.0, 30.0
"""No camera of a road vehicle is higher above the ground, or farther from the vehicle's origin."""
_USUAL_M = 0.3, 5.0
_STEEPEST = np.sin(np.radians(45))
_SEEN_M = 100.0
_GRID = np.linspace(0.02, 0.98, 9)
_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""Axes of a camera frame (x right, y down, z ahead) in a body frame (x ahead, y left, z up)."""


def check_mounting(name: str, camera: Camera, vehicle_SE3_camera: DoubleArray, ground_z_m: float) -> None:
    """Refuse a pose from which nothing of the ground could be seen.

    Args:
        name: of the camera.
        camera: intrinsics.
        vehicle_SE3_camera: float64 (4, 4), rigid; vehicle x ahead, y left, z up, camera x right, y down, z ahead.
        ground_z_m: height of the ground in the vehicle frame.

    Raises:
        MapInputError: names the camera and what is wrong; the cure is what would make the pose a possible one.
    """
    wrong = _wrong(camera, vehicle_SE3_camera, ground_z_m)
    turned: DoubleArray = np.linalg.inv(vehicle_SE3_camera).astype(np.float64)
    if wrong is None:
        if _upright(vehicle_SE3_camera) or not _upright(turned) or _wrong(camera, turned, ground_z_m) is not None:
            return
        wrong = "lies on its side"
    millimetres, centimetres, upside = (vehicle_SE3_camera.copy() for _ in range(3))
    millimetres[:3, 3] /= 1000
    centimetres[:3, 3] /= 100
    upside[1:3] *= -1
    cures = [
        (turned, "give vehicle_SE3_camera, which takes points from the camera to the vehicle, not its inverse"),
        (vehicle_SE3_camera @ _OPTICAL, "turn it into the optical frame: camera x right, y down, z ahead"),
        (millimetres, "give metres, not millimetres"),
        (centimetres, "give metres, not centimetres"),
        (upside, "give the vehicle frame with x ahead, y left, z up"),
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
