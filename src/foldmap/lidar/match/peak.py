"""What a volume of matching scores says besides its best pose: which poses are another mode, and how flat it is."""

from __future__ import annotations

import math

import numpy as np

from foldmap.types import AnyArray, BoolArray

MODE_RADIUS_M = 0.3
"""Poses farther than this from the best one count as another mode."""


def entropy_of(scores_THW: AnyArray, temperature: float) -> float:
    """Entropy of softmax(scores / temperature) over all poses, as a share of the uniform distribution's, 0 to 1."""
    scores = np.asarray(scores_THW, dtype=np.float64)
    belief = np.exp((scores - float(scores.max())) / temperature)
    belief /= belief.sum()
    return -float(np.sum(belief * np.log(np.maximum(belief, 1e-300)))) / max(math.log(belief.size), 1e-12)


def mode_mask(shape: tuple[int, ...], peak_rc: tuple[int, int], radius_px: float) -> BoolArray:
    """Which shifts (H, W) lie within a radius of one; at least its eight neighbours."""
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    near: BoolArray = (rows - peak_rc[0]) ** 2 + (cols - peak_rc[1]) ** 2 <= max(radius_px, 1.5) ** 2
    return near
