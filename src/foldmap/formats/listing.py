"""Text files that name images: lines, cameras and poses in them, with errors that say where."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.errors import MapInputError, PoseInputError, WriteError
from foldmap.formats.colmap.files import OTHER_MODELS
from foldmap.formats.naming import naming, reading
from foldmap.formats.textual import numbers
from foldmap.geometry.camera import CAMERA_MODELS, Camera, require_plausible
from foldmap.geometry.quaternion import rigid_from_wxyz, wxyz_from_rigid
from foldmap.types import AnyArray, DoubleArray
from foldmap.visual.features.photo_names import OTHER_SUFFIXES, SUFFIXES

_MAX_BYTES = 1 << 32
_MODELS = {*CAMERA_MODELS, *OTHER_MODELS.values()}
_PHOTOS = SUFFIXES | OTHER_SUFFIXES
_POSE = "qw qx qy qz tx ty tz"


@dataclass(frozen=True)
class ListedImage:
    """An image of a dataset or a query list, as far as the list tells of it; its name is the path within its folder.

    The answer goes by ``query_id``, which images of one rig share: the image's name for single cameras. The transforms,
    float64 (4, 4), are where it was taken (ground truth of a query), and its extrinsics within the rig. Intrinsics are
    "given", of a focal length in "exif", or "guessed".
    """

    name: str
    camera: Camera | None = None
    camera_SE3_world: DoubleArray | None = None
    query_id: str = ""
    camera_SE3_rig: DoubleArray | None = None
    intrinsics: str = "given"

    def __post_init__(self) -> None:
        if not self.query_id:
            object.__setattr__(self, "query_id", self.name)


def content(path: Path | str, what: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, stripped line) of the lines that are neither blank nor ``#`` comments; UTF-8, up to 4 GiB.

    ``what`` the file should be is the cure.
    """
    return ((number, text) for number, text in _lines(Path(path), what) if not text.startswith("#"))


def _lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with reading(path, f"give {what}"):
            if path.stat().st_size > _MAX_BYTES:
                raise MapInputError(f"{path} is larger than 4 GiB", f"this cannot be {what}")
            with path.open(encoding="utf-8-sig") as lines:
                for number, line in enumerate(lines, start=1):
                    if text := line.strip():
                        yield number, text
    except UnicodeDecodeError as error:
        raise MapInputError(f"{path} is not UTF-8 text after line {number}", f"give {what}") from error


def named_lines(path: Path | str, what: str) -> Iterator[tuple[int, str]]:
    """As `content`, of a file whose lines begin with names of images; a comment that may be such a line is refused."""
    for line, text in _lines(Path(path), what):
        if not text.startswith("#"):
            yield line, text
            continue
        word = text.split()[0]
        if not word[1:].startswith("#") and PurePosixPath(word).suffix.lower() in _PHOTOS and len(word) > 1:
            cure = f"write ./{word} if that is a photo, or '# {word[1:]}' with a space if the line is to be left out"
            raise MapInputError(f"{path}, line {line}: {word!r} begins with #, as comments do", cure)


def split_camera(path: Path | str, line: int, text: str) -> tuple[str, list[str]]:
    """The name and the camera's words of ``name MODEL width height params...``; names may hold spaces.

    The camera begins at the last word that is a camera model. A line without one is a name, and numbers after it are
    left alone.
    """
    words = text.split()
    at = next((at for at in range(len(words) - 1, 0, -1) if words[at].upper() in _MODELS), 0)
    if at:
        name = text.strip()
        for word in reversed(words[at:]):
            name = name.removesuffix(word).rstrip()
        if words[at] not in _MODELS:
            raise MapInputError(f"{path}, line {line}: camera model {words[at]!r}", f"write {words[at].upper()}")
        return plain_name(name), words[at:]
    if len(words) == 1 and any(part.strip().upper() in _MODELS for part in text.split(",")[1:]):
        raise MapInputError(f"{path}, line {line}: words are separated by commas", "separate them by spaces")
    count = len(words)
    while count > 1 and is_number(words[count - 1]):
        count -= 1
    if len(words) - count >= 3 and count > 1:  # MODEL width height params...
        return plain_name(" ".join(words[: count - 1])), words[count - 1 :]
    return plain_name(text if len(words) - count < 2 else " ".join(words[:count])), []


def pose_of(path: Path | str, line: int, tokens: Sequence[str]) -> DoubleArray:
    """A rigid transform, float64 (4, 4), of ``qw qx qy qz tx ty tz``."""
    if len(tokens) != 7:
        raise PoseInputError(f"{path}, line {line}: {len(tokens)} numbers of a pose", f"expected {_POSE}")
    row = numbers(path, line, tokens, _POSE)
    with naming(f"{path}, line {line}"):
        return rigid_from_wxyz(row[:4], row[4:])


def camera_of(path: Path | str, line: int, tokens: Sequence[str]) -> Camera:
    """A camera of ``MODEL width height params...``."""
    if len(tokens) < 4:
        raise MapInputError(f"{path}, line {line}: the camera has no parameters", "expected MODEL width height params")
    with naming(f"{path}, line {line}", MapInputError):
        size = numbers(path, line, tokens[1:3], "the camera's width and height in px")
        params = numbers(path, line, tokens[3:], "the camera's parameters")
        if (size != np.round(size)).any():
            raise MapInputError(f"the image size is {size[0]:g} x {size[1]:g}", "give whole pixels")
        camera = Camera(tokens[0], int(size[0]), int(size[1]), params)
        require_plausible(camera)
        return camera


def camera_text(camera: Camera) -> str:
    """``MODEL width height params...`` with every digit that tells numbers apart."""
    return " ".join([camera.model, str(camera.width_px), str(camera.height_px), *map(repr, camera.params.tolist())])


def pose_numbers(pose: AnyArray) -> list[float]:
    """``qw qx qy qz tx ty tz`` of a rigid transform (4, 4)."""
    return [*wxyz_from_rigid(pose).tolist(), *np.asarray(pose, np.float64)[:3, 3].tolist()]


def pose_text(pose: AnyArray) -> str:
    """``qw qx qy qz tx ty tz`` with every digit that tells numbers apart."""
    return " ".join(map(repr, pose_numbers(pose)))


def one_word(name: str) -> str:
    """The name, once it can stand in a list of words: not empty, no white space, not like a comment."""
    if not name or name.split() != [name] or name.startswith("#"):
        raise WriteError(f"the name {name!r} cannot stand in a list", "rename the image without spaces")
    return name


def listed_name(name: str) -> str:
    """The name as it begins a line whose other words are numbers: inner spaces are no harm there."""
    if not is_listable(name):
        raise WriteError(f"the name {name!r} cannot stand in a list", "rename the image")
    return f"./{name}" if name.startswith("#") else name


def is_listable(name: str) -> bool:
    """Whether a name can begin a line whose other words are numbers."""
    return bool(name) and name.strip() == name and "\n" not in name and "\r" not in name


def plain_name(name: str) -> str:
    """The name without a leading ``./``."""
    while name.startswith("./") and len(name) > 2:
        name = name[2:].lstrip("/")
    return name


def is_number(word: str) -> bool:
    """Whether a word is a finite number."""
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def write_lines(path: Path | str, lines: Sequence[str]) -> None:
    """Write UTF-8 lines: the file is there whole, or as it was."""
    write_whole(path, "".join(f"{line}\n" for line in lines))


def unique(path: Path | str, names: Sequence[str]) -> None:
    """Refuse names of which one comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise MapInputError(f"{path} names {name!r} twice", "keep each name once")
        seen.add(name)
