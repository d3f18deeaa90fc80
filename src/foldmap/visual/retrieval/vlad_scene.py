"""The images of a scene as vectors: a vocabulary of what they observed, and what each of them makes of it."""

from __future__ import annotations

import numpy as np

from foldmap.errors import MapInputError
from foldmap.types import AnyArray, FloatArray
from foldmap.visual.retrieval.vlad import FITTED_ON, LEFT, RANK, WORDS, Vlad
from foldmap.visual.source import SceneModel

_AN_IMAGE = 200  # descriptors of one image that a vocabulary is learned from


def fit_vlad(scene: SceneModel, *, words: int = WORDS, rank: int = RANK, left: int = LEFT, seed: int = 0) -> Vlad:
    """A vocabulary of a scene's observations, equally many from each image as far as there are.

    Raises:
        MapInputError: features were not joined to the scene.
    """
    described = _described(scene)
    rng = np.random.default_rng(seed)
    images = len(scene.image_names)
    most = max(1, min(_AN_IMAGE, FITTED_ON // max(images, 1)))
    mixed = rng.permutation(len(described))
    by_image = mixed[np.argsort(scene.tracks.image[mixed], kind="stable")]
    count = np.bincount(scene.tracks.image, minlength=images)
    within = np.arange(len(by_image)) - np.repeat(np.cumsum(count) - count, count)
    kept = np.sort(by_image[within < most])
    return Vlad.fit(described[kept], words=words, rank=rank, left=left, seed=seed)


def describe_images(scene: SceneModel, vlad: Vlad) -> FloatArray:
    """The vector of each image of a scene, from what it observed: float32 (I, G); zeros where it observed nothing.

    Raises:
        MapInputError: features were not joined to the scene, or are of another dimension.
    """
    described = _described(scene)
    order = np.argsort(scene.tracks.image, kind="stable")
    first = np.searchsorted(scene.tracks.image[order], np.arange(len(scene.image_names) + 1))
    vectors = np.zeros((len(scene.image_names), vlad.size), np.float32)
    for image in np.flatnonzero(np.diff(first)):
        vectors[image] = vlad.describe(described[order[first[image] : first[image + 1]]])
    return vectors


def _described(scene: SceneModel) -> AnyArray:
    if scene.tracks.descriptors is None:
        raise MapInputError("the scene has no descriptors", "give its features: features.h5, or a database")
    return scene.tracks.descriptors
