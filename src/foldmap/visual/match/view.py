"""One camera image made ready to be matched: distortion removed, descriptors of unit length, keypoints in cells."""

# mypy: allow-untyped-decorators
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from foldmap.errors import MapInputError
from foldmap.geometry.camera import Camera
from foldmap.types import AnyArray, BoolArray, DoubleArray, FloatArray, IntArray
from foldmap.visual.source import Query, unit_descriptors

_CELL_PX = 8.0
_MOST_CELLS = 512


@dataclass(frozen=True)
class View:
    """A query's image as an ideal pinhole camera sees it."""

    xy_px: DoubleArray  # float64 (N, 2) keypoints with distortion removed: `focal * ray + centre`
    descriptors: FloatArray  # float32 (N, D), unit rows
    focal_px: tuple[float, float]  # of the ideal pinhole, the camera's own, as the centre
    centre_px: tuple[float, float]
    low_px: tuple[float, float]  # corners of the image with distortion removed: where a point counts as in view
    high_px: tuple[float, float]
    camera_SE3_rig: DoubleArray  # float64 (4, 4); identity for a single camera
    cells: Cells  # keypoints by place, for `foldmap.visual.match.guided`

    @property
    def pinhole(self) -> dict[str, object]:
        """The ideal camera as PoseLib wants it."""
        size = {"width": int(self.high_px[0]), "height": int(self.high_px[1])}
        return {"model": "PINHOLE", **size, "params": [*self.focal_px, *self.centre_px]}

    @property
    def diagonal_px(self) -> float:
        """Of the image."""
        return float(np.hypot(self.high_px[0] - self.low_px[0], self.high_px[1] - self.low_px[1]))

    def project(self, rig_SE3_world: DoubleArray, points_world: DoubleArray) -> tuple[DoubleArray, BoolArray]:
        """Where points appear, float64 (P, 2), and which of them lie in view, bool (P,)."""
        xy_px, ahead = self._projected(rig_SE3_world, points_world)
        seen: BoolArray = ahead & (xy_px >= self.low_px).all(axis=1) & (xy_px <= self.high_px).all(axis=1)
        return xy_px, seen

    def places(self, rig_SE3_world: DoubleArray, points_world: DoubleArray) -> DoubleArray:
        """Where points ahead appear, in view or not, float64 (P, 2); of points behind the camera it means nothing."""
        return self._projected(rig_SE3_world, points_world)[0]

    def _projected(self, rig_SE3_world: DoubleArray, points_world: DoubleArray) -> tuple[DoubleArray, BoolArray]:
        points = np.ascontiguousarray(points_world, np.float64)
        projected: tuple[DoubleArray, BoolArray] = _projected(
            self.camera_SE3_rig @ rig_SE3_world, points, self.focal_px, self.centre_px
        )
        return projected

    def in_view(
        self, rig_SE3_world: DoubleArray, points_world: DoubleArray, viewing: DoubleArray
    ) -> tuple[IntArray, DoubleArray]:
        """Which points lie in view, int64 (V,) ascending, and where, float64 (V, 2): as `project`, in one pass.

        Only those that the camera sees from where they were seen: ``viewing`` is float64 (P, 6), as `decode_viewing`
        gives it: a direction, the least cosine of it and of the direction to the camera, least and largest distance.
        """
        camera_SE3_world = np.ascontiguousarray(self.camera_SE3_rig @ rig_SE3_world)
        pinhole = (self.focal_px, self.centre_px, self.low_px, self.high_px)
        rows, xy_px = _in_view(camera_SE3_world, np.ascontiguousarray(points_world), viewing, pinhole)
        return rows, xy_px


class Cells(NamedTuple):
    """Keypoints sorted into square cells, row by row, from the corner ``low_px`` on.

    Keypoints of cell c are ``items[first[c] : first[c + 1]]``, int64.
    """

    low_px: tuple[float, float]
    side_px: float
    columns: int
    rows: int
    first: IntArray
    items: IntArray


def sort_into_cells(xy_px: DoubleArray, side_px: float) -> Cells:
    """Sort keypoints (N, 2) into cells of a side; the sides grow where that would give too many cells."""
    low, high = (xy_px.min(axis=0), xy_px.max(axis=0)) if len(xy_px) else (np.zeros(2), np.zeros(2))
    side_px = max(side_px, float((high - low).max()) / _MOST_CELLS)
    columns, rows = (int(n) + 1 for n in (high - low) // side_px)
    at = ((xy_px - low) // side_px).astype(np.int64)
    cell = at[:, 1] * columns + at[:, 0]
    items = np.argsort(cell, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=rows * columns))]).astype(np.int64)
    return Cells((float(low[0]), float(low[1])), side_px, columns, rows, first, items)


