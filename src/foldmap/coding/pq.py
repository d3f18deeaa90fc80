"""Product quantization: a vector as M bytes, one centroid's number for each of its M parts (paper eq. 1).

vector (D) --rotation, if any--> M parts of D / M --nearest centroid of each part's codebook--> M bytes
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError, MapInputError, ModelError
from foldmap.types import AnyArray, ByteArray, FloatArray

MAX_CENTROIDS = 256
POINTS_A_CENTROID = 1024  # k-means sees no more vectors than this for each centroid, drawn by its seed
OPQ_ROUNDS = 8


@dataclass(frozen=True)
class ProductQuantizer:
    """M codebooks of K <= 256 centroids, one for each part of a vector; a ModelError for arrays that are none."""

    codebooks: FloatArray  # finite float32 (M, K, D / M)
    rotation: FloatArray | None = None  # float32 (D, D), orthogonal, applied before the split (OPQ), or None

    def __post_init__(self) -> None:
        check_codebooks(self.codebooks)
        if self.rotation is not None:
            turn, side = self.rotation, self.dimension
            if turn.dtype != np.float32 or turn.shape != (side, side):
                raise ModelError(f"the rotation is {turn.dtype} {turn.shape}, not float32 ({side}, {side})")
            if not np.allclose(turn @ turn.T, np.eye(side), atol=1e-3):
                raise ModelError("the rotation is not orthogonal", "fit it anew")

    @property
    def parts(self) -> int:
        """M, bytes a vector."""
        return int(self.codebooks.shape[0])

    @property
    def centroids(self) -> int:
        """K."""
        return int(self.codebooks.shape[1])

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.codebooks.shape[0] * self.codebooks.shape[2])

    @classmethod
    def fit(
        cls,
        vectors: AnyArray,
        parts: int,
        centroids: int = 256,
        *,
        seed: int = 0,
        iterations: int = 25,
        rotate: bool = False,
    ) -> ProductQuantizer:
        """Train codebooks by k-means (FAISS, one thread, so that the same input and seed give the same codebooks).

        Args:
            vectors: (N, D), any numeric type.
            parts: M, a divisor of D.
            centroids: K, at most 256. When there are fewer vectors than that, each vector becomes a centroid: K = N.
            seed: of k-means and of the sample that it sees.
            iterations: of k-means.
            rotate: also learn the rotation that makes the parts easiest to quantize (OPQ, Ge et al. 2013, started
                from the eigenvectors dealt to the parts so that the parts' variances balance).
        """
        rows = checked_vectors(vectors)
        if parts < 1 or rows.shape[1] % parts:
            what = f"vectors of {rows.shape[1]} values do not split into {parts} equal parts"
            raise ConfigError(what, "take a divisor")
        if not 1 <= centroids <= MAX_CENTROIDS:
            raise ConfigError(f"{centroids} centroids do not fit a byte", f"take 1 to {MAX_CENTROIDS}")
        if not len(rows):
            raise MapInputError("there is no vector to fit codebooks to", "give some descriptors")
        centroids = min(centroids, len(rows))
        with one_thread():
            if not rotate:
                return cls(_codebooks(rows, parts, centroids, seed, iterations))
            return _fit_rotated(rows, parts, centroids, seed, iterations)

    def encode(self, vectors: AnyArray) -> ByteArray:
        """Nearest centroid of each part (eq. 1), (N, D) -> uint8 (N, M)."""
        rows = checked_vectors(vectors)
        if rows.shape[1] != self.dimension:
            raise ModelError(f"vectors of {rows.shape[1]} values do not fit codebooks of {self.dimension}")
        return _nearest(self.codebooks, rows if self.rotation is None else rows @ self.rotation.T)

    def decode(self, codes: ByteArray) -> FloatArray:
        """The centroids that codes name, uint8 (N, M) -> float32 (N, D)."""
        joined = gather(self.codebooks, codes)
        return joined if self.rotation is None else joined @ self.rotation


def gather(codebooks: FloatArray, codes: ByteArray) -> FloatArray:
    """Concatenated centroids: (M, K, D / M) and uint8 (N, M) -> float32 (N, D); codes that do not fit are refused."""
    check_codes(codebooks, codes)
    parts, _, width = codebooks.shape
    return np.asarray(codebooks[np.arange(parts), codes].reshape(len(codes), parts * width))


def check_codebooks(codebooks: FloatArray) -> None:
    """Refuse what is no finite float32 (M, K <= 256, width)."""
    shape = codebooks.shape
    if codebooks.dtype != np.float32 or len(shape) != 3 or 0 in shape or shape[1] > MAX_CENTROIDS:
        raise ModelError(f"codebooks are {codebooks.dtype} {shape}, not float32 (M, K <= {MAX_CENTROIDS}, D)")
    if not np.isfinite(codebooks).all():
        raise ModelError("codebooks hold NaN or infinite values", "fit them anew")


def check_codes(codebooks: FloatArray, codes: ByteArray) -> None:
    """Refuse codes that are no uint8 (N, M), or name no centroid."""
    books, centroids, _ = codebooks.shape
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != books:
        raise ModelError(f"codes are {codes.dtype} {codes.shape}, not uint8 (N, {books})", "use the layer they go with")
    if codes.size and int(codes.max()) >= centroids:
        raise ModelError(f"code {int(codes.max())} names none of {centroids} centroids", "use the layer they go with")


@contextmanager
def one_thread() -> Iterator[None]:
    """FAISS on one thread meanwhile: then the order of its sums, and so its result, is always the same."""
    import faiss  # 13 MB that decoding does without

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def checked_vectors(vectors: AnyArray) -> FloatArray:
    """Vectors as contiguous float32 (N, D), all finite."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise MapInputError(f"vectors have shape {rows.shape}, not (N, D)", "give one a row")
    if not np.isfinite(rows).all():
        bad = int(np.argwhere(~np.isfinite(rows))[0, 0])
        raise MapInputError(f"vector {bad} has NaN or infinite values", "recompute or drop it")
    return rows


def sample_of(rows: FloatArray, centroids: int, seed: int) -> FloatArray:
    """The rows, or of many a sample of 256 a centroid, in their order."""
    most = centroids * POINTS_A_CENTROID // 4
    return rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])] if len(rows) > most else rows


