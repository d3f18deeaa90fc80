"""What a style of generator adds to the trunk, and how styles decide which predicted line follows which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.bench.street.generators.settings import GeneratorSettings
from foldmap.bench.street.generators.trunk import layers
from foldmap.street.source import LaneGraph


class Head(nn.Module, ABC):
    """A style: how maps of the trunk become lane graphs.

    Attributes:
        exist: a line or key point of at least this probability is predicted, if the settings do not say otherwise.
    """

    exist: ClassVar[float]

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__()
        self.settings = settings

    @property
    def least(self) -> float:
        """Probability from which a line or key point is predicted."""
        return self.exist if self.settings.exist is None else self.settings.exist

    @abstractmethod
    def targets(self, graph: LaneGraph, rng: np.random.Generator) -> Any:
        """What an image with this graph is taught; of length zero where nothing lies in the window."""

    def start(self, targets: Sequence[Any], rng: np.random.Generator) -> None:
        """Start parameters from what will be taught, where a style does so."""

    @abstractmethod
    def loss(self, maps: Tensor, targets: list[Any], rng: np.random.Generator) -> Tensor:
        """The objective over a batch: maps (B, width, H/8, W/8) and the targets of those images."""

    @abstractmethod
    def draw(self, maps: Tensor) -> list[LaneGraph]:
        """Graphs in the ego frame, one an image; empty where the network finds no lane."""


class LinkHead(nn.Module):
    """Decides connections between pairs of lines, by an embedding of each and the gap between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = layers(width, width, width)
        self.after = layers(width, width, width)
        self.gap = nn.Parameter(torch.tensor(10.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, before: Tensor, after: Tensor, end: Tensor, start: Tensor) -> Tensor:
        """Logits (C, C) that line j starts where line i ends.

        Embeddings (C, width) of lines are those needed at their ends (`before`) and at their starts (`after`); they end
        and start at (C, 2), -1 .. 1.
        """
        likeness = self.before(before) @ self.after(after).T / before.shape[-1] ** 0.5
        gap = torch.cdist(end.detach(), start.detach())
        logit: Tensor = likeness - self.gap * gap + self.bias
        return logit


def link_loss(logit: Tensor, follows: Tensor) -> Tensor:
    """Cross-entropy over the pairs of different lines (C, C), in which connected and unconnected ones weigh alike."""
    off = ~torch.eye(len(logit), dtype=torch.bool)
    wanted = follows[off].float()
    each = functional.binary_cross_entropy_with_logits(logit[off], wanted, reduction="none")
    linked = wanted.sum()
    if not linked:
        return each.mean()
    return (each * wanted).sum() / linked / 2 + (each * (1 - wanted)).sum() / (1 - wanted).sum().clamp(min=1) / 2
