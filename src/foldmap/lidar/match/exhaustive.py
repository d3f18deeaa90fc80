"""Exhaustive matching of an observation against a map over x, y and heading (eq. 5, "Matching Module").

The observation's embedding is rotated to every candidate heading; for each, the inner product with the map's embedding
at every shift is one correlation. Three implementations give the same numbers: `match_direct` says what is computed,
`match_fft` computes it fast, `match_auto` picks by measurement. `match_batch` is the differentiable one for training.

Geometry, everywhere in this file::

    map_CHW          crop of the map, north up, (C, Ho + 2 * margin + 2 * radius, Wo + 2 * margin + 2 * radius)
    observation_CHW  (C, Ho, Wo), in axes turned by the assumed heading; its centre lies on the crop's centre
    headings_rad     (T,) how much further the observation is turned, counter-clockwise positive as seen on the map
    scores_THW       (T, 2 * radius + 1, 2 * radius + 1); [t, radius + dr, radius + dc] is the score of the pose whose
                     centre lies dr rows (south) and dc columns (east) of the crop's centre, turned by headings_rad[t]

The margin is what a rotated corner needs; `margin_px` computes it. With margin 0 rotated corners are cut off.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from foldmap.errors import ConfigError
from foldmap.lidar.match.correlate import correlate, correlate_direct, correlate_one
from foldmap.lidar.match.rotate import Headings, Turner, rotate_embedding, rotate_embedding_fast
from foldmap.types import DoubleArray, FloatArray

__all__ = [
    "coarse_headings_rad",
    "margin_px",
    "match_auto",
    "match_batch",
    "match_direct",
    "match_fft",
    "rotate_embedding",
    "rotate_embedding_fast",
]


def coarse_headings_rad(range_rad: float, count: int = 11) -> DoubleArray:
    """Return ``count`` evenly spaced headings over +-``range_rad`` (the paper's 11), the middle one being 0.

    Raises:
        ConfigError: an even count has no middle, or the range is negative.
    """
    if count < 1 or count % 2 == 0 or range_rad < 0:
        raise ConfigError(f"{count} headings over +-{range_rad} rad", "give an odd count and a range >= 0")
    return np.linspace(-range_rad, range_rad, count) if count > 1 else np.zeros(1)


def margin_px(height_px: int, width_px: int, range_rad: float) -> int:
    """Return the margin that keeps the corners of an observation turned by up to +-``range_rad``."""
    turn = min(abs(range_rad), math.pi / 2)
    sin, cos = math.sin(turn), math.cos(turn)
    tall = max(0.0, height_px * cos + width_px * sin - height_px)
    wide = max(0.0, width_px * cos + height_px * sin - width_px)
    return math.ceil(max(tall, wide) / 2)


def match_direct(
    map_CHW: torch.Tensor, observation_CHW: torch.Tensor, headings: Headings, radius_px: int
) -> torch.Tensor:
    """Score every pose with one plain correlation per heading (eq. 5); the twin that the fast ones are tested against.

    Returns:
        scores_THW, float32 (T, 2 * radius + 1, 2 * radius + 1).

    Raises:
        ConfigError: shapes do not fit (see the module's geometry).
    """
    canvas = _canvas(map_CHW[None], observation_CHW[None], radius_px)
    turned = rotate_embedding(observation_CHW[None], headings, canvas)[0]
    return torch.nn.functional.conv2d(map_CHW[None], turned)[0]


def match_fft(map_CHW: torch.Tensor, observation_CHW: torch.Tensor, headings: Headings, radius_px: int) -> torch.Tensor:
    """Score every pose by FFT: one transform of the map, one of each rotated observation, a partial inverse.

    Arguments, result and errors are `match_direct`'s.
    """
    canvas = _canvas(map_CHW[None], observation_CHW[None], radius_px)
    angles, turner = np.asarray(headings, dtype=np.float64), Turner(observation_CHW)

    def turn_into(t: int, out_CHW: FloatArray) -> None:
        turner.into(float(angles[t]), out_CHW, canvas)

    return correlate_one(map_CHW.float(), turn_into, len(angles), radius_px)


def match_auto(
    map_CHW: torch.Tensor, observation_CHW: torch.Tensor, headings: Headings, radius_px: int
) -> torch.Tensor:
    """Score every pose the way that is faster for this window; arguments, result and errors are `match_direct`'s."""
    if radius_px > _DIRECT_RADIUS_PX:
        return match_fft(map_CHW, observation_CHW, headings, radius_px)
    canvas = _canvas(map_CHW[None], observation_CHW[None], radius_px)
    turned_TCHW = rotate_embedding_fast(observation_CHW[None], headings, canvas)[0]
    return correlate_direct(map_CHW, turned_TCHW)


_DIRECT_RADIUS_PX = 5
"""Largest window radius at which conv2d, one channel at a time, beats the FFT.

Measured on one core, 480 x 600 px, 11 headings, 1 channel, rotation apart, direct against FFT: radius 1 2.1 / 24 ms,
3 3.6 / 25 ms, 5 11 / 26 ms, 8 50 / 26 ms. (All channels in one conv2d are ten times slower than one by one.)
"""


def match_batch(
    map_BCHW: torch.Tensor, observation_BCHW: torch.Tensor, headings: Headings, radius_px: int
) -> torch.Tensor:
    """Score every pose of each pair, differentiably (the matching scores that eq. 7's first term normalizes).

    Args:
        map_BCHW: map crops.
        observation_BCHW: observation embeddings.
        headings: candidate headings in radians, (T,) the same for all pairs or (B, T) of each its own.
        radius_px: half the search window.

    Returns:
        scores_BTHW, float32 (B, T, 2 * radius + 1, 2 * radius + 1).

    Raises:
        ConfigError: shapes do not fit (see the module's geometry).
    """
    canvas = _canvas(map_BCHW, observation_BCHW, radius_px)
    observation_BCHW = observation_BCHW.float()
    angles = torch.as_tensor(headings, dtype=torch.float64)
    if angles.ndim == 2:
        each = zip(observation_BCHW, angles, strict=True)
        turned_BTCHW = torch.cat([rotate_embedding(image[None], own, canvas) for image, own in each])
    else:
        turned_BTCHW = rotate_embedding(observation_BCHW, angles, canvas)
    return correlate(map_BCHW.float(), turned_BTCHW, radius_px)


def _canvas(map_BCHW: torch.Tensor, observation_BCHW: torch.Tensor, radius_px: int) -> tuple[int, int]:
    """Check the shapes; return rows and columns that a rotated observation may fill."""
    if map_BCHW.shape[:2] != observation_BCHW.shape[:2]:
        raise ConfigError(
            f"map embedding {tuple(map_BCHW.shape)} and observation embedding {tuple(observation_BCHW.shape)} differ"
            " in batch or channels",
            "use embeddings of one model",
        )
    if radius_px < 0:
        raise ConfigError(f"a search radius of {radius_px} px", "give a radius >= 0")
    margins = [m - o - 2 * radius_px for m, o in zip(map_BCHW.shape[2:], observation_BCHW.shape[2:], strict=True)]
    if min(margins) < 0 or any(margin % 2 for margin in margins):
        raise ConfigError(
            f"a {tuple(map_BCHW.shape[2:])} px map crop for a {tuple(observation_BCHW.shape[2:])} px observation"
            f" and a search of +-{radius_px} px",
            "the crop must be larger by twice the radius plus twice a margin >= 0",
        )
    return map_BCHW.shape[2] - 2 * radius_px, map_BCHW.shape[3] - 2 * radius_px
