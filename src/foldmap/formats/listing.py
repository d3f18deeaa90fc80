"""Text files that name images: lines, cameras and poses in them, with errors that say where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.errors import InputError, MapInputError, PoseInputError, WriteError
from foldmap.geometry.camera import Camera
from foldmap.geometry.quaternion import rigid_from_wxyz, wxyz_from_rigid
from foldmap.types import AnyArray, DoubleArray

_MAX_BYTES = 1 << 32


@dataclass(frozen=True)
class ListedImage:
    """An image of a dataset or a query list, as far as the list tells of it.

    Attributes:
        name: path of the image within its folder.
        camera: intrinsics, or None where the list has none.
        camera_SE3_world: float64 (4, 4), where it was taken (ground truth of a query), or None where unknown.
        query_id: what the answer goes by; images of one rig share it. The image's name for single cameras.
        camera_SE3_rig: float64 (4, 4), extrinsics within the rig, or None for a single camera.
    """

    name: str
    camera: Camera | None = None
    camera_SE3_world: DoubleArray | None = None
    query_id: str = ""
    camera_SE3_rig: DoubleArray | None = None

    def __post_init__(self) -> None:
        if not self.query_id:
            object.__setattr__(self, "query_id", self.name)


def content(path: Path | str, what: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, stripped line) of the lines that are neither blank nor ``#`` comments.

    Args:
        path: a UTF-8 text file.
        what: what the file should be, for messages.

    Raises:
        MapInputError: missing, a folder, larger than 4 GiB, or not UTF-8 text.
    """
    path = Path(path)
    number = 0
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MapInputError(f"{path} is larger than 4 GiB", f"this cannot be {what}")
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                text = line.strip()
                if text and not text.startswith("#"):
                    yield number, text
    except OSError as error:
        raise MapInputError(f"{path} cannot be read: {error.strerror or error}", f"give {what}") from error
    except UnicodeDecodeError as error:
        raise MapInputError(f"{path} is not UTF-8 text after line {number}", f"give {what}") from error


def numbers(path: Path | str, line: int, tokens: Sequence[str], what: str) -> DoubleArray:
    """Finite float64 numbers of a line.

    Raises:
        PoseInputError: naming file, line and the token that is none.
    """
    try:
        row = np.array([float(token) for token in tokens])
    except ValueError as error:
        raise PoseInputError(f"{path}, line {line}: {error}", f"expected {what}") from error
    if not np.isfinite(row).all():
        raise PoseInputError(f"{path}, line {line}: NaN or infinite entries", "remove that line")
    return row


def pose_of(path: Path | str, line: int, tokens: Sequence[str]) -> DoubleArray:
    """A rigid transform, float64 (4, 4), of ``qw qx qy qz tx ty tz``.

    Raises:
        PoseInputError: naming file and line: not seven numbers, or no unit quaternion.
    """
    if len(tokens) != 7:
        raise PoseInputError(f"{path}, line {line}: {len(tokens)} numbers of a pose", "expected qw qx qy qz tx ty tz")
    row = numbers(path, line, tokens, "qw qx qy qz tx ty tz")
    try:
        return rigid_from_wxyz(row[:4], row[4:])
    except PoseInputError as error:
        raise PoseInputError(f"{path}, line {line}: {error.message}", error.cure) from error


def camera_of(path: Path | str, line: int, tokens: Sequence[str]) -> Camera:
    """A camera of ``MODEL width height params...``.

    Raises:
        MapInputError: naming file and line: no parameters, an unknown model, or numbers that are none.
    """
    if len(tokens) < 4:
        raise MapInputError(f"{path}, line {line}: the camera has no parameters", "expected MODEL width height params")
    try:
        size = numbers(path, line, tokens[1:3], "the camera's width and height in px")
        params = numbers(path, line, tokens[3:], "the camera's parameters")
        if (size != np.round(size)).any():
            raise MapInputError(f"the image size is {size[0]:g} x {size[1]:g}", "give whole pixels")
        return Camera(tokens[0], int(size[0]), int(size[1]), params)
    except InputError as error:
        at = "" if error.message.startswith(str(path)) else f"{path}, line {line}: "
        raise MapInputError(f"{at}{error.message}", error.cure) from error


def camera_text(camera: Camera) -> str:
    """``MODEL width height params...`` with every digit that tells numbers apart."""
    params = " ".join(repr(float(value)) for value in camera.params)
    return f"{camera.model} {camera.width_px} {camera.height_px} {params}"


def pose_text(pose: AnyArray) -> str:
    """``qw qx qy qz tx ty tz`` with every digit that tells numbers apart."""
    values = np.concatenate([wxyz_from_rigid(pose), np.asarray(pose, dtype=np.float64)[:3, 3]])
    return " ".join(repr(float(value)) for value in values)


def one_word(name: str) -> str:
    """The name, once it can stand in a list of words.

    Raises:
        WriteError: it is empty, has white space, or starts like a comment.
    """
    if not name or name.split() != [name] or name.startswith("#"):
        raise WriteError(f"the name {name!r} cannot stand in a list", "rename the image without spaces")
    return name


def write_lines(path: Path | str, lines: Sequence[str]) -> None:
    """Write UTF-8 lines.

    Raises:
        WriteError: the file cannot be written.
    """
    try:
        write_whole(path, "".join(f"{line}\n" for line in lines))
    except UnicodeEncodeError as error:
        raise WriteError(f"{path} cannot be written: {error}", "check the folder and its rights") from error


def unique(path: Path | str, names: Sequence[str]) -> None:
    """Check that no name comes twice.

    Raises:
        MapInputError: naming the first that does.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise MapInputError(f"{path} names {name!r} twice", "keep each name once")
        seen.add(name)
