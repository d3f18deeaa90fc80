"""Local contrast of a raster, and its quantization to a few levels with smoothing."""

import math

import numpy as np

from foldmap.lidar.marks.contrast import local_moments
from foldmap.lidar.marks.lines import less_lines
from foldmap.types import AnyArray, BoolArray, FloatArray

WINDOW_M = 2.0  # reach of mean and spread to every side
CLIP = 6.0
_ROUNDS = 8
_ROUNDING = 1e-4  # share of the mean under which a spread is float32 rounding


def local_contrast(intensity: FloatArray, observed: BoolArray, resolution_m: float, lines: float = 0.0) -> FloatArray:
    """Intensity less the mean within 2 m (a square), over the spread there, within +-6; 0 where not observed.

    Mean and spread are of observed pixels; the spread is at least its median over the image, so that plain ground is
    not amplified to noise. Float32 (H, W). Of the result the share ``lines`` of what goes on along a line is taken off.
    """
    if not observed.any():
        return np.zeros(intensity.shape, np.float32)
    side = 2 * max(1, math.ceil(WINDOW_M / resolution_m - 1e-9)) + 1
    centre = float(intensity[observed].mean())  # keeps differences of float32 exact enough
    values = np.where(observed, intensity - centre, 0).astype(np.float32)
    mean, spread = local_moments(values, observed.astype(np.float32), side)
    floor = max(float(np.median(spread[observed])), _ROUNDING * abs(centre), 1e-12)
    contrast: FloatArray = np.clip((values - mean) / np.maximum(spread, floor), -CLIP, CLIP).astype(np.float32)
    contrast = np.where(observed, contrast, np.float32(0))
    return less_lines(contrast, observed, resolution_m, lines) if lines > 0 else contrast


def nearest_levels(
    contrast: FloatArray, observed: BoolArray, levels: tuple[float, ...], disagreement: float
) -> AnyArray:
    """Index of a level for each pixel: squared distance to it, and a cost for each of four neighbours that differs.

    Iterated conditional modes from the nearest level, on the two colours of a checkerboard in turn. Pixels that were
    not observed follow their neighbours.
    """
    distance = np.stack([(contrast - level) ** 2 for level in levels]) * observed
    labels: AnyArray = distance.argmin(0)
    colour = np.add.outer(np.arange(contrast.shape[0]), np.arange(contrast.shape[1])) % 2
    for turn in range(2 * _ROUNDS if disagreement else 0):
        around = np.pad(labels, 1, constant_values=-1)
        neighbours = around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]
        agreeing = np.stack([sum((n == k).astype(np.float32) for n in neighbours) for k in range(len(levels))])
        better = np.where(colour == turn % 2, (distance - disagreement * agreeing).argmin(0), labels)
        if turn and (better == labels).all():
            break
        labels = better
    return labels
