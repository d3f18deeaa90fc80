"""Exhaustive matching of an observation against a map over x, y and heading (eq. 5, "Matching Module").

The observation's embedding is turned to every candidate heading; for each, the inner product with the map's embedding
at every shift is one correlation.

Geometry::

    map_CHW          crop of the map, north up, (C, Ho + 2 * margin + 2 * radius, Wo + 2 * margin + 2 * radius)
    observation_CHW  (C, Ho, Wo), in axes turned by the assumed heading; its centre lies on the crop's centre
    headings_rad     (T,) how much further the observation is turned, counter-clockwise positive as seen on the map
    scores_THW       (T, 2 * radius + 1, 2 * radius + 1); [t, radius + dr, radius + dc] is the score of the pose whose
                     centre lies dr rows (south) and dc columns (east) of the crop's centre, turned by headings_rad[t]

The margin is what a turned corner needs; with margin 0 turned corners are cut off.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foldmap.errors import ConfigError
from foldmap.lidar.match.correlate import correlate_one
from foldmap.lidar.match.rotate import Headings, Turner
from foldmap.types import DoubleArray, FloatArray


def coarse_headings_rad(range_rad: float, count: int = 11) -> DoubleArray:
    """Return ``count`` (odd) evenly spaced headings over +-``range_rad`` (the paper's 11), the middle one being 0."""
    if count < 1 or count % 2 == 0 or range_rad < 0:
        raise ConfigError(f"{count} headings over +-{range_rad} rad", "give an odd count and a range >= 0")
    return np.linspace(-range_rad, range_rad, count) if count > 1 else np.zeros(1)


def match_fft(map_CHW: FloatArray, observation_CHW: FloatArray, headings: Headings, radius_px: int) -> FloatArray:
    """Score every pose, scores_THW: one FFT of the map, one of each turned observation, a partial inverse.

    A ConfigError where shapes do not fit the module's geometry.
    """
    return match_mirrored(map_CHW, observation_CHW, headings, radius_px)


def match_half(map_CHW: FloatArray, observation_CHW: FloatArray, headings: Headings, radius_px: int) -> FloatArray:
    """Do as `match_fft` from images of half the resolution, for a quarter of its time: scores but for fine detail.

    Shifts are those of `match_fft`, every second one between the small images' pixels, where the correlation is
    interpolated by its spectrum. All sides must be even.
    """
    return match_mirrored(map_CHW, observation_CHW, headings, radius_px, half=True)


def match_mirrored(
    map_CHW: FloatArray,
    observation_CHW: FloatArray,
    headings: Headings,
    radius_px: int,
    mirrors: Sequence[tuple[int, int]] = (),
    *,
    half: bool = False,
) -> FloatArray:
    """Score every pose, and after those every shift of the unturned observation in a mirror: (T + N, H, W).

    As `match_fft`, or as `match_half`. A mirror is the steps, 1 or -1, along columns and along rows.
    """
    _check(map_CHW, observation_CHW, radius_px)
    if half:
        map_CHW, observation_CHW = halved(map_CHW), halved(observation_CHW)
    margin = radius_px if half else 2 * radius_px
    canvas = map_CHW.shape[1] - margin, map_CHW.shape[2] - margin
    angles = np.append(np.asarray(headings, np.float64), np.zeros(len(mirrors)))
    turners = [Turner(observation_CHW)] * (len(angles) - len(mirrors))
    turners += [Turner(observation_CHW[:, ::down, ::right]) for right, down in mirrors]

    def turn_into(t: int, out_CHW: FloatArray) -> None:
        turners[t].into(float(angles[t]), out_CHW, canvas)

    scores = correlate_one(map_CHW, turn_into, len(angles), 2 * radius_px + 1, 0.5 if half else 1.0)
    if half:
        scores *= 4.0  # a sum over a quarter of the pixels
    return scores


def halved(image_CHW: FloatArray) -> FloatArray:
    """Means of two by two pixels; all sides are even."""
    # Sums of slices: a mean over two short axes takes seven times as long, a sixth of a whole localizer step.
    pairs = image_CHW[:, ::2] + image_CHW[:, 1::2]
    halved: FloatArray = (pairs[:, :, ::2] + pairs[:, :, 1::2]) * np.float32(0.25)
    return halved


def _check(map_CHW: FloatArray, observation_CHW: FloatArray, radius_px: int) -> None:
    if len(map_CHW) != len(observation_CHW):
        raise ConfigError(
            f"embeddings of {len(map_CHW)} channels in the map and {len(observation_CHW)} in the observation",
            "use embeddings of one model",
        )
    if radius_px < 0:
        raise ConfigError(f"a search radius of {radius_px} px", "give a radius >= 0")
    margins = [m - o - 2 * radius_px for m, o in zip(map_CHW.shape[1:], observation_CHW.shape[1:], strict=True)]
    if min(margins) < 0 or any(margin % 2 for margin in margins):
        raise ConfigError(
            f"a {tuple(map_CHW.shape[1:])} px map crop for a {tuple(observation_CHW.shape[1:])} px observation"
            f" and a search of +-{radius_px} px",
            "the crop must be larger by twice the radius plus twice a margin >= 0",
        )
