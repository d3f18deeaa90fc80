"""The histogram filter: a belief over a small grid of poses that travels with the vehicle (eq. 1-4, 8)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2, wrap_rad
from foldmap.localize.motion import check_increment
from foldmap.types import DoubleArray

_BLUR_REACH = 4.0


@dataclass(frozen=True)
class BeliefGrid:
    """A probability over (heading, row, col) around a centre; immutable, each step gives a new one.

    Rows go south and columns east in steps of the resolution, headings counter-clockwise in steps of
    ``heading_step_rad``; the middle cell is the pose `centre`, which is continuous: the grid is not tied to map pixels.
    Probability is float64 (T, N, N), of odd sizes, and sums to 1.
    """

    centre: SE2
    resolution_m: float
    heading_step_rad: float
    probability: DoubleArray

    def __post_init__(self) -> None:
        shape = self.probability.shape
        if len(shape) != 3 or shape[1] != shape[2] or any(side % 2 == 0 for side in shape):
            raise ConfigError(f"a belief of shape {shape}", "give (T, N, N) with odd T and N")
        if self.resolution_m <= 0 or self.heading_step_rad <= 0:
            raise ConfigError("a belief grid without positive steps", "give a resolution and a heading step > 0")

    @staticmethod
    def gaussian(
        pose: SE2,
        covariance: DoubleArray,
        radius_m: float,
        headings: int,
        resolution_m: float = 0.05,
        heading_step_rad: float = math.radians(0.5),
    ) -> BeliefGrid:
        """Start from a Gaussian, cut off at the grid's rim; a PoseInputError where it is none."""
        if not np.isfinite([pose.x_m, pose.y_m, pose.heading_rad]).all():
            raise PoseInputError(f"the prior {pose} is not finite", "give a finite pose")
        if not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance).min() <= 0:
            raise PoseInputError("the prior's covariance is not positive definite", "give one that is")
        side = 2 * math.ceil(radius_m / resolution_m) + 1
        empty = BeliefGrid(pose, resolution_m, heading_step_rad, np.ones((headings | 1, side, side)))
        offsets = np.stack(np.broadcast_arrays(*empty.offsets()), axis=-1)
        square = np.einsum("...i,ij,...j->...", offsets, np.linalg.inv(covariance), offsets)
        return empty._with(np.exp(-0.5 * square))

    def _with(self, weight: DoubleArray, centre: SE2 | None = None) -> BeliefGrid:
        total = float(weight.sum())
        if not (math.isfinite(total) and total > 0):
            raise PoseInputError("the belief vanished", "start the filter again from a prior or a GPS fix")
        return BeliefGrid(centre or self.centre, self.resolution_m, self.heading_step_rad, weight / total)

    def offsets(self) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
        """East (m), north (m) and heading (rad) of each cell from the centre, broadcastable over (T, N, N)."""
        count, side, _ = self.probability.shape
        axis = (np.arange(side) - side // 2) * self.resolution_m
        heading = (np.arange(count) - count // 2) * self.heading_step_rad
        return axis[None, None, :], -axis[None, :, None], heading[:, None, None]

    def headings_rad(self) -> DoubleArray:
        """World headings of the bins, around the centre's (not wrapped)."""
        return self.centre.heading_rad + self.offsets()[2][:, 0, 0]

    @property
    def radius_m(self) -> float:
        """From the centre to the rim."""
        return float(self.probability.shape[1] // 2) * self.resolution_m

    def mean_and_covariance(self, alpha: float = 1.0) -> tuple[SE2, DoubleArray]:
        """Eq. 8: the mean under belief ** alpha; and the covariance of the belief itself about it, (3, 3)."""
        if alpha < 1:
            raise ConfigError(f"alpha {alpha}", "give alpha >= 1")
        axes = self.offsets()
        sharp = self.probability**alpha if alpha != 1 else self.probability
        mean = _moment(sharp / sharp.sum(), axes)
        east, north, heading = (np.ravel(axis) - m for axis, m in zip(axes, mean, strict=True))
        plane, across, ahead = (self.probability.sum(axis) for axis in range(3))  # (row, col), (T, col), (T, row)
        covariance = np.diag([plane.sum(0) @ east**2, plane.sum(1) @ north**2, across.sum(1) @ heading**2])
        covariance[0, 1] = covariance[1, 0] = north @ plane @ east
        covariance[0, 2] = covariance[2, 0] = heading @ across @ east
        covariance[1, 2] = covariance[2, 1] = heading @ ahead @ north
        floor = np.array([self.resolution_m, self.resolution_m, self.heading_step_rad]) ** 2 / 12
        return self._at(*(float(m) for m in mean)), covariance + np.diag(floor)

    def variance_ahead_m2(self) -> float:
        """Of the position along the centre's heading, and never nothing."""
        ahead = np.array([math.cos(self.centre.heading_rad), math.sin(self.centre.heading_rad)])
        return float(ahead @ self.mean_and_covariance()[1][:2, :2] @ ahead)

    def _at(self, east_m: float, north_m: float, turn_rad: float) -> SE2:
        """The world pose so far from the centre."""
        here = self.centre
        return SE2(here.x_m + east_m, here.y_m + north_m, wrap_rad(here.heading_rad + turn_rad))

    def predict(self, increment: SE2, sigma: DoubleArray, ahead_m2: float = 0.0) -> BeliefGrid:
        """Eq. 2: move the belief by an odometry increment and blur it by the increment's covariance.

        The centre moves exactly; what is left is, per heading bin, the little by which a bin that points elsewhere
        drives elsewhere. Linear interpolation of that shift blurs by f (1 - f) px^2, which is taken off the Gaussian's
        variance. Sigma (3, 3) is `increment_covariance`; its position part must be the same along both axes. A variance
        along the heading alone is a quadrature of three points (Gauss and Hermite's), interpolated and taken off alike.
        """
        from scipy.ndimage import shift  # single observations do without

        check_increment(increment)
        moved = self.centre @ increment
        driven = moved.x_m - self.centre.x_m, moved.y_m - self.centre.y_m
        variance_px = np.full(2, float(np.trace(sigma[:2, :2])) / 2 / self.resolution_m**2)  # down and right
        weight, spread = np.empty_like(self.probability), self.probability
        if ahead_m2 > 0:
            far_px = math.sqrt(3 * ahead_m2) / self.resolution_m
            by_px = far_px * np.array([-math.sin(moved.heading_rad), math.cos(moved.heading_rad)])
            beside = sum(shift(spread, (0.0, *(sign * by_px)), order=1, mode="constant") for sign in (1, -1))
            spread = spread * (2 / 3) + beside / 6
            fraction_px = by_px - np.floor(by_px)
            variance_px -= fraction_px * (1 - fraction_px) / 3
        for t, turn in enumerate(np.ravel(self.offsets()[2])):
            cos, sin = math.cos(turn) - 1.0, math.sin(turn)
            east, north = cos * driven[0] - sin * driven[1], sin * driven[0] + cos * driven[1]
            image = spread[t]
            for axis, step in ((0, -north / self.resolution_m), (1, east / self.resolution_m)):
                fraction = step - math.floor(step)
                whole = (step, 0.0) if axis == 0 else (0.0, step)
                image = shift(image, whole, order=1, mode="constant") if abs(step) > 1e-9 else image
                image = _blurred(image, max(0.0, float(variance_px[axis]) - fraction * (1 - fraction)), axis)
            weight[t] = image
        weight = _blurred(weight, float(sigma[2, 2]) / self.heading_step_rad**2, 0)
        return self._with(weight, moved).recentred()

    def recentred(self) -> BeliefGrid:
        """Move the grid by whole cells so that the mean is in the middle cell; what falls off the rim is lost."""
        step_m, step_rad = self.resolution_m, self.heading_step_rad
        east_m, north_m, turn_rad = (float(m) for m in _moment(self.probability, self.offsets()))
        cells = [round(turn_rad / step_rad), round(-north_m / step_m), round(east_m / step_m)]
        if not any(cells):
            return self
        centre = self._at(cells[2] * step_m, -cells[1] * step_m, cells[0] * step_rad)
        return self._with(_slid(self.probability, cells), centre)

    def resized(self, radius_m: float, headings: int) -> BeliefGrid:
        """Return the same belief on a wider or narrower grid around the same centre."""
        side = 2 * math.ceil(radius_m / self.resolution_m - 1e-9) + 1
        shape, own = (headings | 1, side, side), self.probability.shape
        if shape == own:
            return self
        weight = np.zeros(shape)
        keep = [min(a, b) // 2 for a, b in zip(shape, own, strict=True)]
        target, source = (
            tuple(slice(a // 2 - k, a // 2 + k + 1) for a, k in zip(each, keep, strict=True)) for each in (shape, own)
        )
        weight[target] = self.probability[source]
        return self._with(weight)

    def updated(self, log_likelihood: DoubleArray) -> BeliefGrid:
        """Eq. 1: multiply by a likelihood given as its logarithm, broadcastable over (T, N, N)."""
        with np.errstate(divide="ignore"):
            posterior = np.log(self.probability) + log_likelihood
        top = float(posterior.max())
        return self._with(np.exp(posterior - top) if math.isfinite(top) else np.zeros_like(posterior))

    def gps_log_likelihood(self, east_m: float, north_m: float, sigma_m: float) -> DoubleArray:
        """Eq. 4, up to a constant, (1, N, N); a PoseInputError where a value is not finite or sigma not positive."""
        if not all(math.isfinite(v) for v in (east_m, north_m, sigma_m)) or sigma_m <= 0:
            raise PoseInputError(f"GPS fix ({east_m}, {north_m}) +- {sigma_m} m", "give finite values and sigma > 0")
        east, north, _ = self.offsets()
        square = (self.centre.x_m + east - east_m) ** 2 + (self.centre.y_m + north - north_m) ** 2
        return -0.5 * square / sigma_m**2


def _moment(weight: DoubleArray, axes: tuple[DoubleArray, DoubleArray, DoubleArray]) -> DoubleArray:
    east, north, heading = (np.ravel(axis) for axis in axes)
    return np.array([weight.sum((0, 1)) @ east, weight.sum((0, 2)) @ north, weight.sum((1, 2)) @ heading])


def _blurred(image: DoubleArray, variance: float, axis: int) -> DoubleArray:
    """Convolve with a sampled kernel of exactly this variance (in cells); mass that leaves the grid is lost."""
    from scipy.ndimage import correlate1d

    if variance <= 1e-12:
        return image
    if variance < 0.2:  # narrower than sampling can show: three taps have the right moments
        taps = np.array([variance / 2, 1 - variance, variance / 2])
    else:
        reach = math.ceil(_BLUR_REACH * math.sqrt(variance))
        taps = np.exp(-0.5 * np.arange(-reach, reach + 1) ** 2 / variance)
        taps /= taps.sum()
    return np.asarray(correlate1d(image, taps, axis=axis, mode="constant"))


def _slid(weight: DoubleArray, cells: list[int]) -> DoubleArray:
    """Take out[i] = weight[i + cells], zero outside."""
    out = np.zeros_like(weight)
    target, source = [], []
    for step, side in zip(cells, weight.shape, strict=True):
        step = max(-side, min(side, step))
        target.append(slice(max(0, -step), side - max(0, step)))
        source.append(slice(max(0, step), side - max(0, -step)))
    out[tuple(target)] = weight[tuple(source)]
    return out
