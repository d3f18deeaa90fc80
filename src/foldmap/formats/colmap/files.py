"""The files of a COLMAP model: where they are, and what they say, binary or text, before they are joined to a scene."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.naming import naming
from foldmap.geometry.camera import Camera
from foldmap.types import AnyArray, DoubleArray, IntArray

MODEL_FILES = ("cameras", "images", "points3D")


def find_model(folder: Path) -> Path:
    """The folder of the model: the given one, its ``sparse`` or its ``sparse/0``, the first that holds one."""
    partly = ""
    for place, suffix in _places(folder):
        missing = [name + suffix for name in MODEL_FILES if not (place / (name + suffix)).is_file()]
        if not missing:
            return place
        if len(missing) < len(MODEL_FILES):
            partly = partly or f"{place} lacks {' and '.join(missing)}"
    cure = "give a folder with cameras, images and points3D as .bin or .txt, itself or in sparse/ or sparse/0/"
    raise MapInputError(partly or f"{folder} holds no COLMAP model", cure)


def find_images_file(folder: Path) -> Path:
    """The images file of a model, binary before text, in the same places."""
    for place, suffix in _places(folder):
        if (place / f"images{suffix}").is_file():
            return place / f"images{suffix}"
    cure = "give a folder with images.bin or images.txt, itself or in sparse/ or sparse/0/"
    raise MapInputError(f"{folder} holds no COLMAP model", cure)


def has_images_file(folder: Path) -> bool:
    """Whether a folder holds a COLMAP model's images file, see `find_images_file`."""
    return any((place / f"images{suffix}").is_file() for place, suffix in _places(folder))


def model_suffix(folder: Path) -> str:
    """``.bin`` where the binary model is complete, else ``.txt``, as COLMAP chooses."""
    return ".bin" if all((folder / f"{name}.bin").is_file() for name in MODEL_FILES) else ".txt"


def _places(folder: Path) -> Iterator[tuple[Path, str]]:
    folder = Path(folder)
    if not folder.is_dir():
        raise MapInputError(f"there is no folder {folder}", "check the path of the scene")
    for place in (folder, folder / "sparse", folder / "sparse" / "0"):
        yield from ((place, suffix) for suffix in (".bin", ".txt"))


REWRITE = "copy the model again, or write it again with COLMAP"
NO_POINT = -1
KEYPOINT = np.dtype([("x", "<f8"), ("y", "<f8"), ("point_id", "<i8")])
"""A keypoint of images.bin: pixel, and the id of the point that it sees or `NO_POINT`."""


@dataclass(frozen=True)
class RawImages:
    """The images file, in its order: ids int64 (I,), poses `camera_SE3_world` as quaternions and translations.

    ``keypoints`` reads those of an image, an array of `KEYPOINT`.
    """

    ids: IntArray
    camera_ids: IntArray
    names: list[str]
    wxyz: DoubleArray
    translation_world: DoubleArray
    keypoints: Callable[[int], AnyArray]


@dataclass(frozen=True)
class RawPoints:
    """The points file, in its order: P points, how many observations each has, and all observations point by point."""

    ids: IntArray
    points_world: DoubleArray
    lengths: IntArray
    image_ids: IntArray
    keypoint: IntArray


OTHER_MODELS = {
    7: "FOV", 10: "THIN_PRISM_FISHEYE", 11: "RAD_TAN_THIN_PRISM_FISHEYE", 12: "SIMPLE_DIVISION", 13: "DIVISION",
    14: "SIMPLE_FISHEYE", 15: "FISHEYE", 16: "EUCM", 17: "EQUIRECTANGULAR",
}  # fmt: skip
"""Models of COLMAP that foldmap does not know, to be named in messages."""


def put_camera(
    path: Path, cameras: dict[int, Camera], camera_id: int, model: str, size_px: tuple[int, int], params: DoubleArray
) -> None:
    """Add a camera to those read so far; its id must be a new one within COLMAP's 32 bits."""
    if not 0 <= camera_id < 1 << 32:
        raise MapInputError(f"{path} has a camera of id {camera_id}", REWRITE)
    if camera_id in cameras:
        raise MapInputError(f"{path} lists camera {camera_id} twice", REWRITE)
    with naming(f"{path}, camera {camera_id}"):
        cameras[camera_id] = Camera(model, *size_px, params)
