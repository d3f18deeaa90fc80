"""Only the poses of a COLMAP model, and its cameras where they are wanted: its points may be as they like."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.colmap import binary as colmap_binary
from foldmap.formats.colmap import text as colmap_text
from foldmap.formats.colmap.files import find_images_file
from foldmap.formats.colmap.join import no_twins, poses_of
from foldmap.formats.listing import unique
from foldmap.geometry.camera import Camera
from foldmap.types import DoubleArray


@dataclass(frozen=True)
class ModelPoses:
    """Images of a model: camera_SE3_world, float64 (4, 4) by name, and cameras by name where they were wanted."""

    camera_SE3_world: dict[str, DoubleArray]
    cameras: dict[str, Camera]


def read_model_poses(folder: Path, cameras: bool = False) -> ModelPoses:
    """Poses of a COLMAP model, binary or text; and its cameras, which otherwise may be of any model, or missing."""
    path = find_images_file(folder)
    reader = colmap_binary if path.suffix == ".bin" else colmap_text
    images = reader.read_images(path)
    if not images.names:
        raise MapInputError(f"{path} holds no images", "give a model with registered images")
    no_twins(path, "image", images.ids)
    unique(path, images.names)
    poses = poses_of(path, tuple(images.names), images.wxyz, images.translation_world)
    given: dict[str, Camera] = {}
    if cameras:
        listed = reader.read_cameras(path.with_name(f"cameras{path.suffix}"))
        for name, camera_id in zip(images.names, images.camera_ids.tolist(), strict=True):
            if camera_id not in listed:
                raise MapInputError(f"{path}: image {name!r} has camera {camera_id}, which is not listed", "list it")
            given[name] = listed[camera_id]
    return ModelPoses(dict(zip(images.names, poses, strict=True)), given)


def model_radius_world(folder: Path) -> float:
    """The radius of a model's points, as `SceneModel.radius_world`; their tracks are not looked at."""
    images = find_images_file(folder)
    path = images.with_name(f"points3D{images.suffix}")
    reader = colmap_binary if path.suffix == ".bin" else colmap_text
    points = reader.read_points(path).points_world
    if not len(points) or not np.isfinite(points).all():
        raise MapInputError(f"{path} holds no points, or some that are not finite", "give another --unit")
    return float(np.percentile(np.linalg.norm(points - np.median(points, axis=0), axis=1), 80))
