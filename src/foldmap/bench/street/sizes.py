"""Quality against library size: fractions of the training maps, then graphs that come without any image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.bench.street.data import Library, StreetBenchData
from foldmap.bench.street.methods import embed_pairs, nearest_rows
from foldmap.bench.street.predict import NOT_KEPT, Kept, Stage, graphs_seal, seal_of, unstaged
from foldmap.bench.street.retrieval import Retrieval
from foldmap.metrics.street_chamfer import PointSets, best_in_library, chamfer_m
from foldmap.metrics.street_sampled import empty_m, sampled
from foldmap.metrics.street_scores import StreetScores, mean_scores, sampled_scores
from foldmap.street.graph.window import Window
from foldmap.street.model import EmbeddingModel
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.types import AnyArray, DoubleArray, FloatArray, IntArray

FRACTIONS = (1 / 64, 1 / 16, 1 / 4, 1.0)
MOST_MORE = 45_000
"""Graphs at most that the maps without images add."""

Points = list[AnyArray]


@dataclass(frozen=True)
class Size:
    """One library: what it is made of, graphs, those of them without images; means over the queries.

    `scores` are of the model's first graph; `oracle_m`, `random_m` Chamfer distances of the best one and of chance.
    """

    library: str
    count: int
    more: int
    scores: StreetScores
    oracle_m: float
    random_m: float

    @property
    def chamfer_m(self) -> float:
        """Of the model's first graph."""
        return self.scores.chamfer_m

    def row(self) -> dict[str, Any]:
        """Its row; `way_pct` within this library, as the bounds move with it."""
        span = self.random_m - self.oracle_m
        way = (self.random_m - self.chamfer_m) / span if span > 0 else float("nan")
        told = {key: value for key, value in vars(self).items() if key != "scores"}
        return {**told, **self.scores.as_dict(), "way_pct": 100 * way}


def measure_sizes(
    data: StreetBenchData,
    model: EmbeddingModel,
    done: Retrieval,
    more: Sequence[StreetMap] = (),
    *,
    fractions: Sequence[float] = FRACTIONS,
    kept: Kept = NOT_KEPT,
    seed: int = 0,
    stage: Stage = unstaged,
) -> list[Size]:
    """Ask the queries of a retrieval of smaller and larger libraries.

    Libraries are random parts of the retrieval's, each within the next (`fractions`, ascending); all windows of maps
    without images, `more`, are added last ("Ours++").

    Raises:
        ConfigError: a map of `more` lies where queries do, unless the split is leaky.
    """
    told = stage(f"{data.label}: library sizes")
    seal = seal_of(model.payload())
    asked = embed_pairs(model, done.queries)
    library, cap_m = done.library, empty_m(data.window)
    rows = _embedded(model, library, kept, seal)
    order = np.random.default_rng([seed, 31]).permutation(len(library))
    truths, points = _points(done.truths, data.window), _points(library.graphs, data.window)
    sizes = []

    def mean(points: Points, chosen: IntArray) -> float:
        return float(np.mean([chamfer_m(true, points[k], cap_m) for true, k in zip(truths, chosen, strict=True)]))

    true = [sampled(graph, data.window) for graph in done.truths]

    def scored(graphs: Sequence[LaneGraph]) -> StreetScores:
        pairs = zip(graphs, true, strict=True)
        return mean_scores([sampled_scores(sampled(graph, data.window), one, data.window) for graph, one in pairs])

    def add(label: str, rows: FloatArray, graphs: Sequence[LaneGraph], points: Points, best: DoubleArray) -> None:
        drawn = np.random.default_rng(len(rows)).integers(len(rows), size=(4, len(asked)))
        chance = float(np.mean([mean(points, one) for one in drawn]))
        first = scored([graphs[k] for k in nearest_rows(asked, rows)])
        more = max(0, len(rows) - len(library))
        sizes.append(Size(label, len(rows), more, first, float(best.mean()), chance))

    for number, fraction in enumerate(fractions):
        part = np.sort(order[: max(1, round(fraction * len(library)))])
        some = [points[k] for k in part]
        best = _best(truths, some, cap_m)
        add(f"{fraction:.3g} of the training maps", rows[part], [library.graphs[k] for k in part], some, best)
        told(number + 1, len(fractions) + bool(more))
    if more:
        extra = Library.of(more, data.window, most=MOST_MORE)
        data.separation(done.queries, extra, more)
        added = _points(extra.graphs, data.window)
        wide = np.concatenate([rows, _embedded(model, extra, kept, seal)])
        best = np.minimum(best, _best(truths, added, cap_m))
        named = ", ".join(dict.fromkeys(extra.maps)) if len(more) <= 6 else f"{len(more)} maps"
        graphs = library.graphs + extra.graphs
        add(f"all, and graphs without images of {named}", wide, graphs, points + added, best)
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
