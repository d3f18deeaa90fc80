"""Chamfer, Rand loss and MMD against SciPy, plain loops and known answers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from foldmap.errors import InputError
from foldmap.metrics.street_chamfer import (
    PointSets,
    best_in_library,
    chamfer_m,
    chamfer_matrix,
    directed_chamfer_matrix,
)
from foldmap.metrics.street_clusters import rand_index, rand_loss
from foldmap.metrics.street_mmd import WORST, mmd
from foldmap.metrics.street_sampled import EMPTY_M, empty_m, sampled
from foldmap.street.graph.window import AROUND, FRONTAL
from foldmap.street.source import LaneGraph

NOTHING = np.zeros((0, 2))


def plain_directed(one: np.ndarray, other: np.ndarray, cap_m: float) -> float:
    if not len(one):
        return cap_m if len(other) else 0.0
    if not len(other):
        return cap_m
    return float(np.minimum(cdist(one, other).min(1), cap_m).mean())


def plain_chamfer(one: np.ndarray, other: np.ndarray, cap_m: float = EMPTY_M) -> float:
    return 0.5 * (plain_directed(one, other, cap_m) + plain_directed(other, one, cap_m))


def point_sets(count: int, seed: int, spread_m: float = 20.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-spread_m, spread_m, (rng.integers(0, 90), 2)) for _ in range(count)]


@pytest.mark.parametrize("spread_m", [0.3, 20.0, 3000.0])
@pytest.mark.parametrize("cap_m", [5.0, EMPTY_M, math.inf])
def test_chamfer_matrix_is_cdists(spread_m: float, cap_m: float) -> None:
    ones, others = [NOTHING, *point_sets(25, 1, spread_m)], [*point_sets(30, 2, spread_m), NOTHING]
    if math.isinf(cap_m):
        ones, others = [p for p in ones if len(p)], [p for p in others if len(p)]
    expected = [[plain_chamfer(a, b, cap_m) for b in others] for a in ones]
    found = chamfer_matrix(PointSets.of(ones), PointSets.of(others), cap_m)
    assert np.allclose(found, expected, rtol=1e-6, atol=1e-6)
    directed = [[plain_directed(a, b, cap_m) for b in others] for a in ones]
    found = directed_chamfer_matrix(PointSets.of(ones), PointSets.of(others), cap_m)
    assert np.allclose(found, directed, rtol=1e-6, atol=1e-6)


def test_chamfer_of_points_on_cell_borders_and_repeated_points() -> None:
    lattice = np.stack(np.meshgrid(np.arange(-4, 4.5, 0.5), np.arange(-4, 4.5, 0.5)), 2).reshape(-1, 2)
    rng = np.random.default_rng(3)
    ones = [lattice[rng.integers(0, len(lattice), 40)] for _ in range(20)]
    expected = [[plain_chamfer(a, b) for b in ones] for a in ones]
    assert np.allclose(chamfer_matrix(PointSets.of(ones), PointSets.of(ones)), expected, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), max_size=12),
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), max_size=12),
)
def test_chamfer_is_symmetric_and_cdists(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> None:
    a, b = np.array(one, np.float64).reshape(-1, 2), np.array(other, np.float64).reshape(-1, 2)
    assert chamfer_m(a, b) == pytest.approx(plain_chamfer(a, b), abs=1e-5)
    assert chamfer_m(a, b) == pytest.approx(chamfer_m(b, a), abs=1e-6)
    assert chamfer_m(a, a) == 0.0


def test_chamfer_of_known_graphs() -> None:
    line = np.stack([np.arange(-20.0, 21.0), np.zeros(41)], 1)
    assert chamfer_m(line, line + np.array([0.0, 3.5])) == pytest.approx(3.5)
    # half of the line missing: nothing there is far, back 0 for 21 vertices and 1, 2, ... 20 for the others
    assert chamfer_m(line[:21], line) == pytest.approx(0.5 * sum(range(21)) / 41)
    assert chamfer_m(line, NOTHING) == pytest.approx(EMPTY_M)
    assert chamfer_m(NOTHING, line) == pytest.approx(EMPTY_M)
    assert chamfer_m(NOTHING, NOTHING) == 0.0
    assert chamfer_m(line, line + 500.0) == pytest.approx(EMPTY_M)
    assert empty_m(AROUND) == pytest.approx(math.hypot(20, 20)) == pytest.approx(EMPTY_M)
    assert empty_m(FRONTAL) == pytest.approx(math.hypot(25, 25))


def test_best_in_library_is_the_least_allowed() -> None:
    queries, library = point_sets(300, 5), point_sets(40, 6)
    whole = np.array([[plain_chamfer(q, g) for g in library] for q in queries])
    rng = np.random.default_rng(7)
    allowed = rng.random(whole.shape) < 0.2
    allowed[11] = False
    best = best_in_library(PointSets.of(queries), PointSets.of(library), allowed)
    masked = np.where(allowed, whole, np.inf)
    assert np.allclose(best.chamfer_m, masked.min(1), atol=1e-5)
    answered = np.arange(300) != 11
    assert (best.index[answered] == masked[answered].argmin(1)).all()
    assert best.index[11] == -1
    assert np.isinf(best.chamfer_m[11])
    none = best_in_library(PointSets.of(queries), PointSets.of([]))
    assert (none.index == -1).all()
    with pytest.raises(InputError, match="allowed"):
        best_in_library(PointSets.of(queries), PointSets.of(library), allowed[:, :3])
    with pytest.raises(InputError, match="point set 1"):
        PointSets.of([NOTHING, np.array([[0.0, np.nan]])])


def plain_rand(one: np.ndarray, other: np.ndarray) -> float:
    pairs = [(i, j) for i in range(len(one)) for j in range(i)]
    agree = sum((one[i] == one[j]) == (other[i] == other[j]) for i, j in pairs)
    return agree / len(pairs)


def test_rand_index_counts_pairs() -> None:
    rng = np.random.default_rng(8)
    for _ in range(50):
        count, clusters = int(rng.integers(2, 30)), int(rng.integers(1, 6))
        one, other = rng.integers(0, clusters, count), rng.integers(0, 4, count)
        assert rand_index(one, other) == pytest.approx(plain_rand(one, other))
    assert rand_index(np.zeros(1, np.int64), np.zeros(1, np.int64)) == 1.0


def road(*lines: list[tuple[float, float]]) -> LaneGraph:
    return LaneGraph.from_polylines([np.array(line, np.float64) for line in lines])


def test_rand_loss_of_known_graphs() -> None:
    whole = sampled(road([(-10, 0), (10, 0)]))
    broken = sampled(road([(-10, 0), (-0.5, 0)], [(0.5, 0), (10, 0)]))
    assert rand_loss(whole, whole) == 0.0
    assert rand_loss(broken, broken) == 0.0
    # Its 20 metres fall to two pieces of 10, seen from either graph.
    halves = 1.0 - plain_rand(np.zeros(20), np.r_[np.zeros(10), np.ones(10)])
    assert rand_loss(broken, whole) == pytest.approx(halves)
    assert rand_loss(whole, broken) == rand_loss(broken, whole)
    nothing = sampled(LaneGraph.empty())
    assert (rand_loss(nothing, nothing), rand_loss(whole, nothing), rand_loss(nothing, whole)) == (0.0, 1.0, 1.0)
    # A lane that is not there at all is seen from the prediction alone.
    more = sampled(road([(-10, 0), (10, 0)], [(-10, 4), (10, 4)]))
    lonely = 1.0 - plain_rand(np.r_[np.zeros(20), np.ones(20)], np.zeros(40))
    assert rand_loss(more, whole) == pytest.approx(0.5 * lonely)
    # Lanes that cross, or end where another starts, without being joined are equal to themselves.
    touching = sampled(road([(-10, 0), (0, 0)], [(0, 0), (10, 0)], [(3, -10), (3, 10)]))
    assert rand_loss(touching, touching) == 0.0


def test_mmd_is_the_textbooks() -> None:
    def kernel(p: np.ndarray, q: np.ndarray) -> float:
        total = 0.0
        for x in p:
            for y in q:
                total += sum(math.exp(-(math.dist(x, y) ** 2) / (2 * s * s)) for s in (1.0, 2.0, 4.0, 8.0)) / 4
        return total / (len(p) * len(q))

    rng = np.random.default_rng(9)
    one, other = rng.normal(0, 8, (40, 2)), rng.normal(1, 9, (57, 2))
    expected = kernel(one, one) + kernel(other, other) - 2 * kernel(one, other)
    assert mmd(one, other) == pytest.approx(math.sqrt(expected), abs=1e-9)
    assert mmd(one, one) == pytest.approx(0.0, abs=1e-7)
    # two points far apart: each kernel mean is 1 with itself and 0 with the other
    assert mmd(np.zeros((1, 2)), np.full((1, 2), 1e3)) == pytest.approx(WORST)
    assert (mmd(NOTHING, NOTHING), mmd(one, NOTHING), mmd(NOTHING, one)) == (0.0, WORST, WORST)
