"""7-Scenes, one scene, as its owners ship it (with its inner zip files unpacked).

::

    chess/{TrainSplit,TestSplit}.txt          sequence1, sequence2, ... a line
    chess/seq-01/frame-000000.{color.png,depth.png,pose.txt}
    7scenes_sfm_triangulated/chess/triangulated/   COLMAP model of training and test images (optional)

Poses are camera to world, in metres, of the depth camera and good to centimetres. The colour camera is not calibrated
by the owners; 525 px is the focal length that most take (the COLMAP models' own are about 526).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from benchmarks.datasets.layout import Dataset, need_folder
from foldmap.errors import MapInputError, PoseInputError
from foldmap.formats.listing import ListedImage, content
from foldmap.formats.textual import numbers
from foldmap.geometry.camera import Camera
from foldmap.geometry.quaternion import inverse_rigid
from foldmap.geometry.se3 import SE3
from foldmap.types import DoubleArray

THRESHOLDS = ((0.05, 5.0),)
"""Metres and degrees, as in the paper (which gives medians too)."""

_CURE = "give the folder of one scene, with TrainSplit.txt, TestSplit.txt and seq-XX/"
_COLMAP = "7scenes_sfm_triangulated"


def read_seven_scenes(folder: Path | str, focal_px: float = 525.0) -> Dataset:
    """Lay out one scene of 7-Scenes.

    Args:
        folder: of the scene.
        focal_px: focal length of the colour camera, for which the owners give none.

    Raises:
        MapInputError: a split, sequence or frame is missing or malformed.
        PoseInputError: a pose file holds no rigid pose.
    """
    folder = need_folder(Path(folder), _CURE)
    camera = Camera("SIMPLE_PINHOLE", 640, 480, np.array([focal_px, 320.0, 240.0]))
    train, test = _split(folder, "TrainSplit.txt"), _split(folder, "TestSplit.txt")
    if set(train) & set(test):
        raise MapInputError(f"{folder}: {min(set(train) & set(test))} is in both splits", "download the splits again")
    model = folder.resolve().parent / _COLMAP / folder.resolve().name / "triangulated"
    return Dataset(
        name=f"7scenes/{folder.resolve().name}",
        map_folder=folder,
        query_folder=folder,
        map_images=tuple(image for sequence in train for image in _frames(folder, sequence, camera)),
        queries=tuple(image for sequence in test for image in _frames(folder, sequence, camera)),
        model_folder=model if model.is_dir() else None,
        thresholds=THRESHOLDS,
    )


def read_camera_to_world(path: Path | str) -> DoubleArray:
    """Read ``frame-XXXXXX.pose.txt``, a 4x4 matrix world_SE3_camera, as camera_SE3_world.

    Raises:
        MapInputError: the file cannot be read.
        PoseInputError: it is no 4x4 matrix of a rigid pose.
    """
    tokens = [(line, token) for line, text in content(path, "a pose of 7-Scenes") for token in text.split()]
    if len(tokens) != 16:
        raise PoseInputError(f"{path} has {len(tokens)} numbers", "expected a 4x4 matrix")
    matrix = numbers(path, tokens[0][0], [token for _, token in tokens], "a 4x4 matrix").reshape(4, 4)
    if np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise PoseInputError(f"{path}: the last row is {matrix[3]}", "expected 0 0 0 1")
    try:
        return inverse_rigid(SE3(matrix).matrix)
    except PoseInputError as error:
        raise PoseInputError(f"{path}: {error.message}", error.cure) from error


def _split(folder: Path, name: str) -> list[str]:
    """Sequence folders of a split: ``sequence3`` is ``seq-03``."""
    sequences = []
    for line, text in content(folder / name, "a split of 7-Scenes"):
        found = re.fullmatch(r"sequence\s*(\d{1,4})", text)
        if found is None:
            raise MapInputError(f"{folder / name}, line {line}: {text!r}", "expected sequence1")
        sequences.append(f"seq-{int(found[1]):02d}")
    if not sequences:
        raise MapInputError(f"{folder / name} lists no sequence", _CURE)
    return sequences


def _frames(folder: Path, sequence: str, camera: Camera) -> list[ListedImage]:
    need_folder(folder / sequence, f"unpack {sequence}.zip")
    pictures = sorted((folder / sequence).glob("frame-*.color.png"))
    if not pictures:
        raise MapInputError(f"{folder / sequence} has no frame-*.color.png", f"unpack {sequence}.zip")
    images = []
    for path in pictures:
        pose = read_camera_to_world(path.with_name(path.name.replace(".color.png", ".pose.txt")))
        images.append(ListedImage(f"{sequence}/{path.name}", camera, pose))
    return images
