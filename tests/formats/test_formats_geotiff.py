"""Raster maps against files written with rasterio; built maps read back with rasterio."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.raster.geotiff import combine, open_raster, open_rasters
from foldmap.formats.raster.standing import open_standing
from foldmap.formats.raster.write import NODATA, crs_wkt_of, write_map_geotiff, write_preview
from foldmap.geometry import MetricGrid
from foldmap.lidar.source import RasterMap

TRANSFORM = rasterio.Affine(0.33, 0, 1000.5, 0, -0.33, 2000.25)


def write(
    path: Path, bands: np.ndarray, transform: Any = TRANSFORM, crs: str | None = "EPSG:32632", **more: Any
) -> Path:
    profile = {"driver": "GTiff", "dtype": bands.dtype.name, "count": len(bands), "crs": crs, "transform": transform}
    with rasterio.open(path, "w", height=bands.shape[1], width=bands.shape[2], **profile, **more) as dataset:
        dataset.write(bands)
    return path


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(5).integers(1, 255, (3, 40, 60)).astype(np.uint8)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_types_and_bands(tmp_path: Path, values: np.ndarray, dtype: str) -> None:
    full = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1.0
    path = write(tmp_path / "a.tif", values.astype(dtype))
    for band in (1, 3):
        with open_raster(path, band) as raster:
            assert raster.grid.shape == (40, 60)
            assert (raster.grid.west_m, raster.grid.north_m, raster.grid.resolution_m) == (1000.5, 2000.25, 0.33)
            assert rasterio.crs.CRS.from_wkt(raster.grid.crs_wkt).to_epsg() == 32632
            window = raster.read(5, 7, 20, 30)
            assert window.observed.all()
            np.testing.assert_allclose(window.intensity, values[band - 1, 5:25, 7:37] / full, rtol=1e-6)
            assert window.grid.west_m == pytest.approx(1000.5 + 7 * 0.33)
            assert window.grid.north_m == pytest.approx(2000.25 - 5 * 0.33)
    for band in (0, 4):
        with pytest.raises(MapInputError, match=f"no band {band}"):
            open_raster(path, band)


def test_windows_beyond_the_raster(tmp_path: Path, values: np.ndarray) -> None:
    with open_raster(write(tmp_path / "a.tif", values)) as raster:
        whole = RasterMap(raster.grid, values[0] / np.float32(255), np.ones((40, 60), bool))
        for window in ((-3, -5, 10, 12), (35, 50, 20, 20), (-10, -10, 100, 100), (100, 0, 4, 4), (0, -9, 5, 9)):
            ours, reference = raster.read(*window), whole.read(*window)
            np.testing.assert_array_equal(ours.observed, reference.observed)
            np.testing.assert_allclose(ours.intensity, reference.intensity, rtol=1e-6)


def test_nodata_mask_alpha_nan(tmp_path: Path, values: np.ndarray) -> None:
    hole = np.zeros((40, 60), bool)
    hole[10:20, 30:50] = True
    nodata = values.copy()
    nodata[:, hole] = 0
    with open_raster(write(tmp_path / "nodata.tif", nodata, nodata=0)) as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 40, 60).observed, ~hole)
    path = write(tmp_path / "mask.tif", values)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(~hole)
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 40, 60).observed, ~hole)
    alpha = values[:2].copy()
    alpha[1] = np.where(hole, 0, 255)
    path = write(tmp_path / "alpha.tif", alpha)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 40, 60).observed, ~hole)
    both = alpha.copy()
    both[0, 0, 0] = 0
    path = write(tmp_path / "both.tif", both, nodata=0)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
    expected = ~hole
    expected[0, 0] = False
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 40, 60).observed, expected)
    floats = values.astype(np.float32) / 255
    floats[:, hole] = np.nan
    floats[:, 0, 0] = np.inf
    for path in (write(tmp_path / "nan.tif", floats), write(tmp_path / "nan2.tif", floats, nodata=np.nan)):
        with open_raster(path) as raster:
            np.testing.assert_array_equal(raster.read(0, 0, 40, 60).observed, expected)


def test_all_nodata_is_unobserved(tmp_path: Path) -> None:
    with open_raster(write(tmp_path / "a.tif", np.zeros((1, 20, 20), np.uint8), nodata=0)) as raster:
        assert raster.read(0, 0, 20, 20).observed_m2 == 0


def test_no_crs_is_local(tmp_path: Path, values: np.ndarray) -> None:
    with open_raster(write(tmp_path / "a.tif", values, crs=None)) as raster:
        assert raster.grid.crs_wkt == ""


def test_declared_scale(tmp_path: Path, values: np.ndarray) -> None:
    path = write(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 1, 1), (-3.0, 0, 0)
    with open_raster(path) as raster:
        np.testing.assert_allclose(raster.read(0, 0, 40, 60).intensity, values[0] * 0.5 - 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("transform", "crs", "match"),
    [
        (TRANSFORM @ rasterio.Affine.rotation(10), "EPSG:32632", "rotated"),
        (rasterio.Affine(0.33, 0, 0, 0, -0.34, 0), "EPSG:32632", "not square"),
        (rasterio.Affine(0.33, 0, 0, 0, 0.33, 0), "EPSG:32632", "not north up"),
        (rasterio.Affine(1e-6, 0, 8, 0, -1e-6, 49), "EPSG:4326", "degrees .EPSG:4326"),
        (TRANSFORM, "EPSG:2263", "foot"),
    ],
)
def test_bad_placement(tmp_path: Path, values: np.ndarray, transform: Any, crs: str, match: str) -> None:
    path = write(tmp_path / "a.tif", values, transform, crs)
    with pytest.raises(MapInputError, match=match):
        open_raster(path)


def test_placements_that_are_rounded(tmp_path: Path, values: np.ndarray) -> None:
    """Tools write pixels that are square and north up to rounding: no pixel of the raster is off by a tenth."""
    rounded = TRANSFORM @ rasterio.Affine(1, 1e-4, 0, -1e-4, 1.0005, 0)
    with open_raster(write(tmp_path / "a.tif", values, rounded)) as raster:
        assert raster.grid.shape == values.shape[1:]
    with pytest.raises(MapInputError, match="rotated"):
        open_raster(write(tmp_path / "a.tif", values, TRANSFORM @ rasterio.Affine.rotation(0.2)))


def test_bad_files(tmp_path: Path, values: np.ndarray) -> None:
    import imagecodecs

    with pytest.raises(MapInputError, match="cannot be opened"):
        open_raster(tmp_path / "missing.tif")
    (tmp_path / "text.tif").write_text("hello")
    with pytest.raises(MapInputError, match="cannot be opened"):
        open_raster(tmp_path / "text.tif")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values[0]))
    with pytest.raises(MapInputError, match="no geotransform"):
        open_raster(tmp_path / "a.png")
    with pytest.raises(MapInputError, match="complex64"):
        open_raster(write(tmp_path / "c.tif", values.astype(np.complex64)))
    whole = write(tmp_path / "whole.tif", values, compress="deflate").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MapInputError), open_raster(tmp_path / "cut.tif") as raster:
        raster.read(0, 0, 40, 60)


def test_mosaic(tmp_path: Path, values: np.ndarray) -> None:
    whole = open_raster(write(tmp_path / "whole.tif", values))
    right = TRANSFORM @ rasterio.Affine.translation(25, 10)
    a = write(tmp_path / "a.tif", values[:, :30, :35])
    b = write(tmp_path / "b.tif", values[:, 10:, 25:], right)
    for order in ((a, b), (b, a)):
        with open_rasters(order) as mosaic:
            assert mosaic.grid.shape == (40, 60)
            assert (mosaic.grid.west_m, mosaic.grid.north_m) == pytest.approx((1000.5, 2000.25))
            window = mosaic.read(-2, -2, 50, 70)
        covered = np.zeros((50, 70), bool)
        covered[2:32, 2:37] = covered[12:42, 27:62] = True
        np.testing.assert_array_equal(window.observed, covered)
        np.testing.assert_array_equal(window.intensity[covered], whole.read(-2, -2, 50, 70).intensity[covered])
    for transform, crs, match in (
        (right, "EPSG:32633", "two CRSs"),
        (right, None, "two CRSs"),
        (right @ rasterio.Affine.scale(2), "EPSG:32632", "resolution"),
        (right @ rasterio.Affine.translation(0.4, 0), "EPSG:32632", "not aligned"),
    ):
        other = write(tmp_path / "c.tif", values, transform, crs)
        with pytest.raises(MapInputError, match=match), open_rasters([a, other]):
            pass
    with pytest.raises(MapInputError, match="no raster"), open_rasters([]):
        pass


def test_combine_first_observed_counts() -> None:
    grid = MetricGrid(0, 0, 1, 2, 2)
    one = RasterMap(grid, np.full((2, 2), 1, np.float32), np.array([[True, False], [True, False]]))
    two = RasterMap(grid, np.full((2, 2), 2, np.float32), np.array([[True, True], [False, False]]))
    window = combine([one, two], ["one", "two"]).read(0, 0, 2, 2)
    np.testing.assert_array_equal(window.intensity * window.observed, [[1, 2], [1, 0]])


@dataclass
class Tile:
    row: int
    col: int
    intensity: np.ndarray
    count: np.ndarray
    spread: np.ndarray
    standing: np.ndarray | None = None


def make_tiles() -> list[Tile]:
    rng = np.random.default_rng(8)
    count = rng.integers(0, 4, (2, 128, 128)) * 40_000
    intensity = rng.random((2, 128, 128)).astype(np.float32)
    intensity[0, :4], intensity[0, 4:8] = 0, 1
    spread = rng.random((2, 128, 128)).astype(np.float32) / 4
    return [Tile(0, 128, intensity[0], count[0], spread[0]), Tile(256, 0, intensity[1], count[1], spread[1])]


def test_write_map(tmp_path: Path) -> None:
    grid = MetricGrid(500_000.0, 5_400_000.0, 0.05, 384, 256, crs_wkt_of("EPSG:25832"))
    tiles = make_tiles()
    tiles[1].standing = (tiles[1].count == 0) & (np.indices((128, 128))[1] < 40)
    observed_m2 = write_map_geotiff(tmp_path / "a.tif", grid, iter(tiles), 128)
    assert observed_m2 == pytest.approx(sum(np.count_nonzero(tile.count) for tile in tiles) * 0.05**2)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.descriptions == ("intensity", "count", "spread", "standing")
        assert dataset.crs.to_epsg() == 25832
        assert dataset.nodata == NODATA
        assert dataset.profile["tiled"]
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.transform == rasterio.Affine(0.05, 0, 500_000, 0, -0.05, 5_400_000)
        raw = dataset.read()
    empty = np.ones((384, 256), bool)
    for tile in tiles:
        window = np.s_[:, tile.row : tile.row + 128, tile.col : tile.col + 128]
        standing = np.zeros((128, 128), bool) if tile.standing is None else tile.standing
        empty[window[1:]] = (tile.count == 0) & ~standing
        np.testing.assert_array_equal(raw[window][3] == 1, standing)
        np.testing.assert_array_equal(raw[window][3] == NODATA, (tile.count == 0) & ~standing)
        assert (raw[window][:3, tile.count == 0] == NODATA).all()
        seen = tile.count > 0
        np.testing.assert_allclose(raw[window][0][seen] / 65535, tile.intensity[seen], atol=1.6e-5)
        np.testing.assert_allclose(raw[window][2][seen] / 65535, tile.spread[seen], atol=1e-5)
        np.testing.assert_array_equal(raw[window][1][seen], np.minimum(tile.count[seen], 65534))
    assert (raw[:, empty] == NODATA).all()
    with open_raster(tmp_path / "a.tif") as raster:
        window = raster.read(0, 128, 128, 128)
        np.testing.assert_array_equal(window.observed, tiles[0].count > 0)
        np.testing.assert_allclose(window.intensity[window.observed], tiles[0].intensity[window.observed], atol=1.6e-5)
    with open_standing([tmp_path / "a.tif"], raster.grid) as found:
        assert found is not None
        assert found.sweeps == ""
        around = found.read(250, -6, 140, 140)  # beyond all sides
        np.testing.assert_array_equal(around.intensity[6:134, 6:134] > 0, tiles[1].standing)
        assert around.intensity.sum() == tiles[1].standing.sum()
        assert around.observed.sum() == (tiles[1].standing | (tiles[1].count > 0)).sum()
    write_map_geotiff(tmp_path / "b.tif", grid, iter(tiles), 128)
    digests = {hashlib.sha256((tmp_path / f"{name}.tif").read_bytes()).hexdigest() for name in "ab"}
    assert len(digests) == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tif", "b.tif"]
    write_map_geotiff(tmp_path / "c.tif", grid, iter(tiles), 128, "clockwise")
    for files, told in ((["c.tif"], "clockwise"), (["b.tif", "c.tif"], "")):
        with open_standing([tmp_path / name for name in files], grid) as found:
            assert found is not None
            assert found.sweeps == told


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("share", [0.5, 0.97, 0.9999])
def test_a_map_that_does_not_fit_on_the_disk_is_an_error(tmp_path: Path, share: float) -> None:
    import resource

    grid = MetricGrid(500_000.0, 5_400_000.0, 0.05, 384, 256, "")
    write_map_geotiff(tmp_path / "a.tif", grid, make_tiles(), 128)
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * (tmp_path / "a.tif").stat().st_size), most))
    try:
        with pytest.raises(ConfigError, match=r"b\.tif cannot be written"):
            write_map_geotiff(tmp_path / "b.tif", grid, make_tiles(), 128)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


def test_write_refuses(tmp_path: Path) -> None:
    grid = MetricGrid(0, 0, 0.05, 384, 256)
    good, _ = make_tiles()
    bad = Tile(0, 0, good.intensity * 300, good.count, good.spread)
    with pytest.raises(MapInputError, match="outside 0 to 1"):
        write_map_geotiff(tmp_path / "a.tif", grid, [bad], 128)
    with pytest.raises(MapInputError, match="reaches out"):
        write_map_geotiff(tmp_path / "a.tif", grid, [Tile(300, 0, good.intensity, good.count, good.spread)], 128)
    with pytest.raises(ConfigError, match="no folder"):
        write_map_geotiff(tmp_path / "missing" / "a.tif", grid, [good], 128)
    with pytest.raises(ConfigError, match="multiple of 16"):
        write_map_geotiff(tmp_path / "a.tif", grid, [good], 100)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "match"),
    [("EPSG:4326", "metres"), ("EPSG:2263", "metres"), ("EPSG:1", "no coordinate"), ("EPSG:3857", "equator")],
)
def test_bad_crs(name: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        crs_wkt_of(name)


def test_preview(tmp_path: Path) -> None:
    import imagecodecs

    grid = MetricGrid(0, 0, 0.05, 384, 256)
    write_map_geotiff(tmp_path / "a.tif", grid, make_tiles(), 128)
    write_preview(tmp_path / "a.tif", tmp_path / "a.png")
    picture = imagecodecs.png_decode((tmp_path / "a.png").read_bytes())
    assert picture.shape == (384, 256)
    tile = make_tiles()[0]
    corner = picture[:128, 128:]
    np.testing.assert_array_equal(corner == 0, tile.count == 0)
    seen = tile.count > 0
    assert np.corrcoef(corner[seen], tile.intensity[seen])[0, 1] > 0.99
    write_preview(tmp_path / "a.tif", tmp_path / "small.png", longest_px=96)
    assert imagecodecs.png_decode((tmp_path / "small.png").read_bytes()).shape == (96, 64)


@pytest.mark.shared
def test_real_maps(shared_data: Path) -> None:
    folder = shared_data / "lidar" / "groundloc-maps"
    with open_raster(folder / "kitti_00.tif") as raster, rasterio.open(folder / "kitti_00.tif") as dataset:
        assert raster.grid.shape == dataset.shape
        window = raster.read(900, 900, 200, 200)
        reference = dataset.read(1)[900:1100, 900:1100]
        np.testing.assert_array_equal(window.observed, reference > 0)
        np.testing.assert_allclose(window.intensity, reference / 255, rtol=1e-6)
