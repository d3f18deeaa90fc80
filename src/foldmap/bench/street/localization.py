"""Localization measured: single images with a prior and without, and drives, each against what is no localization."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from foldmap.bench.street.data import StreetBenchData, places_of
from foldmap.bench.street.drives import StreetDrive
from foldmap.bench.street.methods import embed_pairs
from foldmap.bench.street.predict import NOT_KEPT, Kept, Stage, seal_of, unstaged
from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.localize.street.calibrate import calibrated, near_truth
from foldmap.localize.street.estimate import StreetEstimate
from foldmap.localize.street.lane_places import LanePlaces, lane_places
from foldmap.localize.street.localizer import StreetLocalizer
from foldmap.localize.street.settings import StreetPrior, StreetSettings
from foldmap.metrics.retrieval import LOCALIZATION_M, localization_scores
from foldmap.street.images.observation import StreetPair
from foldmap.street.model import EmbeddingModel
from foldmap.street.places import windows
from foldmap.types import DoubleArray, FloatArray

Embed = Callable[[Sequence[StreetPair]], FloatArray]
"""Images to unit rows in the space of the places' graphs."""


@dataclass(frozen=True)
class LocalizationSettings:
    """What decides a localization table apart from its data.

    At most so many single images and drives of a map, frames of a drive and metres between them. A single image is
    known to be in a disc of radius `prior_m`, its middle drawn evenly about the truth; places are `place_m` apart.
    """

    singles: int = 60
    drives: int = 12
    frames: int = 20
    step_m: float = 5.0
    prior_m: float = 64.0
    place_m: float = 2.0
    seed: int = 0


@dataclass(frozen=True)
class Found:
    """Answers of one method to one question: true poses, guesses (None: says nothing), whether it stands by a pose.

    Questions are "single, 64 m prior", "single, whole map", "drive, last frame" and "drive, all frames".
    """

    method: str
    question: str
    truth: list[SE2] = field(default_factory=list)
    guess: list[SE2 | None] = field(default_factory=list)
    stands: list[bool] = field(default_factory=list)

    def add(self, truth: SE2, guess: SE2 | None, stands: bool = False) -> None:
        """One more."""
        self.truth.append(truth)
        self.guess.append(guess)
        self.stands.append(stands)

    @property
    def error_m(self) -> DoubleArray:
        """Distance of each guess, infinite where there is none."""
        both = zip(self.truth, self.guess, strict=True)
        return np.array([math.inf if b is None else math.hypot(b.x_m - a.x_m, b.y_m - a.y_m) for a, b in both])

    def row(self) -> dict[str, Any]:
        """Its row."""
        scores, stands = localization_scores(self.truth, self.guess), np.array(self.stands, bool)
        right = self.error_m[stands] <= 10.0
        return {
            "question": self.question,
            "method": self.method,
            "count": scores.count,
            **{f"within_{limit:g}m_pct": 100 * scores.recall[limit] for limit in LOCALIZATION_M},
            "median_m": scores.median_m,
            "heading_median_deg": scores.heading_median_deg,
            "heading_p95_deg": scores.heading_p95_deg,
            "stands_pct": 100 * float(stands.mean()),
            "right_when_stands_pct": 100 * float(right.mean()) if stands.any() else math.nan,
        }


@dataclass(frozen=True)
class Localization:
    """What was measured: answers by (question, method), places of each map, temperature of each method's likelihood.

    `example` is map, estimate and true poses of a drive's end, for a picture; None without drives.
    """

    label: str
    found: dict[tuple[str, str], Found]
    places: dict[str, int]
    temperature: dict[str, float]
    example: tuple[LanePlaces, StreetEstimate, tuple[SE2, ...]] | None = None

    def rows(self) -> list[dict[str, Any]]:
        """One row a question and method."""
        return [found.row() for found in self.found.values()]


@dataclass(frozen=True)
class _Asked:
    """What is asked on one map."""

    places: LanePlaces
    embeddings: FloatArray
    singles: Sequence[StreetPair]
    drives: list[StreetDrive]


