"""What every embedding model of the street layer can do, and how one is read from its bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from foldmap.errors import ModelError
from foldmap.street.graph.window import Window
from foldmap.street.images.observation import Observation
from foldmap.street.source import LaneGraph
from foldmap.types import DoubleArray, FloatArray

_CURE = "use a model written by `foldmap train street`"


@runtime_checkable
class EmbeddingModel(Protocol):
    """Embeds lane graphs and observations into one space."""

    @property
    def name(self) -> str:
        """Kind of model: "field" or "paper"."""
        ...

    @property
    def window(self) -> Window:
        """What graphs and observations cover."""
        ...

    @property
    def dim(self) -> int:
        """Numbers of an embedding."""
        ...

    def embed_graphs(self, graphs: Sequence[LaneGraph]) -> FloatArray:
        """Unit rows float32 (N, dim) of graphs in the ego frame, cut to the window."""
        ...

    def embed_observations(self, observations: Sequence[Observation]) -> FloatArray:
        """Unit rows float32 (N, dim)."""
        ...

    def payload(self) -> bytes:
        """All of it, as `read_model` takes it."""
        ...


@runtime_checkable
class DrawingModel(EmbeddingModel, Protocol):
    """One that embeds the windows of a map without cutting them out first."""

    def embed_around(self, ends_m: DoubleArray, poses: DoubleArray) -> FloatArray:
        """Unit rows float32 (N, dim); arguments as `foldmap.street.field.draw.draw_around`."""
        ...


def read_model(payload: bytes) -> EmbeddingModel:
    """Rebuild a model of either kind from its bytes, trusting nothing.

    Raises:
        ModelError: no model of this version.
    """
    from foldmap.street.field.model import FieldEmbedding
    from foldmap.street.paper.model import PaperEmbedding

    kind = model_kind(payload)
    if kind == "street-field":
        return FieldEmbedding.from_payload(payload)
    if kind == "street-paper":
        return PaperEmbedding.from_payload(payload)
    raise ModelError(f"the model is a {kind!r}, not one of the street layer", _CURE)


def model_kind(payload: bytes) -> str:
    """The kind that a model's header names.

    Raises:
        ModelError: the bytes have no such header.
    """
    info = read_info(payload)
    kind = info.get("kind")
    if not isinstance(kind, str):
        raise ModelError("the model's header names no kind", _CURE)
    return kind


def read_info(payload: bytes) -> dict[str, Any]:
    """The JSON beside the tensors of a safetensors file.

    Raises:
        ModelError: the bytes have no such header.
    """
    size = int.from_bytes(payload[:8], "little")
    if len(payload) < 8 or size > min(len(payload) - 8, 1 << 20):
        raise ModelError("the model is cut off or damaged", _CURE)
    try:
        info = json.loads(json.loads(payload[8 : 8 + size])["__metadata__"]["info"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError("the model's header cannot be read", _CURE) from error
    if not isinstance(info, dict):
        raise ModelError("the model's header cannot be read", _CURE)
    return info
