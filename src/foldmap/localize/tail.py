"""How far numbers reach that are rarely large: the scores of wrong answers, and the errors of right ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaln, chdtri, erfc, fdtrc

from foldmap.errors import ConfigError, MapFormatError
from foldmap.localize.protection import RISK
from foldmap.types import AnyArray, DoubleArray

LEAST = 20
"""From fewer numbers nothing is said of their tail."""
_ONE_SIDED = 1.645  # standard deviations: a scale this small or smaller would be seen once in twenty
_SHAPES = np.array([3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0])
_USUAL, _USUAL_LENGTH = (10.0, 0.35), (8.0, 0.5)
"""Degrees of freedom of scattering standard deviations before any is seen, their median and the standard deviation of
their logarithm: some dozen errors tell little of them. Of Mahalanobis distances what the 723 held-out images of six
maps of four scenes make about as likely as anything; of lengths, which they make likeliest at 15 to 20, fewer."""
_SCALES = 100
_DIRECTIONS = 400


@dataclass(frozen=True)
class Tail:
    """An exponential bound of the upper tail of some numbers: ``P(value > x) = share * exp(-(x - level) / scale)``.

    Peaks over a threshold (Pickands 1975), with the exponential instead of a fitted shape: what errors and chance
    scores have is lighter, so it overbounds them, and a few numbers fix it.

    Attributes:
        level: exceeded by the share.
        scale: upper 95 % confidence bound of the mean excess.
        share: of the numbers, in (0, 1].
        count: of the numbers it was set on.
    """

    level: float
    scale: float
    share: float
    count: int

    def __post_init__(self) -> None:
        numbers = (self.level, self.scale, self.share)
        if not all(math.isfinite(number) for number in numbers) or self.scale <= 0 or not 0 < self.share <= 1:
            raise ConfigError(f"the tail {self} is not one", "give a scale > 0 and a share in (0, 1]")

    @staticmethod
    def of(values: AnyArray, share: float = 0.1) -> Tail:
        """Bound the tail of at least `LEAST` finite numbers; a ConfigError where there are fewer."""
        numbers = np.sort(np.asarray(values, np.float64).ravel())
        if len(numbers) < LEAST or not np.isfinite(numbers).all():
            raise ConfigError(f"the tail of {len(numbers)} numbers", f"give {LEAST} finite ones or more")
        # a handful of excesses at least: the median's are too few to bound anything below
        share = min(1.0, max(share, 8.0 / len(numbers)))
        beyond = max(1, round(share * len(numbers)))
        level = float(numbers[-beyond - 1]) if beyond < len(numbers) else float(numbers[0])
        excess = float((numbers[-beyond:] - level).mean())
        least = 1e-9 * max(abs(level), abs(float(numbers[-1])), 1e-9)
        return Tail(level, max(excess * _mean_bound(beyond), least), beyond / len(numbers), len(numbers))

    @staticmethod
    def of_distances(values: AnyArray, axes: int) -> Tail:
        """The tail of at least `LEAST` Mahalanobis distances, by `Scatter`.

        The exponential goes through the distances that 1 in 100 and 1 in 1,000 exceed; rarer ones are a little longer.
        """
        scatter = Scatter.of(values, axes)
        level, rarer = (scatter.exceeded_at(risk) for risk in (1e-2, 1e-3))
        return Tail(level, (rarer - level) / math.log(10.0), 1e-2, scatter.count)

    @staticmethod
    def of_lengths(lengths: AnyArray, covariances: AnyArray) -> Tail:
        """The tail of at least `LEAST` errors' lengths (N,) over those that 1 in 1,000 of their covariances exceeds.

        Of covariances (N, K, K) that are long in one direction an error across weighs much in Mahalanobis' distance,
        and nothing in the length. A length's square is about chi-squared, of as many axes as the covariance has
        (Welch and Satterthwaite), and F where sigma scatters.
        """
        spread = np.asarray(covariances, np.float64)
        total = np.trace(spread, axis1=1, axis2=2)
        axes = total**2 / np.einsum("nij,nij->n", spread, spread)
        scatter = Scatter.of(np.asarray(lengths, np.float64) * np.sqrt(axes / total), axes, _USUAL_LENGTH)
        usual = math.sqrt(float(chdtri(scatter.axes, RISK)))
        level, rarer = (scatter.exceeded_at(risk) / usual for risk in (1e-2, 1e-3))
        return Tail(level, (rarer - level) / math.log(10.0), 1e-2, scatter.count)

    def log10_beyond(self, value: float, trials: float = 1.0) -> float:
        """log10 of the probability that one of so many independent numbers is larger; at most 0."""
        return min(0.0, math.log10(self.share * trials) - (value - self.level) / self.scale / math.log(10.0))

    def exceeded_at(self, risk: float) -> float:
        """The value that is exceeded with this probability; not below the level."""
        if not 0 < risk < 1:
            raise ConfigError(f"a risk of {risk}", "give a probability between 0 and 1, like 1e-3")
        return self.level + self.scale * max(0.0, math.log(self.share / risk))

    def to_dict(self) -> dict[str, float | int]:
        """As it is stored: rounded to four digits, the scale and level up."""
        return {
            "level": _rounded_up(self.level),
            "scale": _rounded_up(self.scale),
            "share": float(f"{self.share:.4g}"),
            "count": self.count,
        }

    @staticmethod
    def read(stored: Mapping[str, Any], what: str) -> Tail:
        """A stored one; a MapFormatError, naming what it is of, where it is none."""
        names = {"level", "scale", "share", "count"}
        try:
            if set(stored) != names or any(type(stored[name]) not in (int, float) for name in names):
                raise ConfigError("names or types")
            tail = Tail(float(stored["level"]), float(stored["scale"]), float(stored["share"]), int(stored["count"]))
        except (ConfigError, TypeError, OverflowError, ValueError) as error:
            raise MapFormatError(f"the tail of {what} is {stored!r}"[:200], "calibrate the map again") from error
        return tail


@dataclass(frozen=True)
class Scatter:
    """How Mahalanobis distances are distributed whose standard deviations are right on average, and not each time.

    Were they right each time, the squares were chi-squared. Where they scatter as a gamma variable's inverse does,
    squares an axis have an F distribution (errors are Student's t), of some shape and scale. Neither is known well from
    some dozen distances: what is expected of the next one is the mean over all, weighted by how likely they are.

    Attributes:
        axes: of an error; of errors that differ in it, their median.
        scales: of squares an axis, float64 (S,).
        weights: of each shape and scale, float64 (shapes, S), sum 1.
        count: of the distances it was set on.
    """

    axes: float
    scales: DoubleArray
    weights: DoubleArray
    count: int

    @staticmethod
    def of(values: AnyArray, axes: int | DoubleArray, usual: tuple[float, float] = _USUAL) -> Scatter:
        """Of at least `LEAST` finite distances (N,), of ``axes`` each, or (N,); a ConfigError where there are fewer.

        ``usual`` is what is known of the shape before: its median, and its logarithm's standard deviation.
        """
        numbers = np.asarray(values, np.float64).ravel()
        if len(numbers) < LEAST or not (np.isfinite(numbers) & (numbers >= 0)).all():
            raise ConfigError(f"the tail of {len(numbers)} distances", f"give {LEAST} finite ones or more")
        squares = np.maximum(numbers**2 / axes, 1e-12)
        scales = np.median(squares) * np.geomspace(0.25, 4.0, _SCALES)
        each = [_likely(squares[None, :] / scales[:, None], axes, shape) - np.log(scales) for shape in _SHAPES]
        before = -0.5 * (np.log(_SHAPES / usual[0]) / usual[1]) ** 2
        likely = len(numbers) * np.array(each) + before[:, None]
        weights = np.exp(likely - likely.max())
        return Scatter(float(np.median(axes)), scales, weights / weights.sum(), len(numbers))

    def exceeded_at(self, risk: float) -> float:
        """The distance that the next one exceeds with this probability."""
        low, high = 0.0, 1e3 * math.sqrt(self.axes * float(self.scales[-1]))
        for _ in range(60):
            middle = 0.5 * (low + high)
            beyond = fdtrc(self.axes, _SHAPES[:, None], middle**2 / self.axes / self.scales)
            low, high = (middle, high) if float((self.weights * beyond).sum()) > risk else (low, middle)
        return high


def distance_at(errors: Tail, risk: float, axes: int) -> float:
    """The Mahalanobis distance that errors with this tail exceed with this probability; at least a Gaussian's."""
    return max(errors.exceeded_at(risk), gaussian_exceeded_at(risk, axes))


def length_at(errors: Tail | None, risk: float, covariance: DoubleArray) -> float:
    """The length that errors of some covariance (3, 3) exceed with this probability, in whatever direction.

    Their Mahalanobis distance has the tail, or a Gaussian's where that is longer, or there is no tail; whitened, all
    directions are alike.
    """
    errors = errors or Tail(1e-9, 1e-9, 1e-9, 0)
    number = np.arange(_DIRECTIONS) + 0.5
    up, around = 1.0 - 2.0 * number / _DIRECTIONS, math.pi * (1.0 + math.sqrt(5.0)) * number  # Fibonacci's sphere
    across = np.sqrt(1.0 - up**2)
    unit = np.stack([across * np.cos(around), across * np.sin(around), up], axis=1)
    sigma = np.sqrt(np.einsum("ni,ij,nj->n", unit, covariance, unit))
    low, high = 0.0, distance_at(errors, risk, 3) * float(np.sqrt(np.linalg.eigvalsh(covariance).max()))
    for _ in range(40):
        middle = 0.5 * (low + high)
        distance = middle / sigma
        tail = np.minimum(1.0, errors.share * np.exp(np.minimum(0.0, (errors.level - distance) / errors.scale)))
        tail = np.where(distance < errors.level, 1.0, tail)
        gaussian = erfc(distance / math.sqrt(2.0)) + math.sqrt(2.0 / math.pi) * distance * np.exp(-0.5 * distance**2)
        beyond = float(np.maximum(tail, gaussian).mean())
        low, high = (middle, high) if beyond > risk else (low, middle)
    return high


def gaussian_exceeded_at(risk: float, axes: int) -> float:
    """The Mahalanobis distance that a Gaussian of 1, 2 or 3 axes exceeds with this probability."""
    low, high = 0.0, 40.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _gaussian_beyond(middle, axes) > risk else (low, middle)
    return high


def _gaussian_beyond(distance: float, axes: int) -> float:
    if axes == 2:
        return math.exp(-0.5 * distance * distance)
    one = math.erfc(distance / math.sqrt(2.0))
    if axes == 1:
        return one
    return one + math.sqrt(2.0 / math.pi) * distance * math.exp(-0.5 * distance * distance)


def _likely(squares: DoubleArray, axes: int | DoubleArray, shape: float) -> DoubleArray:
    """Mean logarithm of the density of F, with so many and ``shape`` degrees of freedom, over the last axis."""
    half = 0.5 * np.asarray(axes, np.float64)
    density = (half - 1.0) * np.log(squares) - (half + 0.5 * shape) * np.log1p(axes * squares / shape)
    return np.asarray((half * np.log(axes / shape) - betaln(half, 0.5 * shape) + density).mean(axis=-1))


def _mean_bound(count: int) -> float:
    """What an exponential's mean of so many is multiplied by to bound it: 2n / chi2(0.05; 2n), Wilson and Hilferty."""
    k = 2.0 * count
    return float((1.0 - 2.0 / (9.0 * k) - _ONE_SIDED * math.sqrt(2.0 / (9.0 * k))) ** -3)


def _rounded_up(number: float) -> float:
    nearest = float(f"{number:.4g}")
    return nearest if nearest >= number else float(f"{number + abs(number) * 5e-4:.4g}")
