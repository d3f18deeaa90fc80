"""Retrieval measured: every method answers the same queries, every answer is scored by every metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from foldmap.bench.street import methods
from foldmap.bench.street.data import LazyPairs, StreetData, graphs_of, thinned
from foldmap.bench.street.generators import GeneratorSettings
from foldmap.bench.street.library import Library
from foldmap.bench.street.predict import Answers, Kept, graphs_seal, seal_of
from foldmap.bench.street.split import Distances
from foldmap.errors import ConfigError
from foldmap.metrics.street_sampled import DEFINITIONS_VERSION, sampled
from foldmap.metrics.street_scores import StreetScores, mean_scores, sampled_scores
from foldmap.street.graph.window import Window
from foldmap.street.images.observation import Pair, RingFrame
from foldmap.street.model import EmbeddingModel
from foldmap.street.source import LaneGraph
from foldmap.types import DoubleArray, FloatArray

RANKS = (1, 5, 10)
BASELINES = ("random", "oracle", "unimodal", "unimodal-own")


@dataclass(frozen=True)
class RetrievalSettings:
    """What decides a retrieval table apart from its data.

    Attributes:
        queries: at most.
        library: graphs at most; 0 for all.
        images: training images at most, for nearest images and generators.
        generators: styles that are trained and measured; none where empty.
        generator: their settings.
        own: whether the nearest training image in the model's own embedding is asked for.
        seed: of every draw.
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
    """A method's answers and how good they are.

    Attributes:
        answers: what it gave.
        mean: of every metric.
        chamfer_m: float64 (Q,), of each query; the mean of the draws where there are several.
    """

    answers: Answers
    mean: StreetScores
    chamfer_m: DoubleArray


