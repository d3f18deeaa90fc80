"""Retrieval measured: every method answers the same queries, every answer is scored by every metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from foldmap.bench.street import methods
from foldmap.bench.street.data import Library, Some, StreetBenchData, graphs_of, thinned
from foldmap.bench.street.generators.common import GeneratorSettings
from foldmap.bench.street.predict import NOT_KEPT, Answers, Kept, Progress, Stage, graphs_seal, seal_of, unstaged
from foldmap.bench.street.split import Distances
from foldmap.errors import ConfigError
from foldmap.metrics.street_sampled import DEFINITIONS_VERSION, sampled
from foldmap.metrics.street_scores import StreetScores, mean_scores, sampled_scores
from foldmap.street.graph.window import Window
from foldmap.street.images.observation import RingFrame, StreetPair
from foldmap.street.model import EmbeddingModel
from foldmap.street.source import LaneGraph
from foldmap.types import DoubleArray, FloatArray, IntArray

RANKS = (1, 5, 10)
Rows = Callable[[], FloatArray]


@dataclass(frozen=True)
class RetrievalSettings:
    """What decides a retrieval table apart from its data.

    At most so many `queries`, graphs of the `library` (0 for all) and training `images` (for nearest images and
    generators) are used; styles of `generators` are trained and measured. `own`: whether the nearest training image in
    the model's own embedding is asked for.
    """

    queries: int = 600
    library: int = 0
    images: int = 4000
    generators: tuple[str, ...] = ("topo-tr", "topo-prnn", "pinet")
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    own: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Scored:
    """A method's answers, their mean of every metric, and float64 (Q,) of each query, the mean of its draws."""

    answers: Answers
    mean: StreetScores
    chamfer_m: DoubleArray


@dataclass(frozen=True)
class Retrieval:
    """What was measured: queries, rendered when asked for, true graphs, the library, how far it is, the methods."""

    label: str
    queries: Sequence[StreetPair]
    truths: tuple[LaneGraph, ...]
    library: Library
    distances: Distances
    window: Window
    methods: dict[str, Scored]

    def way(self, name: str) -> float:
        """Share of the way from random to oracle in mean Chamfer: 0 is chance, 1 the best of the library."""
        far, best = (self.methods[key].mean.chamfer_m for key in ("random", "oracle"))
        return (far - self.methods[name].mean.chamfer_m) / (far - best) if far > best else float("nan")

    def rows(self) -> list[dict[str, Any]]:
        """One row a method, every metric."""
        return [self._row(name) for name in self.methods]

    def _row(self, name: str) -> dict[str, Any]:
        scored = self.methods[name]
        ranks = scored.answers.ranks
        recall = {f"recall_at_{k}": float((ranks <= k).mean()) if len(ranks) else float("nan") for k in RANKS}
        return {
            "method": name,
            "queries": len(self.truths),
            "library": scored.answers.library,
            "way_pct": 100 * self.way(name),
            **scored.mean.as_dict(),
            **recall,
            "ms_a_query": 1e3 * scored.answers.seconds,
            "distance_min_m": float(self.distances.known.min()) if len(self.distances.known) else float("nan"),
            "leaky": self.distances.leaky,
        }


def measure_retrieval(
    data: StreetBenchData,
    models: dict[str, EmbeddingModel],
    settings: RetrievalSettings = RetrievalSettings(),
    *,
    front: EmbeddingModel | None = None,
    kept: Kept = NOT_KEPT,
    stage: Stage = unstaged,
) -> Retrieval:
    """Ask every method for every query, and score.

    Models come by the name of their row; the first also finds nearest images in its own embedding. `front` was trained
    on the front camera alone; where None the first model looks, with the other cameras missing.

    Raises:
        ConfigError: the split leaks, no model is given, a model has another window, or kept answers do not fit.
    """
    if not models or any(model.window != data.window for model in models.values()):
        raise ConfigError(f"models for windows of {data.window}", "give at least one, all of the data's window")
    stage(f"{data.label}: library")
    bench = _Bench(data, settings, kept, stage)
    found = data.separation(bench.queries, bench.library)
    first = next(iter(models.values()))
    chance = methods.random_answers(len(bench.queries), bench.library, settings.seed)
    answers = [chance, bench.oracle(), *bench.nearest_images(first)]
    answers += [bench.model(name, model) for name, model in models.items()]
    answers += bench.single_camera(front or first)
    answers += [bench.generator(style) for style in settings.generators]
    stage(f"{data.label}: scores")
    scored = score(answers, bench.truths, data.window)
    return Retrieval(data.label, bench.queries, bench.truths, bench.library, found, data.window, scored)


def score(answers: Sequence[Answers], truths: Sequence[LaneGraph], window: Window) -> dict[str, Scored]:
    """Every metric of every answer; a truth is sampled once."""
    true = [sampled(graph, window) for graph in truths]
    scored = {}
    for one in answers:
        each = [sampled_scores(sampled(g, window), true[k % len(true)], window) for k, g in enumerate(one.graphs)]
        chamfer = np.array([value.chamfer_m for value in each]).reshape(-1, len(true)).mean(0)
        scored[one.method] = Scored(one, mean_scores(each), chamfer)
    return scored


