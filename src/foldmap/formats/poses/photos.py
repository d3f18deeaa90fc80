"""Known poses of photos in any layout: hloc text, TUM, 7-Scenes pose files, or a COLMAP model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.colmap.files import has_images_file
from foldmap.formats.colmap.scene import read_model_poses
from foldmap.formats.hloc.results import is_results, read_results
from foldmap.formats.kapture.text import read_images, read_records, read_trajectories
from foldmap.formats.listing import is_number
from foldmap.formats.name_times import are_seconds, natural_key, photo_times_s
from foldmap.formats.naming import naming
from foldmap.formats.poses.trajectories import read_tum_poses
from foldmap.formats.same_names import pair_names
from foldmap.formats.sweeps.kitti import read_kitti_poses
from foldmap.formats.textual import content_lines, number_rows
from foldmap.geometry.association import DEFAULT_LIMIT_S, associate_times
from foldmap.geometry.camera import Camera
from foldmap.geometry.se3 import SE3
from foldmap.types import DoubleArray
from foldmap.visual.features.photo_names import files_below
from foldmap.visual.scene.known_poses import KnownPoses

_SUFFIX = ".pose.txt"
Value = TypeVar("Value")


def read_image_poses(
    path: Path, names: Sequence[str], limit_s: float = DEFAULT_LIMIT_S, cameras: bool = True
) -> KnownPoses:
    """Read poses and give each to its photo; some photos may have none. TUM and 7-Scenes are taken as metres.

    They are in a text file ``name qw qx qy qz tx ty tz`` (camera_SE3_world, hloc), a TUM trajectory (world_SE3_camera;
    by time, to ``limit_s``, where most photos are named by a time of it, else one a photo in the order of names), KITTI
    rows (likewise in the order of names), a folder of ``STEM.pose.txt`` (7-Scenes, 4 x 4 world_SE3_camera;
    ``frame-000000.pose.txt`` for ``frame-000000.color.png``), or the folder of a COLMAP model or a kapture, whose
    cameras are taken too if wanted. Of a folder with a model and pose files the model is taken. Names are relative to
    the photos' folder (`pair_names`).
    """
    if (path / "sensors").is_dir():
        return _kapture(path, names, cameras)
    if path.is_dir():
        files = {} if has_images_file(path) else _pose_files(path)
        if files:
            return _seven_scenes(path, files, names)
        model = read_model_poses(path, cameras)
        return _named(path, names, "colmap", model.camera_SE3_world, model.cameras)
    first = next(content_lines(path), None)
    if first is None:
        raise PoseInputError(f"{path} holds no poses", "give one a photo")
    if first[1][0][0] in "{[":
        cure = "write rows t x y z qx qy qz qw, or name qw qx qy qz tx ty tz (camera from world, z ahead, y down)"
        raise PoseInputError(f"{path} is JSON, such as NeRF's transforms.json, which is not read", cure)
    if len(first[1]) == 8 and is_number(first[1][0]) and not is_results(path):
        return _tum(path, names, limit_s)
    if len(first[1]) in (12, 16) and all(map(is_number, first[1])):
        return _in_order(path, names, read_kitti_poses(path, None), "kitti", "")
    return _named(path, names, "hloc", read_results(path), {})


def _named(
    path: Path, names: Sequence[str], layout: str, poses: Mapping[str, DoubleArray], cameras: Mapping[str, Camera]
) -> KnownPoses:
    """Poses, and cameras, that go by names."""
    with naming(path):
        pairs = pair_names(names, poses)
    partly = sum(name != other for name, other in pairs.items())
    paired = f"{len(pairs)} of {len(names)} by name" + (f", {partly} of them by a part of it" if partly else "")
    return KnownPoses(_renamed(poses, pairs), _renamed(cameras, pairs), layout=layout, paired=paired)


def _pose_files(folder: Path) -> dict[str, Path]:
    """The 7-Scenes pose files below a folder, by their relative names without ``.pose.txt``."""
    found = (file for file in files_below(folder) if file.name.endswith(_SUFFIX))
    return {file.relative_to(folder).as_posix()[: -len(_SUFFIX)]: file for file in found}


def _kapture(folder: Path, names: Sequence[str], cameras: bool) -> KnownPoses:
    given: dict[str, Camera] = {}
    if cameras:
        given = {image.name: image.camera for image in read_images(folder) if image.camera is not None}
    taken = read_trajectories(folder)
    known = {name: taken[time, device] for time, device, name in read_records(folder) if (time, device) in taken}
    return _named(folder, names, "kapture", known, given)


def _seven_scenes(folder: Path, files: dict[str, Path], names: Sequence[str]) -> KnownPoses:
    def spellings(name: str) -> tuple[str, ...]:
        path = PurePosixPath(name)
        return str(path.with_name(path.name.split(".")[0] or path.name)), str(path.with_suffix(""))

    with naming(folder):
        pairs = pair_names(names, files, spellings)
    poses: dict[str, DoubleArray] = {}
    for name, stem in pairs.items():
        path = files[stem]
        rows = [row for _, row in number_rows(path, 4, "row of a 4 x 4 pose")]
        if len(rows) != 4:
            raise PoseInputError(f"{path} has {len(rows)} rows", "give the 4 rows of a 4 x 4 pose")
        with naming(path):
            poses[name] = SE3(np.array(rows)).inverse().matrix
    return KnownPoses(poses, metric=True, layout="7-scenes", paired=f"{len(pairs)} of {len(names)} by name")


def _tum(path: Path, names: Sequence[str], limit_s: float) -> KnownPoses:
    times_s, world_SE3_camera = read_tum_poses(path)
    inverse = [pose.inverse().matrix for pose in world_SE3_camera]
    said_s = photo_times_s(names, times_s)
    why = "whose names are no times of it"
    if said_s is not None:
        mine, theirs, apart_s = associate_times(said_s, times_s, limit_s)
        if 2 * len(mine) > len(names):
            timely = {names[row]: inverse[other] for row, other in zip(mine, theirs, strict=True)}
            most_s = float(np.abs(apart_s).max())
            paired = f"{len(mine)} of {len(names)} by time, at most {most_s:.6f} s apart (limit {limit_s:g} s)"
            return KnownPoses(timely, metric=True, layout="tum", paired=paired, by_time=True)
        near_s = float(np.abs(said_s[0] - times_s).min())
        why = f"{len(mine)} of which are named by a time of it within {limit_s:g} s ({names[0]!r}: {near_s:.6g} s off)"
    timed = said_s is not None and are_seconds(said_s)
    return _in_order(path, names, world_SE3_camera, "tum", why, timed)


def _in_order(
    path: Path, names: Sequence[str], world_SE3_camera: Sequence[SE3], layout: str, why: str, timed: bool = False
) -> KnownPoses:
    """Poses without names, one a photo in the natural order of names; refused of several folders in another order."""
    if len(world_SE3_camera) != len(names) or timed:
        of_tum = "name photos by their time in seconds and allow for clocks with --time-limit, or " if why else ""
        said = f"{path} holds {len(world_SE3_camera)} poses for {len(names)} photos" + (f", {why}" if why else "")
        raise PoseInputError(said, f"{of_tum}give one pose a photo in the order of names that are no times")
    in_order = sorted(names, key=lambda name: natural_key(PurePosixPath(name)))
    folders = {PurePosixPath(name).parent for name in names}
    if len(folders) > 1 and list(names) not in (in_order, sorted(names)):
        said = f"poses of {path} have no names, and photos of several folders are listed in another order than by name"
        raise PoseInputError(said, "give rows name qw qx qy qz tx ty tz (camera from world), or list photos by name")
    inverse = [pose.inverse().matrix for pose in world_SE3_camera]
    paired = f"{len(names)} of {len(names)} in the order of names"
    return KnownPoses(dict(zip(in_order, inverse, strict=True)), metric=True, layout=layout, paired=paired)


def _renamed(values: Mapping[str, Value], pairs: Mapping[str, str]) -> dict[str, Value]:
    """Values by the photos' names; those of no photo keep their own, for messages."""
    used = set(pairs.values())
    mine = {name: values[other] for name, other in pairs.items() if other in values}
    return mine | {other: value for other, value in values.items() if other not in used and other not in mine}
