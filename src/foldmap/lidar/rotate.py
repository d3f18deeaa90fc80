"""Turn images about their centre by many angles: once differentiably (torch), once fast (numba)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numba
import numpy as np
import torch
from torch.nn import functional

from foldmap.types import DoubleArray, FloatArray

Headings = Sequence[float] | DoubleArray | torch.Tensor


def rotate_embedding(embedding_BCHW: torch.Tensor, headings: Headings, out_shape: tuple[int, int]) -> torch.Tensor:
    """Turn embeddings counter-clockwise about their centre, bilinear, zero outside (the paper's spatial transformers).

    Image rows go south, so "counter-clockwise" is as seen on the map: at +90 degrees what lay east (right) lies
    north (up).

    Args:
        embedding_BCHW: images.
        headings: (T,) angles in radians.
        out_shape: rows and columns of the result, whose centre is the image's centre.

    Returns:
        (B, T, C, rows, columns), differentiable in ``embedding_BCHW``.
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


def rotate_embedding_fast(embedding_BCHW: torch.Tensor, headings: Headings, out_shape: tuple[int, int]) -> torch.Tensor:
    """Do as `rotate_embedding`, without gradients and several times faster on a CPU; uses torch's number of threads."""
    angles = np.asarray(headings, dtype=np.float64)
    batch, channels, height, width = embedding_BCHW.shape
    images = embedding_BCHW.detach().reshape(batch * channels, height, width).to("cpu", torch.float32)
    # One pixel of zeros around spares the kernel every bounds check but one per row.
    padded = functional.pad(images, (1, 1, 1, 1)).numpy()
    out = np.zeros((len(angles), batch * channels, *out_shape), np.float32)
    threads = min(torch.get_num_threads(), len(angles))
    if threads > 1:
        list(_pool(threads).map(lambda k: _turn(padded, angles[k::threads], out[k::threads]), range(threads)))
    else:
        _turn(padded, angles, out)
    turned = torch.from_numpy(out).reshape(len(angles), batch, channels, *out_shape)
    return turned.transpose(0, 1).to(embedding_BCHW.device)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="foldmap-rotate")


@numba.njit(nogil=True, cache=True)
def _span(start: float, step: float, limit: float, first: int, last: int) -> tuple[int, int]:
    """Narrow [first, last) to the columns c with 0 <= start + c * step <= limit."""
    if abs(step) < 1e-12:
        if start < 0.0 or start > limit:
            return 0, 0
        return first, last
    a, b = -start / step, (limit - start) / step
    low, high = min(a, b), max(a, b)
    return max(first, math.ceil(low)), min(last, math.floor(high) + 1)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _turn(padded: FloatArray, angles: DoubleArray, out: FloatArray) -> None:
    """Fill out (T, C, rows, columns) from padded (C, H + 2, W + 2), whose rim is zero."""
    channels, tall, wide = padded.shape
    rows, columns = out.shape[2], out.shape[3]
    flat = padded.reshape(channels, tall * wide)
    limit_v, limit_u = tall - 1.0 - 1e-4, wide - 1.0 - 1e-4
    for t in range(len(angles)):
        cos, sin = math.cos(angles[t]), math.sin(angles[t])
        for row in range(rows):
            dv = row - (rows - 1) / 2
            dx = -(columns - 1) / 2
            u0 = (wide - 1) / 2 + cos * dx - sin * dv
            v0 = (tall - 1) / 2 + sin * dx + cos * dv
            first, last = _span(u0, cos, limit_u, 0, columns)
            first, last = _span(v0, sin, limit_v, first, last)
            for c in range(channels):
                source = flat[c]
                for col in range(first, last):
                    u = np.float32(u0 + cos * col)
                    v = np.float32(v0 + sin * col)
                    iu, iv = np.int32(u), np.int32(v)
                    fu, fv = u - np.float32(iu), v - np.float32(iv)
                    k = iv * np.int32(wide) + iu
                    upper = source[k] + fu * (source[k + 1] - source[k])
                    lower = source[k + wide] + fu * (source[k + wide + 1] - source[k + wide])
                    out[t, c, row, col] = upper + fv * (lower - upper)
