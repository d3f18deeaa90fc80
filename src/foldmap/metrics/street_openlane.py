"""Lane detection and topology scores in the spirit of OpenLane-V2: DET_l and TOP_ll (Wang et al., NeurIPS 2023).

Predictions without confidences (a retrieved graph) are one group of ties: average precision is then precision times
recall, whatever the order of the lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from foldmap.errors import InputError
from foldmap.metrics.frechet import frechet_matrix
from foldmap.metrics.street_sampled import Sampled
from foldmap.types import AnyArray, BoolArray, DoubleArray, IntArray

THRESHOLDS_M = (1.0, 2.0, 3.0)  # largest discrete Frechet distances of a match


@dataclass(frozen=True)
class LaneLines:
    """Directed lines of one window and how they join.

    Raises `InputError`: the shapes do not fit, or a confidence is NaN.
    """

    lines_m: Sequence[DoubleArray]  # L polylines, float64 (P, 2), points about 1 m apart
    follows: AnyArray  # (L, L), confidence 0 to 1 that line j starts where line i ends; an edge if above one half
    confidence: DoubleArray = field(default_factory=lambda: np.zeros(0))  # float64 (L,); all 1 if not given

    def __post_init__(self) -> None:
        count = len(self.lines_m)
        if count and not len(self.confidence):
            object.__setattr__(self, "confidence", np.ones(count))
        if self.follows.shape != (count, count) or self.confidence.shape != (count,):
            what = f"{count} lines with follows {self.follows.shape} and confidence {self.confidence.shape}"
            raise InputError(what, "give (L, L) and (L,)")
        if not np.isfinite(self.confidence).all() or not np.isfinite(self.follows.astype(np.float64)).all():
            raise InputError("a confidence is not finite", "give 0 to 1")

    @staticmethod
    def of(graph: Sampled) -> LaneLines:
        """The chains of a graph at 1 m."""
        return LaneLines([graph.points_m[line] for line in graph.lines], graph.follows)


@dataclass(frozen=True)
class OpenLaneScores:
    """Each 0 to 1, means over thresholds."""

    det_l: float  # average precision of lines
    top_ll: float  # mean average precision of successors and predecessors


def openlane_scores(predicted: Sequence[LaneLines], truth: Sequence[LaneLines]) -> OpenLaneScores:
    """Score N windows together: lines are ranked across windows, as average precision wants."""
    if len(predicted) != len(truth) or not len(truth):
        raise InputError(f"{len(predicted)} predictions for {len(truth)} windows", "give one a window, one at least")
    windows = list(zip(predicted, truth, strict=True))
    distances = [frechet_matrix(p.lines_m, t.lines_m, max(THRESHOLDS_M)) for p, t in windows]
    confidence, lines = np.concatenate([p.confidence for p in predicted]), sum(len(t.lines_m) for t in truth)
    det, top = [], []
    for limit_m in THRESHOLDS_M:
        partners = [match_by_confidence(d, p.confidence, limit_m) for d, p in zip(distances, predicted, strict=True)]
        det.append(average_precision(confidence, np.concatenate([partner >= 0 for partner in partners]), lines))
        values = np.concatenate(
            [neighbour_precisions(p.follows, t.follows, m) for (p, t), m in zip(windows, partners, strict=True)]
        )
        top.append(float(values.mean()) if len(values) else _without_neighbours(predicted, truth))
    return OpenLaneScores(float(np.mean(det)), float(np.mean(top)))


def match_by_confidence(distance_m: DoubleArray, confidence: DoubleArray, threshold_m: float) -> IntArray:
    """Each predicted line's true line, (L,), -1 for none: the surest choose first, the nearest of equally sure ones."""
    partner = np.full(len(distance_m), -1, np.int64)
    taken = np.zeros(distance_m.shape[1] if distance_m.ndim == 2 else 0, bool)
    ours, theirs = np.nonzero(distance_m <= threshold_m)
    for k in np.lexsort((distance_m[ours, theirs], -confidence[ours])):
        if partner[ours[k]] < 0 and not taken[theirs[k]]:
            partner[ours[k]] = theirs[k]
            taken[theirs[k]] = True
    return partner


def average_precision(confidence: DoubleArray, hit: BoolArray, positives: int, envelope: bool = True) -> float:
    """Area under precision over recall, 0 to 1, of N predictions that hit or not; equal confidences are one step.

    1 if there is nothing to find and nothing was predicted, 0 if one of the two. ``envelope``: precision at a recall is
    the best at that recall or a larger one (Pascal VOC).
    """
    if not positives or not len(hit):
        return float(not positives and not len(hit))
    order = np.argsort(-confidence, kind="stable")
    last = np.append(np.flatnonzero(np.diff(confidence[order])), len(order) - 1)
    hits = np.cumsum(hit[order])[last]
    precision, recall = hits / (last + 1.0), hits / positives
    if envelope:
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def neighbour_precisions(predicted: AnyArray, truth: AnyArray, partner: IntArray) -> DoubleArray:
    """Average precision of the successors, then of the predecessors, of each true line that has some there.

    A line without a partner scores 0. A line that has no neighbour counts only where its partner has one, and then 0.
    Given are confidences (L, L) that j follows i, the truth bool (M, M), and the true line of each predicted one.
    """
    back = np.full(len(truth), -1, np.int64)
    back[partner[partner >= 0]] = np.flatnonzero(partner >= 0)
    values = []
    for ours, theirs in ((predicted, truth), (predicted.T, truth.T)):
        for line in range(len(theirs)):
            true = theirs[line] > 0.5
            sure = ours[back[line]] if back[line] >= 0 else np.zeros(len(ours))
            near = np.flatnonzero(sure > 0.5)
            if not true.any() and not len(near):
                continue
            mapped = partner[near]
            hit = (mapped >= 0) & true[mapped]
            values.append(average_precision(sure[near].astype(np.float64), hit, int(true.sum()), envelope=False))
    return np.array(values, np.float64)


def _without_neighbours(predicted: Sequence[LaneLines], truth: Sequence[LaneLines]) -> float:
    """No line to judge by: right if neither side joins any lines and not just one of them has lines at all."""
    joins = any((p.follows > 0.5).any() for p in predicted)
    lines = any(len(p.lines_m) for p in predicted), any(len(t.lines_m) for t in truth)
    return float(not joins and lines[0] == lines[1])
