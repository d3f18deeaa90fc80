"""GeoTIFF maps in: any single- or multi-band raster, read window by window."""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from foldmap.errors import MapInputError
from foldmap.formats.crs import require_true, same_crs
from foldmap.formats.raster.values import check_band, check_texture, declared_scale, refuse_nodata
from foldmap.geometry import MetricGrid
from foldmap.lidar.relief import ReliefSource
from foldmap.lidar.source import RasterMap, RasterSource
from foldmap.types import BoolArray

_OFF_PX = 0.1
"""How far pixels may be off a square grid, north up, at the far corner: what tools round is less."""
_ALIGNED_TOLERANCE_PX = 0.01
_LEAST_PIXEL_M = 1e-3
_STATISTIC = "count|density|varian|spread|std|sigma"
_INTENSITY = re.compile(rf"^(?!.*(?:{_STATISTIC})).*(?:intens|reflect|remission|amplitude|albedo)")
_OTHER = re.compile(rf"height|elevation|altitude|depth|slope|class|label|{_STATISTIC}|(?:\b|_)(?:z|dem|dsm|dtm)\b")
_LENGTHS = {"m", "metre", "metres", "meter", "meters", "ft", "foot", "feet", "us survey foot"}


class RasterFile:
    """One band of a raster file as a `RasterSource`; windows are read when asked for, nothing is kept.

    Integer bands become 0 to 1 (`foldmap.formats.raster.values.check_band`) unless the band declares a scale and
    offset of its own; floats stay as they are. Not observed is: nodata, an empty mask or alpha, NaN and infinity,
    everything off the raster. ``notes`` are what people should know of it; ``told`` is whether they chose the band.
    """

    def __init__(self, path: Path, dataset: Any, band: int, grid: MetricGrid, told: bool) -> None:
        self.path, self.band, self._dataset = path, band, dataset
        self.grid = grid
        self._kind = np.dtype(dataset.dtypes[band - 1])
        self._alpha = [
            i for i, meaning in enumerate(dataset.colorinterp, 1) if meaning == ColorInterp.alpha and i != band
        ]
        declared = declared_scale(path, dataset, band)
        self._scale, self._offset = check_band(path, self._kind, declared, grid.shape, self._observed)
        declares = bool(self._alpha) or MaskFlags.all_valid not in dataset.mask_flag_enums[band - 1]
        heights = self._kind.kind == "f" and not _INTENSITY.search(str(dataset.descriptions[band - 1] or "").lower())
        self.notes = check_texture(path, grid.shape, self._stored, declares, heights, _smeared(dataset, band))
        others = [number for number in dataset.indexes if number not in (band, *self._alpha)]
        named = any(_INTENSITY.search(str(name or "").lower()) for name in dataset.descriptions)
        if others and not (named or told):
            meant = dataset.colorinterp[band - 1].name
            self.notes.append(f"{path}: band {band} ({meant}) of {dataset.count} is read; --band chooses another")

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        """Read a window, which may reach beyond the raster; pixels outside are unobserved.

        Raises:
            MapInputError: the file is damaged there.
        """
        intensity = np.zeros((height_px, width_px), np.float32)
        observed = np.zeros((height_px, width_px), bool)
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height_px, self.grid.height_px), min(col + width_px, self.grid.width_px)
        if bottom > top and right > left:
            raw, valid = self._stored(top, left, bottom - top, right - left)
            refuse_nodata(self.path, self._kind, raw[valid])
            with np.errstate(over="ignore", invalid="ignore"):
                values = (raw.astype(np.float64) * self._scale + self._offset).astype(np.float32)
            valid &= np.isfinite(values)
            inside = np.s_[top - row : bottom - row, left - col : right - col]
            intensity[inside] = np.where(valid, values, np.float32(0))
            observed[inside] = valid
        return RasterMap(self.grid.window(row, col, height_px, width_px), intensity, observed)

    def _stored(self, row: int, col: int, height_px: int, width_px: int) -> tuple[Any, BoolArray]:
        """Values as they are in the file, and which of them are observed."""
        window = Window(col, row, width_px, height_px)
        with _refusing(self.path, f"cannot be read at row {row}, column {col}"):
            raw = self._dataset.read(self.band, window=window)
            valid = self._dataset.read_masks(self.band, window=window) > 0
            for alpha in self._alpha:
                valid &= self._dataset.read(alpha, window=window) > 0
        return raw, valid & np.isfinite(raw)

    def _observed(self, row: int, col: int, height_px: int, width_px: int) -> Any:
        raw, valid = self._stored(row, col, height_px, width_px)
        return raw[valid]

    def require_intensity(self) -> None:
        """Refuse a band that the file itself calls something else, such as heights, by its description or its unit."""
        names = [str(name or "").lower() for name in self._dataset.descriptions]
        mine, unit = names[self.band - 1], str(self._dataset.units[self.band - 1] or "").lower()
        upright = self._dataset.crs is not None and "VERT" in self._dataset.crs.to_wkt()
        if upright and (self._kind.kind == "f" or self._kind.itemsize == 1):
            unit = ""  # GDAL gives bands the unit of a crs of heights, whatever they hold; texture and size tell
        if _INTENSITY.search(mine) or not (_OTHER.search(mine) or unit in _LENGTHS):
            return
        found = [number for number, name in enumerate(names, 1) if _INTENSITY.search(name)]
        cure = "choose the band of intensity with --band" + (f" {found[0]}" if found else "")
        cure += "" if found else "; where this is it, set its description to intensity"
        what = f"{mine[:40]!r}" + (f" in {unit}" if unit else "")
        raise MapInputError(f"{self.path} calls band {self.band} {what}, which is no intensity", cure)

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def __enter__(self) -> RasterFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_raster(path: Path | str, band: int | None = None) -> RasterFile:
    """Open one band (from 1, which is meant where none is told) of any raster GDAL reads as a map.

    Without a CRS it is a local one.

    Raises:
        MapInputError: the file cannot be read; has no such band; is rotated, south-up, not square, or not in metres of
            ground; or holds what no ground intensities are (`foldmap.formats.raster.values`).
    """
    path = Path(path)
    with _refusing(path, "cannot be opened as a raster"):
        number = 1 if band is None else band
        dataset = _opened(path, number)
        try:
            return RasterFile(path, dataset, number, _grid_of(path, dataset), band is not None)
        except Exception:
            dataset.close()
            raise


