"""Product quantization against plain nearest centroids, FAISS's own quantizer and its mathematical properties."""

from typing import Any

import faiss
import numpy as np
import pytest

from foldmap.coding.pq import ProductQuantizer, one_thread
from foldmap.errors import ConfigError, MapInputError, ModelError
from foldmap.types import FloatArray


def vectors(count: int = 2000, dimension: int = 16, seed: int = 0) -> FloatArray:
    """Clustered, correlated unit vectors."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(dimension, dimension)) * np.linspace(2, 0.1, dimension)
    centres = random.normal(size=(50, dimension))
    rows = (centres[random.integers(0, 50, count)] + 0.3 * random.normal(size=(count, dimension))) @ mixing.T
    unit: FloatArray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def plain_encode(books: FloatArray, rows: FloatArray) -> FloatArray:
    """Distances to each centroid by a loop over the parts, (N, M, K)."""
    step = books.shape[2]
    parts = [rows[:, m * step : (m + 1) * step].astype(np.float64) for m in range(len(books))]
    return np.stack(
        [((part[:, None] - book[None]) ** 2).sum(2) for part, book in zip(parts, books, strict=True)], axis=1
    )


@pytest.mark.parametrize(("parts", "centroids"), [(1, 256), (2, 100), (4, 16), (16, 3), (4, 1)])
def test_codes_are_nearest_centroids(parts: int, centroids: int) -> None:
    rows = vectors()
    quantizer = ProductQuantizer.fit(rows, parts, centroids, iterations=5)
    codes = quantizer.encode(rows)
    assert codes.shape == (len(rows), parts)
    assert codes.dtype == np.uint8
    away = plain_encode(quantizer.codebooks, rows)
    chosen = np.take_along_axis(away, codes[..., None].astype(int), axis=2)[..., 0]
    np.testing.assert_allclose(chosen, away.min(axis=2), atol=1e-5)
    decoded = quantizer.decode(codes)
    np.testing.assert_allclose(((rows - decoded) ** 2).sum(1), chosen.sum(1), atol=1e-5)
    assert (quantizer.parts, quantizer.centroids, quantizer.dimension) == (parts, centroids, 16)


def test_as_good_as_faiss() -> None:
    rows = vectors(4000)
    theirs: Any = faiss.ProductQuantizer(16, 4, 6)  # its stubs describe the C++ methods
    theirs.train(rows)
    their_error = ((rows - theirs.decode(theirs.compute_codes(rows))) ** 2).sum(1).mean()
    ours = ProductQuantizer.fit(rows, 4, 64)
    our_error = ((rows - ours.decode(ours.encode(rows))) ** 2).sum(1).mean()
    assert our_error < 1.03 * their_error
    same_books = ProductQuantizer(faiss.vector_to_array(theirs.centroids).reshape(4, 64, 4).copy())
    np.testing.assert_allclose(same_books.decode(same_books.encode(rows)), theirs.decode(theirs.compute_codes(rows)))


def test_rotation_keeps_lengths_and_helps() -> None:
    rows = vectors(4000)
    plain = ProductQuantizer.fit(rows, 4, 32)
    turned = ProductQuantizer.fit(rows, 4, 32, rotate=True)
    assert turned.rotation is not None
    np.testing.assert_allclose(turned.rotation @ turned.rotation.T, np.eye(16), atol=1e-5)
    error = [((rows - one.decode(one.encode(rows))) ** 2).sum(1).mean() for one in (plain, turned)]
    assert error[1] < 0.8 * error[0]


def test_same_seed_same_codebooks_whatever_the_threads() -> None:
    rows = vectors(3000)
    first = ProductQuantizer.fit(rows, 4, 64, seed=3)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        again = ProductQuantizer.fit(rows, 4, 64, seed=3)
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)
    np.testing.assert_array_equal(first.codebooks, again.codebooks)
    assert not np.array_equal(first.codebooks, ProductQuantizer.fit(rows, 4, 64, seed=4).codebooks)


def test_fewer_vectors_than_centroids_are_kept_whole() -> None:
    rows = vectors(7)
    quantizer = ProductQuantizer.fit(rows, 4)
    assert quantizer.centroids == 7
    np.testing.assert_array_equal(quantizer.decode(quantizer.encode(rows)), rows)


def test_nothing_to_encode() -> None:
    quantizer = ProductQuantizer.fit(vectors(50), 4, 8)
    codes = quantizer.encode(np.zeros((0, 16), np.float32))
    assert codes.shape == (0, 4)
    assert quantizer.decode(codes).shape == (0, 16)


@pytest.mark.parametrize(
    ("rows", "parts", "centroids", "error", "says"),
    [
        (vectors(50), 3, 8, ConfigError, "16 values do not split into 3"),
        (vectors(50), 0, 8, ConfigError, "split into 0"),
        (vectors(50), 4, 257, ConfigError, "257 centroids"),
        (vectors(50), 4, 0, ConfigError, "0 centroids"),
        (vectors(0), 4, 8, MapInputError, "no vector"),
        (np.full((9, 16), np.nan), 4, 8, MapInputError, "vector 0 has NaN"),
        (np.zeros(16), 4, 8, MapInputError, "shape"),
    ],
)
def test_bad_input_is_named(rows: FloatArray, parts: int, centroids: int, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ProductQuantizer.fit(rows, parts, centroids)


def test_foreign_codes_and_codebooks_are_refused() -> None:
    quantizer = ProductQuantizer.fit(vectors(50), 4, 8)
    with pytest.raises(ModelError, match="names none of 8"):
        quantizer.decode(np.full((2, 4), 8, np.uint8))
    with pytest.raises(ModelError, match="not uint8"):
        quantizer.decode(np.zeros((2, 4), np.int64))
    with pytest.raises(ModelError, match="not uint8"):
        quantizer.decode(np.zeros((2, 3), np.uint8))
    with pytest.raises(ModelError, match="do not fit"):
        quantizer.encode(np.zeros((2, 15), np.float32))
    with pytest.raises(ModelError, match="not float32"):
        ProductQuantizer(np.zeros((2, 300, 4), np.float32))
    with pytest.raises(ModelError, match="NaN"):
        ProductQuantizer(np.full((2, 3, 4), np.nan, np.float32))
    with pytest.raises(ModelError, match="not orthogonal"):
        ProductQuantizer(np.zeros((2, 3, 4), np.float32), np.ones((8, 8), np.float32))
    with pytest.raises(ModelError, match="rotation is"):
        ProductQuantizer(np.zeros((2, 3, 4), np.float32), np.eye(4, dtype=np.float32))


def test_threads_come_back_after_an_error() -> None:
    before = faiss.omp_get_max_threads()
    with pytest.raises(ValueError, match="stop"), one_thread():
        raise ValueError("stop")
    assert faiss.omp_get_max_threads() == before
