"""Product codes of a scene: codebooks by k-means, or a D-PQED layer trained on it or adapted to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from foldmap.coding.pq import MAX_CENTROIDS, ProductQuantizer
from foldmap.errors import MapInputError, ModelError
from foldmap.types import FloatArray
from foldmap.visual.codecs import Product
from foldmap.visual.model import AdapterSize, DpqedLayer
from foldmap.visual.serialize import MAX_BYTES, LayerShape, StoredLayer
from foldmap.visual.source import SceneModel
from foldmap.visual.train import Descriptors, LayerProgress, LayerSettings, train_layer

PARTS = (2, 4, 8, 16, 32)
"""M of the paper's tables."""

Report = Callable[[LayerProgress], None]


def pq_codec(means: FloatArray, parts: int, *, seed: int = 0, precision: str = "int8") -> Product:
    """Plain product quantization, fitted to a scene's descriptors.

    Args:
        means: float32 (P, D), unit rows.
        parts: M, bytes a descriptor; a divisor of D.
        seed: of k-means.
        precision: of the codebooks as the file stores them.

    Raises:
        ConfigError: M does not divide D.
    """
    return Product(StoredLayer.of_quantizer(ProductQuantizer.fit(means, parts, seed=seed)), precision, "pq")


def dpqed_codec(
    scene: SceneModel,
    parts: int,
    settings: LayerSettings,
    *,
    pretrained: StoredLayer | None = None,
    precision: str = "int8",
    report: Report = lambda progress: None,
) -> Product:
    """A D-PQED layer of the paper's sizes, trained on a scene; or a trained one, adapted to it by LoRA.

    Args:
        scene: with descriptors.
        parts: M, bytes a descriptor; that of ``pretrained`` where there is one.
        settings: of the training.
        pretrained: codebooks and decoder to adapt; the codebooks stay as they are.
        precision: of what the file stores.
        report: called after each epoch.

    Raises:
        MapInputError: the scene has no descriptors.
        ModelError: the pretrained layer is for other descriptors, or has no decoder.
    """
    described = scene.tracks.descriptors
    if described is None:
        raise MapInputError("the scene has no descriptors", "give its features: features.h5, or a database")
    dimension, points = described.shape[1], len(scene.points_world)
    if pretrained is not None and pretrained.shape.dimension != dimension:
        raise ModelError(
            f"the decoder is for descriptors of {pretrained.shape.dimension} numbers, the scene's have {dimension}",
            "give one that was trained on the same features",
        )
    data = Descriptors.of_tracks(described, scene.tracks.point)
    if pretrained is None:
        shape = LayerShape(dimension, parts, min(MAX_CENTROIDS, points))
        run = train_layer(data, shape, settings, report=report)
    else:
        start = layer_of(pretrained, settings.tau)
        rank = AdapterSize.within(start.shape).rank
        run = train_layer(data, start.shape, settings, start=start, rank=rank, report=report)
    return Product(run.layer.stored(), precision, "dpqed")


def layer_of(stored: StoredLayer, tau: float) -> DpqedLayer:
    """A layer to train on, out of what was stored of one.

    Raises:
        ModelError: additive codebooks.
    """
    layer = DpqedLayer(stored.shape, tau)
    own = {
        name if name == "codebooks" else f"decoder.{name}": torch.from_numpy(np.array(value))
        for name, value in stored.tensors.items()
    }
    layer.load_state_dict(own)
    return layer


def read_layer(path: Path) -> StoredLayer:
    """Read a stored layer from its own file.

    Raises:
        ModelError: it is missing, or no layer of this version.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} is too large to be a decoder", "give a file of foldmap train visual")
        return StoredLayer.from_bytes(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", error.cure) from error
