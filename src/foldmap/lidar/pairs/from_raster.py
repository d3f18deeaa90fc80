"""Training pairs from rasters: sweeps simulated on a map, or crops of a second raster of the same place as queries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import SE2
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.lidar.source import RasterSource
from foldmap.types import BoolArray, DoubleArray, FloatArray

_TRIES = 200
_SENSOR_HEIGHT_M = 1.73
_RINGS = 64
_STEEPEST_RAD = math.radians(24.8)


def turned_cut(source: RasterSource, world_SE2_image: SE2, shape: tuple[int, int]) -> tuple[FloatArray, BoolArray]:
    """Cut an image out of a raster in the axes of its centre's pose, nearest pixel, so that noise stays as it is.

    Columns run along the heading, row 0 is to the left. Returns intensity float32, 0 where not observed, and observed.
    """
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    resolution_m = source.grid.resolution_m
    ahead_m, left_m = (cols - (shape[1] - 1) / 2) * resolution_m, ((shape[0] - 1) / 2 - rows) * resolution_m
    world = world_SE2_image.apply(np.stack([ahead_m.ravel(), left_m.ravel()], axis=1))
    pixels = np.rint(source.grid.pixel_of(world)).astype(np.int64)
    low, high = pixels.min(0), pixels.max(0)
    window = source.read(int(low[0]), int(low[1]), int(high[0] - low[0] + 1), int(high[1] - low[1] + 1))
    at = tuple((pixels - low).T)
    observed = window.observed[at].reshape(shape)
    return np.where(observed, window.intensity[at].reshape(shape), 0).astype(np.float32), observed


def simulate_sweeps(
    intensity: FloatArray, observed: BoolArray, resolution_m: float, sweeps: int, rng: np.random.Generator
) -> tuple[FloatArray, BoolArray]:
    """See a piece of ground as a few revolutions of a spinning lidar at its centre would.

    Each ring has its own gain, intensity falls with range, returns are noisy and some are lost, and sectors are hidden
    as by vehicles. The rings are those of a flat ground; the vehicle drives on along the columns between revolutions.
    Returns the mean intensity of so many `sweeps`, and where anything returned, in the vehicle's axes.
    """
    rows, cols = np.mgrid[: intensity.shape[0], : intensity.shape[1]].astype(np.float64)
    left_m = ((intensity.shape[0] - 1) / 2 - rows) * resolution_m
    ahead_m = (cols - (cols.shape[1] - 1) / 2) * resolution_m
    ring_gain = np.exp(rng.normal(0, 0.08, _RINGS + 1))
    falloff, spread = rng.uniform(0.0, 0.02), float(intensity[observed].std()) if observed.any() else 0.0
    spacing_m, tilt = rng.uniform(0.3, 1.2), rng.normal(0, math.radians(0.3))
    total, count = np.zeros(intensity.shape), np.zeros(intensity.shape, np.int64)
    for index in range(sweeps):
        along_m = ahead_m - (index - (sweeps - 1) / 2) * spacing_m
        range_m = np.hypot(along_m, left_m)
        depression = np.arctan2(_SENSOR_HEIGHT_M, np.maximum(range_m, 0.1)) + tilt * along_m / np.maximum(range_m, 0.1)
        ring = depression / _STEEPEST_RAD * _RINGS
        # A pixel is hit when a ring passes through it; farther out rings lie farther apart than pixels.
        width = resolution_m * _SENSOR_HEIGHT_M / (range_m**2 + _SENSOR_HEIGHT_M**2) / _STEEPEST_RAD * _RINGS
        hit = (np.abs(ring - np.rint(ring)) <= np.maximum(0.5 * width, 0.02)) & (ring <= _RINGS) & (ring >= 1)
        hit &= observed & (rng.random(intensity.shape) > 0.1) & ~_hidden(along_m, left_m, range_m, rng)
        gain = ring_gain[np.clip(np.rint(ring), 0, _RINGS).astype(int)] * np.exp(-falloff * range_m)
        seen = intensity * gain + rng.normal(0, 0.35 * spread + 1e-6, intensity.shape)
        total += np.where(hit, np.maximum(seen, 0), 0)
        count += hit
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return mean.astype(np.float32), count > 0


def _hidden(along_m: DoubleArray, left_m: DoubleArray, range_m: DoubleArray, rng: np.random.Generator) -> BoolArray:
    """Sectors behind a few obstacles."""
    bearing = np.arctan2(left_m, along_m)
    hidden = np.zeros(bearing.shape, np.bool_)
    for _ in range(int(rng.integers(0, 4))):
        towards, half, near_m = rng.uniform(-math.pi, math.pi), rng.uniform(0.03, 0.2), rng.uniform(4, 15)
        hidden |= (np.abs((bearing - towards + math.pi) % (2 * math.pi) - math.pi) < half) & (range_m > near_m)
    return hidden


class RasterPairs(Sequence[RasterPair]):
    """Pairs drawn from places of a raster; pair k is the same whenever it is asked for.

    The simulated sweep sees the raster's own ground with noise of its own; so does the map crop, because ground noise
    that both share would be learned instead of paint. Or crops of a second raster of the same place (``query``), at the
    same resolution, are the queries; its offset is map minus query coordinates, east and north.

    Crops are squares of so many pixels, observed to at least a share; centres are drawn ``east`` from and to a share of
    the raster's width.
    """

    def __init__(
        self,
        source: RasterSource,
        count: int,
        seed: int,
        *,
        query: RasterSource | None = None,
        query_offset_m: tuple[float, float] = (0.0, 0.0),
        map_px: int = 192,
        sweep_px: int = 128,
        east: tuple[float, float] = (0.0, 1.0),
        min_observed: float = 0.2,
    ) -> None:
        if count < 1 or not 16 <= sweep_px <= map_px or not 0 <= east[0] < east[1] <= 1:
            sizes = f"{count} pairs of {sweep_px} px in {map_px} px"
            raise ConfigError(sizes, "give positive sizes, the map's the larger")
        if query is not None and not math.isclose(query.grid.resolution_m, source.grid.resolution_m, rel_tol=1e-3):
            raise ConfigError(
                f"the map has {source.grid.resolution_m:g} m pixels, the query {query.grid.resolution_m:g} m",
                "resample one of them",
            )
        self.source, self.query, self.query_offset_m = source, query, query_offset_m
        self._count, self._seed, self._east, self._least = count, seed, east, min_observed
        self._map_px, self._sweep_px = map_px, sweep_px

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        """One pair."""
        if not -self._count <= index < self._count:
            raise IndexError(index)
        rng = np.random.default_rng([self._seed, index % self._count])
        grid = self.source.grid
        for _ in range(_TRIES):
            share = np.array([rng.random(), rng.uniform(*self._east)])
            east_m, north_m = grid.world_of(share * grid.shape)
            pose = SE2(float(east_m), float(north_m), float(rng.uniform(-math.pi, math.pi)))
            if (pair := self._at(pose, rng)) is not None:
                return pair
        shown = f"{_TRIES} places of the map showed too little observed ground"
        raise MapInputError(shown, "give a denser map or smaller crops")

    def _at(self, world_SE2_vehicle: SE2, rng: np.random.Generator) -> RasterPair | None:
        """The pair at a pose, or None where too little was observed."""
        resolution_m = self.source.grid.resolution_m
        middle = turned_cut(self.source, world_SE2_vehicle, (self._sweep_px // 4, self._sweep_px // 4))[1]
        if middle.mean() < self._least:
            return None
        row, col = rng.uniform(-0.5, 0.5, 2)
        seen_from = world_SE2_vehicle @ SE2(col * resolution_m, -row * resolution_m, 0.0)
        shape = (self._sweep_px, self._sweep_px)
        if self.query is not None:
            east_m, north_m = self.query_offset_m
            there = SE2(seen_from.x_m - east_m, seen_from.y_m - north_m, seen_from.heading_rad)
            sweep, sweep_seen = turned_cut(self.query, there, shape)
        else:
            ground, known = turned_cut(self.source, seen_from, shape)
            sweep, sweep_seen = simulate_sweeps(ground, known, resolution_m, int(rng.choice([1, 5, 10])), rng)
        intensity, observed = turned_cut(self.source, world_SE2_vehicle, (self._map_px, self._map_px))
        if observed.mean() < self._least or sweep_seen.mean() < 0.25 * self._least:
            return None
        if self.query is None:
            noise = rng.normal(0, 0.15 * float(intensity[observed].std()) + 1e-9, intensity.shape)
            intensity = np.where(observed, np.maximum(intensity + noise, 0), 0).astype(np.float32)
        return RasterPair(intensity, observed, sweep, sweep_seen, (float(row), float(col)))
