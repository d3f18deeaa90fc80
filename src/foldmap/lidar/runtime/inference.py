"""The decoder as it runs in a localizer: the same numbers as `CodeDecoder`, in less time and only where they are asked.

A transposed convolution with a 4 x 4 kernel and stride 2 puts a 2 x 2 block of pixels around every corner between four
input pixels, and nothing but those four reaches it. So it is a plain 2 x 2 convolution that makes four times the
channels, one set a pixel of the block, and a reordering. Plain convolutions are what processors' libraries are best
at, they need no padding inside the map, and the activation may run before the reordering, on long rows.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from foldmap.lidar.match.region import Box
from foldmap.lidar.model import CodeDecoder, Embedding


class FastPReLU(nn.Module):
    """PReLU of channels-last images, in place: two passes over whole rows of pixels.

    Where a slope exceeds 1, max(x, slope * x) is not PReLU, and the plain one runs.
    """

    def __init__(self, plain: nn.PReLU, repeats: int = 1) -> None:
        super().__init__()
        self.slope = nn.Parameter(plain.weight.detach().repeat(repeats), requires_grad=False)
        self.simple = bool((self.slope <= 1).all())
        self._rows: dict[tuple[int, torch.dtype], Tensor] = {}

    def forward(self, x_1CHW: Tensor) -> Tensor:
        """Activate; the argument is overwritten where possible."""
        rows_HWC = x_1CHW.permute(0, 2, 3, 1)
        if not self.simple or len(x_1CHW) != 1 or not rows_HWC.is_contiguous():
            return functional.prelu(x_1CHW, self.slope)
        rows = rows_HWC.view(x_1CHW.shape[2], -1)
        key = x_1CHW.shape[3], x_1CHW.dtype
        if key not in self._rows:
            if len(self._rows) >= 64:
                self._rows.clear()
            self._rows[key] = self.slope.to(x_1CHW.dtype).repeat(x_1CHW.shape[3])
        torch.maximum(rows, rows * self._rows[key], out=rows)
        return x_1CHW


class _Grow(nn.Module):
    """A transposed convolution (kernel 4, stride 2, padding 1) and its PReLU, without padding: n -> 2 (n - 1) pixels.

    With input pixels r .. r + n - 1 of an image it makes pixels 2 r + 1 .. 2 (r + n - 1) of the result.
    """

    def __init__(self, plain: nn.ConvTranspose2d, activation: nn.PReLU) -> None:
        super().__init__()
        weight = plain.weight.detach()  # (inputs, outputs, 4, 4)
        # Pixel 2i + 1 + a gets input i by kernel row 2 + a and input i + 1 by kernel row a; columns alike.
        taps = weight.reshape(*weight.shape[:2], 2, 2, 2, 2).flip(2, 4)  # (I, O, input row, a, input column, b)
        corners = taps.permute(3, 5, 1, 0, 2, 4).flatten(0, 2)  # (a, b, O), I, 2, 2
        self.weight = nn.Parameter(corners.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.bias = nn.Parameter(cast(Tensor, plain.bias).detach().repeat(4), requires_grad=False)
        self.activate = FastPReLU(activation, 4)

    def forward(self, x_1CHW: Tensor) -> Tensor:
        made = functional.conv2d(x_1CHW, self.weight, self.bias).contiguous(memory_format=torch.channels_last)
        made = cast(Tensor, self.activate(made))
        _, channels, height, width = made.shape
        # Rows (i, a) of columns (j, b): b and the channels lie together already.
        pixels = made.permute(0, 2, 3, 1).reshape(height, width, 2, channels // 2).transpose(1, 2)
        return pixels.reshape(2 * height, 2 * width, channels // 4).permute(2, 0, 1)[None]


class FastDecoder(nn.Module):
    """Decodes boxes of a window of codes with a copy of the trained decoder."""

    def __init__(self, plain: CodeDecoder, dtype: torch.dtype) -> None:
        super().__init__()
        layers = list(copy.deepcopy(plain).eval().layers)
        first_grow = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.ConvTranspose2d))
        self.cells = nn.Sequential(*layers[:first_grow])
        pairs = zip(layers[first_grow:-1:2], layers[first_grow + 1 : -1 : 2], strict=True)
        self.grow = nn.ModuleList(_Grow(*cast(tuple[nn.ConvTranspose2d, nn.PReLU], pair)) for pair in pairs)
        self.head = cast(nn.Conv2d, layers[-1])
        use_fast_prelu(self.cells)
        self.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def boxes(self, code_1KHW: Tensor, boxes: Sequence[Box]) -> Iterator[Tensor]:
        """Decode boxes (C, rows, columns) of the window (h * s, w * s) that one-hot codes (1, G * K, h, w) make."""
        features = self.cells(code_1KHW)
        return (self._decode_box(features, box) for box in boxes)

    def _decode_box(self, x_1CHW: Tensor, box: Box) -> Tensor:
        size = x_1CHW.shape[2], x_1CHW.shape[3]
        boxes = [(box[0] - 1, box[1] + 1, box[2] - 1, box[3] + 1)]  # what the head's 3 x 3 kernel sees
        full = [(size[0] << level, size[1] << level) for level in range(len(self.grow) + 1)]
        for height, width in reversed(full[1:]):
            row, row_end, column, column_end = boxes[-1]
            row, row_end = max(row, 0), min(row_end, height)
            column, column_end = max(column, 0), min(column_end, width)
            boxes.append(((row - 1) // 2, row_end // 2 + 1, (column - 1) // 2, column_end // 2 + 1))
        at = (0, 0)
        for grow, wanted in zip(self.grow, reversed(boxes[1:]), strict=True):
            x_1CHW = grow(_cut(x_1CHW, at, wanted))
            made, size = (2 * wanted[0] + 1, 2 * wanted[2] + 1), (2 * size[0], 2 * size[1])
            at = max(made[0], 0), max(made[1], 0)  # what corners at the rim put outside of the image is dropped
            x_1CHW = x_1CHW[:, :, at[0] - made[0] : size[0] - made[0], at[1] - made[1] : size[1] - made[1]]
        return functional.conv2d(_cut(x_1CHW, at, boxes[0]), self.head.weight, self.head.bias)[0]


def _cut(x_1CHW: Tensor, at: tuple[int, int], box: Box) -> Tensor:
    """Cut a box out of an image whose first pixel is `at`; zero beyond it, as the plain network pads."""
    height, width = x_1CHW.shape[2:]
    row, row_end, column, column_end = box[0] - at[0], box[1] - at[0], box[2] - at[1], box[3] - at[1]
    part = x_1CHW[:, :, max(row, 0) : min(row_end, height), max(column, 0) : min(column_end, width)]
    pad = (max(-column, 0), max(column_end - width, 0), max(-row, 0), max(row_end - height, 0))
    if any(pad):
        part = functional.pad(part, pad)
    return part.contiguous(memory_format=torch.channels_last)


def use_fast_prelu(module: nn.Module) -> None:
    """Replace every PReLU below a module."""
    for child in module.modules():
        for name, part in list(child._modules.items()):
            if isinstance(part, nn.PReLU):
                child._modules[name] = FastPReLU(part)


def fused(plain: Embedding, dtype: torch.dtype) -> Embedding:
    """A copy for inference, channels last, each batch norm folded into the convolution in front of it."""
    module = copy.deepcopy(plain).eval()
    for child in module.modules():
        if isinstance(child, nn.Sequential):
            for first, second in pairwise(list(child._modules)):
                conv, norm = child._modules[first], child._modules[second]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    child._modules[first], child._modules[second] = fuse_conv_bn_eval(conv, norm), nn.Identity()
        grow, after = getattr(child, "grow", None), getattr(child, "norm", None)
        if isinstance(grow, nn.ConvTranspose2d) and isinstance(after, nn.BatchNorm2d):
            child.grow, child.norm = fuse_conv_bn_eval(grow, after, transpose=True), nn.Identity()
    return module.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
