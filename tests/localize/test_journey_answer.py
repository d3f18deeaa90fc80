"""What a tracked pose is answered as, by which layer confirmed it and what lidar made of it since."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from foldmap.geometry import SE2
from foldmap.localize.estimate import Status
from foldmap.localize.journey.answer import answer
from foldmap.localize.journey.estimate import JourneySettings
from foldmap.localize.journey.fine import Fine
from foldmap.localize.journey.journey import Journey
from foldmap.localize.journey.senses import Layers


@pytest.mark.parametrize(
    ("confirmed", "agrees", "status"),
    [
        ({"visual": 0.1}, True, Status.OK),
        ({"visual": 0.1}, False, Status.DEGRADED),  # lidar does not find what cameras are sure of
        ({"visual": 0.5}, True, Status.DEGRADED),
        ({"lidar": 0.1}, True, Status.DEGRADED),  # sure a moment ago, and not of what it saw last
    ],
)
def test_what_lidar_agrees_with_is_ok_where_cameras_are_sure_of_it(
    confirmed: dict[str, float], agrees: bool, status: Status
) -> None:
    settings = JourneySettings()
    fine = Fine(SE2(0.0, 0.0, 0.0), np.eye(3) * 1e-4, None, settings)
    fine.ok_age_s, fine.unmatched_s, fine.unsure = confirmed, 0.1, agrees
    idle = cast("Any", SimpleNamespace(alive=[], health={}))
    assert answer(fine, idle, idle, idle, Layers(), settings, 0, 0.0).status is status


def test_where_the_ground_is_another_there_is_no_pose_until_a_layer_confirms_it() -> None:
    settings, here = JourneySettings(), SE2(0.0, 0.0, 0.0)
    fine = Fine(here, np.eye(3) * 1e-4, None, settings)
    fine.ok_age_s, idle = {"visual": 0.0}, cast("Any", SimpleNamespace(alive=[], health={}))
    fine.moved()
    assert answer(fine, idle, idle, idle, Layers(), settings, 0, 0.0).status is Status.AMBIGUOUS
    assert fine.photo(SE2(0.5, 0.0, 0.0), np.eye(3) * 1e-4)
    found = answer(fine, idle, idle, idle, Layers(), settings, 0, 0.0)
    assert found.status is Status.OK
    assert found.pose is not None
    assert found.pose.x_m == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("age_s", "cameras"), [(0.1, 1), (0.5, 3)])
def test_few_cameras_are_enough_while_lidar_is_sure(age_s: float, cameras: int) -> None:
    journey = Journey(Layers())
    journey._layers = Layers(lidar=cast("Any", object()))
    fine = Fine(SE2(0.0, 0.0, 0.0), np.eye(3) * 1e-4, None, journey.settings)
    fine.ok_age_s = {"lidar": age_s}
    assert journey._cameras(fine) == cameras
    assert journey._cameras(None) == 3
