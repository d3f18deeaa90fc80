"""Consistency against Gaussians drawn at random, scipy's distributions and counts by hand."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from scipy.stats import binom, kstest, multivariate_normal

from foldmap.errors import InputError
from foldmap.metrics.consistency import (
    consistency,
    level_score,
    nominal_shares,
    observed_shares,
    squared_distances,
)


def drawn(axes: int, count: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Errors with a covariance each, no two alike."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(count, axes, axes)) + 2 * np.eye(axes)
    spread = roots @ roots.transpose(0, 2, 1)
    return np.einsum("nij,nj->ni", np.linalg.cholesky(spread), rng.normal(size=(count, axes))), spread


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_errors_of_their_own_covariance_are_consistent(axes: int) -> None:
    errors, spread = drawn(axes)
    found = consistency(squared_distances(errors, spread), axes)
    assert found.within == pytest.approx(found.gaussian, abs=0.01)
    assert found.covered == pytest.approx((0.6827, 0.9545, 0.9973), abs=0.01)
    assert found.nees_low < found.nees < found.nees_high
    # what a Gaussian gives, by drawing one
    sample = multivariate_normal(np.zeros(axes)).rvs(200_000, random_state=1).reshape(-1, axes)
    length = np.linalg.norm(sample, axis=1)
    assert found.gaussian == pytest.approx([(length <= k).mean() for k in (1, 2, 3)], abs=0.005)


def test_distances_are_those_of_scipy() -> None:
    errors, spread = drawn(3, 20)
    wanted = [mahalanobis(error, np.zeros(3), np.linalg.inv(one)) for error, one in zip(errors, spread, strict=True)]
    assert np.sqrt(squared_distances(errors, spread)) == pytest.approx(wanted)


def test_sigma_too_small_by_two_is_told() -> None:
    errors, spread = drawn(2)
    found = consistency(squared_distances(errors, spread / 4), 2)
    assert found.nees == pytest.approx(4.0, rel=0.05)
    assert found.nees > found.nees_high
    assert found.within[1] == pytest.approx(found.gaussian[0], abs=0.01)
    assert found.covered[0] < 0.5


def test_nees_leaves_its_bounds_once_in_twenty() -> None:
    out = 0
    for seed in range(400):
        errors, spread = drawn(2, 30, seed)
        found = consistency(squared_distances(errors, spread), 2)
        out += not found.nees_low <= found.nees <= found.nees_high
    assert 8 <= out <= 34  # 20 expected, 4.4 a standard deviation


def test_the_calibration_curve_of_right_covariances_is_the_diagonal() -> None:
    errors, spread = drawn(3)
    squared = squared_distances(errors, spread)
    nominal = np.linspace(0.05, 0.95, 19)
    assert observed_shares(squared, 3, nominal) == pytest.approx(nominal, abs=0.015)
    assert kstest(nominal_shares(squared, 3), "uniform").pvalue > 0.01
    assert (observed_shares(squared * 9, 3, nominal) < nominal).all()


def test_levels_are_counted_and_bounded() -> None:
    errors, levels = np.array([0.1, -0.2, 0.3, 0.4]), np.array([0.2, 0.1, 0.3, 2.0])
    found = level_score(errors, levels)
    assert (found.count, found.beyond, found.share) == (4, 1, 0.25)
    assert found.ratio == pytest.approx(0.25 / 0.25)
    # Clopper and Pearson: at this share, so few would be seen with 5 % probability
    assert binom.cdf(1, 4, found.most_share) == pytest.approx(0.05)
    none = level_score(np.full(300, 0.1), np.full(300, 0.3))
    assert none.most_share == pytest.approx(1 - 0.05 ** (1 / 300))
    assert none.row("m")["median_level_m"] == pytest.approx(0.3)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(InputError, match="covariances"):
        squared_distances(np.zeros((3, 2)), np.eye(2))
    with pytest.raises(InputError, match="positive definite"):
        squared_distances(np.zeros((1, 2)), np.zeros((1, 2, 2)))
    with pytest.raises(InputError, match="axes"):
        consistency(np.zeros(0), 2)
    with pytest.raises(InputError, match="levels"):
        level_score(np.zeros(2), np.zeros(3))
