"""Scenes as COLMAP models, binary or text, for tests of what reads them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError, WriteError
from foldmap.formats.colmap.binary import OBSERVATION, POINT, heads
from foldmap.formats.colmap.files import KEYPOINT, MODEL_FILES, NO_POINT
from foldmap.geometry.camera import CAMERA_MODELS
from foldmap.geometry.quaternion import wxyz_from_rigid
from foldmap.types import AnyArray, IntArray
from foldmap.visual.source import SceneModel

_NO_ERROR = -1.0  # COLMAP's "not computed"
_BLOCK_POINTS = 1 << 17


def write_model(
    scene: SceneModel,
    folder: Path,
    keypoints: Sequence[AnyArray] | None = None,
    keypoint_index: IntArray | None = None,
    text: bool = False,
) -> None:
    """Write cameras, images and points3D into a folder, made if it is not there; ids count from 1.

    Args:
        scene: what to write; descriptors are not part of a COLMAP model.
        folder: where to.
        keypoints: all keypoints of each image, (N, 2) COLMAP pixels, in the scene's order of images. Without them an
            image's keypoints are its observations.
        keypoint_index: int64 (O,), which of its image's keypoints each observation is; needed with ``keypoints``.
        text: write .txt instead of .bin; COLMAP itself reads names with spaces only from .bin.

    Raises:
        MapInputError: keypoints do not fit the scene, or a name cannot be written.
        WriteError: the folder cannot be written, or holds files of another model that would be read with this one.
    """
    folder = Path(folder)
    _check_folder(folder, ".txt" if text else ".bin")
    for name in scene.image_names:
        _check_name(name, text)
    per_image, index = _records(scene, keypoints, keypoint_index)
    if text:
        parts = _text_cameras(scene), _text_images(scene, per_image), _text_points(scene, index)
    else:
        parts = _binary_cameras(scene), _binary_images(scene, per_image), _binary_points(scene, index)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in zip(MODEL_FILES, parts, strict=True):
            with (folder / f"{name}{'.txt' if text else '.bin'}").open("wb") as file:
                file.writelines(part)
    except OSError as error:
        raise WriteError(f"{folder} cannot be written: {error.strerror or error}", "choose another folder") from error


def _check_folder(folder: Path, suffix: str) -> None:
    ours = {f"{name}{suffix}" for name in MODEL_FILES}
    every = {f"{name}{end}" for name in (*MODEL_FILES, "rigs", "frames") for end in (".bin", ".txt")}
    others = sorted(name for name in every - ours if (folder / name).exists())
    if others:
        raise WriteError(f"{folder} already holds {others[0]} of another model", "choose an empty folder")


def _check_name(name: str, text: bool) -> None:
    spoiled = not name or "\0" in name or (text and (name != name.strip() or len(name.splitlines()) != 1))
    if not spoiled:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            spoiled = True
    if spoiled:
        raise MapInputError(f"an image has the name {name!r}, which COLMAP cannot hold", "rename the image")


def _records(
    scene: SceneModel, keypoints: Sequence[AnyArray] | None, keypoint_index: IntArray | None
) -> tuple[list[AnyArray], IntArray]:
    """The keypoint records of every image, and the keypoint of every observation."""
    tracks, images = scene.tracks, len(scene.image_names)
    by_image = np.argsort(tracks.image, kind="stable")
    first = np.searchsorted(tracks.image[by_image], np.arange(images + 1))
    if keypoints is None:
        index = np.empty(len(tracks), np.int64)
        index[by_image] = np.arange(len(tracks)) - np.repeat(first[:-1], np.diff(first))
    else:
        if keypoint_index is None or keypoint_index.shape != (len(tracks),) or len(keypoints) != images:
            raise MapInputError("keypoints do not fit the scene", "give those of every image, and an index of each row")
        index = np.asarray(keypoint_index, dtype=np.int64)
    records = []
    for image, name in enumerate(scene.image_names):
        rows = by_image[first[image] : first[image + 1]]
        xy_px = tracks.xy_px[rows] if keypoints is None else np.asarray(keypoints[image])
        if len(rows) and not (index[rows].min() >= 0 and index[rows].max() < len(xy_px)):
            raise MapInputError(f"an observation is beyond the {len(xy_px)} keypoints of {name!r}", "check the index")
        if len(np.unique(index[rows])) != len(rows):
            raise MapInputError(f"a keypoint of {name!r} has two observations", "check the index")
        record = np.empty(len(xy_px), KEYPOINT)
        record["x"], record["y"], record["point_id"] = xy_px[:, 0], xy_px[:, 1], NO_POINT
        record["point_id"][index[rows]] = tracks.point[rows] + 1
        records.append(record)
    return records, index


def _binary_cameras(scene: SceneModel) -> Iterable[bytes]:
    yield struct.pack("<Q", len(scene.cameras))
    for camera_id, camera in enumerate(scene.cameras, start=1):
        yield struct.pack("<IiQQ", camera_id, CAMERA_MODELS[camera.model][0], camera.width_px, camera.height_px)
        yield camera.params.astype("<f8").tobytes()


def _binary_images(scene: SceneModel, records: list[AnyArray]) -> Iterable[bytes]:
    yield struct.pack("<Q", len(scene.image_names))
    wxyz = wxyz_from_rigid(scene.camera_SE3_world)
    for image, name in enumerate(scene.image_names):
        shift = scene.camera_SE3_world[image, :3, 3]
        yield struct.pack("<I7dI", image + 1, *wxyz[image], *shift, scene.image_camera[image] + 1)
        yield name.encode("utf-8") + b"\0" + struct.pack("<Q", len(records[image]))
        yield records[image].tobytes()


def _binary_points(scene: SceneModel, index: IntArray) -> Iterable[bytes]:
    count, first = len(scene.points_world), scene.track_first
    yield struct.pack("<Q", count)
    for low in range(0, count, _BLOCK_POINTS):
        high = min(low + _BLOCK_POINTS, count)
        lengths, rows = np.diff(first[low : high + 1]), slice(first[low], first[high])
        points, seen = np.zeros(high - low, POINT), np.empty(first[high] - first[low], OBSERVATION)
        points["id"], points["xyz"] = np.arange(low, high) + 1, scene.points_world[low:high]
        points["error"], points["length"] = _NO_ERROR, lengths
        seen["image_id"], seen["keypoint"] = scene.tracks.image[rows] + 1, index[rows]
        is_head = heads(lengths)
        block = np.empty(len(is_head), np.uint8)
        block[is_head], block[~is_head] = points.view(np.uint8), seen.view(np.uint8)
        yield block.tobytes()


def _text_cameras(scene: SceneModel) -> Iterable[bytes]:
    yield f"# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]\n# Number of cameras: {len(scene.cameras)}\n".encode()
    for camera_id, camera in enumerate(scene.cameras, start=1):
        params = " ".join(map(repr, camera.params.tolist()))
        yield f"{camera_id} {camera.model} {camera.width_px} {camera.height_px} {params}\n".encode()


def _text_images(scene: SceneModel, records: list[AnyArray]) -> Iterable[bytes]:
    yield (
        "# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME\n# POINTS2D[] as X Y POINT3D_ID\n"
        f"# Number of images: {len(scene.image_names)}\n"
    ).encode()
    wxyz = wxyz_from_rigid(scene.camera_SE3_world)
    for image, name in enumerate(scene.image_names):
        pose = " ".join(map(repr, [*wxyz[image].tolist(), *scene.camera_SE3_world[image, :3, 3].tolist()]))
        yield f"{image + 1} {pose} {scene.image_camera[image] + 1} {name}\n".encode()
        yield (" ".join(f"{x!r} {y!r} {point}" for x, y, point in records[image].tolist()) + "\n").encode()


def _text_points(scene: SceneModel, index: IntArray) -> Iterable[bytes]:
    first = scene.track_first.tolist()
    count = len(scene.points_world)
    yield f"# POINT3D_ID X Y Z R G B ERROR TRACK[] as IMAGE_ID POINT2D_IDX\n# Number of points: {count}\n".encode()
    for point, (x, y, z) in enumerate(scene.points_world.tolist()):
        rows = slice(first[point], first[point + 1])
        pairs = zip((scene.tracks.image[rows] + 1).tolist(), index[rows].tolist(), strict=True)
        track = " ".join(f"{image} {keypoint}" for image, keypoint in pairs)
        yield f"{point + 1} {x!r} {y!r} {z!r} 0 0 0 {_NO_ERROR} {track}\n".encode()
