"""What all generators share: settings, the image trunk, and what a style adds to it.

The early blocks of the trunk are frozen, the late ones fine-tuned, and a neck joins both. What the early blocks see of
an image never changes while a generator is trained, so that it is worked out once. That leaves no room for augmentation
by turning or mirroring images; neither would be right: mirrored streets drive on the other side, and turned ones no
longer have the ego heading up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.errors import ConfigError
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.paper.encoders.lite import Lite0
from foldmap.street.source import LaneGraph

STRIDE_PX = 16
"""Pixels of an image under one cell of the trunk's coarsest features."""
TRUNKS = ("lite0", "random")
EARLY_CHANNELS = 40
_SPLIT, _END = 5, 11
"""Blocks of EfficientNet-lite0: 0 .. 4 lead to stride 8, 5 .. 10 to stride 16."""
_MEAN, _SPREAD = 127.0, 128.0
"""What EfficientNet-lite was trained with."""


@dataclass(frozen=True)
class GeneratorSettings:
    """What a generator is built and trained with; images show and graphs cover `window`.

    Attributes:
        image_px: rows and columns that images are scaled to before the trunk, multiples of 16.
        trunk: "lite0", EfficientNet-lite0 with ImageNet weights, or "random", a small network of random start.
        width: channels of everything behind the trunk, a multiple of 8.
        queries, layers: of TOPO-TR: lines at most that it predicts an image, and decoder layers.
        learning_rate: of all but the trunk, at its peak; the trunk's late blocks learn with a fifth.
        exist: a line or key point of at least this probability is predicted; None for what suits the style.
        link: a connection of at least this probability is predicted.
        shortest_m: lines shorter than this are neither taught nor predicted.
    """

    window: Window = field(default=AROUND)
    image_px: tuple[int, int] = (160, 160)
    trunk: str = "lite0"
    width: int = 64
    queries: int = 48
    layers: int = 3
    epochs: int = 6
    batch: int = 16
    learning_rate: float = 1e-3
    exist: float | None = None
    link: float = 0.5
    shortest_m: float = 1.0

    def __post_init__(self) -> None:
        if any(side < STRIDE_PX or side % STRIDE_PX for side in self.image_px):
            raise ConfigError(f"images of {self.image_px} px", f"give multiples of {STRIDE_PX}")
        if self.trunk not in TRUNKS:
            raise ConfigError(f"no trunk is called {self.trunk!r}", f"give one of {', '.join(TRUNKS)}")
        if self.width < 8 or self.width % 8:
            raise ConfigError(f"a width of {self.width} channels", "give a multiple of 8")
        for name in ("queries", "layers", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{getattr(self, name)} {name}", "give at least one")
        for name in ("learning_rate", "exist", "link", "shortest_m"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)}", "give a positive number")


PRESETS = {
    "small": GeneratorSettings(),
    "tiny": GeneratorSettings(trunk="random", width=32, queries=16, layers=2, epochs=4, image_px=(64, 64)),
}
"""Settings by name: "small" trains within eight minutes of one core on 4,000 pairs, "tiny" in seconds, for trials."""


def _lite0_trunk(pretrained: bool) -> tuple[nn.Module, nn.Module, int]:
    """EfficientNet-lite0 up to stride 8, from there to stride 16, and the channels that come out."""
    lite = Lite0()
    if pretrained:
        lite.load_imagenet()
    blocks = list(lite.blocks)
    early = nn.Sequential(lite.conv_stem, lite.bn0, nn.ReLU6(), *blocks[:_SPLIT])
    return early, nn.Sequential(*blocks[_SPLIT:_END]), 112


def _random_trunk() -> tuple[nn.Module, nn.Module, int]:
    """A small network of random start in the same two parts; its early part stays as it starts: random features."""
    early = nn.Sequential(_down(3, 16), _down(16, 24), _down(24, EARLY_CHANNELS))
    return early, _down(EARLY_CHANNELS, 64), 64


def _down(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, 2, 1), nn.GroupNorm(8, out), nn.ReLU())


class Trunk(nn.Module):
    """Images to feature maps of stride 8 with `width` channels; `kind` is "lite0" or "random"."""

    def __init__(self, kind: str, width: int, pretrained: bool) -> None:
        super().__init__()
        self.early, self.late, channels = _lite0_trunk(pretrained) if kind == "lite0" else _random_trunk()
        self.early.requires_grad_(False)
        self.early = self.early.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster
        self.fine = nn.Conv2d(EARLY_CHANNELS + 3, width, 1)  # seen, and where the cell lies in x and y
        self.coarse = nn.Conv2d(channels, width, 1)
        self.mix = nn.ModuleList(_Dilated(width, dilation) for dilation in (1, 2, 4, 1))

    def train(self, mode: bool = True) -> Trunk:
        """Switch the neck's mode; the trunk's batch normalization keeps the statistics of ImageNet."""
        super().train(mode)
        self.early.eval()
        self.late.eval()
        return self

    @torch.no_grad()
    def see(self, image_BHWC: Tensor, seen_BHW: Tensor | None, size_px: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The frozen part, once an image: half-precision features of stride 8, (B, 40, H/8, W/8), and the share seen.

        Pixels that nothing saw are set to the mean that the trunk was trained around.
        """
        image = (image_BHWC.permute(0, 3, 1, 2).float() - _MEAN) / _SPREAD
        seen = torch.ones_like(image[:, :1]) if seen_BHW is None else seen_BHW[:, None].float()
        image = image * seen
        if image.shape[2:] != size_px:
            image, seen = (functional.interpolate(x, size_px, mode="bilinear", antialias=True) for x in (image, seen))
        early = self.early(image.contiguous(memory_format=torch.channels_last))
        return early.half(), functional.avg_pool2d(seen, 8).half()

    def forward(self, early: Tensor, seen: Tensor) -> Tensor:
        """From `see` to maps (B, width, H/8, W/8)."""
        early = early.float()
        x, y = cell_places(*early.shape[2:])
        place = torch.stack([x, y])[None].expand(len(early), -1, -1, -1)
        fine = self.fine(torch.cat([early, seen.float(), place], 1))
        coarse = self.coarse(self.late(early))
        maps: Tensor = fine + functional.interpolate(coarse, fine.shape[2:], mode="bilinear", align_corners=False)
        for block in self.mix:
            maps = block(maps)
        return maps


class _Dilated(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.spread = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.join = nn.Conv2d(width, width, 1)

    def forward(self, maps: Tensor) -> Tensor:
        step: Tensor = self.join(functional.relu(self.spread(functional.relu(self.norm(maps)))))
        return maps + step


def cell_places(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Return x and y of each cell's centre, (rows, columns) each, -1 .. 1; row 0 is ahead, column 0 left."""
    x = 1 - (2 * torch.arange(rows) + 1) / rows
    y = 1 - (2 * torch.arange(columns) + 1) / columns
    return x[:, None].expand(rows, columns), y[None].expand(rows, columns)


def layers(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between."""
    steps: list[nn.Module] = []
    for inside, out in pairwise(widths):
        steps += [nn.Linear(inside, out), nn.ReLU()]
    return nn.Sequential(*steps[:-1])


class Head(nn.Module, ABC):
    """A style: how maps of the trunk become lane graphs.

    Lines and key points of at least the probability `exist` are predicted, if the settings do not say otherwise.
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

    def suited(self, maps: Sequence[Tensor], targets: Sequence[Any]) -> float | None:
        """The probability to predict from, found on batches of training maps; None for what the style says."""
        return None

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
