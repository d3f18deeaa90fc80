"""A ray-cast street for the tests of map building: ground of known brightness, boxes, a spinning sensor."""

from __future__ import annotations

import numpy as np

from foldmap.geometry import SE2, SE3
from foldmap.lidar.source import Sweep

HEIGHT_M = 1.73


def albedo(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Brightness of the ground, 0.2 to 0.5, smooth over a metre."""
    return 0.35 + 0.15 * np.sin(0.7 * x) * np.cos(0.5 * y)


def pose_at(x: float, y: float = 0.0, heading_rad: float = 0.0) -> SE3:
    return SE3.from_se2(SE2(x, y, heading_rad), HEIGHT_M)


def cast(
    world_SE3_sensor: SE3, boxes: list[tuple[float, ...]] = (), seed: int = 0, rings: int = 32, azimuths: int = 600
) -> tuple[Sweep, np.ndarray]:
    """One sweep of flat ground z = 0 and boxes (x0, x1, y0, y1, z1, brightness); with it what each return met.

    That is -1 for the ground, else the number of the box.
    """
    rng = np.random.default_rng(seed)
    elevation, azimuth = np.meshgrid(
        np.radians(np.linspace(-25, 2, rings)), np.linspace(-np.pi, np.pi, azimuths, endpoint=False), indexing="ij"
    )
    azimuth = azimuth + rng.uniform(0, 2 * np.pi / azimuths, (rings, 1))
    rays = np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], -1)
    rays = rays.reshape(-1, 3) @ world_SE3_sensor.matrix[:3, :3].T
    origin = world_SE3_sensor.translation_m
    with np.errstate(divide="ignore", invalid="ignore"):
        best = np.where(rays[:, 2] < -1e-6, -origin[2] / rays[:, 2], np.inf)
        hit = np.full(len(rays), -1)
        for number, (x0, x1, y0, y1, z1, _) in enumerate(boxes):
            low, high = (np.array([x0, y0, 0]) - origin) / rays, (np.array([x1, y1, z1]) - origin) / rays
            near, far = np.minimum(low, high).max(axis=1), np.maximum(low, high).min(axis=1)
            nearer = (near <= far) & (near > 0) & (near < best)
            best[nearer], hit[nearer] = near[nearer], number
    seen = best < 60
    best = best[seen] + rng.normal(0, 0.01, seen.sum())
    world = origin + best[:, None] * rays[seen]
    brightness = albedo(world[:, 0], world[:, 1])
    for number, box in enumerate(boxes):
        brightness[hit[seen] == number] = box[5]
    points = world_SE3_sensor.inverse().apply(world).astype(np.float32)
    return Sweep(points, np.clip(brightness, 0, 1).astype(np.float32)), hit[seen]
