"""Points all around, each with a descriptor of its own, seen by cameras near the middle: scenes without images."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from foldmap.geometry.camera import Camera
from foldmap.visual.source import Features, Query, SceneModel, Tracks, unit_descriptors

DIMENSION = 32
CAMERA = Camera("PINHOLE", 640, 480, np.array([500.0, 505.0, 322.0, 238.0]))


def pose_at(centre: np.ndarray, yaw_rad: float, pitch_rad: float = 0.0) -> np.ndarray:
    """camera_SE3_world (4, 4) of a camera at a place; yaw about the camera's y axis."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("yx", [yaw_rad, pitch_rad]).as_matrix().T
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose


def shell(seed: int, points: int, dimension: int = DIMENSION) -> tuple[np.ndarray, np.ndarray]:
    """Points (P, 3) at 4 to 8 from the middle, and unit descriptors float32 (P, D)."""
    rng = np.random.default_rng(seed)
    ahead = rng.normal(size=(points, 3)) * [1, 0.35, 1]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    return ahead * rng.uniform(4, 8, (points, 1)), unit_descriptors(rng.normal(size=(points, dimension)))


def photo(
    points: np.ndarray,
    descriptors: np.ndarray,
    pose: np.ndarray,
    seed: int,
    camera: Camera = CAMERA,
    *,
    noise_px: float = 0.5,
    spread: float = 0.05,
    clutter: int = 150,
    share: float = 0.8,
    rig: np.ndarray | None = None,
) -> tuple[Query, np.ndarray]:
    """A photo of points with noise in places and descriptors, and which point each keypoint is (-1: clutter)."""
    rng = np.random.default_rng(seed)
    local = points @ pose[:3, :3].T + pose[:3, 3]
    xy = camera.project(local)
    size = (camera.width_px, camera.height_px)
    with np.errstate(invalid="ignore"):
        inside = (xy >= 0).all(axis=1) & (xy < size).all(axis=1) & (rng.random(len(xy)) < share)
    seen = rng.permutation(np.flatnonzero(inside))
    places = xy[seen] + rng.normal(0, noise_px, (len(seen), 2))
    looks = descriptors[seen] + rng.normal(0, spread, (len(seen), descriptors.shape[1]))
    places = np.concatenate([places, rng.uniform(0, size, (clutter, 2))])
    looks = np.concatenate([looks, rng.normal(size=(clutter, descriptors.shape[1]))])
    order = rng.permutation(len(places))
    features = Features(places[order].astype(np.float32), unit_descriptors(looks[order]))
    who = np.concatenate([seen, np.full(clutter, -1)])[order]
    return Query(f"photo {seed}", camera, features, camera_SE3_rig=rig), who


def scene(seed: int = 0, points: int = 2500, images: int = 24, dimension: int = DIMENSION) -> SceneModel:
    """A scene of photos in all directions; points that fewer than two of them see are left out."""
    places, looks = shell(seed, points, dimension)
    rng = np.random.default_rng(seed + 1)
    poses = [pose_at(rng.uniform(-1, 1, 3), 2 * np.pi * k / images, rng.normal(0, 0.1)) for k in range(images)]
    rows = []
    for k, pose in enumerate(poses):
        query, who = photo(places, looks, pose, 1000 * seed + k, clutter=0)
        rows += [
            (p, k, *xy, n) for n, (p, xy) in enumerate(zip(who.tolist(), query.features.xy_px.tolist(), strict=True))
        ]
        rows[-len(who) :] = [(*row[:4], query.features.descriptors[row[4]]) for row in rows[-len(who) :]]
    rows.sort(key=lambda row: row[:2])
    point = np.array([row[0] for row in rows])
    kept = np.flatnonzero(np.bincount(point, minlength=points) >= 2)
    stays = np.isin(point, kept)
    tracks = Tracks(
        np.searchsorted(kept, point[stays]).astype(np.int64),
        np.array([row[1] for row in rows], np.int64)[stays],
        np.array([row[2:4] for row in rows], np.float32)[stays],
        np.stack([row[4] for row in rows]).astype(np.float32)[stays],
    )
    names = tuple(f"photo {k:03}.png" for k in range(images))
    return SceneModel(
        (CAMERA,), names, np.zeros(images, np.int64), np.stack(poses), places[kept], tracks, feature="shell"
    )


def apart(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Distance of the centres, and angle between two camera_SE3_world (rad)."""
    centres = [-pose[:3, :3].T @ pose[:3, 3] for pose in (found, true)]
    turn = Rotation.from_matrix(found[:3, :3] @ true[:3, :3].T)
    return float(np.linalg.norm(centres[0] - centres[1])), float(turn.magnitude())
