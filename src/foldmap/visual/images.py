"""Photos: found in a folder, decoded to 8 bits as COLMAP decodes them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from foldmap.errors import MapInputError
from foldmap.types import AnyArray, ByteArray

OTHER_SUFFIXES = {".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".gif"}
"""Photos that are not read."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm"}
CONVERT = "convert them to JPEG or PNG"
_LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
"""Rec. 709, which COLMAP uses; Pillow's own grey is Rec. 601 and moves keypoints."""


def find_images(folder: Path) -> list[str]:
    """Names of all photos below a folder, relative to it, with slashes, sorted; linked folders are followed.

    Raises:
        MapInputError: there is no such folder, no photo in it, or a folder in it cannot be read.
    """
    if not folder.is_dir():
        raise MapInputError(f"there is no folder {folder}", "give a folder of photos")
    names = _named(folder, SUFFIXES)
    if not names:
        others = _named(folder, OTHER_SUFFIXES)
        if others:
            raise MapInputError(f"{folder} holds photos like {others[0]!r}, which are not read", CONVERT)
        raise MapInputError(f"there are no photos in {folder}", f"give files ending in {', '.join(sorted(SUFFIXES))}")
    return names


def find_other_images(folder: Path) -> list[str]:
    """Names of the photos below a folder that are in formats which are not read, sorted."""
    return _named(folder, OTHER_SUFFIXES)


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, linked folders followed, each circle of links once, in the order of names.

    Raises:
        MapInputError: a folder cannot be read.
    """

    def walk(place: Path, above: tuple[str, ...]) -> Iterator[Path]:
        here = os.path.realpath(place)
        if here in above:
            return
        try:
            entries = sorted(place.iterdir())
        except OSError as error:
            raise MapInputError(f"{place} cannot be read: {error.strerror}", "check its rights") from error
        for entry in entries:
            if entry.is_dir():
                yield from walk(entry, (*above, here))
            elif entry.is_file() or entry.is_symlink():  # a link that leads nowhere is a file that cannot be read
                yield entry

    return walk(Path(folder), ())


def _named(folder: Path, suffixes: set[str]) -> list[str]:
    found = (path for path in files_below(folder) if path.suffix.lower() in suffixes)
    return sorted(path.relative_to(folder).as_posix() for path in found if not path.name.startswith("."))


def read_image(path: Path) -> ByteArray:
    """Decode a photo.

    Pixels stay where the file has them: EXIF orientation is not applied, as in COLMAP. Alpha is dropped, 16 bits are
    scaled to 8.

    Returns:
        uint8 (H, W) where the photo is grey, else (H, W, 3) RGB.

    Raises:
        MapInputError: it cannot be read, is cut short, or is no photo; the message names it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                pixels = _decoded(image)
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MapInputError(f"{path} is no photo: {error}", "remove it from the folder") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise MapInputError(f"{path} cannot be decoded: {error}", "copy it again, or remove it") from error
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if pixels.dtype.kind not in "ui" or pixels.min() < 0 or pixels.max() > 65535:
        raise MapInputError(f"{path} has {pixels.dtype} pixels", "convert it to 8 or 16 bits")
    return np.asarray((pixels.astype(np.uint32) + 128) // 257, dtype=np.uint8)


def grey(image: ByteArray) -> ByteArray:
    """Grey of an image as COLMAP computes it, uint8 (H, W)."""
    if image.ndim == 2:
        return np.ascontiguousarray(image)
    return np.asarray(np.floor(image.astype(np.float32) @ _LUMA + np.float32(0.5)), dtype=np.uint8)


def image_size_px(image: ByteArray) -> tuple[int, int]:
    """Width and height."""
    return int(image.shape[1]), int(image.shape[0])


def _decoded(image: Image.Image) -> AnyArray:
    if image.mode in ("L", "RGB") or image.mode.startswith("I"):
        return np.asarray(image)
    if image.mode == "F":
        return np.asarray(image)
    if image.mode in ("1", "LA"):
        return np.asarray(image.convert("L" if image.mode == "1" else "LA").getchannel(0))
    return np.asarray(image.convert("RGBA"))[..., :3]
