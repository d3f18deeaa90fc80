"""What every embedding model of the street layer can do, and how one is read from its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from foldmap.errors import ModelError
from foldmap.street.graph.window import Window
from foldmap.street.images.observation import Observation
from foldmap.street.source import LaneGraph
from foldmap.training.model_bytes import read_info, read_model_file
from foldmap.types import DoubleArray, FloatArray

MAX_BYTES = 256 << 20
_CURE = "use a model written by `foldmap train street`"


@runtime_checkable
class EmbeddingModel(Protocol):
    """Embeds lane graphs and observations into one space."""

    @property
    def name(self) -> str:
        """Kind of model: "field" or "paper"."""

    @property
    def window(self) -> Window:
        """What graphs and observations cover."""

    @property
    def dim(self) -> int:
        """Numbers of an embedding."""

    def embed_graphs(self, graphs: Sequence[LaneGraph]) -> FloatArray:
        """Unit rows float32 (N, dim) of graphs in the ego frame, cut to the window."""

    def embed_observations(self, observations: Sequence[Observation]) -> FloatArray:
        """Unit rows float32 (N, dim)."""

    def payload(self) -> bytes:
        """All of it, as `read_model` takes it."""


@runtime_checkable
class DrawingModel(EmbeddingModel, Protocol):
    """One that embeds the windows of a map without cutting them out first."""

    def embed_around(self, ends_m: DoubleArray, poses: DoubleArray) -> FloatArray:
        """Unit rows float32 (N, dim); arguments as `foldmap.street.field.lane_field.draw_around`."""


@runtime_checkable
class MirroringModel(EmbeddingModel, Protocol):
    """One whose embeddings tell what the mirrored place would have."""

    @property
    def mirror_signs(self) -> FloatArray:
        """Embeddings float32 (dim,) times these are of the place with ahead and behind exchanged, driven backwards."""


def read_model(payload: bytes) -> EmbeddingModel:
    """Rebuild a model of either kind from its bytes, trusting nothing (ModelError: no model of this version)."""
    kind = model_kind(payload)
    if kind == "street-field":
        from foldmap.street.field.model import FieldEmbedding

        return FieldEmbedding.from_payload(payload)
    if kind == "street-paper":
        from foldmap.street.paper.model import PaperEmbedding  # needs torch

        return PaperEmbedding.from_payload(payload)
    raise ModelError(f"the model is a {kind!r}, not one of the street layer", _CURE)


def model_kind(payload: bytes) -> str:
    """The kind that a model's header names (ModelError: the bytes have no such header)."""
    kind = read_info(payload, _CURE).get("kind")
    if not isinstance(kind, str):
        raise ModelError("the model's header names no kind", _CURE)
    return kind


def read_street_model(path: Path) -> EmbeddingModel:
    """Read a model of ``foldmap train street`` (ModelError: it is missing, or no street model of this version)."""
    return read_model_file(path, read_model, MAX_BYTES, "train street")
