"""Georeferenced ortho images, alone and with the street map below them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError

from foldmap.errors import MapInputError
from foldmap.formats.crs import same_crs
from foldmap.formats.raster.geotiff import raster_grid
from foldmap.formats.street.maps import read_street_maps
from foldmap.formats.street.observations.aerial import PIXEL_M, TILE_PX, read_aerial_tile, tile_image
from foldmap.geometry import MetricGrid
from foldmap.street.images.ground_image import GroundImage
from foldmap.street.paper.pairs import GroundTile
from foldmap.types import BoolArray, ByteArray

_MOST_PX = 1 << 29
_PATCH_M = 2.0


def read_ground_image(path: Path | str) -> GroundImage:
    """Read a georeferenced ortho image (GeoTIFF, or anything GDAL reads): three bands of 8 bits, or a grey one.

    It is north up, in metres (`raster_grid`), and no larger than half a gigapixel. Red, green and blue are the bands
    that are called so, else the first three. No ground is where nodata, a mask or alpha say so, and in black patches.
    """
    path = Path(path)
    grid = raster_grid(path)
    if grid.height_px * grid.width_px > _MOST_PX:
        raise MapInputError(f"{path} has {grid.width_px} x {grid.height_px} px", "cut it with gdal_translate -srcwin")
    try:
        with rasterio.open(path) as dataset:
            bands = _bands(dataset)
            if not bands or {dataset.dtypes[band - 1] for band in bands} != {"uint8"}:
                cure = "make it 8-bit RGB with gdal_translate -ot Byte -scale -b 1 -b 2 -b 3"
                raise MapInputError(f"{path} has {dataset.count} bands of {dataset.dtypes[0]}", cure)
            pixels = dataset.read(bands)
            observed = (dataset.dataset_mask() > 0) & ~_black(pixels, max(4, round(_PATCH_M / grid.resolution_m)))
    except RasterioError as error:
        raise MapInputError(f"{path} cannot be read: {error}", "copy it again") from error
    image = np.ascontiguousarray(np.broadcast_to(pixels.transpose(1, 2, 0), (*grid.shape, 3)))
    return GroundImage(image, grid, None if observed.all() else observed)


def _bands(dataset: Any) -> list[int]:
    """The numbers of the bands of red, green and blue, or of grey; none where nothing says which they are."""
    meanings = list(dataset.colorinterp)
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    if all(meanings.count(colour) == 1 for colour in colours):
        return [meanings.index(colour) + 1 for colour in colours]
    seen = [number for number, meaning in enumerate(meanings, 1) if meaning != ColorInterp.alpha]
    return seen[:3] if len(seen) >= 3 else seen if len(seen) == 1 else []


def _black(pixels: ByteArray, side_px: int) -> BoolArray:
    """Patches (H, W) that are black throughout, as the corners of a turned image are; shadows are not."""
    dark: BoolArray = np.asarray(~pixels.any(axis=0))
    rows, columns = (side // side_px for side in dark.shape)
    cut = dark[: rows * side_px, : columns * side_px].reshape(rows, side_px, columns, side_px).all(axis=(1, 3))
    whole = np.zeros_like(dark)
    whole[: rows * side_px, : columns * side_px] = cut.repeat(side_px, 0).repeat(side_px, 1)
    return whole


def read_ground_tile(image: Path | str, streets: Path | str | None = None, name: str = "") -> GroundTile:
    """An ortho image (GeoTIFF) and the street map in its frame, the one of that name where its file holds several.

    Without ``streets``, which may be anything `foldmap.formats.street.maps.read_street_maps` reads, the image is the
    ``tile_N_graph.npz`` of a hand-labelled tile, whose image lies beside it.
    """
    image = Path(image)
    if streets is None:
        if image.suffix != ".npz":
            raise MapInputError(f"{image} comes without a street map", "name the map as well")
        labelled = read_aerial_tile(image)
        grid = MetricGrid(0.0, TILE_PX * PIXEL_M, PIXEL_M, TILE_PX, TILE_PX)
        return GroundTile(GroundImage(tile_image(image), grid), labelled)
    maps = {street.name: street for street in read_street_maps(Path(streets))}
    if name not in maps and (name or len(maps) != 1):
        raise MapInputError(f"{streets} has no map {name!r}", f"it has {', '.join(maps) or 'none'}")
    street = maps[name] if name else next(iter(maps.values()))
    ground = read_ground_image(image)
    ours, theirs = street.crs, ground.grid.crs_wkt
    if ours and theirs and not same_crs(ours, theirs, str(image)):
        cure = f"reproject the image with gdalwarp -t_srs '{ours}'"
        raise MapInputError(f"{image} and the street map {street.name!r} are in two CRSs", cure)
    return GroundTile(ground, street)
