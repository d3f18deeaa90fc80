"""What a street localizer answers, and from which signals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from foldmap.geometry import SE2
from foldmap.localize.estimate import Diagnostics, Estimate, Status, check_numbers
from foldmap.localize.evidence import above, below, first_broken
from foldmap.street.model import EmbeddingModel
from foldmap.types import DoubleArray

_LEAST_SIMILARITY = {"field": 0.7}
_LEAST = 0.2


@dataclass(frozen=True)
class StreetDiagnostics(Diagnostics):
    """Health signals of one street estimate. None: could not be computed for this status.

    Attributes:
        score: cosine similarity of the observation and the place of the guess, -1 to 1.
        mode_mass: probability that the belief puts into the mode answered: within 15 m and 45 degrees of it.
        margin: natural logarithm of the best spot's probability over that of the best spot outside the mode, at most
            30.
        sigma_m: largest position standard deviation within the mode.
        along_m, across_m: the same along and across the road: a straight road looks the same all along.
        entropy: of the belief, 0 (one place) to 1 (all places alike). Information.
        prior_distance_m: from the prior's, or the predicted, position to the guess. Information.
        frames_unmatched: steps since an observation last matched (filter).
        path_score: mean score of the last ten observations, from five on (filter). One window of a foreign town may fit
            somewhere; ten in a row fit less.
        evidence: `margin`, of a drive less what its path pays against the best place anywhere for each of the last
            twenty observations, in the same log odds.
        log10_chance: of the probability that what is not in the map reaches as much evidence; None where the
            calibration tells no chance.
        places: how many were in question.
    """

    score: float | None = None
    mode_mass: float | None = None
    margin: float | None = None
    sigma_m: float | None = None
    along_m: float | None = None
    across_m: float | None = None
    entropy: float | None = None
    prior_distance_m: float | None = None
    frames_unmatched: int | None = None
    path_score: float | None = None
    evidence: float | None = None
    log10_chance: float | None = None
    places: int = 0


@dataclass(frozen=True)
class StreetEstimate(Estimate[SE2, StreetDiagnostics]):
    """An honest answer from the street map.

    The guess is where the belief is densest: what would be said if something had to be. None where no place is in
    question. The belief is float64 (N,), the probability of each place, sums to 1; all 0 where none is in question.
    """

    guess: SE2 | None
    belief: DoubleArray

    def __post_init__(self) -> None:
        super().__post_init__()
        self.belief.setflags(write=False)


@dataclass(frozen=True)
class StreetThresholds:
    """Where a signal warns (the estimate is at best `degraded`) and where it rejects (no pose).

    Attributes:
        reject_score: similarity below it is `no_match`; it depends on the model, see
            `foldmap.localize.street.calibrate`.
        warn_mass, reject_mass: of `mode_mass`; below is `ambiguous`.
        warn_margin, reject_margin: of `margin`.
        warn_sigma_m, reject_sigma_m: of `sigma_m`; above is `ambiguous`.
        reject_path_score: of `path_score`; below is `ambiguous`. It depends on the model; -1: none.
        warn_log10_chance, reject_log10_chance: of `log10_chance`; a drive above is `ambiguous`: streets that fit are
            not yet these streets. A single image, which somebody says is in a disc, is `degraded` at worst.
        most_unmatched: steps without a match after which a filter has no pose.
    """

    reject_score: float = 0.2
    warn_mass: float = 0.95
    reject_mass: float = 0.8
    warn_margin: float = 3.0
    reject_margin: float = 1.0
    warn_sigma_m: float = 4.0
    reject_sigma_m: float = 8.0
    reject_path_score: float = -1.0
    warn_log10_chance: float = -2.5
    reject_log10_chance: float = -2.0
    most_unmatched: int = 5

    def __post_init__(self) -> None:
        check_numbers(self, "threshold")


def least_similarity(model: EmbeddingModel, told: float | None = None) -> float:
    """Below which cosine nothing matches, where nobody says.

    Lane spectra are of lane densities, so even unlike ones have much in common: of a field model on a tile that it had
    not seen, 100 crops on lanes all had a graph above 0.71, 12 without lanes and grey, black and noisy ones none
    above 0.70. Other models spread their embeddings over the sphere.
    """
    return told if told is not None else _LEAST_SIMILARITY.get(model.name, _LEAST)


def decide(diagnostics: StreetDiagnostics, thresholds: StreetThresholds) -> tuple[Status, str]:
    """Judge one belief: the status, and in words the signal that decided (empty for `ok`)."""
    d, t = diagnostics, thresholds
    if d.mode_mass is None or d.margin is None or d.sigma_m is None:
        return Status.NO_MAP, d.reason or "no place in question"
    alone, unmatched = d.frames_unmatched is None, d.frames_unmatched or 0
    score = d.score if alone and d.score is not None else math.inf
    path_score = math.inf if d.path_score is None else d.path_score
    chance = -math.inf if d.log10_chance is None else d.log10_chance
    return first_broken(
        (
            (unmatched > t.most_unmatched, Status.NO_MATCH, f"nothing has matched for {unmatched} steps"),
            below(Status.NO_MATCH, "score", score, t.reject_score, ".3f"),
            below(Status.AMBIGUOUS, "path_score", path_score, t.reject_path_score, ".3f"),
            below(Status.AMBIGUOUS, "mode_mass", d.mode_mass, t.reject_mass),
            below(Status.AMBIGUOUS, "margin", d.margin, t.reject_margin, ".1f"),
            above(Status.AMBIGUOUS, "sigma_m", d.sigma_m, t.reject_sigma_m, ".1f"),
            above(Status.AMBIGUOUS, "log10_chance", -math.inf if alone else chance, t.reject_log10_chance, ".1f"),
            (unmatched > 0, Status.DEGRADED, f"the last match was {unmatched} steps ago"),
            below(Status.DEGRADED, "mode_mass", d.mode_mass, t.warn_mass),
            below(Status.DEGRADED, "margin", d.margin, t.warn_margin, ".1f"),
            above(Status.DEGRADED, "sigma_m", d.sigma_m, t.warn_sigma_m, ".1f"),
            above(Status.DEGRADED, "log10_chance", chance, t.warn_log10_chance, ".1f"),
        )
    )
