"""Pose and intrinsics together: what the matches say of a camera that was given, and what its doubt does to the pose.

Every view has four numbers that say how it differs from its given pinhole, all dimensionless: the log of the focal
length, the log of the aspect fx / fy, and the principal point's shift in x and y, share of the focal length.
"""

# mypy: allow-untyped-decorators
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

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
    seen = _packed(views, matched, correlation)
    pose, nothing = np.ascontiguousarray(rig_SE3_world, np.float64), np.zeros(NUMBERS * len(views))
    return Normal(*_summed(seen, pose, nothing, float(sigma_px), float(most_px)))


class _Packed(NamedTuple):
    """What was seen in all views, one after the other: points (N, 3), places (N, 2), weights (N,)."""

    points: AnyArray
    xy_px: AnyArray
    weights: AnyArray
    ends: AnyArray  # of each view, int64 (V,)
    cameras: AnyArray  # camera_SE3_rig, (V, 4, 4)
    pinholes: AnyArray  # fx, fy, cx, cy, (V, 4)


def _packed(views: Sequence[View], matched: Sequence[Correspondences], correlation: float) -> _Packed:
    points = np.ascontiguousarray(np.concatenate([part.points_world for part in matched]), np.float64)
    xy_px = np.ascontiguousarray(np.concatenate([part.xy_px for part in matched]), np.float64)
    ends = np.cumsum(np.array([len(part) for part in matched], np.int64))
    corners = np.array([(*view.low_px, *view.high_px) for view in views], np.float64)
    pinholes = np.array([(*view.focal_px, *view.centre_px) for view in views], np.float64)
    cameras = np.array([view.camera_SE3_rig for view in views], np.float64)
    return _Packed(points, xy_px, _weights(xy_px, ends, corners, float(correlation)), ends, cameras, pinholes)


@njit(cache=True)
def _summed(
    seen: _Packed, rig: AnyArray, numbers: AnyArray, sigma_px: float, most_px: float
) -> tuple[AnyArray, AnyArray, float]:
    """Normal equations over the matches, (6 + 4 V, 6 + 4 V) and (6 + 4 V,), and the sum of the weights."""
    size = 6 + NUMBERS * len(seen.ends)
    matrix, right, total, n = np.zeros((size, size)), np.zeros(size), 0.0, 0
    j, by_rig, p, c = np.zeros((2, 10)), np.zeros((2, 3)), np.zeros(3), np.zeros(3)
    for view in range(len(seen.ends)):
        camera, pinhole, at = seen.cameras[view], seen.pinholes[view], NUMBERS * view
        given_x, given_y = pinhole[0], pinhole[1]
        fx = given_x * np.exp(numbers[at] + 0.5 * numbers[at + 1])
        fy = given_y * np.exp(numbers[at] - 0.5 * numbers[at + 1])
        cx, cy = pinhole[2] + given_x * numbers[at + 2], pinhole[3] + given_y * numbers[at + 3]
        for n in range(0 if view == 0 else seen.ends[view - 1], seen.ends[view]):
            for i in range(3):
                p[i] = rig[i, 3]
                for k in range(3):
                    p[i] += rig[i, k] * seen.points[n, k]
            for i in range(3):
                c[i] = camera[i, 0] * p[0] + camera[i, 1] * p[1] + camera[i, 2] * p[2] + camera[i, 3]
            if not c[2] > 0.0:
                continue
            x, y = fx * c[0] / c[2], fy * c[1] / c[2]
            off_x, off_y = x + cx - seen.xy_px[n, 0], y + cy - seen.xy_px[n, 1]
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
            j[0, 8], j[1, 9] = given_x, given_y
            w = seen.weights[n] / sigma_px**2
            total += seen.weights[n]
            for a in range(10):
                row = a if a < 6 else a + at
                right[row] += w * (j[0, a] * off_x + j[1, a] * off_y)
                for b in range(a + 1):
                    matrix[row, b if b < 6 else b + at] += w * (j[0, a] * j[0, b] + j[1, a] * j[1, b])
    for a in range(size):
        for b in range(a):
            matrix[b, a] = matrix[a, b]
    return matrix, right, total


