"""Errors in the vehicle frame, percentiles and failure rates, against hand-worked answers."""

import math

import numpy as np
import pytest

from foldmap.errors import InputError
from foldmap.geometry import SE2
from foldmap.metrics import failure_rates, pose_errors, summarize, top_px_accuracy, travelled_m


def test_errors_are_in_the_true_vehicle_frame() -> None:
    # Facing north, an estimate 3 m too far north is ahead, and 4 m too far west is left.
    truth = SE2(10.0, 20.0, math.pi / 2)
    errors = pose_errors([truth], [SE2(6.0, 23.0, math.pi / 2 + 0.1)])
    assert errors.longitudinal_m[0] == pytest.approx(3.0)
    assert errors.lateral_m[0] == pytest.approx(4.0)
    assert errors.total_m[0] == pytest.approx(5.0)
    assert errors.heading_rad[0] == pytest.approx(0.1)


def test_the_estimates_heading_does_not_rotate_the_error() -> None:
    truth = SE2(0.0, 0.0, 0.0)
    for heading_rad in (-1.0, 0.0, 2.0):
        errors = pose_errors([truth], [SE2(1.0, 0.0, heading_rad)])
        assert errors.longitudinal_m[0] == pytest.approx(1.0)
        assert errors.lateral_m[0] == pytest.approx(0.0)


def test_no_answer_is_an_infinite_error() -> None:
    truths = [SE2(0.0, 0.0, 0.0)] * 4
    errors = pose_errors(truths, [SE2(0.1, 0.0, 0.0), None, None, None])
    assert errors.answered == 0.25
    summary = summarize(errors.total_m)
    assert summary.count == 4
    assert summary.median_m == math.inf
    assert summarize(np.array([0.1, 0.2, 0.3, np.inf])).median_m == pytest.approx(0.25)
    assert summarize(np.array([0.1, 0.2, 0.3, np.inf])).p95_m == math.inf


def test_percentiles_agree_with_numpy() -> None:
    error_m = np.random.default_rng(1).normal(0, 0.1, 997)
    summary = summarize(error_m)
    expected = np.percentile(np.abs(error_m), (50, 95, 99, 100))
    assert [summary.median_m, summary.p95_m, summary.p99_m, summary.max_m] == pytest.approx(list(expected))


@pytest.mark.parametrize("bad", [np.array([]), np.array([0.1, np.nan])])
def test_errors_that_cannot_be_summarized_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError):
        summarize(bad)


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="1 estimates for 2"):
        pose_errors([SE2(0, 0, 0)] * 2, [None])


def test_top_pixels() -> None:
    row_px = np.array([0.0, 0.49, 0.51, 1.4, 1.6, np.inf])
    col_px = np.array([0.0, -0.5, 0.0, -1.5, 0.0, np.inf])
    assert top_px_accuracy(row_px, col_px, 0) == pytest.approx(2 / 6)
    assert top_px_accuracy(row_px, col_px, 1) == pytest.approx(4 / 6)


def test_distance_is_along_the_path() -> None:
    path = [SE2(0, 0, 0), SE2(3, 4, 0), SE2(3, 0, 0)]
    assert travelled_m(path).tolist() == [0.0, 5.0, 9.0]
    assert travelled_m(path[:1]).tolist() == [0.0]


def test_failure_rates_of_kilometre_segments() -> None:
    # Four segments of 1 km in steps of 10 m: lost at 50 m, at 300 m, at 900 m, never.
    distance_m = np.arange(0, 4000, 10.0)
    error_m = np.full(distance_m.shape, 0.05)
    error_m[(distance_m >= 50) & (distance_m < 60)] = 1.2
    error_m[(distance_m >= 1300) & (distance_m < 1400)] = np.inf
    error_m[distance_m == 2900] = 1.01
    error_m[distance_m == 3100] = 1.0  # on the limit is not beyond it
    rates = failure_rates(error_m, distance_m)
    assert (rates.within_100_m, rates.within_500_m, rates.at_end) == (0.25, 0.5, 0.75)
    assert (rates.segments, rates.segment_m) == (4, 1000.0)


def test_a_short_drive_says_how_short_it_is() -> None:
    distance_m = np.linspace(0, 44.0, 100)
    rates = failure_rates(np.full(100, 0.03), distance_m)
    assert rates.segments == 1
    assert rates.segment_m == pytest.approx(44.0)
    assert math.isnan(rates.within_100_m)  # nothing was shown about 100 m
    assert math.isnan(rates.within_500_m)
    assert rates.at_end == 0.0
    assert failure_rates(np.full(100, 3.0), distance_m).at_end == 1.0


def test_a_remainder_joins_the_last_segment_or_makes_one() -> None:
    for length_m, segments in ((2400.0, 2), (2600.0, 3)):
        distance_m = np.arange(0, length_m, 10.0)
        error_m = np.zeros(distance_m.shape)
        error_m[-1] = 5.0
        rates = failure_rates(error_m, distance_m)
        assert rates.segments == segments
        assert rates.at_end == pytest.approx(1 / segments)


def test_bad_distances_are_refused() -> None:
    with pytest.raises(InputError):
        failure_rates(np.zeros(3), np.array([0.0, 2.0, 1.0]))
    with pytest.raises(InputError):
        failure_rates(np.zeros(3), np.zeros(2))


@pytest.mark.parametrize(
    ("segment_m", "limit_m"), [(0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (5.0, -1.0), (5.0, math.nan)]
)
def test_lengths_that_are_none_are_refused(segment_m: float, limit_m: float) -> None:
    with pytest.raises(InputError, match="segments of"):
        failure_rates(np.zeros(3), np.arange(3.0), segment_m, limit_m)