def raster_grid(path: Path | str) -> MetricGrid:
    """Where a raster lies, whatever it holds; errors of `open_raster`."""
    path = Path(path)
    with _refusing(path, "cannot be opened as a raster"), _opened(path, 1) as dataset:
        return _grid_of(path, dataset)


@contextmanager
def _refusing(path: Path, why: str) -> Iterator[None]:
    """Turn whatever goes wrong within into a `MapInputError` that names the file."""
    try:
        yield
    except MapInputError as error:
        if str(path) in error.message:
            raise
        raise MapInputError(f"{path}: {error.message}", error.cure) from error
    except Exception as error:
        # GDAL raises RasterioError and a dozen kinds more, whenever a property is asked for
        raise MapInputError(f"{path} {why}: {error}", "write it again as a GeoTIFF") from error


def _opened(path: Path, band: int) -> Any:
    said = _Said()
    log = logging.getLogger("rasterio._env")
    log.addHandler(said)
    try:
        with warnings.catch_warnings():
            # A raster without a geotransform is refused below, with a cure.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(path)
    finally:
        log.removeHandler(said)
    try:
        if said.damaged:
            raise MapInputError(f"{path} has GeoTIFF tags that are damaged: its CRS is lost", "write it again")
        if not 1 <= band <= dataset.count:
            raise MapInputError(f"{path} has no band {band}, only 1 to {dataset.count}", "choose one of its bands")
        if np.dtype(dataset.dtypes[band - 1]).kind not in "iuf":
            raise MapInputError(f"{path} has {dataset.dtypes[band - 1]} values", "give an integer or float raster")
        meaning = dataset.colorinterp[band - 1]
        if meaning == ColorInterp.palette:
            raise MapInputError(f"{path}: band {band} holds numbers of colours", "run gdal_translate -expand gray")
        if meaning == ColorInterp.alpha:
            raise MapInputError(f"{path}: band {band} is the alpha band", "choose the band of intensity with --band")
    except Exception:
        dataset.close()
        raise
    return dataset