@njit(cache=True)
def _weights(xy_px: AnyArray, ends: AnyArray, corners: AnyArray, correlation: float) -> AnyArray:
    """What each match counts, (N,): less where many lie in one cell of the image (Kish's design effect)."""
    weights, cells, first = np.empty(len(xy_px)), np.empty(len(xy_px), np.int64), 0
    for view in range(len(ends)):
        low_x, low_y = corners[view, 0], corners[view, 1]
        wide, tall = max(corners[view, 2] - low_x, 1e-9), max(corners[view, 3] - low_y, 1e-9)
        count = np.zeros(_COLUMNS * _ROWS)
        for n in range(first, ends[view]):
            column = min(max((xy_px[n, 0] - low_x) / wide, 0.0), 1.0 - 1e-9) * _COLUMNS
            row = min(max((xy_px[n, 1] - low_y) / tall, 0.0), 1.0 - 1e-9) * _ROWS
            cells[n] = int(row) * _COLUMNS + int(column)
            count[cells[n]] += 1.0
        for n in range(first, ends[view]):
            weights[n] = 1.0 / (1.0 + (count[cells[n]] - 1.0) * correlation)
        first = ends[view]
    return weights


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
    seen, pose = _packed(views, matched, correlation), np.ascontiguousarray(rig_SE3_world, np.float64)
    refined: tuple[DoubleArray, DoubleArray] = _refined(seen, pose, np.array(start), float(sigma_px), prior, small)
    return refined


@njit(cache=True)
def _refined(
    seen: _Packed, pose: AnyArray, numbers: AnyArray, sigma_px: float, prior: AnyArray, small: float
) -> tuple[AnyArray, AnyArray]:
    """In numba: this is asked some ten times a photo, and calls take as long as the sums."""
    most_px = 3.0 * sigma_px
    matrix, right, weight = _summed(seen, pose, numbers, sigma_px, most_px)
    for _ in range(_STEPS):
        step = _newton(matrix, right, numbers, prior)
        if not np.isfinite(step).all():
            break
        found = False
        for _ in range(_HALVED):
            ahead, changed = _moved(pose, step), numbers + step[6:]
            then = _summed(seen, ahead, changed, sigma_px, most_px)
            # what is far has no say: a step that leaves the matches behind would be no loss
            if then[2] > _STAY * weight:
                found = True
                break
            step = 0.5 * step
        if not found:
            break
        pose, numbers, (matrix, right, weight) = ahead, changed, then
        if np.abs(step[3:]).max() < small:
            break
    return pose, numbers


@njit(cache=True)
def _newton(matrix: AnyArray, right: AnyArray, numbers: AnyArray, prior: AnyArray) -> AnyArray:
    """The step that minimizes, with the prior of the numbers; NaN where nothing fixes it. By Cholesky, scaled."""
    size = len(right)
    lower, by = matrix.copy(), right.copy()
    for n in range(len(numbers)):
        lower[6 + n, 6 + n] += prior[n] ** -2.0
        by[6 + n] += numbers[n] / prior[n] ** 2
    scale = np.ones(size)
    for a in range(size):
        scale[a] = np.sqrt(max(lower[a, a], 1e-300))
    for a in range(size):
        by[a] = -by[a] / scale[a]
        for b in range(a + 1):
            lower[a, b] = lower[a, b] / (scale[a] * scale[b]) + (1e-9 if a == b else 0.0)
            for k in range(b):
                lower[a, b] -= lower[a, k] * lower[b, k]
            if a != b:
                lower[a, b] /= lower[b, b]
            elif lower[a, a] > 0.0:
                lower[a, a] = np.sqrt(lower[a, a])
            else:
                return np.full(size, np.nan)
        for k in range(a):
            by[a] -= lower[a, k] * by[k]
        by[a] /= lower[a, a]
    for a in range(size - 1, -1, -1):
        for k in range(a + 1, size):
            by[a] -= lower[k, a] * by[k]
        by[a] /= lower[a, a]
    return by / scale


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

    Sums are written out: numba takes seconds to compile products of matrices.
    """
    pose, turn, centre = np.eye(4), np.eye(3), np.zeros(3)
    angle = np.sqrt(step[3] ** 2 + step[4] ** 2 + step[5] ** 2)
    if angle > 0.0:  # Rodrigues, of the turn back
        axis = (-step[3] / angle, -step[4] / angle, -step[5] / angle)
        sin, less = np.sin(angle), 1.0 - np.cos(angle)
        for i in range(3):
            for k in range(3):
                turn[i, k] = less * axis[i] * axis[k] + (1.0 - less if i == k else 0.0)
        for i, k, n in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            turn[i, k] -= sin * axis[n]
            turn[k, i] += sin * axis[n]
    for i in range(3):
        centre[i] = step[i]
        for k in range(3):
            centre[i] -= rig_SE3_world[k, i] * rig_SE3_world[k, 3]
            pose[i, k] = 0.0
            for n in range(3):
                pose[i, k] += turn[i, n] * rig_SE3_world[n, k]
    for i in range(3):
        for k in range(3):
            pose[i, 3] -= pose[i, k] * centre[k]
    return pose
