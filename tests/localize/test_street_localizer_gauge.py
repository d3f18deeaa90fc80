"""Where the origin lies must not matter: maps at the size of UTM and ECEF coordinates are localized in as at 0, 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from street_world import Streets, drive, noisy, odometry, streets, town_graph

from foldmap.geometry import SE2
from foldmap.localize.street.lane_places import lane_places
from foldmap.localize.street.localizer import StreetLocalizer
from foldmap.localize.street.settings import StreetPrior

SHIFTS = [(5e5, 5.4e6), (-4.123456e6, 7.7e5)]


@pytest.fixture(scope="module")
def town() -> Streets:
    return streets(town_graph(3, 40.0))


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_drive_far_from_the_origin_is_the_same_drive(town: Streets, shift: tuple[float, float]) -> None:
    away = SE2(*shift, 0.0)
    far = lane_places(town.graph.moved(away), 2.0)
    assert len(far) == len(town.places)
    np.testing.assert_array_equal(far.follow, town.places.follow)
    np.testing.assert_array_equal(far.left, town.places.left)
    np.testing.assert_allclose(far.positions_m - shift, town.places.positions_m, atol=1e-6)
    near_by = StreetLocalizer(town.places, town.embeddings)
    far_off = StreetLocalizer(far, town.embeddings)
    rng = np.random.default_rng(2)
    poses = drive(town.graph, rng, 12)
    seen, moves = noisy(town.raster(poses), 0.4, rng), odometry(poses, rng)
    prior = StreetPrior(poses[0].x_m, poses[0].y_m, 30.0, poses[0].heading_rad)
    moved_prior = replace(prior, x_m=prior.x_m + shift[0], y_m=prior.y_m + shift[1])
    here, there = near_by.start(prior), far_off.start(moved_prior)
    for moved, query in zip(moves, seen, strict=True):
        for one, other in (
            (here.step(query, moved), there.step(query, moved)),
            (near_by.localize(query, prior), far_off.localize(query, moved_prior)),
        ):
            assert one.status is other.status
            np.testing.assert_allclose(other.belief, one.belief, atol=1e-5)
            assert other.guess.x_m - shift[0] == pytest.approx(one.guess.x_m, abs=1e-3)
            assert other.guess.y_m - shift[1] == pytest.approx(one.guess.y_m, abs=1e-3)
            if one.covariance is not None:
                np.testing.assert_allclose(other.covariance, one.covariance, rtol=1e-3, atol=1e-6)
