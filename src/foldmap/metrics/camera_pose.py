"""How far an estimated camera pose lies from the true one, and how many lie close.

A query that got no pose has infinite error: it counts in every share and median, and is never left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.errors import InputError
from foldmap.geometry.quaternion import centres_of
from foldmap.types import AnyArray, BoolArray, DoubleArray

Threshold = tuple[float, float]  # largest error of the centre (in the unit of the errors) and of the rotation (degrees)
NAMED_THRESHOLDS: dict[str, tuple[Threshold, ...]] = {
    "aachen": ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0)),
    "cambridge": ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0)),
    "7scenes": ((0.05, 5.0),),
    "tight": ((0.005, 0.5), (0.02, 2.0)),
}
"""Thresholds in metres and degrees: Aachen's three and 7-Scenes' one are the paper's (Metrics); of Cambridge the paper
gives medians alone, Aachen's stand beside them. "tight" is what exact poses allow to tell apart."""


@dataclass(frozen=True)
class CameraErrors:
    """Errors of N queries; infinite where no pose was answered."""

    centre: DoubleArray  # float64 (N,), distance of the camera centres, world units or whatever they were scaled to
    rotation_deg: DoubleArray  # float64 (N,), angle between the two orientations, 0 to 180

    def __len__(self) -> int:
        return len(self.centre)

    def take(self, kept: AnyArray) -> CameraErrors:
        """Some of the queries, by mask or index."""
        return CameraErrors(self.centre[kept], self.rotation_deg[kept])

    def within(self, threshold: Threshold) -> BoolArray:
        """Which queries are at most so far off, bool (N,)."""
        return np.asarray((self.centre <= threshold[0]) & (self.rotation_deg <= threshold[1]))


def rotation_error_deg(camera_SE3_world_true: AnyArray, camera_SE3_world_estimated: AnyArray) -> DoubleArray:
    """Angle between orientations, degrees, (...) of poses (..., 4, 4).

    The paper's ``e_R = arccos((tr(R_est' R) - 1) / 2)`` (Metrics; its text misplaces a parenthesis), computed from sine
    and cosine: the arccosine alone cannot tell angles below 1e-6 degrees apart.
    """
    estimated = np.asarray(camera_SE3_world_estimated, np.float64)[..., :3, :3]
    true = np.asarray(camera_SE3_world_true, np.float64)[..., :3, :3]
    turn = np.swapaxes(estimated, -1, -2) @ true
    cosine = 0.5 * (np.trace(turn, axis1=-2, axis2=-1) - 1.0)
    twice = turn - np.swapaxes(turn, -1, -2)
    axis = np.stack([twice[..., 2, 1], twice[..., 0, 2], twice[..., 1, 0]], axis=-1)
    return np.asarray(np.degrees(np.arctan2(0.5 * np.linalg.norm(axis, axis=-1), cosine)))


def camera_differences(
    camera_SE3_world_true: AnyArray, camera_SE3_world_estimated: AnyArray
) -> tuple[DoubleArray, DoubleArray]:
    """Errors of poses (..., 4, 4) as covariances of photos tell of them, estimate minus truth.

    The centre's, (..., 3) in the world, and the rotation's, a vector (..., 3) in the camera's frame, radians.
    """
    apart = centres_of(camera_SE3_world_estimated) - centres_of(camera_SE3_world_true)
    estimated = np.asarray(camera_SE3_world_estimated, np.float64)[..., :3, :3]
    turn = estimated @ np.swapaxes(np.asarray(camera_SE3_world_true, np.float64)[..., :3, :3], -1, -2)
    twice = turn - np.swapaxes(turn, -1, -2)
    sine = 0.5 * np.stack([twice[..., 2, 1], twice[..., 0, 2], twice[..., 1, 0]], axis=-1)
    length = np.linalg.norm(sine, axis=-1, keepdims=True)
    angle = np.arctan2(length, 0.5 * (np.trace(turn, axis1=-2, axis2=-1)[..., None] - 1.0))
    # of half a turn the sine tells no axis; no covariance speaks of so much
    scale = np.where(length > 1e-12, angle / np.maximum(length, 1e-12), 1.0)
    rotation = np.where((length <= 1e-12) & (angle > 1.0), math.pi, sine * scale)
    return np.asarray(apart), np.asarray(rotation)


def centre_error(camera_SE3_world_true: AnyArray, camera_SE3_world_estimated: AnyArray) -> DoubleArray:
    """Distance of camera centres, world units, (...) of poses (..., 4, 4).

    The paper's ``e_t = |R_est' t_est - R' t|``, the length and not its square: its thresholds are in metres.
    """
    apart = centres_of(camera_SE3_world_true) - centres_of(camera_SE3_world_estimated)
    return np.asarray(np.linalg.norm(apart, axis=-1))


def camera_errors(
    camera_SE3_world_true: Sequence[AnyArray], camera_SE3_world_estimated: Sequence[AnyArray | None], unit: float = 1.0
) -> CameraErrors:
    """Compare N poses (4, 4) one by one; an estimate is None where nothing was answered.

    Raises `InputError`: the two have different lengths, are empty, or the unit (so many world units) is not positive.
    """
    count = len(camera_SE3_world_true)
    if count != len(camera_SE3_world_estimated) or not count:
        what = f"{len(camera_SE3_world_estimated)} estimates for {count} true poses"
        raise InputError(what, "give one estimate (or None) a true pose, and at least one")
    if not (math.isfinite(unit) and unit > 0):
        raise InputError(f"a unit of {unit} world units", "give a positive length")
    centre, rotation_deg = np.full(count, np.inf), np.full(count, np.inf)
    for row, (true, estimate) in enumerate(zip(camera_SE3_world_true, camera_SE3_world_estimated, strict=True)):
        if estimate is not None:
            centre[row] = centre_error(true, estimate) / unit
            rotation_deg[row] = rotation_error_deg(true, estimate)
    return CameraErrors(centre, rotation_deg)


def accuracy(errors: CameraErrors, threshold: Threshold) -> float:
    """Share of the queries whose centre AND rotation are within a threshold, 0 to 1 (the paper's accuracy)."""
    return float(errors.within(threshold).mean())


def median_errors(errors: CameraErrors) -> tuple[float, float]:
    """Median of the centre errors and of the rotation errors (degrees); infinite where most are unanswered."""
    return float(np.median(errors.centre)), float(np.median(errors.rotation_deg))
