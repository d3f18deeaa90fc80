"""Which code is taken, given what was measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foldmap.geometry import MetricGrid
from foldmap.lidar.source import RasterMap, observed_about_m2
from foldmap.localize.lidar.choosing import CodeTrial, best_code


def trial(rate: float, median_m: float, ok: float, model_bytes: int = 100) -> CodeTrial:
    return CodeTrial("any", rate, median_m, 2 * median_m, ok, 18, model_bytes=model_bytes)


def test_the_smallest_of_those_that_lose_little() -> None:
    trials = [trial(3.0, 0.05, 0.95), trial(2.0, 0.06, 0.92), trial(1.0, 0.09, 0.95), trial(0.5, 0.05, 0.4)]
    assert best_code(trials, 1e4) == 1  # the third errs too much, the fourth answers too little


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
