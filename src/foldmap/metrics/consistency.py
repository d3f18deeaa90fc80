"""Whether errors are what a covariance says, and whether they stay under their protection levels.

Errors and covariances are of one kind a call: positions (2 or 3 axes), headings (1) or rotation vectors (3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import beta, chi2, norm

from foldmap.errors import InputError
from foldmap.types import AnyArray, DoubleArray

SIGMAS = (1.0, 2.0, 3.0)
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Consistency:
    """Errors of N answers against their covariances.

    Attributes:
        count: N.
        axes: of an error.
        within: share of errors whose Mahalanobis distance is at most 1, 2, 3.
        gaussian: the shares that a Gaussian of so many axes has there.
        covered: share of errors in the regions that hold 68.3, 95.4 and 99.7 % of it: its 1, 2 and 3 sigma, whatever
            the number of axes.
        nees: mean squared Mahalanobis distance an axis (normalized estimation error squared over axes); 1 is right.
        nees_low, nees_high: between these it lies in 95 % of the cases where the covariances are right and the errors
            independent.
    """

    count: int
    axes: int
    within: tuple[float, ...]
    gaussian: tuple[float, ...]
    covered: tuple[float, ...]
    nees: float
    nees_low: float
    nees_high: float

    def row(self) -> dict[str, Any]:
        """As a row of a table, shares in percent."""
        shares = {f"within_{k:g}_sigma_pct": 100.0 * share for k, share in zip(SIGMAS, self.within, strict=True)}
        same = {f"gaussian_{k:g}_sigma_pct": 100.0 * share for k, share in zip(SIGMAS, self.gaussian, strict=True)}
        bounds = {"nees": self.nees, "nees_low": self.nees_low, "nees_high": self.nees_high}
        return {"answers": self.count, "axes": self.axes, **shares, **same, **bounds}


def squared_distances(errors: AnyArray, covariances: AnyArray) -> DoubleArray:
    """Squared Mahalanobis distances (N,) of errors (N, K) by their covariances (N, K, K); K axes.

    Raises:
        InputError: shapes disagree, or a covariance is not positive definite.
    """
    values, spread = np.asarray(errors, np.float64), np.asarray(covariances, np.float64)
    if values.ndim != 2 or spread.shape != (*values.shape, values.shape[1]):
        raise InputError(f"errors {values.shape} and covariances {spread.shape}", "give (N, K) and (N, K, K)")
    try:
        roots = np.linalg.cholesky(spread)
    except np.linalg.LinAlgError as error:
        raise InputError("a covariance is not positive definite", "give the covariance of each answer") from error
    whitened = np.linalg.solve(roots, values[:, :, None])[:, :, 0]
    return np.asarray((whitened**2).sum(axis=1))


def nominal_shares(squared: AnyArray, axes: int) -> DoubleArray:
    """Share (N,) of a Gaussian of so many axes that lies nearer than each squared Mahalanobis distance."""
    return np.asarray(chi2.cdf(np.asarray(squared, np.float64), axes))


def observed_shares(squared: AnyArray, axes: int, nominal: AnyArray) -> DoubleArray:
    """Share of the errors inside the regions that hold the nominal shares (M,) of a Gaussian: the calibration curve."""
    inside = np.sort(nominal_shares(squared, axes))
    return np.asarray(np.searchsorted(inside, np.asarray(nominal, np.float64), side="right") / max(len(inside), 1))


def consistency(squared: AnyArray, axes: int) -> Consistency:
    """Judge squared Mahalanobis distances (N,) of errors with so many axes; an `InputError` where there are none."""
    values = np.asarray(squared, np.float64)
    if values.ndim != 1 or not len(values) or np.isnan(values).any() or axes < 1:
        raise InputError(f"distances {values.shape} of {axes} axes", "give one of each answered query, of 1 or more")
    reach = np.array(SIGMAS)
    tails = (0.5 * (1.0 - _CONFIDENCE), 0.5 * (1.0 + _CONFIDENCE))
    low, high = (float(bound) for bound in chi2.ppf(tails, len(values) * axes) / (len(values) * axes))
    return Consistency(
        len(values),
        axes,
        tuple(float((values <= k * k).mean()) for k in reach),
        tuple(float(share) for share in chi2.cdf(reach**2, axes)),
        tuple(float(share) for share in observed_shares(values, axes, 1.0 - 2.0 * norm.sf(reach))),
        float(values.mean()) / axes,
        low,
        high,
    )


@dataclass(frozen=True)
class LevelScore:
    """Errors of N answers against their protection levels.

    Attributes:
        count: N.
        beyond: how many errors exceed their level.
        share, most_share: of them, and the upper bound (95 %, Clopper and Pearson) of the share that this is evidence
            of.
        median_error, median_level: in the unit of both.
    """

    count: int
    beyond: int
    share: float
    most_share: float
    median_error: float
    median_level: float

    @property
    def ratio(self) -> float:
        """Median level over median error; what the safety costs."""
        return self.median_level / self.median_error if self.median_error > 0 else math.inf

    def row(self, unit: str = "") -> dict[str, Any]:
        """As a row of a table; the name of the unit ends the keys of lengths."""
        end = f"_{unit}" if unit else ""
        return {
            "levels": self.count,
            "beyond_level": self.beyond,
            "beyond_level_pct": 100.0 * self.share,
            "beyond_level_most_pct": 100.0 * self.most_share,
            f"median_error{end}": self.median_error,
            f"median_level{end}": self.median_level,
            "level_over_error": self.ratio,
        }


def level_score(errors: AnyArray, levels: AnyArray) -> LevelScore:
    """Hold absolute errors (N,) against protection levels (N,) of the same unit.

    Raises:
        InputError: shapes differ, there are none, or one is NaN.
    """
    off, bound = np.abs(np.asarray(errors, np.float64)), np.asarray(levels, np.float64)
    if off.ndim != 1 or off.shape != bound.shape or not len(off) or np.isnan(off).any() or np.isnan(bound).any():
        raise InputError(f"errors {off.shape} and levels {bound.shape}", "give one of each for every answered query")
    count, beyond = len(off), int((off > bound).sum())
    most = 1.0 if beyond == count else float(beta.ppf(_CONFIDENCE, beyond + 1, count - beyond))
    return LevelScore(count, beyond, beyond / count, most, float(np.median(off)), float(np.median(bound)))
