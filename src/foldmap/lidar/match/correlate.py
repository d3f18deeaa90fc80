"""Correlation of a crop with templates over a small window of shifts, by FFT with a partial inverse."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import cast

import numpy as np
import torch

from foldmap.types import FloatArray


def correlate(map_BCHW: torch.Tensor, turned_BTCHW: torch.Tensor, radius_px: int) -> torch.Tensor:
    """Correlate crops with templates over the window, differentiably: (B, T, 2 * radius + 1, 2 * radius + 1).

    A template is 2 * radius smaller than its crop, so the wanted shifts are free of wrap-around without padding.
    """
    size = fft_shape(map_BCHW.shape[-2], map_BCHW.shape[-1])
    map_spectrum = torch.fft.rfft2(map_BCHW, s=size)
    template_spectrum = torch.fft.rfft2(turned_BTCHW, s=size)
    cross = template_spectrum.conj() * map_spectrum[:, None]
    cross_BTHF = cross.sum(2) if cross.shape[2] > 1 else cross[:, :, 0]
    return partial_irfft2(cross_BTHF, size, 2 * radius_px + 1)


def correlate_one(
    map_CHW: torch.Tensor, turn_into: Callable[[int, FloatArray], None], count: int, radius_px: int
) -> torch.Tensor:
    """Do as `correlate` for one pair, without gradients: template by template, so that all of it stays in the cache.

    ``turn_into`` writes template t of ``count`` into the upper left corner of a zero image.
    """
    size = fft_shape(map_CHW.shape[-2], map_CHW.shape[-1])
    template_CHW = np.zeros((len(map_CHW), *size), np.float32)
    with torch.inference_mode():
        cross_THF = torch.empty(count, size[0], size[1] // 2 + 1, dtype=torch.complex64)
        # Conjugated here and once more at the end, where there is least to conjugate.
        map_spectrum = torch.fft.rfft2(map_CHW, s=size).conj_physical()
        images = torch.from_numpy(template_CHW)
        for t, cross_HF in enumerate(cross_THF):
            turn_into(t, template_CHW)
            torch.mul(torch.fft.rfft2(images[0]), map_spectrum[0], out=cross_HF)
            for image_HW, spectrum_HF in zip(images[1:], map_spectrum[1:], strict=True):
                cross_HF.addcmul_(torch.fft.rfft2(image_HW), spectrum_HF)
        torch.conj_physical(cross_THF, out=cross_THF)
        return partial_irfft2(cross_THF, size, 2 * radius_px + 1)


def correlate_direct(map_CHW: torch.Tensor, turned_TCHW: torch.Tensor) -> torch.Tensor:
    """Do as `correlate_one` by conv2d, for tiny windows; the window is what the crop exceeds the templates by."""
    with torch.inference_mode():
        scores = torch.nn.functional.conv2d(map_CHW[None, :1].float(), turned_TCHW[:, :1].contiguous())[0]
        for c in range(1, len(map_CHW)):
            kernels = turned_TCHW[:, c : c + 1].contiguous()
            scores += torch.nn.functional.conv2d(map_CHW[None, c : c + 1].float(), kernels)[0]
    return scores


def fft_shape(rows: int, columns: int) -> tuple[int, int]:
    """The next sizes without a prime factor above 5; scipy.fft has this too, and takes a quarter second to load."""

    def fast(size: int) -> int:
        left = size
        for prime in (2, 3, 5):
            while left % prime == 0:
                left //= prime
        return size if left == 1 else fast(size + 1)

    return fast(rows), fast(columns)


def partial_irfft2(spectrum: torch.Tensor, size: tuple[int, int], count: int) -> torch.Tensor:
    """Return the first ``count`` rows and columns of the inverse of a half spectrum.

    Small matrix products with the wanted rows of the inverse DFT. A pair of rows +k and -k shares its cosine and its
    (negated) sine, so real matrices of half the size do for the complex product: 0.4 of the time of a whole inverse.
    The spectrum is (..., size[0], size[1] // 2 + 1), as `torch.fft.rfft2` gives it of an image of ``size``.
    """
    rows, columns = size
    if count > min(rows, columns) // 5:
        return cast(torch.Tensor, torch.fft.irfft2(spectrum, s=size)[..., :count, :count])
    cos_down, sin_down, nyquist, across = _matrices(rows, columns, count, spectrum.real.dtype)
    pairs, frequencies = (rows - 1) // 2, spectrum.shape[-1]
    upper = spectrum[..., 1 : pairs + 1, :]
    lower = spectrum[..., rows - pairs :, :].flip(-2)
    even = torch.view_as_real(upper + lower).flatten(-2)
    odd = torch.view_as_real(upper - lower).flatten(-2)
    shape = (*spectrum.shape[:-2], count, frequencies, 2)
    cosines = torch.view_as_complex(torch.matmul(cos_down, even).reshape(shape))
    sines = torch.view_as_complex(torch.matmul(sin_down, odd).reshape(shape))
    down = cosines + 1j * sines + spectrum[..., :1, :] / rows
    if rows % 2 == 0:
        down = down + nyquist * spectrum[..., rows // 2 : rows // 2 + 1, :]
    return torch.matmul(torch.view_as_real(down).flatten(-2), across)


@lru_cache(maxsize=32)
def _matrices(rows: int, columns: int, count: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Cosines and sines of the row frequencies 1.., the row Nyquist's signs, and the columns' inverse half DFT."""
    with torch.inference_mode(False):
        lag = torch.arange(count, dtype=torch.float64)
        angle = 2 * math.pi / rows * torch.outer(lag, torch.arange(1, (rows - 1) // 2 + 1, dtype=torch.float64))
        nyquist = torch.cos(math.pi * lag)[:, None] / rows
        frequencies = columns // 2 + 1
        weight = torch.full((frequencies, 1), 2.0 / columns, dtype=torch.float64)
        weight[0] = 1.0 / columns
        if columns % 2 == 0:
            weight[-1] = 1.0 / columns
        turn = 2 * math.pi / columns * torch.outer(torch.arange(frequencies, dtype=torch.float64), lag)
        across = torch.stack([weight * torch.cos(turn), -weight * torch.sin(turn)], dim=1).flatten(0, 1)
        parts = torch.cos(angle) / rows, torch.sin(angle) / rows, nyquist, across
        return tuple(part.to(dtype) for part in parts)
