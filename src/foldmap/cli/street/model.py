"""Models of the street layer: given as a file, stored in the map, or shipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foldmap.errors import ModelError

if TYPE_CHECKING:
    from foldmap.street.field.model import FieldEmbedding
    from foldmap.street.model import EmbeddingModel
    from foldmap.street.unfold import StreetLayer


def read_street_model(path: Path) -> EmbeddingModel:
    """Read a model of ``foldmap train street``, which loads its libraries only then.

    Raises:
        ModelError: it is missing, or no street model of this version.
    """
    from foldmap.street import model

    return model.read_street_model(path)


def layer_model(layer: StreetLayer, given: Path | None = None) -> EmbeddingModel:
    """The model of a map, or another one that is given and makes embeddings of the same kind.

    Raises:
        ModelError: the map was folded without one, or the given one does not fit the map's embeddings.
    """
    if given is not None:
        model = read_street_model(given)
        dimension = model.dim if layer.codec is None else layer.dimension
        made = layer.model_name, dimension, layer.window
        if layer.model_name is not None and (model.name, model.dim, model.window) != made:
            raise ModelError(
                f"{given} is a model {model.name} of {model.dim} numbers, the map has embeddings of {layer.model_name}",
                "give the model that the map was folded with, or one trained from it",
            )
        return model
    if layer.model_name is None:
        raise ModelError("the street layer was folded without a model", "give --model, or fold the map with one")
    return layer.model()


def shipped_model() -> EmbeddingModel:
    """The model that comes with foldmap, trained on generated towns alone.

    Raises:
        ModelError: this installation has none.
    """
    from foldmap.street.defaults import default_model

    return default_model()


def update_model(given: Path | None, layer: StreetLayer) -> FieldEmbedding:
    """A model whose network takes a map: the given one, the map's own if it is such a one, else the shipped one.

    Raises:
        ModelError: the given one takes no map, or none is installed.
    """
    from foldmap.street.defaults import default_model
    from foldmap.street.field.model import FieldEmbedding

    if given is not None:
        model = read_street_model(given)
        if not isinstance(model, FieldEmbedding) or not model.network.shape.with_map:
            raise ModelError(f"{given} takes no map to compare with", "train one with foldmap train street --update")
        return model
    if layer.model_name is not None:
        own = layer_model(layer)
        if isinstance(own, FieldEmbedding) and own.network.shape.with_map:
            return own
    return default_model(update=True)
