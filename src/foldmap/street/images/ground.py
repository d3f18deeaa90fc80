"""From cameras to the ground: inverse perspective mapping of a ring into a bird's-eye image in the ego frame.

The ground is taken to be flat, at `CameraRing.ground_z_m`; what stands on it is smeared away from the cameras
(Mallot et al., "Inverse perspective mapping simplifies optical flow computation", Biol. Cybern. 1991).
"""

# mypy: allow-untyped-decorators
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from foldmap.geometry import Camera
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.images.ground_image import window_points_m
from foldmap.street.images.observation import CameraRing, RingFrame
from foldmap.street.images.pyramid import build_pyramid, sample
from foldmap.types import BoolArray, ByteArray, DoubleArray, FloatArray

_STEP_M = 0.02
_EDGE_SHARE = 0.06
"""Cameras fade out over this share of their image's width, so that seams are soft."""


@dataclass(frozen=True)
class _Look:
    """The cells that one camera sees.

    Attributes:
        cell: int64 (N,), index into the image's pixels.
        place: float32 (N, 5): x, y, long side (x, y) and short side of a cell's footprint, px of the calibration.
        weight: float32 (N,), of this camera where several see the cell.
    """

    cell: np.ndarray[tuple[int], np.dtype[np.int64]]
    place: FloatArray
    weight: FloatArray


class GroundView:
    """Maps frames of one ring into a bird's-eye image; what depends on the calibration alone is computed once.

    Where cameras overlap they are blended by their resolution on the ground and faded out towards their images' edges.
    A cell that covers many pixels is their mean (anisotropic filtering), one that covers less is interpolated.

    Args:
        ring: calibration.
        window: what the image covers; row 0 is the edge ahead, column 0 the edge on the left.
        size_px: rows; columns follow from the window.
    """

    def __init__(self, ring: CameraRing, window: Window = AROUND, size_px: int = 160) -> None:
        self.ring = ring
        self.window = window
        points = window_points_m(window, size_px)
        self.shape: tuple[int, int] = points.shape[:2]
        self._cell_m = window.size_m[0] / size_px
        ground = np.concatenate([points.reshape(-1, 2), np.full((points[..., 0].size, 1), ring.ground_z_m)], 1)
        self._looks = [
            self._look(camera, pose, ground) for camera, pose in zip(ring.cameras, ring.vehicle_SE3_camera, strict=True)
        ]

    def __call__(self, frame: RingFrame) -> tuple[ByteArray, BoolArray]:
        """Map one frame; its images may be of any size, and cameras may be missing.

        Args:
            frame: of a ring with the calibration that this view was made for.

        Returns:
            uint8 (H, W, 3), 0 where nothing is seen, and bool (H, W): which cells some camera sees.
        """
        count = self.shape[0] * self.shape[1]
        total, weight = np.zeros((count, 3), np.float32), np.zeros(count, np.float32)
        for camera, image, look in zip(self.ring.cameras, frame.images, self._looks, strict=True):
            if image is None or not len(look.cell):
                continue
            scale = image.shape[1] / camera.width_px
            pyramid = build_pyramid(np.ascontiguousarray(image))
            _gather(*pyramid, np.float32(scale), look.cell, look.place, look.weight, total, weight)
        seen = weight > 0
        out = np.zeros((count, 3), np.uint8)
        out[seen] = np.rint(total[seen] / weight[seen, None]).clip(0, 255)
        return out.reshape(*self.shape, 3), seen.reshape(self.shape)

    def _look(self, camera: Camera, vehicle_SE3_camera: DoubleArray, ground_m: DoubleArray) -> _Look:
        xy = project_from_vehicle(camera, vehicle_SE3_camera, ground_m)
        size = np.array([camera.width_px, camera.height_px])
        cell = np.flatnonzero((np.isfinite(xy) & (xy >= 0) & (xy <= size)).all(1))
        xy, here = xy[cell], ground_m[cell]
        ahead, left = (
            project_from_vehicle(camera, vehicle_SE3_camera, here + step) - xy for step in _STEP_M * np.eye(3)[:2]
        )
        known = np.isfinite(ahead).all(1) & np.isfinite(left).all(1)
        cell, xy = cell[known], xy[known]
        ahead, left = (side[known] * (self._cell_m / _STEP_M) for side in (ahead, left))
        area = np.abs(ahead[:, 0] * left[:, 1] - ahead[:, 1] * left[:, 0])
        long, short = main_axes(ahead, left)
        edge = np.minimum(xy, size - xy).min(1) / (_EDGE_SHARE * camera.width_px)
        weight = np.sqrt(area) * np.clip(edge, 1e-3, 1.0)
        place = np.concatenate([xy, long, short[:, None]], 1)
        return _Look(cell, place.astype(np.float32), weight.astype(np.float32))


def ipm(frame: RingFrame, window: Window = AROUND, size_px: int = 160) -> tuple[ByteArray, BoolArray]:
    """Map one frame with a `GroundView` made for it; make the view yourself to map many."""
    return GroundView(frame.ring, window, size_px)(frame)


def project_from_vehicle(camera: Camera, vehicle_SE3_camera: DoubleArray, points_vehicle_m: DoubleArray) -> DoubleArray:
    """Pixels of points in the vehicle frame.

    Args:
        camera: intrinsics.
        vehicle_SE3_camera: (4, 4) pose.
        points_vehicle_m: (N, 3).

    Returns:
        float64 (N, 2) COLMAP pixels; NaN behind the camera, and where the distortion folds a point from outside the
        field of view back into the image (`Camera.unproject` knows the branch that holds the optical axis).
    """
    local = (points_vehicle_m - vehicle_SE3_camera[:3, 3]) @ vehicle_SE3_camera[:3, :3]
    xy = camera.project(local)
    inside = np.flatnonzero((np.isfinite(xy) & (np.abs(xy - camera.centre_px) < camera.diagonal_px)).all(1))
    kept = np.full_like(xy, np.nan)
    rays = local[inside, :2] / local[inside, 2:]
    back = camera.unproject(xy[inside])
    true = inside[(np.abs(back - rays) < 1e-6 * np.maximum(1.0, np.abs(rays))).all(1)]  # NaN compares false
    kept[true] = xy[true]
    return kept


def main_axes(a: DoubleArray, b: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Semi-axes of the ellipse that a parallelogram's sides span, as a rectangle of its area.

    Args:
        a: (N, 2) one side.
        b: (N, 2) the other.

    Returns:
        The long side as vectors (N, 2), and the short side's length (N,).
    """
    p, q, r = a[:, 0] ** 2 + b[:, 0] ** 2, a[:, 1] ** 2 + b[:, 1] ** 2, a[:, 0] * a[:, 1] + b[:, 0] * b[:, 1]
    long = np.sqrt(0.5 * (p + q) + np.hypot(0.5 * (p - q), r))
    angle = 0.5 * np.arctan2(2 * r, p - q)
    area = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    short = np.divide(area, long, out=np.zeros_like(area), where=long > 0)
    return np.stack([long * np.cos(angle), long * np.sin(angle)], 1), short


@njit(cache=True, nogil=True)
def _gather(pixels, table, scale, cell, place, share, total, weight):  # type: ignore[no-untyped-def]
    for n in range(len(cell)):
        x, y, ax, ay, short = scale * place[n]
        sample(pixels, table, x, y, ax, ay, short, share[n], total[cell[n]])
        weight[cell[n]] += share[n]
