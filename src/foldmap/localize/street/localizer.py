"""Where in the street map: a heatmap of similarity from one observation, a Bayes filter along the lanes from many."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from foldmap.errors import ConfigError, MapInputError, PoseInputError
from foldmap.geometry import SE2
from foldmap.localize.estimate import Status
from foldmap.localize.evidence import MapCalibration
from foldmap.localize.street.belief import Modes
from foldmap.localize.street.chance import EVIDENCE
from foldmap.localize.street.estimate import StreetDiagnostics, StreetEstimate, decide
from foldmap.localize.street.lane_motion import LaneWalker
from foldmap.localize.street.lane_places import LanePlaces, lane_places, turn_between
from foldmap.localize.street.settings import StreetPrior, StreetSettings
from foldmap.street.embed import embed_places
from foldmap.street.images.observation import AerialCrop, Observation, RingFrame
from foldmap.street.model import EmbeddingModel, MirroringModel
from foldmap.street.places import EdgeIndex, Places
from foldmap.street.search import check_unit_rows
from foldmap.street.unfold import FoldedStreet
from foldmap.types import AnyArray, DoubleArray, FloatArray

Seen: TypeAlias = Observation | AnyArray
"""An observation, or its embedding, a unit row."""

STEP_M = 2.0
_PATH_FRAMES, _PAID_FRAMES = 10, 20
_LEAST_FRAMES = 5
_INDEPENDENT = 3.0  # of ten observations in a row: neighbouring windows overlap and err alike
_LEAST_SEEN = 0.25  # squared length of an embedding, 1 or 0: of an image that shows no ground it is 0


@dataclass(frozen=True)
class Path:
    """What the way so far says: the mean score from five observations on, and what it pays, in log odds.

    It pays what the best place anywhere for each observation fits better than the place on the path: a way that is
    right needs none of them elsewhere.
    """

    score: float | None
    pays: float


class StreetLocalizer:
    """Finds observations among the places of a street map, dense along the lanes, about every 2 m.

    Embeddings are float16 or float32 (N, D), unit rows: the model's, of the lane graph around each place; the settings'
    temperature and thresholds belong to it. Without a model, embeddings are given instead of observations.
    """

    def __init__(
        self,
        places: LanePlaces,
        embeddings: AnyArray,
        settings: StreetSettings | None = None,
        model: EmbeddingModel | None = None,
    ) -> None:
        if embeddings.ndim != 2 or len(embeddings) != len(places):
            raise MapInputError(f"embeddings {embeddings.shape} for {len(places)} places", "embed each place's graph")
        self.places, self.model = places, model
        self.settings = settings or StreetSettings()
        self.modes = Modes(places)
        self._embeddings = np.ascontiguousarray(embeddings, np.float32)
        check_unit_rows("of place", self._embeddings)

    @classmethod
    def open(
        cls,
        folded: FoldedStreet,
        settings: StreetSettings | None = None,
        *,
        region: str | None = None,
        model: EmbeddingModel | None = None,
        step_m: float = STEP_M,
        near: Sequence[StreetPrior] | None = None,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> StreetLocalizer:
        """Lay places along the lanes of a folded map and embed what is around each, as ``foldmap localize``.

        Settings are what suits the model, and that is the layer's own, unless given. A region is named where there are
        several. ``near`` takes the lanes around these priors alone, which is enough for single images that all have
        them. ``report`` is called with places done and in all.
        """
        model = model or folded.model()
        if region is None and len(folded.regions) != 1:
            raise ConfigError(f"the map has {len(folded.regions)} regions, each in a frame of its own", "name one")
        graph = lanes = folded.graph(region if region is not None else folded.regions[0].name)
        if near is not None:
            index = EdgeIndex(graph)
            found = [index.near(prior.x_m, prior.y_m, prior.radius_m) for prior in near]
            lanes = graph.take_edges(np.unique(np.concatenate(found)))
        places = lane_places(lanes, step_m)
        none = np.zeros(len(places), np.int64)
        poses = Places(places.x_m, places.y_m, places.heading_rad, none, none.astype(np.float64))
        settings = settings or StreetSettings.of(model, MapCalibration.read(folded.parameters, "street"))
        return cls(places, embed_places(graph, poses, model, report), settings, model)

    def mirrored(self) -> StreetLocalizer:
        """That of another town just like this one (`LanePlaces.mirrored`): drives here are not in it.

        A ConfigError where the model does not tell what mirrored places look like.
        """
        if not isinstance(self.model, MirroringModel):
            raise ConfigError("the model has no mirror", "localize in the map of another town")
        return StreetLocalizer(
            self.places.mirrored(), self._embeddings * self.model.mirror_signs, self.settings, self.model
        )

    def embedding_of(self, observation: Seen) -> FloatArray | None:
        """The unit row of an observation, float32 (D,); None where it shows nothing.

        A ConfigError or MapInputError where there is no model, it cannot use the observation, or the row does not fit.
        """
        if isinstance(observation, RingFrame | AerialCrop):
            if self.model is None:
                raise ConfigError("this localizer has no model to look at images with", "give embeddings")
            row: FloatArray = self.model.embed_observations([observation])[0]
            return row if float((row * row).sum()) > _LEAST_SEEN else None
        row = np.asarray(observation, np.float32)
        if row.shape != self._embeddings.shape[1:]:
            raise MapInputError(
                f"an observation's embedding of shape {row.shape} among places of width {self._embeddings.shape[1]}",
                "embed both with the same model",
            )
        check_unit_rows("of the observation, row", row[None])
        return row

    def similarity(self, observation: Seen | None) -> FloatArray | None:
        """Cosine similarity of an observation to each place, float32 (N,); errors as `embedding_of`."""
        row = None if observation is None else self.embedding_of(observation)
        return None if row is None else self._embeddings @ row

    def prior_belief(self, prior: StreetPrior | None = None) -> DoubleArray:
        """Each lane metre alike, within the prior: float64 (N,), sums to 1; all 0 where the prior holds no lane."""
        p = self.places
        belief: DoubleArray = p.length_m.copy()
        if prior is not None:
            belief[np.hypot(p.x_m - prior.x_m, p.y_m - prior.y_m) > prior.radius_m] = 0
            if prior.heading_rad is not None:
                turn = turn_between(prior.heading_rad, p.heading_rad)
                belief = belief * np.exp(-0.5 * (turn / prior.heading_sigma_rad) ** 2)
        total = float(belief.sum())
        return belief / total if total > 0 else belief

    def updated(
        self, belief: DoubleArray, similarity: FloatArray, anywhere: DoubleArray, weight: float = 1.0
    ) -> DoubleArray:
        """Bayes' rule: the likelihood is a softmax of similarity over `anywhere`, mixed with the outliers' even one.

        The mixture is over where the vehicle could be at all, not over the belief: so one wrong observation cannot draw
        a sure belief away, and several can. Beliefs sum to 1, or are all 0; over `anywhere` the likelihood is 1 on
        average. `weight` is its exponent.
        """
        inside = belief > 0
        if not inside.any():
            return belief
        possible = inside | (anywhere > 0)
        raised = np.zeros(len(belief))
        best = float(similarity[possible].max())
        raised[possible] = np.exp((similarity[possible].astype(np.float64) - best) / self.settings.temperature)
        share = self.settings.outlier_share
        likelihood = (1 - share) * raised / float(anywhere @ raised) + share
        posterior = belief * likelihood**weight
        return np.asarray(posterior / posterior.sum())

    def localize(self, observation: Seen | None, prior: StreetPrior | None = None) -> StreetEstimate:
        """Answer from one observation, within the prior; errors as `embedding_of`.

        It is what a ring of cameras saw, an aerial crop, or the embedding of one; None where no camera that counts has
        an image.
        """
        begin_s = time.perf_counter()
        similarity = self.similarity(observation)
        if similarity is None:
            nothing = StreetDiagnostics(reason="no image of a camera that counts")
            return StreetEstimate(Status.NO_OBSERVATION, None, None, nothing, None, np.zeros(len(self.places)))
        anywhere = self.prior_belief(prior)
        belief = self.updated(anywhere, similarity, anywhere)
        start = None if prior is None else (prior.x_m, prior.y_m)
        return self.judged(belief, similarity, start, None, begin_s)

    def start(self, prior: StreetPrior | None = None) -> StreetFilter:
        """Begin a sequence; see `StreetFilter`."""
        return StreetFilter(self, prior)

    def judged(
        self,
        belief: DoubleArray,
        similarity: FloatArray | None,
        start: tuple[float, float] | None,
        frames_unmatched: int | None,
        begin_s: float,
        path: Path | None = None,
    ) -> StreetEstimate:
        """The estimate that a belief gives; `start` is where it was thought to be before, for information."""
        if not len(self.places) or not float(belief.sum()) > 0:
            reason = "the map has no lanes" if not len(self.places) else "no lane within the prior"
            diagnostics = StreetDiagnostics(reason=reason, time_s=time.perf_counter() - begin_s)
            return StreetEstimate(Status.NO_MAP, None, None, diagnostics, None, belief)
        mode = self.modes.best(belief)
        guess = mode.guess
        calibration = self.settings.calibration
        evidence = mode.margin - (0.0 if path is None else path.pays)
        chance = calibration.chance.get(EVIDENCE)
        signals = ("margin", "sigma_m", "along_m", "across_m", "entropy")
        diagnostics = StreetDiagnostics(
            score=None if similarity is None else float(similarity[mode.place]),
            mode_mass=mode.mass,
            **{name: getattr(mode, name) for name in signals},
            prior_distance_m=None if start is None else math.hypot(guess.x_m - start[0], guess.y_m - start[1]),
            frames_unmatched=frames_unmatched,
            path_score=None if path is None else path.score,
            evidence=evidence,
            log10_chance=None if chance is None else chance.log10_beyond(evidence),
            places=int((belief > 0).sum()),
        )
        status, reason = decide(diagnostics, self.settings.thresholds)
        diagnostics = replace(diagnostics, reason=reason, time_s=time.perf_counter() - begin_s)
        pose, covariance = (guess, calibration.scaled(mode.covariance)) if status.has_pose else (None, None)
        return StreetEstimate(status, pose, covariance, diagnostics, guess, belief, errors=calibration.errors)


class StreetFilter:
    """A Bayes filter along the lanes: forks, lane changes and restarts included.

    It begins within the prior, or anywhere; a restart may always be anywhere. A PoseInputError where the prior holds no
    lane, or the map has none.
    """

    def __init__(self, localizer: StreetLocalizer, prior: StreetPrior | None = None) -> None:
        self._localizer = localizer
        self._anywhere = localizer.prior_belief()
        self._belief = localizer.prior_belief(prior)
        if not float(self._belief.sum()) > 0:
            raise PoseInputError("there is no lane to start the filter on", "give a prior that holds lanes of the map")
        self._walker = LaneWalker(localizer.places, localizer.settings.motion)
        self._unmatched = 0
        self._scores: deque[tuple[float, float]] = deque(maxlen=_PAID_FRAMES)

    @property
    def belief(self) -> DoubleArray:
        """float64 (N,), sums to 1."""
        return self._belief.copy()

    def step(self, observation: Seen | None, odometry: SE2 | None = None) -> StreetEstimate:
        """Drive on and look; what cannot be used leaves the belief as it was.

        Where nothing was seen, the step is dead-reckoned by odometry, previous_SE2_current; None: it did not move.
        """
        begin_s = time.perf_counter()
        local, s, belief = self._localizer, self._localizer.settings, self._belief
        similarity = local.similarity(observation)
        if odometry is not None:
            belief = self._walker.predict(belief, odometry, self._anywhere)
        top = int(np.argmax(belief))
        predicted = (float(local.places.x_m[top]), float(local.places.y_m[top]))
        if similarity is not None:
            belief = local.updated(belief, similarity, self._anywhere, s.frame_weight)
        self._belief = belief
        score = None if similarity is None else float(similarity[int(np.argmax(belief))])
        self._unmatched = 0 if score is not None and score >= s.thresholds.reject_score else self._unmatched + 1
        if similarity is not None and score is not None:
            self._scores.append((score, float(similarity.max())))
        return local.judged(belief.copy(), similarity, predicted, self._unmatched, begin_s, self._path())

    def _path(self) -> Path:
        if not self._scores:
            return Path(None, 0.0)
        settings = self._localizer.settings
        scores, best = np.array(self._scores).T
        pays = _INDEPENDENT * settings.frame_weight / settings.temperature * float((best - scores).mean())
        score = float(scores[-_PATH_FRAMES:].mean()) if len(scores) >= _LEAST_FRAMES else None
        return Path(score, pays)
