"""What a camera localizer answers: a status always, a spatial pose only when it stands behind it."""

from __future__ import annotations

from dataclasses import dataclass

from foldmap.localize.estimate import Diagnostics, Estimate
from foldmap.types import DoubleArray


@dataclass(frozen=True)
class CameraDiagnostics(Diagnostics):
    """Health signals of one estimate. None: could not be computed for this status.

    Attributes:
        keypoints: in the query.
        matches: keypoints with a distinct nearest point, before geometry.
        inliers: points found where the pose puts them, each by a keypoint of its own, that fix the pose.
        visible: map points that the pose puts in view.
        found: points among those asked that are found more similar than chance finds them.
        chance: share of the points in view that chance alone would find, measured in the same image.
        evidence: minus log10 of the probability that chance finds so many, one vote a cell of the image. Rejects below
            12 (no_match), warns below 19, and below more where the map's calibration asks for it.
        rival: keypoints that the best pose elsewhere explains, as a share of those that this one does. Rejects above
            0.5 (ambiguous) where this one does not explain more by four standard deviations.
        noise_px: robust standard deviation of the inliers' reprojection errors.
        sigma_world: largest standard deviation of the position, world units.
        sigma_rad: largest standard deviation of the rotation.
        images: map images that retrieval looked at; 0 where the whole map was searched.
        focal: the focal length found over the one given; 1 where the given one fits.
        turned_deg: by how much the photo was turned, clockwise, to find its features; the pose is the photo's as given.
    """

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
    focal: float | None = None
    turned_deg: int = 0


@dataclass(frozen=True)
class CameraEstimate(Estimate[DoubleArray, CameraDiagnostics]):
    """An honest answer about a camera, or about a rig of cameras."""

    @property
    def camera_SE3_world(self) -> DoubleArray | None:
        """The pose, float64 (4, 4); of a rig rig_SE3_world."""
        return self.pose

    @property
    def centre_world(self) -> DoubleArray | None:
        """Where the camera is, float64 (3,), where there is a pose."""
        return None if self.pose is None else -self.pose[:3, :3].T @ self.pose[:3, 3]