def _smeared(dataset: Any, band: int) -> float | None:
    """The nodata value of a band whose compression does not keep it exactly."""
    how = dataset.tags(ns="IMAGE_STRUCTURE")
    lossy = "JPEG" in how.get("COMPRESSION", "") or how.get("COMPRESSION_REVERSIBILITY", "").startswith("LOSSY")
    return dataset.nodatavals[band - 1] if lossy and MaskFlags.nodata in dataset.mask_flag_enums[band - 1] else None


class _Said(logging.Handler):
    """Whether GDAL said that it passes over the tags of a place: it reads such a map as one without a CRS."""

    damaged = False

    def emit(self, record: logging.LogRecord) -> None:
        self.damaged = self.damaged or "GeoTIFF tags apparently corrupt" in record.getMessage()


def _grid_of(path: Path, dataset: Any) -> MetricGrid:
    transform = dataset.transform
    if transform.is_identity:
        points = len(dataset.gcps[0])
        said = f", but {points} ground control points" if points else ""
        cure = "run gdalwarp on it" if points else "georeference it, e.g. gdal_translate -a_ullr"
        raise MapInputError(f"{path} has no geotransform{said}", cure)
    off_px = np.abs((transform.b, transform.d, transform.a + transform.e)) * max(dataset.shape)
    off_px /= abs(transform.a) or math.inf
    if off_px[:2].max() > _OFF_PX:
        raise MapInputError(f"{path} has a rotated geotransform", "resample it north up with gdalwarp")
    if transform.a <= 0 or transform.e >= 0:
        raise MapInputError(f"{path} is not north up (pixel {transform.a} x {transform.e})", "run gdalwarp on it")
    crs_wkt = dataset.crs.to_wkt() if dataset.crs is not None else ""
    if crs_wkt:
        west, north = transform.c, transform.f
        east, south = west + dataset.width * transform.a, north + dataset.height * transform.e
        corners = np.array([(west, south), (west, north), (east, south), (east, north)])
        require_true(crs_wkt, corners, str(path))
    elif transform.a < _LEAST_PIXEL_M:
        raise MapInputError(
            f"{path} has pixels of {transform.a:.3g} and no CRS: such are degrees",
            "name its CRS with gdal_edit.py -a_srs EPSG:4326, and reproject it with gdalwarp -t_srs",
        )
    if off_px[2] > _OFF_PX:
        size = f"{transform.a:g} x {-transform.e:g}"
        raise MapInputError(f"{path} has pixels of {size}, not square", "resample it with gdalwarp -tr")
    return MetricGrid(transform.c, transform.f, transform.a, dataset.height, dataset.width, crs_wkt)


class RasterMosaic:
    """Several rasters of one grid as one `RasterSource`; where they overlap, the first that observed a pixel counts.

    ``placements`` are the rows and columns of their first pixels in the grid.
    """

    def __init__(self, parts: Sequence[RasterSource], placements: Sequence[tuple[int, int]], grid: MetricGrid) -> None:
        self.parts, self.placements, self.grid = parts, placements, grid

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        """Read a window, which may reach beyond the parts; pixels outside are unobserved."""
        intensity = np.zeros((height_px, width_px), np.float32)
        observed = np.zeros((height_px, width_px), bool)
        for part, (part_row, part_col) in zip(self.parts, self.placements, strict=True):
            if not overlap((row, col, height_px, width_px), (part_row, part_col, *part.grid.shape)):
                continue
            piece = part.read(row - part_row, col - part_col, height_px, width_px)
            new = piece.observed & ~observed
            intensity[new] = piece.intensity[new]
            observed |= new
        return RasterMap(self.grid.window(row, col, height_px, width_px), intensity, observed)


def overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    """Whether two windows (row, column, height, width) have a pixel in common."""
    rows = one[0] < other[0] + other[2] and other[0] < one[0] + one[2]
    return rows and one[1] < other[1] + other[3] and other[1] < one[1] + one[3]


