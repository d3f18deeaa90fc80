"""Which points of a scene to keep: the one entry for folding, with the default that localized best."""

from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.types import DoubleArray, IntArray
from foldmap.visual.scene.average import tightness_of
from foldmap.visual.select.cover import by_cell, by_image, k_cover
from foldmap.visual.select.gamma import checked_count, gamma
from foldmap.visual.source import SceneModel

METHODS = ("spread", "cover", "gamma", "longest", "random")
_CELLS = 8  # along the width and along the height of an image
_PER_IMAGE, _PER_CELL = 10.0, 1.0  # how often an image and a cell are to be covered before capacities grow


@dataclass(frozen=True)
class Selection:
    """Points that were chosen, int64 (N,): ascending (``kept``), and in order of choice where the method has one.

    A prefix of that order is the choice of fewer points.
    """

    kept: IntArray
    order: IntArray


def choose_points(
    scene: SceneModel, count: int | None = None, method: str = "spread", *, seed: int = 0, alpha: float | None = None
) -> Selection:
    """Choose points of a scene to keep.

    Methods:
        "spread": greedy cover of images and of a grid of cells on each, capacities doubling, points with alike
            descriptors preferred (the default).
        "cover": greedy K-cover of images alone.
        "gamma": equation 2 of the paper, kernel reading.
        "longest": the longest tracks.
        "random": uniformly, by the seed.

    Instead of a count "gamma" takes ``alpha``, if you like: which fraction of the points. The seed is for "random".
    Pass `Selection.kept` to `SceneModel.keep_points`. Raises `ConfigError`: no such method, or a value out of range;
    `MapInputError`: the scene has no points, or all lie in one place.
    """
    if method not in METHODS:
        raise ConfigError(f"no way to choose points is called {method!r}", f"take one of {', '.join(METHODS)}")
    if alpha is not None and method != "gamma":
        raise ConfigError(f"choosing by {method!r} has no alpha", "give a count, or choose by gamma")
    points = len(scene.points_world)
    if not points:
        raise MapInputError("the scene has no points", "triangulate points first")
    if points > 1 and not np.ptp(scene.points_world, axis=0).any():
        raise MapInputError("all points lie in one place", "check what made the scene")
    if method == "gamma":
        kept = gamma(scene.points_world, distinctiveness_of(scene), count=count, alpha=alpha).kept
        return Selection(kept, kept)
    order = _order(scene, checked_count(count, points), method, seed).astype(np.int64)
    return Selection(np.sort(order), order)


def distinctiveness_of(scene: SceneModel) -> DoubleArray:
    """Fraction of the images that see each point, float64 (P,): d of equation 2."""
    return np.asarray(np.diff(_visibility(scene)[0]) / max(1, len(scene.image_names)))


def _order(scene: SceneModel, count: int, method: str, seed: int) -> IntArray:
    if method == "random":
        return np.random.default_rng(seed).permutation(len(scene.points_world))[:count]
    if method == "longest":
        length = np.diff(scene.track_first)
        return np.lexsort((np.arange(len(length)), -length))[:count]
    first, image, rows = _visibility(scene)
    if method == "cover":
        return k_cover(by_image(first, image, len(scene.image_names), _PER_IMAGE), count)
    size_px = np.array([(camera.width_px, camera.height_px) for camera in scene.cameras], np.float64)
    xy_px = scene.tracks.xy_px[rows]
    coverage = by_cell(first, image, xy_px, size_px[scene.image_camera], _CELLS, _PER_IMAGE, _PER_CELL)
    return k_cover(coverage, count, tightness_of(scene))


def _visibility(scene: SceneModel) -> tuple[IntArray, IntArray, IntArray]:
    """Which images see a point: first int64 (P + 1,), image int64 (N,), and the row of the tracks that says so, (N,).

    An image that sees a point twice (a doubled keypoint) is named once, where it saw it first.
    """
    images, tracks = len(scene.image_names), scene.tracks
    pairs, rows = np.unique(tracks.point * images + tracks.image, return_index=True)
    counts = np.bincount(pairs // images, minlength=len(scene.points_world))
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), (pairs % images).astype(np.int64), rows