class _Bench:
    """The methods on one set of data, kept between runs."""

    def __init__(self, data: StreetBenchData, settings: RetrievalSettings, kept: Kept, stage: Stage) -> None:
        self.data, self.settings, self.kept, self.stage = data, settings, kept, stage
        self.queries = thinned(data.test, settings.queries, settings.seed)
        self.truths = tuple(graphs_of(self.queries))
        self.library = data.library(settings.library)
        self.training = thinned(data.train, settings.images, settings.seed + 1)
        seal = data.fingerprint()
        self.asked = {"data": seal, "queries": [settings.queries, settings.seed]}
        self.learned = {"data": seal, "images": [settings.images, settings.seed]}
        self.seal = graphs_seal(self.library.graphs)
        self.identity = {**self.asked, "library": self.seal, "definitions": DEFINITIONS_VERSION}

    def told(self, what: str) -> Progress:
        return self.stage(f"{self.data.label}: {what}")

    def oracle(self) -> Answers:
        self.told("oracle")
        make = partial(methods.oracle_answers, self.truths, self.library, self.data.window)
        return self.kept.answers("oracle", self.identity, make)

    def nearest_images(self, model: EmbeddingModel) -> list[Answers]:
        """Graphs of nearest training images: by ImageNet, and by the model's own embedding."""
        graphs = graphs_of(self.training)
        learned, asked = (self.described(queries=queries) for queries in (False, True))
        found = [methods.unimodal("unimodal", asked, learned, graphs)]
        if self.settings.own:
            learned, asked = (self.observed(model, queries=queries) for queries in (False, True))
            found.append(methods.unimodal("unimodal-own", asked, learned, graphs))
        return found

    def described(self, *, queries: bool) -> FloatArray:
        """ImageNet features of queries or training images."""
        what, pairs, identity = self._images(queries)
        told = self.told(f"ImageNet features of {what}")
        make = partial(methods.imagenet_features, pairs, told)
        return self.kept.rows(f"imagenet-{what}", identity, make)

    def observed(self, model: EmbeddingModel, *, queries: bool) -> FloatArray:
        """Embeddings of queries or training images."""
        what, pairs, identity = self._images(queries)
        told = self.told(f"{model.name} embeddings of {what}")
        identity = {**identity, "model": seal_of(model.payload())}
        return self.kept.rows(f"images-{what}", identity, partial(methods.embed_pairs, model, pairs, told))

    def _images(self, queries: bool) -> tuple[str, Sequence[StreetPair], dict[str, Any]]:
        return ("queries", self.queries, self.asked) if queries else ("training", self.training, self.learned)

    def model(self, name: str, model: EmbeddingModel) -> Answers:
        """Graphs by image."""
        self.told(f"{name}, graphs")
        identity = {"model": seal_of(model.payload()), "graphs": self.seal}
        rows = self.kept.rows("library", identity, partial(model.embed_graphs, self.library.graphs))
        asked = self.observed(model, queries=True)
        return self._retrieved(name, name, model, lambda: asked, lambda: rows)

    def single_camera(self, model: EmbeddingModel) -> list[Answers]:
        """The front camera of a ring alone; nothing for aerial crops."""
        first = self.queries[0].observation
        if not isinstance(first, RingFrame) or len(first.ring) < 2:
            return []
        camera = methods.front_camera(first)
        name = f"single camera ({camera})"
        told = self.told(name)
        pairs = _OneCamera(self.queries, np.arange(len(self.queries)), camera)
        asked = partial(methods.embed_pairs, model, pairs, told)
        rows = partial(model.embed_graphs, self.library.graphs)
        return [self._retrieved("single-camera", name, model, asked, rows)]

    def _retrieved(self, file: str, name: str, model: EmbeddingModel, asked: Rows, rows: Rows) -> Answers:
        def make() -> Answers:
            return methods.retrieved(name, asked(), rows(), self.library, model.embed_graphs(self.truths))

        return self.kept.answers(file, {**self.identity, "model": seal_of(model.payload())}, make)

    def generator(self, style: str) -> Answers:
        """Graphs drawn from the image."""
        settings, seed = replace(self.settings.generator, window=self.data.window), self.settings.seed
        told = self.told(style)
        identity = {**self.identity, **self.learned, "generator": asdict(settings)}
        pairs = self.training, self.queries
        make = partial(methods.generated, style, *pairs, settings, seed, self.kept, self.learned, told)
        return self.kept.answers(style, identity, make)


class _OneCamera(Some):
    """Frames with one camera left."""

    def __init__(self, pairs: Sequence[StreetPair], rows: IntArray, camera: str) -> None:
        super().__init__(pairs, rows)
        self._camera = camera

    def render(self, number: int) -> StreetPair:
        """Render a frame."""
        pair = super().render(number)
        assert isinstance(pair.observation, RingFrame)
        return replace(pair, observation=methods.one_camera(pair.observation, self._camera))
