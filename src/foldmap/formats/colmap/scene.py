"""COLMAP models, binary or text, old or with rigs: read to a `SceneModel`, or their poses alone.

The reader is foldmap's own: it needs no pycolmap and answers damaged files with an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.colmap import binary as colmap_binary
from foldmap.formats.colmap import text as colmap_text
from foldmap.formats.colmap.files import find_images_file, find_model, model_suffix
from foldmap.formats.colmap.join import ColmapModel, join, no_twins, poses_of
from foldmap.formats.listing import unique
from foldmap.formats.naming import naming
from foldmap.geometry.camera import Camera
from foldmap.types import DoubleArray
from foldmap.visual.source import SceneModel


def read_model(folder: Path, metric: bool = False, feature: str = "sift") -> SceneModel:
    """Read a scene without descriptors; see `read_model_with_keypoints`."""
    return read_model_with_keypoints(folder, metric, feature).scene


def read_model_with_keypoints(folder: Path, metric: bool = False, feature: str = "sift") -> ColmapModel:
    """Read a COLMAP model, without descriptors, and the keypoint that each observation is.

    Binary files are preferred to text, as COLMAP does. Poses are those of the images file, which models with rigs and
    frames keep complete. Points and images must tell the same of each other. The folder is that of the model or of the
    scene (`find_model`); ``metric`` is whether world units are metres, which a COLMAP model does not say.
    """
    folder = find_model(folder)
    suffix = model_suffix(folder)
    reader = colmap_binary if suffix == ".bin" else colmap_text
    paths = (folder / f"images{suffix}", folder / f"points3D{suffix}")
    images, points = reader.read_images(paths[0]), reader.read_points(paths[1])
    with naming(folder):
        return join(paths, read_cameras(folder), images, points, metric, feature)


def read_cameras(folder: Path) -> dict[int, Camera]:
    """Read the cameras of a model by their ids; errors as `read_model_with_keypoints`."""
    folder = find_model(folder)
    suffix = model_suffix(folder)
    path = folder / f"cameras{suffix}"
    return colmap_binary.read_cameras(path) if suffix == ".bin" else colmap_text.read_cameras(path)


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
