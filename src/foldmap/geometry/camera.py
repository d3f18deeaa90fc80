"""Cameras as COLMAP parametrizes them: intrinsics and distortion, pixels <-> rays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foldmap.errors import MapInputError
from foldmap.geometry.distortion import distort, undistort
from foldmap.types import AnyArray, DoubleArray

CAMERA_MODELS: dict[str, tuple[int, int]] = {
    "SIMPLE_PINHOLE": (0, 3),
    "PINHOLE": (1, 4),
    "SIMPLE_RADIAL": (2, 4),
    "RADIAL": (3, 5),
    "OPENCV": (4, 8),
    "OPENCV_FISHEYE": (5, 8),
    "FULL_OPENCV": (6, 12),
    "SIMPLE_RADIAL_FISHEYE": (8, 4),
    "RADIAL_FISHEYE": (9, 5),
}
"""COLMAP's name -> (its number in binary models, how many parameters)."""

_ONE_FOCAL = {"SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"}
_MAX_SIDE_PX = 1 << 20
_LEAST_FOCAL = 0.12  # of a pinhole, share of the longer side: it sees 153 degrees
_SQUARE, _OBLONG, _MIDDLE = 0.02, 0.1, 0.1
"""Pixels are square or not by the share that focal lengths differ; how far a principal point is from the middle."""


@dataclass(frozen=True)
class Camera:
    """Intrinsics of one camera.

    Pixels are COLMAP's: x right, y down, the centre of the first pixel is (0.5, 0.5). The camera frame is x right, y
    down, z ahead. Raises `MapInputError`: unknown model, wrong number of parameters, a size or focal length that is not
    positive.

    Attributes:
        model: a name of `CAMERA_MODELS`.
        width_px, height_px: size of its images.
        params: float64, COLMAP's parameters in COLMAP's order (focal length or lengths, principal point, distortion).
    """

    model: str
    width_px: int
    height_px: int
    params: DoubleArray

    def __post_init__(self) -> None:
        if self.model not in CAMERA_MODELS:
            known = ", ".join(CAMERA_MODELS)
            raise MapInputError(f"camera model {self.model!r} is not known", f"undistort the images, or use {known}")
        params = np.array(self.params, dtype=np.float64)
        wanted = CAMERA_MODELS[self.model][1]
        if params.shape != (wanted,):
            what = f"a {self.model} camera has {params.size} parameters, not {wanted}"
            raise MapInputError(what, "check the camera's line")
        if not np.isfinite(params).all() or not (params[: 1 if self.model in _ONE_FOCAL else 2] > 0).all():
            raise MapInputError(f"a {self.model} camera has parameters {params}", "give a positive focal length in px")
        if not (0 < self.width_px <= _MAX_SIDE_PX and 0 < self.height_px <= _MAX_SIDE_PX):
            raise MapInputError(f"a camera of {self.width_px} x {self.height_px} px", "give its image size")
        params.setflags(write=False)
        object.__setattr__(self, "params", params)

    @property
    def focal_px(self) -> tuple[float, float]:
        """Focal lengths in x and y."""
        return float(self.params[0]), float(self.params[0 if self.model in _ONE_FOCAL else 1])

    @property
    def centre_px(self) -> tuple[float, float]:
        """Principal point."""
        at = 1 if self.model in _ONE_FOCAL else 2
        return float(self.params[at]), float(self.params[at + 1])

    def of_size(self, width_px: int, height_px: int) -> Camera:
        """The same camera for images that were made smaller or larger, by as much in both directions."""
        params, of_pixels = self.params.copy(), 3 if self.model in _ONE_FOCAL else 4
        params[:of_pixels] *= width_px / self.width_px
        return Camera(self.model, width_px, height_px, params)

    @property
    def diagonal_px(self) -> float:
        """Of the image."""
        return math.hypot(self.width_px, self.height_px)

    @property
    def distortion(self) -> DoubleArray:
        """The parameters after the principal point; empty for a pinhole."""
        return self.params[3 if self.model in _ONE_FOCAL else 4 :]

    def project(self, points_camera: AnyArray) -> DoubleArray:
        """Image points of the camera frame.

        Returns float64 (N, 2) COLMAP pixels, inside the image or not; NaN for points that are not ahead of the camera.
        Far outside the field of view a distortion polynomial may fold points back into the image, as it does in COLMAP.

        Args:
            points_camera: (N, 3), x right, y down, z ahead, any unit.
        """
        points = np.asarray(points_camera, dtype=np.float64)
        ahead = points[:, 2] > 0
        rays = points[:, :2] / np.where(ahead, points[:, 2], np.nan)[:, None]
        return np.asarray(distort(self.model, self.distortion, rays) * self.focal_px + self.centre_px)

    def unproject(self, xy_px: AnyArray) -> DoubleArray:
        """Find the rays of pixels, to 1e-9 in normalized coordinates (`foldmap.geometry.distortion.undistort`).

        COLMAP pixels (N, 2) -> float64 (N, 2), ``x / z, y / z`` in the camera frame; NaN where the model images no ray.
        """
        distorted = (np.asarray(xy_px, dtype=np.float64) - self.centre_px) / self.focal_px
        return undistort(self.model, self.distortion, distorted)


def require_plausible(camera: Camera) -> None:
    """Refuse parameters in another order or unit, which nothing tells but what the numbers can be.

    Raises `MapInputError`: the principal point lies outside of the image, a pinhole sees 153 degrees or more, or focal
    lengths and principal point are rather a camera matrix read row by row (fx cx fy cy).
    """
    (x, y), (fx, fy) = camera.centre_px, camera.focal_px
    size = f"{camera.width_px} x {camera.height_px} px"
    if not (0 <= x <= camera.width_px and 0 <= y <= camera.height_px):
        what = f"the principal point {x:g}, {y:g} lies outside of an image of {size}"
        raise MapInputError(what, "expected MODEL width height params, in COLMAP's order")
    if "FISHEYE" not in camera.model and min(fx, fy) < _LEAST_FOCAL * max(camera.width_px, camera.height_px):
        raise MapInputError(f"a focal length of {min(fx, fy):g} px for an image of {size}", "give it in px, not in mm")
    oblong = camera.model not in _ONE_FOCAL and abs(fx - fy) > _OBLONG * fx and abs(fx - x) <= _SQUARE * fx
    aside, *turned = (abs(share - 0.5) for share in (x / camera.width_px, fy / camera.width_px, y / camera.height_px))
    if oblong and aside > _MIDDLE > max(turned):
        what = f"focal lengths {fx:g} and {fy:g}, principal point {x:g}, {y:g} for an image of {size}"
        raise MapInputError(what, f"these are fx cx fy cy: write {fx:g} {x:g} {fy:g} {y:g}")
