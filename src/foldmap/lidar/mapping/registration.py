"""How a sensor moved, by its sweeps alone: each is laid on the last few by what stands and lies around (ICP).

Point to plane, all six degrees of freedom. Ground alone says nothing of x, y and heading: where too little stands,
nothing is answered.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from foldmap.geometry import SE3
from foldmap.lidar.source import Sweep
from foldmap.types import BoolArray, DoubleArray

_NEAR_M, _FAR_M = 2.5, 45.0
_CELL_M, _MOVED_CELL_M = 0.3, 0.8
_NEIGHBOURS = 12
_FLAT = 0.1
"""Of a plane's neighbours the smallest variance is below this share of the middle one."""
_REACH_M = (2.0, 2.0, 1.5, 1.5, 1.0, 1.0, 0.7, 0.7, 0.5, 0.5, 0.4, 0.4, 0.3, 0.3, 0.3, 0.3)
_KEPT = 5
_LEAST_PAIRS = 150
_LEAST_FIT = 0.25
"""Of all points, those that lie on a plane."""
_LEAST_SHARE = 0.004
"""Of all planes, those that say something of the direction, in the plane, of which they say least."""


@dataclass(frozen=True)
class _Planes:
    points_m: DoubleArray
    normals: DoubleArray


class SweepRegistration:
    """The odometry of a lidar: sweeps one after another, each registered to the last five."""

    def __init__(self) -> None:
        self._kept: deque[tuple[_Planes, SE3]] = deque(maxlen=_KEPT)
        self._last, self._step = SE3(np.eye(4)), SE3(np.eye(4))

    def add(self, sweep: Sweep, guess: SE3 | None = None) -> SE3 | None:
        """Register a sweep: start_SE3_sensor; None where the sweeps do not tell. Then it is a new start.

        The ``guess`` is previous_SE3_current, of a prior; that the motion goes on as it was is tried besides.
        """
        points = _thinned(sweep.points_sensor_m.astype(np.float64), _CELL_M)
        if not self._kept:
            self._restart(points)
            return None
        planes = _Planes(
            np.concatenate([pose.apply(each.points_m) for each, pose in self._kept]),
            np.concatenate([each.normals @ pose.matrix[:3, :3].T for each, pose in self._kept]),
        )
        tree, moved = cKDTree(planes.points_m), _thinned(points, _MOVED_CELL_M)
        steps = [self._step] if guess is None else [self._step, guess]
        found = [_registered(planes, tree, moved, self._last @ step) for step in steps]
        best = max((one for one in found if one is not None), key=lambda one: one[1], default=None)
        if best is None:
            self._restart(points)
            return None
        self._step, self._last = self._last.inverse() @ best[0], best[0]
        self._kept.append((_planes_of(points), best[0]))
        return best[0]

    def _restart(self, points: DoubleArray) -> None:
        self._kept.clear()
        self._last = self._step = SE3(np.eye(4))
        self._kept.append((_planes_of(points), self._last))


def _thinned(points_m: DoubleArray, cell_m: float) -> DoubleArray:
    """One point of each cell, of those neither on the vehicle nor far away."""
    range_m = np.hypot(points_m[:, 0], points_m[:, 1])
    points_m = points_m[(range_m > _NEAR_M) & (range_m < _FAR_M)]
    cell = np.floor(points_m / cell_m).astype(np.int64) + (1 << 15)
    _, first = np.unique((cell[:, 0] << 40) | (cell[:, 1] << 20) | cell[:, 2], return_index=True)
    thinned: DoubleArray = points_m[np.sort(first)]
    return thinned


def _planes_of(points_m: DoubleArray) -> _Planes:
    """The points around which others lie in a plane, and its normal."""
    if len(points_m) <= _NEIGHBOURS:
        return _Planes(np.zeros((0, 3)), np.zeros((0, 3)))
    _, near = cKDTree(points_m).query(points_m, _NEIGHBOURS)
    around = points_m[near] - points_m[near].mean(1, keepdims=True)
    variances, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))
    flat = variances[:, 0] < _FLAT * variances[:, 1]
    return _Planes(points_m[flat], axes[flat, :, 0])


def _registered(planes: _Planes, tree: cKDTree, moved_m: DoubleArray, start: SE3) -> tuple[SE3, float] | None:
    """The pose of the moved points on the planes, and how well they fit; None where they do not tell it."""
    if len(planes.points_m) < _LEAST_PAIRS or len(moved_m) < _LEAST_PAIRS:
        return None
    pose = start
    for reach_m in _REACH_M:
        at = pose.apply(moved_m)
        away_m, nearest = tree.query(at, distance_upper_bound=reach_m)
        paired: BoolArray = np.isfinite(away_m)
        if paired.sum() < _LEAST_PAIRS:
            return None
        at, normals = at[paired], planes.normals[nearest[paired]]
        off_m = np.einsum("ni,ni->n", planes.points_m[nearest[paired]] - at, normals)
        weight = 1.0 / (1.0 + (off_m / (0.3 * reach_m)) ** 2) ** 2
        arm = np.concatenate([np.cross(at - pose.translation_m, normals), normals], axis=1)
        normal = (arm * weight[:, None]).T @ arm
        along = np.linalg.eigvalsh(normal[3:5, 3:5]) / weight.sum()
        if along[0] < _LEAST_SHARE:
            return None
        change = np.linalg.solve(normal + 1e-6 * np.eye(6), arm.T @ (weight * off_m))
        moved = np.eye(4)
        moved[:3, :3] = (Rotation.from_rotvec(change[:3]) * Rotation.from_matrix(pose.matrix[:3, :3])).as_matrix()
        moved[:3, 3] = pose.translation_m + change[3:]
        pose = SE3(moved)
    fit = float(weight.sum()) / len(moved_m)
    return (pose, fit) if fit >= _LEAST_FIT else None
