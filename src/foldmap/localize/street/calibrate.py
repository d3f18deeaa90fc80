"""Set a model's temperature and score threshold on observations whose places are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from foldmap.errors import ConfigError
from foldmap.localize.street.lane_places import LanePlaces, turn_between
from foldmap.localize.street.settings import StreetSettings
from foldmap.types import AnyArray, BoolArray, DoubleArray

_LEAST_QUERIES = 20
_BOUNDS = (1e-3, 1.0)
_PATH_SIGMA = 1.5
_INDEPENDENT = 3.0  # of ten observations in a row: neighbouring windows overlap and err alike


def near_truth(places: LanePlaces, truth: DoubleArray, radius_m: float = 3.0, turn_rad: float = 0.5) -> BoolArray:
    """Which places are near enough to count as right for each query, (Q, N); truth is (Q, 3): x_m, y_m, heading_rad."""
    apart = np.hypot(places.x_m - truth[:, :1], places.y_m - truth[:, 1:2])
    return np.asarray((apart <= radius_m) & (np.abs(turn_between(places.heading_rad, truth[:, 2:])) <= turn_rad))


def fit_temperature(similarity: AnyArray, near: BoolArray, length_m: DoubleArray) -> float:
    """The temperature under which the right places are most probable: least mean ``-log P(near)``.

    Similarity (Q, N) is of each query to each place; queries without a right place (`near_truth`) are left out. The
    lengths (N,) of the places are the prior.
    """
    if similarity.shape != near.shape or length_m.shape != near.shape[1:]:
        raise ConfigError(f"similarities {similarity.shape}, right places {near.shape}", "give (Q, N) of both")
    known = near.any(1)
    if int(known.sum()) < _LEAST_QUERIES:
        raise ConfigError(f"{int(known.sum())} queries with a known place", f"calibrate with {_LEAST_QUERIES} or more")
    scores, right = np.asarray(similarity, np.float64)[known], near[known]
    prior = np.log(length_m / length_m.sum())

    def loss(log_temperature: float) -> float:
        logits = scores / np.exp(log_temperature) + prior
        found = logsumexp(np.where(right, logits, -np.inf), axis=1)
        return float(np.mean(logsumexp(logits, axis=1) - found))

    coarse = np.linspace(np.log(_BOUNDS[0]), np.log(_BOUNDS[1]), 15)
    best = int(np.argmin([loss(t) for t in coarse]))
    low, high = coarse[max(0, best - 1)], coarse[min(len(coarse) - 1, best + 1)]
    fitted = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(fitted.x))


def calibrated(
    settings: StreetSettings, similarity: AnyArray, near: BoolArray, length_m: DoubleArray
) -> StreetSettings:
    """Settings with a temperature, a score threshold that 1 % of the right matches miss, and one for a whole path.

    A wrong map whose streets look like the right one's passes this threshold: no score tells them apart, the mass of
    the belief does.
    """
    temperature = fit_temperature(similarity, near, length_m)
    best = np.where(near, similarity, -np.inf).max(1)[near.any(1)]
    path = float(best.mean() - _PATH_SIGMA * best.std() / math.sqrt(_INDEPENDENT))
    thresholds = replace(settings.thresholds, reject_score=float(np.quantile(best, 0.01)), reject_path_score=path)
    return replace(settings, temperature=temperature, thresholds=thresholds)
