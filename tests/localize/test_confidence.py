"""Who is believed: right, wrong, shuffled, blank and straight-road queries, in numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import correlate
from textured_world import texture

from foldmap.errors import ConfigError, ModelError
from foldmap.lidar.match.exhaustive import coarse_headings_rad, match_fft, match_half
from foldmap.lidar.match.rotate import turned_images
from foldmap.localize.estimate import Status
from foldmap.localize.lidar import search
from foldmap.localize.lidar.blocks import block_scores, block_statistics, peaks_px
from foldmap.localize.lidar.confidence import (
    ConfidenceThresholds,
    MatchFeatures,
    calibrate,
    decide,
    faint,
    tells_the_place,
)
from foldmap.localize.lidar.search import WindowMatch, entropy_of, match_window

RADIUS, ROWS, COLS = 14, 120, 150
HEADINGS = coarse_headings_rad(np.radians(5.0), 5)
GOOD = MatchFeatures(0.6, 15.0, 9.0, 1.0, 0.02, 0.5, 1.0, 6.0, 6.0, False)


def _match(crop: np.ndarray, own: np.ndarray) -> WindowMatch:
    known = np.ones(crop.shape, bool)
    return match_window(crop[None], known, own, np.ones(own.shape[1:], bool), HEADINGS, RADIUS, 0.05)


def _crop(seed: int) -> np.ndarray:
    return texture(seed, (ROWS + 2 * RADIUS, COLS + 2 * RADIUS))


def _query(crop: np.ndarray, rng: np.random.Generator, noise: float) -> np.ndarray:
    """What a vehicle would see somewhere in the crop, turned a little, with noise as strong as told."""
    row, col = rng.integers(3, 2 * RADIUS - 3, 2)
    own = crop[None, row : row + ROWS, col : col + COLS]
    turned = turned_images(own, [rng.uniform(-0.05, 0.05)], (ROWS, COLS))[0]
    return turned + np.float32(noise) * texture(int(rng.integers(1 << 30)), (ROWS, COLS))


def _shuffled(own: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same picture with its 30 px tiles dealt anew."""
    tiles = own.reshape(1, ROWS // 30, 30, COLS // 30, 30).transpose(1, 3, 0, 2, 4).reshape(-1, 1, 30, 30)
    dealt = tiles[rng.permutation(len(tiles))]
    return dealt.reshape(ROWS // 30, COLS // 30, 1, 30, 30).transpose(2, 0, 3, 1, 4).reshape(1, ROWS, COLS)


@pytest.fixture(scope="module")
def measured() -> tuple[list[MatchFeatures], list[MatchFeatures]]:
    """Features of 60 right queries and of 520 that have no right answer."""
    rng = np.random.default_rng(0)
    crops = [_crop(seed) for seed in range(60)]
    right = [_match(crop, _query(crop, rng, 1.0)).features for crop in crops]
    wrong = []
    for k in range(520):
        crop, own = crops[(7 * k + 1) % 60], _query(crops[k % 60], rng, 1.0)
        if k % 4 == 0:
            crop, own = crops[k % 60], _shuffled(own, rng)
        elif k % 40 == 1:
            own = np.full_like(own, 0.5)
        elif (7 * k + 1) % 60 == k % 60:
            crop = crops[(k + 1) % 60]
        wrong.append(_match(crop, own).features)
    return right, wrong


def test_nothing_wrong_is_ok_and_the_right_is(measured) -> None:
    right, wrong = measured
    assert len(wrong) >= 500
    assert sum(decide(f, ConfidenceThresholds())[0].has_pose for f in wrong) == 0
    assert np.mean([decide(f, ConfidenceThresholds())[0] is Status.OK for f in right]) >= 0.95


def test_calibration_on_one_half_holds_on_the_other(measured) -> None:
    right, wrong = measured
    calibration = calibrate(right[::2], wrong[::2])
    assert calibration.negative_ok == 0
    assert calibration.positive_ok >= 0.95
    assert calibration.headroom >= 1.25
    assert sum(decide(f, calibration.thresholds)[0] is Status.OK for f in wrong[1::2]) == 0
    assert np.mean([decide(f, calibration.thresholds)[0] is Status.OK for f in right[1::2]]) >= 0.95
    with pytest.raises(ConfigError):
        calibrate(right[:5], wrong)


def test_matching_coarsely_finds_the_heading_of_the_exhaustive_search() -> None:
    """In at least 99.9 % of 1,000 queries, clear to nearly lost in noise; at its heading every shift is searched."""
    rng, (rows, cols), radius = np.random.default_rng(6), (84, 100), 10
    apart_rad = []
    for k in range(1000):
        crop = texture(k, (rows + 2 * radius, cols + 2 * radius))[None]
        row, col = rng.integers(2, 2 * radius - 2, 2)
        own = turned_images(crop[:, row : row + rows, col : col + cols], [rng.uniform(-0.08, 0.08)], (rows, cols))[0]
        own += np.float32((0.5, 1.0, 2.0, 3.0)[k % 4]) * texture(5000 + k, (rows, cols))
        headings = []
        for match in (match_half, match_fft):
            volume = match(crop, own, HEADINGS, radius)
            fine, _, profile = search._finely(crop, own, HEADINGS, volume, int(volume.max((1, 2)).argmax()))
            headings.append(search._vertex(profile[None], fine)[0])
        apart_rad.append(abs(headings[0] - headings[1]))
    assert np.mean(np.array(apart_rad) < 1e-4) >= 0.999


def test_a_straight_road_is_ambiguous_and_its_covariance_lies_along_it() -> None:
    rng = np.random.default_rng(1)
    for seed in range(10):
        profile = texture(seed, (ROWS + 2 * RADIUS, 1))
        crop = np.repeat(profile, COLS + 2 * RADIUS, axis=1)
        match = _match(crop, _query(crop, rng, 0.5))
        status, reason = decide(match.features, ConfidenceThresholds())
        assert status is Status.AMBIGUOUS, reason
        across, along = np.sqrt(np.diag(match.covariance)[[1, 0]])
        assert along > 5 * across


def test_blocks_sum_to_the_whole() -> None:
    crop, own = _crop(3)[None], texture(4, (ROWS, COLS))[None]
    whole = correlate(crop[0], own[0], mode="valid")
    blocks = block_scores(crop, own, RADIUS, block_px=37)
    np.testing.assert_allclose(blocks.sum(0), whole, atol=1e-4 * np.abs(whole).max())
    assert len(block_scores(crop, np.zeros_like(own), RADIUS)) == 0


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_bootstrap_spread_is_the_spread_of_repeated_experiments(noise: float) -> None:
    """Peaks under many independent noises scatter as much as one experiment's blocks say."""
    crop, rng = _crop(5), np.random.default_rng(2)
    own = crop[RADIUS : RADIUS + ROWS, RADIUS : RADIUS + COLS]
    peaks_m, claimed_m2 = [], []
    for k in range(30):
        noisy = (own + np.float32(noise) * texture(int(rng.integers(1 << 30)), (ROWS, COLS)))[None]
        scores = block_scores(crop[None], noisy, RADIUS)
        claimed_m2.append(np.trace(block_statistics(scores, 0.05, seed=k).position_covariance_m2) / 2)
        peaks_m.append(peaks_px(scores.sum(0)[None])[0] * 0.05)
    # The median: a resample that jumps to another mode is rare here, but weighs much.
    assert np.median(claimed_m2) == pytest.approx(np.var(peaks_m, axis=0).mean(), rel=0.5)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, Status.OK),
        ({"known_fraction": 0.001}, Status.NO_MAP),
        ({"observed_fraction": 0.001}, Status.NO_OBSERVATION),
        ({"evidence_sigma": 5.0}, Status.NO_MATCH),
        ({"surprise": 1.4}, Status.NO_MATCH),
        ({"distinction": 1.9}, Status.DEGRADED),
        ({"score": 0.01}, Status.NO_MATCH),
        ({"margin_sigma": 1.0}, Status.AMBIGUOUS),
        ({"agreement": 0.5}, Status.AMBIGUOUS),
        ({"sigma_m": 0.5}, Status.AMBIGUOUS),
        ({"at_edge": True}, Status.AMBIGUOUS),
        ({"margin_sigma": 3.0}, Status.DEGRADED),
        ({"agreement": 0.9}, Status.DEGRADED),
        ({"score": 0.06}, Status.DEGRADED),
        ({"sigma_m": 0.2}, Status.DEGRADED),
        ({"observed_fraction": 0.02}, Status.DEGRADED),
    ],
)
def test_each_signal_warns_and_rejects_where_it_says(change: dict[str, float], status: Status) -> None:
    decided, reason = decide(replace(GOOD, **change), ConfidenceThresholds())
    assert decided is status
    assert (reason == "") == (status is Status.OK)


