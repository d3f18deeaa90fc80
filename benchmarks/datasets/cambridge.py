"""Cambridge Landmarks, one scene, as its owners ship it.

::

    ShopFacade/{seq1,seq2,...}/frame00001.png
    ShopFacade/dataset_{train,test}.txt       ImageFile, Camera Position [X Y Z W P Q R]
    ShopFacade/reconstruction.nvm             of training and test images, names in .jpg
    CambridgeLandmarks_Colmap_Retriangulated_1024px/ShopFacade/model_train/   COLMAP, for images of 1024 px (optional)

Focal lengths come from the VisualSFM model, in which the test images took part: a stranger's is less well known.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from benchmarks.datasets.layout import Dataset, need_folder, need_images, size_px
from benchmarks.datasets.nvm import read_nvm
from foldmap.errors import MapInputError
from foldmap.formats.listing import ListedImage, content, unique
from foldmap.formats.textual import numbers
from foldmap.geometry.camera import Camera
from foldmap.geometry.quaternion import rigid_from_wxyz
from foldmap.types import DoubleArray, IntArray
from foldmap.visual.source import SceneModel

THRESHOLDS: tuple[tuple[float, float], ...] = ()
"""The paper reports medians only."""

_CURE = "give the folder of one scene, with dataset_train.txt, dataset_test.txt and reconstruction.nvm"
_COLMAP = "CambridgeLandmarks_Colmap_Retriangulated_1024px"


def read_cambridge(folder: Path | str, check_images: bool = True) -> Dataset:
    """Lay out one scene of Cambridge Landmarks.

    Args:
        folder: of the scene.
        check_images: whether each image must lie in the folder.

    Raises:
        MapInputError: a file or an image is missing or malformed, or a query is not in the model that tells its focal
            length.
        PoseInputError: a line holds no pose.
    """
    folder = need_folder(Path(folder), _CURE)
    train = read_cambridge_poses(folder / "dataset_train.txt")
    test = read_cambridge_poses(folder / "dataset_test.txt")
    if check_images:
        need_images(folder, [*train, *test])
    scene, _ = read_cambridge_nvm(folder, points=False)
    cameras = {name: scene.camera_of(at) for at, name in enumerate(scene.image_names)}
    model = folder.resolve().parent / _COLMAP / folder.resolve().name / "model_train"
    return Dataset(
        name=f"cambridge/{folder.resolve().name}",
        map_folder=folder,
        query_folder=folder,
        map_images=_listed(folder, train, cameras),
        queries=_listed(folder, test, cameras),
        model_folder=model if model.is_dir() else None,
        thresholds=THRESHOLDS,
    )


def read_cambridge_poses(path: Path | str) -> dict[str, DoubleArray]:
    """Read ``dataset_train.txt`` or ``dataset_test.txt``.

    The three lines of the head are told by having no seven numbers after the name.

    Returns:
        ``camera_SE3_world`` by name of image: W P Q R turn the world into the camera, X Y Z is the camera's centre.

    Raises:
        MapInputError: the file cannot be read, lists no image or one twice.
        PoseInputError: a line holds no pose.
    """
    poses: dict[str, DoubleArray] = {}
    names: list[str] = []
    for line, text in content(path, "a pose list of Cambridge Landmarks"):
        if line <= 3 and (text.startswith(("Visual", "ImageFile")) or len(text.split()) != 8):
            continue
        words = text.split()
        if len(words) != 8:
            raise MapInputError(f"{path}, line {line}: {len(words)} words", "expected image X Y Z W P Q R")
        row = numbers(path, line, words[1:], "X Y Z W P Q R")
        length = float(np.linalg.norm(row[3:]))
        pose = rigid_from_wxyz(row[3:] / (length if abs(length - 1) < 0.05 else 1), np.zeros(3))
        pose[:3, 3] = -pose[:3, :3] @ row[:3]
        names.append(words[0])
        poses[words[0]] = pose
    unique(path, names)
    if not poses:
        raise MapInputError(f"{path} lists no image", _CURE)
    return poses


def read_cambridge_nvm(folder: Path | str, points: bool = True) -> tuple[SceneModel, IntArray]:
    """Read ``reconstruction.nvm`` of a scene, its images called as they are shipped (``.png``).

    All images took part: take the test images out with `SceneModel.without_images` for an honest map.

    Returns:
        The scene, in metres; int64 (O,), VisualSFM's feature index of each observation.

    Raises:
        MapInputError: the model is malformed, or an image is missing.
        PoseInputError: a line holds no numbers or no rotation.
    """
    folder = Path(folder)
    scene, index = read_nvm(
        folder / "reconstruction.nvm",
        lambda name: size_px(folder / name),
        lambda name: PurePosixPath(name).with_suffix(".png").as_posix(),
        points,
    )
    return scene, index


def _listed(folder: Path, poses: dict[str, DoubleArray], cameras: dict[str, Camera]) -> tuple[ListedImage, ...]:
    missing = [name for name in poses if name not in cameras]
    if missing:
        raise MapInputError(f"reconstruction.nvm of {folder} has no image {missing[0]!r}", _CURE)
    return tuple(ListedImage(name, cameras[name], pose) for name, pose in poses.items())
