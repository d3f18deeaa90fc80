"""Maximum mean discrepancy between the vertices of two graphs (Gretton et al., JMLR 2012)."""

import math

import numpy as np
from scipy.spatial.distance import cdist

from foldmap.types import DoubleArray

BANDWIDTHS_M = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations of the Gaussians whose mean is the kernel: from the spacing of vertices to a road's width."""

WORST = math.sqrt(2.0)  # the most that two sets of points can differ with a kernel that is 1 at 0


def mmd(one_m: DoubleArray, other_m: DoubleArray) -> float:
    """Root of the biased squared discrepancy (eq. 5) of vertices at 1 m, (A, 2) and (B, 2); 0 to 1.414.

    The kernel is ``mean_s exp(-|x - y|^2 / (2 s^2))`` over `BANDWIDTHS_M`. Both empty: 0; one empty: `WORST`.
    """
    if not len(one_m) or not len(other_m):
        return WORST if len(one_m) or len(other_m) else 0.0
    squared = _kernel(one_m, one_m) + _kernel(other_m, other_m) - 2.0 * _kernel(one_m, other_m)
    return math.sqrt(max(0.0, squared))


def _kernel(one_m: DoubleArray, other_m: DoubleArray) -> float:
    """Mean of the kernel over all pairs."""
    squared = cdist(one_m, other_m, "sqeuclidean")
    return float(np.mean([np.exp(-0.5 / (s * s) * squared).mean() for s in BANDWIDTHS_M]))
