"""Fit product codes to a scene's descriptors, from plain PQ to the best D-PQED layer, behind one function.

kind        codebooks                          decoder                      fitted by
pq          M of D / M numbers                 none                         k-means
opq         the same, descriptors turned       the turn back                k-means and Procrustes
additive    M of D numbers, summed             none                         beam search and least squares
dpqed       M of D / M numbers                 2-layer MLP                  the paper's triplet loss
dpqed+      M of D numbers, summed             none                         triplet loss and reconstruction

All take M bytes a descriptor. Codebooks and decoder come on top, once a file; `visual.dpq.serialize` tells sizes.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from foldmap.coding.additive import AdditiveQuantizer
from foldmap.coding.pq import MAX_CENTROIDS, ProductQuantizer
from foldmap.errors import ConfigError
from foldmap.visual.codes.codecs import Product
from foldmap.visual.dpq.serialize import LayerShape, StoredLayer
from foldmap.visual.dpq.train import Descriptors, LayerProgress, LayerSettings, train_layer
from foldmap.visual.source import SceneModel

KINDS = ("pq", "opq", "additive", "dpqed", "dpqed+")
TRAINED = ("dpqed", "dpqed+")
DEFAULT_PARTS = 4


def settings_for(kind: str) -> LayerSettings:
    """How a layer of a kind is trained by default.

    Descriptors of SIFT lie 0.3 to 0.6 from their nearest neighbours, so the paper's margin of 0.9 keeps every triplet
    at work and pulls decoded descriptors away from what they stand for. "dpqed+" takes 0.2 and adds reconstruction. Its
    soft assignment is almost hard: least squares found the codebooks, and softer gradients would undo them. Raises
    `ConfigError`: nothing is trained for this kind.
    """
    if kind == "dpqed":
        return LayerSettings()
    if kind == "dpqed+":
        return LayerSettings(
            margin=0.2, l2_weight=2.0, epochs=4, learning_rate=3e-4, decay=True, tau=0.005, validation=0.02
        )
    raise ConfigError(f"codes of kind {kind!r} are not trained", f"choose one of {', '.join(TRAINED)}")


def fit_codec(
    data: Descriptors,
    parts: int = DEFAULT_PARTS,
    kind: str = "dpqed+",
    settings: LayerSettings | None = None,
    report: Callable[[LayerProgress], None] = lambda progress: None,
    *,
    seed: int = 0,
    folder: Path | None = None,
) -> Product:
    """Fit codes to a scene. The same input, settings and seed give the same bytes.

    Raises `ConfigError`: no such kind, settings where nothing is trained, or parts that do not divide the dimension.

    Args:
        data: of the scene (`descriptors_of`); kinds that are not trained look at its means alone.
        parts: M, bytes a descriptor; divides the dimension unless the kind is additive or "dpqed+".
        kind: one of `KINDS`.
        settings: of the training; `settings_for(kind)` with the seed when None.
        report: called after each epoch.
        seed: of k-means and, without settings, of the training.
        folder: of checkpoints, to resume from.
    """
    if kind not in KINDS:
        raise ConfigError(f"there are no codes of kind {kind!r}", f"choose one of {', '.join(KINDS)}")
    means, dimension = data.mean_PD, data.mean_PD.shape[1]
    if kind not in TRAINED:
        if settings is not None or folder is not None:
            raise ConfigError(f"codes of kind {kind!r} are not trained", "leave training settings out")
        if kind == "additive":
            return Product(StoredLayer.of_quantizer(AdditiveQuantizer.fit(means, parts, seed=seed)))
        quantizer = ProductQuantizer.fit(means, parts, seed=seed, rotate=kind == "opq")
        return Product(StoredLayer.of_quantizer(quantizer))
    if kind == "dpqed" and dimension % parts:
        raise ConfigError(f"descriptors of {dimension} numbers do not split into {parts} equal parts", "take a divisor")
    settings = settings or replace(settings_for(kind), seed=seed)
    run = train_layer(data, shape_for(kind, data, parts), settings, folder=folder, report=report)
    return Product(run.network.stored(), name="dpqed")


def shape_for(kind: str, data: Descriptors, parts: int) -> LayerShape:
    """Sizes of a trained kind's layer: the paper's MLP, or sums of additive codebooks with no network behind.

    Summed centroids leave an MLP little to mend: with 256 or 64 hidden units it found no more than without, for 67 or
    18 kB more.
    """
    points, dimension = data.mean_PD.shape
    centroids = min(MAX_CENTROIDS, points)
    if kind == "dpqed":
        return LayerShape(dimension, parts, centroids)
    return LayerShape(dimension, parts, centroids, hidden=0, additive=True)


def descriptors_of(scene: SceneModel) -> Descriptors:
    """Means and observations of a scene's points; `MapInputError` where features were not joined to it."""
    return Descriptors.of_tracks(scene.described, scene.tracks.point)
