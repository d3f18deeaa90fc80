"""A ring of like cameras around a roof, for whoever has none of their own: the generated town and the tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import Camera
from foldmap.street.images.observation import CameraRing
from foldmap.types import DoubleArray

_HEIGHT_M, _RADIUS_M = 1.7, 0.3
YAWS_DEG = (0.0, 45.0, 100.0, 153.0, -153.0, -100.0, -45.0)


def surround_ring(
    yaws_deg: Sequence[float] = YAWS_DEG,
    size_px: tuple[int, int] = (400, 300),
    *,
    distortion: Sequence[float] = (),
    pitch_deg: float = 0.0,
) -> CameraRing:
    """Cameras on a circle of 0.3 m about (1.35, 0) m of the vehicle frame, 1.7 m above the ground, that look outwards.

    They are named ``camera_0``, ``camera_1``, ... and look counter-clockwise from ahead, and `pitch_deg` downwards; the
    focal length is 0.82 of the width. `distortion` is of OpenCV, k1 k2 p1 p2 k3 k4 k5 k6; none makes pinholes.
    """
    if len(distortion) > 8:
        raise ConfigError(f"{len(distortion)} distortion coefficients", "give up to eight, as OpenCV orders them")
    width, height = size_px
    focal = 0.82 * width
    params = [focal, focal, 0.5 * width, 0.5 * height]
    if distortion:
        params += [*distortion, *[0.0] * (8 - len(distortion))]
    camera = Camera("FULL_OPENCV" if distortion else "PINHOLE", width, height, np.array(params))
    poses = [_pose(np.radians(yaw), np.radians(pitch_deg)) for yaw in yaws_deg]
    names = tuple(f"camera_{k}" for k in range(len(poses)))
    return CameraRing(names, (camera,) * len(poses), np.stack(poses))


def _pose(yaw_rad: float, pitch_rad: float) -> DoubleArray:
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    ahead = np.array([cos * np.cos(pitch_rad), sin * np.cos(pitch_rad), -np.sin(pitch_rad)])
    right = np.array([sin, -cos, 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(ahead, right), ahead], 1)
    pose[:3, 3] = 1.35 + _RADIUS_M * cos, _RADIUS_M * sin, _HEIGHT_M
    return pose
