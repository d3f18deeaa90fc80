"""What the files of a COLMAP model say, before they are joined to a scene: shared by binary and text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.naming import naming
from foldmap.geometry.camera import Camera
from foldmap.types import AnyArray, DoubleArray, IntArray

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