def prepare(query: Query) -> View:
    """Make a query ready; `MapInputError` where its extrinsics are no pose."""
    camera, features = query.camera, query.features
    extrinsics = np.eye(4) if query.camera_SE3_rig is None else np.asarray(query.camera_SE3_rig, dtype=np.float64)
    if extrinsics.shape != (4, 4) or not np.isfinite(extrinsics).all():
        raise MapInputError(f"image {query.name!r}: extrinsics of shape {extrinsics.shape}", "give a 4x4 pose")
    xy_px = _ideal(camera, np.asarray(features.xy_px, dtype=np.float64))
    imaged = np.isfinite(xy_px).all(axis=1)
    xy_px = xy_px[imaged]
    low, high = ideal_extent(camera)
    return View(
        xy_px=xy_px,
        descriptors=unit_descriptors(features.descriptors[imaged]),
        focal_px=camera.focal_px,
        centre_px=camera.centre_px,
        low_px=low,
        high_px=high,
        camera_SE3_rig=extrinsics,
        cells=sort_into_cells(xy_px, _CELL_PX),
    )


def ideal_extent(camera: Camera) -> tuple[tuple[float, float], tuple[float, float]]:
    """Corners, lowest and highest, of the box that the image's border fills once distortion is removed, px."""
    width, height = camera.width_px, camera.height_px
    along = np.linspace(0.0, 1.0, 9)
    edges = [(along * width, 0 * along), (along * width, 0 * along + height)]
    edges += [(0 * along, along * height), (0 * along + width, along * height)]
    border = _ideal(camera, np.concatenate([np.stack(edge, axis=1) for edge in edges]))
    border = border[np.isfinite(border).all(axis=1)]
    if not len(border):
        return (0.0, 0.0), (float(width), float(height))
    low, high = border.min(axis=0), border.max(axis=0)
    # a lens of 180 degrees has its border at infinity: nothing useful lies farther than this
    limit = 4.0 * camera.diagonal_px
    low, high = np.maximum(low, -limit), np.minimum(high, limit)
    return (float(low[0]), float(low[1])), (float(high[0]), float(high[1]))


def _ideal(camera: Camera, xy_px: AnyArray) -> DoubleArray:
    return np.asarray(camera.unproject(xy_px) * camera.focal_px + camera.centre_px)


@njit(cache=True, nogil=True)
def _projected(
    pose: AnyArray, points: AnyArray, focal: tuple[float, float], centre: tuple[float, float]
) -> tuple[AnyArray, AnyArray]:
    xy, ahead = np.empty((len(points), 2), np.float64), np.empty(len(points), np.bool_)
    for p in range(len(points)):
        a, b, c = points[p, 0], points[p, 1], points[p, 2]
        z = pose[2, 0] * a + pose[2, 1] * b + pose[2, 2] * c + pose[2, 3]
        ahead[p] = z > 1e-9
        depth = z if ahead[p] else 1.0
        for k in range(2):
            xy[p, k] = (pose[k, 0] * a + pose[k, 1] * b + pose[k, 2] * c + pose[k, 3]) / depth * focal[k] + centre[k]
    return xy, ahead


@njit(cache=True, nogil=True)
def _in_view(
    pose: AnyArray, points: AnyArray, viewing: AnyArray, pinhole: tuple[tuple[float, float], ...]
) -> tuple[AnyArray, AnyArray]:
    centre = -(pose[0, :3] * pose[0, 3] + pose[1, :3] * pose[1, 3] + pose[2, :3] * pose[2, 3])
    (focal_x, focal_y), (centre_x, centre_y), (low_x, low_y), (high_x, high_y) = pinhole
    count = 0
    rows, xy = np.empty(len(points), np.int64), np.empty((len(points), 2), np.float64)
    for p in range(len(points)):
        a, b, c = points[p, 0], points[p, 1], points[p, 2]
        z = pose[2, 0] * a + pose[2, 1] * b + pose[2, 2] * c + pose[2, 3]
        if not z > 1e-9:
            continue
        x = (pose[0, 0] * a + pose[0, 1] * b + pose[0, 2] * c + pose[0, 3]) / z * focal_x + centre_x
        y = (pose[1, 0] * a + pose[1, 1] * b + pose[1, 2] * c + pose[1, 3]) / z * focal_y + centre_y
        if low_x <= x <= high_x and low_y <= y <= high_y:
            dx, dy, dz = centre[0] - a, centre[1] - b, centre[2] - c
            along = dx * viewing[p, 0] + dy * viewing[p, 1] + dz * viewing[p, 2]
            distance = np.sqrt(dx * dx + dy * dy + dz * dz)
            if along < viewing[p, 3] * distance or not viewing[p, 4] <= distance <= viewing[p, 5]:
                continue
            rows[count], xy[count, 0], xy[count, 1] = p, x, y
            count += 1
    return rows[:count].copy(), xy[:count].copy()
