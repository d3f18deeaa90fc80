"""The image network of the lane field: a ground image in the ego frame to logits of the field, and nothing else.

::

    ground image 4r x 4c --lite0, first 11 blocks--> 1/4, 1/8, 1/16 --top-down sums--> 1/4 = field cells
                                    (old map's field --convolutions--> 1/4, 1/8, 1/16, where a map is given)

With the second input the network says which lanes are there, which the map lacks, and which are gone
(`foldmap.street.changes.survey`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.errors import ConfigError
from foldmap.street.field.lane_field import FieldSpec
from foldmap.street.images.ground import BirdsEye
from foldmap.street.images.observation import Observation
from foldmap.street.paper.encoders.lite import Lite0

IMAGE_PER_CELL = 4
"""Image pixels along the side of a field cell."""
_BLOCKS = 11
_TAPS = {2: 24, 4: 40, 10: 112}
"""Block whose output is tapped -> its channels, at strides 4, 8 and 16."""
_MEAN_RGB = (123.675, 116.28, 103.53)
_STD_RGB = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class FieldShape:
    """What decides the tensors of a network: channels of the field, `width` channels of the sums, and `with_map`.

    With a map it also takes the field of an old map, and answers three fields: present, lacking, gone.
    """

    headings: int = 8
    width: int = 64
    with_map: bool = False

    def __post_init__(self) -> None:
        if not (2 <= self.headings <= 64 and 4 <= self.width <= 1024):
            raise ConfigError(f"a field network of {self}", "give 2 to 64 headings and a width of 4 to 1024")


class FieldNetwork(nn.Module):
    """Ground image to lane field."""

    mean_rgb: Tensor
    std_rgb: Tensor

    def __init__(self, shape: FieldShape) -> None:
        super().__init__()
        self.shape = shape
        lite = Lite0()
        self.stem, self.stem_norm = lite.conv_stem, lite.bn0
        self.blocks = nn.ModuleList(list(lite.blocks)[:_BLOCKS])
        wide = shape.width
        self.taps = nn.ModuleList([nn.Conv2d(channels, wide, 1) for channels in _TAPS.values()])
        self.sums = nn.ModuleList([nn.Sequential(*(_mix(wide) for _ in range(n))) for n in (2, 1, 2)])
        self.head = nn.Conv2d(wide, shape.headings * (3 if shape.with_map else 1), 1)
        if shape.with_map:
            first = nn.Sequential(_mix(wide, shape.headings), _mix(wide))
            self.map_steps = nn.ModuleList([first, _mix(wide, stride=2), _mix(wide, stride=2)])
        self.register_buffer("mean_rgb", torch.tensor(_MEAN_RGB)[:, None, None], persistent=False)
        self.register_buffer("std_rgb", torch.tensor(_STD_RGB)[:, None, None], persistent=False)

    def load_imagenet(self) -> None:
        """Start the trunk from ImageNet (`Lite0.load_imagenet`)."""
        lite = Lite0()
        lite.load_imagenet()
        self.stem.load_state_dict(lite.conv_stem.state_dict())
        self.stem_norm.load_state_dict(lite.bn0.state_dict())
        for mine, its in zip(self.blocks, lite.blocks, strict=False):
            mine.load_state_dict(its.state_dict())

    def trunk_parameters(self) -> list[nn.Parameter]:
        """Those that ImageNet gives a start to."""
        return [value for part in (self.stem, self.stem_norm, self.blocks) for value in part.parameters()]

    def forward(self, image_B3HW: Tensor, seen_BHW: Tensor, map_BCRS: Tensor | None = None) -> Tensor:
        """Logits (B, headings, H / 4, W / 4); with a map three times the channels: present, lacking, gone.

        Images are RGB, 0 to 255, sides a multiple of 16, row 0 ahead; `seen_BHW` is 1 where they show ground, the rest
        is blanked; `map_BCRS` is the field of the old map at a quarter of the sides, for a network with a map.
        """
        x = (image_B3HW - self.mean_rgb) / self.std_rgb * seen_BHW[:, None]
        x = x.contiguous(memory_format=torch.channels_last)
        x = functional.relu6(self.stem_norm(self.stem(x)))
        tapped: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in _TAPS:
                tapped.append(self.taps[len(tapped)](x))
        if map_BCRS is not None:
            for scale, step in enumerate(self.map_steps):
                map_BCRS = step(map_BCRS)
                tapped[scale] = tapped[scale] + map_BCRS
        y = self.sums[0](tapped[2])
        for scale, mix in ((1, self.sums[1]), (0, self.sums[2])):
            y = mix(functional.interpolate(y, scale_factor=2, mode="bilinear") + tapped[scale])
        logits: Tensor = self.head(y)
        return logits


def _mix(wide: int, channels: int | None = None, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels or wide, wide, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(wide), nn.ReLU(inplace=True))


def birds_eye(field: FieldSpec) -> BirdsEye:
    """The view that the field network takes."""
    return BirdsEye(field.window, field.shape[1] * IMAGE_PER_CELL)


def ground_tensors(observations: Sequence[Observation], eye: BirdsEye) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W), 0 to 255, and where they show ground (B, H, W)."""
    images, seen = zip(*map(eye, observations), strict=True)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float(), torch.from_numpy(np.stack(seen)).float()
