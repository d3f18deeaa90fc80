"""Correlation of a crop with templates over a small window of shifts, by FFT with a partial inverse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numba
import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2

from foldmap.runtime.threads import share_out, thread_count
from foldmap.types import AnyArray, FloatArray

_CHUNK = 8


def correlate_one(
    map_CHW: FloatArray, turn_into: Callable[[int, FloatArray], None], count: int, window: int, step: float = 1.0
) -> FloatArray:
    """Correlate a crop with templates over a window of shifts 0, step, .. in pixels: float32 (count, window, window).

    A template is smaller than the crop by the window's extent, so no shift wraps around, without padding.
    Template by template, so that all of it stays in the cache: ``turn_into`` writes template t of ``count`` into the
    upper left corner of a zero image.
    """
    size = fft_shape(*map_CHW.shape[1:])
    map_spectrum = rfft2(map_CHW, s=size, workers=thread_count())
    scores = np.empty((count, window, window), np.float32)

    def some(templates: range) -> None:
        image_CHW = np.zeros((len(map_CHW), *size), np.float32)
        for t in templates:
            turn_into(t, image_CHW)
            cross_HF = np.zeros_like(map_spectrum[0])
            for image_HW, spectrum_HF in zip(image_CHW, map_spectrum, strict=True):
                _add_cross(cross_HF.view(np.float32), rfft2(image_HW).view(np.float32), spectrum_HF.view(np.float32))
            scores[t] = partial_irfft2(cross_HF, size, window, step)

    share_out(some, count)
    return scores


def correlate_blocks(
    map_CHW: FloatArray, own_CHW: FloatArray, corners: Sequence[tuple[int, int]], side_px: int, radius_px: int
) -> FloatArray:
    """Correlate square blocks of an image alone, in a crop 2 * radius larger: (K, 2 * radius + 1, 2 * radius + 1).

    The blocks' upper left corners are given; what of them lies beyond the image is 0.
    """
    reach, window = side_px + 2 * radius_px, 2 * radius_px + 1
    size = fft_shape(reach, reach)
    scores = np.empty((len(corners), window, window), np.float32)

    def some(chunks: range) -> None:
        around_BCHW, own_BCHW = (np.empty((_CHUNK, len(map_CHW), *size), np.float32) for _ in range(2))
        for chunk in (slice(k * _CHUNK, (k + 1) * _CHUNK) for k in chunks):
            count = len(corners[chunk])
            for image, side, into in ((map_CHW, reach, around_BCHW), (own_CHW, side_px, own_BCHW)):
                into.fill(0)
                for one, (row, col) in zip(into, corners[chunk], strict=False):
                    piece = image[:, row : row + side, col : col + side]
                    one[:, : piece.shape[1], : piece.shape[2]] = piece
            cross_BCHF = rfft2(own_BCHW[:count]).conj() * rfft2(around_BCHW[:count])
            scores[chunk] = irfft2(cross_BCHF.sum(1), s=size)[:, :window, :window]  # of which they are a good part

    share_out(some, -(-len(corners) // _CHUNK))
    return scores


def correlate_direct(map_CHW: FloatArray, turned_TCHW: FloatArray) -> FloatArray:
    """Do as `correlate_one` by plain sums, for tiny windows: the window is what the crop exceeds the templates by."""
    map_CHW = np.ascontiguousarray(map_CHW)  # compiled for rows that lie together, several times as fast
    window = tuple(m - t + 1 for m, t in zip(map_CHW.shape[1:], turned_TCHW.shape[2:], strict=True))
    scores = np.empty((len(turned_TCHW), *window), np.float32)

    def some(templates: range) -> None:
        for t in templates:
            _sums_of_products(map_CHW, turned_TCHW[t], scores[t])

    share_out(some, len(scores))
    return scores


def fft_shape(rows: int, columns: int) -> tuple[int, int]:
    """The next sizes that an FFT is fast at."""
    return next_fast_len(rows, real=True), next_fast_len(columns, real=True)


def partial_irfft2(spectrum: AnyArray, size: tuple[int, int], count: int, step: float = 1.0) -> FloatArray:
    """Return the first ``count`` rows and columns of the inverse of a half spectrum.

    Small matrix products with the wanted rows of the inverse DFT. A pair of rows +k and -k shares its cosine and its
    (negated) sine, so real matrices of half the size do for the complex product.
    The spectrum is complex64 (size[0], size[1] // 2 + 1), as `scipy.fft.rfft2` gives it of an image of ``size``.
    With a ``step`` below 1 the rows and columns are 0, step, 2 * step, .., between the image's pixels (band-limited).
    """
    rows, columns = size
    cos_down, sin_down, nyquist, across = _matrices(rows, columns, count, step)
    pairs = (rows - 1) // 2
    upper, lower = spectrum[1 : pairs + 1], spectrum[: rows - pairs - 1 : -1]
    cosines = cos_down @ (upper + lower).view(np.float32)
    sines = sin_down @ (upper - lower).view(np.float32)
    down = cosines.view(np.complex64) + 1j * sines.view(np.complex64) + spectrum[:1] / np.float32(rows)
    if rows % 2 == 0:
        down += nyquist * spectrum[rows // 2 : rows // 2 + 1]
    result: FloatArray = down.view(np.float32) @ across
    return result


@lru_cache(maxsize=32)
def _matrices(rows: int, columns: int, count: int, step: float) -> tuple[FloatArray, ...]:
    """Cosines and sines of the row frequencies 1.., the row Nyquist's signs, and the columns' inverse half DFT."""
    lag, frequencies = step * np.arange(count), columns // 2 + 1
    angle = 2 * np.pi / rows * np.outer(lag, np.arange(1, (rows - 1) // 2 + 1))
    nyquist = np.cos(np.pi * lag)[:, None] / rows
    weight = np.full((frequencies, 1), 2.0 / columns)
    weight[0] = 1.0 / columns
    if columns % 2 == 0:
        weight[-1] = 1.0 / columns
    turn = 2 * np.pi / columns * np.outer(np.arange(frequencies), lag)
    across = np.stack([weight * np.cos(turn), -weight * np.sin(turn)], axis=1).reshape(-1, count)
    parts = np.cos(angle) / rows, np.sin(angle) / rows, nyquist, across
    return tuple(part.astype(np.float32) for part in parts)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _add_cross(cross: FloatArray, template: FloatArray, crop: FloatArray) -> None:
    """Add conj(template) * crop; complex numbers as pairs of reals."""
    rows, columns = cross.shape
    for row in range(rows):
        into, a, b = cross[row], template[row], crop[row]
        for k in range(0, columns, 2):
            into[k] += a[k] * b[k] + a[k + 1] * b[k + 1]
            into[k + 1] += a[k] * b[k + 1] - a[k + 1] * b[k]


@numba.njit(nogil=True, cache=True, fastmath=True)
def _sums_of_products(crop: FloatArray, template: FloatArray, scores: FloatArray) -> None:
    channels, rows, columns = template.shape
    down, across = scores.shape
    total = np.zeros((down, across))
    for c in range(channels):
        for row in range(rows):
            own = template[c, row]
            for r in range(down):
                line = crop[c, row + r]
                for k in range(across):
                    part = np.float32(0.0)
                    for col in range(columns):
                        part += own[col] * line[col + k]
                    total[r, k] += part
    for r in range(down):  # not scores[:]: numba takes three seconds to compile that
        for k in range(across):
            scores[r, k] = total[r, k]


def block_products(under_CHW: FloatArray, turned_TCHW: FloatArray, side_px: int) -> FloatArray:
    """Sums, over blocks of a side, of the products of templates and the crop under them: (T, down, across)."""
    rows, columns = turned_TCHW.shape[2:]
    under_CHW = np.ascontiguousarray(under_CHW)
    sums = np.empty((len(turned_TCHW), -(-rows // side_px), -(-columns // side_px)), np.float32)

    def some(templates: range) -> None:
        for t in templates:
            _block_sums(under_CHW, turned_TCHW[t], side_px, sums[t])

    share_out(some, len(sums))
    return sums


@numba.njit(nogil=True, cache=True, fastmath=True)
def _block_sums(under: FloatArray, turned: FloatArray, side: int, sums: FloatArray) -> None:
    channels, rows, columns = turned.shape
    sums[:] = 0.0
    for c in range(channels):
        for row in range(rows):
            one, other = under[c, row], turned[c, row]
            for block in range(sums.shape[1]):
                part = np.float32(0.0)
                for col in range(block * side, min((block + 1) * side, columns)):
                    part += one[col] * other[col]
                sums[row // side, block] += part
