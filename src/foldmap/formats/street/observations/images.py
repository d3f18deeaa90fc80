"""Images for the street layer: photos, aerial crops and ortho images as 8-bit RGB."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import rasterio
from PIL import Image, UnidentifiedImageError
from rasterio.errors import CRSError, RasterioError

from foldmap.errors import MapInputError
from foldmap.formats.raster.geotiff import raster_grid
from foldmap.formats.street.maps import read_street_maps
from foldmap.formats.street.observations.aerial import PIXEL_M, TILE_PX, read_aerial_tile, tile_image
from foldmap.geometry import MetricGrid
from foldmap.street.images.ground_image import GroundImage
from foldmap.street.paper.pairs import GroundTile
from foldmap.street.source import StreetMap
from foldmap.types import ByteArray

_EIGHT_BIT = {"RGB", "RGBA", "RGBX", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr"}
_MOST_PX = 1 << 29


def read_rgb(path: Path | str) -> ByteArray:
    """Decode a photo of 8 bits a channel as uint8 (H, W, 3).

    Grey is repeated over the channels, palettes are looked up, alpha is dropped. Pixels stay where the file has them:
    EXIF orientation is not applied, as a calibration knows nothing of it.
    """
    return decode_rgb(Path(path), str(path))


def decode_rgb(source: Path | BinaryIO, where: str) -> ByteArray:
    """Decode a photo as `read_rgb` does, from a file or its bytes; ``where`` is its name in messages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source) as image:
                if image.mode not in _EIGHT_BIT:
                    cure = "convert it to 8-bit RGB with the tone curve you want"
                    raise MapInputError(f"{where} has {image.mode} pixels, more than 8 bits a channel", cure)
                return np.ascontiguousarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise MapInputError(f"there is no image {where}", "check the name, or leave the cell empty") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MapInputError(f"{where} is no photo: {error}", "give a JPEG or PNG") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise MapInputError(f"{where} cannot be decoded: {error}", "copy it again") from error


def read_ground_image(path: Path | str) -> GroundImage:
    """Read a georeferenced ortho image (GeoTIFF, or anything GDAL reads): three bands of 8 bits, or a grey one.

    It is north up, in metres (`raster_grid`), and no larger than half a gigapixel.
    """
    path = Path(path)
    grid = raster_grid(path)
    if grid.height_px * grid.width_px > _MOST_PX:
        raise MapInputError(f"{path} has {grid.width_px} x {grid.height_px} px", "cut it with gdal_translate -srcwin")
    try:
        with rasterio.open(path) as dataset:
            bands = 3 if dataset.count >= 3 else 1
            if dataset.count == 2 or set(dataset.dtypes[:bands]) != {"uint8"}:
                cure = "make it 8-bit RGB with gdal_translate -ot Byte -scale -b 1 -b 2 -b 3"
                raise MapInputError(f"{path} has {dataset.count} bands of {dataset.dtypes[0]}", cure)
            pixels = dataset.read(list(range(1, bands + 1)))
    except RasterioError as error:
        raise MapInputError(f"{path} cannot be read: {error}", "copy it again") from error
    image = np.ascontiguousarray(np.broadcast_to(pixels.transpose(1, 2, 0), (*grid.shape, 3)))
    return GroundImage(image, grid)


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
    _same_frame(image, ground, street)
    return GroundTile(ground, street)


def _same_frame(image: Path, ground: GroundImage, street: StreetMap) -> None:
    if not street.crs or not ground.grid.crs_wkt:
        return
    what = f"the street map {street.name!r}"
    try:
        one, other = rasterio.crs.CRS.from_user_input(street.crs), rasterio.crs.CRS.from_wkt(ground.grid.crs_wkt)
    except CRSError as error:
        raise MapInputError(f"{what} has the CRS {street.crs!r}: {error}", "name one") from error
    if one != other:
        cure = f"reproject the image with gdalwarp -t_srs '{street.crs}'"
        raise MapInputError(f"{image} and {what} are in two CRSs", cure)
