"""Both encoders, and the temperature of their similarity."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.street.paper.encoders.graph import GraphEncoder
from foldmap.street.paper.encoders.image import ImageEncoder, PackedViews
from foldmap.street.paper.encoders.lite import Lite0
from foldmap.street.paper.encoders.packing import PackedGraphs
from foldmap.street.paper.encoders.shape import PaperShape

_MOST_SCALE = 100.0


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
