"""Tracks of keypoints over photographs whose depth and poses are known exactly."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from foldmap.errors import MapInputError
from foldmap.geometry import SE3
from foldmap.geometry.camera import Camera
from foldmap.town.camera.cast import BOX, BOX_TOP, SKY
from foldmap.types import AnyArray, BoolArray, DoubleArray, FloatArray, IntArray
from foldmap.visual.source import Features, Tracks, unit_descriptors

_NEAR_PX, _DEPTH_SHARE, _LOOK = 2.0, 0.03, 0.75
_NEIGHBOURS = 16
_MIN_OBSERVATIONS, _MAX_ERROR_PX = 3, 3.0
_GAUSS_NEWTON_STEPS = 5
_PRIOR = 25.0
"""Weight of the lifted place, per square metre: it is right to 0.2 m, against keypoints right to a pixel."""


@dataclass(frozen=True)
class SeenImage:
    """A photograph's features with the truth about it; `depth_m` and `kind` are those of `Picture`."""

    features: Features
    depth_m: FloatArray
    kind: AnyArray
    world_SE3_camera: SE3


def join_tracks(seen: list[SeenImage], camera: Camera) -> tuple[DoubleArray, Tracks]:
    """Join keypoints of photographs by one distortion-free camera to tracks, and triangulate their points.

    Returns points float64 (P, 3) in the world, and their tracks, sorted by point. Raises MapInputError: no point is
    seen often enough.
    """
    lifted = [lift_keypoints(image, camera) for image in seen]
    first = np.cumsum([0, *(len(image.features.xy_px) for image in seen)])
    links = _links(seen, lifted, camera, first)
    total = int(first[-1])
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(total, total))
    _, component = connected_components(graph, directed=False)
    image_of = np.repeat(np.arange(len(seen)), np.diff(first))
    rows = _one_an_image(component, image_of)
    point, rows = _renumber(component[rows], rows)
    if not len(rows):
        raise MapInputError("no point is seen by three photographs", "take photographs closer together")
    xy = np.concatenate([image.features.xy_px for image in seen])[rows].astype(np.float64)
    world = np.concatenate([place for place, _ in lifted])[rows]
    poses = np.stack([image.world_SE3_camera.inverse().matrix for image in seen])[image_of[rows]]
    points = _triangulate(point, xy, world, poses, camera)
    error = np.linalg.norm(_project(points[point], poses, camera)[0] - xy, axis=1)
    kept = error < _MAX_ERROR_PX
    kept &= (np.bincount(point[kept], minlength=len(points)) >= _MIN_OBSERVATIONS)[point]
    if not kept.any():
        raise MapInputError("no point is seen by three photographs", "take photographs closer together")
    alive, renumbered = np.unique(point[kept], return_inverse=True)
    descriptors = np.concatenate([image.features.descriptors for image in seen])[rows[kept]]
    image, seen_px = image_of[rows[kept]].astype(np.int64), xy[kept].astype(np.float32)
    return points[alive], Tracks(renumbered.astype(np.int64), image, seen_px, descriptors)


def lift_keypoints(image: SeenImage, camera: Camera) -> tuple[DoubleArray, BoolArray]:
    """World points (N, 3) of an image's keypoints, and which of them lie on what stays from day to day."""
    xy = image.features.xy_px.astype(np.float64)
    col = np.clip(xy[:, 0].astype(int), 0, camera.width_px - 1)
    row = np.clip(xy[:, 1].astype(int), 0, camera.height_px - 1)
    depth, kind = image.depth_m[row, col].astype(np.float64), image.kind[row, col]
    steady = (kind != SKY) & (kind != BOX) & (kind != BOX_TOP) & np.isfinite(depth)
    depth = np.where(steady, depth, 1.0)
    ray = np.column_stack([(xy - camera.centre_px) / camera.focal_px, np.ones(len(xy))])
    return image.world_SE3_camera.apply(ray * depth[:, None]), steady


def _project(points: DoubleArray, camera_SE3_world: DoubleArray, camera: Camera) -> tuple[DoubleArray, DoubleArray]:
    """Pixels (N, 2) and depths (N,) of points, each in its own or one common camera."""
    local = np.einsum("...ij,...j->...i", camera_SE3_world[..., :3, :3], points) + camera_SE3_world[..., :3, 3]
    depth = local[..., 2]
    safe = np.where(np.abs(depth) > 1e-9, depth, 1e-9)[..., None]
    return local[..., :2] / safe * camera.focal_px + camera.centre_px, depth


