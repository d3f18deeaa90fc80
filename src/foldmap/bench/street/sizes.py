"""Quality against library size: fractions of the training maps, then graphs that come without any image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.bench.street.data import Library, StreetData
from foldmap.bench.street.methods import embed_pairs, nearest_rows, point_sets
from foldmap.bench.street.predict import NOT_KEPT, Kept, Stage, graphs_seal, seal_of, unstaged
from foldmap.bench.street.retrieval import Retrieval
from foldmap.metrics.street_chamfer import PointSets, best_in_library, chamfer_m
from foldmap.metrics.street_sampled import empty_m
from foldmap.street.model import EmbeddingModel
from foldmap.street.source import StreetMap
from foldmap.types import DoubleArray, FloatArray, IntArray

FRACTIONS = (1 / 64, 1 / 16, 1 / 4, 1.0)
MOST_MORE = 20_000
"""Graphs at most that the maps without images add."""


@dataclass(frozen=True)
class Size:
    """One library.

    Attributes:
        library: what it is made of.
        count: graphs.
        more: of them without images.
        chamfer_m, oracle_m, random_m: mean Chamfer distance of the model's first graph, of the best, of chance.
    """

    library: str
    count: int
    more: int
    chamfer_m: float
    oracle_m: float
    random_m: float

    def row(self) -> dict[str, Any]:
        """Its row; `way_pct` within this library, as the bounds move with it."""
        span = self.random_m - self.oracle_m
        way = (self.random_m - self.chamfer_m) / span if span > 0 else float("nan")
        return {**vars(self), "way_pct": 100 * way}


def measure_sizes(
    data: StreetData,
    model: EmbeddingModel,
    done: Retrieval,
    more: Sequence[StreetMap] = (),
    *,
    fractions: Sequence[float] = FRACTIONS,
    kept: Kept = NOT_KEPT,
    seed: int = 0,
    stage: Stage = unstaged,
) -> list[Size]:
    """Ask the same queries of smaller and larger libraries.

    Args:
        data: images, maps, split.
        model: embeds both.
        done: the retrieval whose queries and library these are; smaller libraries are random parts of it, each within
            the next.
        more: maps without images, all of whose windows are added last ("Ours++").
        fractions: ascending.
        kept: embeddings of earlier runs.
        seed: of the order.
        stage: called with a stage's name, gives a callback (done, total).

    Raises:
        ConfigError: a map of `more` lies where queries do, unless the split is leaky.
    """
    told = stage(f"{data.label}: library sizes")
    seal = seal_of(model.payload())
    asked = embed_pairs(model, done.queries)
    library = done.library
    rows = _embedded(model, library, kept, seal)
    order = np.random.default_rng([seed, 31]).permutation(len(library))
    truths = point_sets(done.truths, data.window)
    points = point_sets(library.graphs, data.window)
    cap_m = empty_m(data.window)
    sizes = []
    for number, fraction in enumerate(fractions):
        part = np.sort(order[: max(1, round(fraction * len(library)))])
        best = _best(truths, points, part, cap_m)
        sizes.append(_size(f"{fraction:.3g} of the training maps", asked, rows, points, part, truths, best, 0, cap_m))
        told(number + 1, len(fractions) + bool(more))
    if more:
        extra = Library.of(more, data.window, most=MOST_MORE)
        data.separation(done.queries, extra, more)
        both = _joined(points, point_sets(extra.graphs, data.window))
        wide = np.concatenate([rows, _embedded(model, extra, kept, seal)])
        part = np.arange(len(wide))
        best = np.minimum(best, _best(truths, both, part[len(rows) :], cap_m))
        named = ", ".join(dict.fromkeys(extra.maps)) if len(more) <= 6 else f"{len(more)} maps"
        label = f"all, and graphs without images of {named}"
        sizes.append(_size(label, asked, wide, both, part, truths, best, len(extra), cap_m))
        told(len(fractions) + 1, len(fractions) + 1)
    return sizes


def _embedded(model: EmbeddingModel, library: Library, kept: Kept, seal: str) -> FloatArray:
    identity = {"model": seal, "graphs": graphs_seal(library.graphs)}
    return kept.rows("library", identity, lambda: model.embed_graphs(library.graphs))


def _best(truths: PointSets, points: PointSets, part: IntArray, cap_m: float) -> DoubleArray:
    return np.asarray(best_in_library(truths, _taken(points, part), cap_m=cap_m).chamfer_m, np.float64)


def _taken(points: PointSets, part: IntArray) -> PointSets:
    return PointSets.of([points.points_m[points.offset[k] : points.offset[k + 1]] for k in part.tolist()])


def _joined(one: PointSets, other: PointSets) -> PointSets:
    offset = np.concatenate([one.offset, one.offset[-1] + other.offset[1:]])
    return PointSets(np.concatenate([one.points_m, other.points_m]), offset)


def _size(
    label: str,
    asked: FloatArray,
    rows: FloatArray,
    points: PointSets,
    part: IntArray,
    truths: PointSets,
    best: DoubleArray,
    more: int,
    cap_m: float,
) -> Size:
    first = part[nearest_rows(asked, rows[part])[:, 0]]
    drawn = np.random.default_rng(len(part)).choice(part, (4, len(asked)))

    def mean(chosen: IntArray) -> float:
        return float(np.mean([_between(truths, q, points, int(k), cap_m) for q, k in enumerate(chosen)]))

    return Size(label, len(part), more, mean(first), float(best.mean()), float(np.mean([mean(one) for one in drawn])))


def _between(truths: PointSets, query: int, points: PointSets, row: int, cap_m: float) -> float:
    true = truths.points_m[truths.offset[query] : truths.offset[query + 1]]
    return chamfer_m(true, points.points_m[points.offset[row] : points.offset[row + 1]], cap_m)
