"""Known poses of photos in any layout: hloc text, TUM, 7-Scenes pose files, or a COLMAP model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.colmap import read_model
from foldmap.formats.hloc_results import read_results
from foldmap.formats.textual import content_lines, number_rows
from foldmap.formats.tum import read_tum_poses
from foldmap.geometry.se3 import SE3
from foldmap.types import DoubleArray
from foldmap.visual.known_poses import KnownPoses

_SUFFIX = ".pose.txt"
_SAME_TIME_S = 1e-3


def read_image_poses(path: Path, names: Sequence[str]) -> KnownPoses:
    """Read poses and give each to its photo.

    Args:
        path: a text file ``name qw qx qy qz tx ty tz`` (camera_SE3_world, hloc), a TUM trajectory (world_SE3_camera; by
            time where photos are named by their time in seconds, else one a photo in the order of names), a folder of
            ``STEM.pose.txt`` (7-Scenes, 4 x 4 world_SE3_camera; ``frame-000000.pose.txt`` for
            ``frame-000000.color.png``), or the folder of a COLMAP model, whose cameras are taken too.
        names: of the photos.

    Returns:
        Poses by name; some photos may have none. TUM and 7-Scenes are taken as metres.

    Raises:
        PoseInputError: the file is of no known layout, or a line is wrong.
        MapInputError: the model cannot be read.
    """
    if path.is_dir():
        files = {found.name[: -len(_SUFFIX)]: found for found in sorted(path.rglob(f"*{_SUFFIX}"))}
        return _seven_scenes(files, names) if files else _colmap(path)
    first = next(content_lines(path), None)
    if first is None:
        raise PoseInputError(f"{path} holds no poses", "give one a photo")
    if len(first[1]) == 8 and _is_number(first[1][0]):
        return _tum(path, names)
    return KnownPoses(read_results(path), layout="hloc")


def _colmap(folder: Path) -> KnownPoses:
    scene = read_model(folder)
    cameras = {name: scene.camera_of(index) for index, name in enumerate(scene.image_names)}
    poses = dict(zip(scene.image_names, scene.camera_SE3_world, strict=True))
    return KnownPoses(poses, cameras, scene.metric, "colmap")


def _seven_scenes(files: dict[str, Path], names: Sequence[str]) -> KnownPoses:
    poses: dict[str, DoubleArray] = {}
    for name in names:
        base = PurePosixPath(name).name
        path = files.get(base.split(".")[0]) or files.get(PurePosixPath(base).stem)
        if path is None:
            continue
        rows = [row for _, row in number_rows(path, 4, "row of a 4 x 4 pose")]
        if len(rows) != 4:
            raise PoseInputError(f"{path} has {len(rows)} rows", "give the 4 rows of a 4 x 4 pose")
        try:
            poses[name] = SE3(np.array(rows)).inverse().matrix
        except PoseInputError as error:
            raise PoseInputError(f"{path}: {error.message}", error.cure) from error
    return KnownPoses(poses, metric=True, layout="7-scenes")


def _tum(path: Path, names: Sequence[str]) -> KnownPoses:
    times_s, world_SE3_camera = read_tum_poses(path)
    inverse = [pose.inverse().matrix for pose in world_SE3_camera]
    stems = [PurePosixPath(name).stem for name in names]
    if all(_is_number(stem) for stem in stems):
        nearest = {name: int(np.abs(times_s - float(stem)).argmin()) for name, stem in zip(names, stems, strict=True)}
        timely = {
            name: inverse[row]
            for (name, row), stem in zip(nearest.items(), stems, strict=True)
            if abs(times_s[row] - float(stem)) <= _SAME_TIME_S
        }
        if timely:
            return KnownPoses(timely, metric=True, layout="tum")
    if len(inverse) != len(names):
        raise PoseInputError(
            f"{path} holds {len(inverse)} poses for {len(names)} photos, whose names are no times of it",
            "give one pose a photo in the order of names, or name photos by their time in seconds",
        )
    return KnownPoses(dict(zip(names, inverse, strict=True)), metric=True, layout="tum")


def _is_number(word: str) -> bool:
    try:
        return bool(np.isfinite(float(word)))
    except ValueError:
        return False
