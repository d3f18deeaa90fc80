"""Retrieval among embeddings: exact inner products; beyond about 50,000 rows a short list, ranked exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foldmap.coding.pq import one_thread
from foldmap.errors import ConfigError, MapInputError
from foldmap.types import AnyArray, BoolArray, DoubleArray, FloatArray, IntArray

EXACT_UP_TO = 50_000
"""Rows up to which "auto" compares a query with all."""
KINDS = ("auto", "exact", "lists", "hnsw")
_UNIT = 0.02
_ROWS_AT_ONCE = 16_384
_QUERIES_AT_ONCE = 256
_SPARE = 8
_ENERGY = 0.9
_TRAINING_ROWS = 20_000
_HNSW_LINKS, _HNSW_BUILD, _HNSW_SEARCH = 24, 100, 256


@dataclass(frozen=True)
class SearchIndex:
    """Unit rows, float16 or float32 (N, D), sorted such that the most similar ones of a query are found fast.

    Scores are exact inner products whatever the kind, and of equal scores the lower row comes first; what the
    approximate kinds may do is to miss a row. "lists" looks through the inverted lists of the cells nearest to the
    query, "hnsw" walks a graph of neighbours (ten times as long to build); both compare 8-bit principal components, on
    `axes` float32 (D, d), and rank the best 512 or more exactly.
    """

    vectors: AnyArray
    kind: str
    axes: FloatArray
    _index: Any = field(repr=False)
    _wide: FloatArray | None = field(repr=False)

    @staticmethod
    def build(vectors: AnyArray, kind: str = "auto", seed: int = 0) -> SearchIndex:
        """Sort unit rows, float16 or float32 (N, D), for searching; the same rows and seed give the same index.

        The kind "auto" is "exact" up to `EXACT_UP_TO` rows and "lists" beyond; approximate kinds need 1,000 rows.

        Raises:
            MapInputError: no rows, another type or shape, or rows that are not finite and of unit length.
        """
        if kind not in KINDS:
            raise ConfigError(f"no search is called {kind!r}", f"give one of {', '.join(KINDS)}")
        _check_rows(vectors)
        count = len(vectors)
        if kind == "auto":
            kind = "exact" if count <= EXACT_UP_TO else "lists"
        if kind == "exact":
            wide = np.ascontiguousarray(vectors, np.float32) if count <= EXACT_UP_TO else None
            return SearchIndex(vectors, kind, np.zeros((vectors.shape[1], 0), np.float32), None, wide)
        if count < 1_000:
            raise ConfigError(f"{count} rows are too few for search by {kind}", 'search "exact"')
        axes = _principal_axes(vectors, np.random.default_rng(seed))
        with one_thread():
            index = _lists(vectors, axes, seed) if kind == "lists" else _hnsw(vectors, axes)
        return SearchIndex(vectors, kind, axes, index, None)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def extra_bytes(self) -> int:
        """Memory of the index besides the vectors."""
        if self._index is None:
            return 0 if self._wide is None or self._wide is self.vectors else self._wide.nbytes
        return len(_library().serialize_index(self._index)) + self.axes.nbytes

    def search(self, queries: AnyArray, k: int, among: IntArray | None = None) -> tuple[FloatArray, IntArray]:
        """The `k` most similar rows of each query (Q, D), or (D,) for one; fewer where fewer are there.

        Where an approximate search finds fewer than `k`, it is repeated exactly; among some rows, int64 (M,) (a fence,
        see `foldmap.street.library`), it always is. Returns scores float32 (Q, k), descending, and rows int64 (Q, k).

        Raises:
            MapInputError: queries of another width, not finite or not unit; `among` is empty or names rows that are not
                there.
        """
        rows = np.ascontiguousarray(np.atleast_2d(queries), np.float32)
        if k < 1:
            raise ConfigError(f"{k} rows cannot be retrieved", "ask for at least one")
        if rows.ndim != 2 or rows.shape[1] != self.vectors.shape[1]:
            what = f"queries of shape {np.shape(queries)} in a library of width {self.vectors.shape[1]}"
            raise MapInputError(what, "embed both with the same model")
        check_unit_rows("query", rows)
        if among is not None:
            among = self._checked_subset(among)
        if among is not None or self._index is None or k > len(self) // 4:
            return self._exact(rows, k, among)
        listed = self._index.search(np.ascontiguousarray(rows @ self.axes), max(512, 4 * k), params=self._effort(k))[1]
        scores, ids = np.empty((len(rows), k), np.float32), np.empty((len(rows), k), np.int64)
        for number, (row, near) in enumerate(zip(rows, listed, strict=True)):
            found = near[near >= 0].astype(np.int64)
            if len(found) < k:
                scores[number : number + 1], ids[number : number + 1] = self._exact(row[None], k, None)
            else:
                scores[number], ids[number] = self._ranked(row, found, k)
        return scores, ids

    def _effort(self, k: int) -> Any:
        if self.kind == "hnsw":
            return _library().SearchParametersHNSW(efSearch=max(_HNSW_SEARCH, 8 * k))
        return _library().SearchParametersIVF(nprobe=max(48, self._index.nlist // 40))

    def _checked_subset(self, among: IntArray) -> IntArray:
        subset = np.unique(np.asarray(among))
        if not len(subset):
            raise MapInputError("no graph of the library is inside the fence", "widen it, or check its frame")
        if subset.dtype.kind not in "iu" or subset[0] < 0 or subset[-1] >= len(self):
            raise MapInputError(f"the fence names rows beyond the library's {len(self)}", "give row numbers of it")
        return subset.astype(np.int64)

    def _exact(self, rows: FloatArray, k: int, among: IntArray | None) -> tuple[FloatArray, IntArray]:
        """Find some more than asked for, for what rounding swaps; then rank those."""
        there = np.arange(len(self)) if among is None else among
        k = min(k, len(there))
        scores, ranked = np.empty((len(rows), k), np.float32), np.empty((len(rows), k), np.int64)
        for start in range(0, len(rows), _QUERIES_AT_ONCE):
            near = self._nearest(rows[start : start + _QUERIES_AT_ONCE], k + _SPARE, there)
            for number, ids in enumerate(near, start):
                scores[number], ranked[number] = self._ranked(rows[number], ids, k)
        return scores, ranked

    def _nearest(self, rows: FloatArray, most: int, among: IntArray) -> IntArray:
        """The `most` best of each row in no order, block by block."""
        best, ids = np.zeros((len(rows), 0), np.float32), np.zeros((len(rows), 0), np.int64)
        source = self.vectors if self._wide is None else self._wide
        whole = len(among) == len(self)
        step = len(among) if self._wide is not None and len(rows) == 1 else _ROWS_AT_ONCE
        for start in range(0, len(among), step):
            taken = among[start : start + step]
            block = source[start : start + step] if whole else source[taken]
            products = rows @ block.astype(np.float32, copy=False).T
            if products.shape[1] > most:
                kept = np.argpartition(products, products.shape[1] - most, axis=1)[:, -most:]
                products, found = np.take_along_axis(products, kept, 1), taken[kept]
            else:
                found = np.broadcast_to(taken, products.shape)
            best, ids = np.concatenate([best, products], 1), np.concatenate([ids, found], 1)
        if best.shape[1] > most:
            ids = np.take_along_axis(ids, np.argpartition(best, best.shape[1] - most, axis=1)[:, -most:], 1)
        return ids

    def _ranked(self, row: FloatArray, ids: IntArray, k: int) -> tuple[FloatArray, IntArray]:
        """Score in double precision, row by row: no order of blocks and no thread changes it."""
        exact = np.einsum("nd,d->n", self.vectors[ids].astype(np.float64), row.astype(np.float64))
        scores = exact.astype(np.float32)
        order = np.lexsort((ids, -scores))[:k]
        return scores[order], ids[order]


def images_for_graph(images: SearchIndex, graph_embedding: AnyArray, k: int) -> tuple[FloatArray, IntArray]:
    """The `k` images that fit a graph (map2pix): the same search the other way round, among image embeddings.

    Returns scores float32 (k,) and rows int64 (k,), best first.
    """
    if np.ndim(graph_embedding) != 1:
        raise MapInputError(f"a graph's embedding of shape {np.shape(graph_embedding)}", "give one row (D,)")
    scores, ids = images.search(graph_embedding, k)
    return scores[0], ids[0]


def _check_rows(vectors: AnyArray) -> None:
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype not in (np.float16, np.float32):
        found = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise MapInputError(f"the library's embeddings are {found}", "give float16 or float32 (N, D)")
    if not vectors.size:
        raise MapInputError("the library is empty", "fold a map with lanes into it")
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        check_unit_rows("row", vectors[start : start + _ROWS_AT_ONCE].astype(np.float32, copy=False), start)


def check_unit_rows(what: str, rows: FloatArray, first: int = 0) -> None:
    """Refuse embeddings float32 (N, D) that are not finite and of unit length (MapInputError, counted from `first`)."""
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    bad: BoolArray = ~(np.abs(length - 1) <= _UNIT)  # not finite is bad, too
    if bad.any():
        number = int(np.flatnonzero(bad)[0])
        raise MapInputError(
            f"the length of embedding {what} {first + number} is {float(length[number]):g}, not 1",
            "scale each row to unit length; one that is not finite shows a broken model",
        )


def _principal_axes(vectors: AnyArray, rng: np.random.Generator) -> FloatArray:
    """As few axes, in steps of 32, as hold 90 % of the rows' energy."""
    some = vectors[np.sort(rng.permutation(len(vectors))[:_TRAINING_ROWS])].astype(np.float64)
    energy, directions = np.linalg.eigh(some.T @ some)
    share: DoubleArray = np.cumsum(energy[::-1]) / energy.sum()
    width = vectors.shape[1]
    kept = min(width, 32 * int(np.ceil((int(np.searchsorted(share, _ENERGY)) + 1) / 32)))
    return np.ascontiguousarray(directions[:, ::-1][:, :kept], np.float32)


