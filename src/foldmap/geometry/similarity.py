"""The similarity, or rigid motion, between two frames out of pairs of points, some of which may be wrong.

Least squares of point pairs: Umeyama, Least-squares estimation of transformation parameters between two point patterns,
1991. Wrong pairs: the least median of squares (Rousseeuw 1984) over few pairs at a time finds who agrees, without a
threshold and up to half of them wrong; Huber's weights settle the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.types import AnyArray, BoolArray, DoubleArray

LEAST_PAIRS = {2: 3, 3: 4}
"""By dimension: fewer leave nothing to check an alignment by."""
_TRIES, _ROUNDS = 1000, 30
_HUBER = 1.345
_CLEAR = 2.5
"""Robust standard deviations beyond which a pair is left out (Rousseeuw and Leroy 1987)."""
_MOST_TURN_RAD = 0.1
_MOST_MISFIT = 0.1
_CURE = "check which point belongs to which, and the units"


@dataclass(frozen=True)
class Similarity:
    """``target_Sim3_source``: target = scale rotation source + shift."""

    scale: float
    rotation: DoubleArray  # (D, D): 2 of the plane, 3 of space
    shift: DoubleArray  # (D,)

    def apply(self, points_source: AnyArray) -> DoubleArray:
        """Points (N, D) of the source in the target's frame."""
        return np.asarray(self.scale * (np.asarray(points_source, np.float64) @ self.rotation.T) + self.shift)

    def move_cameras(self, camera_SE3_source: AnyArray) -> DoubleArray:
        """Poses (I, 4, 4) of cameras in the target's frame, camera_SE3_target: in its units, so in the new scale."""
        poses = np.asarray(camera_SE3_source, np.float64)
        moved = np.array(poses)
        moved[:, :3, :3] = poses[:, :3, :3] @ self.rotation.T
        centres = self.apply(-np.einsum("iba,ib->ia", poses[:, :3, :3], poses[:, :3, 3]))
        moved[:, :3, 3] = -np.einsum("iab,ib->ia", moved[:, :3, :3], centres)
        return moved


@dataclass(frozen=True)
class Alignment:
    """A similarity with how well its pairs agree.

    Attributes:
        similarity: see there.
        residuals: float64 (N,), how far each source point falls from its target, in the target's unit.
        agrees: bool (N,), which pairs were taken.
        turn_sigma_rad: standard deviation of the rotation about the axis that the points tell least of.
    """

    similarity: Similarity
    residuals: DoubleArray
    agrees: BoolArray
    turn_sigma_rad: float


def umeyama(source: AnyArray, target: AnyArray, weights: AnyArray | None = None, *, rigid: bool = False) -> Similarity:
    """The similarity of least squares that brings points (N, D) onto others; weights (N,), scale 1 if rigid."""
    weight = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    weight = weight / weight.sum()
    middle, goal = weight @ source, weight @ target
    from_middle, from_goal = source - middle, target - goal
    left, spread, right = np.linalg.svd((from_goal * weight[:, None]).T @ from_middle)
    sign = np.ones(len(spread))
    sign[-1] = np.sign(np.linalg.det(left @ right)) or 1.0
    rotation = left @ np.diag(sign) @ right
    size = max(float(weight @ (from_middle**2).sum(axis=1)), 1e-300)
    scale = 1.0 if rigid else float((spread * sign).sum()) / size
    return Similarity(scale, rotation, goal - scale * rotation @ middle)