def _split(rows: FloatArray, parts: int) -> FloatArray:
    """(N, D) -> contiguous (M, N, D / M)."""
    return np.ascontiguousarray(rows.reshape(len(rows), parts, -1).transpose(1, 0, 2))


def _codebooks(rows: FloatArray, parts: int, centroids: int, seed: int, iterations: int) -> FloatArray:
    import faiss

    books = []
    for number, part in enumerate(_split(rows, parts)):
        if len(part) == centroids:
            books.append(part)
            continue
        means = faiss.Kmeans(
            part.shape[1],
            centroids,
            niter=iterations,
            seed=seed + number,
            min_points_per_centroid=1,  # no warning on stderr for small maps
            max_points_per_centroid=POINTS_A_CENTROID,
        )
        means.train(part)
        books.append(np.asarray(means.centroids).reshape(centroids, -1))
    return np.ascontiguousarray(books, dtype=np.float32)


def _nearest(codebooks: FloatArray, rows: FloatArray) -> ByteArray:
    import faiss

    codes = np.empty((len(rows), len(codebooks)), np.uint8)
    if len(rows):
        with one_thread():
            for number, part in enumerate(_split(rows, len(codebooks))):
                codes[:, number] = faiss.knn(part, np.ascontiguousarray(codebooks[number]), 1)[1][:, 0]
    return codes


def _fit_rotated(rows: FloatArray, parts: int, centroids: int, seed: int, iterations: int) -> ProductQuantizer:
    """Alternate: codebooks of the turned vectors, then the turn nearest to their decoded values (Procrustes)."""
    sample = sample_of(rows, centroids, seed)
    turn = _balanced_axes(sample, parts)
    for _ in range(OPQ_ROUNDS):
        turned = sample @ turn.T
        books = _codebooks(turned, parts, centroids, seed, max(iterations // 4, 4))
        decoded = gather(books, _nearest(books, turned))
        left, _, right = np.linalg.svd(decoded.T.astype(np.float64) @ sample.astype(np.float64))
        turn = np.ascontiguousarray(left @ right, dtype=np.float32)
    return ProductQuantizer(_codebooks(rows @ turn.T, parts, centroids, seed, iterations), turn)


def _balanced_axes(rows: FloatArray, parts: int) -> FloatArray:
    """Principal axes dealt to the parts, largest first, each to the part whose product of variances is smallest."""
    variance, axes = np.linalg.eigh(np.cov(rows.T.astype(np.float64)) if len(rows) > 1 else np.eye(rows.shape[1]))
    order = np.argsort(variance)[::-1]
    dealt: list[list[int]] = [[] for _ in range(parts)]
    product = np.zeros(parts)
    room = rows.shape[1] // parts
    floor = max(float(variance.max()), 1e-12) * 1e-9
    for axis in order:
        free = [part for part in range(parts) if len(dealt[part]) < room]
        part = min(free, key=lambda one: (len(dealt[one]) > 0, product[one]))
        dealt[part].append(int(axis))
        product[part] += np.log(max(float(variance[axis]), floor))
    return np.ascontiguousarray(axes[:, [axis for part in dealt for axis in part]].T, dtype=np.float32)
