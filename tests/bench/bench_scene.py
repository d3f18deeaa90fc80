"""A small painted square seen by an ideal ground scanner: truth that the benchmark's own code did not make."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from foldmap.bench.lidar.drive import Drive, GroundFrame
from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar.source import RasterMap


def paint(points_world_m: np.ndarray, seed: int = 0) -> np.ndarray:
    """Intensity of the ground at world points (N, 2): stripes, blobs and a random texture of 0.5 m."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.random((400, 400)), 2.0)
    texture = (texture - texture.min()) / (texture.max() - texture.min())
    east, north = points_world_m.T
    cell = (np.floor(points_world_m / 0.25).astype(int)) % 400
    value = 0.15 + 0.3 * texture[cell[:, 1], cell[:, 0]]
    value += 0.4 * (np.abs(north - 2.0) < 0.1) * (np.floor(east / 1.5) % 2 == 0)
    value += 0.4 * (np.abs(np.hypot(east - 6.0, north + 2.0) - 1.2) < 0.15)
    return value.astype(np.float32)


def painted_drive(frames: int = 24, step_m: float = 0.5, points: int = 6000, seed: int = 3) -> Drive:
    """A vehicle driving east over the paint with a slight turn, its points uniform around it."""
    made = []
    for index in range(frames):
        rng = np.random.default_rng((seed, index))
        pose = SE2(step_m * index, 0.02 * index, 0.01 * index)
        local = rng.uniform(-8.0, 8.0, (points, 2)).astype(np.float32)
        made.append(GroundFrame(local, paint(pose.apply(local.astype(np.float64))), pose))
    return Drive("painted", tuple(made), f"painted-{frames}-{step_m}-{points}-{seed}")


def painted_raster(
    resolution_m: float = 0.1, size_px: int = 240, west_m: float = -6.0, north_m: float = 12.0
) -> RasterMap:
    """The paint on a grid, with an unobserved corner."""
    grid = MetricGrid(west_m, north_m, resolution_m, size_px, size_px)
    rows, cols = np.mgrid[:size_px, :size_px]
    points = grid.world_of(np.stack([rows.ravel(), cols.ravel()], 1).astype(np.float64))
    observed = (rows + cols) > size_px // 3
    intensity = np.where(observed, paint(points).reshape(grid.shape), 0).astype(np.float32)
    return RasterMap(grid, intensity, observed)


def apart(a: SE2, b: SE2) -> float:
    """Distance of two poses in metres."""
    return math.hypot(a.x_m - b.x_m, a.y_m - b.y_m)
