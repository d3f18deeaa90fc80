"""Which rank the right place has among the answers, and how far the best answer is from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.errors import InputError
from foldmap.geometry import SE2
from foldmap.metrics.pose import pose_errors, summarize
from foldmap.types import AnyArray, DoubleArray, IntArray

LOCALIZATION_M = (1.0, 3.0, 5.0, 10.0)  # recall of localization is counted within these


def true_ranks(similarity: AnyArray, true_index: IntArray) -> IntArray:
    """Rank of the true library entry of each query, from 1; those as similar as it are before it.

    ``similarity`` is (Q, N), higher is nearer, ``true_index`` int64 (Q,); `InputError` where they do not pair, or NaN.
    """
    if similarity.ndim != 2 or true_index.shape != (len(similarity),) or np.isnan(similarity).any():
        raise InputError(f"similarities {similarity.shape} for {true_index.shape} truths", "give (Q, N) without NaN")
    own = np.take_along_axis(similarity, true_index[:, None], 1)
    return np.asarray((similarity >= own).sum(1))


@dataclass(frozen=True)
class LocalizationScores:
    """Localization of N queries; one without an answer is infinitely far.

    Absolute heading errors are of those answered within 10 m (elsewhere a heading means nothing); NaN if there is none.
    """

    count: int
    answered: float  # share with a pose
    recall: dict[float, float]  # share within each distance of `LOCALIZATION_M`
    median_m: float  # of the distances, all queries
    p95_m: float
    heading_median_deg: float
    heading_p95_deg: float


def localization_recall(error_m: DoubleArray, within_m: Sequence[float] = LOCALIZATION_M) -> dict[float, float]:
    """Share of errors (N,) at most so large; infinite ones are misses, none at all or NaN an `InputError`."""
    if not len(error_m) or np.isnan(error_m).any():
        raise InputError("errors are empty or hold NaN", "give infinity for a query that was not answered")
    return {limit: float((np.abs(error_m) <= limit).mean()) for limit in within_m}


def localization_scores(world_SE2_true: Sequence[SE2], world_SE2_estimated: Sequence[SE2 | None]) -> LocalizationScores:
    """Score estimates; None where nothing was answered.

    Raises `InputError`: the two have different lengths, or are empty.
    """
    errors = pose_errors(world_SE2_true, world_SE2_estimated)
    spread = summarize(errors.total_m)
    heading_deg = np.degrees(np.abs(errors.heading_rad[errors.total_m <= max(LOCALIZATION_M)]))
    median, p95 = (float(v) for v in np.percentile(heading_deg, (50, 95))) if len(heading_deg) else (math.nan, math.nan)
    return LocalizationScores(
        count=spread.count,
        answered=errors.answered,
        recall=localization_recall(errors.total_m),
        median_m=spread.median_m,
        p95_m=spread.p95_m,
        heading_median_deg=median,
        heading_p95_deg=p95,
    )
