"""The image network of the lane field: a ground image in the ego frame to logits of the field, and nothing else.

::

    ground image 4r x 4c --lite0, first 11 blocks--> 1/4, 1/8, 1/16 --top-down sums--> 1/4 = field cells
                                    (old map's field --convolutions--> 1/4, 1/8, 1/16, where a map is given)

With the second input the network says which lanes are there, which the map lacks, and which are gone
(`foldmap.street.changes.survey`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.street.field.shape import BLOCKS, MEAN_RGB, STD_RGB, TAPS, FieldShape
from foldmap.street.paper.encoders.lite import Lite0
from foldmap.training.model_bytes import pack_network, unpack_network
from foldmap.types import AnyArray, FloatArray


class FieldNetwork(nn.Module):
    """Ground image to lane field."""

    mean_rgb: Tensor
    std_rgb: Tensor

    def __init__(self, shape: FieldShape) -> None:
        super().__init__()
        self.shape = shape
        lite = Lite0()
        self.stem, self.stem_norm = lite.conv_stem, lite.bn0
        self.blocks = nn.ModuleList(list(lite.blocks)[:BLOCKS])
        wide = shape.width
        self.taps = nn.ModuleList([nn.Conv2d(channels, wide, 1) for channels in TAPS.values()])
        self.sums = nn.ModuleList([nn.Sequential(*(_mix(wide) for _ in range(n))) for n in (2, 1, 2)])
        self.head = nn.Conv2d(wide, shape.headings * shape.fields, 1)
        if shape.with_map:
            first = nn.Sequential(_mix(wide, shape.headings), _mix(wide))
            self.map_steps = nn.ModuleList([first, _mix(wide, stride=2), _mix(wide, stride=2)])
        self.register_buffer("mean_rgb", torch.tensor(MEAN_RGB)[:, None, None], persistent=False)
        self.register_buffer("std_rgb", torch.tensor(STD_RGB)[:, None, None], persistent=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

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

    @torch.no_grad()
    def read(self, image_B3HW: FloatArray, seen_BHW: FloatArray, map_BCRS: FloatArray | None = None) -> FloatArray:
        """See `foldmap.street.field.shape.FieldReader`."""
        self.eval()
        old = None if map_BCRS is None else torch.from_numpy(map_BCRS)
        logits: FloatArray = self(torch.from_numpy(image_B3HW), torch.from_numpy(seen_BHW), old).float().numpy()
        return logits

    @classmethod
    def unpacked(cls, shape: FieldShape, arrays: Mapping[str, AnyArray], cure: str = "") -> FieldNetwork:
        """A network with the weights that `packed` gave (ModelError: they are others)."""
        return unpack_network(lambda: cls(shape), arrays, "half", cure)

    def packed(self) -> dict[str, AnyArray]:
        """See `foldmap.street.field.shape.FieldReader`."""
        return pack_network(self)

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
            if number in TAPS:
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
