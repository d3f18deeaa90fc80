"""Precision, recall and F1 of detections, with counts and intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from foldmap.errors import InputError
from foldmap.types import BoolArray

_Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


def f_score(precision: float, recall: float) -> float:
    """Harmonic mean of precision and recall; 0 where both are 0."""
    return 2.0 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (Wilson 1927); (0, 1) of no trials."""
    if not 0 <= hits <= trials:
        raise InputError(f"{hits} hits in {trials} trials", "give counts with 0 <= hits <= trials")
    if not trials:
        return 0.0, 1.0
    share, weight = hits / trials, _Z_95**2 / trials
    centre = (share + 0.5 * weight) / (1.0 + weight)
    half = _Z_95 / (1.0 + weight) * math.sqrt(share * (1.0 - share) / trials + 0.25 * weight / trials)
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == trials else centre + half)


@dataclass(frozen=True)
class DetectionScore:
    """Counts of a detector."""

    true_positives: int  # reported and there
    false_positives: int  # reported, not there
    false_negatives: int  # there, not reported

    def __post_init__(self) -> None:
        counts = (self.true_positives, self.false_positives, self.false_negatives)
        if min(counts) < 0:
            raise InputError(f"detection counts {counts}", "give counts of 0 or more")

    def __add__(self, other: DetectionScore) -> DetectionScore:
        return DetectionScore(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    @staticmethod
    def of_flags(reported: BoolArray, truth: BoolArray) -> DetectionScore:
        """Count windows: bool (N,) each."""
        if reported.shape != truth.shape:
            raise InputError(f"{reported.shape} reports for {truth.shape} truths", "give one a window")
        return DetectionScore(
            int((reported & truth).sum()), int((reported & ~truth).sum()), int((~reported & truth).sum())
        )

    @property
    def reported(self) -> int:
        """How many were reported."""
        return self.true_positives + self.false_positives

    @property
    def there(self) -> int:
        """How many there were."""
        return self.true_positives + self.false_negatives

    @property
    def precision(self) -> float:
        """Share of the reports that are right; 1 where nothing was reported and nothing was there, else 0."""
        return self.true_positives / self.reported if self.reported else float(not self.there)

    @property
    def recall(self) -> float:
        """Share of what was there that was reported; 1 where nothing was there and nothing reported, else 0."""
        return self.true_positives / self.there if self.there else float(not self.reported)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, ``2 TP / (2 TP + FP + FN)``; 1 where there is nothing to count."""
        return f_score(self.precision, self.recall)

    @property
    def f1_interval(self) -> tuple[float, float]:
        """95 %: Wilson's of the Jaccard share ``J = TP / (TP + FP + FN)``, mapped by ``F1 = 2 J / (1 + J)``."""
        low, high = wilson_interval(
            self.true_positives, self.true_positives + self.false_positives + self.false_negatives
        )
        return 2.0 * low / (1.0 + low), 2.0 * high / (1.0 + high)
