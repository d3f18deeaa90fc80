"""The paper's embedding model: both encoders, trained, which embed lane graphs and observations into one space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.errors import MapInputError, ModelError
from foldmap.street.images.observation import Observation
from foldmap.street.paper.encoders.graph import GraphEncoder
from foldmap.street.paper.encoders.image import ImageEncoder, PackedViews, pack_views, prepare
from foldmap.street.paper.encoders.lite import Lite0
from foldmap.street.paper.encoders.packing import PackedGraphs, graph_rows, pack
from foldmap.street.paper.encoders.shape import PaperShape
from foldmap.street.source import LaneGraph
from foldmap.training.model_bytes import PRECISIONS, model_from_bytes, model_to_bytes, pack_network, unpack_network
from foldmap.training.places import KEY
from foldmap.types import AnyArray, FloatArray

_MOST_SCALE = 100.0
_BATCH = 32
FORMAT = 1
KIND = "street-paper"
MAX_BYTES = 256 << 20
_CURE = "use a model written by foldmap"


class PaperNetwork(nn.Module):
    """phi_image and phi_graph (Pix2Map)."""

    def __init__(self, shape: PaperShape) -> None:
        super().__init__()
        self.shape = shape
        self.graph = GraphEncoder(shape.graph, max(shape.window.size_m) / 2, shape.dim)
        self.image = ImageEncoder(shape.image, shape.dim)
        self.log_scale = nn.Parameter(torch.zeros(()))  # logarithm of 1 / temperature; zero is the paper's

    @property
    def scale(self) -> Tensor:
        """One over the temperature, at most 100."""
        return self.log_scale.clamp(max=math.log(_MOST_SCALE)).exp()

    def embed_graphs(self, packed: PackedGraphs) -> Tensor:
        """Unit rows, (N, dim)."""
        return functional.normalize(self.graph(packed).float(), dim=1)

    def embed_views(self, packed: PackedViews) -> Tensor:
        """Unit rows, (N, dim)."""
        return functional.normalize(self.image(packed).float(), dim=1)

    def load_imagenet(self) -> None:
        """Start the image trunk from ImageNet where it is one that has such weights."""
        if isinstance(self.image.trunk, Lite0):
            self.image.trunk.load_imagenet()


class PaperEmbedding:
    """Embeds graphs and observations by a trained network; their cosine says how well they fit."""

    def __init__(self, network: PaperNetwork) -> None:
        self._network, shape = network.eval(), network.shape
        self.name = shape.name if shape.name == "paper" else f"paper-{shape.name}"
        self.window, self.dim = shape.window, shape.dim

    @staticmethod
    def from_payload(payload: bytes) -> PaperEmbedding:
        """Read what `payload` wrote (ModelError: the bytes are no paper network of this version)."""
        return PaperEmbedding(from_bytes(payload))

    def payload(self, precision: str = "half") -> bytes:
        """The network as safetensors bytes."""
        return to_bytes(self._network, precision)

    @torch.inference_mode()
    def embed_graphs(self, graphs: Sequence[LaneGraph]) -> FloatArray:
        """Unit rows float32 (N, dim) of graphs in the ego frame, cut to `window`; empty ones have an embedding too.

        MapInputError: a graph that is not in the window; the message says which one.
        """
        shape, rows = self._network.shape, []
        for number, graph in enumerate(graphs):
            try:
                rows.append(graph_rows(graph, shape.graph, shape.window))
            except MapInputError as error:
                raise MapInputError(f"graph {number}: {error.message}", error.cure) from error
        out = np.empty((len(rows), self.dim), np.float32)
        for first in range(0, len(rows), _BATCH):
            packed = pack(rows[first : first + _BATCH], shape.graph.direction)
            out[first : first + _BATCH] = self._network.embed_graphs(packed).numpy()
        return out

    @torch.inference_mode()
    def embed_observations(self, observations: Sequence[Observation]) -> FloatArray:
        """Unit rows float32 (N, dim) of rings or crops with images of any size; missing cameras are left out.

        MapInputError: a crop of another window, or an unusable calibration; the message says of which observation.
        """
        shape = self._network.shape
        out = np.empty((len(observations), self.dim), np.float32)
        for first in range(0, len(observations), _BATCH):
            views = []
            for number, observation in enumerate(observations[first : first + _BATCH], first):
                try:
                    views.append(prepare(observation, shape.image, shape.window))
                except MapInputError as error:
                    raise MapInputError(f"observation {number}: {error.message}", error.cure) from error
            out[first : first + _BATCH] = self._network.embed_views(pack_views(views)).numpy()
        return out


def to_bytes(network: PaperNetwork, precision: str = "half") -> bytes:
    """Serialize in "half" or "single" precision; the same weights give the same bytes."""
    info = {"format": FORMAT, "kind": KIND, "precision": precision, "shape": asdict(network.shape)}
    return model_to_bytes(pack_network(network, precision), info)


def from_bytes(payload: bytes) -> PaperNetwork:
    """Rebuild a network in evaluation mode, trusting nothing (ModelError: no paper network of this version)."""
    return model_from_bytes(payload, _rebuilt, FORMAT, most_bytes=MAX_BYTES, cure=_CURE)


def _rebuilt(info: dict[str, Any], arrays: dict[str, AnyArray]) -> PaperNetwork:
    if set(info) - {KEY} != {"format", "kind", "precision", "shape"}:
        raise ModelError("the model's header has unknown or missing fields", _CURE)
    if info["kind"] != KIND:
        raise ModelError(f"the model is a {info['kind']!r}, not a {KIND}", "give the model of this layer")
    if info["precision"] not in PRECISIONS:
        raise ModelError(f"the model is stored in {info['precision']!r}", _CURE)
    shape = PaperShape.from_dict(info["shape"])
    return unpack_network(lambda: PaperNetwork(shape), arrays, info["precision"], _CURE)
