"""Built maps out: a Cloud Optimized GeoTIFF of intensity, looks and spread, written tile by tile."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window

from foldmap.atlas.whole import put_whole, scratch_beside, write_whole
from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.crs import is_world_mercator, require_metric, require_true
from foldmap.formats.raster.standing import STANDING, SWEEPS
from foldmap.geometry import MetricGrid
from foldmap.types import AnyArray, FloatArray

if TYPE_CHECKING:
    from foldmap.lidar.mapping.raster import MapTile

BANDS = ("intensity", "count", "spread", STANDING)
NODATA = 65_535
_FULL = 65_534
_UNIT = 1.0 / 65_535.0


def crs_wkt_of(name: str) -> str:
    """WKT of a CRS given as ``EPSG:25832``, PROJ string or WKT; empty stays empty (a local map).

    Raises:
        ConfigError: unknown, in degrees, not in metres, or in such as are metres of ground on the equator only.
    """
    if not name:
        return ""
    cure = "give a metric CRS like a UTM zone, EPSG:25832"
    try:
        text = require_metric(name, name[:40], cure)
        if is_world_mercator(name):
            raise MapInputError(f"metres of {name[:40]} are metres of ground on the equator only", cure)
        return str(rasterio.crs.CRS.from_user_input(text).to_wkt())
    except MapInputError as error:
        raise ConfigError(error.message, error.cure or cure) from error
    except CRSError as error:
        raise ConfigError(f"{name!r} is no known CRS: {error}", cure) from error


def write_map_geotiff(
    path: Path | str, grid: MetricGrid, tiles: Iterable[MapTile], block_px: int = 512, sweeps: str = ""
) -> float:
    """Write a map as a Cloud Optimized GeoTIFF with overviews, whole or not at all; returns its observed ground in m2.

    Bands are uint16: intensity and spread in steps of 1/65535 (declared as the scale), looks up to 65534, and 1 where
    something upright stands, 0 where there is ground; nodata is 65535 in all. One tile is in memory at a time; those
    that are left out take no space. The same tiles give the same bytes. Edges of tiles best lie on multiples of
    ``block_px``, the side of the file's blocks, a multiple of 16. ``sweeps`` is a tag: how they were put together.

    Raises:
        ConfigError: the block size is no multiple of 16, or the folder cannot be written to.
        MapInputError: an intensity is outside 0 to 1, a tile reaches out of the grid, or metres of its CRS are none
            of ground there.
    """
    path = Path(path)
    if block_px % 16 or block_px < 128:
        raise ConfigError(f"blocks of {block_px} px", "give a multiple of 16 from 128 up")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}", "make it first")
    if grid.crs_wkt:
        corners = grid.world_of(np.array([[0, 0], [grid.height_px, grid.width_px]], np.float64))
        require_true(grid.crs_wkt, corners, str(path), "give poses in {utm}, and name that")
    try:
        with scratch_beside(path, "writing") as scratch, rasterio.Env(GDAL_CACHEMAX=64, GDAL_NUM_THREADS=1):
            plain, cloud = scratch / "plain.tif", scratch / "cloud.tif"
            observed_px = _write_plain(plain, grid, tiles, block_px, {SWEEPS: sweeps} if sweeps else {})
            deflated = {"COMPRESS": "DEFLATE", "LEVEL": 6, "PREDICTOR": 2, "OVERVIEW_RESAMPLING": "AVERAGE"}
            blocks = {"BLOCKSIZE": block_px, "BIGTIFF": "IF_SAFER", "SPARSE_OK": "TRUE"}
            rasterio.shutil.copy(plain, cloud, driver="COG", **deflated, **blocks)
            require_written(cloud, observed_px)
            put_whole(cloud, path)
    except (OSError, RasterioError, CPLE_BaseError) as error:  # copies raise GDAL's own
        raise ConfigError(f"{path} cannot be written: {error}", "check space and permissions") from error
    return float(observed_px) * grid.resolution_m**2


def _write_plain(path: Path, grid: MetricGrid, tiles: Iterable[MapTile], block_px: int, tags: dict[str, str]) -> int:
    observed_px = 0
    profile = tiled_profile(grid, len(BANDS), "uint16", NODATA, block_px)
    with rasterio.open(path, "w", **profile, interleave="band", zlevel=1) as dataset:
        dataset.descriptions = BANDS
        dataset.scales = (_UNIT, 1.0, _UNIT, 1.0)
        dataset.update_tags(LAYER="foldmap lidar ground intensity", **tags)
        for tile in tiles:
            height_px, width_px = tile.count.shape
            if not (0 <= tile.row <= grid.height_px - height_px and 0 <= tile.col <= grid.width_px - width_px):
                raise MapInputError(f"a tile at row {tile.row}, column {tile.col} reaches out of the map")
            observed = tile.count > 0
            observed_px += int(observed.sum())
            standing = np.zeros(tile.count.shape, np.bool_) if tile.standing is None else tile.standing
            bands = np.stack(
                [_unit(tile.intensity, observed), np.minimum(tile.count, _FULL), _unit(tile.spread, observed), standing]
            )
            bands[:3, ~observed] = NODATA
            bands[3, ~(observed | standing)] = NODATA
            dataset.write(bands.astype(np.uint16), window=Window(tile.col, tile.row, width_px, height_px))
    return observed_px


def tiled_profile(grid: MetricGrid, bands: int, dtype: str, nodata: float, block_px: int) -> dict[str, Any]:
    """What rasterio is told of a deflated GeoTIFF in blocks, of which those left out take no space."""
    return {
        "driver": "GTiff",
        "dtype": dtype,
        "count": bands,
        "height": grid.height_px,
        "width": grid.width_px,
        "nodata": nodata,
        "crs": grid.crs_wkt or None,
        "transform": rasterio.Affine(grid.resolution_m, 0, grid.west_m, 0, -grid.resolution_m, grid.north_m),
        "tiled": True,
        "blockxsize": block_px,
        "blockysize": block_px,
        "compress": "deflate",
        "sparse_ok": True,
        "bigtiff": "IF_SAFER",
    }


def require_written(path: Path, observed_px: int) -> None:
    """Read a raster back: GDAL closes a file on a full disk without a word.

    An OSError where not ``observed_px`` pixels of its first band hold values, a RasterioError where it is cut short.
    """
    with rasterio.open(path) as dataset:
        masks = (dataset.read_masks(1, window=window) for _, window in dataset.block_windows(1))
        if sum(int(np.count_nonzero(mask)) for mask in masks) != observed_px:
            raise OSError("not all of it reached the disk")


def _unit(values: FloatArray, observed: AnyArray) -> AnyArray:
    seen = values[observed]
    if seen.size and not (np.isfinite(seen).all() and seen.min() >= 0 and seen.max() <= 1.0 + 1e-6):
        raise MapInputError("a map to be written has intensities outside 0 to 1", "scale them to full reflectance")
    return np.minimum(np.round(np.where(observed, values, 0).astype(np.float64) / _UNIT), _FULL)


def write_preview(map_path: Path | str, picture_path: Path | str, longest_px: int = 2000) -> None:
    """Draw a written map as a grey PNG, north up, unobserved black; stretched to its 1st and 99th percentile.

    Raises `MapInputError`: the map cannot be read; `ConfigError`: the picture cannot be written.
    """
    import imagecodecs

    try:
        with rasterio.open(map_path) as dataset:
            shrink = max(1.0, max(dataset.height, dataset.width) / longest_px)
            shape = (max(1, int(dataset.height / shrink)), max(1, int(dataset.width / shrink)))
            values = dataset.read(1, out_shape=shape).astype(np.float64)
            observed = dataset.read_masks(1, out_shape=shape) > 0
    except RasterioError as error:
        raise MapInputError(f"{map_path} cannot be read: {error}", "give the map that was built") from error
    grey = np.zeros(shape, np.uint8)
    if observed.any():
        low, high = np.percentile(values[observed], [1, 99])
        stretched = (values[observed] - low) / max(high - low, 1e-9)
        grey[observed] = (32 + 223 * np.clip(stretched, 0, 1)).astype(np.uint8)
    write_whole(picture_path, bytes(imagecodecs.png_encode(grey)))
