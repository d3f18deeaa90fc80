"""Which predicted line follows which: by an embedding of each, and the gap between them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.bench.street.generators.trunk import layers


class LinkHead(nn.Module):
    """Decides connections between pairs of lines.

    Args:
        width: of the embeddings of lines.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = layers(width, width, width)
        self.after = layers(width, width, width)
        self.gap = nn.Parameter(torch.tensor(10.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, before: Tensor, after: Tensor, end: Tensor, start: Tensor) -> Tensor:
        """Logits (C, C) that line j starts where line i ends.

        Args:
            before: (C, width), embeddings as they are needed at the end of a line.
            after: (C, width), at its start.
            end: (C, 2), where lines end, -1 .. 1.
            start: (C, 2), where they start.
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
