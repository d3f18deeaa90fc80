"""One descriptor a point: the mean over its track (HLoc-avg in the paper's tables)."""

from __future__ import annotations

import numpy as np

from foldmap.errors import MapInputError
from foldmap.types import FloatArray
from foldmap.visual.source import SceneModel, unit_descriptors

_ROWS_AT_ONCE = 1 << 18


def track_means(scene: SceneModel) -> FloatArray:
    """Mean of the unit descriptors of each track, made unit again.

    Returns:
        float32 (P, D).

    Raises:
        MapInputError: features were not joined to the scene.
    """
    described = scene.tracks.descriptors
    if described is None:
        raise MapInputError("the scene has no descriptors", "give its features: features.h5, or a database")
    count, dimension = len(scene.points_world), described.shape[1]
    sums = np.zeros((count, dimension), np.float64)
    first = scene.track_first
    begin = 0
    while begin < count:
        # whole tracks at a time, so that memory stays bounded whatever the map's size
        end = max(begin + 1, int(np.searchsorted(first, first[begin] + _ROWS_AT_ONCE, side="right")) - 1)
        rows = unit_descriptors(described[first[begin] : first[end]])
        sums[begin:end] = np.add.reduceat(rows, first[begin:end] - first[begin], axis=0)
        begin = end
    return unit_descriptors(sums)
