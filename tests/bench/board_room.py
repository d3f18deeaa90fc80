"""Rooms of points with descriptors of their own, photographed all around: scenes for the scoreboard without photos."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.visual.data import Place
from foldmap.bench.visual.protocol import hold_out
from foldmap.geometry.camera import Camera
from foldmap.visual.scene.average import track_means
from foldmap.visual.source import Features, SceneModel, Tracks

CAMERA = Camera("PINHOLE", 640, 480, np.array([500.0, 500.0, 320.0, 240.0]))


class Kept:
    """Features in memory."""

    feature = "sift"

    def __init__(self, features: dict[str, Features]) -> None:
        self._features = features

    def names(self) -> Sequence[str]:
        return list(self._features)

    def load(self, name: str) -> Features:
        return self._features[name]


def room(seed: int, points: int = 1500, images: int = 36) -> tuple[SceneModel, Kept]:
    """A metric scene: points at 4 to 8 m, cameras near the middle that turn, places and descriptors with noise."""
    rng = np.random.default_rng(seed)
    ahead = rng.normal(size=(points, 3)) * [1, 0.3, 1]
    xyz = ahead / np.linalg.norm(ahead, axis=1, keepdims=True) * rng.uniform(4, 8, (points, 1))
    looks = rng.gamma(0.4, 1.0, (points, 128))
    looks *= 512 / np.linalg.norm(looks, axis=1, keepdims=True)
    poses = np.repeat(np.eye(4)[None], images, axis=0)
    features, rows = {}, []
    for k in range(images):
        poses[k, :3, :3] = Rotation.from_euler("y", 2 * np.pi * k / images).as_matrix().T
        poses[k, :3, 3] = -poses[k, :3, :3] @ rng.uniform(-0.5, 0.5, 3)
        local = xyz @ poses[k, :3, :3].T + poses[k, :3, 3]
        xy = CAMERA.project(local)
        with np.errstate(invalid="ignore"):
            seen = np.flatnonzero((local[:, 2] > 0.5) & (xy > 0).all(axis=1) & (xy < (640, 480)).all(axis=1))
        places = (xy[seen] + rng.normal(0, 0.3, (len(seen), 2))).astype(np.float32)
        described = np.clip(np.rint(looks[seen] + rng.normal(0, 4, (len(seen), 128))), 0, 255).astype(np.uint8)
        features[f"{k:03}.png"] = Features(places, described)
        rows.append((seen, np.full(len(seen), k), places, described))
    point, image, places, described = (np.concatenate(part) for part in zip(*rows, strict=True))
    stays = np.bincount(point, minlength=points)[point] >= 3
    kept = np.unique(point[stays])
    order = np.flatnonzero(stays)[np.argsort(point[stays], kind="stable")]
    tracks = Tracks(
        np.searchsorted(kept, point[order]).astype(np.int64),
        image[order].astype(np.int64),
        places[order],
        described[order],
    )
    zeros = np.zeros(images, np.int64)
    return SceneModel((CAMERA,), tuple(features), zeros, poses, xyz[kept], tracks, metric=True), Kept(features)


def place(name: str, seed: int) -> Place:
    """A room under the protocol."""
    full, features = room(seed)
    held_out = hold_out(full, features, name=name)
    return Place(held_out, track_means(held_out.scene), features, full)