def _links(
    seen: list[SeenImage], lifted: list[tuple[DoubleArray, BoolArray]], camera: Camera, first: IntArray
) -> IntArray:
    """Pairs of keypoints (L, 2), numbered over all images, that are one spot by place, depth and look."""
    looks = [unit_descriptors(image.features.descriptors) for image in seen]
    trees = [cKDTree(image.features.xy_px) if len(image.features.xy_px) else None for image in seen]
    centres = np.stack([image.world_SE3_camera.translation_m for image in seen])
    axes = np.stack([image.world_SE3_camera.matrix[:3, 2] for image in seen])
    found = [np.zeros((0, 2), np.int64)]
    for i in range(len(seen)):
        away = np.linalg.norm(centres - centres[i], axis=1) + 8.0 * (1.0 - axes @ axes[i])
        for j in np.argsort(away, kind="stable")[: _NEIGHBOURS + 1]:
            tree = trees[j]
            if j == i or tree is None:
                continue
            pairs = _pairs(lifted[i], seen[j], tree, looks[i], looks[j], camera)
            found.append(pairs + np.array([first[i], first[j]]))
    return np.concatenate(found)


def _pairs(
    lifted: tuple[DoubleArray, BoolArray],
    other: SeenImage,
    tree: cKDTree,
    look: FloatArray,
    other_look: FloatArray,
    camera: Camera,
) -> IntArray:
    """Keypoints of one image with the likest keypoint of another near their projection."""
    points, steady = lifted
    xy, depth = _project(points, other.world_SE3_camera.inverse().matrix, camera)
    inside = steady & (depth > 0.2) & (xy > 1).all(axis=1)
    inside &= (xy[:, 0] < camera.width_px - 1) & (xy[:, 1] < camera.height_px - 1)
    rows = np.flatnonzero(inside)
    there = other.depth_m[xy[rows, 1].astype(int), xy[rows, 0].astype(int)]
    rows = rows[np.abs(there - depth[rows]) < _DEPTH_SHARE * depth[rows]]
    if not len(rows):
        return np.zeros((0, 2), np.int64)
    _, near = tree.query(xy[rows], k=4, distance_upper_bound=_NEAR_PX)
    valid = near < len(other_look)
    apart = np.linalg.norm(other_look[np.where(valid, near, 0)] - look[rows][:, None], axis=2)
    apart = np.where(valid, apart, np.inf)
    best = np.argmin(apart, axis=1)
    good = apart[np.arange(len(rows)), best] < _LOOK
    return np.column_stack([rows[good], near[np.arange(len(rows)), best][good]])


def _one_an_image(component: IntArray, image_of: IntArray) -> IntArray:
    """Rows sorted by component, the first of each image only."""
    order = np.lexsort((np.arange(len(component)), image_of, component))
    repeated = np.zeros(len(order), bool)
    repeated[1:] = (np.diff(component[order]) == 0) & (np.diff(image_of[order]) == 0)
    rows: IntArray = order[~repeated]
    return rows


def _renumber(component: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Components of enough observations, numbered from 0, with their rows."""
    counts = np.bincount(component)
    kept = counts[component] >= _MIN_OBSERVATIONS
    _, point = np.unique(component[kept], return_inverse=True)
    return point.astype(np.int64), rows[kept]


def _triangulate(
    point: IntArray, xy: DoubleArray, world: DoubleArray, poses: DoubleArray, camera: Camera
) -> DoubleArray:
    """Points (P, 3) by Gauss-Newton from the mean of the lifted keypoints, which is a weak prior, too."""
    count = int(point.max()) + 1
    weight = np.bincount(point, minlength=count)
    start = np.stack([np.bincount(point, world[:, k], count) / weight for k in range(3)], axis=1)
    points = start.copy()
    fx, fy = camera.focal_px
    for _ in range(_GAUSS_NEWTON_STEPS):
        projected, depth = _project(points[point], poses, camera)
        residual = xy - projected
        local = (projected - camera.centre_px) / camera.focal_px
        jacobian = np.zeros((len(point), 2, 3))
        jacobian[:, 0, 0], jacobian[:, 0, 2] = fx / depth, -fx * local[:, 0] / depth
        jacobian[:, 1, 1], jacobian[:, 1, 2] = fy / depth, -fy * local[:, 1] / depth
        jacobian = jacobian @ poses[:, :3, :3]
        size = np.linalg.norm(residual, axis=1)
        robust = 1.0 / np.maximum(size, 1.0)
        normal, right = np.zeros((count, 3, 3)), np.zeros((count, 3))
        np.add.at(normal, point, np.einsum("n,nki,nkj->nij", robust, jacobian, jacobian))
        np.add.at(right, point, np.einsum("n,nki,nk->ni", robust, jacobian, residual))
        normal += _PRIOR * np.eye(3)
        right += _PRIOR * (start - points)
        points = points + np.linalg.solve(normal, right[..., None])[..., 0]
    return points
