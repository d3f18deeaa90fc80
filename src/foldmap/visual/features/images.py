"""Photos decoded to 8 bits as COLMAP decodes them."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from foldmap.errors import MapInputError
from foldmap.types import AnyArray, ByteArray

_LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
"""Rec. 709, which COLMAP uses; Pillow's own grey is Rec. 601 and moves keypoints."""

_EXIF_MAKE, _EXIF_MODEL, _EXIF_ORIENTATION, _EXIF_SHOT = 0x010F, 0x0110, 0x0112, 0x8769
_EXIF_FOCAL, _EXIF_LENS = (0x920A, 0xA405), (0xA404, 0xA434)  # in mm, as of 35 mm film; digital zoom, lens
_TWELVE_BITS = 1 << 12
"""Cameras of 10 or 12 bits write their values as they are into files of 16, of which 8 bits keep next to nothing."""
_SCALED = 256
"""A dark photo of 8 bits that was scaled to 16 has only multiples of this, or of 257."""


def read_image(path: Path) -> ByteArray:
    """Decode a photo: uint8 (H, W) where it is grey, else (H, W, 3) RGB.

    Pixels stay where the file has them: EXIF orientation is not applied, as in COLMAP. Alpha is dropped, 16 bits are
    scaled to 8. `MapInputError` where it cannot be read, is cut short, or is no photo.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                pixels = _decoded(image, str(path))
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MapInputError(
            f"{path} is no photo: {error}", "remove it from the folder, or convert it to JPEG"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise MapInputError(f"{path} cannot be decoded: {error}", "copy it again, or remove it") from error
    return _as_bytes(pixels, str(path))


def read_image_bytes(payload: bytes, most_px: int, name: str = "the photo") -> ByteArray:
    """As `read_image`, of a stranger's JPEG, PNG or WebP of at most so many pixels, which its head must say first."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(payload), formats=("JPEG", "PNG", "WEBP")) as image:
                width, height = image.size
                if width * height > most_px:
                    said = f"{name} has {width} x {height} pixels, more than {most_px:,}"
                    raise MapInputError(said, "send it smaller, with the intrinsics of that size")
                pixels = _decoded(image, name)
    except MapInputError:
        raise
    except Image.DecompressionBombError as error:
        raise MapInputError(f"{name} has far more pixels than {most_px:,}", "send it smaller") from error
    except UnidentifiedImageError as error:
        raise MapInputError(f"{name} is no JPEG, PNG or WebP", "send the bytes of an image file") from error
    except Exception as error:  # decoders raise whatever hostile bytes lead them to
        raise MapInputError(f"{name} cannot be decoded: {error}"[:200], "send it again") from error
    return _as_bytes(pixels, name)


def is_turned(payload: bytes) -> bool:
    """Whether the EXIF of an image file says that it is to be turned or mirrored, which its pixels are not."""
    try:
        with Image.open(io.BytesIO(payload)) as image:
            return int(image.getexif().get(_EXIF_ORIENTATION, 1)) > 1
    except Exception:  # hostile bytes, see `read_image_bytes`
        return False


def _as_bytes(pixels: AnyArray, name: str) -> ByteArray:
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    wide_bytes = pixels.dtype.itemsize > 2 and pixels.max() <= 255  # at 16 bits all would be black
    if pixels.dtype.kind not in "ui" or pixels.min() < 0 or pixels.max() > 65535 or wide_bytes:
        raise MapInputError(f"{name} has {pixels.dtype} pixels", "convert it to 8 or 16 bits")
    if 0 < pixels.max() < _TWELVE_BITS and np.gcd.reduce(pixels, axis=None) < _SCALED:
        raise _too_dark(name, f"{pixels.max():,} of 65,535")
    return np.asarray((pixels.astype(np.uint32) + 128) // 257, dtype=np.uint8)


def _too_dark(name: str, most: str) -> MapInputError:
    cure = "multiply what has 12 bits by 16: it is next to black as it stands; save a dark photo with 8 bits"
    return MapInputError(f"{name} has 16 bits, and no pixel beyond {most}", cure)


def grey(image: ByteArray) -> ByteArray:
    """Grey of an image as COLMAP computes it, uint8 (H, W)."""
    if image.ndim == 2:
        return np.ascontiguousarray(image)
    return np.asarray(np.floor(image.astype(np.float32) @ _LUMA + np.float32(0.5)), dtype=np.uint8)


def image_size_px(image: ByteArray) -> tuple[int, int]:
    """Width and height."""
    return int(image.shape[1]), int(image.shape[0])


def scaled_size_px(width: int, height: int, side_px: int) -> tuple[int, int]:
    """Width and height once the longer side is at most ``side_px``, rounded as COLMAP does."""
    longer = max(width, height)
    if longer <= side_px:
        return width, height
    return max(1, int(width * (side_px / longer) + 0.5)), max(1, int(height * (side_px / longer) + 0.5))


def check_image(image: ByteArray) -> None:
    """Refuse what is no 8-bit image, naming shape and type."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise MapInputError(f"an image of shape {image.shape}, {image.dtype}", "give uint8 (H, W) or (H, W, 3)")
    if min(image.shape[:2]) < 16:
        raise MapInputError(f"an image of {image.shape[1]} x {image.shape[0]} px", "give at least 16 x 16 px")


def photo_size_px(path: Path) -> tuple[int, int]:
    """Width and height of a photo, from its head; `MapInputError` where it cannot be read."""
    with _heading(path) as image:
        return int(image.width), int(image.height)


def write_stand_in(path: Path, file: IO[bytes]) -> None:
    """Write a blank JPEG of a photo's size with its EXIF, for what reads those alone, and not the photo's format."""
    with _heading(path) as image:
        Image.new("L", image.size).save(file, "JPEG", exif=image.getexif())
    file.flush()


def exif_camera(path: Path) -> tuple[str, ...] | None:
    """Make, model, lens and focal lengths that a photo's EXIF names: photos that agree in them are of one camera.

    None where it names no model or no focal length, or cannot be read.
    """
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            shot = exif.get_ifd(_EXIF_SHOT)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return None
    if not exif.get(_EXIF_MODEL) or not any(shot.get(tag) for tag in _EXIF_FOCAL):
        return None
    said = [exif.get(tag, "") for tag in (_EXIF_MAKE, _EXIF_MODEL)]
    return tuple(
        str(word).strip("\0 ") for word in [*said, *(shot.get(tag, "") for tag in (*_EXIF_FOCAL, *_EXIF_LENS))]
    )


@contextmanager
def _heading(path: Path) -> Iterator[Image.Image]:
    """A photo that was opened, of which the head alone is read."""
    try:
        with Image.open(path) as image:
            yield image
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise MapInputError(f"{path} cannot be read: {error}", "copy it again, or leave it out of the list") from error


def _decoded(image: Image.Image, name: str) -> AnyArray:
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        return np.asarray(image)
    if image.mode in ("1", "LA"):
        return np.asarray((image.convert("L") if image.mode == "1" else image).getchannel(0))
    wide = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGBA"))[..., :3]
    if wide and 0 < pixels.max() < _TWELVE_BITS >> 8:  # Pillow gives the upper byte of colours alone
        raise _too_dark(name, f"{pixels.max()} of 255 in its upper byte")
    return pixels
