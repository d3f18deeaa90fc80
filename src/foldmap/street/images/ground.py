"""From cameras to the ground: inverse perspective mapping of a ring into a bird's-eye image in the ego frame.

The ground is taken to be flat, at `CameraRing.ground_z_m`; what stands on it is smeared away from the cameras
(Mallot et al., "Inverse perspective mapping simplifies optical flow computation", Biol. Cybern. 1991).
"""

# mypy: allow-untyped-decorators
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from PIL import Image

from foldmap.errors import MapInputError
from foldmap.geometry import Camera
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.images.ground_image import window_points_m, window_shape
from foldmap.street.images.observation import AerialCrop, CameraRing, Observation, RingFrame
from foldmap.street.images.pyramid import build_pyramid, sample
from foldmap.types import BoolArray, ByteArray, DoubleArray, FloatArray

_STEP_M = 0.02
_EDGE_SHARE = 0.06
"""Cameras fade out over this share of their image's width, so that seams are soft."""
_KEPT_RINGS = 4


@dataclass(frozen=True)
class _Footprints:
    """The cells that one camera sees (N,): place in the image, and what of the camera's image they cover.

    `place` (N, 5) is x, y, long side (x, y) and short side of the footprint, px of the calibration; `weight` (N,) is
    this camera's where several see a cell.
    """

    cell: np.ndarray[tuple[int], np.dtype[np.int64]]
    place: FloatArray
    weight: FloatArray


class GroundView:
    """Maps frames of one ring into a bird's-eye image; what depends on the calibration alone is computed once.

    Where cameras overlap they are blended by their resolution on the ground and faded out towards their images' edges.
    A cell that covers many pixels is their mean (anisotropic filtering), one that covers less is interpolated. Row 0 is
    the window's edge ahead, column 0 the edge on the left; columns follow from `size_px` rows.
    """

    def __init__(self, ring: CameraRing, window: Window = AROUND, size_px: int = 160) -> None:
        self.ring = ring
        self.window = window
        points = window_points_m(window, size_px)
        self.shape: tuple[int, int] = points.shape[:2]
        self._cell_m = window.size_m[0] / size_px
        ground = np.concatenate([points.reshape(-1, 2), np.full((points[..., 0].size, 1), ring.ground_z_m)], 1)
        self._cameras = [
            self._footprints(camera, pose, ground)
            for camera, pose in zip(ring.cameras, ring.vehicle_SE3_camera, strict=True)
        ]

    def __call__(self, frame: RingFrame) -> tuple[ByteArray, BoolArray]:
        """Map one frame of the ring; its images may be of any size, and cameras may be missing.

        Returns uint8 (H, W, 3), 0 where nothing is seen, and bool (H, W): which cells some camera sees.
        """
        count = self.shape[0] * self.shape[1]
        total, weight = np.zeros((count, 3), np.float32), np.zeros(count, np.float32)
        for camera, image, cells in zip(self.ring.cameras, frame.images, self._cameras, strict=True):
            if image is None or not len(cells.cell):
                continue
            scale = image.shape[1] / camera.width_px
            pyramid = build_pyramid(np.ascontiguousarray(image))
            _gather(*pyramid, np.float32(scale), cells.cell, cells.place, cells.weight, total, weight)
        seen = weight > 0
        out = np.zeros((count, 3), np.uint8)
        out[seen] = np.rint(total[seen] / weight[seen, None]).clip(0, 255)
        return out.reshape(*self.shape, 3), seen.reshape(self.shape)

    def _footprints(self, camera: Camera, vehicle_SE3_camera: DoubleArray, ground_m: DoubleArray) -> _Footprints:
        xy = project_from_vehicle(camera, vehicle_SE3_camera, ground_m)
        size = np.array([camera.width_px, camera.height_px])
        cell = np.flatnonzero((np.isfinite(xy) & (xy >= 0) & (xy <= size)).all(1))
        xy, here = xy[cell], ground_m[cell]
        steps = _STEP_M * np.eye(3)[:2]
        ahead, left = (project_from_vehicle(camera, vehicle_SE3_camera, here + step) - xy for step in steps)
        known = np.isfinite(ahead).all(1) & np.isfinite(left).all(1)
        cell, xy = cell[known], xy[known]
        ahead, left = (side[known] * (self._cell_m / _STEP_M) for side in (ahead, left))
        area = np.abs(ahead[:, 0] * left[:, 1] - ahead[:, 1] * left[:, 0])
        long, short = main_axes(ahead, left)
        edge = np.minimum(xy, size - xy).min(1) / (_EDGE_SHARE * camera.width_px)
        weight = np.sqrt(area) * np.clip(edge, 1e-3, 1.0)
        place = np.concatenate([xy, long, short[:, None]], 1)
        return _Footprints(cell, place.astype(np.float32), weight.astype(np.float32))


class BirdsEye:
    """Any observation as a ground image of `size_px` rows in the ego frame: what the field network looks at.

    A ring of cameras is laid on flat ground through its calibration, which makes any number of cameras one image and
    spares the network from learning the calibration. The table of a ring is made once and kept.
    """

    def __init__(self, window: Window, size_px: int) -> None:
        self.window = window
        self.size_px = size_px
        self.shape = window_shape(window, size_px)
        self._views: list[tuple[CameraRing, GroundView]] = []

    def __call__(self, observation: Observation) -> tuple[ByteArray, BoolArray]:
        """Ground image uint8 (H, W, 3) and where it shows ground, bool (H, W); a crop must cover the window."""
        if not isinstance(observation, AerialCrop):
            return self._view(observation.ring)(observation)
        if observation.window != self.window:
            raise MapInputError(
                f"the aerial crop covers {observation.window}, the model wants {self.window}",
                "cut the crop to the model's window",
            )
        image = observation.image
        if image.shape[:2] != self.shape:
            way = Image.Resampling.BOX if image.shape[0] > self.shape[0] else Image.Resampling.BILINEAR
            image = np.asarray(Image.fromarray(image).resize(self.shape[::-1], way))
        return image, np.ones(self.shape, bool)

    def _view(self, ring: CameraRing) -> GroundView:
        for known, view in self._views:
            if known is ring:
                return view
        view = GroundView(ring, self.window, self.size_px)
        self._views = [*self._views[1 - _KEPT_RINGS :], (ring, view)]
        return view


def project_from_vehicle(camera: Camera, vehicle_SE3_camera: DoubleArray, points_vehicle_m: DoubleArray) -> DoubleArray:
    """COLMAP pixels float64 (N, 2) of points (N, 3) in the vehicle frame.

    NaN behind the camera, and where the distortion folds a point from outside the field of view back into the image
    (`Camera.unproject` knows the branch that holds the optical axis).
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
    """Semi-axes of the ellipse that a parallelogram's sides `a`, `b` (N, 2) span, as a rectangle of its area.

    Returns the long side as vectors (N, 2), and the short side's length (N,).
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
