"""Photos by their names: found in a folder, links followed, told from what is no photo or of a format not read."""

import os
from collections.abc import Iterator
from pathlib import Path

from foldmap.errors import MapInputError

OTHER_SUFFIXES = {".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".gif"}
"""Photos that are not read."""

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm"}
CONVERT = "convert them to JPEG or PNG"


def find_images(folder: Path) -> list[str]:
    """Names of all photos below a folder, relative to it, with slashes, sorted; linked folders are followed.

    `MapInputError` where there is no such folder, no photo in it, or a folder in it that cannot be read.
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
    """All files below a folder in the order of names, linked folders followed, each circle of links once.

    `MapInputError` where a folder cannot be read.
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
