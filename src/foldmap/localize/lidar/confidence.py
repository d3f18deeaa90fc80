"""From the features of a match to its status: whom to believe, decided by thresholds that are calibrated on data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np

from foldmap.errors import ConfigError, ModelError
from foldmap.geometry import SE2
from foldmap.localize.estimate import Diagnostics, Estimate, Status, check_numbers
from foldmap.localize.evidence import KEY, MapCalibration, above, below, first_broken
from foldmap.localize.protection import RISK


@dataclass(frozen=True)
class LidarDiagnostics(Diagnostics):
    """Health signals of one estimate. None: could not be computed for this status.

    Which value warns (at best `degraded`) and which rejects (no pose) is set by `ConfidenceThresholds`, whose defaults
    are given here.

    Attributes:
        score: normalized correlation of the two embeddings at the best pose, -1 to 1. Rejects below 0.05.
        evidence_sigma: best score above the window's mean, in standard errors over blocks. Rejects below 6 (no_match).
        surprise: minus log10 of the probability that chance reaches the best score in a window so large. Rejects below
            1.5 (no_match).
        distinction: the same of streets alike, with lanes that lie as here. Warns below 2.
        margin_sigma: best score above the best of any other mode (> 0.3 m away), in standard errors over blocks. Warns
            below 3.5, rejects below 2.5 (ambiguous).
        agreement: share of block bootstraps that peak within 0.15 m of the best pose. Warns below 0.95, rejects below
            0.7 (ambiguous).
        sigma_m: largest position standard deviation. Warns above 0.1, rejects above 0.3 (ambiguous).
        observed_fraction: share of the observation's pixels that are observed and lie on known map. Warns below 0.04,
            rejects below 0.01.
        prior_distance_m: from the prior's position to the pose. Information; a pose at the rim of the search rejects.
        prior_turn_rad: from the prior's heading to the pose's.
        entropy: of the score volume, 0 (one pose) to 1 (flat). Information.
        lidar_age_s: time since lidar last agreed (filter). Warns above 0.
        explained: share of the map's marks in sight that show as bright, of few nearer to one half; None where a map is
            not of marks. Information; a journey that begins goes by it.
    """

    score: float | None = None
    evidence_sigma: float | None = None
    surprise: float | None = None
    distinction: float | None = None
    margin_sigma: float | None = None
    agreement: float | None = None
    sigma_m: float | None = None
    observed_fraction: float | None = None
    prior_distance_m: float | None = None
    prior_turn_rad: float | None = None
    entropy: float | None = None
    lidar_age_s: float | None = None
    explained: float | None = None


DISTINCTION = "distinction"
"""The signal whose chance a map is calibrated to."""
_UNKNOWN = MapCalibration()

LidarEstimate: TypeAlias = Estimate[SE2, LidarDiagnostics]


@dataclass(frozen=True)
class MatchFeatures:
    """What is known of one match; `LidarDiagnostics` says what each value means."""

    score: float
    evidence_sigma: float
    margin_sigma: float
    agreement: float
    sigma_m: float
    observed_fraction: float
    known_fraction: float
    surprise: float
    distinction: float
    at_edge: bool
    explained: float | None = None


_LATER = {"warn_distinction", "reject_surprise"}  # not in models that were calibrated before there were these
_RETIRED = "warn_evidence_sigma"  # may be in those


@dataclass(frozen=True)
class ConfidenceThresholds:
    """Where a signal warns (the estimate is at best `degraded`) and where it rejects (no pose).

    Stored with the model whose embeddings it was calibrated on.
    """

    warn_margin_sigma: float = 3.5
    reject_margin_sigma: float = 2.5
    reject_evidence_sigma: float = 6.0
    warn_agreement: float = 0.95
    reject_agreement: float = 0.7
    warn_score: float = 0.08
    reject_score: float = 0.05
    warn_sigma_m: float = 0.1
    reject_sigma_m: float = 0.3
    warn_observed_fraction: float = 0.04
    reject_observed_fraction: float = 0.01
    warn_distinction: float = 2.0
    reject_surprise: float = 1.5

    def __post_init__(self) -> None:
        check_numbers(self, "threshold")

    def to_dict(self) -> dict[str, float]:
        """As plain data for a model file."""
        return {name: float(value) for name, value in vars(self).items()}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ConfidenceThresholds:
        """Read back what `to_dict` gave; a ModelError where fields are missing, unknown or no finite numbers."""
        names = {field.name for field in fields(ConfidenceThresholds)}
        if not isinstance(data, dict) or not names - _LATER <= set(data) <= names | {_RETIRED}:
            raise ModelError("the model's confidence thresholds have unknown or missing fields", "calibrate it again")
        try:
            return ConfidenceThresholds(**{name: value for name, value in data.items() if name != _RETIRED})
        except ConfigError as error:
            raise ModelError(f"the model's confidence thresholds are unusable: {error.message}") from error


def thresholds_of(calibrated: object) -> ConfidenceThresholds:
    """The thresholds that a folded map's model, or a bundle, was calibrated to; the defaults where it was to none."""
    holder = calibrated if hasattr(calibrated, "thresholds") else getattr(calibrated, "model", None)
    stored = getattr(holder, "thresholds", None)
    return ConfidenceThresholds.from_dict(stored) if stored else ConfidenceThresholds()