def align(source: AnyArray, target: AnyArray, *, rigid: bool = False, seed: int = 0) -> Alignment:
    """The similarity that most pairs of points agree on, in the plane or in space.

    Args:
        source: (N, D), D 2 or 3, N >= `LEAST_PAIRS` of it.
        target: (N, D), the same points in the other frame.
        rigid: both frames are in one unit: the scale is 1.
        seed: of the few pairs at a time that are tried.

    Raises:
        PoseInputError: too few pairs; points on one line, which leave the turn about it open; pairs that agree on
            nothing.
    """
    here, there = np.asarray(source, np.float64), np.asarray(target, np.float64)
    least = LEAST_PAIRS[here.shape[1]]
    if len(here) < least:
        raise PoseInputError(f"{len(here)} pairs of points align nothing", f"give at least {least}")
    # of coordinates as large as UTM's, only differences count
    base, goal = np.median(here, axis=0), np.median(there, axis=0)
    near, far = here - base, there - goal
    _require_spread(near, "first")
    _require_spread(far, "second")
    residuals = _squares(_least_median(near, far, rigid, seed), near, far)
    # what half the pairs tell of all, fitted by few
    sigma = 1.4826 * (1 + 5 / max(len(near) - 3, 1)) * np.sqrt(np.median(residuals))
    floor = 1e-9 * float(np.abs(far).max())
    agrees: BoolArray = np.sqrt(residuals) <= _CLEAR * max(float(sigma), floor)
    found = _huber(near[agrees], far[agrees], rigid)
    off = np.sqrt(_squares(found, near, far))
    moved = Similarity(found.scale, found.rotation, found.shift + goal - found.scale * found.rotation @ base)
    result = Alignment(moved, off, agrees, _turn_sigma_rad(found, near[agrees], off[agrees]))
    _require_sense(result, far[agrees])
    return result


def _least_median(near: DoubleArray, far: DoubleArray, rigid: bool, seed: int) -> Similarity:
    rng = np.random.default_rng(seed)
    best, least = umeyama(near, far, rigid=rigid), np.inf
    for _ in range(_TRIES):
        few = rng.choice(len(near), near.shape[1], replace=False)
        tried = umeyama(near[few], far[few], rigid=rigid)
        median = float(np.median(_squares(tried, near, far)))
        if median < least:
            best, least = tried, median
    return best


def _huber(near: DoubleArray, far: DoubleArray, rigid: bool) -> Similarity:
    weights = np.ones(len(near))
    for _ in range(_ROUNDS):
        found = umeyama(near, far, weights, rigid=rigid)
        off = np.sqrt(_squares(found, near, far))
        limit = _HUBER * 1.4826 * max(float(np.median(off)), 1e-300)
        weights = np.minimum(1.0, limit / np.maximum(off, 1e-300))
    return found


def _squares(found: Similarity, near: DoubleArray, far: DoubleArray) -> DoubleArray:
    return np.asarray(((found.apply(near) - far) ** 2).sum(axis=1))


def _require_spread(points: DoubleArray, which: str) -> None:
    """Check that points tell a turn about every axis: in space they lie on no line, in the plane not at one place."""
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if not spread[-2] > (0 if len(spread) == 2 else 1e-6) * max(float(spread[0]), 1e-300):
        where = "at one place" if len(spread) == 2 else "on one line"
        what = f"the points of the {which} frame lie {where}, and a turn stays open"
        raise PoseInputError(what, "give points off that line: of a turn, or at another height")


def _turn_sigma_rad(found: Similarity, near: DoubleArray, off: DoubleArray) -> float:
    """Noise along one axis, over the arm of the points about their longest axis."""
    arm = found.scale * float(np.linalg.svd(near - near.mean(axis=0), compute_uv=False)[-2])
    freedoms = max(near.size - (3 if near.shape[1] == 2 else 7), 1)
    return float(np.sqrt((off**2).sum() / freedoms) / max(arm, 1e-300))


def _require_sense(result: Alignment, far: DoubleArray) -> None:
    """Refuse what no similarity explains: residuals as large as the map, or a turn that stays open."""
    off = result.residuals[result.agrees]
    extent = float(np.sqrt(((far - far.mean(axis=0)) ** 2).sum(axis=1).mean()))
    misfit = float(np.sqrt((off**2).mean()))
    if result.agrees.sum() < LEAST_PAIRS[far.shape[1]] or not misfit <= _MOST_MISFIT * extent:
        said = f"of {len(result.agrees)} pairs {int(result.agrees.sum())} agree best, and lie {misfit:.3g} off"
        raise PoseInputError(f"the two frames do not fit: {said} where the points reach {extent:.3g}", _CURE)
    if not result.turn_sigma_rad <= _MOST_TURN_RAD:
        open_deg = np.degrees(result.turn_sigma_rad)
        what = f"the points lie nearly on one line, and leave the turn about it open by {open_deg:.0f} degrees"
        raise PoseInputError(what, "give points off that line: of a turn, or at another height")
