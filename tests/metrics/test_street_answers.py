"""Retrieval, localization and detection against plain counts and published intervals."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from foldmap.errors import InputError
from foldmap.geometry import SE2
from foldmap.metrics.detection import DetectionScore, f_score, wilson_interval
from foldmap.metrics.retrieval import localization_recall, localization_scores, true_ranks


def test_ranks_put_equals_first() -> None:
    similarity = np.array([[0.1, 0.9, 0.5], [0.5, 0.5, 0.5], [0.0, 0.1, 0.2]])
    assert true_ranks(similarity, np.array([1, 0, 0])).tolist() == [1, 3, 3]
    with pytest.raises(InputError, match="similarities"):
        true_ranks(similarity, np.array([1]))
    with pytest.raises(InputError, match="NaN"):
        true_ranks(similarity * np.nan, np.array([1, 0, 0]))


def test_localization_of_known_poses() -> None:
    true = [SE2(10.0, 5.0, 3.0)] * 6
    estimated = [
        SE2(10.0, 5.0, 3.0),
        SE2(12.0, 5.0, 3.2),
        SE2(10.0, 9.5, -3.1),  # 10.4 degrees over the seam
        SE2(18.0, 5.0, 3.0),
        SE2(90.0, 5.0, 0.0),
        None,
    ]
    scores = localization_scores(true, estimated)
    assert scores.recall == {1.0: 1 / 6, 3.0: 2 / 6, 5.0: 3 / 6, 10.0: 4 / 6}
    assert (scores.count, scores.answered) == (6, 5 / 6)
    assert scores.median_m == pytest.approx((4.5 + 8) / 2)
    assert scores.p95_m == math.inf
    errors = [0.0, 0.2, 2 * math.pi - 6.1, 0.0]
    assert scores.heading_median_deg == pytest.approx(np.degrees(np.median(errors)))
    assert scores.heading_p95_deg == pytest.approx(np.degrees(np.percentile(errors, 95)))
    lost = localization_scores(true[:2], [None, None])
    assert lost.recall[10.0] == 0.0
    assert math.isnan(lost.heading_median_deg)
    assert localization_recall(np.array([1.0, np.inf]), (1.0,)) == {1.0: 0.5}
    with pytest.raises(InputError, match="NaN"):
        localization_recall(np.array([np.nan]))


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 11), (81, 263)])
def test_intervals_are_scipys(hits: int, trials: int) -> None:
    expected = binomtest(hits, trials).proportion_ci(0.95, "wilson")
    assert wilson_interval(hits, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_detection_counts() -> None:
    rng = np.random.default_rng(2)
    reported, truth = rng.random(200) < 0.4, rng.random(200) < 0.3
    score = DetectionScore.of_flags(reported, truth)
    tp = sum(a and b for a, b in zip(reported, truth, strict=True))
    assert score.precision == tp / reported.sum()
    assert score.recall == tp / truth.sum()
    assert score.f1 == pytest.approx(2 * tp / (reported.sum() + truth.sum()))
    assert score.f1 == pytest.approx(f_score(score.precision, score.recall))
    low, high = score.f1_interval
    assert low < score.f1 < high
    jaccard = binomtest(int(tp), int((reported | truth).sum())).proportion_ci(0.95, "wilson")
    assert (low, high) == pytest.approx(tuple(2 * j / (1 + j) for j in (jaccard.low, jaccard.high)))
    assert DetectionScore.of_flags(reported[:90], truth[:90]) + DetectionScore.of_flags(
        reported[90:], truth[90:]
    ) == score  # fmt: skip


def test_detection_of_nothing() -> None:
    none = DetectionScore(0, 0, 0)
    assert (none.precision, none.recall, none.f1, none.f1_interval) == (1.0, 1.0, 1.0, (0.0, 1.0))
    silent, noisy = DetectionScore(0, 0, 3), DetectionScore(0, 3, 0)
    assert (silent.precision, silent.recall, silent.f1) == (0.0, 0.0, 0.0)
    assert (noisy.precision, noisy.recall, noisy.f1) == (0.0, 0.0, 0.0)
    with pytest.raises(InputError, match="counts"):
        DetectionScore(-1, 0, 0)
    with pytest.raises(InputError, match="hits"):
        wilson_interval(3, 2)
    with pytest.raises(InputError, match="truths"):
        DetectionScore.of_flags(np.zeros(3, bool), np.zeros(4, bool))