def calibration_of(folded: object) -> MapCalibration:
    """What a folded map, or else its model, was found to be worth; a MapFormatError where that makes no sense."""
    own = MapCalibration.read(getattr(folded, "parameters", {}), "lidar")
    return own or MapCalibration.read({KEY: getattr(getattr(folded, "model", None), KEY, None)}, "lidar") or _UNKNOWN


def raised(thresholds: ConfidenceThresholds, calibration: MapCalibration) -> ConfidenceThresholds:
    """Ask for the distinction that one wrong query in a hundred reaches in this map, if that is more.

    The other rules let fewer than one in ten of those pass.
    """
    reached = calibration.chance.get(DISTINCTION)
    least = 0.0 if reached is None else reached.exceeded_at(10 * RISK)
    return replace(thresholds, warn_distinction=max(thresholds.warn_distinction, least))


def decide(features: MatchFeatures, thresholds: ConfidenceThresholds) -> tuple[Status, str]:
    """Judge one match: the status, and in words the signal that decided (empty for `ok`)."""
    f, t = features, thresholds
    known, seen = f.known_fraction, f.observed_fraction
    return first_broken(
        (
            (known < t.reject_observed_fraction, Status.NO_MAP, f"known map under {known:.3f} of the observation"),
            below(Status.NO_OBSERVATION, "observed_fraction", seen, t.reject_observed_fraction, ".3f"),
            below(Status.NO_MATCH, "evidence_sigma", f.evidence_sigma, t.reject_evidence_sigma, ".1f"),
            below(Status.NO_MATCH, "surprise", f.surprise, t.reject_surprise),
            below(Status.NO_MATCH, "score", f.score, t.reject_score, ".3f"),
            below(Status.AMBIGUOUS, "margin_sigma", f.margin_sigma, t.reject_margin_sigma, ".1f"),
            below(Status.AMBIGUOUS, "agreement", f.agreement, t.reject_agreement),
            above(Status.AMBIGUOUS, "sigma_m", f.sigma_m, t.reject_sigma_m),
            (f.at_edge, Status.AMBIGUOUS, "the best pose lies at the rim of the search"),
            below(Status.DEGRADED, "distinction", f.distinction, t.warn_distinction),
            below(Status.DEGRADED, "margin_sigma", f.margin_sigma, t.warn_margin_sigma, ".1f"),
            below(Status.DEGRADED, "agreement", f.agreement, t.warn_agreement),
            below(Status.DEGRADED, "score", f.score, t.warn_score, ".3f"),
            above(Status.DEGRADED, "sigma_m", f.sigma_m, t.warn_sigma_m),
            below(Status.DEGRADED, "observed_fraction", seen, t.warn_observed_fraction, ".3f"),
        )
    )


def faint(features: MatchFeatures, thresholds: ConfidenceThresholds) -> str:
    """Why a match with a pose is no answer by itself, in words; empty where it may be one.

    Streets alike are as likely to give it as not; or its score is one that wrong places reach, and more speaks against
    it than that. What is summed over a drive may hold such matches.
    """
    if features.distinction <= 0.0 < thresholds.warn_distinction:
        return "distinction 0: the sweep mirrored fits as well"
    if features.score >= thresholds.warn_score:
        return ""
    status, doubt = decide(features, replace(thresholds, warn_score=thresholds.reject_score))
    return f"score {features.score:.3f} < {thresholds.warn_score:g}, {doubt}" if status is Status.DEGRADED else ""


def doubted(features: MatchFeatures, calibration: MapCalibration) -> float | None:
    """The score that the observation must have nowhere else in the map for its match to be believed.

    None where the match is in no doubt: it scores higher than wrong places of this map do, or as half of the right
    ones, or nobody knows what those do.
    """
    fit, rival = calibration.fit, calibration.rival
    return None if fit is None or rival is None or features.score >= min(fit, rival) else fit


def tells_the_place(features: MatchFeatures, thresholds: ConfidenceThresholds) -> bool:
    """Whether a match is distinct enough for `ok`, of this place and of no street alike.

    It may leave open where along the street, and be too faint for an answer of its own; a belief knows the rest.
    """
    open_ = replace(
        thresholds,
        warn_agreement=0.0, reject_agreement=0.0,
        warn_margin_sigma=0.0, reject_margin_sigma=0.0,
        warn_sigma_m=_ANYWHERE_M, reject_sigma_m=_ANYWHERE_M,
        warn_score=thresholds.reject_score,
    )  # fmt: skip
    return decide(features, open_)[0] is Status.OK


@dataclass(frozen=True)
class Calibration:
    """Thresholds, the share of right matches and the number of wrong ones that are `ok` on the data they were set on.

    The headroom is the deciding signal's threshold over its largest value of a negative that all others let pass.
    """

    thresholds: ConfidenceThresholds
    positive_ok: float
    negative_ok: int
    headroom: float