@pytest.mark.parametrize("other", [{"distinction": 1.9}, {"agreement": 0.9}, {"sigma_m": 0.2}, {"margin_sigma": 3.0}])
def test_a_match_by_itself_may_be_faint_or_doubted_but_not_both(other: dict[str, float]) -> None:
    thresholds, low = ConfidenceThresholds(), {"score": 0.06}
    for change in ({}, low, other, {**low, **other}):
        assert decide(replace(GOOD, **change), thresholds)[0].has_pose
    assert faint(replace(GOOD, **low), thresholds) == faint(replace(GOOD, **other), thresholds) == ""
    (name,) = other
    said = faint(replace(GOOD, **low, **other), thresholds)
    assert said.startswith("score 0.060 < 0.08, ")
    assert name in said


def test_a_match_that_streets_alike_give_as_well_is_no_answer_by_itself() -> None:
    alike = replace(GOOD, distinction=0.0)
    assert decide(alike, ConfidenceThresholds())[0] is Status.DEGRADED
    assert "mirrored" in faint(alike, ConfidenceThresholds())
    assert faint(replace(GOOD, distinction=0.01), ConfidenceThresholds()) == ""


def test_a_match_may_tell_the_place_and_not_where_along_it() -> None:
    open_along = replace(GOOD, agreement=0.3, sigma_m=1.2, margin_sigma=0.5, score=0.06)
    assert decide(open_along, ConfidenceThresholds())[0] is Status.AMBIGUOUS
    assert tells_the_place(open_along, ConfidenceThresholds())
    for change in ({"distinction": 1.9}, {"surprise": 1.4}, {"score": 0.04}, {"at_edge": True}):
        assert not tells_the_place(replace(open_along, **change), ConfidenceThresholds())


