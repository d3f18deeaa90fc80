"""What the lidar layer folds (rasters) and what a vehicle brings (sweeps): plain validated data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from foldmap.errors import ConfigError, MapInputError, SweepInputError
from foldmap.geometry import MetricGrid
from foldmap.types import AnyArray, BoolArray, FloatArray


def check_lengths(**lengths_m: float) -> None:
    """Refuse what is not a positive, finite length in metres, by its name."""
    for name, value in lengths_m.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} is {value}", "give a positive length in metres")


class RasterSource(Protocol):
    """A ground-intensity raster that is read window by window: a GeoTIFF, a generated town, an array."""

    @property
    def grid(self) -> MetricGrid:
        """Placement of the whole raster."""

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        """Read a window, which may reach beyond the raster; pixels outside are unobserved."""


def cut_window(image: AnyArray, row: int, col: int, height_px: int, width_px: int) -> AnyArray:
    """Cut a window out of an image (..., H, W), beyond which all is 0."""
    height, width = image.shape[-2:]
    window = np.zeros((*image.shape[:-2], height_px, width_px), image.dtype)
    top, left, bottom, right = max(row, 0), max(col, 0), min(row + height_px, height), min(col + width_px, width)
    if bottom > top and right > left:
        window[..., top - row : bottom - row, left - col : right - col] = image[..., top:bottom, left:right]
    return window


def cells_of(image: FloatArray, cell_px: int) -> FloatArray:
    """Sums over cells of so many pixels a side, float32 (H / c, W / c); sides are multiples of that."""
    height, width = (side // cell_px for side in image.shape)
    total: FloatArray = image.reshape(height, cell_px, width, cell_px).sum((1, 3), dtype=np.float32)
    return total


def reduced(intensity: FloatArray, observed: BoolArray, step: int) -> tuple[FloatArray, BoolArray]:
    """Means of the observed of step x step pixels, float32 (H / step, W / step), and where there are any, bool."""
    count = cells_of(observed.astype(np.float32), step)
    total = cells_of(np.where(observed, intensity, np.float32(0)), step)
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0), count > 0


@dataclass(frozen=True)
class RasterMap:
    """A ground-intensity raster in memory; itself a `RasterSource`.

    Intensity is float32 (H, W), any linear unit, meaningless (0) where not observed; observed is bool (H, W).
    """

    grid: MetricGrid
    intensity: FloatArray
    observed: BoolArray

    def __post_init__(self) -> None:
        if self.intensity.shape != self.grid.shape or self.observed.shape != self.grid.shape:
            raise MapInputError(
                f"intensity {self.intensity.shape}, observed {self.observed.shape} and grid {self.grid.shape} differ",
                "give three of one shape",
            )
        if not np.isfinite(self.intensity[self.observed]).all():
            raise MapInputError("observed pixels hold NaN or infinity", "mark them as nodata")

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        """Cut a window; pixels outside this raster are unobserved."""
        images = (cut_window(image, row, col, height_px, width_px) for image in (self.intensity, self.observed))
        return RasterMap(self.grid.window(row, col, height_px, width_px), *images)

    @property
    def observed_m2(self) -> float:
        """Observed ground in square metres."""
        return float(self.observed.sum()) * self.grid.resolution_m**2


@dataclass(frozen=True)
class ReducedRaster:
    """A raster in pixels ``step`` times as large, from the same corner on: a `RasterSource`."""

    source: RasterSource
    step: int

    @property
    def grid(self) -> MetricGrid:
        """Placement of the whole raster; the last row and column may reach beyond what they are made of."""
        fine, step = self.source.grid, self.step
        height_px, width_px = (-(-side // step) for side in fine.shape)
        return replace(fine, resolution_m=step * fine.resolution_m, height_px=height_px, width_px=width_px)

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        """Read a window: the mean of what was observed in each pixel."""
        fine = self.source.read(*(self.step * side for side in (row, col, height_px, width_px)))
        grid = self.grid.window(row, col, height_px, width_px)
        return RasterMap(grid, *reduced(fine.intensity, fine.observed, self.step))


BLOCK_PX = 512
_SAMPLED_BLOCKS = 64
_PROBE_PX = 64


def some_blocks(source: RasterSource) -> Iterator[RasterMap]:
    """Up to 64 blocks of 512 px with observed ground, even over a raster: a map of any size is measured in a moment."""
    rows, columns = -(-source.grid.height_px // BLOCK_PX), -(-source.grid.width_px // BLOCK_PX)
    picks = np.unique(np.linspace(0, rows * columns - 1, 8 * _SAMPLED_BLOCKS).astype(int))
    others = np.setdiff1d(np.arange(rows * columns), picks)  # for a map so empty that no pick hits it
    given = 0
    for index, pick in enumerate([*np.random.default_rng(0).permutation(picks), *others]):
        if given == _SAMPLED_BLOCKS or (given and index == len(picks)):
            return
        row, column = divmod(int(pick), columns)
        block = source.read(row * BLOCK_PX, column * BLOCK_PX, BLOCK_PX, BLOCK_PX)
        if block.observed.any():
            given += 1
            yield block


def observed_about_m2(source: RasterSource) -> float:
    """Observed ground of a raster, from its share in some 500 blocks of 64 px, even over it."""
    rows, columns = (-(-side // _PROBE_PX) for side in source.grid.shape)
    picks = np.unique(np.linspace(0, rows * columns - 1, 8 * _SAMPLED_BLOCKS).astype(int))
    seen = 0
    for pick in picks:
        row, column = divmod(int(pick), columns)
        seen += int(source.read(row * _PROBE_PX, column * _PROBE_PX, _PROBE_PX, _PROBE_PX).observed.sum())
    return seen * rows * columns / len(picks) * source.grid.resolution_m**2


def median_by_weight(values: Sequence[float], weights: Sequence[int]) -> float:
    """The first of some values, from the smallest up, at which half of all weight is reached."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(np.array(weights)[order])
    return float(values[order[int(np.searchsorted(reached, reached[-1] / 2))]])


@dataclass(frozen=True)
class Sweep:
    """One lidar revolution, motion-compensated.

    Points are float32 (N, 3), in the sensor's frame (x forward, y left, z up), metres; intensity float32 (N,), 0 to 1.
    """

    points_sensor_m: FloatArray
    intensity: FloatArray

    def __post_init__(self) -> None:
        if self.points_sensor_m.ndim != 2 or self.points_sensor_m.shape[1:] != (3,):
            raise SweepInputError(f"points have shape {self.points_sensor_m.shape}", "give (N, 3)")
        if self.intensity.shape != self.points_sensor_m.shape[:1]:
            raise SweepInputError(
                f"{self.intensity.shape} intensities for {len(self.points_sensor_m)} points", "give one a point"
            )
        if len(self.intensity) == 0:
            raise SweepInputError("the sweep has no points", "leave this sweep and its pose out")
        if not (np.isfinite(self.points_sensor_m).all() and np.isfinite(self.intensity).all()):
            cure = "drop those returns before giving the sweep"
            raise SweepInputError("the sweep holds NaN or infinite values", cure)
