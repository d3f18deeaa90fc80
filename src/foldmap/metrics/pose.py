"""How far an estimated pose lies from the true one, and how often a drive is lost.

A query that got no answer has infinite error: it counts in every median, percentile and rate, and is never left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.errors import InputError
from foldmap.geometry import SE2, wrap_rad
from foldmap.types import DoubleArray

_INFINITE_M = 1e300  # stands in for infinity inside a percentile, where infinity would give NaN


@dataclass(frozen=True)
class PoseErrors:
    """Errors of N estimates in the true vehicle frame (x forward, y left); infinite where no pose was answered."""

    longitudinal_m: DoubleArray  # float64 (N,), signed, estimate ahead of the truth is positive
    lateral_m: DoubleArray  # float64 (N,), signed, estimate left of the truth is positive
    total_m: DoubleArray  # float64 (N,), Euclidean
    heading_rad: DoubleArray  # float64 (N,), signed, counter-clockwise is positive

    @property
    def answered(self) -> float:
        """Fraction of the queries that got a pose."""
        return float(np.isfinite(self.total_m).mean())


def pose_errors(
    world_SE2_true: Sequence[SE2], world_SE2_estimated: Sequence[SE2 | None], heading: bool = True
) -> PoseErrors:
    """Compare N estimates with the truth in the true vehicle frame; None where nothing was answered.

    Heading errors are NaN where ``heading`` is False: it was given, not estimated. Raises `InputError`: the two have
    different lengths, or are empty.
    """
    if len(world_SE2_true) != len(world_SE2_estimated) or not world_SE2_true:
        what = f"{len(world_SE2_estimated)} estimates for {len(world_SE2_true)} true poses"
        raise InputError(what, "give one estimate (or None) a true pose, and at least one")
    rows = np.full((len(world_SE2_true), 3), np.inf)
    for row, truth, estimate in zip(rows, world_SE2_true, world_SE2_estimated, strict=True):
        if estimate is not None:
            true_SE2_estimated = truth.inverse() @ estimate
            row[:] = true_SE2_estimated.x_m, true_SE2_estimated.y_m, true_SE2_estimated.heading_rad
    total_m = np.where(np.isfinite(rows[:, 0]), np.hypot(rows[:, 0], rows[:, 1]), np.inf)
    return PoseErrors(rows[:, 0], rows[:, 1], total_m, rows[:, 2] if heading else np.full(len(rows), np.nan))


def planar_difference(world_SE2_true: SE2, world_SE2_estimated: SE2) -> DoubleArray:
    """Estimate minus truth as covariances tell of it, float64 (3,): x_m and y_m in the world, heading_rad."""
    turn_rad = wrap_rad(world_SE2_estimated.heading_rad - world_SE2_true.heading_rad)
    x_m, y_m = world_SE2_estimated.x_m - world_SE2_true.x_m, world_SE2_estimated.y_m - world_SE2_true.y_m
    return np.array([x_m, y_m, turn_rad])


@dataclass(frozen=True)
class ErrorSummary:
    """The spread of absolute errors, metres; infinite where that share of the queries got no answer."""

    count: int
    median_m: float
    p95_m: float
    p99_m: float
    max_m: float


def summarize(error_m: DoubleArray) -> ErrorSummary:
    """Summarize errors (N,) by absolute value; percentiles interpolate linearly between order statistics."""
    error_m = np.abs(np.asarray(error_m, dtype=np.float64))
    if error_m.size == 0 or np.isnan(error_m).any():
        raise InputError("errors are empty or hold NaN", "give infinity for a query that was not answered")
    finite = np.where(np.isinf(error_m), _INFINITE_M, error_m)
    values = [float(v) for v in np.percentile(finite, (50, 95, 99, 100))]
    return ErrorSummary(error_m.size, *(math.inf if v > 0.01 * _INFINITE_M else v for v in values))


def top_px_accuracy(error_row_px: DoubleArray, error_col_px: DoubleArray, radius_px: int) -> float:
    """Return the fraction of estimates in the truth's pixel (radius 0, top-1 px) or 3 x 3 pixels (radius 1, top-9 px).

    Errors (N,) are estimate minus truth in map pixels (paper: section 4, matching performance, figure 4, table 1).
    """
    reach_px = radius_px + 0.5  # the truth is the centre of its pixel
    return float(((np.abs(error_row_px) <= reach_px) & (np.abs(error_col_px) <= reach_px)).mean())


def travelled_m(world_SE2_vehicle: Sequence[SE2]) -> DoubleArray:
    """Return the distance driven (N,) at each pose, from 0."""
    xy = np.array([(pose.x_m, pose.y_m) for pose in world_SE2_vehicle], dtype=np.float64).reshape(-1, 2)
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])[: len(xy)]


@dataclass(frozen=True)
class FailureRates:
    """Out-of-range rates over segments."""

    within_100_m: float  # fraction of segments lost within their first 100 m; NaN where no segment is that long
    within_500_m: float  # the same within 500 m
    at_end: float  # fraction of segments lost anywhere
    segments: int  # how many segments there were
    segment_m: float  # their length; the paper's is 1000 m


def failure_rates(
    error_m: DoubleArray, distance_m: DoubleArray, segment_m: float = 1000.0, limit_m: float = 1.0
) -> FailureRates:
    """Count segments in which the error ever exceeds a limit (tables 2 and 3 of the paper, section 4).

    A drive is cut into whole segments from its start. The paper cuts at 1 km; a drive shorter than ``segment_m`` is one
    segment of its own length, which ``segment_m`` of the result states, and a horizon that no segment reaches is NaN
    instead of a flattering zero. A remainder of half a segment or more is a segment, a shorter one is part of the last.
    Raises `InputError`: shapes differ, nothing given, NaN, distances fall, or a length that is none.

    Args:
        error_m: float64 (N,), total error a frame; infinite where nothing was answered.
        distance_m: float64 (N,), distance driven at each frame, rising.
        segment_m: length of a segment.
        limit_m: a segment fails at its first frame beyond this.
    """
    error_m, distance_m = np.abs(np.asarray(error_m, dtype=np.float64)), np.asarray(distance_m, dtype=np.float64)
    if error_m.shape != distance_m.shape or error_m.ndim != 1 or error_m.size == 0:
        raise InputError(f"errors {error_m.shape} and distances {distance_m.shape} do not pair", "give (N,) and (N,)")
    if np.isnan(error_m).any() or (np.diff(distance_m) < 0).any():
        raise InputError("errors hold NaN or distances fall", "give infinity for no answer and frames in driving order")
    if not (segment_m > 0 and limit_m >= 0):
        raise InputError(f"segments of {segment_m} m fail beyond {limit_m} m", "give positive metres")
    start_m, length_m = float(distance_m[0]), float(distance_m[-1] - distance_m[0])
    segments = max(1, math.floor(length_m / segment_m + 0.5))
    index = np.minimum(((distance_m - start_m) // segment_m).astype(int), segments - 1)
    first_failure_m = np.full(segments, np.inf)
    reached_m = np.zeros(segments)
    for segment in range(segments):
        inside = index == segment
        into_m = distance_m[inside] - start_m - segment * segment_m
        reached_m[segment] = into_m.max(initial=0.0)
        first_failure_m[segment] = into_m[error_m[inside] > limit_m].min(initial=np.inf)

    def within(horizon_m: float) -> float:
        # A segment that stopped short of the horizon proves nothing about it unless it failed on the way.
        judged = (reached_m >= horizon_m * 0.95) | (first_failure_m <= horizon_m)
        if horizon_m > max(segment_m, length_m) or not (reached_m >= horizon_m * 0.95).any():
            return math.nan
        return float((first_failure_m[judged] <= horizon_m).mean())

    at_end = float(np.isfinite(first_failure_m).mean())
    return FailureRates(within(100.0), within(500.0), at_end, segments, min(segment_m, length_m))
