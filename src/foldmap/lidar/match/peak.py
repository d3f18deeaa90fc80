"""From a volume of matching scores to a pose: soft-argmax (eq. 8), covariance, margin to the second-best mode."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.types import AnyArray, BoolArray, DoubleArray

MODE_RADIUS_M = 0.3
"""Poses farther than this from the best one count as another mode."""


@dataclass(frozen=True)
class ScorePeak:
    """What a score volume says.

    Attributes:
        offset: the pose relative to the volume's centre: metres east and north (the volume's columns and negated rows)
            and heading in radians, by soft-argmax over the best mode.
        covariance: (3, 3) of that mode, x_m, y_m, heading_rad, with a floor of a uniform error inside one cell.
        index: heading, row and column of the largest score.
        score: the largest score.
        margin: largest score minus the largest of any other mode; infinite when the window holds no other mode.
        entropy: of the normalized volume over all poses, as a share of the uniform distribution's, 0 to 1.
        at_edge: whether the largest score lies on the window's rim, so that a better one may lie outside.
    """

    offset: SE2
    covariance: DoubleArray
    index: tuple[int, int, int]
    score: float
    margin: float
    entropy: float
    at_edge: bool


def pose_from_scores(
    scores_THW: AnyArray,
    headings_rad: DoubleArray,
    resolution_m: float,
    *,
    alpha: float = 1.0,
    temperature: float = 1.0,
    mode_radius_m: float = MODE_RADIUS_M,
) -> ScorePeak:
    """Read the pose from scores with sub-pixel precision.

    The belief is softmax(scores / temperature); eq. 8 weights poses by belief ** alpha. The sum runs over the best mode
    only (all headings, shifts within ``mode_radius_m``): the mean of two modes is a place that neither supports.

    Args:
        scores_THW: log-likelihoods up to a scale, rows going south.
        headings_rad: (T,) ascending.
        resolution_m: of rows and columns.
        alpha: eq. 8's temperature, >= 1.
        temperature: divides the scores.
        mode_radius_m: reach of one mode.

    Raises:
        ConfigError: shapes disagree, or alpha < 1, or temperature <= 0, or a score is not finite.
    """
    scores = np.asarray(scores_THW, dtype=np.float64)
    headings = np.asarray(headings_rad, dtype=np.float64)
    if scores.ndim != 3 or headings.shape != scores.shape[:1] or not np.isfinite(scores).all():
        raise ConfigError(f"scores {scores.shape} and headings {headings.shape}", "give finite (T, H, W) and (T,)")
    if not (alpha >= 1 and temperature > 0 and resolution_m > 0):
        raise ConfigError(f"alpha {alpha}, temperature {temperature}", "give alpha >= 1 and a positive temperature")
    index = tuple(int(i) for i in np.unravel_index(scores.argmax(), scores.shape))
    t, row, col = index
    best = float(scores[index])
    near = mode_mask(scores.shape[1:], (row, col), mode_radius_m / resolution_m)
    weight = np.exp(alpha * (scores - best) / temperature) * near
    mean, spread = _moments(weight, headings, resolution_m)
    belief = np.exp((scores - best) / temperature)
    belief /= belief.sum()
    entropy = -float(np.sum(belief * np.log(np.maximum(belief, 1e-300)))) / max(math.log(belief.size), 1e-12)
    step = float(np.diff(headings).min()) if len(headings) > 1 else 0.0
    floor = np.array([resolution_m**2, resolution_m**2, step**2]) / 12
    other = scores[:, ~near]
    edges = (row in (0, scores.shape[1] - 1)) or (col in (0, scores.shape[2] - 1))
    return ScorePeak(
        offset=SE2(float(mean[0]), float(mean[1]), float(mean[2])),
        covariance=spread + np.diag(floor),
        index=(t, row, col),
        score=best,
        margin=best - float(other.max()) if other.size else math.inf,
        entropy=entropy,
        at_edge=(edges and scores.shape[1:] != (1, 1)) or (len(headings) > 2 and t in (0, len(headings) - 1)),
    )


def mode_mask(shape: tuple[int, ...], peak_rc: tuple[int, int], radius_px: float) -> BoolArray:
    """Return which shifts (H, W) lie within a radius of one; at least its eight neighbours."""
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    near: BoolArray = (rows - peak_rc[0]) ** 2 + (cols - peak_rc[1]) ** 2 <= max(radius_px, 1.5) ** 2
    return near


def _moments(weight_THW: DoubleArray, headings: DoubleArray, resolution_m: float) -> tuple[DoubleArray, DoubleArray]:
    """Mean and covariance of x, y, heading under weights, relative to the window's centre."""
    height, width = weight_THW.shape[1:]
    north = -(np.arange(height) - (height - 1) / 2) * resolution_m
    east = (np.arange(width) - (width - 1) / 2) * resolution_m
    weight = weight_THW / weight_THW.sum()
    heading, y, x = np.meshgrid(headings, north, east, indexing="ij")
    kept = weight > 0
    poses = np.stack([x[kept], y[kept], heading[kept]])
    mean = poses @ weight[kept]
    centred = poses - mean[:, None]
    return mean, (centred * weight[kept]) @ centred.T
