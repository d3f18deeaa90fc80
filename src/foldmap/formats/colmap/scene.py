"""COLMAP models, binary or text, old or with rigs: read to a `SceneModel`.

The reader is foldmap's own: it needs no pycolmap and answers damaged files with an error.
"""

from __future__ import annotations

from pathlib import Path

from foldmap.formats.colmap import binary as colmap_binary
from foldmap.formats.colmap import text as colmap_text
from foldmap.formats.colmap.files import find_model, model_suffix
from foldmap.formats.colmap.join import ColmapModel, join
from foldmap.formats.colmap.rigs import Frame, Rig, read_frames, read_rigs
from foldmap.formats.naming import naming
from foldmap.geometry.camera import Camera
from foldmap.visual.source import SceneModel

__all__ = [
    "ColmapModel", "Frame", "Rig", "find_model", "read_cameras", "read_frames", "read_model",
    "read_model_with_keypoints", "read_rigs",
]  # fmt: skip


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
