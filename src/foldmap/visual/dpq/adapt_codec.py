"""A trained D-PQED layer taken from a file, as it is or adapted to a scene by LoRA (paper section 3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from foldmap.errors import ModelError
from foldmap.visual.codes.codecs import DescriptorCodec, Product, read_codec
from foldmap.visual.dpq.model import DpqedLayer, adapter_rank
from foldmap.visual.dpq.serialize import StoredLayer, read_layer
from foldmap.visual.dpq.train import Descriptors, LayerProgress, LayerSettings, train_layer


def adapted_codec(
    data: Descriptors,
    pretrained: StoredLayer,
    settings: LayerSettings,
    *,
    precision: str = "int8",
    report: Callable[[LayerProgress], None] = lambda progress: None,
) -> Product:
    """Adapt a trained layer's decoder to a scene; its codebooks stay as they are. `report` is called after each epoch.

    Raises:
        ModelError: the layer is for other descriptors, or has no decoder.
    """
    _check_dimension(pretrained, data.mean_PD.shape[1])
    start = trainable_layer(pretrained, settings.tau)
    run = train_layer(data, start.shape, settings, start=start, rank=adapter_rank(start.shape), report=report)
    return Product(run.network.stored(), precision, "dpqed")


def codec_from_file(path: Path, dimension: int) -> DescriptorCodec:
    """A model of ``foldmap train visual`` as the code of a scene with descriptors of `dimension` numbers, as it is.

    Raises:
        ModelError: it is missing, no layer of this version, or for other descriptors.
    """
    _check_dimension(read_layer(path), dimension)
    return read_codec({"codec": "dpqed"}, dimension, path.read_bytes())


def _check_dimension(layer: StoredLayer, dimension: int) -> None:
    if layer.shape.dimension != dimension:
        raise ModelError(
            f"the layer is for descriptors of {layer.shape.dimension} numbers, the scene's have {dimension}",
            "give one that was trained on the same features",
        )


def trainable_layer(stored: StoredLayer, tau: float) -> DpqedLayer:
    """A layer to train on, out of what was stored of one."""
    layer = DpqedLayer(stored.shape, tau)
    own = {name: torch.from_numpy(np.array(value)) for name, value in stored.tensors.items()}
    layer.load_state_dict({name if name == "codebooks" else f"decoder.{name}": value for name, value in own.items()})
    return layer
