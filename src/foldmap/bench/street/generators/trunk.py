"""The image trunk that all generators share: early blocks frozen, late blocks fine-tuned, and a neck that joins both.

What the early blocks see of an image never changes while a generator is trained, so that it is worked out once. That
leaves no room for augmentation by turning or mirroring images; neither would be right: mirrored streets drive on the
other side, and turned ones no longer have the ego heading up.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.street.paper.encoders.lite import Lite0

EARLY_CHANNELS = 40
_SPLIT, _END = 5, 11
"""Blocks of EfficientNet-lite0: 0 .. 4 lead to stride 8, 5 .. 10 to stride 16."""
_MEAN, _SPREAD = 127.0, 128.0
"""What EfficientNet-lite was trained with."""


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
        return self.early(image.contiguous(memory_format=torch.channels_last)).half(), functional.avg_pool2d(
            seen, 8
        ).half()

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


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Feature maps (B, C, H, W) at points (B, ..., 2) of -1 .. 1 (x ahead, y left), bilinear: (B, ..., C)."""
    where = -points.flatten(1, -2).flip(-1)[:, :, None]  # columns grow to the right, rows to the back
    found = functional.grid_sample(maps, where, mode="bilinear", padding_mode="border", align_corners=False)
    return found[..., 0].transpose(1, 2).reshape(*points.shape[:-1], maps.shape[1])


def layers(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between."""
    steps: list[nn.Module] = []
    for inside, out in pairwise(widths):
        steps += [nn.Linear(inside, out), nn.ReLU()]
    return nn.Sequential(*steps[:-1])
