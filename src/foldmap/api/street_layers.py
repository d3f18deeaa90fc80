"""Which region of a street map is meant, and which model embeds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foldmap.errors import ConfigError, ModelError
from foldmap.street.defaults import default_model
from foldmap.street.model import EmbeddingModel, read_street_model
from foldmap.street.unfold import FoldedStreet

if TYPE_CHECKING:
    from foldmap.street.field.model import FieldEmbedding


def one_region(names: Sequence[str], told: str | None, maps: Sequence[str] | None = None) -> str:
    """The one region that is meant: told by the user, by the maps that the observations are of, or the only one.

    No such region is a ConfigError, and so are several of which nobody says which one is meant.
    """
    shown = ", ".join(names[:8])
    if told is not None and told not in names:
        raise ConfigError(f"the map has no region {told!r}", f"it has {shown}")
    said = {told} if told is not None else set(maps or ()) & set(names) or set(names)
    if len(said) > 1:
        raise ConfigError(f"the map has {len(names)} regions, each in a frame of its own", f"give --region: {shown}")
    return said.pop()


def layer_model(layer: FoldedStreet, given: Path | None = None) -> EmbeddingModel:
    """The model of a map, or another one that is given and makes embeddings of the same kind, else a ModelError."""
    if given is not None:
        model = read_street_model(given)
        dimension = model.dim if layer.codec is None else layer.dimension
        made = layer.model_name, dimension, layer.window
        if layer.model_name is not None and (model.name, model.dim, model.window) != made:
            said = f"a model {model.name} of {model.dim} numbers, the map has embeddings of {layer.model_name}"
            cure = "give the model that the map was folded with, or one trained from it"
            raise ModelError(f"{given} is {said}", cure)
        return model
    if layer.model_name is None:
        raise ModelError("the street layer was folded without a model", "give --model, or fold the map with one")
    return layer.model()


def comparing_model(layer: FoldedStreet, given: Path | None = None) -> FieldEmbedding:
    """A model whose network takes a map: the given one, else a ModelError; the map's own if it does, or a shipped."""
    from foldmap.street.field.model import FieldEmbedding

    if given is not None or layer.model_name is not None:
        model = read_street_model(given) if given is not None else layer.model()
        if isinstance(model, FieldEmbedding) and model.network.shape.with_map:
            return model
        if given is not None:
            raise ModelError(f"{given} takes no map to compare with", "train one with foldmap train street --update")
    return default_model(update=True)
