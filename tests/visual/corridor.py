"""A corridor: points in a row with descriptors of their own, images that each see a stretch of it."""

from __future__ import annotations

import numpy as np

from foldmap.geometry.camera import Camera
from foldmap.visual.source import SceneModel, Tracks

POINTS_A_STEP = 12
SEEN = 120


def descriptors_of_places(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    """Unit descriptors of points, in clusters as those of real images are."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(40, dimension))
    rows = kinds[rng.integers(0, 40, count)] + 0.8 * rng.normal(size=(count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def noisy(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same points seen again."""
    return (rows + 0.3 / np.sqrt(rows.shape[1]) * rng.normal(size=rows.shape)).astype(np.float32)


def corridor(images: int = 40, dimension: int = 64, seed: int = 0) -> tuple[SceneModel, np.ndarray]:
    """A scene, and the true descriptors float32 (P, D) of its points; image i sees ``seen(i)``."""
    rng = np.random.default_rng(seed + 1)
    count = images * POINTS_A_STEP + SEEN
    truth = descriptors_of_places(count, dimension, seed)
    rows = np.array(sorted((p, i) for i in range(images) for p in seen(i)))
    kept, point = np.unique(rows[:, 0], return_inverse=True)
    scene = SceneModel(
        cameras=(Camera("SIMPLE_PINHOLE", 640, 480, np.array([500.0, 320.0, 240.0])),),
        image_names=tuple(f"{i:03d}.jpg" for i in range(images)),
        image_camera=np.zeros(images, np.int64),
        camera_SE3_world=np.tile(np.eye(4), (images, 1, 1)),
        points_world=np.stack([kept * 0.1, np.zeros(len(kept)), np.ones(len(kept))], axis=1),
        tracks=Tracks(
            point.astype(np.int64),
            rows[:, 1].astype(np.int64),
            np.zeros((len(rows), 2), np.float32),
            noisy(truth[rows[:, 0]], rng),
        ),
    )
    return scene, truth[kept]


def seen(image: int) -> range:
    """Points that an image sees."""
    return range(image * POINTS_A_STEP, image * POINTS_A_STEP + SEEN)
