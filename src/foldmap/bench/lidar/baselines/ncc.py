"""Masked normalized cross-correlation over x, y and heading: the strongest simple matcher, and a baseline.

Exact for arbitrary masks by FFT: D. Padfield, "Masked Object Registration in the Fourier Domain", IEEE TIP 2012.
"""

from __future__ import annotations

import numpy as np
import torch

from foldmap.errors import ConfigError
from foldmap.lidar.match.correlate import fft_shape, partial_irfft2
from foldmap.lidar.match.rotate import Headings, rotate_embedding_fast
from foldmap.types import BoolArray, FloatArray

MIN_OVERLAP = 0.1
"""Least share of the largest overlap; shifts with less common ground score -1."""


def ncc_scores(
    map_intensity: FloatArray,
    map_observed: BoolArray,
    observation_intensity: FloatArray,
    observation_observed: BoolArray,
    headings: Headings,
    radius_px: int,
    *,
    min_overlap: float = MIN_OVERLAP,
) -> FloatArray:
    """Correlation coefficient of the commonly observed pixels, for every pose of the window.

    Geometry, axes and signs are those of `lidar.match.exhaustive`: the map crop is larger than the observation by twice
    the radius and twice a margin for the corners of the turned observation.

    Args:
        map_intensity: (Hm, Wm), any linear unit.
        map_observed: (Hm, Wm).
        observation_intensity: (Ho, Wo).
        observation_observed: (Ho, Wo).
        headings: (T,) radians.
        radius_px: half the window.
        min_overlap: least overlap, as a share of the largest one.

    Returns:
        float32 (T, 2 * radius + 1, 2 * radius + 1) in [-1, 1].

    Raises:
        ConfigError: the crop does not fit the observation and the window.
    """
    rows, columns = (side - 2 * radius_px for side in map_intensity.shape)
    if radius_px < 0 or rows < observation_intensity.shape[0] or columns < observation_intensity.shape[1]:
        raise ConfigError(
            f"a {map_intensity.shape} px map crop, a {observation_intensity.shape} px observation, +-{radius_px} px",
            "the crop must be larger by twice the radius",
        )
    map_3HW = _moments(_standardized(map_intensity, map_observed), torch.from_numpy(map_observed).double())
    turned, mask = _turned(observation_intensity, observation_observed, headings, (rows, columns))
    size = fft_shape(*map_intensity.shape)
    map_spectrum = torch.fft.rfft2(map_3HW, s=size)
    scores = np.empty((len(turned), 2 * radius_px + 1, 2 * radius_px + 1), np.float32)
    for t in range(len(turned)):
        own_spectrum = torch.fft.rfft2(_moments(turned[t], mask[t]), s=size).conj()
        # 0, 1, 2 = mask, value, squared value; (map's, observation's)
        pairs = ((0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1))
        cross = torch.stack([map_spectrum[m] * own_spectrum[o] for m, o in pairs])
        scores[t] = _coefficient(partial_irfft2(cross, size, 2 * radius_px + 1), min_overlap).numpy()
    return scores


def _standardized(intensity: FloatArray, observed: BoolArray) -> torch.Tensor:
    """Zero mean and unit spread over what was observed (no coefficient changes, but the sums stay well conditioned)."""
    values = intensity[observed].astype(np.float64)
    mean, spread = (values.mean(), values.std()) if len(values) else (0.0, 1.0)
    standardized = np.where(observed, (intensity.astype(np.float64) - mean) / max(spread, 1e-12), 0.0)
    return torch.from_numpy(standardized)


def _moments(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.stack([mask, values, values * values])


def _turned(
    intensity: FloatArray, observed: BoolArray, headings: Headings, shape: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn values and mask; a turned pixel counts as observed when more than half of its bilinear weight is."""
    both = torch.stack([_standardized(intensity, observed).float(), torch.from_numpy(observed).float()])
    turned = rotate_embedding_fast(both[None], headings, shape)[0].double()
    mask = turned[:, 1] > 0.5
    return torch.where(mask, turned[:, 0] / turned[:, 1].clamp(min=0.5), 0.0), mask.double()


def _coefficient(sums_6HW: torch.Tensor, min_overlap: float) -> torch.Tensor:
    count, map_sum, own_sum, map_square, own_square, product = sums_6HW
    count = count.round()
    safe = count.clamp(min=1.0)
    covariance = product - map_sum * own_sum / safe
    variances = (map_square - map_sum**2 / safe).clamp(min=0.0) * (own_square - own_sum**2 / safe).clamp(min=0.0)
    coefficient = torch.where(variances > 1e-9 * safe**2, covariance / variances.clamp(min=1e-30).sqrt(), 0.0)
    enough = (count >= 2) & (count >= min_overlap * count.max())
    return torch.where(enough, coefficient.clamp(-1.0, 1.0), -1.0)
