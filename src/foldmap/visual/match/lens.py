"""Pose and intrinsics together: what the matches say of a camera that was given, and what its doubt does to the pose.

Every view has four numbers that say how it differs from its given pinhole, all dimensionless: the log of the focal
length, the log of the aspect fx / fy, and the principal point's shift in x and y, share of the focal length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from foldmap.types import DoubleArray
from foldmap.visual.match.solve import Correspondences, residuals_px
from foldmap.visual.match.view import View

NUMBERS = 4  # of a view
_COLUMNS, _ROWS = 16, 12
"""An image's cells: residuals within one have neighbours, and errors of their points, in common."""
_STEPS, _HALVED, _STAY, _SMALL = 10, 5, 0.8, 1e-5


@dataclass(frozen=True)
class Normal:
    """Normal equations of a pose and its views' intrinsics, residuals in units of their standard deviation.

    Attributes:
        matrix, right: float64 (6 + 4 V, 6 + 4 V) and (6 + 4 V,): the step that minimizes is ``-solve(matrix, right)``.
        weight: sum of the matches' weights: how many independent ones there are.
    """

    matrix: DoubleArray
    right: DoubleArray
    weight: float

    def with_prior(self, sigma: DoubleArray, at: DoubleArray) -> Normal:
        """With intrinsics that were given to standard deviations (4 V,), and now differ from them by ``at``."""
        matrix, right = self.matrix.copy(), self.right.copy()
        rows = np.arange(6, len(right))
        matrix[rows, rows] += sigma**-2.0
        right[rows] += at / sigma**2
        return Normal(matrix, right, self.weight)

    def covariance(self, axes: int | None = None) -> DoubleArray | None:
        """Of the first so many parameters, None for all; None where these are not fixed."""
        scale = np.sqrt(np.maximum(np.diag(self.matrix), 1e-300))
        scaled = self.matrix / np.outer(scale, scale)
        if not np.isfinite(scaled).all() or np.linalg.eigvalsh(scaled)[0] < 1e-12:
            return None
        covariance: DoubleArray = (np.linalg.inv(scaled) / np.outer(scale, scale))[:axes, :axes]
        return 0.5 * (covariance + covariance.T)


def normal_equations(
    views: Sequence[View],
    matched: Sequence[Correspondences],
    rig_SE3_world: DoubleArray,
    sigma_px: float,
    correlation: float,
    most_px: float = np.inf,
) -> Normal:
    """Linearize reprojection errors at a pose, for the centre in the world, a turn in the rig, and the intrinsics.

    Args:
        views: what was seen through.
        matched: what was seen.
        rig_SE3_world: the pose.
        sigma_px: of a residual in one direction.
        correlation: of the errors of two matches in one cell of an image: each counts the less the more share it.
        most_px: longer residuals have no say.
    """
    size = 6 + NUMBERS * len(views)
    matrix, right, weight = np.zeros((size, size)), np.zeros(size), 0.0
    world_R_rig = rig_SE3_world[:3, :3].T
    for number, (view, part) in enumerate(zip(views, matched, strict=True)):
        camera_R_rig = view.camera_SE3_rig[:3, :3]
        points_rig = part.points_world @ rig_SE3_world[:3, :3].T + rig_SE3_world[:3, 3]
        points_camera = points_rig @ camera_R_rig.T + view.camera_SE3_rig[:3, 3]
        x, y, z = points_camera.T
        (fx, fy), zero = view.focal_px, np.zeros(len(part))
        from_centre = np.stack([fx * x / z, fy * y / z], axis=1)
        residuals = from_centre + view.centre_px - part.xy_px
        by_camera = np.array([[fx / z, zero, -fx * x / z**2], [zero, fy / z, -fy * y / z**2]]).transpose(2, 0, 1)
        by_rig = by_camera @ camera_R_rig
        jacobian = np.zeros((len(part), 2, size))
        # moving the centre by d moves points by -R d in the rig; turning the rig by w moves them by p x w
        jacobian[:, :, :3] = -by_rig @ world_R_rig.T
        jacobian[:, :, 3:6] = np.cross(by_rig, points_rig[:, None, :])
        at = 6 + NUMBERS * number
        jacobian[:, :, at] = from_centre
        jacobian[:, :, at + 1] = 0.5 * from_centre * [1.0, -1.0]
        jacobian[:, 0, at + 2], jacobian[:, 1, at + 3] = fx, fy
        near = (z > 0) & (np.linalg.norm(residuals, axis=1) < most_px)
        each = np.where(near, _weights(view, part.xy_px, correlation), 0.0) / sigma_px**2
        flat = np.ascontiguousarray(jacobian).reshape(-1, size)
        weighted = flat * np.repeat(each, 2)[:, None]
        matrix += flat.T @ weighted
        right += weighted.T @ residuals.ravel()
        weight += float(each.sum()) * sigma_px**2
    return Normal(matrix, right, weight)


