"""Relief: mixed against its formula, read from two bands, seen by sweeps, remembered by the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from core_scene import TINY
from scipy.stats import binned_statistic_2d

from foldmap.atlas import FoldFile, FoldUpdater, FoldWriter
from foldmap.coding.context import ContextModel
from foldmap.errors import MapInputError
from foldmap.formats.raster.geotiff import open_rasters
from foldmap.geometry import SE2, SE3, MetricGrid
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.model import LidarModel
from foldmap.lidar.observation import SweepStack
from foldmap.lidar.relief import FLAT_M2, SHARE, ReliefSource, mixed
from foldmap.lidar.source import RasterMap, Sweep
from foldmap.lidar.unfold import FoldedLidar
from foldmap.lidar.update import update_lidar

GRID = MetricGrid(0.0, 60.0, 0.33, 182, 182)


def _raster(seed: int) -> RasterMap:
    rng = np.random.default_rng(seed)
    return RasterMap(GRID, rng.random(GRID.shape).astype(np.float32), rng.random(GRID.shape) > 0.2)


def test_heights_are_mixed_in_by_the_root_of_their_deviation() -> None:
    intensity = np.array([0.5, 0.5, 0.5, 0.5, 1.0], np.float32)
    deviation_m = np.array([0.0, 0.25, 1.0, 0.25, 30.0])
    known = np.array([True, True, True, False, True])
    flat = np.sqrt(1 / np.sqrt(255))
    wanted = 0.2 * intensity + 0.8 * np.array([flat, 0.5, 1.0, flat, 1.0])
    np.testing.assert_allclose(mixed(intensity, deviation_m**2, known), wanted, rtol=1e-6)


def test_two_bands_are_one_raster(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    bands = rng.integers(0, 256, (3, 30, 40)).astype(np.uint8)
    path, shape = tmp_path / "a.tif", {"height": 30, "width": 40, "count": 3, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", transform=rasterio.Affine(0.33, 0, 5, 0, -0.33, 9), **shape) as out:
        out.write(bands)
    with open_rasters([path], 1, 3) as source:
        window = source.read(-2, 3, 20, 50)
    np.testing.assert_array_equal(window.observed[2:, :37], bands[0, :18, 3:] > 0)
    assert not window.observed[:2].any()
    assert not window.observed[:, 37:].any()
    variance = np.maximum(bands[2, :18, 3:] / 255, FLAT_M2)  # where nothing is known, flat
    wanted = (1 - SHARE) * bands[0, :18, 3:] / 255 + SHARE * variance**0.25
    np.testing.assert_allclose(window.intensity[2:, :37], np.where(bands[0, :18, 3:] > 0, wanted, 0), rtol=1e-5)
    with pytest.raises(MapInputError, match="no band 4"), open_rasters([path], 1, 4):
        pass
    with pytest.raises(MapInputError, match="two grids"):
        ReliefSource(_raster(0), RasterMap(GRID.window(0, 0, 9, 9), *[np.zeros((9, 9), t) for t in (np.float32, bool)]))


def test_sweeps_see_relief_as_binning_does() -> None:
    """Two sweeps from places 1 m apart; a wall of scattered heights stands on flat ground."""
    rng = np.random.default_rng(2)
    ground = np.column_stack([rng.uniform(-15, 15, (60_000, 2)), np.full(60_000, -1.7)])
    wall = np.column_stack([rng.uniform(5, 6, 4000), rng.uniform(-8, 8, 4000), rng.uniform(-1.7, 0.4, 4000)])
    world = np.concatenate([ground, wall])
    plain, stack = SweepStack(0.5, 2), SweepStack(0.5, 2, relief=True)
    seen = []
    for x_m in (0.0, 1.0):
        points = (world - (x_m, 0, 0)).astype(np.float32)
        near = np.hypot(points[:, 0], points[:, 1]) > 2.5
        seen.append(points[near] + np.float32([x_m - 1, 0, 0]))
        sweep = Sweep(points, np.full(len(points), 0.5, np.float32))
        pose = SE3.from_se2(SE2(x_m, 0.0, 0.0), 0.0)
        drawn, with_it = plain.add(sweep, pose), stack.add(sweep, pose)
    np.testing.assert_array_equal(drawn.observed, with_it.observed)
    points = np.concatenate(seen).astype(np.float64)
    edges = np.arange(-20, 20.1, 0.5)
    bins = {"bins": (edges, edges)}
    variance = binned_statistic_2d(-points[:, 1], points[:, 0], points[:, 2], lambda z: np.var(z), **bins).statistic
    count = binned_statistic_2d(-points[:, 1], points[:, 0], None, "count", **bins).statistic
    wanted = mixed(drawn.intensity, np.nan_to_num(variance), count > 1)
    clear = drawn.observed & (count > 4)
    assert clear.sum() > 1000
    assert np.mean(np.abs(with_it.intensity - wanted)[clear] < 1e-3) > 0.99
    walls = clear & (variance > 0.1)
    assert walls.sum() == 0 or with_it.intensity[walls].min() > drawn.intensity[clear].max() * (1 - SHARE)


def test_a_file_remembers_and_an_update_must_agree(tmp_path: Path) -> None:
    model = LidarModel(TINY).eval()
    coder = ContextModel.fit([np.zeros((TINY.groups, 2, 2), np.uint8)], TINY.group_channels)
    bundle = Bundle(model, coder, 0.33, 1.0, "tiny")
    source = ReliefSource(_raster(3), _raster(4))
    for name, relief in (("with", True), ("without", False)):
        path = tmp_path / f"{name}.fold"
        with FoldWriter(path) as writer:
            fold_lidar(writer, source, LidarPlan(bundle, 1, relief=relief))
        with FoldFile.open(path) as file:
            assert FoldedLidar(file).relief is relief
        with FoldUpdater(path) as updater:
            assert update_lidar(updater, source, bundle, relief=relief).changed == ()
        with FoldUpdater(path) as updater, pytest.raises(MapInputError, match=f"was folded {name} relief"):
            update_lidar(updater, source, bundle, relief=not relief)
