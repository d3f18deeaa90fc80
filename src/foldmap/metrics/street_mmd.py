"""Maximum mean discrepancy between the vertices of two graphs (Gretton et al., JMLR 2012)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit

from foldmap.errors import ConfigError
from foldmap.types import DoubleArray

BANDWIDTHS_M = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations of the Gaussians whose mean is the kernel: from the spacing of vertices to a road's width."""

WORST = math.sqrt(2.0)
"""The most that two sets of points can differ with a kernel that is 1 at 0."""


def mmd_squared(
    one_m: DoubleArray, other_m: DoubleArray, bandwidths_m: Sequence[float] = BANDWIDTHS_M, unbiased: bool = False
) -> float:
    """Squared maximum mean discrepancy with the kernel ``mean_s exp(-|x - y|^2 / (2 s^2))``.

    Args:
        one_m: float64 (A, 2), A > 0; A > 1 if unbiased.
        other_m: float64 (B, 2), the same.
        bandwidths_m: the s, metres.
        unbiased: leave out each point with itself (eq. 3 of Gretton et al.; may be negative) instead of the biased
            estimate (eq. 5; at least 0, and 0 for the same points).

    Raises:
        ConfigError: no bandwidth or one that is not positive, or too few points.
    """
    if not bandwidths_m or not all(s > 0 and math.isfinite(s) for s in bandwidths_m):
        raise ConfigError(f"bandwidths of {tuple(bandwidths_m)} m", "give positive lengths")
    if min(len(one_m), len(other_m)) < (2 if unbiased else 1):
        raise ConfigError(
            f"a discrepancy of {len(one_m)} and {len(other_m)} points",
            "give a point each, two each if unbiased; `mmd` takes empty graphs",
        )
    rates = np.array([-0.5 / (s * s) for s in bandwidths_m])
    one, other = np.ascontiguousarray(one_m, np.float64), np.ascontiguousarray(other_m, np.float64)
    a, b = len(one), len(other)
    across = _kernel_sum(one, other, rates) / (a * b)
    inside_one, inside_other = _kernel_sum(one, one, rates), _kernel_sum(other, other, rates)
    if unbiased:
        return float((inside_one - a) / (a * (a - 1)) + (inside_other - b) / (b * (b - 1)) - 2.0 * across)
    return max(0.0, float(inside_one / (a * a) + inside_other / (b * b) - 2.0 * across))


def mmd(one_m: DoubleArray, other_m: DoubleArray, bandwidths_m: Sequence[float] = BANDWIDTHS_M) -> float:
    """Root of the biased squared discrepancy, 0 to 1.414. Both empty: 0; one empty: `WORST`.

    Args:
        one_m: float64 (A, 2), vertices at 1 m.
        other_m: float64 (B, 2).
        bandwidths_m: see `mmd_squared`.
    """
    if not len(one_m) or not len(other_m):
        return WORST if len(one_m) or len(other_m) else 0.0
    return math.sqrt(mmd_squared(one_m, other_m, bandwidths_m))


@njit(cache=True, nogil=True)
def _kernel_sum(one, other, rates):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(len(one)):
        for j in range(len(other)):
            dx, dy = one[i, 0] - other[j, 0], one[i, 1] - other[j, 1]
            d = dx * dx + dy * dy
            for rate in rates:
                if rate * d > -40.0:  # below, a share of 4e-18
                    total += np.exp(rate * d)
    return total / len(rates)
