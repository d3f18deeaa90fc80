"""Reducing, filling and enlarging rasters of which only a part was observed."""

import numpy as np
from scipy import sparse
from scipy.ndimage import gaussian_filter

from foldmap.types import BoolArray, FloatArray


def block_sum(image: FloatArray, factor: int) -> FloatArray:
    """Sum blocks of factor x factor pixels, float32 (ceil(H / f), ceil(W / f)); the last ones may be partial."""
    height, width = image.shape
    rows, cols = -(-height // factor), -(-width // factor)
    padded = np.zeros((rows * factor, cols * factor), np.float64)
    padded[:height, :width] = image
    blocks: FloatArray = padded.reshape(rows, factor, cols, factor).sum((1, 3)).astype(np.float32)
    return blocks


def reduce_observed(intensity: FloatArray, weight: FloatArray, factor: int) -> tuple[FloatArray, FloatArray]:
    """Average each block over its observed pixels (normalized averaging).

    ``weight`` (H, W) is 0 where not observed. Returns mean intensity (0 where a block has no observed pixel) and summed
    weight, each (ceil(H / f), ceil(W / f)).
    """
    total, weights = block_sum(intensity * weight, factor), block_sum(weight, factor)
    return np.divide(total, weights, out=np.zeros_like(total), where=weights > 0), weights


def inpaint(intensity: FloatArray, observed: BoolArray) -> FloatArray:
    """Fill unobserved pixels from averages of coarser and coarser blocks; zero where nothing was observed."""
    if observed.all():
        return intensity.astype(np.float32)
    if not observed.any():
        return np.zeros_like(intensity, dtype=np.float32)
    coarse, weight = reduce_observed(intensity, observed.astype(np.float32), 2)
    filled = enlarge(inpaint(coarse, weight > 0), 2, intensity.shape, cubic=False)
    return np.where(observed, intensity, filled).astype(np.float32)


def local_mean(intensity: FloatArray, observed: BoolArray, sigma_px: float) -> FloatArray:
    """Average around each pixel over observed pixels only, Gaussian weights; 0 where nothing was observed nearby."""
    weight = gaussian_filter(observed.astype(np.float32), sigma_px, truncate=3.0)
    total = gaussian_filter(np.where(observed, intensity, 0).astype(np.float32), sigma_px, truncate=3.0)
    mean: FloatArray = np.divide(total, weight, out=np.zeros_like(total), where=weight > 1e-6)
    return mean


def enlarge(image: FloatArray, factor: int, shape: tuple[int, int], cubic: bool = True) -> FloatArray:
    """Enlarge (h, w) by an integer factor about block centres, Catmull-Rom or linear, cropped to a shape."""
    if factor == 1:
        return image[: shape[0], : shape[1]].astype(np.float32)
    rows = _interpolation(image.shape[0], factor, shape[0], cubic)
    cols = _interpolation(image.shape[1], factor, shape[1], cubic)
    return np.ascontiguousarray((cols @ (rows @ image.astype(np.float32)).T).T, dtype=np.float32)


def _interpolation(source: int, factor: int, target: int, cubic: bool) -> sparse.csr_matrix:
    """Build the (target, source) interpolation matrix of one axis; borders repeat."""
    position = (np.arange(target) + 0.5) / factor - 0.5
    base = np.floor(position).astype(np.int64)
    t = position - base
    if cubic:
        offsets = (-1, 0, 1, 2)
        weights = (
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        )
    else:
        offsets, weights = (0, 1), (1.0 - t, t)  # type: ignore[assignment]
    index = np.clip(base[:, None] + np.array(offsets), 0, source - 1)
    row = np.repeat(np.arange(target), len(offsets))
    values = np.stack(weights, 1).ravel().astype(np.float32)
    return sparse.csr_matrix((values, (row, index.ravel())), shape=(target, source))
