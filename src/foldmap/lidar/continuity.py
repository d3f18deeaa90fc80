"""Whether the newest sweep shows the ground that odometry says it should: that of the sweeps before it."""

from __future__ import annotations

from collections import deque

import numpy as np

from foldmap.lidar.mapping.bins import binned
from foldmap.types import BoolArray, DoubleArray, FloatArray

_CELL_M, _HALF_M, _AROUND_CELLS = 0.2, (12.0, 15.0), 7
_LEAST_CELLS = 500  # seen by both; fewer say nothing
_LEAST_M = 2 * _CELL_M  # a lidar that stands sees the same rings: such sweeps are alike whatever the ground
_KEPT, _LEAST_KEPT = 10, 5
_SHARE = 0.5
"""Of what sweeps of this drive lately had in common with those before them; ground of another kind has less. Of all
sweeps of kitti-hdl64, kitti-drive0001 and drives in two generated towns one keeps less of it. Ground from 20 m on along
the same street keeps more where the street is all alike: that is for the map to tell."""


class Continuity:
    """Follows how much each sweep has in common with those before, laid on it by odometry.

    How alike two sweeps of one ground are depends on the lidar and on the ground, so a sweep is held against the last
    few of its own drive.
    """

    def __init__(self) -> None:
        self._usual: deque[float] = deque(maxlen=_KEPT)

    def holds(
        self, xy_m: DoubleArray, intensity: FloatArray, before_m: DoubleArray, before: FloatArray, driven_m: float
    ) -> bool:
        """Whether a sweep's ground goes on where the others' was; True where there is too little to tell by.

        Points (N, 2) and (M, 2) in the frame of the newest sweep, with their intensities; driven since the last one.
        """
        alike = _correlation(_contrast(xy_m, intensity), _contrast(before_m, before))
        if alike is None:
            return True
        if len(self._usual) >= _LEAST_KEPT and alike < _SHARE * float(np.median(self._usual)):
            return False
        if driven_m >= _LEAST_M:
            self._usual.append(alike)
        return True


def _contrast(xy_m: DoubleArray, intensity: FloatArray) -> tuple[DoubleArray, BoolArray]:
    """Mean intensity of each cell less that around it, and which cells were seen, (H, W) each."""
    from scipy.ndimage import uniform_filter

    shape = round(2 * _HALF_M[0] / _CELL_M), round(2 * _HALF_M[1] / _CELL_M)
    count, total = binned(xy_m, intensity, shape, _HALF_M, _CELL_M)
    seen = count > 0
    mean = total / np.maximum(count, 1)
    around, share = (uniform_filter(part, _AROUND_CELLS, mode="constant") for part in (mean, seen.astype(np.float64)))
    return np.where(seen, mean - around / np.maximum(share, 1e-9), 0.0), seen


def _correlation(one: tuple[DoubleArray, BoolArray], other: tuple[DoubleArray, BoolArray]) -> float | None:
    """Of two images where both were seen; None where that is too little or holds no contrast."""
    both = one[1] & other[1]
    a, b = one[0][both], other[0][both]
    power = float(a @ a) * float(b @ b)
    return None if len(a) < _LEAST_CELLS or power <= 0.0 else float(a @ b) / power**0.5