_ANYWHERE_M = 1e6
_LOST_PER_SIGNAL = 0.005
_MOST_SIGMA_M = 0.5  # an answer that is known less well is not `ok`, whatever right matches had

MARKS = ConfidenceThresholds(
    warn_margin_sigma=0.0,
    reject_margin_sigma=0.0,
    reject_evidence_sigma=0.0,
    warn_distinction=2.0,
    reject_surprise=1.5,
    warn_agreement=0.8,
    reject_agreement=0.6,
    warn_score=0.06,
    reject_score=0.05,
    warn_sigma_m=0.45,
    reject_sigma_m=0.7,
)
"""Where marks begin. Blocks with marks are too few, and too unlike, to tell evidence and margins by."""


_SCORE_OF_MARKS = 0.12  # at one mark a m2: the correlation with an image of which so little is 1 goes with its root
_MOST_SCORE = 0.09  # asked: where marks are many most are faint, and on a real lidar show less than on the town's


def calibrate_marks_against(
    negatives: Sequence[MatchFeatures], positives: Sequence[MatchFeatures], marks_m2: float
) -> Calibration:
    """Raise the distinction that `MARKS` asks for until no negative is `ok`, with a tenth to spare."""
    score = min(max(MARKS.warn_score, _SCORE_OF_MARKS * float(np.sqrt(marks_m2))), _MOST_SCORE)
    base = replace(MARKS, warn_score=score)
    worst = _worst(negatives, base)
    thresholds = replace(base, warn_distinction=max(base.warn_distinction, 1.1 * worst))
    ok = [sum(decide(f, thresholds)[0] is Status.OK for f in group) for group in (positives, negatives)]
    return Calibration(thresholds, ok[0] / max(len(positives), 1), ok[1], thresholds.warn_distinction / worst)


def _worst(negatives: Sequence[MatchFeatures], thresholds: ConfidenceThresholds) -> float:
    """The largest distinction of a negative that all other rules let pass; at least 1."""
    open_ = replace(thresholds, warn_distinction=0.0)
    return max([f.distinction for f in negatives if decide(f, open_)[0] is Status.OK] + [1.0])


def calibrate(positives: Sequence[MatchFeatures], negatives: Sequence[MatchFeatures]) -> Calibration:
    """Set the thresholds so that no negative is `ok`, with room to spare, and as many positives as possible are.

    The secondary signals each give up 0.5 % of the positives, with slack. `distinction`, the one with a null
    distribution, then goes a quarter above what the remaining negatives reach, and never below its default. The score
    is one that a negative in a hundred has, unless more than 2 % of the positives have less.
    Negatives are matches against wrong maps, of shuffled and of blank observations.
    """
    if len(positives) < 20 or len(negatives) < 20:
        given = f"{len(positives)} right and {len(negatives)} wrong matches"
        raise ConfigError(given, "calibrate with 20 or more each")

    def low(name: str, quantile: float, slack: float) -> float:
        return float(np.quantile([getattr(f, name) for f in positives], quantile)) * slack

    base = ConfidenceThresholds()
    evidence = min(base.reject_evidence_sigma, low("evidence_sigma", _LOST_PER_SIGNAL, 0.8))
    least_score, chance_score = low("score", _LOST_PER_SIGNAL, 0.7), np.quantile([f.score for f in negatives], 0.99)
    score = max(least_score, min(float(chance_score), low("score", 0.02, 1.0)))
    sigma = min(float(np.quantile([f.sigma_m for f in positives], 1 - _LOST_PER_SIGNAL)) * 1.3, _MOST_SIGMA_M)
    margin = min(base.warn_margin_sigma, low("margin_sigma", _LOST_PER_SIGNAL, 0.7))
    agreement = min(base.warn_agreement, low("agreement", _LOST_PER_SIGNAL, 0.95))
    observed = min(base.warn_observed_fraction, low("observed_fraction", _LOST_PER_SIGNAL, 0.7))
    others = replace(
        base,
        warn_margin_sigma=margin,
        reject_margin_sigma=0.7 * margin,
        reject_evidence_sigma=max(evidence, 0.0),
        warn_agreement=agreement,
        reject_agreement=min(base.reject_agreement, agreement),
        warn_score=score,
        reject_score=least_score * 0.7,
        warn_sigma_m=sigma,
        reject_sigma_m=max(base.reject_sigma_m, sigma),
        warn_observed_fraction=observed,
        reject_observed_fraction=min(base.reject_observed_fraction, observed),
    )
    worst = _worst(negatives, others)
    thresholds = replace(others, warn_distinction=max(base.warn_distinction, 1.25 * worst))
    ok = [sum(decide(f, thresholds)[0] is Status.OK for f in group) for group in (positives, negatives)]
    return Calibration(thresholds, ok[0] / len(positives), ok[1], thresholds.warn_distinction / worst)
