"""How alike the descriptors of a track are: a point that always looks the same passes the ratio test more often."""

from __future__ import annotations

import numpy as np

from foldmap.errors import MapInputError
from foldmap.types import DoubleArray
from foldmap.visual.source import SceneModel, unit_descriptors

FLOOR = 0.1
"""Added to the scatter, so that weights stay within a factor of about ten."""
_BLOCK = 65_536


def scatter_of(scene: SceneModel) -> DoubleArray:
    """RMS distance of a track's descriptors (made unit length) from their mean, float64 (P,).

    A few observations say little about it, so each track is given one more degree of freedom at the pooled variance of
    all tracks: a track of one observation scatters like the average.

    Raises:
        MapInputError: the scene has no descriptors.
    """
    described = scene.tracks.descriptors
    if described is None:
        raise MapInputError("the scene has no descriptors", "join features to it first")
    first = scene.track_first
    count = np.diff(first)
    squares = np.empty(len(count))
    start = 0
    while start < len(count):
        end = max(start + 1, int(np.searchsorted(first, first[start] + _BLOCK, side="right")) - 1)
        unit = unit_descriptors(described[first[start] : first[end]]).astype(np.float64)
        total = np.add.reduceat(unit, first[start:end] - first[start], axis=0)
        # sum |x - mean|^2 of unit vectors; a row of zeros counts as one that is like no other.
        squares[start:end] = count[start:end] - (total**2).sum(1) / count[start:end]
        start = end
    pooled = squares.sum() / max(1, int((count - 1).sum()))
    scatter: DoubleArray = np.sqrt(np.maximum(squares + pooled, 0) / count)
    return scatter


def tightness_of(scene: SceneModel) -> DoubleArray:
    """Weights for covers: 1 / (FLOOR + scatter), divided by their mean; all 1 where the scene has no descriptors."""
    if scene.tracks.descriptors is None:
        return np.ones(len(scene.points_world))
    tight = 1 / (FLOOR + scatter_of(scene))
    weight: DoubleArray = tight / tight.mean()
    return weight
