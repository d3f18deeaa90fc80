"""Pose and intrinsics together: what the matches say of a camera that was given, and what its doubt does to the pose.

Every view has four numbers that say how it differs from its given pinhole, all dimensionless: the log of the focal
length, the log of the aspect fx / fy, and the principal point's shift in x and y, share of the focal length.
"""

# mypy: allow-untyped-decorators
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from scipy.spatial.transform import Rotation

from foldmap.types import AnyArray, DoubleArray
from foldmap.visual.match.solve import Correspondences
from foldmap.visual.match.view import View

NUMBERS = 4  # of a view
_COLUMNS, _ROWS = 16, 12
"""An image's cells: residuals within one have neighbours, and errors of their points, in common."""
_STEPS, _HALVED, _STAY, _SMALL = 10, 5, 0.8, 1e-4


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

    def pull(self, sigma: DoubleArray) -> float:
        """How much less the squared residuals would be with intrinsics free to so much, linearized."""
        freed = self.with_prior(sigma, np.zeros(len(sigma)))
        whole, pose = (np.linalg.lstsq(m, b, rcond=None)[0] @ b for m, b in ((freed.matrix, freed.right), self._pose))
        return float(whole - pose)

    @property
    def _pose(self) -> tuple[DoubleArray, DoubleArray]:
        return self.matrix[:6, :6], self.right[:6]

    def covariance(self, axes: int | None = None) -> DoubleArray | None:
        """Of the first so many parameters, None for all; None where these are not fixed."""
        scale = np.sqrt(np.maximum(np.diag(self.matrix), 1e-300))
        scaled = self.matrix / np.outer(scale, scale)
        if not np.isfinite(scaled).all() or np.linalg.eigvalsh(scaled)[0] < 1e-10:
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
    weights: Sequence[DoubleArray] | None = None,
) -> Normal:
    """Linearize reprojection errors at a pose, for the centre in the world, a turn in the rig, and the intrinsics.

    Args:
        views: what was seen through.
        matched: what was seen.
        rig_SE3_world: the pose.
        sigma_px: of a residual in one direction.
        correlation: of the errors of two matches in one cell of an image: each counts the less the more share it.
        most_px: longer residuals have no say.
        weights: what each match of a view counts, where that is known already.
    """
    weights = weights or [_weights(view, part.xy_px, correlation) for view, part in zip(views, matched, strict=True)]
    size = 6 + NUMBERS * len(views)
    matrix, right, weight = np.zeros((size, size)), np.zeros(size), 0.0
    for number, (view, part) in enumerate(zip(views, matched, strict=True)):
        camera_SE3_rig = np.ascontiguousarray(view.camera_SE3_rig)
        own, towards, count = _summed(
            np.ascontiguousarray(part.points_world),
            np.ascontiguousarray(part.xy_px),
            weights[number],
            (np.ascontiguousarray(rig_SE3_world), camera_SE3_rig),
            (*view.focal_px, *view.centre_px),
            most_px,
        )
        if len(views) == 1:
            return Normal(own / sigma_px**2, towards / sigma_px**2, count)
        at = 6 + NUMBERS * number
        rows = np.concatenate([np.arange(6), np.arange(at, at + NUMBERS)])
        matrix[np.ix_(rows, rows)] += own / sigma_px**2
        right[rows] += towards / sigma_px**2
        weight += count
    return Normal(matrix, right, weight)


