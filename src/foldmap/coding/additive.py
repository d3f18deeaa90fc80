"""Additive quantization: a vector as M bytes, the sum of one full-length centroid from each of M codebooks.

    vector (D) --beam search over the codebooks--> M bytes --sum of M centroids--> vector (D)

At equal bytes it errs less than product quantization, whose parts cannot share what they know of each other, and its
codebooks are M times as large. Encoding searches; decoding is as plain as a lookup. (Chen et al. 2010, residual vector
quantization; Babenko and Lempitsky 2014, additive quantization and its least-squares codebooks.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse

from foldmap.coding.pq import MAX_CENTROIDS, check_codebooks, check_codes, checked_vectors, one_thread, sample_of
from foldmap.errors import ConfigError, MapInputError, ModelError
from foldmap.types import AnyArray, ByteArray, FloatArray

BEAM = 8
_ROWS = 2048
_HOLD = 0.1  # pull of a refitted centroid towards where it was, in vectors: one that no vector uses stays


@dataclass(frozen=True)
class AdditiveQuantizer:
    """M codebooks of K <= 256 centroids as long as the vectors: finite float32 (M, K, D), else it is a ModelError."""

    codebooks: FloatArray

    def __post_init__(self) -> None:
        check_codebooks(self.codebooks)

    @classmethod
    def fit(
        cls,
        vectors: AnyArray,
        books: int,
        centroids: int = 256,
        *,
        seed: int = 0,
        iterations: int = 10,
        rounds: int = 12,
    ) -> AdditiveQuantizer:
        """Train codebooks: k-means of what the codebooks before leave, then rounds of encoding and least squares.

        Args:
            vectors: finite, (N, D).
            books: M, bytes a vector.
            centroids: K, at most 256; K = N when there are fewer vectors.
            seed: of k-means and of the sample of at most 256 K vectors that everything is fitted to.
            iterations: of k-means.
            rounds: of refitting all codebooks together to the codes that beam search gives.
        """
        import faiss  # decoding does without

        rows = checked_vectors(vectors)
        if books < 1 or not 1 <= centroids <= MAX_CENTROIDS:
            raise ConfigError(f"{books} codebooks of {centroids} centroids", f"take 1 to {MAX_CENTROIDS} centroids")
        if not len(rows):
            raise MapInputError("there is no vector to fit codebooks to", "give some descriptors")
        centroids = min(centroids, len(rows))
        rows = sample_of(rows, centroids, seed)
        left = rows
        found: list[FloatArray] = []
        with one_thread():
            for number in range(books):
                means = faiss.Kmeans(
                    rows.shape[1], centroids, niter=iterations, seed=seed + number, min_points_per_centroid=1
                )
                means.train(np.ascontiguousarray(left))
                book = np.asarray(means.centroids, dtype=np.float32).reshape(centroids, -1)
                found.append(book)
                left = left - book[faiss.knn(np.ascontiguousarray(left), book, 1)[1][:, 0]]
        quantizer = cls(np.stack(found))
        for _ in range(rounds):
            quantizer = quantizer.refitted(rows, quantizer.encode(rows, beam=4))
        return quantizer

    def refitted(self, vectors: FloatArray, codes: ByteArray) -> AdditiveQuantizer:
        """The codebooks that decode these codes to these vectors with the least squared error."""
        books, centroids, dimension = self.codebooks.shape
        count = books * centroids
        columns = (codes + centroids * np.arange(books)).ravel()
        first = np.arange(len(codes) + 1) * books
        chosen = sparse.csr_matrix((np.ones(columns.size), columns, first), shape=(len(codes), count))
        together = (chosen.T @ chosen).toarray()
        sums = chosen.T @ vectors.astype(np.float64)
        together[np.diag_indices(count)] += _HOLD
        solved = linalg.solve(together, sums + _HOLD * self.codebooks.reshape(count, dimension), assume_a="pos")
        return AdditiveQuantizer(solved.reshape(self.codebooks.shape).astype(np.float32))

    def encode(self, vectors: AnyArray, beam: int = BEAM) -> ByteArray:
        """Codes whose sum comes closest, by beam search, (N, D) -> uint8 (N, M); a beam of 1 is greedy."""
        rows = self._fitting(vectors, beam)
        codes = np.empty((len(rows), len(self.codebooks)), np.uint8)
        for first in range(0, len(rows), _ROWS):
            paths, error = self._search(rows[first : first + _ROWS], beam)
            codes[first : first + _ROWS] = paths[np.arange(len(paths)), error.argmin(axis=1)]
        return codes

    def candidates(self, vectors: AnyArray, beam: int = BEAM) -> ByteArray:
        """All codes a beam search ends with, (N, D) -> uint8 (N, at most `beam`, M), for decoders that bend sums."""
        return self._search(self._fitting(vectors, beam), beam)[0]

    def _fitting(self, vectors: AnyArray, beam: int) -> FloatArray:
        rows = checked_vectors(vectors)
        if beam < 1:
            raise ConfigError(f"a beam of {beam}", "take 1 or more")
        if rows.shape[1] != self.codebooks.shape[2]:
            raise ModelError(f"vectors of {rows.shape[1]} values do not fit codebooks of {self.codebooks.shape[2]}")
        return rows

    def decode(self, codes: ByteArray) -> FloatArray:
        """Sums of the centroids that codes name, uint8 (N, M) -> float32 (N, D)."""
        return add_up(self.codebooks, codes)

    def _search(self, rows: FloatArray, beam: int) -> tuple[ByteArray, FloatArray]:
        """Beam search for a block of vectors, codes (N, beam, M) and their squared errors less the vectors' own."""
        centroids = self.codebooks.shape[1]
        each = np.arange(len(rows))[:, None]
        paths = np.zeros((len(rows), 1, 0), np.uint8)
        left = rows[:, None]
        error = np.zeros((len(rows), 1), np.float32)
        for book in self.codebooks:
            wide = left.shape[1]
            product = (left.reshape(-1, rows.shape[1]) @ book.T).reshape(len(rows), wide, centroids)
            flat = (error[..., None] + (book**2).sum(1) - 2 * product).reshape(len(rows), -1)
            keep = min(beam, flat.shape[1])
            best = np.argpartition(flat, keep - 1, axis=1)[:, :keep]
            parent, code = best // centroids, best % centroids
            error = flat[each, best]
            left = left[each, parent] - book[code]
            paths = np.concatenate([paths[each, parent], code[..., None].astype(np.uint8)], axis=2)
        return paths, error


def add_up(codebooks: FloatArray, codes: ByteArray) -> FloatArray:
    """Sums of centroids: (M, K, D) and uint8 (N, M) -> float32 (N, D); a ModelError for codes that do not fit."""
    check_codes(codebooks, codes)
    total = np.zeros((len(codes), codebooks.shape[2]), np.float32)
    for number, book in enumerate(codebooks):
        total += book[codes[:, number]]
    return total
