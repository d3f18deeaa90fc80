"""The networks of the lidar layer, and nothing else.

    map   -> Embedding -> CodeEncoder -> grouped softmax -> binary code   (folding, offline)
    code  -> CodeDecoder -> map embedding                                 (localizing)
    sweep -> Embedding -> sweep embedding                                 (localizing)

Source: Learning to Localize Through Compressed Binary Maps, section 3.2 and figures 2, 3. Inputs are two channels,
locally normalized intensity and the observed mask (`foldmap.lidar.normalize`), where the paper has one: a map with
holes must tell a hole from dark asphalt.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.errors import ConfigError
from foldmap.lidar.presets import INPUT_CHANNELS, Preset

BINARY_THRESHOLD = 0.5
INITIAL_LOGIT_GAIN = 4.0


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class _Down(nn.Module):
    """Two stride-1 convolutions and one stride-2; returns (skip at full size, half size)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.keep = nn.Sequential(_conv(inputs, outputs), _conv(outputs, outputs))
        self.shrink = _conv(outputs, outputs, stride=2)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        skip = self.keep(x_BCHW)
        return skip, self.shrink(skip)


class _Up(nn.Module):
    """One 3x3 deconvolution, the skip added, one 3x3 convolution."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose2d(inputs, width, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.mix = _conv(width, width)

    def forward(self, x_BCHW: Tensor, skip_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.mix(functional.relu(self.norm(self.grow(x_BCHW)) + skip_BCHW)))


class Embedding(nn.Module):
    """The U-Net f (sweep) or g (map) of eq. 5: (B, 2, H, W) -> (B, C, H, W); H and W are multiples of 16."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        widths = preset.unet_widths
        self.down = nn.ModuleList(_Down(*pair) for pair in pairwise((INPUT_CHANNELS, *widths)))
        self.up = nn.ModuleList(_Up(*pair) for pair in pairwise((widths[-1], *widths[::-1])))
        self.head = nn.Conv2d(widths[0], preset.embedding_channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Embed; the observed mask multiplies the result, so unobserved ground says nothing."""
        observed, skips = x_BCHW[:, 1:2], list[Tensor]()
        for block in self.down:
            skip, x_BCHW = block(x_BCHW)
            skips.append(skip)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x_BCHW = block(x_BCHW, skip)
        return cast(Tensor, self.head(x_BCHW)) * observed


class _Residual(nn.Module):
    """Two 3x3 convolutions with PReLU around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.between = nn.PReLU(width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.after = nn.PReLU(width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(cast(Tensor, self.second.bias))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.after(x_BCHW + self.second(self.between(self.first(x_BCHW)))))


class CodeEncoder(nn.Module):
    """Map embedding (B, C, H, W) -> logits (B, G, K, H/s, W/s).

    Two residual blocks a scale, a stride-2 convolution between scales, PReLU (paper section 3.2).
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        widths, stem = preset.codec_widths, preset.stem
        first = nn.Conv2d(preset.embedding_channels, widths[0], 3, padding=1)
        if stem > 1:  # each kernel sees twice its stride
            first = nn.Conv2d(preset.embedding_channels, widths[0], 2 * stem, stride=stem, padding=stem // 2)
        layers: list[nn.Module] = [first, nn.PReLU(widths[0])]
        for scale, width in enumerate(widths):
            if scale:
                layers += [nn.Conv2d(widths[scale - 1], width, 3, stride=2, padding=1), nn.PReLU(width)]
            layers += [_Residual(width), _Residual(width)]
        layers.append(nn.Conv2d(widths[-1], preset.groups * preset.group_channels, 1))
        with torch.no_grad():  # logits wide enough that some channel passes 0.5 from the first step
            cast(nn.Conv2d, layers[-1]).weight.mul_(INITIAL_LOGIT_GAIN)
        self.layers = nn.Sequential(*layers)
        self.groups = preset.groups

    def forward(self, embedding_BCHW: Tensor) -> Tensor:
        """Logits f of eq. 6."""
        return cast(Tensor, self.layers(embedding_BCHW).unflatten(1, (self.groups, -1)))


class CodeDecoder(nn.Module):
    """Binary code (B, G, K, h, w) -> map embedding (B, C, h*s, w*s) by transposed convolutions."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        widths = preset.decoder_widths
        first = nn.Conv2d(preset.groups * preset.group_channels, widths[0], 3, padding=1)
        layers: list[nn.Module] = [first, nn.PReLU(widths[0])]
        layers += [_Residual(widths[0]) for _ in range(preset.decoder_blocks)]
        for inputs, outputs in pairwise(widths):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), nn.PReLU(outputs)]
        layers.append(nn.Conv2d(widths[-1], preset.embedding_channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, code_BGKHW: Tensor) -> Tensor:
        """Decode; all channels of a cell without map are 0."""
        return cast(Tensor, self.layers(code_BGKHW.flatten(1, 2)))


class _Binarize(torch.autograd.Function):
    """Threshold at 0.5 forward, identity backward (eq. 6 and the straight-through estimator of section 3.3)."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor) -> Tensor:
        return (probability >= BINARY_THRESHOLD).to(probability.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def binarize(logits_BGKHW: Tensor) -> tuple[Tensor, Tensor]:
    """Grouped softmax p and its hard code b of eq. 6, both (B, G, K, h, w); gradients of b pass to p unchanged."""
    probability = logits_BGKHW.float().softmax(dim=2)
    return probability, cast(Tensor, _Binarize.apply(probability))  # type: ignore[no-untyped-call]


def symbols_of(code_BGKHW: Tensor, weight_BHW: Tensor) -> Tensor:
    """What is stored of binary codes, uint8 (B, G, h, w): the channel that is on, from 1; 0 is none, or no ground."""
    value, channel = code_BGKHW.max(dim=2)
    return torch.where((value > 0) & (weight_BHW[:, None] > 0), channel + 1, 0).to(torch.uint8)


class LidarModel(nn.Module):
    """All networks of one operating point: two embeddings, the code encoder and decoder, the score temperature."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.map_embedding = Embedding(preset)
        self.sweep_embedding = Embedding(preset)
        self.encoder = CodeEncoder(preset)
        self.decoder = CodeDecoder(preset)
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def begin_with(self, trained: LidarModel) -> None:
        """Take the weights of a trained model over; of one with another codec, what has the same place and size.

        A ConfigError where not even the embeddings have the same sizes.
        """
        of, own = trained.preset, self.preset
        if (of.unet_widths, of.embedding_channels) != (own.unet_widths, own.embedding_channels):
            said = f"embeddings of {of.name} cannot begin a model of {own.name}"
            raise ConfigError(said, f"give --preset {of.name}")
        sizes = {name: value.shape for name, value in self.state_dict().items()}
        theirs = trained.state_dict().items()
        self.load_state_dict({name: one for name, one in theirs if sizes.get(name) == one.shape}, strict=False)
