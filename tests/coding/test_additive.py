"""Additive quantization against exhaustive search, least squares by SciPy and product quantization at equal bytes."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import lsqr

from foldmap.coding.additive import AdditiveQuantizer
from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import ConfigError, MapInputError, ModelError
from foldmap.types import FloatArray


def vectors(count: int = 2000, dimension: int = 16) -> FloatArray:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(dimension, dimension)) * np.linspace(2, 0.1, dimension)
    rows = random.normal(size=(count, dimension)) @ mixing.T
    return rows.astype(np.float32)


def error(rows: FloatArray, decoded: FloatArray) -> float:
    return float(((rows.astype(np.float64) - decoded) ** 2).sum(1).mean())


def test_a_full_beam_is_exhaustive_search() -> None:
    rows = vectors(60, 5)
    books = np.random.default_rng(1).normal(size=(3, 6, 5)).astype(np.float32) * 2
    quantizer = AdditiveQuantizer(books)
    sums = np.array([sum(books[m, k] for m, k in enumerate(chosen)) for chosen in product(range(6), repeat=3)])
    best = ((rows[:, None].astype(np.float64) - sums[None]) ** 2).sum(2).min(1)
    decoded = quantizer.decode(quantizer.encode(rows, beam=36))
    np.testing.assert_allclose(((rows - decoded) ** 2).sum(1), best, rtol=1e-3, atol=1e-4)
    greedy = error(rows, quantizer.decode(quantizer.encode(rows, beam=1)))
    eight = error(rows, quantizer.decode(quantizer.encode(rows, beam=8)))
    assert greedy > eight >= best.mean() - 1e-4


def test_greedy_codes_are_nearest_centroids_of_what_is_left() -> None:
    rows = vectors(100, 5)
    quantizer = AdditiveQuantizer.fit(rows, 3, 8)
    codes = quantizer.encode(rows, beam=1)
    left = rows.astype(np.float64)
    for number, book in enumerate(quantizer.codebooks):
        away = ((left[:, None] - book[None]) ** 2).sum(2)
        chosen = away[np.arange(len(rows)), codes[:, number]]
        np.testing.assert_allclose(chosen, away.min(1), rtol=1e-3, atol=1e-4)
        left = left - book[codes[:, number]]
    np.testing.assert_allclose(quantizer.decode(codes), rows - left, atol=1e-4)


def test_refitting_is_least_squares() -> None:
    rows = vectors(500, 4)
    quantizer = AdditiveQuantizer.fit(rows, 2, 8, rounds=0)
    codes = quantizer.encode(rows)
    refitted = quantizer.refitted(rows, codes)
    chosen = sparse.csr_matrix(
        (np.ones(1000), (np.repeat(np.arange(500), 2), (codes + np.array([0, 8])).ravel())), shape=(500, 16)
    )
    least = [chosen @ lsqr(chosen, rows[:, axis].astype(np.float64), atol=1e-12, btol=1e-12)[0] for axis in range(4)]
    assert error(rows, refitted.decode(codes)) < error(rows, quantizer.decode(codes))
    assert error(rows, refitted.decode(codes)) == pytest.approx(error(rows, np.stack(least, 1)), rel=1e-3)


def test_better_than_product_quantization_at_equal_bytes() -> None:
    rows = vectors()
    plain, turned = (ProductQuantizer.fit(rows, 4, 32, rotate=rotate) for rotate in (False, True))
    added = AdditiveQuantizer.fit(rows, 4, 32)
    errors = [error(rows, one.decode(one.encode(rows))) for one in (plain, turned, added)]
    assert errors[2] < 0.9 * errors[1] < 0.9 * errors[0]


def test_same_seed_same_codebooks() -> None:
    rows = vectors(500)
    first, again = (AdditiveQuantizer.fit(rows, 2, 16, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.codebooks, again.codebooks)
    assert not np.array_equal(first.codebooks, AdditiveQuantizer.fit(rows, 2, 16, seed=2).codebooks)


def test_few_vectors_and_none() -> None:
    rows = vectors(5)
    quantizer = AdditiveQuantizer.fit(rows, 3)
    assert quantizer.codebooks.shape == (3, 5, 16)
    assert error(rows, quantizer.decode(quantizer.encode(rows))) < 0.05 * error(rows, np.zeros_like(rows))
    assert quantizer.encode(rows[:0]).shape == (0, 3)
    assert quantizer.decode(quantizer.encode(rows[:0])).shape == (0, 16)


def test_bad_input_is_named() -> None:
    rows = vectors(50)
    cases: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: AdditiveQuantizer.fit(rows, 0), ConfigError, "0 codebooks"),
        (lambda: AdditiveQuantizer.fit(rows, 2, 257), ConfigError, "257 centroids"),
        (lambda: AdditiveQuantizer.fit(rows[:0], 2), MapInputError, "no vector"),
        (lambda: AdditiveQuantizer.fit(rows * np.float32("nan"), 2), MapInputError, "vector 0 has NaN"),
        (lambda: AdditiveQuantizer(np.zeros((2, 300, 4), np.float32)), ModelError, "not float32"),
        (lambda: AdditiveQuantizer(np.full((2, 3, 4), np.inf, np.float32)), ModelError, "infinite"),
    ]
    for bad, error_type, says in cases:
        with pytest.raises(error_type, match=says):
            bad()
    quantizer = AdditiveQuantizer.fit(rows, 2, 8)
    with pytest.raises(ModelError, match="names none of 8"):
        quantizer.decode(np.full((2, 2), 8, np.uint8))
    with pytest.raises(ModelError, match="not uint8"):
        quantizer.decode(np.zeros((2, 3), np.uint8))
    with pytest.raises(ModelError, match="do not fit"):
        quantizer.encode(np.zeros((2, 15), np.float32))
    with pytest.raises(ConfigError, match="beam of 0"):
        quantizer.encode(rows, beam=0)
