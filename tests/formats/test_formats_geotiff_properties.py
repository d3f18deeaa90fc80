"""What a raster's georeference and scale change, and what they leave alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldmap.formats.raster.geotiff import open_raster
from foldmap.lidar.source import RasterMap

QUICK = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
VALUES = np.random.default_rng(4).integers(1, 4000, (24, 31)).astype(np.uint16)


def read(path: Path, west_m: float = 0.0, north_m: float = 0.0, side_m: float = 0.5, scale: float = 1.0) -> RasterMap:
    profile = {"driver": "GTiff", "height": 24, "width": 31, "count": 1, "dtype": "uint16", "nodata": 0}
    transform = rasterio.Affine(side_m, 0, west_m, 0, -side_m, north_m)
    with rasterio.open(path, "w", transform=transform, **profile) as file:
        file.write(VALUES, 1)
        file.scales = [scale]
    with open_raster(path) as raster:
        return raster.read(0, 0, 24, 31)


@QUICK
@given(st.integers(-4_000_000, 4_000_000), st.integers(-4_000_000, 4_000_000))
def test_a_moved_origin_moves_the_grid_and_nothing_else(tmp_path: Path, east: int, north: int) -> None:
    still, moved = read(tmp_path / "a.tif"), read(tmp_path / "b.tif", 0.5 * east, 0.5 * north)
    assert (moved.grid.west_m, moved.grid.north_m) == (still.grid.west_m + 0.5 * east, still.grid.north_m + 0.5 * north)
    assert moved.grid.resolution_m == still.grid.resolution_m
    np.testing.assert_array_equal(moved.intensity, still.intensity)
    np.testing.assert_array_equal(moved.observed, still.observed)


@QUICK
@given(st.floats(0.05, 2.0).filter(lambda side_m: side_m != 1), st.floats(1e-3, 10.0))
def test_pixel_size_and_declared_scale_change_what_they_declare(tmp_path: Path, side_m: float, scale: float) -> None:
    plain, other = read(tmp_path / "a.tif"), read(tmp_path / "b.tif", side_m=side_m, scale=scale)
    assert other.grid.resolution_m == pytest.approx(side_m)
    np.testing.assert_array_equal(other.observed, plain.observed)
    ratio = other.intensity.astype(np.float64) / plain.intensity
    np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-5)
    if abs(scale - 1.0) > 1e-6:
        # a declared scale gives values in their own unit; an undeclared one counts from the type's largest value
        np.testing.assert_allclose(other.intensity, VALUES * scale, rtol=1e-5)
