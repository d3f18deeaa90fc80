"""What a visual benchmark asks: images taken out of a scene are localized in what is left of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry.camera import Camera
from foldmap.metrics.camera_pose import Threshold
from foldmap.types import DoubleArray
from foldmap.visual.source import FeatureSource, Query, SceneModel

BLOCKS = ((0.20, 0.28), (0.50, 0.58), (0.80, 0.88))
"""Shares of the images, sorted by name, that are queries: contiguous, since neighbours in a sequence are near twins."""

UNITS = ("world", "radius")
_MIN_OBSERVATIONS = 3
"""That a point needs in what is left of the map."""


DEFAULT_THRESHOLDS: tuple[Threshold, ...] = ((0.5, 0.5), (2.0, 2.0), (5.0, 5.0))
"""In the unit of `Scale` and degrees: centimetres in metric scenes, percent of the radius in others. The last one is
that of 7-Scenes."""


@dataclass(frozen=True)
class Scale:
    """How distances are told: "cm", "%" (of the scene's radius) or "units" (of a model without known scale)."""

    name: str
    world: float  # length of one in world units

    @staticmethod
    def of(scene: SceneModel, unit: str | None) -> Scale:
        """The scale of a scene by unit, "world" or "radius"; by default "world" where it is metric."""
        unit = unit or ("world" if scene.metric else "radius")
        if unit not in UNITS:
            raise ConfigError(f"there is no unit {unit!r}", f"choose {' or '.join(UNITS)}")
        if unit == "radius":
            return Scale("%", scene.radius_world / 100.0)
        return Scale("cm", 0.01) if scene.metric else Scale("units", 1.0)

    def label(self, threshold: Threshold) -> str:
        """A column's heading."""
        return f"≤ {threshold[0]:g} {self.name}, {threshold[1]:g}° [%]"


@dataclass(frozen=True)
class HeldOut:
    """A scene without its queries, and the queries with their true poses."""

    name: str  # of the scene
    scene: SceneModel  # without the queries' observations
    queries: tuple[Query, ...]  # what is localized
    truth: DoubleArray  # float64 (Q, 4, 4), camera_SE3_world
    scale: Scale  # of errors
    fingerprint: str  # of scene, queries and truth; answers are kept under it

    def thinned(self, most: int) -> HeldOut:
        """At most so many of the queries, even over them."""
        count = len(self.queries)
        if count <= most:
            return self
        rows = np.unique([int((k + 0.5) * count / most) for k in range(most)])
        print_ = f"{self.fingerprint}[{most} of {count}]"
        return replace(self, queries=tuple(self.queries[k] for k in rows), truth=self.truth[rows], fingerprint=print_)


def block_names(names: Sequence[str], blocks: Sequence[tuple[float, float]] = BLOCKS) -> list[str]:
    """Names in the blocks: open intervals of shares of the sorted names, which must hold some, not all."""
    ordered = sorted(names)
    taken: list[str] = []
    for low, high in blocks:
        if not 0 <= low < high <= 1:
            raise ConfigError(f"a block from {low} to {high}", "give shares of the images, ascending")
        taken += ordered[round(low * len(ordered)) : round(high * len(ordered))]
    if not 0 < len(set(taken)) < len(ordered):
        raise ConfigError(
            f"the blocks hold {len(taken)} of {len(ordered)} images", "take a scene of 12 images or more, or a list"
        )
    return list(dict.fromkeys(taken))


def hold_out(
    scene: SceneModel,  # the full model
    features: FeatureSource,  # of the queries
    *,
    name: str = "scene",  # of the scene
    # queries by name, `BLOCKS` where None: images of the model, or others with camera and pose
    names: Sequence[str] | None = None,
    cameras: Mapping[str, Camera] | None = None,  # of queries that the model does not hold
    poses: Mapping[str, DoubleArray] | None = None,  # their true camera_SE3_world
    unit: str | None = None,  # of errors, see `Scale.of`
) -> HeldOut:
    """Take queries out of a scene: their observations leave every track, points that few images see leave the map.

    Raises ConfigError: too few images for the blocks; MapInputError: a query is neither in the model nor has camera and
    pose, has no features, or no point is left.
    """
    chosen = list(names) if names is not None else block_names(scene.image_names)
    if not chosen:
        raise MapInputError("there is no query", "give names of images")
    index = {image: number for number, image in enumerate(scene.image_names)}
    inside = [image for image in chosen if image in index]
    rest = scene.without_images(inside, _MIN_OBSERVATIONS) if inside else scene
    queries, truth = [], []
    for image in chosen:
        if image in index:
            camera, pose = scene.camera_of(index[image]), scene.camera_SE3_world[index[image]]
        elif image in (cameras or {}) and image in (poses or {}):
            camera, pose = (cameras or {})[image], np.asarray((poses or {})[image], np.float64)
        else:
            raise MapInputError(
                f"query {image!r} is no image of the model, and has no camera or no true pose",
                "give its camera in the list of queries, and its pose with --poses",
            )
        queries.append(Query(image, camera, features.load(image)))
        truth.append(pose)
    poses_Q44 = np.stack(truth)
    print_ = _fingerprint(rest, queries, poses_Q44)
    return HeldOut(name, rest, tuple(queries), poses_Q44, Scale.of(scene, unit), print_)


def _fingerprint(scene: SceneModel, queries: Sequence[Query], truth: DoubleArray) -> str:
    seal = hashlib.sha256()
    arrays = [scene.points_world, scene.camera_SE3_world, scene.tracks.point, scene.tracks.image, truth]
    if scene.tracks.descriptors is not None:
        arrays.append(scene.tracks.descriptors)
    for array in arrays:
        seal.update(np.ascontiguousarray(array).tobytes())
    for query in queries:
        seal.update(query.name.encode())
        seal.update(query.camera.params.tobytes())
        seal.update(np.ascontiguousarray(query.features.xy_px).tobytes())
        seal.update(np.ascontiguousarray(query.features.descriptors).tobytes())
    return seal.hexdigest()[:16]