def measure_localization(
    data: StreetBenchData,
    model: EmbeddingModel,
    settings: LocalizationSettings = LocalizationSettings(),
    *,
    unimodal: Embed | None = None,
    kept: Kept = NOT_KEPT,
    stage: Stage = unstaged,
) -> Localization:
    """Localize in each held-out map, all of its graph in the library.

    Temperature and threshold of a map come from single images on the other held-out maps, never from its own; where
    there is one only, from those on a training map, which flatters the model's confidence, not its order. `unimodal` is
    another way to embed images into the same space (`through_images`), as a baseline.

    Raises:
        ConfigError: a held-out map has no images to localize, or all together are too few to calibrate with.
    """
    names = data.split.test
    more = () if len(names) > 1 else data.split.train[:1]
    told = stage(f"{data.label}: places")
    asked: dict[str, _Asked] = {}
    for done, name in enumerate((*names, *more)):
        asked[name] = _asked(data, model, name, settings, kept, name in names)
        told(done + 1, len(names) + len(more))
    found: dict[tuple[str, str], Found] = {}
    identity = {"data": data.fingerprint(), "model": seal_of(model.payload()), "settings": asdict(settings)}
    ways: dict[str, Embed] = {"foldmap": partial(embed_pairs, model)}
    if unimodal is not None:
        ways["unimodal"] = unimodal
    example, temperature = None, {}
    for way, embed in ways.items():
        told = stage(f"{data.label}: {way}, localization")

        def keep(file: str, pairs: Sequence[StreetPair], way: str = way, embed: Embed = embed) -> FloatArray:
            own = kept if way == "foldmap" else NOT_KEPT
            return own.rows(file, {**identity, "way": way, "name": file}, partial(embed, pairs))

        seen = {name: keep(f"{name}-singles", one.singles) for name, one in asked.items()}
        for done, name in enumerate(names):
            others = [(asked[other], seen[other]) for other in asked if other != name]
            tuned = _tuned(others)
            temperature[f"{way}, {name}"] = tuned.temperature
            local = StreetLocalizer(asked[name].places, asked[name].embeddings, tuned)
            _singles(found, way, local, asked[name].singles, seen[name], settings)
            drives = [(drive, keep(f"{name}-drive-{k}", drive.frames)) for k, drive in enumerate(asked[name].drives)]
            ended = _drives(found, way, local, drives)
            example = example or (ended if way == "foldmap" else None)
            told(done + 1, len(names))
    for name in names:
        _baselines(found, asked[name], settings)
    sizes = {name: len(asked[name].places) for name in names}
    ordered = sorted(found.items(), key=lambda item: (item[0][0].startswith("drive"), item[0][0]))
    return Localization(data.label, dict(ordered), sizes, temperature, example)


def through_images(
    queries: Callable[[Sequence[StreetPair]], FloatArray], rows: FloatArray, graph_rows: FloatArray
) -> Embed:
    """Unimodal localization: the embedding of the graph of the most similar training image stands for the query's.

    `queries` gives features of images, unit rows; `rows` float32 (N, F) are those of the training images, `graph_rows`
    float32 (N, D) the embeddings of their graphs.
    """

    def embed(pairs: Sequence[StreetPair]) -> FloatArray:
        found: FloatArray = graph_rows[np.argmax(queries(pairs) @ rows.T, axis=1)]
        return found

    return embed


def _asked(
    data: StreetBenchData, model: EmbeddingModel, name: str, settings: LocalizationSettings, kept: Kept, test: bool
) -> _Asked:
    graph = data.maps[name].graph
    places = lane_places(graph, settings.place_m)
    graphs = list(windows(graph, map(places.pose, range(len(places))), data.window))
    of_map = seal_of(graph.vertices_m.tobytes(), graph.edges.tobytes())
    identity = {"model": seal_of(model.payload()), "map": of_map, "place_m": settings.place_m}
    rows = kept.rows(f"places-{name}", identity, lambda: model.embed_graphs(graphs))
    shown = np.linalg.norm(rows, axis=1) > 0.5  # a window whose lanes only touch its rim has nothing to embed
    if not shown.all():
        raise ConfigError(f"{int((~shown).sum())} places of {name} have empty windows", "take a larger window")
    singles = data.singles(name, settings.singles, settings.seed)
    drives = data.drives(name, settings.drives, settings.frames, settings.step_m, settings.seed) if test else []
    if not len(singles):
        raise ConfigError(f"the map {name} has no images to localize", "hold out another map")
    return _Asked(places, rows, singles, drives)


