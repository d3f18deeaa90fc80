"""North-up metric grids and their pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from foldmap.errors import MapInputError
from foldmap.types import DoubleArray


@dataclass(frozen=True)
class MetricGrid:
    """A north-up raster's placement in a metric world.

    Pixel ``(row, col)`` has its centre at ``east = west_m + (col + 0.5) * resolution_m`` and
    ``north = north_m - (row + 0.5) * resolution_m``; row 0 is the north edge. Raises `MapInputError`: sizes or
    resolution are not positive and finite.

    Attributes:
        west_m: east coordinate of the outer edge of column 0.
        north_m: north coordinate of the outer edge of row 0.
        resolution_m: pixel size.
        height_px: rows.
        width_px: columns.
        crs_wkt: coordinate reference system as WKT; empty for a local frame.
    """

    west_m: float
    north_m: float
    resolution_m: float
    height_px: int
    width_px: int
    crs_wkt: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.resolution_m) and self.resolution_m > 0):
            what = f"the map's resolution is {self.resolution_m} m"
            raise MapInputError(what, "give a positive pixel size in metres")
        if not (math.isfinite(self.west_m) and math.isfinite(self.north_m)):
            raise MapInputError("the map's origin is not finite", "check the geotransform")
        if self.height_px < 1 or self.width_px < 1:
            raise MapInputError(f"the map is {self.height_px} x {self.width_px} pixels", "give a map with pixels in it")

    def pixel_of(self, points_world_m: DoubleArray) -> DoubleArray:
        """Map world points (N, 2) east, north to fractional pixels (N, 2) row, col (integer = pixel centre)."""
        points = np.asarray(points_world_m, dtype=np.float64)
        row = (self.north_m - points[..., 1]) / self.resolution_m - 0.5
        col = (points[..., 0] - self.west_m) / self.resolution_m - 0.5
        return np.stack([row, col], axis=-1)

    def world_of(self, pixels: DoubleArray) -> DoubleArray:
        """Map fractional pixels (N, 2) row, col to world points (N, 2) east, north in metres."""
        pixels = np.asarray(pixels, dtype=np.float64)
        east = self.west_m + (pixels[..., 1] + 0.5) * self.resolution_m
        north = self.north_m - (pixels[..., 0] + 0.5) * self.resolution_m
        return np.stack([east, north], axis=-1)

    def window(self, row: int, col: int, height_px: int, width_px: int) -> MetricGrid:
        """Return the grid of a window whose top-left pixel is (row, col); it may reach beyond this grid."""
        return replace(
            self,
            west_m=self.west_m + col * self.resolution_m,
            north_m=self.north_m - row * self.resolution_m,
            height_px=height_px,
            width_px=width_px,
        )

    def offset_of(self, window: MetricGrid) -> tuple[int, int]:
        """Row and column of a window's top-left pixel on this grid; a MapInputError where it lies not on its pixels."""
        row = (self.north_m - window.north_m) / self.resolution_m
        column = (window.west_m - self.west_m) / self.resolution_m
        aligned = abs(row - round(row)) < 1e-3 and abs(column - round(column)) < 1e-3
        if not aligned or not math.isclose(window.resolution_m, self.resolution_m, rel_tol=1e-9):
            raise MapInputError("the window does not lie on the map's pixels", "cut it with grid.window")
        return round(row), round(column)

    @property
    def shape(self) -> tuple[int, int]:
        """(height_px, width_px)."""
        return self.height_px, self.width_px
