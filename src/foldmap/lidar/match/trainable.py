"""Turning and correlating differentiably (torch), for training; `rotate` and `correlate` do the same fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch.nn import functional

from foldmap.lidar.match.correlate import fft_shape
from foldmap.types import DoubleArray


def rotate_embedding(
    embedding_BCHW: torch.Tensor, headings: Sequence[float] | DoubleArray | torch.Tensor, out_shape: tuple[int, int]
) -> torch.Tensor:
    """Turn embeddings counter-clockwise about their centre, bilinear, zero outside (the paper's spatial transformers).

    As seen on the map: at +90 degrees what lay east (right) lies north (up). Gives (B, T, C, rows, columns) for (T,)
    headings in radians, differentiable in ``embedding_BCHW``.
    """
    batch, channels, height, width = embedding_BCHW.shape
    rows, columns = out_shape
    angle = torch.as_tensor(headings, dtype=torch.float64)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # From output (x right, v down) to source, R(-heading) with v = -y, in grid_sample's units of half an image.
    affine = torch.zeros(len(angle), 2, 3, dtype=torch.float64)
    affine[:, 0, 0], affine[:, 0, 1] = cos * columns / width, -sin * rows / width
    affine[:, 1, 0], affine[:, 1, 1] = sin * columns / height, cos * rows / height
    size = [len(angle), 1, rows, columns]
    grid = functional.affine_grid(affine.to(embedding_BCHW), size, align_corners=False)
    # One grid serves all images: they ride along as channels.
    stacked = embedding_BCHW.reshape(1, batch * channels, height, width).expand(len(angle), -1, -1, -1)
    turned = functional.grid_sample(stacked, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return turned.reshape(len(angle), batch, channels, rows, columns).transpose(0, 1)


def correlate(map_BCHW: torch.Tensor, turned_BTCHW: torch.Tensor, radius_px: int) -> torch.Tensor:
    """Correlate crops with templates over the window: (B, T, 2 * radius + 1, 2 * radius + 1).

    A template is 2 * radius smaller than its crop, so the wanted shifts are free of wrap-around without padding.
    """
    size, window = fft_shape(map_BCHW.shape[-2], map_BCHW.shape[-1]), 2 * radius_px + 1
    map_spectrum = torch.fft.rfft2(map_BCHW, s=size)
    cross = (torch.fft.rfft2(turned_BTCHW, s=size).conj() * map_spectrum[:, None]).sum(2)
    return cast(torch.Tensor, torch.fft.irfft2(cross, s=size)[..., :window, :window])