def _tuned(others: Sequence[tuple[_Asked, FloatArray]]) -> StreetSettings:
    """Temperature and threshold from images on other maps, their similarities side by side as if on one."""
    count = max(len(one.places) for one, _ in others)
    similarity, near = [], []
    for one, seen in others:
        truth = np.array([(pose.x_m, pose.y_m, pose.heading_rad) for _, pose in places_of(one.singles)])
        wide = np.full((len(seen), count), -1e3, np.float32)  # places that the smaller map does not have
        wide[:, : len(one.places)] = seen @ one.embeddings.T
        mask = np.zeros((len(seen), count), bool)
        mask[:, : len(one.places)] = near_truth(one.places, truth)
        similarity.append(wide)
        near.append(mask)
    return calibrated(StreetSettings(), np.concatenate(similarity), np.concatenate(near), np.ones(count))


def _singles(
    found: dict[tuple[str, str], Found],
    way: str,
    local: StreetLocalizer,
    singles: Sequence[StreetPair],
    seen: FloatArray,
    settings: LocalizationSettings,
) -> None:
    for (truth, priors), row in zip(_priors(singles, settings), seen, strict=True):
        for question, given in priors.items():
            estimate = local.localize(row, given)
            _of(found, question, way).add(truth, estimate.guess, estimate.pose is not None)


def _priors(
    singles: Sequence[StreetPair], settings: LocalizationSettings
) -> list[tuple[SE2, dict[str, StreetPrior | None]]]:
    """The truth of each image, and what it is asked with: a disc that holds it, evenly anywhere about it; nothing."""
    rng = np.random.default_rng([settings.seed, 7])
    made: list[tuple[SE2, dict[str, StreetPrior | None]]] = []
    for _, truth in places_of(singles):
        far, way = settings.prior_m * math.sqrt(rng.uniform()), rng.uniform(0, 2 * math.pi)
        x, y = truth.x_m + far * math.cos(way), truth.y_m + far * math.sin(way)
        disc = StreetPrior(x, y, settings.prior_m)
        made.append((truth, {f"single, {settings.prior_m:g} m prior": disc, "single, whole map": None}))
    return made


def _drives(
    found: dict[tuple[str, str], Found],
    way: str,
    local: StreetLocalizer,
    drives: Sequence[tuple[StreetDrive, FloatArray]],
) -> tuple[LanePlaces, StreetEstimate, tuple[SE2, ...]] | None:
    example = None
    for drive, seen in drives:
        belief = local.start()
        for increment, truth, row in zip(drive.increments, drive.poses, seen, strict=True):
            estimate = belief.step(row, increment)
            _of(found, "drive, all frames", way).add(truth, estimate.guess, estimate.pose is not None)
        _of(found, "drive, last frame", way).add(truth, estimate.guess, estimate.pose is not None)
        example = (local.places, estimate, drive.poses)
    return example


def _baselines(found: dict[tuple[str, str], Found], asked: _Asked, settings: LocalizationSettings) -> None:
    """A place at random within the prior; and a random start carried on by odometry alone."""
    local = StreetLocalizer(asked.places, asked.embeddings)
    rng = np.random.default_rng([settings.seed, 9])
    for truth, priors in _priors(asked.singles, settings):
        for question, given in priors.items():
            _of(found, question, "random place").add(truth, _anywhere(local, given, rng))
    for drive in asked.drives:
        pose = _anywhere(local, None, rng)
        for increment, truth in zip(drive.increments, drive.poses, strict=True):
            pose = pose if pose is None or increment is None else pose @ increment
            _of(found, "drive, all frames", "odometry alone").add(truth, pose)
        _of(found, "drive, last frame", "odometry alone").add(truth, pose)


def _anywhere(local: StreetLocalizer, prior: StreetPrior | None, rng: np.random.Generator) -> SE2 | None:
    belief = local.prior_belief(prior)
    return local.places.pose(int(rng.choice(len(belief), p=belief))) if belief.sum() > 0 else None


def _of(found: dict[tuple[str, str], Found], question: str, method: str) -> Found:
    return found.setdefault((question, method), Found(method, question))
