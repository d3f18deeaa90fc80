"""How a sensor moved, by its sweeps alone: each is laid on those before by what stands and lies around.

All six degrees of freedom, by small_gicp: point to plane on the sweep before, then on the cells of the last few
(voxelized GICP, Koide et al. 2021), for rings on the ground move with the sensor, which the last one alone would
follow. Ground alone says nothing of x, y and heading: where too little stands, nothing is answered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import small_gicp
from scipy.spatial.transform import Rotation

from foldmap.geometry import SE2, SE3
from foldmap.lidar.source import Sweep
from foldmap.types import AnyArray, DoubleArray

_NEAR_M, _FAR_M = 2.5, 60.0
_CELL_M = 0.4
_NEIGHBOURS = 12
_REACH_M = (5.0, 1.0)
_VOXEL_M, _KEPT = 0.5, 10
_LEAST_POINTS, _LEAST_FIT = 150, 0.5
"""Of all points, those within reach of what was there before: 0.84 and more where it is right."""
_MOST_OFF_M = 0.17
"""Root mean square of the distances to planes: 0.13 and less where it is right, 0.22 and more on other ground."""
_MOST_ERROR_M, _LEAST_OFF_M = 0.01, 0.02
"""Standard error of the step in the direction, along the ground, of which planes say least, if they were independent.

However flat the ground is, points are not believed to be nearer to planes than a lidar's noise. On two recorded streets
0.008 and less with eight rings and more; with four, which slide along one of them, 0.012.
"""


@dataclass(frozen=True)
class _Surfaces:
    """The points of a sweep with the surfaces around them, and what finds the nearest: objects of small_gicp."""

    points: Any
    tree: Any

    @staticmethod
    def of(sweep: Sweep) -> _Surfaces | None:
        """Of what is neither on the vehicle nor far away; None where that is too little."""
        range_m = np.hypot(sweep.points_sensor_m[:, 0], sweep.points_sensor_m[:, 1])
        near = sweep.points_sensor_m[(range_m > _NEAR_M) & (range_m < _FAR_M)].astype(np.float64)
        if len(near) < _LEAST_POINTS:
            return None
        points, tree = small_gicp.preprocess_points(near, _CELL_M, num_neighbors=_NEIGHBOURS)
        return _Surfaces(points, tree) if points.size() >= _LEAST_POINTS else None


class SweepRegistration:
    """The odometry of a lidar: sweeps one after another, each registered to the last few."""

    def __init__(self) -> None:
        self._before: _Surfaces | None = None
        self._last = self._step = SE3(np.eye(4))
        self._map: Any = None

    def add(self, sweep: Sweep, guess: SE3 | None = None) -> SE3 | None:
        """Register a sweep: start_SE3_sensor; None where the sweeps do not tell. Then it is a new start.

        The ``guess`` is previous_SE3_current, of a prior; that the motion goes on as it was is tried besides.
        """
        here, before = _Surfaces.of(sweep), self._before
        if here is None or before is None:
            self._begin(here)
            return None
        steps = [self._step] if guess is None else [self._step, guess]
        off_m, step = min((_registered(before, here, step.matrix) for step in steps), key=lambda one: one[0])
        if off_m > _MOST_OFF_M:
            self._begin(here)
            return None
        fine = small_gicp.align(
            self._map, here.points, self._last.matrix @ step, max_correspondence_distance=_REACH_M[-1]
        )
        at = _rigid(fine.T_target_source)
        self._before, self._step, self._last = here, self._last.inverse() @ at, at
        self._map.insert(here.points, at.matrix)
        return at

    def _begin(self, here: _Surfaces | None) -> None:
        self._before, self._last = here, SE3(np.eye(4))
        self._step = self._last
        self._map = small_gicp.GaussianVoxelMap(_VOXEL_M)
        self._map.set_lru(_KEPT, _KEPT)
        if here is not None:
            self._map.insert(here.points)


class SweepOdometry:
    """Odometry of a vehicle that brings none: how it moves along the ground, by its sweeps."""

    def __init__(self) -> None:
        self._running, self._before = SweepRegistration(), SE2(0.0, 0.0, 0.0)
        self._step: SE2 | None = None

    def add(self, sweep: Sweep) -> SE2 | None:
        """Previous_SE2_current of a sweep in the vehicle's axes; None at first, and where the sweeps do not tell.

        A single sweep that does not is passed as the vehicle moved before, so that what follows it goes on from there.
        """
        at = self._running.add(sweep)
        here = SE2(0.0, 0.0, 0.0) if at is None else at.to_se2()
        carried, self._step = self._step, None if at is None else self._before.inverse() @ here
        self._before = here
        return carried if at is None else self._step


def _registered(before: _Surfaces, here: _Surfaces, step: DoubleArray) -> tuple[float, DoubleArray]:
    """How far points are from the planes before (m, infinite where these do not tell), and previous_SE3_current."""
    off_m = math.inf
    for reach_m in _REACH_M:
        found = small_gicp.align(
            before.points,
            here.points,
            before.tree,
            step,
            registration_type="PLANE_ICP",
            max_correspondence_distance=reach_m,
            max_iterations=30,
        )
        if found.num_inliers < max(_LEAST_POINTS, _LEAST_FIT * here.points.size()):
            return math.inf, step
        step, off_m = np.asarray(found.T_target_source), math.sqrt(2.0 * found.error / found.num_inliers)
    told = float(np.linalg.eigvalsh(np.asarray(found.H)[3:5, 3:5])[0])
    return (off_m if max(off_m, _LEAST_OFF_M) <= _MOST_ERROR_M * math.sqrt(max(told, 0.0)) else math.inf), step


def _rigid(matrix: AnyArray) -> SE3:
    """What is nearly rigid: rounding adds up along a drive."""
    exact = np.array(matrix)
    exact[:3, :3] = Rotation.from_matrix(exact[:3, :3]).as_matrix()
    return SE3(exact)
