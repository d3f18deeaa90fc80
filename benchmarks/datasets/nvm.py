"""VisualSFM's NVM_V3 models, as Cambridge Landmarks comes with.

After the VisualSFM documentation: a camera line is ``name focal qw qx qy qz cx cy cz radial 0`` with world-to-camera
rotation and camera centre; a point line is ``x y z r g b count`` and ``image feature mx my`` for each measurement, in
pixels from the image's centre. VisualSFM undistorts the measurement, ``u = m (1 + r |m|^2)`` in focal lengths, where
COLMAP distorts the ray; the series of the inverse gives a RADIAL camera with ``k1 = -r, k2 = 3 r^2``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.listing import content
from foldmap.formats.textual import numbers
from foldmap.geometry.camera import Camera
from foldmap.geometry.quaternion import rigid_from_wxyz
from foldmap.types import DoubleArray, IntArray
from foldmap.visual.source import SceneModel, Tracks

_UNIT = 0.05
_WHAT = "a VisualSFM model (NVM_V3)"


def read_nvm(
    path: Path | str,
    size_px: Callable[[str], tuple[int, int]],
    rename: Callable[[str], str] = lambda name: name,
    points: bool = True,
) -> tuple[SceneModel, IntArray]:
    """Read the first model of an NVM file.

    Args:
        path: the text file.
        size_px: width and height of an image by (renamed) name: the file does not tell.
        rename: what the model's name of an image becomes (Cambridge writes ``.jpg`` and ships ``.png``).
        points: whether to read points, or poses and cameras only.

    Returns:
        The scene without descriptors, its points those that an image sees; int64 (O,), VisualSFM's feature index of
        each observation.

    Raises:
        MapInputError: naming file and line: another format, too few lines, malformed lines, an index out of range.
        PoseInputError: a line holds no numbers or no rotation.
    """
    path = Path(path)
    lines = content(path, _WHAT)
    _, text = _next(lines, path)
    if text.split()[0] != "NVM_V3":
        raise MapInputError(f"{path} does not start with NVM_V3", f"give {_WHAT}")
    if len(text.split()) > 1:
        raise MapInputError(f"{path} has fixed calibration in its first line", "save it without from VisualSFM")
    names, cameras, poses = _images(path, lines, size_px, rename)
    world, rows = _points(path, lines, len(names)) if points else (np.zeros((0, 3)), np.zeros((0, 5)))
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    seen, dense = np.unique(rows[:, 0].astype(np.int64), return_inverse=True)
    image = rows[:, 1].astype(np.int64)
    centre = np.array([camera.centre_px for camera in cameras]).reshape(-1, 2)
    scene = _scene(
        path,
        cameras=tuple(cameras),
        image_names=tuple(names),
        image_camera=np.arange(len(names), dtype=np.int64),
        camera_SE3_world=poses,
        points_world=world[seen],
        tracks=Tracks(dense.astype(np.int64), image, (rows[:, 3:5] + centre[image]).astype(np.float32), None),
        feature="sift",
    )
    return scene, rows[:, 2].astype(np.int64)


def _scene(path: Path, **parts: Any) -> SceneModel:
    try:
        return SceneModel(**parts)
    except MapInputError as error:
        raise MapInputError(f"{path}: {error.message}", error.cure) from error


def _images(
    path: Path,
    lines: Iterator[tuple[int, str]],
    size_px: Callable[[str], tuple[int, int]],
    rename: Callable[[str], str],
) -> tuple[list[str], list[Camera], DoubleArray]:
    names, cameras, wxyz, centres = [], [], [], []
    for _ in range(_count(path, lines, "images")):
        line, text = _next(lines, path)
        words = text.rsplit(maxsplit=10)  # a name may hold spaces
        if len(words) != 11:
            raise MapInputError(f"{path}, line {line}: {len(words)} words", "expected name f qw qx qy qz cx cy cz r 0")
        name = rename(words[0])
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise MapInputError(f"{path}, line {line}: image {name!r}", "give names within the image folder")
        row = numbers(path, line, words[1:], "f qw qx qy qz cx cy cz r 0")
        width, height = size_px(name)
        radial = row[8]
        try:
            params = np.array([row[0], width / 2, height / 2, -radial, 3 * radial**2])
            cameras.append(Camera("RADIAL", width, height, params))
        except MapInputError as error:
            raise MapInputError(f"{path}, line {line}: {error.message}", error.cure) from error
        names.append(name)
        wxyz.append(row[1:5])
        centres.append(row[5:8])
    if not names:
        raise MapInputError(f"{path} holds no image", f"give {_WHAT}")
    length = np.linalg.norm(wxyz, axis=1, keepdims=True)  # written with few digits, not always of length 1
    wrong = np.flatnonzero(np.abs(length[:, 0] - 1.0) > _UNIT)
    if len(wrong):
        at = int(wrong[0])
        raise MapInputError(
            f"{path}: the quaternion of image {names[at]!r} has length {length[at, 0]:.4g}",
            "save the model again, or drop that image",
        )
    poses = rigid_from_wxyz(np.array(wxyz) / length, np.zeros((len(names), 3)))
    poses[:, :3, 3] = -np.einsum("iab,ib->ia", poses[:, :3, :3], np.array(centres))
    return names, cameras, poses


def _points(path: Path, lines: Iterator[tuple[int, str]], images: int) -> tuple[DoubleArray, DoubleArray]:
    """Points (P, 3), and measurements (O, 5): point, image, feature, mx, my."""
    count = _count(path, lines, "points")
    world: list[DoubleArray] = []
    rows: list[DoubleArray] = []
    for at in range(count):
        line, text = _next(lines, path)
        row = numbers(path, line, text.split(), "x y z r g b count (image feature mx my)...")
        if len(row) < 7 or len(row) != 7 + 4 * row[6]:
            raise MapInputError(f"{path}, line {line}: {len(row)} numbers of a point", "the model is cut short")
        measured = row[7:].reshape(-1, 4)
        index = measured[:, :2]
        if (index != np.round(index)).any() or (index < 0).any() or (index > 1 << 40).any():
            raise MapInputError(f"{path}, line {line}: an index that is none", "the model is damaged")
        if len(measured) and measured[:, 0].max() >= images:
            raise MapInputError(f"{path}, line {line}: an image beyond the {images}", "the model is damaged")
        world.append(row[:3])
        rows.append(np.column_stack([np.full(len(measured), at), measured]))
    if not world:
        return np.zeros((0, 3)), np.zeros((0, 5))
    return np.stack(world), np.concatenate(rows)


def _count(path: Path, lines: Iterator[tuple[int, str]], what: str) -> int:
    line, text = _next(lines, path)
    if not text.isdecimal() or len(text) > 9:
        raise MapInputError(f"{path}, line {line}: {text[:40]!r} is no number of {what}", f"give {_WHAT}")
    return int(text)


def _next(lines: Iterator[tuple[int, str]], path: Path) -> tuple[int, str]:
    found = next(lines, None)
    if found is None:
        raise MapInputError(f"{path} ends early", "copy it again")
    return found
