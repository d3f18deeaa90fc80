"""One descriptor a point, the mean over its track (HLoc-avg in the paper), and how alike those of a track are."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from foldmap.types import AnyArray, DoubleArray, FloatArray
from foldmap.visual.source import SceneModel, unit_descriptors

_ROWS_AT_ONCE = 1 << 18
_FLOOR = 0.1  # added to the scatter, so that weights stay within a factor of about ten


def track_means(scene: SceneModel) -> FloatArray:
    """Mean of the unit descriptors of each track, made unit again: float32 (P, D)."""
    sums = np.zeros((len(scene.points_world), scene.described.shape[1]), np.float64)
    for tracks, total in _sums(scene, np.float32):
        sums[tracks] = total
    return unit_descriptors(sums)


def scatter_of(scene: SceneModel) -> DoubleArray:
    """RMS distance of a track's descriptors (made unit length) from their mean, float64 (P,).

    A few observations say little about it, so each track is given one more degree of freedom at the pooled variance of
    all tracks: a track of one observation scatters like the average.
    """
    count = np.diff(scene.track_first)
    squares = np.empty(len(count))
    for tracks, total in _sums(scene, np.float64):
        # sum |x - mean|^2 of unit vectors; a row of zeros counts as one that is like no other.
        squares[tracks] = count[tracks] - (total**2).sum(1) / count[tracks]
    pooled = squares.sum() / max(1, int((count - 1).sum()))
    return np.asarray(np.sqrt(np.maximum(squares + pooled, 0) / count))


def tightness_of(scene: SceneModel) -> DoubleArray:
    """Weights of points, 1 / (0.1 + scatter) divided by their mean: one that looks the same passes more ratio tests.

    All 1 where the scene has no descriptors.
    """
    if scene.tracks.descriptors is None:
        return np.ones(len(scene.points_world))
    tight = 1 / (_FLOOR + scatter_of(scene))
    return np.asarray(tight / tight.mean())


def _sums(scene: SceneModel, kind: DTypeLike) -> Iterator[tuple[slice, AnyArray]]:
    """Some tracks, and the sums of their unit descriptors (K, D): whole tracks, so that memory stays bounded."""
    first, begin = scene.track_first, 0
    while begin < len(first) - 1:
        end = max(begin + 1, int(np.searchsorted(first, first[begin] + _ROWS_AT_ONCE, side="right")) - 1)
        rows = unit_descriptors(scene.described[first[begin] : first[end]]).astype(kind)
        yield slice(begin, end), np.add.reduceat(rows, first[begin:end] - first[begin], axis=0)
        begin = end
