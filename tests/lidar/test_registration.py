"""Sweeps registered to each other, and priors that have errors of their own told from those that move as a vehicle."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from town_drive import independent, town_drive

from foldmap.formats.sweeps.drives import open_drive
from foldmap.geometry import SE2, SE3
from foldmap.lidar.mapping.registration import SweepOdometry, SweepRegistration
from foldmap.lidar.mapping.rigidity import rigidity_of
from foldmap.lidar.source import Sweep

RECORDING = Path(__file__).parents[3] / "shared" / "data" / "lidar" / "kitti-hdl64"
Drive = tuple[list[Sweep], list[SE3]]


@pytest.fixture(scope="module")
def town() -> Drive:
    return town_drive(12)


def test_sweeps_tell_how_the_sensor_moved(town: Drive) -> None:
    sweeps, truth = town
    running, priors = SweepRegistration(), independent(truth, 0.3, 2.0)
    assert running.add(sweeps[0]) is None
    for number in range(1, 7):
        found = running.add(sweeps[number], priors[number - 1].inverse() @ priors[number])
        assert found is not None
        error = ((truth[0].inverse() @ truth[number]).inverse() @ found).to_se2()
        assert math.hypot(error.x_m, error.y_m) < 0.05
        assert abs(error.heading_rad) < math.radians(0.2)


def plain(seed: int) -> Sweep:
    """Flat ground, on which nothing stands."""
    rng = np.random.default_rng(seed)
    xyz = np.column_stack([rng.uniform(-20, 20, (9000, 2)), rng.normal(-1.7, 0.01, 9000)])
    return Sweep(xyz.astype(np.float32), rng.uniform(0, 1, 9000).astype(np.float32))


def test_where_nothing_stands_nothing_is_answered() -> None:
    running = SweepRegistration()
    assert [running.add(plain(seed)) for seed in range(3)] == [None] * 3


def test_odometry_goes_on_over_a_sweep_that_tells_nothing(town: Drive) -> None:
    sweeps, truth = town
    odometry, here = SweepOdometry(), SE2(0.0, 0.0, 0.0)
    dark = Sweep(sweeps[5].points_sensor_m[:99], sweeps[5].intensity[:99])
    for number, sweep in enumerate([*sweeps[:5], dark, *sweeps[6:]]):
        step = odometry.add(sweep)
        assert (step is None) == (number in (0, 6))  # the first, and the first of those that follow nothing
        if number:
            here = here @ (step or (truth[number - 1].inverse() @ truth[number]).to_se2())
    error = (truth[0].inverse() @ truth[len(sweeps) - 1]).to_se2().inverse() @ here
    assert math.hypot(error.x_m, error.y_m) < 0.1


@pytest.mark.parametrize(("sigma_m", "sigma_deg", "rigid"), [(0.0, 0.0, True), (0.3, 2.0, False), (0.0, 2.0, False)])
def test_errors_of_their_own_are_seen(town: Drive, sigma_m: float, sigma_deg: float, rigid: bool) -> None:
    sweeps, truth = town
    found = rigidity_of(lambda index: sweeps[index], independent(truth, sigma_m, sigma_deg))
    assert (found.rigid, found.registered) == (rigid, not rigid)


def test_a_few_poses_are_judged_by_the_sweeps(town: Drive) -> None:
    sweeps, truth = town
    for poses, rigid in ((truth, True), (independent(truth, 0.3, 2.0), False)):
        found = rigidity_of(lambda index: sweeps[index], poses[:4])
        assert (found.rigid, found.registered) == (rigid, True)


@pytest.mark.parametrize(("sigma_m", "rigid"), [(0.0, True), (0.02, True), (0.3, False)])
def test_without_sweeps_to_tell_the_poses_themselves_do(sigma_m: float, rigid: bool) -> None:
    pose, path = SE2(0.0, 0.0, 0.0), []
    for number in range(40):
        path.append(SE3.from_se2(pose))
        pose = pose @ SE2(0.8 + 0.1 * math.sin(number / 5), 0.0, 0.05 * math.cos(number / 7))
    found = rigidity_of(lambda index: plain(index), independent(path, sigma_m, 0.0))
    assert (found.rigid, found.registered) == (rigid, False)


def test_keyframes_of_a_vehicle_that_brakes_are_no_errors() -> None:
    steps_m = [10, 10, 9, 7, 4, 2, 0, 0, 1, 3, 6, 9, 10, 10]
    path = [SE3.from_se2(SE2(float(x), 0.0, 0.0)) for x in np.cumsum(steps_m)]
    assert rigidity_of(lambda index: None, path).rigid


@pytest.mark.skipif(not RECORDING.exists(), reason="no recordings of kitti-hdl64")
def test_a_real_drive() -> None:
    recorded = open_drive(RECORDING / "sweeps", RECORDING / "poses.txt", aligned=False)
    truth = recorded.world_SE3_sensors
    assert rigidity_of(recorded.sweep, truth).rigid
    found = rigidity_of(recorded.sweep, independent(truth, 0.3, 2.0))
    assert (found.rigid, found.registered) == (False, True)
