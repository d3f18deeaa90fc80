"""A street of poles and walls with paint on its ground, and sweeps of it: a map of it has an outline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldmap.api.folding import LidarOptions, fold
from foldmap.formats.raster.write import write_map_geotiff
from foldmap.geometry import SE2, SE3
from foldmap.lidar.mapping.raster import BuildSettings, build_map
from foldmap.lidar.shipped import weights_folder
from foldmap.lidar.source import Sweep
from foldmap.types import DoubleArray

SENSOR_M = 1.7
MARKS = LidarOptions(model=weights_folder() / "marks-fine-8.safetensors")
"""Marks that are named are neither chosen nor calibrated on the map, which takes a minute a fold."""


def poles_and_walls(seed: int, length_m: float = 70.0) -> DoubleArray:
    """Where something stands along a street from x = 0 on: points (N, 2), one every few centimetres of a wall."""
    rng = np.random.default_rng(seed)
    found = []
    for side in (-1.0, 1.0):
        x = -20.0
        while x < length_m + 20.0:
            wall_m, gap_m, off_m = rng.uniform(2.0, 9.0), rng.uniform(1.5, 6.0), rng.uniform(6.0, 14.0)
            along = np.arange(x, x + wall_m, 0.08)
            found.append(np.stack([along, np.full(len(along), side * off_m)], 1))
            pole = rng.uniform(0, 0.15, (12, 2)) + np.array([x + wall_m + 0.5 * gap_m, side * rng.uniform(4.5, 6.0)])
            found.append(pole)
            x += wall_m + gap_m
    return np.concatenate(found)


def sweep_at(world_m: DoubleArray, pose: SE2, paint: bool = False) -> Sweep:
    """Ground in rings, and four returns of everything that stands within 40 m, in the vehicle's axes."""
    seen = pose.inverse().apply(world_m)
    seen = seen[np.hypot(*seen.T) < 40.0]
    turns = np.linspace(-np.pi, np.pi, 360, endpoint=False)
    ground = np.concatenate([np.stack([r * np.cos(turns), r * np.sin(turns)], 1) for r in np.arange(3.0, 40.0, 0.8)])
    heights = np.concatenate([np.zeros(len(ground)), *(np.full(len(seen), z) for z in (0.5, 1.0, 1.6, 2.2))])
    xy = np.concatenate([ground, *[seen] * 4])
    points = np.column_stack([xy, heights - SENSOR_M]).astype(np.float32)
    shine = np.full(len(points), 0.3, np.float32)
    if paint:
        at = pose.apply(xy)
        shine[(np.abs(np.abs(at[:, 1]) - 3.0) < 0.15) & (at[:, 0] % 6.0 < 3.0)] = 0.9
        shine += np.random.default_rng(len(points)).normal(0.0, 0.03, len(points)).astype(np.float32)
    return Sweep(points, shine)


def painted_map(street: DoubleArray, tmp_path: Path) -> Path:
    """A folded map of a street."""
    poses = [SE2(x, 0.3 * np.sin(x / 9), 0.02 * np.cos(x / 9)) for x in np.arange(0.0, 70.0, 1.75)]
    painted = [sweep_at(street, pose, paint=True) for pose in poses]
    drive = zip(painted, [SE3.from_se2(pose, SENSOR_M) for pose in poses], strict=True)
    with build_map(drive, BuildSettings(resolution_m=0.05), scratch=tmp_path) as built:
        write_map_geotiff(tmp_path / "map.tif", built.grid, built.tiles())
    fold(
        tmp_path / "map.tif",
        tmp_path / "a.fold",
        lidar=MARKS,
    )
    return tmp_path / "a.fold"
