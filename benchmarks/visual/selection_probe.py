"""Choose points of a large generated scene in a process of its own, and print how long it took and how much memory.

python -m benchmarks.visual.selection_probe METHOD POINTS IMAGES SHARE
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from benchmarks.processes import own_peak_mb
from foldmap.geometry.camera import Camera
from foldmap.visual.select import choose_points
from foldmap.visual.source import SceneModel, Tracks

_SEEN = (3, 12)


def street_scene(points: int, images: int, seed: int = 0) -> SceneModel:
    """Facades on both sides of a long street, photographed in a row: each point is seen by some photos near it.

    Descriptors are random: choosing looks at how alike they are, not at what they are.
    """
    rng = np.random.default_rng(seed)
    length = 0.5 * images
    xyz = np.stack(
        [rng.uniform(0, length, points), rng.choice([-8.0, 8.0], points), rng.gamma(2.0, 2.0, points)], axis=1
    )
    xyz += rng.normal(0, 0.3, xyz.shape)
    counts = rng.integers(*_SEEN, points)
    point = np.repeat(np.arange(points), counts)
    nearest = np.clip((xyz[:, 0] / length * images).astype(np.int64), 0, images - 1)
    turn = np.arange(len(point)) - np.repeat(np.cumsum(counts) - counts, counts)
    image = np.clip(nearest[point] + turn - counts[point] // 2, 0, images - 1)
    _, first = np.unique(point * images + image, return_index=True)
    point, image = point[first], image[first]
    pose = np.repeat(np.eye(4)[None], images, axis=0)
    pose[:, 0, 3] = -(np.arange(images) + 0.5) / images * length
    camera = Camera("PINHOLE", 800, 600, np.array([640.0, 640.0, 400.0, 300.0]))
    xy_px = rng.uniform((0, 0), (800, 600), (len(point), 2)).astype(np.float32)
    tracks = Tracks(point, image, xy_px, rng.integers(0, 128, (len(point), 128), dtype=np.uint8))
    names = tuple(f"{number:05d}.jpg" for number in range(images))
    return SceneModel((camera,), names, np.zeros(images, np.int64), pose, xyz, tracks)


def probe(method: str, points: int, images: int, share: float) -> dict[str, float]:
    """Choose and measure; peak memory is of the whole process, the scene with its descriptors included."""
    small = street_scene(2000, 20)
    choose_points(small, 200, method)  # compiled before the clock starts
    scene = street_scene(points, images)
    began_s = time.perf_counter()
    chosen = choose_points(scene, round(share * points), method)
    seconds = time.perf_counter() - began_s
    return {
        "points": points,
        "observations": len(scene.tracks),
        "kept": len(chosen.kept),
        "seconds": seconds,
        "peak_gb": own_peak_mb() * 2**20 / 1e9,
    }


if __name__ == "__main__":
    name, count, photos, kept_share = sys.argv[1:]
    print(json.dumps(probe(name, int(count), int(photos), float(kept_share))))