def _library() -> Any:
    """FAISS, 13 MB that small maps do without; its stubs do not know all of it."""
    import faiss

    return faiss


def _reduced(vectors: AnyArray, axes: FloatArray) -> FloatArray:
    return np.ascontiguousarray(vectors.astype(np.float32, copy=False) @ axes)


def _filled(index: Any, vectors: AnyArray, axes: FloatArray, training: AnyArray) -> Any:
    index.train(_reduced(training, axes))
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        index.add(_reduced(vectors[start : start + _ROWS_AT_ONCE], axes))
    return index


def _lists(vectors: AnyArray, axes: FloatArray, seed: int) -> Any:
    faiss = _library()
    cells = int(4 * np.sqrt(len(vectors)))
    width = axes.shape[1]
    coarse = faiss.IndexFlatL2(width)
    index = faiss.IndexIVFScalarQuantizer(coarse, width, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2, True)
    index.cp.niter, index.cp.seed, index.cp.max_points_per_centroid = 10, seed, 64
    index.cp.min_points_per_centroid = 1
    ids = np.sort(np.random.default_rng(seed).permutation(len(vectors))[: 64 * cells])
    return _filled(index, vectors, axes, vectors[ids])


def _hnsw(vectors: AnyArray, axes: FloatArray) -> Any:
    faiss = _library()
    index = faiss.IndexHNSWSQ(axes.shape[1], faiss.ScalarQuantizer.QT_8bit, _HNSW_LINKS)
    index.hnsw.efConstruction = _HNSW_BUILD
    return _filled(index, vectors, axes, vectors[: 4 * _TRAINING_ROWS])
