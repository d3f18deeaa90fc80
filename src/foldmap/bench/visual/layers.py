"""The layers that the paper's tables train: which codebooks, which decoder, which loss."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import ConfigError
from foldmap.visual.codes.codecs import Product
from foldmap.visual.codes.fit_codecs import fit_codec, settings_for, shape_for
from foldmap.visual.dpq.model import DpqedLayer
from foldmap.visual.dpq.serialize import LayerShape
from foldmap.visual.dpq.train import Descriptors, LayerSettings, objective, train_layer

_ROWS = 4096


@dataclass(frozen=True)
class Recipe:
    """How one layer is trained.

    Attributes:
        settings: loss and schedule; the benchmark's epochs bound them.
        kind: of `visual.codes.fit_codecs`, or "encoder" (codebooks are trained, nothing decodes), or "decoder" (plain
            PQ's codebooks stay as they are, and a decoder is trained behind them).
    """

    settings: LayerSettings = field(default_factory=LayerSettings)
    kind: str = "dpqed"


RECIPES: dict[str, Recipe] = {
    "dpqed": Recipe(),
    "encoder": Recipe(kind="encoder"),
    "decoder-l2": Recipe(LayerSettings(loss="l2"), "decoder"),
    "decoder-triplet": Recipe(kind="decoder"),
    "dpqed-l2": Recipe(LayerSettings(loss="l2")),
    "dpqed-n-pair-10": Recipe(LayerSettings(loss="n-pair", pairs=10)),
    "dpqed-n-pair-20": Recipe(LayerSettings(loss="n-pair", pairs=20)),
    "dpqed-triplet-0.3": Recipe(LayerSettings(margin=0.3)),
    "dpqed-triplet-0.5": Recipe(LayerSettings(margin=0.5)),
    "dpqed+": Recipe(settings_for("dpqed+"), "dpqed+"),
}
"""Name -> recipe. "dpqed" is the paper's: triplet loss of margin 0.9 on codebooks and decoder together; "dpqed+" is
foldmap's."""


def train_recipe(
    name: str, data: Descriptors, parts: int, *, epochs: int, seed: int = 0, folder: Path | None = None
) -> Product:
    """Train one of `RECIPES` on a scene's descriptors, with ``parts`` (M) codebooks.

    A recipe with fewer epochs keeps its own. A finished run in the folder of checkpoints is taken as it is.

    Raises:
        ConfigError: no such recipe, or checkpoints of other settings.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}", f"choose one of {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    settings = replace(recipe.settings, epochs=min(epochs, recipe.settings.epochs), seed=seed)
    if recipe.kind not in ("encoder", "decoder"):
        return fit_codec(data, parts, recipe.kind, settings, folder=folder)
    shape = shape_for("dpqed", data, parts)
    if recipe.kind == "encoder":
        layer = train_layer(data, replace(shape, hidden=0), settings, folder=folder).network
    else:
        layer = train_decoder(data, shape, settings)
    return Product(layer.stored(), name="dpqed")


def train_decoder(data: Descriptors, shape: LayerShape, settings: LayerSettings) -> DpqedLayer:
    """Train a decoder behind plain PQ's codebooks, which stay as they are.

    Of the settings loss, epochs, batch, learning rate and seed count.

    Raises:
        ConfigError: the shape has nothing to train.
    """
    if not shape.hidden:
        raise ConfigError("only a layer with a decoder is trained behind fixed codebooks", "give it hidden units")
    torch.manual_seed(settings.seed)
    layer = DpqedLayer(shape, settings.tau)
    layer.start_from(ProductQuantizer.fit(data.mean_PD, shape.parts, shape.centroids, seed=settings.seed))
    optimizer = torch.optim.Adam(layer.decoder.parameters(), lr=settings.learning_rate)
    with torch.no_grad():
        means = torch.from_numpy(data.mean_PD)
        starts = range(0, len(means), _ROWS)
        quantized = torch.cat([layer.quantize(means[first : first + _ROWS]) for first in starts])
    for epoch in range(settings.epochs):
        order = torch.from_numpy(np.random.default_rng([settings.seed, epoch]).permutation(len(means)))
        for first in range(0, len(means) - 1, settings.batch):  # a last batch of one row has no negatives
            rows = order[first : first + settings.batch]
            loss = objective(means[rows], layer.decoder(quantized[rows]), rows, settings)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return layer
