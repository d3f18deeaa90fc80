"""From nothing to a tracked pose in a known block; layers cut off, a jump, a strange town, events out of order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from journey_town import PERIOD_S, drive_of, events_of, make_town, off_m

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2
from foldmap.localize.estimate import Status
from foldmap.localize.journey.estimate import JourneyEstimate, JourneySettings
from foldmap.localize.journey.events import (
    FixEvent,
    OdometryEvent,
    SweepEvent,
    TwistEvent,
    YawRateEvent,
    in_order,
)
from foldmap.localize.journey.journey import Journey
from foldmap.localize.journey.moving import Moving
from foldmap.localize.journey.senses import Layers

FRAMES = 60


def told(journey: Journey, events) -> dict[int, JourneyEstimate]:
    """The last estimate of each frame."""
    return {round(event.time_s / PERIOD_S): estimate for event, estimate in journey.run(events)}


def wrong(found: dict[int, JourneyEstimate], poses: list[SE2], limit_m: float = 0.3) -> list[int]:
    """Frames that were called ok and are not."""
    ok = {k: one.pose for k, one in found.items() if one.status is Status.OK}
    return [k for k, pose in ok.items() if pose is None or off_m(pose, poses[k]) > limit_m]


def first_ok(found: dict[int, JourneyEstimate], after: int = 0) -> int:
    return min((k for k, one in found.items() if k >= after and one.status is Status.OK), default=10**6)


def test_lost_at_the_start_found_by_the_street_and_then_by_lidar(town) -> None:
    for seed in (1, 2):
        poses = drive_of(town, FRAMES, seed)
        found = told(Journey(town.layers()), events_of(town, poses, seed))
        assert found[0].pose is None
        assert first_ok(found) <= 30
        assert not wrong(found, poses)
        late = [found[k].status for k in range(40, FRAMES)]
        assert late.count(Status.OK) >= 17
        assert all(one.has_pose for one in late)
        assert np.median([off_m(found[k].pose, poses[k]) for k in range(40, FRAMES)]) < 0.05
        assert found[FRAMES - 1].diagnostics.spoke == ("lidar",)
        assert found[FRAMES - 1].diagnostics.layers["street"].age_s is not None


def test_the_same_events_give_the_same_estimates_and_order_does_not_matter(town) -> None:
    poses = drive_of(town, 30, 1)
    events = list(events_of(town, poses, 1))
    late = sorted(events, key=lambda event: event.time_s + (0.25 if isinstance(event, OdometryEvent) else 0.0))
    assert [type(one) for one in late] != [type(one) for one in events]
    runs = [told(Journey(town.layers()), given) for given in (events, events, late)]
    for other in runs[1:]:
        assert list(other) == list(runs[0])
        for k, one in runs[0].items():
            assert (one.status, one.pose) == (other[k].status, other[k].pose)


def test_no_sweeps_for_a_while(town) -> None:
    poses, gap = drive_of(town, 130, 2), range(40, 100)
    found = told(Journey(town.layers()), events_of(town, poses, 2, no_sweeps=gap))
    assert not wrong(found, poses)
    inside = [found[k] for k in gap if k in found]
    assert {one.status for one in inside[2:]} == {Status.DEGRADED}
    sigmas = [one.diagnostics.sigma_m for one in inside]
    assert all(b > a for a, b in itertools.pairwise(sigmas))
    assert all(off_m(found[k].pose, poses[k]) < 4 * found[k].diagnostics.sigma_m for k in gap if k in found)
    assert first_ok(found, gap.stop) <= gap.stop + 50


def test_everything_is_silent_for_five_seconds(town) -> None:
    poses, gap = drive_of(town, 140, 7), range(40, 90)
    found = told(Journey(town.layers()), events_of(town, poses, 7, blind=gap))
    assert not wrong(found, poses)
    assert first_ok(found, gap.stop) <= gap.stop + 50


def test_a_jump_of_twenty_metres(town) -> None:
    way = drive_of(town, 150, 2)
    poses = way[:40] + way[65:]  # carried 20 m on, between two frames
    found = told(Journey(town.layers()), events_of(town, poses, 2, jump_at=40))
    assert Status.OK in {found[k].status for k in range(36, 40)}
    assert not wrong(found, poses)
    assert found[41].status is not Status.OK
    assert first_ok(found, 41) <= 41 + 50


def test_a_strange_town_is_never_ok(town) -> None:
    strange = make_town(11)
    poses = drive_of(strange, 40, 1)
    found = told(Journey(town.layers()), events_of(strange, poses, 1))
    assert Status.OK not in {one.status for one in found.values()}


def test_satellites_and_odometry_tell_where_lidar_begins(town) -> None:
    poses = drive_of(town, 80, 1)
    found = told(Journey(town.layers(street=False), None), events_of(town, poses, 1, gnss_m=0.5))
    assert not wrong(found, poses)
    assert first_ok(found) < 80
    assert "gnss" in found[79].diagnostics.layers


def test_a_prior_is_enough_for_lidar_alone(town) -> None:
    poses = drive_of(town, 20, 1)
    prior = poses[0] @ SE2(1.5, -1.0, 0.05), 3.0
    found = told(Journey(town.layers(street=False), prior), events_of(town, poses, 1))
    assert first_ok(found) <= 8
    assert not wrong(found, poses)


def test_a_street_alone_answers_what_the_street_knows(town) -> None:
    poses = drive_of(town, 150, 2)
    found = told(Journey(town.layers(lidar=False)), events_of(town, poses, 2, no_sweeps=range(10**6)))
    sure = [k for k, one in found.items() if one.status is Status.OK]
    assert sure
    assert max(off_m(found[k].pose, poses[k]) for k in sure) < 10.0
    assert all(found[k].diagnostics.spoke == ("street",) for k in sure)


def test_nothing_to_go_by_is_no_pose(town) -> None:
    journey = Journey(Layers())
    assert journey.step(OdometryEvent(0.0, SE2(0, 0, 0))) is None
    answered = journey.step(SweepEvent(0.1, town.ground.look(SE2(0, 0, 0), 0.0, 1)))
    assert answered is not None
    assert answered.status is Status.NO_OBSERVATION
    assert answered.pose is None


def test_events_are_sorted_within_what_is_held_and_later_ones_are_left_out() -> None:
    times = [0.0, 0.3, 0.1, 0.2, 1.0, 0.9, 2.0, 0.8, 3.0]
    given = [FixEvent(time_s, 0.0, 0.0, 1.0) for time_s in times]
    assert [event.time_s for event in in_order(given, 0.5)] == [0.0, 0.1, 0.2, 0.3, 0.9, 1.0, 2.0, 3.0]
    with pytest.raises(PoseInputError):
        list(in_order([FixEvent(math.nan, 0.0, 0.0, 1.0)]))
    with pytest.raises(PoseInputError):
        FixEvent(0.0, 0.0, 0.0, 0.0)
    with pytest.raises(ConfigError):
        JourneySettings(hits=0)


def test_speeds_and_yaw_rates_are_an_arc() -> None:
    radius_m, rate = 10.0, 0.5
    moving = Moving()
    for k in range(21):
        moving.add(TwistEvent(0.1 * k, radius_m * rate))
        moving.add(YawRateEvent(0.1 * k, rate))
    here, known = moving.at(2.1)
    assert known
    assert here.heading_rad == pytest.approx(1.05, abs=1e-9)
    assert (here.x_m, here.y_m) == pytest.approx((radius_m * math.sin(1.05), radius_m * (1 - math.cos(1.05))), abs=2e-3)
    assert not moving.at(4.0)[1]


def test_increments_hold_between_their_times() -> None:
    moving = Moving()
    for k in range(5):
        moving.add(OdometryEvent(0.1 * k, SE2(1.0, 0.0, 0.0) if k else SE2(0.0, 0.0, 0.0)))
    assert moving.at(0.4)[0].x_m == pytest.approx(4.0)
    assert moving.at(0.45)[0].x_m == pytest.approx(4.5)
    moving.add(OdometryEvent(0.5, SE2(0.8, 0.0, 0.0)))
    assert moving.at(0.5)[0].x_m == pytest.approx(4.8)
