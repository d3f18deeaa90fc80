"""Which points of a scene to keep: the one entry for folding, with the default that localized best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.types import AnyArray, DoubleArray, IntArray
from foldmap.visual.select.cover import by_cell, by_image, k_cover
from foldmap.visual.select.gamma import Selection, checked_count, checked_points, gamma
from foldmap.visual.select.tightness import tightness_of
from foldmap.visual.source import SceneModel

CELLS = 8
"""Cells along the width and along the height of an image, for spreading points within it."""
PER_IMAGE = 10.0
"""How often an image is to be covered before capacities grow for the first time."""
PER_CELL = 1.0
"""How often a cell of an image is to be covered before capacities grow for the first time."""


def choose_points(
    scene: SceneModel, count: int | None = None, method: str = "spread", *, seed: int = 0, **settings: Any
) -> Selection:
    """Choose points of a scene to keep.

    Methods:
        "spread": greedy cover of images and of a grid of cells on each, capacities doubling, points with alike
            descriptors preferred (the default).
        "cover": greedy K-cover of images alone.
        "gamma": equation 2 of the paper, kernel reading.
        "longest": the longest tracks.
        "random": uniformly, by the seed.

    Args:
        scene: the map.
        count: how many points to choose; may be left out where a setting says (`budget_bytes` of the covers, `alpha` of
            gamma).
        method: one of the above.
        seed: for "random".
        settings: of the method. Both covers take `per_image`, `growth`, `weights`, `cost_bytes`, `budget_bytes` and
            `tight`: whether points with alike descriptors weigh more where no weights are given (`tightness_of`; by
            default for "spread" alone). "spread" takes `cells` and `per_cell` too, "gamma" what `gamma` takes.

    Returns:
        The selection; pass `kept` to `SceneModel.keep_points`.

    Raises:
        ConfigError: no such method or setting, or a value out of range.
        MapInputError: the scene has no points, or all lie in one place.
    """
    if method not in METHODS:
        raise ConfigError(f"no way to choose points is called {method!r}", f"take one of {', '.join(METHODS)}")
    points = len(scene.points_world)
    if not points:
        raise MapInputError("the scene has no points", "triangulate points first")
    checked_points(scene.points_world)
    if count is not None:
        count = checked_count(count, points)
    choose, known = METHODS[method]
    unknown = set(settings) - known
    if unknown:
        raise ConfigError(
            f"choosing by {method!r} has no setting {min(unknown)!r}", f"take {', '.join(sorted(known)) or 'none'}"
        )
    return choose(scene, count, seed, settings)


def distinctiveness_of(scene: SceneModel) -> DoubleArray:
    """Fraction of the images that see each point, float64 (P,): d of equation 2."""
    first, _ = visibility_of(scene)
    seen: DoubleArray = np.diff(first) / max(1, len(scene.image_names))
    return seen


def visibility_of(scene: SceneModel) -> tuple[IntArray, IntArray]:
    """Which images see a point, each named once: first int64 (P + 1,), image int64 (N,)."""
    images = len(scene.image_names)
    pairs = np.unique(scene.tracks.point * images + scene.tracks.image)
    counts = np.bincount(pairs // images, minlength=len(scene.points_world))
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), (pairs % images).astype(np.int64)


def _spread(scene: SceneModel, count: int | None, seed: int, settings: dict[str, Any]) -> Selection:
    options = _weighted(scene, settings, tight=True)
    cells, per_cell = options.pop("cells", CELLS), options.pop("per_cell", PER_CELL)
    per_image = options.pop("per_image", PER_IMAGE)
    size_px = np.array([(camera.width_px, camera.height_px) for camera in scene.cameras], np.float64)
    # A point that an image sees twice (a doubled keypoint) covers it once, where it was seen first.
    images, tracks = len(scene.image_names), scene.tracks
    _, rows = np.unique(tracks.point * images + tracks.image, return_index=True)
    first, image = visibility_of(scene)
    coverage = by_cell(
        first, image, tracks.xy_px[rows], size_px[scene.image_camera], cells, per_image=per_image, per_cell=per_cell
    )
    return k_cover(coverage, count, **options)


def _weighted(scene: SceneModel, settings: dict[str, Any], tight: bool) -> dict[str, Any]:
    """The settings with weights in place of `tight`, which is the default for it."""
    options = dict(settings)
    wanted = options.pop("tight", tight)
    if wanted and options.get("weights") is None:
        options["weights"] = tightness_of(scene)
    return options


def _cover(scene: SceneModel, count: int | None, seed: int, settings: dict[str, Any]) -> Selection:
    options = _weighted(scene, settings, tight=False)
    per_image = options.pop("per_image", PER_IMAGE)
    return k_cover(by_image(*visibility_of(scene), len(scene.image_names), per_image), count, **options)


def _gamma(scene: SceneModel, count: int | None, seed: int, settings: dict[str, Any]) -> Selection:
    return gamma(scene.points_world, distinctiveness_of(scene), count=count, **settings)


def _longest(scene: SceneModel, count: int | None, seed: int, settings: dict[str, Any]) -> Selection:
    length = np.diff(scene.track_first)
    return _listed(np.lexsort((np.arange(len(length)), -length)), count)


def _random(scene: SceneModel, count: int | None, seed: int, settings: dict[str, Any]) -> Selection:
    return _listed(np.random.default_rng(seed).permutation(len(scene.points_world)), count)


def _listed(order: AnyArray, count: int | None) -> Selection:
    chosen = order[: checked_count(count, len(order))].astype(np.int64)
    mask = np.zeros(len(order))
    mask[chosen] = 1
    return Selection(np.sort(chosen), mask, 0.0, 0.0, 0, chosen)


_COVER = {"tight", "per_image", "growth", "weights", "cost_bytes", "budget_bytes"}
METHODS: dict[str, tuple[Callable[[SceneModel, int | None, int, dict[str, Any]], Selection], set[str]]] = {
    "spread": (_spread, _COVER | {"cells", "per_cell"}),
    "cover": (_cover, _COVER),
    "gamma": (_gamma, {"alpha", "tau", "bandwidth_world", "tolerance", "max_steps", "rounding"}),
    "longest": (_longest, set()),
    "random": (_random, set()),
}
"""Name -> how, and which settings it takes."""