def files_of(path: Path) -> list[Path]:
    """All files that a raster is made of, its own first: those that a virtual one draws on, masks and statistics."""
    with _refusing(path, "cannot be opened as a raster"), _opened(path, 1) as dataset:
        return [path, *(Path(name) for name in dataset.files if Path(name) != path and Path(name).is_file())]


def open_mixed(path: Path | str, band: int | None = None, relief_band: int | None = None) -> RasterFile | ReliefFile:
    """Open one band of a raster, and where it is named that of relief, mixed; errors as `open_raster`."""
    intensity = open_raster(path, band)
    try:
        intensity.require_intensity()
        if relief_band is None:
            return intensity
        return ReliefFile(intensity, open_raster(path, relief_band))
    except Exception:
        intensity.close()
        raise


class ReliefFile(ReliefSource):
    """Two bands of a raster file, mixed."""

    def __init__(self, intensity: RasterFile, variance_m2: RasterFile) -> None:
        super().__init__(intensity, variance_m2)
        self.notes = intensity.notes
        self._files = intensity, variance_m2

    def close(self) -> None:
        """Close the file."""
        for file in self._files:
            file.close()


@contextmanager
def open_rasters(
    paths: Sequence[Path | str],
    band: int | None = None,
    relief_band: int | None = None,
    note: Callable[[str], None] | None = None,
) -> Iterator[RasterSource]:
    """Open one or several rasters as one map; they close when the block ends.

    Their ``relief_band`` holds the variance of heights in each pixel, m2, and is mixed in (`foldmap.lidar.relief`).
    ``note`` is told what the first one that is odd has to say.

    Raises:
        MapInputError: none is given, or they differ in CRS or resolution, or their pixels are not aligned; and all that
            `open_raster` raises.
    """
    if not paths:
        raise MapInputError("no raster was given", "give at least one GeoTIFF")
    with ExitStack() as opened:
        parts: list[RasterSource] = []
        for path in paths:
            part = open_mixed(path, band, relief_band)
            parts.append(part)
            opened.callback(part.close)
            if note is not None and part.notes:
                note(f"note: {'; '.join(part.notes)}")
                note = None
        yield parts[0] if len(parts) == 1 else combine(parts, [str(path) for path in paths])


def combine(parts: Sequence[RasterSource], names: Sequence[str]) -> RasterMosaic:
    """Lay rasters of one CRS, resolution and pixel grid together; ``names`` are for messages.

    Raises:
        MapInputError: they differ.
    """
    first = parts[0].grid
    for part, name in zip(parts[1:], names[1:], strict=True):
        if not same_crs(part.grid.crs_wkt, first.crs_wkt, name):
            raise MapInputError(f"{name} and {names[0]} have two CRSs", "reproject them to one with gdalwarp -t_srs")
        if not math.isclose(part.grid.resolution_m, first.resolution_m, rel_tol=1e-6):
            raise MapInputError(
                f"{name} has {part.grid.resolution_m:g} m pixels, {names[0]} {first.resolution_m:g} m",
                "resample them to one resolution with gdalwarp -tr",
            )
    placements = []
    for part, name in zip(parts, names, strict=True):
        row = (first.north_m - part.grid.north_m) / first.resolution_m
        col = (part.grid.west_m - first.west_m) / first.resolution_m
        if max(abs(row - round(row)), abs(col - round(col))) > _ALIGNED_TOLERANCE_PX:
            raise MapInputError(f"{name} is not aligned to the pixels of {names[0]}", "resample it with gdalwarp -tap")
        placements.append((round(row), round(col)))
    top, left = min(row for row, _ in placements), min(col for _, col in placements)
    bottom = max(row + part.grid.height_px for (row, _), part in zip(placements, parts, strict=True))
    right = max(col + part.grid.width_px for (_, col), part in zip(placements, parts, strict=True))
    grid = first.window(top, left, bottom - top, right - left)
    return RasterMosaic(parts, [(row - top, col - left) for row, col in placements], grid)
