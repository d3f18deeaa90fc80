"""How fast and how exactly a large library is searched: `python -m benchmarks.street.search_speed --count 1000000`."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass

import numpy as np

from foldmap.errors import ConfigError
from foldmap.street.search import SearchIndex
from foldmap.types import AnyArray, FloatArray

_LANE_PLACES = 200
_LATENT = 20
_HIDDEN = 512
_STEP_CORRELATION = 0.95
_ROWS_AT_ONCE = 50_000


@dataclass(frozen=True)
class SearchFigures:
    """What a search costs and what it finds.

    Attributes:
        kind: of the index.
        count, dim: of the library.
        queries: how many were asked, one at a time.
        noise: length of the noise added to a row of the library to make a query of it.
        vector_bytes: of the embeddings, half precision.
        index_bytes: besides them.
        build_s: wall time of sorting the library, on one thread.
        mean_ms, p95_ms: wall time a query.
        recall_at_1: share of queries whose best row is the one that comparing with all finds.
        recall_at_10: mean share of the ten best rows found.
    """

    kind: str
    count: int
    dim: int
    queries: int
    noise: float
    vector_bytes: int
    index_bytes: int
    build_s: float
    mean_ms: float
    p95_ms: float
    recall_at_1: float
    recall_at_10: float


def street_like_rows(count: int, dim: int, seed: int) -> AnyArray:
    """Embeddings as those of windows along lanes: neighbours are nearly alike, and few directions hold most of it.

    Each lane is a random walk of 200 places in 20 dimensions, which a random network of two layers embeds. Like the
    blurred rasters of real lane windows, 64 axes hold about 90 % of it, and a row's nearest other is a near-duplicate.

    Returns:
        float16 (count, dim), unit rows.

    Raises:
        ConfigError: fewer than one row, or fewer than two dimensions.
    """
    if count < 1 or dim < 2:
        raise ConfigError(f"{count} rows of {dim}", "give at least one row of two dimensions")
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((_LATENT, _HIDDEN)).astype(np.float32) / np.sqrt(_LATENT)
    second = rng.standard_normal((_HIDDEN, dim)).astype(np.float32)
    rows = np.empty((count, dim), np.float16)
    for start in range(0, count, _ROWS_AT_ONCE):
        lanes = -(-min(_ROWS_AT_ONCE, count - start) // _LANE_PLACES)
        place = rng.standard_normal((lanes, _LATENT)).astype(np.float32)
        walk = np.empty((lanes, _LANE_PLACES, _LATENT), np.float32)
        for step in range(_LANE_PLACES):
            walk[:, step] = place
            drift = rng.standard_normal((lanes, _LATENT)).astype(np.float32)
            place = _STEP_CORRELATION * place + np.float32(np.sqrt(1 - _STEP_CORRELATION**2)) * drift
        embedded = np.tanh(2.5 * walk.reshape(-1, _LATENT) @ first) @ second
        rows[start : start + len(embedded)] = _unit(embedded)[: count - start]
    return rows


def noisy_queries(rows: AnyArray, count: int, noise: float, seed: int) -> FloatArray:
    """Rows drawn from a library, each with noise of the given length in any direction: float32 (count, D), unit."""
    rng = np.random.default_rng(seed)
    drawn = rows[rng.integers(len(rows), size=count)].astype(np.float32)
    spread = rng.standard_normal(drawn.shape).astype(np.float32) * np.float32(noise / np.sqrt(rows.shape[1]))
    return _unit(drawn + spread)


def measure_search(
    count: int, dim: int = 256, seed: int = 0, kind: str = "auto", queries: int = 500, noise: float = 0.6
) -> SearchFigures:
    """Build, search one query at a time, and compare with exact search.

    Args:
        count: rows of the library.
        dim: their width.
        seed: of everything drawn.
        kind: see `SearchIndex.build`.
        queries: how many.
        noise: at 0.6 a query's cosine to its row is about 0.86.

    Raises:
        ConfigError: see `street_like_rows` and `SearchIndex.build`.
    """
    return measure_rows(street_like_rows(count, dim, seed), seed, kind, queries, noise)


def measure_rows(
    rows: AnyArray, seed: int = 0, kind: str = "auto", queries: int = 500, noise: float = 0.6
) -> SearchFigures:
    """`measure_search` in a library of one's own, float16 (N, D)."""
    began_s = time.perf_counter()
    index = SearchIndex.build(rows, kind, seed)
    build_s = time.perf_counter() - began_s
    asked = noisy_queries(rows, queries, noise, seed + 1)
    index.search(asked[:1], 10)
    took_s, found = np.empty(queries), np.empty((queries, min(10, len(rows))), np.int64)
    for number, query in enumerate(asked):
        began_s = time.perf_counter()
        found[number] = index.search(query, 10)[1][0]
        took_s[number] = time.perf_counter() - began_s
    exact = SearchIndex.build(rows, "exact").search(asked, 10)[1]
    common = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, exact, strict=True)]
    return SearchFigures(
        kind=index.kind,
        count=len(rows),
        dim=rows.shape[1],
        queries=queries,
        noise=noise,
        vector_bytes=rows.nbytes,
        index_bytes=index.extra_bytes,
        build_s=build_s,
        mean_ms=1e3 * float(took_s.mean()),
        p95_ms=1e3 * float(np.percentile(took_s, 95)),
        recall_at_1=float((found[:, 0] == exact[:, 0]).mean()),
        recall_at_10=float(np.mean(common)),
    )


def _unit(rows: FloatArray) -> FloatArray:
    scaled: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def main() -> None:
    """Print one line of JSON a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="auto")
    parser.add_argument("--noise", type=float, default=0.6)
    given = parser.parse_args()
    figures = measure_search(given.count, given.dim, given.seed, given.kind, noise=given.noise)
    print(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main()
