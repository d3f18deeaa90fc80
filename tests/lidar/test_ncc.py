"""Masked correlation against a loop over `numpy.corrcoef`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from foldmap.bench.lidar.baselines.ncc import ncc_scores
from foldmap.errors import ConfigError


def _masked_pair(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    world = 40.0 + 7.0 * gaussian_filter(rng.standard_normal((60, 70)), 1.0)
    map_observed = rng.random((60, 70)) < 0.7
    observed = rng.random((44, 50)) < 0.4
    own = 3.0 * world[11:55, 8:58] + 100.0 + rng.standard_normal((44, 50))
    world[~map_observed] = np.nan
    own[~observed] = np.nan
    return world.astype(np.float32), map_observed, own.astype(np.float32), observed


def test_quarter_turns_agree_with_a_plain_loop() -> None:
    world, map_observed, own, observed = _masked_pair(1)
    own, observed = own[:44, :44], observed[:44, :44]
    radius = 5
    scores = ncc_scores(world[:54, :54], map_observed[:54, :54], own, observed, [0.0, math.pi / 2], radius)
    for t, turns in enumerate((0, 1)):  # numpy turns counter-clockwise as seen with row 0 on top, as we do
        image, mask = np.rot90(own, turns), np.rot90(observed, turns)
        for row in range(2 * radius + 1):
            for col in range(2 * radius + 1):
                window = np.s_[row : row + 44, col : col + 44]
                both = mask & map_observed[window]
                expected = np.corrcoef(world[window][both], image[both])[0, 1]
                assert scores[t, row, col] == pytest.approx(expected, abs=1e-4)


def test_the_true_shift_wins_whatever_the_gain_and_offset() -> None:
    world, map_observed, own, observed = _masked_pair(2)
    scores = ncc_scores(world, map_observed, own, observed, np.radians([-6.0, 0.0, 6.0]), 8)
    # The crop's centre is (30, 35), the query's (33, 33).
    assert np.unravel_index(scores.argmax(), scores.shape) == (1, 8 + 3, 8 - 2)
    assert scores.max() > 0.9
    assert np.abs(scores).max() <= 1.0


def test_nothing_in_common_scores_least_and_constants_score_zero() -> None:
    world, map_observed, own, observed = _masked_pair(3)
    blank = ncc_scores(world, map_observed, own, np.zeros_like(observed), [0.0], 4 + 4)
    assert (blank == -1.0).all()
    constant = ncc_scores(world, map_observed, np.full_like(own, 9.0), observed, [0.0], 8)
    assert (constant == 0.0).all()


def test_crop_smaller_than_the_window_is_refused() -> None:
    world, map_observed, own, observed = _masked_pair(4)
    with pytest.raises(ConfigError, match="crop"):
        ncc_scores(world, map_observed, own, observed, [0.0], 9)
