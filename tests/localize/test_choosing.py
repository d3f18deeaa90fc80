"""Which code is taken, given what was measured."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foldmap.errors import ModelError
from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar import defaults
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.defaults import bundles_for, default_bundle, default_marks
from foldmap.lidar.fit_coder import raster_of
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.observation import Observation
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.lidar.source import RasterMap, observed_about_m2
from foldmap.localize.estimate import Estimate, Status
from foldmap.localize.lidar import choosing
from foldmap.localize.lidar.calibrate import PairAttempt
from foldmap.localize.lidar.choosing import (
    CodeTrial,
    best_code,
    in_memory,
    loses_the_place,
    map_calibration,
    try_codes,
)
from foldmap.localize.lidar.confidence import (
    ConfidenceThresholds,
    LidarDiagnostics,
    MatchFeatures,
    raised,
    thresholds_of,
)
from foldmap.localize.lidar.localizer import LidarLocalizer


def trial(rate: float, median_m: float, ok: float, model_bytes: int = 100) -> CodeTrial:
    return CodeTrial("any", rate, median_m, 2 * median_m, ok, 18, model_bytes=model_bytes)


def test_the_smallest_of_those_that_lose_little() -> None:
    trials = [trial(3.0, 0.05, 0.95), trial(2.0, 0.06, 0.92), trial(1.0, 0.09, 0.95), trial(0.5, 0.05, 0.4)]
    assert best_code(trials, 1e4) == 1  # the third errs too much, the fourth answers too little


def test_a_smaller_code_that_is_far_off_now_and_then_is_not_taken() -> None:
    """As measured on a street with rails: both `ok` at half of the places, the smaller one 1.6 m off at some."""
    richer, smaller = trial(1.5, 0.034, 0.5), replace(trial(1.0, 0.034, 0.5), p95_m=1.62)
    assert best_code([replace(richer, p95_m=0.048), smaller], 1e4) == 0
    assert best_code([replace(richer, p95_m=1.2), smaller], 1e4) == 1
    assert best_code([replace(richer, p95_m=0.048), replace(smaller, p95_m=0.11)], 1e4) == 1  # near all the same
    assert best_code([replace(richer, p95_m=math.inf), replace(smaller, p95_m=math.inf)], 1e4) == 1


def test_a_model_that_the_file_must_hold_pays_on_large_maps_alone() -> None:
    trials = [trial(3.0, 0.05, 0.95), trial(2.0, 0.05, 0.95, 500_000)]
    # a bit a square metre less is 500 kB at 4 km2
    assert [best_code(trials, 1e6 * km2) for km2 in (0.1, 3.9, 4.1, 100.0)] == [0, 0, 1, 1]


def test_nothing_matched_is_infinitely_far() -> None:
    lost = trial(0.1, math.inf, 0.0)
    assert best_code([lost, trial(3.0, 0.1, 0.0)], 1e4) == 1
    assert lost.to_dict()["median_m"] == "inf"


@pytest.mark.parametrize("shape", [(100, 130), (2000, 3000)])
def test_observed_ground_is_told_from_some_of_it(shape: tuple[int, int]) -> None:
    observed = np.zeros(shape, bool)
    observed[:, shape[1] // 4 : shape[1] // 2] = True
    raster = RasterMap(MetricGrid(0.0, 0.0, 0.1, *shape), observed.astype(np.float32), observed)
    assert observed_about_m2(raster) == pytest.approx(raster.observed_m2, rel=0.1)


@pytest.mark.parametrize(("agreement", "asks_for"), [(0.95, 6.0), (0.7, 0.0)], ids=["fits else", "refused by others"])
def test_wrong_queries_that_else_would_pass_raise_what_a_map_asks_for(
    monkeypatch: pytest.MonkeyPatch, agreement: float, asks_for: float
) -> None:
    """Every wrong query is as distinct as 6; it counts unless its blocks disagree, which refuses it anyway."""
    image = np.zeros((16, 16), np.float32)
    seen = Observation(image, image > -1, 0.05, 0.4, 0.4)
    features = MatchFeatures(
        score=0.3, evidence_sigma=9.0, margin_sigma=9.0, agreement=agreement, sigma_m=0.1, observed_fraction=0.5,
        known_fraction=0.9, surprise=9.0, distinction=6.0, at_edge=False,
    )  # fmt: skip
    answer = Estimate(Status.OK, SE2(0, 0, 0), np.eye(3), LidarDiagnostics())
    attempt = SimpleNamespace(estimate=answer, features=features)
    monkeypatch.setattr(choosing, "simulated_places", lambda *_: range(16))
    monkeypatch.setattr(choosing, "raster_of", lambda *_: None)
    monkeypatch.setattr(choosing, "in_memory", lambda *_: (None, 0))
    monkeypatch.setattr(choosing, "observation_of", lambda *_: seen)
    monkeypatch.setattr(choosing, "_best_score", lambda *_: 0.2)
    monkeypatch.setattr(choosing, "attempt_pair", lambda *_: PairAttempt(attempt, 0.1, 1.0))  # type: ignore[arg-type]
    model = default_marks(0.05)
    source = SimpleNamespace(grid=MetricGrid(0.0, 0.0, 0.05, 100, 100))
    worth = map_calibration(model, source)  # type: ignore[arg-type]
    thresholds = thresholds_of(SimpleNamespace(model=model))
    asked = raised(thresholds, worth).warn_distinction
    assert asked == pytest.approx(max(asks_for, thresholds.warn_distinction))
    assert worth.negatives == 16 * 5 - 3
    assert (worth.fit, worth.rival) == (pytest.approx(0.9 * 0.3), pytest.approx(0.2))


def test_richer_codes_are_wanted_where_the_best_is_neither_sure_nor_right() -> None:
    lost, sure, right = (
        CodeTrial("a", 1.0, median_m, 1.0, ok, 12) for median_m, ok in ((0.3, 0.1), (0.3, 0.8), (0.05, 0.1))
    )
    assert loses_the_place([lost, lost])
    assert not loses_the_place([lost, sure])
    assert not loses_the_place([lost, right])


@pytest.mark.parametrize("model", [default_bundle(0.33), default_marks(0.05)], ids=["learned", "marks"])
def test_a_code_is_tried_with_its_own_thresholds(model: Bundle | MarksModel) -> None:
    """By the defaults most right sweeps of a learned code are refused, and no map has a protection level."""
    grid = MetricGrid(0.0, 0.0, model.resolution_m, 96, 96)
    intensity = np.random.default_rng(0).random(grid.shape).astype(np.float32)
    opened, _ = in_memory(model, RasterMap(grid, intensity, np.ones(grid.shape, bool)))
    assert model.thresholds
    assert LidarLocalizer.open(opened).thresholds == ConfidenceThresholds.from_dict(model.thresholds)


def test_a_code_of_larger_pixels_is_tried_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Map and sweep of a place are reduced alike; bits count by the ground as it was brought."""
    rng = np.random.default_rng(0)
    sides = {"map": (256, 256), "sweep": (121, 120)}
    seen = {name: rng.random(shape) < 0.3 for name, shape in sides.items()}
    images = [image for of in seen.values() for image in (of.astype(np.float32), of)]
    pair, model = RasterPair(*images, (4.0, -6.0)), replace(default_bundle(0.05), resolution_m=0.1)
    tried: list[tuple[Any, ...]] = []

    def attempt(opened: Any, asked: RasterPair, observation: Observation, *_: Any) -> PairAttempt:
        tried.append((opened.grid, asked.shift_px, observation.resolution_m, observation.observed.shape))
        answer = Estimate(Status.OK, SE2(0, 0, 0), np.eye(3), LidarDiagnostics())
        return PairAttempt(SimpleNamespace(estimate=answer), 0.03, 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(choosing, "attempt_pair", attempt)
    (found,) = try_codes([model], [pair], 0.05)
    grid = MetricGrid(-6.4, 6.4, 0.1, 128, 128)
    assert tried == [(grid, (2.0 - 0.25, -3.0), 0.1, (60, 60))]
    _, payload_bytes = in_memory(model, raster_of(pair.reduced(2), 0.1))
    assert found.bit_per_m2 == pytest.approx(8 * payload_bytes / (float(seen["map"].sum()) * 0.05**2))


def test_codes_for_a_pixel_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks whose pixels are nearest; none that a map would have to be reduced for."""
    fine, rich = (
        replace(default_bundle(0.05), name=name, rate_bit_m2=rate) for name, rate in (("fine", 2), ("rich", 4))
    )
    larger, coarse = (replace(fine, name=str(size_m), resolution_m=size_m, rate_bit_m2=1.5) for size_m in (0.1, 0.33))
    monkeypatch.setattr(defaults, "default_bundles", lambda: [fine, rich, larger, coarse])
    both = ["rich", "fine"]
    named = {0.04: both, 0.05: both, 0.08: ["0.1"], 0.1: ["0.1"], 0.15: ["0.1"], 0.33: ["0.33"]}
    assert {size_m: [one.name for one in bundles_for(size_m)] for size_m in named} == named
    for size_m in (0.01, 0.18, 0.6):
        with pytest.raises(ModelError, match=f"no default model is for {size_m} m pixels"):
            bundles_for(size_m)
