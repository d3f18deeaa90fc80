"""Classical image codecs as map codecs: what a learned code has to beat.

Every payload is complete: placement, value range, occupancy mask and image, so that its length is an honest size. Lossy
codecs see an inpainted image, on which unobserved ground costs next to nothing, and an occupancy mask of 0.8 m cells.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import imagecodecs
import numpy as np

from foldmap.bench.lidar.baselines.rasters import block_sum, enlarge, inpaint, local_mean, reduce_observed
from foldmap.bench.lidar.cases import Codec
from foldmap.bench.lidar.payload import Reader, placement
from foldmap.errors import ConfigError, MapFormatError, MapInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.source import RasterMap
from foldmap.street.graph.varint import pack
from foldmap.types import AnyArray, BoolArray, ByteArray, FloatArray

_VALUES = struct.Struct("<ff")  # lowest value, value step
MASK_CELL_M = 0.8


@dataclass(frozen=True)
class _Family:
    """How one image format writes and reads a grey image of uint8 (or uint16 where deep)."""

    write: Callable[[AnyArray, int], bytes | bytearray]
    read: Callable[[bytes], AnyArray]
    deep: bool = False


def _rgb(image: AnyArray) -> AnyArray:
    return np.repeat(image[..., None], 3, axis=2)


def _grey(image: AnyArray) -> AnyArray:
    # Green carries most of luma, and chroma of a grey image decodes to within one level of it.
    return image[..., 1] if image.ndim == 3 else image


_FAMILIES = {
    "raw16": _Family(lambda a, _: a.astype("<u2").tobytes(), lambda b: np.frombuffer(b, "<u2"), deep=True),
    "png16": _Family(lambda a, _: imagecodecs.png_encode(a, level=9), imagecodecs.png_decode, deep=True),
    "jpeg": _Family(lambda a, q: imagecodecs.jpeg8_encode(a, level=q), imagecodecs.jpeg8_decode),
    "webp": _Family(
        lambda a, q: imagecodecs.webp_encode(_rgb(a), level=q, lossless=False, method=6), imagecodecs.webp_decode
    ),
    "jxl": _Family(
        lambda a, q: imagecodecs.jpegxl_encode(a, level=q, lossless=False, effort=7), imagecodecs.jpegxl_decode
    ),
    # A grey image comes out of AVIF lossless at every level, so it gets RGB.
    "avif": _Family(lambda a, q: imagecodecs.avif_encode(_rgb(a), level=q, speed=6), imagecodecs.avif_decode),
    "jpeg2000": _Family(lambda a, q: imagecodecs.jpeg2k_encode(a, level=q), imagecodecs.jpeg2k_decode),
}


@dataclass(frozen=True)
class ImageMapCodec:
    """A still-image format on the map, optionally reduced by an integer factor before and enlarged after."""

    # ``raw16``, ``png16`` (both exact to 16 bit at reduction 1), ``jpeg``, ``webp``, ``jxl``, ``avif`` or
    # ``jpeg2000``
    family: str
    level: int = 0  # quality 0 to 100; for ``jpeg2000`` the PSNR in dB; ignored by ``raw16`` and ``png16``
    reduction: int = 1  # 1, 2, 4, 8,
    name: str = field(init=False)

    def __post_init__(self) -> None:
        if self.family not in _FAMILIES:
            raise ConfigError(f"no image format {self.family!r}", f"choose from {', '.join(_FAMILIES)}")
        if self.reduction < 1 or not 0 <= self.level <= 100:
            raise ConfigError(f"reduction {self.reduction}, level {self.level}", "reduction >= 1, level 0 to 100")
        label = self.family if _FAMILIES[self.family].deep else f"{self.family}-{self.level}"
        object.__setattr__(self, "name", label + (f"/{self.reduction}x" if self.reduction > 1 else ""))

    def encode(self, raster: RasterMap) -> bytes:
        """Return header, mask and image; a `MapInputError` where nothing was observed."""
        family = _FAMILIES[self.family]
        if family.deep and self.reduction == 1:
            low, step = _value_range(raster.intensity[raster.observed], 65534, quantile=0.0)
            levels = np.where(raster.observed, np.rint((raster.intensity - low) / step) + 1, 0)
            return _header(raster.grid, low, step, 0) + bytes(family.write(levels.astype(np.uint16), self.level))
        mean, weight = reduce_observed(raster.intensity, raster.observed.astype(np.float32), self.reduction)
        top = 65535 if family.deep else 255
        low, step = _value_range(mean[weight > 0], top, quantile=0.0 if family.deep else 0.002)
        levels = np.clip(np.rint((inpaint(mean, weight > 0) - low) / step), 0, top)
        image = bytes(family.write(levels.astype(np.uint16 if family.deep else np.uint8), self.level))
        mask = encode_mask(raster.observed, raster.grid.resolution_m)
        return _header(raster.grid, low, step, len(mask)) + mask + image

    def decode(self, payload: bytes) -> RasterMap:
        """See `Codec`; a `MapFormatError` where the payload is not one of this codec."""
        family = _FAMILIES[self.family]
        grid, low, step, mask, body = _split(payload)
        shape = -(-grid.height_px // self.reduction), -(-grid.width_px // self.reduction)
        levels = _read_image(family.read, body, shape)
        if not mask:
            observed = levels > 0
            intensity = np.where(observed, (levels.astype(np.float32) - 1) * step + low, 0).astype(np.float32)
            return RasterMap(grid, intensity, observed)
        observed = decode_mask(mask, grid)
        enlarged = enlarge(levels.astype(np.float32) * step + low, self.reduction, grid.shape)
        return RasterMap(grid, np.where(observed, enlarged, 0).astype(np.float32), observed)


@dataclass(frozen=True)
class ThresholdMapCodec:
    """One bit a pixel as lossless JPEG XL: above a fixed quantile of what the local (Gaussian) mean leaves."""

    pixel_m: float = 0.4  # pixel of the stored bits; a multiple of the map's resolution
    sigma_m: float = 2.0  # standard deviation of the local mean
    quantile: float = 0.5  # share of the observed pixels that are stored as 0
    name: str = field(init=False)

    def __post_init__(self) -> None:
        if not (self.pixel_m > 0 and self.sigma_m > 0 and 0 < self.quantile < 1):
            raise ConfigError(f"{self}", "give a positive pixel and sigma and a quantile between 0 and 1")
        object.__setattr__(self, "name", f"1bit-jxl-{self.pixel_m * 100:g}cm")

    def encode(self, raster: RasterMap) -> bytes:
        """See `Codec`; errors where nothing was observed, or the pixel is no multiple of the resolution."""
        factor = reduction_of(self.pixel_m, raster.grid)
        mean, weight = reduce_observed(raster.intensity, raster.observed.astype(np.float32), factor)
        seen = weight > 0
        if not seen.any():
            raise MapInputError("the map has no observed pixel", "give a map with observed ground")
        detail = mean - local_mean(mean, seen, self.sigma_m / (factor * raster.grid.resolution_m))
        bits = seen & (detail > np.quantile(detail[seen], self.quantile))
        mask = encode_mask(raster.observed, raster.grid.resolution_m)
        return _header(raster.grid, 0.0, 1.0, len(mask)) + mask + _encode_bits(bits)

    def decode(self, payload: bytes) -> RasterMap:
        """See `Codec`; intensity is near 0 or 1, smooth between."""
        grid, _, _, mask, body = _split(payload)
        factor = reduction_of(self.pixel_m, grid)
        bits = _decode_bits(body, (-(-grid.height_px // factor), -(-grid.width_px // factor)))
        observed = decode_mask(mask, grid)
        enlarged = enlarge(bits.astype(np.float32), factor, grid.shape)
        return RasterMap(grid, np.where(observed, enlarged, 0).astype(np.float32), observed)


def reduction_of(pixel_m: float, grid: MetricGrid) -> int:
    """Pixels of a map per side of a stored pixel; a ConfigError where that is no whole number."""
    factor = round(pixel_m / grid.resolution_m)
    if factor < 1 or abs(factor * grid.resolution_m - pixel_m) > 0.02 * pixel_m:
        raise ConfigError(f"{pixel_m} m pixels of a {grid.resolution_m} m map", "choose a multiple of the resolution")
    return factor


def encode_mask(observed: BoolArray, resolution_m: float) -> bytes:
    """Code which cells hold observed ground; one byte says how many pixels a cell has a side (at most 255)."""
    factor = int(np.clip(round(MASK_CELL_M / resolution_m), 1, 255))
    return bytes([factor]) + _encode_bits(block_sum(observed.astype(np.float32), factor) > 0)


def decode_mask(mask: bytes, grid: MetricGrid) -> BoolArray:
    """Spread cells over their pixels, bool (H, W)."""
    factor = max(1, mask[0])
    cells = _decode_bits(mask[1:], (-(-grid.height_px // factor), -(-grid.width_px // factor)))
    return np.repeat(np.repeat(cells, factor, 0), factor, 1)[: grid.height_px, : grid.width_px]


def _encode_bits(bits: BoolArray) -> bytes:
    """Lossless JPEG XL or packed bits deflated, whichever is smaller; the first byte says which."""
    image: ByteArray = np.ascontiguousarray(bits, dtype=np.uint8)
    jxl = bytes(imagecodecs.jpegxl_encode(image, lossless=True, effort=9, bitspersample=1))
    deflated = bytes(imagecodecs.deflate_encode(np.packbits(image).tobytes(), level=12))
    return b"\0" + jxl if len(jxl) <= len(deflated) else b"\1" + deflated


def _decode_bits(data: bytes, shape: tuple[int, int]) -> BoolArray:
    if data[:1] == b"\1":
        packed = np.frombuffer(imagecodecs.deflate_decode(data[1:]), np.uint8)
        return np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).astype(bool)
    return _read_image(imagecodecs.jpegxl_decode, data[1:], shape) > 0


def _value_range(values: FloatArray, top: int, quantile: float) -> tuple[float, float]:
    """Lowest value and step of a linear quantization to 0..top, both exact in float32."""
    if values.size == 0:
        raise MapInputError("the map has no observed pixel", "give a map with observed ground")
    low, high = np.quantile(values, (quantile, 1.0 - quantile)).astype(np.float32)
    step = np.float32((high - low) / top)
    return float(low), float(step) if step > 0 else 1.0


def _header(grid: MetricGrid, low: float, step: float, mask_bytes: int) -> bytes:
    return placement(grid) + _VALUES.pack(low, step) + pack([mask_bytes])


def _split(payload: bytes) -> tuple[MetricGrid, float, float, bytes, bytes]:
    reader = Reader(payload)
    grid = reader.grid()
    low, step = _VALUES.unpack(reader.take(_VALUES.size))
    mask_bytes, body = reader.number(), reader.left
    if mask_bytes >= len(body):
        raise MapFormatError(f"the payload declares a mask of {mask_bytes} bytes and holds {len(body)}")
    return grid, low, step, body[:mask_bytes], body[mask_bytes:]


def _read_image(read: Callable[[bytes], AnyArray], body: bytes, shape: tuple[int, int]) -> AnyArray:
    image = _grey(np.asarray(read(body)))
    if image.size != shape[0] * shape[1]:
        raise MapFormatError(f"the payload's image has {image.size} pixels, its header says {shape}")
    return image.reshape(shape)


def standard_codecs(resolution_m: float = 0.05) -> list[Codec]:
    """All baselines of the benchmark: each family and quality at each reduction, and the one-bit maps."""
    codecs: list[Codec] = [ImageMapCodec("raw16")]
    for reduction in (1, 2, 4, 8):
        codecs.append(ImageMapCodec("png16", 0, reduction))
        for family in ("jpeg", "webp", "jxl", "avif"):
            codecs += [ImageMapCodec(family, level, reduction) for level in (50, 20, 10, 5)]
        codecs += [ImageMapCodec("jpeg2000", psnr_db, reduction) for psnr_db in (34, 31, 28, 25)]
    return [*codecs, *(ThresholdMapCodec(factor * resolution_m) for factor in (4, 8, 16))]
