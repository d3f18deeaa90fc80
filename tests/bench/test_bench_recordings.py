"""The protocols on real recordings, where they are at hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec
from foldmap.bench.lidar.baselines.ncc_matcher import NccMatcher
from foldmap.bench.lidar.cases import Method, Search
from foldmap.bench.lidar.drive import load_drive
from foldmap.bench.lidar.predict import predict
from foldmap.bench.lidar.protocol import GivenMapProtocol
from foldmap.bench.lidar.raster_protocol import RasterProtocol
from foldmap.bench.lidar.tables import matching_row
from foldmap.formats.raster.geotiff import open_raster
from foldmap.formats.sweeps.files import read_sweep
from foldmap.formats.sweeps.kitti import read_kitti_poses
from foldmap.lidar.source import RasterMap

pytestmark = pytest.mark.shared


def _window(path: Path, centre_m: tuple[float, float], half_m: float) -> RasterMap:
    with open_raster(path) as raster:
        row, col = np.rint(raster.grid.pixel_of(np.array(centre_m))).astype(int)
        half_px = int(half_m / raster.grid.resolution_m)
        return raster.read(int(row) - half_px, int(col) - half_px, 2 * half_px, 2 * half_px)


def test_single_sweeps_in_a_map_made_by_others(shared_data: Path) -> None:
    folder = shared_data / "lidar" / "kitti-odometry00"
    poses = read_kitti_poses(folder / "poses.txt")[:4]
    sweeps = [read_sweep(folder / "sweeps" / f"{k:06d}.laz") for k in range(4)]
    drive = load_drive("kitti-odometry00", sweeps, poses, max_range_m=30.0)
    raster = _window(shared_data / "lidar" / "groundloc-maps" / "kitti_00.tif", (2.0, 0.0), 60.0)
    protocol = GivenMapProtocol(drive, raster, "kitti_00.tif", search=Search(2.0, math.radians(2)))
    row = matching_row(predict(Method(ImageMapCodec("png16"), NccMatcher()), protocol))
    assert row["median_cm"] < 15.0
    assert row["max_cm"] < 40.0


def test_one_lidars_map_in_anothers(shared_data: Path) -> None:
    folder = shared_data / "lidar" / "groundloc-maps"
    with open_raster(folder / "roundabout_aeva.tif") as raster:
        rows, cols = np.nonzero(raster.read(0, 0, *raster.grid.shape).observed)
        east_m, north_m = raster.grid.world_of(np.array([np.median(rows), np.median(cols)]))
    aeva, avia = (
        _window(folder / f"roundabout_{name}.tif", (float(east_m), float(north_m)), 100.0) for name in ("aeva", "avia")
    )
    protocol = RasterProtocol(aeva, avia, "roundabout", stride_m=5.25)
    assert np.abs(protocol.alignment_m).max() < 1.0  # "aligned to within a few pixels" of 0.33 m
    assert len(protocol) >= 8
    row = matching_row(predict(Method(ImageMapCodec("png16"), NccMatcher()), protocol))
    assert row["beyond_50_cm_pct"] < 40.0
