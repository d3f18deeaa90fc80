"""What decides for a hypothesis: evidence over new ground, weighed by how much of the map was seen, and no rival."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

from foldmap.geometry import SE2
from foldmap.localize.estimate import Estimate, Status
from foldmap.localize.journey.estimate import JourneySettings
from foldmap.localize.journey.search import Search
from foldmap.localize.lidar.attempt import Attempt
from foldmap.localize.lidar.confidence import LidarDiagnostics

STEP, SPREAD = SE2(1.0, 0.0, 0.0), np.eye(3) * 1e-3


@dataclass
class Sees:
    """A lidar that finds the pose it is asked at, `degraded`, with what it was told to say of it; None: no match."""

    said: dict[float, tuple[float, float | None] | None]  # by y: distinction, explained

    def attempt(self, _: Any, prior: SE2, *__: Any) -> Attempt:
        said = self.said[round(prior.y_m)]
        if said is None:
            return Attempt(Estimate.without_pose(Status.NO_MATCH, LidarDiagnostics()), None)
        health = LidarDiagnostics(distinction=said[0], explained=said[1])
        return Attempt(Estimate(Status.DEGRADED, prior, SPREAD, health), None)


def driven_m(sees: Sees, starts: dict[float, str], most: int = 60) -> int | None:
    """After so many metres one is decided for; None where none is."""
    search = Search(JourneySettings())
    for y_m, layer in starts.items():
        search.propose(SE2(0.0, y_m, 0.0), SPREAD, layer, 4.0 if layer == "visual" else 3.0)
    for metres in range(1, most):
        search.move(STEP, 0.1)
        search.sweep(cast("Any", sees), cast("Any", None), [])
        if search.decided() is not None:
            return metres
    return None


@pytest.mark.parametrize(
    ("distinction", "explained", "after_m"),
    [(5.0, 0.9, 2), (5.0, None, 3), (5.0, 0.65, 9), (5.0, 0.55, 39), (0.5, 0.9, 11), (0.0, 0.9, None)],
)
def test_evidence_is_summed_and_streets_alike_need_more(
    distinction: float, explained: float | None, after_m: int | None
) -> None:
    assert driven_m(Sees({0: (distinction, explained)}), {0.0: "lidar"}) == after_m


def test_a_rival_that_fits_as_well_leaves_it_open_and_misses_end_it() -> None:
    alike: dict[float, tuple[float, float | None] | None] = {0: (3.0, 0.9), 50: (2.5, 0.9)}
    assert driven_m(Sees(alike), {0.0: "lidar", 50.0: "lidar"}) is None
    assert driven_m(Sees({**alike, 50: None}), {0.0: "lidar", 50.0: "lidar"}) == 2
    assert driven_m(Sees({0: None}), {0.0: "lidar"}) is None


def test_photos_count_whatever_lidar_sees_of_the_map() -> None:
    search = Search(JourneySettings())
    for _ in range(3):
        search.move(STEP, 0.1)
        search.photo(SE2(5.0, 0.0, 0.0) if not search.alive else search.alive[0].pose, SPREAD)
    found = search.decided()
    assert found is not None
    found.explained = 0.5
    assert search.decided() is found


def test_matched_in_turn_every_hypothesis_is_heard() -> None:
    search, heard = Search(JourneySettings()), list[int]()

    class Hears(Sees):
        def attempt(self, _: Any, prior: SE2, *rest: Any) -> Attempt:
            heard.append(round(prior.y_m))
            return super().attempt(_, prior, *rest)

    places = range(0, 50, 10)
    for y_m in places:
        search.propose(SE2(0.0, float(y_m), 0.0), SPREAD, "lidar", 3.0)
    for count in (2, 4, 6):
        search.sweep(cast("Any", Hears(dict.fromkeys(places, (3.0, 0.9)))), cast("Any", None), [], 2)
        assert len(heard) == count
    assert set(heard) == set(places)
