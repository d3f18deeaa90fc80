"""A trained D-PQED layer taken from a file and adapted to a scene by LoRA (paper section 3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from foldmap.errors import ModelError
from foldmap.visual.codes.codecs import Product
from foldmap.visual.dpq.model import AdapterSize, DpqedLayer
from foldmap.visual.dpq.serialize import MAX_BYTES, StoredLayer
from foldmap.visual.dpq.train import Descriptors, LayerProgress, LayerSettings, train_layer

Report = Callable[[LayerProgress], None]


def adapted_codec(
    data: Descriptors,
    pretrained: StoredLayer,
    settings: LayerSettings,
    *,
    precision: str = "int8",
    report: Report = lambda progress: None,
) -> Product:
    """Adapt a trained layer's decoder to a scene; its codebooks stay as they are.

    Args:
        data: of the scene.
        pretrained: codebooks and decoder.
        settings: of the training.
        precision: of what the file stores.
        report: called after each epoch.

    Raises:
        ModelError: the layer is for other descriptors, or has no decoder.
    """
    dimension = data.mean_PD.shape[1]
    if pretrained.shape.dimension != dimension:
        raise ModelError(
            f"the decoder is for descriptors of {pretrained.shape.dimension} numbers, the scene's have {dimension}",
            "give one that was trained on the same features",
        )
    start = layer_of(pretrained, settings.tau)
    rank = AdapterSize.within(start.shape).rank
    run = train_layer(data, start.shape, settings, start=start, rank=rank, report=report)
    return Product(run.layer.stored(), precision, "dpqed")


def layer_of(stored: StoredLayer, tau: float) -> DpqedLayer:
    """A layer to train on, out of what was stored of one."""
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
