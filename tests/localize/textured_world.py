"""A textured world that is known everywhere, its map, and a vehicle that looks at it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar.observation import Observation
from foldmap.lidar.source import RasterMap

HALF_LENGTH_M, HALF_WIDTH_M = 6.0, 5.0


def texture(seed: int, shape: tuple[int, int], sigma_px: float = 2.0) -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma_px)
    return (smooth / smooth.std()).astype(np.float32)


@dataclass
class World:
    """A raster that is its own embedding; satisfies `DecodedMap`."""

    raster: RasterMap

    def __post_init__(self) -> None:
        self.spline = spline_filter(self.raster.intensity.astype(np.float64))
        self.asked: list[MetricGrid] = []

    @property
    def grid(self) -> MetricGrid:
        return self.raster.grid

    def embedding(self, grid: MetricGrid) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(grid)
        corner = np.array([[grid.west_m + 0.5 * grid.resolution_m, grid.north_m - 0.5 * grid.resolution_m]])
        row, col = np.round(self.grid.pixel_of(corner)[0]).astype(int)
        piece = self.raster.read(int(row), int(col), *grid.shape)
        return piece.intensity[None], piece.observed

    def embed_observation(self, observation: Observation) -> np.ndarray:
        return observation.intensity[None]

    def look(self, pose: SE2, noise: float, seed: int, observed_share: float = 0.8) -> Observation:
        """Draw the world as seen from a pose, with correlated noise and holes."""
        resolution_m = self.grid.resolution_m
        rows, cols = round(2 * HALF_WIDTH_M / resolution_m), round(2 * HALF_LENGTH_M / resolution_m)
        row, col = np.mgrid[:rows, :cols]
        vehicle = np.stack([(col - (cols - 1) / 2), -(row - (rows - 1) / 2)], -1).reshape(-1, 2) * resolution_m
        pixels = self.grid.pixel_of(pose.apply(vehicle))
        values = map_coordinates(self.spline, pixels.T, prefilter=False).reshape(rows, cols)
        values = values + noise * texture(seed, (rows, cols), 1.5)
        observed = np.random.default_rng(seed + 1).random((rows, cols)) < observed_share
        intensity = np.where(observed, values, 0.0).astype(np.float32)
        return Observation(intensity, observed, resolution_m, HALF_LENGTH_M, HALF_WIDTH_M)


def make_world(seed: int, side_px: int = 1000) -> World:
    grid = MetricGrid(west_m=500.0, north_m=-200.0, resolution_m=0.05, height_px=side_px, width_px=side_px)
    return World(RasterMap(grid, texture(seed, (side_px, side_px)), np.ones((side_px, side_px), bool)))
