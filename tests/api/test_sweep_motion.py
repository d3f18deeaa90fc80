"""How sweeps are laid together: by odometry, by poses that move as a vehicle, or registered to each other."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from foldmap.api.sweep_motion import ODOMETRY, PRIORS, REGISTERED, motion_of
from foldmap.geometry import SE3
from foldmap.lidar.source import Sweep

sys.path.append(str(Path(__file__).resolve().parents[1] / "lidar"))
from town_drive import independent, town_drive


@dataclass
class Recorded:
    """A drive in memory."""

    sweeps: list[Sweep]
    world_SE3_sensors: list[SE3]

    def __len__(self) -> int:
        return len(self.sweeps)

    def sweep(self, index: int) -> Sweep:
        return self.sweeps[index]

    def check_aligned(self, where: str) -> None:
        """What is asked here lies on each other."""


@pytest.fixture(scope="module")
def town() -> Recorded:
    return Recorded(*town_drive(9))


def test_priors_with_errors_of_their_own_are_replaced_by_what_the_sweeps_show(town: Recorded) -> None:
    given = Recorded(town.sweeps, independent(town.world_SE3_sensors, 0.3, 2.0))
    assert motion_of(given, True, "odometry.txt", False, 5).how == ODOMETRY
    assert motion_of(given, False, "prior.txt", False, 1).how == PRIORS
    moving = motion_of(given, False, "prior.txt", False, 5)
    assert moving.how == REGISTERED
    assert "prior.txt are no odometry" in moving.note
    found = [moving.pose(index, sweep if index != 4 else None) for index, sweep in enumerate(town.sweeps)]
    for index in (1, 3, 5, 8):
        true = town.world_SE3_sensors[0].inverse() @ town.world_SE3_sensors[index]
        error = (true.inverse() @ (found[0].inverse() @ found[index])).to_se2()
        assert math.hypot(error.x_m, error.y_m) < 0.06
        assert abs(error.heading_rad) < math.radians(0.3)


def test_poses_that_move_as_a_vehicle_are_taken_as_they_are_and_that_is_said(town: Recorded) -> None:
    moving = motion_of(town, False, "prior.txt", True, 5)
    assert moving.how == PRIORS
    assert moving.note == "no --odometry: sweeps are laid together and followed by the differences of prior.txt"
    assert moving.pose(3, None) is town.world_SE3_sensors[3]
