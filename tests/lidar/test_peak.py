"""How flat a volume of scores is, against distributions whose entropy is known."""

from __future__ import annotations

import numpy as np
import pytest

from foldmap.lidar.match.peak import entropy_of, mode_mask


def test_entropy_is_one_when_flat_nothing_when_sure_and_grows_with_temperature() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 9, 9))
    assert entropy_of(np.zeros((21, 41, 41)), 1.0) == pytest.approx(1.0)
    assert entropy_of(scores, 1e-12) == pytest.approx(0.0, abs=1e-9)
    assert entropy_of(scores, 0.1) < entropy_of(scores, 1.0) < entropy_of(scores, 10.0) < 1.0
    half = np.full(64, -np.inf)
    half[:8] = 0.0
    assert entropy_of(half, 1.0) == pytest.approx(0.5)


def test_a_mode_is_a_disc_and_at_least_its_neighbours() -> None:
    assert mode_mask((9, 9), (4, 4), 0.0).sum() == 9
    assert mode_mask((9, 9), (4, 4), 2.0).sum() == 13
    assert mode_mask((9, 9), (0, 0), 1.5).sum() == 4