def test_thresholds_travel_with_a_model() -> None:
    thresholds = ConfidenceThresholds(warn_margin_sigma=4.25)
    assert ConfidenceThresholds.from_dict(thresholds.to_dict()) == thresholds
    for bad in ({}, {**thresholds.to_dict(), "more": 1.0}, {**thresholds.to_dict(), "warn_score": "x"}):
        with pytest.raises(ModelError):
            ConfidenceThresholds.from_dict(bad)
    with pytest.raises(ConfigError):
        ConfidenceThresholds(warn_score=float("nan"))


def test_entropy_is_one_when_flat_nothing_when_sure_and_grows_with_temperature() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 9, 9))
    assert entropy_of(np.zeros((21, 41, 41)), 1.0) == pytest.approx(1.0)
    assert entropy_of(scores, 1e-12) == pytest.approx(0.0, abs=1e-9)
    assert entropy_of(scores, 0.1) < entropy_of(scores, 1.0) < entropy_of(scores, 10.0) < 1.0
    half = np.full(64, -np.inf)
    half[:8] = 0.0
    assert entropy_of(half, 1.0) == pytest.approx(0.5)


def test_scores_by_overlap_are_sums_over_the_root_of_the_map_under_them() -> None:
    rng = np.random.default_rng(4)
    crop = texture(11, (ROWS + 2 * RADIUS, COLS + 2 * RADIUS))
    crop[:, 60:] *= 3.0
    observed = rng.random((ROWS, COLS)) < 0.4
    own = (observed * texture(12, (ROWS, COLS)))[None]
    known = np.ones(crop.shape, bool)
    plain, even = (
        match_window(crop[None], known, own, observed, HEADINGS, RADIUS, 0.1, normalized=normalized).volume
        for normalized in (False, True)
    )
    under = correlate(crop.astype(np.float64) ** 2, observed.astype(np.float64), mode="valid", method="fft")
    assert np.ptp(under) > 0.1 * under.max()
    by_hand = plain / np.sqrt(under)
    np.testing.assert_allclose(even / even.max(), by_hand / by_hand.max(), atol=1e-4)
