"""The places of a folded street map as one library: embeddings, where they are, their lane graphs, and fences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import SE2
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import Window, cut
from foldmap.street.model import EmbeddingModel
from foldmap.street.search import EXACT_UP_TO, SearchIndex
from foldmap.street.source import LaneGraph
from foldmap.street.unfold import FoldedStreet
from foldmap.types import AnyArray, DoubleArray, FloatArray, IntArray


@dataclass(frozen=True)
class PlaceLibrary:
    """Places of some regions of a layer, region after region.

    `region` int64 (N,) is an index into `regions`; `xy_m` float64 (N, 2) and `heading_rad` (N,) are in the frame of the
    region; `vectors` float16 or float32 (N, D) are unit rows.
    """

    layer: FoldedStreet
    regions: tuple[str, ...]
    region: IntArray
    xy_m: DoubleArray
    heading_rad: DoubleArray
    vectors: AnyArray

    def __len__(self) -> int:
        return len(self.xy_m)

    def pose(self, row: int) -> SE2:
        """world_SE2_ego of a place."""
        return SE2(float(self.xy_m[row, 0]), float(self.xy_m[row, 1]), float(self.heading_rad[row]))

    def region_of(self, row: int) -> str:
        """Name of the region of a place."""
        return self.regions[int(self.region[row])]

    def graph(self, row: int, window: Window) -> LaneGraph:
        """The lane graph around a place, in its ego frame, vertices 1 m apart."""
        return window_at(self.layer, self.region_of(row), self.pose(row), window)

    def most_similar(
        self, index: SearchIndex, embedding: FloatArray, count: int, apart_m: float, among: IntArray | None = None
    ) -> tuple[list[float], list[int]]:
        """Similarities and rows of the places that are most similar to an observation, best first.

        The index is over `vectors`, the embedding a unit row (D,). Two places of one region are at least `apart_m`
        apart (0: all count); `among` are the rows that may be given.
        """
        if apart_m > 0:
            scores, rows = search_places(index, embedding, count, self.xy_m, apart_m, self.region, among)
        else:
            many, found = index.search(embedding, count, among)
            scores, rows = many[0], found[0]
        return scores.tolist(), rows.tolist()


def window_at(layer: FoldedStreet, region: str, pose: SE2, window: Window) -> LaneGraph:
    """The part of a region around a pose, in the ego frame, vertices 1 m apart; reads the tiles around it."""
    near = layer.graph_near(region, pose.x_m, pose.y_m, window.radius_m)
    return resample(cut(near, pose, window), 1.0)


def read_library(
    layer: FoldedStreet,
    regions: Sequence[str] = (),
    report: Callable[[int, int], None] = lambda done, total: None,
    model: EmbeddingModel | None = None,
) -> PlaceLibrary:
    """Decode places and embeddings; draw those that are not stored with the model, the map's own where None.

    Raises:
        MapInputError: the regions have no places.
    """
    chosen = [layer.region(name) for name in regions] if regions else list(layer.regions)
    kind = np.float32 if sum(one.places for one in chosen) <= EXACT_UP_TO else np.float16
    xy, heading, number, vectors = [], [], [], []
    for index, one in enumerate(chosen):
        places = layer.places(one.name)
        rows = layer.embeddings(one.name, model)
        useful = np.einsum("nd,nd->n", rows, rows) > 0.25  # a place whose window held nothing is like nothing
        xy.append(places.xy_m[useful])
        heading.append(places.heading_rad[useful])
        number.append(np.full(int(useful.sum()), index, np.int64))
        vectors.append(rows[useful].astype(kind, copy=False))
        report(index + 1, len(chosen))
    columns = [np.concatenate(parts) for parts in (number, xy, heading, vectors)]
    found = PlaceLibrary(layer, tuple(one.name for one in chosen), *columns)
    if not len(found):
        raise MapInputError("the street layer has no places to retrieve", "fold the map with --spacing 5")
    return found


@dataclass(frozen=True)
class Fence:
    """Where results may lie, a disc or a box (west, south, east, north); None: anywhere."""

    near: tuple[float, float] | None = None
    radius_m: float | None = None
    box: tuple[float, float, float, float] | None = None

    def rows(self, library: PlaceLibrary) -> IntArray | None:
        """Rows of the library inside, None where there is no fence; a fence is in the frame of a single region."""
        if (self.near is None) != (self.radius_m is None):
            raise ConfigError("a fence around a point has a radius", "give both --near X,Y and --radius M")
        if self.near is None and self.box is None:
            return None
        if len(library.regions) > 1:
            raise ConfigError(
                f"{len(library.regions)} regions have frames of their own", "name the one of the fence with --region"
            )
        rows = np.arange(len(library))
        if self.near is not None and self.radius_m is not None:
            rows = inside_radius(library.xy_m, np.array(self.near), self.radius_m)
        if self.box is not None:
            rows = np.intersect1d(rows, inside_box(library.xy_m, *self.box))
        return rows


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