@njit(cache=True)
def _summed(
    points: AnyArray,
    xy_px: AnyArray,
    weights: AnyArray,
    poses: tuple[AnyArray, AnyArray],
    pinhole: tuple[float, float, float, float],
    most_px: float,
) -> tuple[AnyArray, AnyArray, float]:
    """Sums of one view over its matches: (10, 10), (10,), and their weights."""
    rig, camera = poses
    fx, fy, cx, cy = pinhole
    matrix, right, total = np.zeros((10, 10)), np.zeros(10), 0.0
    j, by_rig, p, c = np.zeros((2, 10)), np.zeros((2, 3)), np.zeros(3), np.zeros(3)
    for n in range(len(points)):
        for i in range(3):
            p[i] = rig[i, 0] * points[n, 0] + rig[i, 1] * points[n, 1] + rig[i, 2] * points[n, 2] + rig[i, 3]
        for i in range(3):
            c[i] = camera[i, 0] * p[0] + camera[i, 1] * p[1] + camera[i, 2] * p[2] + camera[i, 3]
        if not c[2] > 0.0:
            continue
        x, y = fx * c[0] / c[2], fy * c[1] / c[2]
        off_x, off_y = x + cx - xy_px[n, 0], y + cy - xy_px[n, 1]
        if not off_x * off_x + off_y * off_y < most_px * most_px:
            continue
        for i in range(3):
            by_rig[0, i] = (fx * camera[0, i] - x * camera[2, i]) / c[2]
            by_rig[1, i] = (fy * camera[1, i] - y * camera[2, i]) / c[2]
        for k in range(2):
            g = by_rig[k]
            # moving the centre by d moves points by -R d in the rig; turning the rig by w moves them by p x w
            for i in range(3):
                j[k, i] = -(g[0] * rig[0, i] + g[1] * rig[1, i] + g[2] * rig[2, i])
            j[k, 3] = g[1] * p[2] - g[2] * p[1]
            j[k, 4] = g[2] * p[0] - g[0] * p[2]
            j[k, 5] = g[0] * p[1] - g[1] * p[0]
        j[0, 6], j[1, 6], j[0, 7], j[1, 7] = x, y, 0.5 * x, -0.5 * y
        j[0, 8], j[1, 9] = fx, fy
        w = weights[n]
        total += w
        for a in range(10):
            right[a] += w * (j[0, a] * off_x + j[1, a] * off_y)
            for b in range(a + 1):
                matrix[a, b] += w * (j[0, a] * j[0, b] + j[1, a] * j[1, b])
    for a in range(10):
        for b in range(a):
            matrix[b, a] = matrix[a, b]
    return matrix, right, total


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
    small: float = _SMALL,
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
        small: a step of angles and intrinsics that ends it.
    """
    pose, numbers = np.array(rig_SE3_world), np.array(start)
    weights = [_weights(view, part.xy_px, correlation) for view, part in zip(views, matched, strict=True)]

    def at(pose: DoubleArray, numbers: DoubleArray) -> Normal:
        now = seen_with(views, numbers)
        normal = normal_equations(now, matched, pose, sigma_px, correlation, 3.0 * sigma_px, weights)
        return normal.with_prior(prior, numbers)

    normal = at(pose, numbers)
    for _ in range(_STEPS):
        scale = np.sqrt(np.maximum(np.diag(normal.matrix), 1e-300))
        damped = normal.matrix / np.outer(scale, scale) + 1e-9 * np.eye(len(scale))
        step = -np.linalg.solve(damped, normal.right / scale) / scale
        if not np.isfinite(step).all():
            break
        for _ in range(_HALVED):
            ahead, changed = _moved(pose, step), numbers + step[6:]
            # what is far has no say: a step that leaves the matches behind would be no loss
            if (then := at(ahead, changed)).weight > _STAY * normal.weight:
                break
            step *= 0.5
        else:
            break
        pose, numbers, normal = ahead, changed, then
        if np.abs(step[3:]).max() < small:
            break
    return pose, numbers


def seen_with(views: Sequence[View], numbers: DoubleArray) -> list[View]:
    """Views with intrinsics that differ from their own by so much, (4 V,)."""
    return [adjusted(view, own) for view, own in zip(views, numbers.reshape(-1, NUMBERS), strict=True)]


def moved_by(rig_SE3_world: DoubleArray, to: DoubleArray) -> DoubleArray:
    """The step from one pose to another, float64 (6,): of the centre in the world, then the turn in the rig, rad."""
    centres = [-pose[:3, :3].T @ pose[:3, 3] for pose in (rig_SE3_world, to)]
    turn = -Rotation.from_matrix(to[:3, :3] @ rig_SE3_world[:3, :3].T).as_rotvec()
    return np.concatenate([centres[1] - centres[0], turn])


@njit(cache=True)
def _moved(rig_SE3_world: AnyArray, step: AnyArray) -> AnyArray:
    """A pose whose centre has moved in the world, and that was turned in the rig's frame.

    In numba: this is asked some dozen times a photo, and SciPy's rotations take as long as a sum over all matches.
    """
    pose, turn, old = np.eye(4), np.eye(3), rig_SE3_world[:3, :3]
    angle = np.sqrt(step[3] ** 2 + step[4] ** 2 + step[5] ** 2)
    if angle > 0.0:  # Rodrigues, of the turn back
        x, y, z = -step[3] / angle, -step[4] / angle, -step[5] / angle
        across = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        turn += np.sin(angle) * across + (1.0 - np.cos(angle)) * (across @ across)
    centre = step[:3] - np.ascontiguousarray(old.T) @ np.ascontiguousarray(rig_SE3_world[:3, 3])
    pose[:3, :3] = turn @ np.ascontiguousarray(old)
    pose[:3, 3] = -(np.ascontiguousarray(pose[:3, :3]) @ centre)
    return pose
