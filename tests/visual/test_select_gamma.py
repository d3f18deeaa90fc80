"""Gamma of equation 2 against a general QP solver, dense twins and its own promises."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from benchmarks.visual.selection import clumped
from foldmap.errors import ConfigError
from foldmap.visual.select.frank_wolfe import cells_of, kernel_times
from foldmap.visual.select.gamma import gamma


def clusters(points: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sheets of very different density, as structure from motion leaves them, and how distinctive each point is."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 12, points)
    spread = 10 ** rng.uniform(-1, 0.7, 12)
    xyz = rng.uniform(0, 20, (12, 3))[which] + rng.normal(size=(points, 3)) * spread[which, None] * [1, 1, 0.1]
    return xyz, (3 + rng.geometric(0.2, points)) / 100


def dense_kernel(points: np.ndarray, bandwidth: float) -> np.ndarray:
    r = np.minimum(cdist(points, points) / bandwidth, 1)
    return (1 - r) ** 4 * (4 * r + 1)


@pytest.mark.parametrize(
    ("points", "alpha", "tau", "bandwidth"),
    [(200, 0.1, 0.0, 3.0), (200, 0.23, 0.05, 6.0), (400, 0.5, 0.02, 1.0), (1000, 0.05, 0.2, 4.0), (300, 1.0, 0.1, 2.0)],
)
def test_the_optimum_is_that_of_a_qp_solver(points: int, alpha: float, tau: float, bandwidth: float) -> None:
    osqp = pytest.importorskip("osqp")
    xyz, distinct = clusters(points, seed=points)
    kernel, cap = dense_kernel(xyz, bandwidth), 1 / (alpha * points)
    solver = osqp.OSQP()
    solver.setup(
        sparse.csc_matrix(np.triu(2 * kernel)),
        -tau * distinct,
        sparse.vstack([np.ones((1, points)), sparse.eye(points)], format="csc"),
        np.r_[1.0, np.zeros(points)],
        np.r_[1.0, np.full(points, cap)],
        eps_abs=1e-9,
        eps_rel=1e-9,
        max_iter=100_000,
        verbose=False,
    )
    best = float(solver.solve(raise_error=True).info.obj_val)
    got = gamma(xyz, distinct, alpha=alpha, tau=tau, bandwidth_world=bandwidth, tolerance=1e-7)
    v = got.weight
    assert abs(v.sum() - 1) < 1e-9
    assert v.min() >= 0
    assert v.max() <= cap * (1 + 1e-9)
    assert got.objective == pytest.approx(v @ kernel @ v - tau * distinct @ v, abs=1e-10)
    assert got.objective == pytest.approx(best, abs=2e-6 * float(v @ kernel @ v) + 1e-8)
    assert got.gap <= 1e-7 * float(v @ kernel @ v) + 1e-12
    assert len(got.kept) == max(1, int(alpha * points + 1e-9))


def test_the_gap_bounds_what_is_missing_when_stopped_early() -> None:
    xyz, distinct = clusters(600, seed=3)
    exact = gamma(xyz, distinct, count=60, bandwidth_world=3.0, tolerance=1e-9)
    early = gamma(xyz, distinct, count=60, bandwidth_world=3.0, max_steps=20)
    assert early.iterations == 20
    assert exact.objective < early.objective <= exact.objective + early.gap


@pytest.mark.parametrize("bandwidth", [0.01, 1.0, 7.0, 1000.0])
def test_kernel_products_on_the_grid_are_those_of_the_dense_matrix(bandwidth: float) -> None:
    xyz, _ = clusters(300, seed=1)
    xyz[0] = [1e7, -1e7, 3e6]  # an outlier as triangulation makes them
    v = np.random.default_rng(2).random(300) * (np.arange(300) % 3 > 0)
    cells = cells_of(xyz, bandwidth)
    got = np.empty(300)
    got[cells.order] = kernel_times(cells.xyz, cells.first, cells.cell, cells.runs, v[cells.order])
    np.testing.assert_allclose(got, dense_kernel(xyz, bandwidth) @ v, atol=1e-6)


def coverage_of(xyz: np.ndarray, kept: np.ndarray) -> tuple[float, float]:
    near, _ = cKDTree(xyz[kept]).query(xyz)
    return float(near.mean()), float(np.percentile(near, 95))


def test_the_kernel_spreads_points_and_the_matrix_of_distances_clumps_them() -> None:
    xyz, distinct = clusters(3000, seed=5)
    random = np.random.default_rng(0).permutation(3000)[:300]
    kernel, literal = gamma(xyz, distinct, count=300), clumped(xyz, distinct, 300)
    assert coverage_of(xyz, kernel.kept)[0] < coverage_of(xyz, random)[0]
    assert coverage_of(xyz, kernel.kept)[1] < coverage_of(xyz, random)[1]
    assert coverage_of(xyz, literal)[1] > 3 * coverage_of(xyz, random)[1]


def test_the_literal_reading_is_a_local_optimum_of_the_concave_problem() -> None:
    xyz, distinct = clusters(400, seed=6)
    kept = clumped(xyz, distinct, 40, tau=0.01)
    gradient = 2 * cdist(xyz, xyz[kept]).mean(1) / cdist(xyz, xyz).mean() - 0.01 * distinct
    assert set(np.argsort(gradient)[:40]) == set(kept)


def test_distinctive_points_are_preferred_more_the_larger_tau() -> None:
    xyz, distinct = clusters(2000, seed=7)
    means = [distinct[gamma(xyz, distinct, count=200, tau=tau).kept].mean() for tau in (0.0, 0.05, 0.5)]
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize("count", [1, 7, 999, 1000])
def test_exactly_as_many_points_as_asked_for_and_the_same_each_time(count: int) -> None:
    xyz, distinct = clusters(1000, seed=8)
    xyz[500:] = xyz[:500]  # doubled points
    got = gamma(xyz, distinct, count=count)
    assert got.kept.dtype == np.int64
    assert got.kept.max() < 1000
    assert len(np.unique(got.kept)) == count
    assert (np.diff(got.kept) > 0).all()
    again = gamma(xyz, distinct, count=count)
    np.testing.assert_array_equal(again.kept, got.kept)
    np.testing.assert_array_equal(again.weight, got.weight)


def test_systematic_rounding_gives_every_region_its_share() -> None:
    xyz, distinct = clusters(2000, seed=9)
    side = xyz[:, 0] > np.median(xyz[:, 0])
    xyz[side, 0] += 1000.0
    got = gamma(xyz, distinct, count=150, bandwidth_world=2.0)
    assert abs(side[got.kept].sum() - 150 * got.weight[side].sum()) <= 1


def test_scale_and_place_of_the_world_do_not_matter() -> None:
    xyz, distinct = clusters(800, seed=10)
    one, other = gamma(xyz, distinct, count=80), gamma(xyz * 256.0 + 1024.0, distinct, count=80)
    assert other.objective == pytest.approx(one.objective, rel=1e-4)


def test_unusable_input_is_named() -> None:
    xyz, distinct = clusters(50, seed=11)
    for count in (0, 51, -1, 2.5, True):
        with pytest.raises(ConfigError, match=r"of 50 points"):
            gamma(xyz, distinct, count=count)  # type: ignore[arg-type]
    for alpha in (0.0, 1.01, -0.5, float("nan")):
        with pytest.raises(ConfigError, match="alpha"):
            gamma(xyz, distinct, alpha=alpha)
    for count, alpha in ((None, None), (5, 0.1)):
        with pytest.raises(ConfigError, match="either a count or alpha"):
            gamma(xyz, distinct, count=count, alpha=alpha)
