"""How well each selection of points covers a scene; both readings of the paper's K among them.

python -m benchmarks.visual.selection SCENE [--count 1000]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from foldmap.errors import FoldmapError
from foldmap.formats.colmap.files import find_model
from foldmap.formats.colmap.scene import read_model
from foldmap.types import AnyArray, DoubleArray, IntArray
from foldmap.visual.select.choose import choose_points, distinctiveness_of
from foldmap.visual.source import SceneModel


@dataclass(frozen=True)
class CoverageRow:
    """How a choice of points covers a scene.

    Attributes:
        method: name.
        mean_pct, p95_pct: distance from any point to the nearest chosen one, percent of the scene's radius.
        fewest, median: chosen points that an image sees.
    """

    method: str
    mean_pct: float
    p95_pct: float
    fewest: int
    median: float


def coverage_of(scene: SceneModel, method: str, kept: IntArray) -> CoverageRow:
    """Measure one choice."""
    distance, _ = cKDTree(scene.points_world[kept]).query(scene.points_world)
    share = 100.0 * distance / scene.radius_world
    chosen = np.zeros(len(scene.points_world), bool)
    chosen[kept] = True
    seen = np.bincount(scene.tracks.image[chosen[scene.tracks.point]], minlength=len(scene.image_names))
    return CoverageRow(
        method, float(share.mean()), float(np.percentile(share, 95)), int(seen.min()), float(np.median(seen))
    )


def clumped(points_world: DoubleArray, distinctiveness: AnyArray, count: int, tau: float | None = None) -> IntArray:
    """Equation 2 to the letter, K the matrix of distances (divided by their mean): a local optimum by Frank-Wolfe.

    v'Kv is concave on the simplex, so steps are full ones between corners, `count` points each: the points end up in
    one clump. Takes P * count distances an iteration.

    Args:
        points_world: float64 (P, 3).
        distinctiveness: (P,), the fraction of the images that see a point.
        count: how many to keep.
        tau: weight of distinctiveness; by default 1 / (count * mean d).
    """
    pull = distinctiveness * (1 / (count * np.abs(distinctiveness).mean()) if tau is None else tau)
    sample = points_world[np.linspace(0, len(points_world) - 1, min(len(points_world), 2000)).astype(int)]
    scale = float(np.linalg.norm(sample[:, None] - sample[None], axis=2).mean())
    chosen = np.zeros(0, np.int64)
    far = _mean_distance(points_world, sample) / scale
    for _ in range(100):
        following = np.sort(np.argsort(2 * far - pull, kind="stable")[:count]).astype(np.int64)
        if np.array_equal(following, chosen):
            break
        chosen, far = following, _mean_distance(points_world, points_world[following]) / scale
    return chosen


def _mean_distance(points: DoubleArray, chosen: DoubleArray) -> DoubleArray:
    """Mean distance from every point to the chosen ones, float64 (P,)."""
    blocks = [points[first : first + 2048] for first in range(0, len(points), 2048)]
    return np.concatenate([np.linalg.norm(block[:, None] - chosen[None], axis=2).mean(1) for block in blocks])


def methods(scene: SceneModel) -> dict[str, Callable[[int], IntArray]]:
    """Every way to choose, by name."""
    distinct = distinctiveness_of(scene)
    chosen: dict[str, Callable[[int], IntArray]] = {
        "Gamma, K the distance as printed": lambda count: clumped(scene.points_world, distinct, count)
    }
    for name, method in (
        ("Gamma, K a kernel", "gamma"),
        ("K-cover", "cover"),
        ("spread (default)", "spread"),
        ("longest tracks", "longest"),
        ("random", "random"),
    ):
        chosen[name] = lambda count, method=method: choose_points(scene, count, method).kept  # type: ignore[misc]
    return chosen


def main(argv: list[str] | None = None) -> int:
    """Print one row a method."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.visual.selection", description=__doc__.splitlines()[0])
    parser.add_argument("scene", type=Path, help="a COLMAP model, itself or in sparse/")
    parser.add_argument("--count", type=int, default=1000, help="points to choose")
    given = parser.parse_args(argv)
    try:
        scene = read_model(find_model(given.scene))
        print(f"{'method':<34} {'mean %':>7} {'p95 %':>7} {'fewest':>7} {'median':>7}")
        for name, choose in methods(scene).items():
            row = coverage_of(scene, name, choose(given.count))
            print(f"{row.method:<34} {row.mean_pct:7.1f} {row.p95_pct:7.1f} {row.fewest:7d} {row.median:7.0f}")
    except FoldmapError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