@dataclass(frozen=True)
class Retrieval:
    """What was measured.

    Attributes:
        label: what the images are.
        queries: that were asked, rendered when asked for.
        truths: their graphs.
        library: what was retrieved from.
        distances: from queries to training places.
        window: of graphs.
        methods: by name, in order.
    """

    label: str
    queries: Sequence[Pair]
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
        return [self.row(name) for name in self.methods]

    def row(self, name: str) -> dict[str, Any]:
        """A method's row."""
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
    data: StreetData,
    models: dict[str, EmbeddingModel],
    settings: RetrievalSettings = RetrievalSettings(),
    *,
    front: EmbeddingModel | None = None,
    kept: Kept | None = None,
    stage: Any = None,
) -> Retrieval:
    """Ask every method for every query, and score.

    Args:
        data: images, maps, split.
        models: by the name of their row; the first is the one whose own embedding finds nearest images.
        settings: see there.
        front: model trained on the front camera alone; the first model with the other cameras missing where None.
        kept: answers and embeddings of earlier runs; nothing is kept where None.
        stage: called with a stage's name, gives a callback (done, total); None tells nobody.

    Raises:
        ConfigError: the split leaks, no model is given, a model has another window, or kept answers do not fit.
    """
    if not models or any(model.window != data.window for model in models.values()):
        raise ConfigError(f"models for windows of {data.window}", "give at least one, all of the data's window")
    kept = kept or Kept(None)
    begin = stage or (lambda name: methods.quiet)
    queries = thinned(data.test, settings.queries, settings.seed)
    truths = tuple(graphs_of(queries))
    begin(f"{data.label}: library")
    library = data.library(settings.library)
    found = data.separation(queries, library)
    bench = _Bench(data, queries, truths, library, settings, kept, begin)
    answers = [bench.chance(), bench.oracle(), *bench.images(next(iter(models.values())))]
    for name, model in models.items():
        answers.append(bench.model(name, model))
    answers += bench.single(next(iter(models.values())), front)
    answers += [bench.generator(style) for style in settings.generators]
    begin(f"{data.label}: scores")
    scored = score(answers, truths, data.window)
    return Retrieval(data.label, queries, truths, library, found, data.window, scored)


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

    def __init__(
        self,
        data: StreetData,
        queries: Sequence[Pair],
        truths: tuple[LaneGraph, ...],
        library: Library,
        settings: RetrievalSettings,
        kept: Kept,
        begin: Any,
    ) -> None:
        self.data, self.queries, self.truths, self.library = data, queries, truths, library
        self.settings, self.kept, self.begin = settings, kept, begin
        self.identity = {
            "data": data.fingerprint(),
            "queries": [settings.queries, settings.seed],
            "library": graphs_seal(library.graphs),
            "definitions": DEFINITIONS_VERSION,
        }
        self.images_identity = {"data": data.fingerprint(), "images": [settings.images, settings.seed]}
        self.training = thinned(data.train, settings.images, settings.seed + 1)

    def chance(self) -> Answers:
        return methods.random_answers(len(self.queries), self.library, self.settings.seed)

    def oracle(self) -> Answers:
        self.begin(f"{self.data.label}: oracle")
        return self.kept.answers(
            "oracle",
            self.identity,
            lambda: methods.oracle_answers(self.truths, self.library, self.data.window),
        )

    def images(self, model: EmbeddingModel) -> list[Answers]:
        """Nearest training images: by ImageNet, and by the model's own embedding."""
        graphs = graphs_of(self.training)
        described = [self.described(what, pairs, identity) for what, pairs, identity in self._both()]
        found = [methods.unimodal("unimodal", described[1], described[0], graphs)]
        if self.settings.own:
            own = [self.observed(model, pairs, what, identity) for what, pairs, identity in self._both()]
            found.append(methods.unimodal("unimodal-own", own[1], own[0], graphs))
        return found

    def described(self, what: str, pairs: Sequence[Pair], identity: dict[str, Any]) -> FloatArray:
        """ImageNet features of images."""
        told = self.begin(f"{self.data.label}: ImageNet features of {what}")
        window = self.data.window
        return self.kept.rows(f"imagenet-{what}", identity, lambda: methods.imagenet_features(pairs, window, told))

    def model(self, name: str, model: EmbeddingModel) -> Answers:
        """Graphs by image."""
        seal = seal_of(model.payload())
        self.begin(f"{self.data.label}: {name}, graphs")
        graphs = self.library.graphs
        identity = {"model": seal, "graphs": self.identity["library"]}
        rows = self.kept.rows("library", identity, lambda: model.embed_graphs(graphs))
        what, pairs, identity = self._both()[1]
        asked = self.observed(model, pairs, what, identity)
        return self.kept.answers(
            name,
            {**self.identity, "model": seal},
            lambda: methods.retrieved(name, asked, rows, self.library, model.embed_graphs(self.truths)),
        )

    def single(self, model: EmbeddingModel, front: EmbeddingModel | None) -> list[Answers]:
        """The front camera of a ring alone; nothing for aerial crops."""
        first = self.queries[0].observation
        if not isinstance(first, RingFrame) or len(first.ring) < 2:
            return []
        camera = methods.front_camera(first)
        name = f"single camera ({camera})"
        pairs = _OneCamera(self.queries, camera)
        by = front or model
        seal = seal_of(by.payload())
        told = self.begin(f"{self.data.label}: {name}")

        def make() -> Answers:
            rows = by.embed_graphs(self.library.graphs)
            asked = methods.embed_pairs(by, pairs, told)
            return methods.retrieved(name, asked, rows, self.library, by.embed_graphs(self.truths))

        found = self.kept.answers("single-camera", {**self.identity, "model": seal}, make)
        return [found]

    def generator(self, style: str) -> Answers:
        """Graphs drawn from the image."""
        settings = replace(self.settings.generator, window=self.data.window)
        told = self.begin(f"{self.data.label}: {style}")
        identity = {**self.identity, **self.images_identity, "generator": asdict(settings)}
        return self.kept.answers(
            style,
            identity,
            lambda: methods.generated(
                style, self.training, self.queries, settings, self.settings.seed, self.kept, self.images_identity, told
            ),
        )

    def observed(self, model: EmbeddingModel, pairs: Sequence[Pair], what: str, identity: dict[str, Any]) -> FloatArray:
        """Embeddings of images."""
        told = self.begin(f"{self.data.label}: {model.name} embeddings of {what}")
        return self.kept.rows(
            f"images-{what}",
            {**identity, "model": seal_of(model.payload())},
            lambda: methods.embed_pairs(model, pairs, told),
        )

    def _both(self) -> list[tuple[str, Sequence[Pair], dict[str, Any]]]:
        asked = {"data": self.identity["data"], "queries": self.identity["queries"]}
        return [("training", self.training, dict(self.images_identity)), ("queries", self.queries, asked)]


class _OneCamera(LazyPairs):
    """Frames with one camera left."""

    def __init__(self, pairs: Sequence[Pair], camera: str) -> None:
        self._pairs, self._camera = pairs, camera

    def __len__(self) -> int:
        return len(self._pairs)

    def one(self, number: int) -> Pair:
        """Render a frame."""
        return methods.one_camera(self._pairs[number], self._camera)
