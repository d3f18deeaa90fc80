"""What a camera localizer answers: a status always, a spatial pose only when it stands behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.localize.estimate import Status
from foldmap.types import DoubleArray


@dataclass(frozen=True)
class CameraDiagnostics:
    """Health signals of one estimate. None: could not be computed for this status.

    Attributes:
        reason: the signal that decided, in words; empty when `ok`.
        keypoints: in the query.
        matches: keypoints with a distinct nearest point, before geometry.
        inliers: points found where the pose puts them, each by a keypoint of its own, that fix the pose.
        visible: map points that the pose puts in view.
        found: points among those asked that are found more similar than chance finds them.
        chance: share of the points in view that chance alone would find, measured in the same image.
        evidence: minus log10 of the probability that chance finds so many. Rejects below 10 (no_match), warns below 13.
        rival: keypoints that the best pose elsewhere explains, as a share of those that this one does. Rejects above
            0.5 (ambiguous) where this one does not explain more by four standard deviations.
        noise_px: robust standard deviation of the inliers' reprojection errors.
        sigma_world: largest standard deviation of the position, world units.
        sigma_rad: largest standard deviation of the rotation.
        images: map images that retrieval looked at; 0 where the whole map was searched.
        time_s: time spent.
    """

    reason: str = ""
    keypoints: int = 0
    matches: int | None = None
    inliers: int | None = None
    visible: int | None = None
    found: int | None = None
    chance: float | None = None
    evidence: float | None = None
    rival: float | None = None
    noise_px: float | None = None
    sigma_world: float | None = None
    sigma_rad: float | None = None
    images: int = 0
    time_s: float = 0.0


@dataclass(frozen=True)
class CameraEstimate:
    """An honest answer about a camera, or about a rig of cameras.

    Attributes:
        status: always there.
        camera_SE3_world: float64 (4, 4) (of a rig: rig_SE3_world); there exactly when the status is `ok` or `degraded`.
        covariance: (6, 6) over the centre in the world (x, y, z, world units) and a rotation vector in the camera's
            frame (rad); there exactly when a pose is.
        diagnostics: always there.

    Raises:
        PoseInputError: an invariant is violated, or a covariance is not finite, symmetric and positive definite.
    """

    status: Status
    camera_SE3_world: DoubleArray | None
    covariance: DoubleArray | None
    diagnostics: CameraDiagnostics

    def __post_init__(self) -> None:
        if (self.camera_SE3_world is not None) != self.status.has_pose:
            raise PoseInputError(f"an estimate of status {self.status.value} with pose {self.camera_SE3_world}")
        if (self.covariance is None) != (self.camera_SE3_world is None):
            raise PoseInputError("an estimate needs a covariance exactly when it has a pose")
        if self.camera_SE3_world is None or self.covariance is None:
            return
        pose, covariance = np.array(self.camera_SE3_world, np.float64), np.array(self.covariance, np.float64)
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            raise PoseInputError("the estimated pose is not finite, or not 4x4")
        if covariance.shape != (6, 6) or not np.isfinite(covariance).all() or not np.allclose(covariance, covariance.T):
            raise PoseInputError("the covariance is not a finite symmetric 6x6 matrix")
        scale = np.sqrt(np.diag(covariance))
        if not (scale > 0).all() or np.linalg.eigvalsh(covariance / np.outer(scale, scale)).min() <= 0:
            raise PoseInputError("the covariance is not positive definite")
        for name, matrix in (("camera_SE3_world", pose), ("covariance", covariance)):
            matrix.setflags(write=False)
            object.__setattr__(self, name, matrix)

    @property
    def centre_world(self) -> DoubleArray | None:
        """Where the camera is, float64 (3,), where there is a pose."""
        if self.camera_SE3_world is None:
            return None
        centre: DoubleArray = -self.camera_SE3_world[:3, :3].T @ self.camera_SE3_world[:3, 3]
        return centre

    @staticmethod
    def without_pose(status: Status, diagnostics: CameraDiagnostics) -> CameraEstimate:
        """Build an estimate that answers no pose."""
        return CameraEstimate(status, None, None, diagnostics)