def _weights(view: View, xy_px: DoubleArray, correlation: float) -> DoubleArray:
    """What each match counts, (N,): less where many lie in one cell of the image (Kish's design effect)."""
    low, high = np.asarray(view.low_px), np.asarray(view.high_px)
    share = np.clip((xy_px - low) / np.maximum(high - low, 1e-9), 0.0, 1.0 - 1e-9)
    column, row = (share * [_COLUMNS, _ROWS]).astype(np.int64).T
    cell = row * _COLUMNS + column
    count = np.bincount(cell)[cell]
    return np.asarray(1.0 / (1.0 + (count - 1.0) * correlation))


def adjusted(view: View, numbers: DoubleArray) -> View:
    """The view with intrinsics that differ from its own by those four numbers."""
    (fx, fy), (cx, cy) = view.focal_px, view.centre_px
    focal = float(fx * np.exp(numbers[0] + 0.5 * numbers[1])), float(fy * np.exp(numbers[0] - 0.5 * numbers[1]))
    return replace(view, focal_px=focal, centre_px=(float(cx + fx * numbers[2]), float(cy + fy * numbers[3])))


def refine_with_lens(
    views: Sequence[View],
    matched: Sequence[Correspondences],
    rig_SE3_world: DoubleArray,
    sigma_px: float,
    prior: DoubleArray,
    start: DoubleArray,
    correlation: float,
) -> tuple[DoubleArray, DoubleArray]:
    """Pose and intrinsics that fit best, by Gauss and Newton on residuals below three sigma.

    Gives rig_SE3_world and how the intrinsics differ from the views', (4 V,); the start where nothing fits.

    Args:
        views: with the intrinsics as they were given.
        matched: what was seen.
        rig_SE3_world: a pose to start from.
        sigma_px: of a residual in one direction.
        prior: standard deviations of the given intrinsics, (4 V,).
        start: how the intrinsics differ at the start, (4 V,).
        correlation: as of `normal_equations`.
    """
    most_px, pose, numbers = 3.0 * sigma_px, np.array(rig_SE3_world), np.array(start)

    def near(pose: DoubleArray, numbers: DoubleArray) -> int:
        now = seen_with(views, numbers)
        errors = [residuals_px(view, part, pose) for view, part in zip(now, matched, strict=True)]
        return int((np.linalg.norm(np.concatenate(errors), axis=1) < most_px).sum())

    count = near(pose, numbers)
    for _ in range(_STEPS):
        normal = normal_equations(seen_with(views, numbers), matched, pose, sigma_px, correlation, most_px)
        normal = normal.with_prior(prior, numbers)
        scale = np.sqrt(np.maximum(np.diag(normal.matrix), 1e-300))
        damped = normal.matrix / np.outer(scale, scale) + 1e-9 * np.eye(len(scale))
        step = -np.linalg.solve(damped, normal.right / scale) / scale
        if not np.isfinite(step).all():
            break
        for _ in range(_HALVED):
            ahead, changed = _moved(pose, step), numbers + step[6:]
            # what is far has no say: a step that leaves the matches behind would be no loss
            if (then := near(ahead, changed)) > _STAY * count:
                break
            step *= 0.5
        else:
            break
        pose, numbers, count = ahead, changed, then
        if np.abs(step[3:]).max() < _SMALL:
            break
    return pose, numbers


def seen_with(views: Sequence[View], numbers: DoubleArray) -> list[View]:
    """Views with intrinsics that differ from their own by so much, (4 V,)."""
    return [adjusted(view, own) for view, own in zip(views, numbers.reshape(-1, NUMBERS), strict=True)]


def _moved(rig_SE3_world: DoubleArray, step: DoubleArray) -> DoubleArray:
    """A pose whose centre has moved in the world, and that was turned in the rig's frame."""
    pose = np.array(rig_SE3_world)
    centre = -pose[:3, :3].T @ pose[:3, 3] + step[:3]
    pose[:3, :3] = Rotation.from_rotvec(-step[3:6]).as_matrix() @ pose[:3, :3]
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose
