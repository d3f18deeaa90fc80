"""Quality against library size: fractions of the training maps, then graphs that come without any image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.bench.street.data import BenchData, Library
from foldmap.bench.street.methods import embed_pairs, nearest_rows
from foldmap.bench.street.predict import NOT_KEPT, Kept, Stage, graphs_seal, seal_of, unstaged
from foldmap.bench.street.retrieval import Retrieval
from foldmap.metrics.street_chamfer import PointSets, best_in_library, chamfer_m
from foldmap.metrics.street_sampled import empty_m, sampled
from foldmap.street.graph.window import Window
from foldmap.street.model import EmbeddingModel
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.types import AnyArray, DoubleArray, FloatArray, IntArray

FRACTIONS = (1 / 64, 1 / 16, 1 / 4, 1.0)
MOST_MORE = 20_000
"""Graphs at most that the maps without images add."""

Points = list[AnyArray]


@dataclass(frozen=True)
class Size:
    """One library: what it is made of, graphs, those of them without images; mean Chamfer distances.

    `chamfer_m` is of the model's first graph, `oracle_m` of the best graph, `random_m` of chance.
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
    data: BenchData,
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
    truths, points = _points(done.truths, data.window), _points(library.graphs, data.window)
    cap_m = empty_m(data.window)
    sizes = []
    for number, fraction in enumerate(fractions):
        part = np.sort(order[: max(1, round(fraction * len(library)))])
        some = [points[k] for k in part]
        best = _best(truths, some, cap_m)
        sizes.append(_size(f"{fraction:.3g} of the training maps", 0, asked, rows[part], some, truths, best, cap_m))
        told(number + 1, len(fractions) + bool(more))
    if more:
        extra = Library.of(more, data.window, most=MOST_MORE)
        data.separation(done.queries, extra, more)
        added = _points(extra.graphs, data.window)
        wide = np.concatenate([rows, _embedded(model, extra, kept, seal)])
        best = np.minimum(best, _best(truths, added, cap_m))
        named = ", ".join(dict.fromkeys(extra.maps)) if len(more) <= 6 else f"{len(more)} maps"
        label = f"all, and graphs without images of {named}"
        sizes.append(_size(label, len(extra), asked, wide, points + added, truths, best, cap_m))
        told(len(fractions) + 1, len(fractions) + 1)
    return sizes


def _embedded(model: EmbeddingModel, library: Library, kept: Kept, seal: str) -> FloatArray:
    identity = {"model": seal, "graphs": graphs_seal(library.graphs)}
    return kept.rows("library", identity, lambda: model.embed_graphs(library.graphs))


def _points(graphs: Sequence[LaneGraph], window: Window) -> Points:
    """Vertices at 1 m of each graph, as Chamfer distance looks at them."""
    return [sampled(graph, window).points_m for graph in graphs]


def _best(truths: Points, points: Points, cap_m: float) -> DoubleArray:
    found = best_in_library(PointSets.of(truths), PointSets.of(points), cap_m=cap_m)
    return np.asarray(found.chamfer_m, np.float64)


def _size(
    label: str,
    more: int,
    asked: FloatArray,
    rows: FloatArray,
    points: Points,
    truths: Points,
    best: DoubleArray,
    cap_m: float,
) -> Size:
    first = nearest_rows(asked, rows)
    drawn = np.random.default_rng(len(rows)).integers(len(rows), size=(4, len(asked)))

    def mean(chosen: IntArray) -> float:
        return float(np.mean([chamfer_m(true, points[k], cap_m) for true, k in zip(truths, chosen, strict=True)]))

    chance = float(np.mean([mean(one) for one in drawn]))
    return Size(label, len(rows), more, mean(first), float(best.mean()), chance)
