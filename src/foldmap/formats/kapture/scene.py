"""kapture datasets as scene models."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.kapture.features import KaptureTable
from foldmap.formats.kapture.text import kapture_version, read_images, rows
from foldmap.formats.listing import ListedImage
from foldmap.formats.textual import numbers
from foldmap.geometry.camera import Camera
from foldmap.types import DoubleArray, FloatArray, IntArray
from foldmap.visual.source import SceneModel, Tracks


def read_kapture(folder: Path | str, keypoints_type: str | None = None) -> tuple[SceneModel, IntArray]:
    """Read the reconstruction of a kapture.

    Images without a pose are left out with their observations, then points that no image sees. A kapture without
    ``points3d.txt`` (sensors only) is a scene of images without points, to be triangulated. Of version 1.1 the
    observations of one ``keypoints_type`` are read; None where only one is observed. With the scene, which has no
    descriptors, comes int64 (O,), which keypoint of its image each observation is, for `join_features`.
    """
    folder = Path(folder)
    posed = [image for image in read_images(folder) if image.camera_SE3_world is not None]
    if not posed:
        raise MapInputError(f"{folder}: no image has a pose", "give trajectories.txt of the mapping images")
    points = _points(folder / "reconstruction" / "points3d.txt")
    keypoints_type = keypoints_type or _observed_type(folder)
    if len(points):
        point, image, keypoint = _observations(folder, posed, len(points), keypoints_type)
        order = np.lexsort((keypoint, image, point))
        point, image, keypoint = point[order], image[order], keypoint[order]
        xy_px = _places(KaptureTable(folder, "keypoints", keypoints_type), posed, image, keypoint)
    else:
        point = image = keypoint = np.zeros(0, dtype=np.int64)
        xy_px = np.zeros((0, 2), dtype=np.float32)
    seen, dense = np.unique(point, return_inverse=True)
    cameras, image_camera = _cameras(posed)
    poses = np.stack([each.camera_SE3_world for each in posed if each.camera_SE3_world is not None])
    tracks, names = Tracks(dense.astype(np.int64), image, xy_px, None), tuple(each.name for each in posed)
    return SceneModel(cameras, names, image_camera, poses, points[seen], tracks, feature="unknown"), keypoint


def _points(path: Path) -> DoubleArray:
    if not path.exists():
        return np.zeros((0, 3))
    found = [numbers(path, line, fields[:3], "X, Y, Z") for line, fields in rows(path, 3, "X, Y, Z, [R, G, B]")]
    return np.stack(found) if found else np.zeros((0, 3))


def _observed_type(folder: Path) -> str | None:
    """The type of keypoints that has observations, where that is one."""
    base, path = folder / "reconstruction" / "keypoints", folder / "reconstruction" / "observations.txt"
    if kapture_version(folder) == "1.0" or not path.is_file():
        return None
    there = {fields[1] for _, fields in rows(path, 2, "point3d_id, keypoints_type, [image_path, feature_id]*")}
    named = [name for name in there if "/" not in name and name not in ("", ".", "..") and (base / name).is_dir()]
    return named[0] if len(named) == 1 else None


def _observations(
    folder: Path, posed: list[ListedImage], points: int, keypoints_type: str | None
) -> tuple[IntArray, IntArray, IntArray]:
    """(point, image, keypoint) of the observations in images that have a pose."""
    path = folder / "reconstruction" / "observations.txt"
    typed = kapture_version(folder) != "1.0"
    wanted = KaptureTable(folder, "keypoints", keypoints_type).folder.name
    number = {image.name: at for at, image in enumerate(posed)}
    known = {image.name for image in read_images(folder)}
    found: list[tuple[int, int, int]] = []
    form = "point3d_id, keypoints_type, [image_path, feature_id]*" if typed else "point3d_id, [image_path, feature_id]*"
    for line, fields in rows(path, 2 if typed else 1, form):
        if typed and fields[1] != wanted:
            continue
        pairs = fields[2 if typed else 1 :]
        if len(pairs) % 2:
            raise MapInputError(f"{path}, line {line}: an image without keypoint", f"expected {form}")
        ids = [fields[0], *pairs[1::2]]
        odd = [text for text in ids if not (text.isdecimal() and len(text) < 16)]
        if odd:
            raise MapInputError(f"{path}, line {line}: {odd[0]!r} is no index", f"expected {form}")
        if int(fields[0]) >= points:
            raise MapInputError(f"{path}, line {line}: point {fields[0]} of {points}", "the kapture is damaged")
        for name, keypoint in zip(pairs[::2], pairs[1::2], strict=True):
            if name in number:
                found.append((int(fields[0]), number[name], int(keypoint)))
            elif name not in known:
                raise MapInputError(f"{path}, line {line}: image {name!r} has no record", "the kapture is damaged")
    table = np.array(found, dtype=np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def _places(table: KaptureTable, posed: list[ListedImage], image: IntArray, keypoint: IntArray) -> FloatArray:
    """Where the observations are, float32 (O, 2)."""
    xy_px = np.zeros((len(image), 2), dtype=np.float32)
    for at in np.unique(image):
        mine = image == at
        found = table.load(posed[at].name)
        last = keypoint[mine].max()
        if table.width < 2 or last >= len(found):
            said = f"{table.folder}: an observation is keypoint {last} of {posed[at].name!r}, which has {len(found)}"
            raise MapInputError(said, "give the keypoints that the points were made from")
        with np.errstate(over="ignore"):
            xy_px[mine] = found[keypoint[mine], :2]
        if not np.isfinite(xy_px[mine]).all():
            said = f"{posed[at].name}{table.suffix} of {table.folder} has keypoints that are no finite numbers"
            raise MapInputError(said, "extract them again")
    return xy_px


def _cameras(posed: list[ListedImage]) -> tuple[tuple[Camera, ...], IntArray]:
    """The different cameras (one object a device) and which image has which."""
    given = [image.camera for image in posed if image.camera is not None]
    cameras = {id(camera): camera for camera in given}
    number = {each: at for at, each in enumerate(cameras)}
    return tuple(cameras.values()), np.array([number[id(camera)] for camera in given], dtype=np.int64)
