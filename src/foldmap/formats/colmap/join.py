"""Cameras, images and points of a COLMAP model become one scene, if they tell the same story."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foldmap.errors import FoldmapError, MapInputError
from foldmap.formats.colmap.files import NO_POINT, REWRITE, RawImages, RawPoints
from foldmap.formats.naming import naming
from foldmap.geometry.camera import Camera
from foldmap.geometry.quaternion import rigid_from_wxyz
from foldmap.types import AnyArray, BoolArray, DoubleArray, FloatArray, IntArray
from foldmap.visual.source import SceneModel, Tracks

_FARTHEST_WORLD = 1e12
_FARTHEST_PX = 1e7
_MISMATCH = "the files are not of one model, or one is damaged: write the model again with COLMAP"


@dataclass(frozen=True)
class ColmapModel:
    """A scene, and what ties it to the files that it came from.

    Images are in order of name, points in order of id, each point's observations in order of image and keypoint.
    ``keypoint_index`` int64 (O,) is which keypoint of its image each observation is: a row of the image's features. The
    ids are COLMAP's, of the scene's cameras (ascending), images and points (ascending).
    """

    scene: SceneModel
    keypoint_index: IntArray
    camera_ids: IntArray
    image_ids: IntArray
    point_ids: IntArray


def join(
    paths: tuple[Path, Path], cameras: dict[int, Camera], images: RawImages, points: RawPoints, metric: bool, name: str
) -> ColmapModel:
    """Put cameras, images and points together; a MapInputError where they contradict each other or themselves.

    ``paths`` of the images and points files are for messages, ``name`` is that of the features. Points that no image
    sees are left out.
    """
    if not images.names:
        raise MapInputError(f"{paths[0]} holds no images", "give a model with registered images")
    by_name = np.array(sorted(range(len(images.names)), key=images.names.__getitem__), dtype=np.int64)
    names = tuple(images.names[at] for at in by_name)
    no_twins(paths[0], "image", images.ids)
    no_twins(paths[1], "point", points.ids)
    camera_ids = np.array(sorted(cameras), dtype=np.int64)
    image_camera = _look_up(images.camera_ids[by_name], camera_ids)
    asked = images.camera_ids[by_name]
    _refuse(image_camera < 0, lambda at: f"{paths[0]}: image {names[at]!r} has camera {asked[at]}, which is not listed")
    poses = poses_of(paths[0], names, images.wxyz[by_name], images.translation_world[by_name])

    seen = points.lengths > 0
    if not seen.any() and len(seen):
        raise MapInputError(f"{paths[1]}: no point is seen by an image", "give points with their tracks")
    # a point that was put in without a track, from a laser for example, has no descriptor: nothing matches it
    points = replace(points, ids=points.ids[seen], points_world=points.points_world[seen], lengths=points.lengths[seen])
    by_id = np.argsort(points.ids)
    rank = np.empty_like(by_id)
    rank[by_id] = np.arange(len(by_id))
    point_ids = points.ids[by_id]
    far = _beyond(points.points_world)
    _refuse(far, lambda at: f"{paths[1]}: point {points.ids[at]} lies at {points.points_world[at]}", REWRITE)
    point = np.repeat(rank, points.lengths)
    image = _rows_of_images(paths[1], images.ids[by_name], points)
    order = np.lexsort((points.keypoint, image, point))
    point, image, keypoint = point[order], image[order], points.keypoint[order]
    xy_px = _pixels(paths, names, lambda at: images.keypoints(int(by_name[at])), (point_ids[point], image, keypoint))
    used, tracks = tuple(cameras[int(camera)] for camera in camera_ids), Tracks(point, image, xy_px, None)
    points_world = points.points_world[by_id]
    scene = SceneModel(used, names, image_camera, poses, points_world, tracks, feature=name, metric=metric)
    return ColmapModel(scene, keypoint, camera_ids, images.ids[by_name], point_ids)


def poses_of(path: Path, names: tuple[str, ...], wxyz: DoubleArray, translation_world: DoubleArray) -> DoubleArray:
    """Poses float64 (I, 4, 4) of what an images file says; a MapInputError names the image whose pose is none."""
    far = _beyond(translation_world) & np.isfinite(translation_world).all(axis=1)
    _refuse(far, lambda at: f"{path}: image {names[at]!r} has its pose far beyond any scene", REWRITE)
    try:
        with np.errstate(over="ignore"):  # absurd lengths become infinite, and are refused
            return rigid_from_wxyz(wxyz, translation_world)
    except FoldmapError:
        for name, turn, shift in zip(names, wxyz, translation_world, strict=True):
            with naming(f"{path}: image {name!r}", MapInputError), np.errstate(over="ignore"):
                rigid_from_wxyz(turn, shift)
        raise


def _rows_of_images(path: Path, image_ids: IntArray, points: RawPoints) -> IntArray:
    """Which image of the scene each observation is in."""
    order = np.argsort(image_ids)
    at = _look_up(points.image_ids, image_ids[order])

    def unlisted(lost: int) -> str:
        owner = points.ids[int(np.searchsorted(np.cumsum(points.lengths), lost, "right"))]
        return f"{path}: point {owner} is seen by image {points.image_ids[lost]}, which is not listed"

    _refuse(at < 0, unlisted)
    image: IntArray = order[at].astype(np.int64)
    return image


def _pixels(
    paths: tuple[Path, Path],
    names: tuple[str, ...],
    keypoints_of: Callable[[int], AnyArray],
    seen: tuple[IntArray, IntArray, IntArray],
) -> FloatArray:
    """Pixels of the observations, image by image, while both files are held against each other.

    ``seen`` says of each observation the id of its point, the index of its image, and the keypoint of that image.
    """
    point_id, image_of, keypoint = seen
    xy_px = np.empty((len(image_of), 2), dtype=np.float32)
    by_image = np.argsort(image_of, kind="stable")
    first = np.searchsorted(image_of[by_image], np.arange(len(names) + 1))
    for image, name in enumerate(names):
        rows = by_image[first[image] : first[image + 1]]
        records = keypoints_of(image)
        _agree(paths, name, records["point_id"], point_id[rows], keypoint[rows])
        seeing = records[keypoint[rows]]
        for axis, values in enumerate((seeing["x"], seeing["y"])):
            if not (np.abs(values) < _FARTHEST_PX).all():  # true of NaN too
                raise MapInputError(f"{paths[0]}: image {name!r} has keypoints far outside of it or NaN", REWRITE)
            xy_px[rows, axis] = values
    return xy_px


def _agree(paths: tuple[Path, Path], name: str, claimed: IntArray, point_id: IntArray, keypoint: IntArray) -> None:
    """Refuse an image whose keypoints and the points' tracks say different things."""
    count = len(claimed)

    def its(at: int) -> str:
        return f"keypoint {at} of image {name!r}"

    _refuse(
        (keypoint < 0) | (keypoint >= count),
        lambda at: f"{paths[1]}: point {point_id[at]} is keypoint {keypoint[at]} of {name!r}, which has {count:,}",
    )
    _refuse(
        claimed[keypoint] != point_id,
        lambda at: (
            f"{paths[1]} says that {its(keypoint[at])} sees point {point_id[at]}, "
            f"{paths[0].name} says {'no point' if (said := claimed[keypoint[at]]) == NO_POINT else f'point {said}'}"
        ),
    )
    tracked = np.bincount(keypoint, minlength=count)
    _refuse(
        (claimed != NO_POINT) & (tracked == 0),
        lambda at: f"{paths[0]} says that {its(at)} sees point {claimed[at]}, {paths[1].name} does not",
    )
    _refuse(tracked > 1, lambda at: f"{paths[1]}: {its(at)} is in a track twice")


def _refuse(wrong: BoolArray, message: Callable[[int], str], cure: str = _MISMATCH) -> None:
    """Refuse where something is wrong, by what is said of the first of it."""
    if wrong.any():
        raise MapInputError(message(int(np.argmax(wrong))), cure)


def _beyond(places_world: DoubleArray) -> BoolArray:
    """Which rows (N, 3) are no place of a scene, NaN included."""
    return np.asarray(~(np.abs(places_world) < _FARTHEST_WORLD).all(axis=1))


def _look_up(wanted: IntArray, known: IntArray) -> IntArray:
    """Index into ascending ``known`` of each wanted value, -1 where it is not there."""
    if not len(known):
        return np.full(len(wanted), -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found: IntArray = np.where(known[at] == wanted, at, -1).astype(np.int64)
    return found


def no_twins(path: Path, what: str, ids: IntArray) -> None:
    """Refuse ids that are negative or there twice."""
    ordered = np.sort(ids)
    _refuse(np.diff(ordered) == 0, lambda at: f"{path} lists {what} {ordered[at]} twice")
    _refuse(ordered < 0, lambda at: f"{path} has a {what} of id {ordered[at]}")
