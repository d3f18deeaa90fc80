"""Where results may lie and how near to each other: geo-fences, and one result a place."""

from __future__ import annotations

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.street.search import SearchIndex
from foldmap.types import AnyArray, DoubleArray, FloatArray, IntArray


def inside_radius(positions_m: DoubleArray, centre_m: DoubleArray, radius_m: float) -> IntArray:
    """Rows of positions float64 (N, 2) within a radius, ascending."""
    positions_m, centre = _positions(positions_m), np.asarray(centre_m, np.float64)
    if centre.shape != (2,) or not np.isfinite([*centre, radius_m]).all() or radius_m < 0:
        raise ConfigError(f"a fence of {radius_m} m around {centre_m}", "give (x, y) and a radius in metres")
    apart: DoubleArray = positions_m - centre
    return np.flatnonzero(np.hypot(apart[:, 0], apart[:, 1]) <= radius_m)


def inside_box(positions_m: DoubleArray, west_m: float, south_m: float, east_m: float, north_m: float) -> IntArray:
    """Rows of positions float64 (N, 2) in a box, its rim included, ascending."""
    sides = (west_m, south_m, east_m, north_m)
    if not np.isfinite(sides).all() or west_m > east_m or south_m > north_m:
        raise ConfigError(f"a fence with the sides {sides}", "give west <= east and south <= north, in metres")
    positions_m = _positions(positions_m)
    return np.flatnonzero(((positions_m >= (west_m, south_m)) & (positions_m <= (east_m, north_m))).all(axis=1))


def one_result_a_place(
    ids: IntArray, positions_m: DoubleArray, radius_m: float, maps: IntArray | None = None
) -> IntArray:
    """Keep the best result of each place; returns the kept ids, best first.

    `ids` int64 (k,) are rows of the library, best first, `positions_m` float64 (N, 2) where each row of the library is.
    Results nearer than `radius_m` to a better one are dropped; rows of different `maps`, int64 (N,), are never near.
    """
    if not (np.isfinite(radius_m) and radius_m > 0):
        raise ConfigError(f"one result a place of {radius_m} m", "give a positive radius in metres")
    positions_m, ids = _positions(positions_m), np.asarray(ids, np.int64)
    if len(ids) and not (ids.min() >= 0 and ids.max() < len(positions_m)):
        raise MapInputError(f"results name rows beyond the {len(positions_m)} positions", "give all the positions")
    where = positions_m[ids]
    of_map = np.zeros(len(ids), np.int64) if maps is None else np.asarray(maps)[ids]
    kept: list[int] = []
    for number in range(len(ids)):
        apart = np.hypot(*(where[kept] - where[number]).T)
        if not ((apart < radius_m) & (of_map[kept] == of_map[number])).any():
            kept.append(number)
    return ids[kept]


def search_places(
    index: SearchIndex,
    query: AnyArray,
    k: int,
    positions_m: DoubleArray,
    radius_m: float,
    maps: IntArray | None = None,
    among: IntArray | None = None,
) -> tuple[FloatArray, IntArray]:
    """The `k` best places of one query (D,): searches on until it has so many that are apart, or the library ends.

    Arguments as `SearchIndex.search` and `one_result_a_place`, one position a row; errors as theirs. Returns scores
    float32 and rows int64, at most `k`, best first.
    """
    if len(positions_m) != len(index):
        raise MapInputError(f"{len(positions_m)} positions for {len(index)} embeddings", "give one each")
    most = len(index) if among is None else len(np.unique(among))
    asked = max(k, min(most, 4 * k))
    while True:
        scores, ids = index.search(query, asked, among)
        kept = one_result_a_place(ids[0], positions_m, radius_m, maps)[:k]
        if len(kept) == k or asked >= most:
            return scores[0][np.isin(ids[0], kept)], kept
        asked = min(most, 4 * asked)


def _positions(positions_m: DoubleArray) -> DoubleArray:
    positions: DoubleArray = np.asarray(positions_m, np.float64)
    if positions.ndim != 2 or positions.shape[1] != 2 or not np.isfinite(positions).all():
        raise MapInputError(f"positions of shape {positions.shape}", "give finite (N, 2) in metres")
    return positions
