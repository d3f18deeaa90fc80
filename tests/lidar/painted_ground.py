"""Ground with paint on it, as a map and as a vehicle on another day sees it, for the tests of marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar.observation import Observation
from foldmap.lidar.source import RasterMap

RESOLUTION_M = 0.05


@cache
def paint(seed: int, side: int = 1000) -> np.ndarray:
    """Asphalt with grain, a few dozen dashes of paint in all directions, some manhole covers: float32 (side, side)."""
    rng = np.random.default_rng(seed)
    ground = 0.3 + 0.02 * gaussian_filter(rng.standard_normal((side, side)), 2) / 0.14
    for _ in range(90):
        row, col, turn = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0, math.pi)
        top, left = (max(0, int(at) - 35) for at in (row, col))
        near = ground[top : int(row) + 36, left : int(col) + 36]
        down, right = np.mgrid[: near.shape[0], : near.shape[1]]
        down, right = down + top - row, right + left - col
        along = np.abs(math.cos(turn) * right + math.sin(turn) * down)
        near[(along < rng.uniform(5, 30)) & (np.abs(math.cos(turn) * down - math.sin(turn) * right) < 3)] += 0.35
    return ground.astype(np.float32)


def painted_map(seed: int, side: int = 1000, seen: float = 0.9) -> RasterMap:
    """A map centred on the origin, with noise and holes of its own."""
    rng = np.random.default_rng((seed, 1))
    ground = paint(seed, side) + 0.01 * rng.standard_normal((side, side)).astype(np.float32)
    observed = rng.random(ground.shape) < seen
    half_m = 0.5 * side * RESOLUTION_M
    grid = MetricGrid(-half_m, half_m, RESOLUTION_M, side, side)
    return RasterMap(grid, np.where(observed, ground, 0).astype(np.float32), observed)


def seen_from(seed: int, pose: SE2, side: int = 1000, half_m: tuple[float, float] = (15.0, 12.0)) -> Observation:
    """What a vehicle sees there, with another gain and half of the pixels."""
    rng = np.random.default_rng((seed, 2))
    ground = paint(seed, side)
    width, length = (round(2 * one / RESOLUTION_M) for one in (half_m[1], half_m[0]))
    down, right = np.mgrid[:width, :length]
    ahead, left = (right + 0.5 - length / 2) * RESOLUTION_M, (width / 2 - down - 0.5) * RESOLUTION_M
    points = pose.apply(np.stack([ahead.ravel(), left.ravel()], 1))
    col = np.floor(points[:, 0] / RESOLUTION_M + side / 2).astype(int)
    row = np.floor(side / 2 - points[:, 1] / RESOLUTION_M).astype(int)
    inside = (row >= 0) & (row < side) & (col >= 0) & (col < side) & (rng.random(len(row)) < 0.5)
    values = ground[np.clip(row, 0, side - 1), np.clip(col, 0, side - 1)] + 0.02 * rng.standard_normal(len(row))
    image = np.where(inside, 40 + 90 * values, 0).astype(np.float32).reshape(width, length)
    return Observation(image, inside.reshape(width, length), RESOLUTION_M, *half_m)


def write_seen(folder: Path, seed: int, truths: Sequence[SE2], side: int = 1000) -> None:
    """What is seen from each pose as KITTI sweeps, 000.bin and on, of ground 1.73 m below the sensor."""
    folder.mkdir()
    for frame, truth in enumerate(truths):
        seen = seen_from(seed, truth, side)
        row, col = np.nonzero(seen.observed)
        ahead = (col + 0.5 - seen.observed.shape[1] / 2) * RESOLUTION_M
        left = (seen.observed.shape[0] / 2 - row - 0.5) * RESOLUTION_M
        cloud = np.column_stack([ahead, left, np.full(len(row), -1.73), seen.intensity[row, col] / 200])
        (folder / f"{frame:03d}.bin").write_bytes(cloud.astype("<f4").tobytes())
