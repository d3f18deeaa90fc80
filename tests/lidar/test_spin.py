"""Sweeps of spinning lidars without times of points: which way they spin, and how they are put together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldmap.formats.sweeps.drives import open_drive
from foldmap.formats.sweeps.kitti import write_kitti_poses
from foldmap.geometry import SE2, SE3
from foldmap.lidar.mapping.spin import SpinFinder, Turn, put_together, spin_of, turns
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.estimate import JourneySettings
from foldmap.localize.journey.events import OdometryEvent, SweepEvent
from foldmap.localize.journey.journey import Journey
from foldmap.localize.journey.senses import Layers

SHARED = Path(__file__).parents[3] / "shared" / "data"
SPEED_MPS, YAW_RADPS, PERIOD_S = 12.0, 0.08, 0.1


def pose_at(time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The x, y and heading of a vehicle on a circle of 150 m."""
    heading, radius_m = YAW_RADPS * time_s, SPEED_MPS / YAW_RADPS
    return radius_m * np.sin(heading), radius_m * (1 - np.cos(heading)), heading


def seen_from(world_m: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    x_m, y_m, heading = pose_at(time_s)
    ahead, left, cos, sin = world_m[:, 0] - x_m, world_m[:, 1] - y_m, np.cos(heading), np.sin(heading)
    return np.column_stack([cos * ahead + sin * left, cos * left - sin * ahead, world_m[:, 2]])


def street() -> np.ndarray:
    """Walls with ribs, poles and ground beside and on a road, (N, 3) m."""
    rng, parts = np.random.default_rng(0), []
    for number, start_m in enumerate(np.arange(-40.0, 110.0, 5.0)):
        depth_m = 9.0 + 1.5 * (number % 3)
        for side in (-1, 1):
            at_m = rng.uniform(0, 5, 3000)
            parts.append(np.column_stack([start_m + at_m, np.full(3000, side * depth_m), rng.uniform(-1.5, 2, 3000)]))
            rib_m = rng.uniform(9.0, depth_m + 0.01, 800)
            parts.append(np.column_stack([np.full(800, start_m), side * rib_m, rng.uniform(-1.5, 2, 800)]))
            turn = rng.uniform(0, math.tau, 500)
            pole = np.column_stack([0.15 * np.cos(turn), 0.15 * np.sin(turn), rng.uniform(-1.5, 2, 500)])
            parts.append(pole + np.array([start_m + 2.2 * (number % 2), side * 6.5, 0]))
    ground = np.column_stack([rng.uniform(-40, 110, 40000), rng.uniform(-9, 9, 40000), np.full(40000, -1.7)])
    return np.concatenate([*parts, ground])


def drive(spin: int, count: int = 40) -> list[Sweep]:
    """Each point is measured when the lidar looks its way, in the sensor's frame of that moment."""
    world_m, rng, sweeps = street(), np.random.default_rng(1), list[Sweep]()
    for number in range(count):
        now_s = PERIOD_S * number
        near = world_m[np.hypot(*seen_from(world_m, np.array(now_s))[:, :2].T) < 38]
        chosen = near[rng.choice(len(near), 12000, replace=False)]
        time_s = np.full(len(chosen), now_s)
        for _ in range(8):  # where a point is seen depends on when
            seen = seen_from(chosen, time_s)
            time_s = now_s + spin * PERIOD_S * np.arctan2(seen[:, 1], seen[:, 0]) / math.tau
        noisy = seen + rng.normal(0, 0.01, seen.shape)
        sweeps.append(Sweep(noisy.astype(np.float32), rng.uniform(0, 1, len(noisy)).astype(np.float32)))
    return sweeps


def poses(count: int) -> list[SE3]:
    return [SE3.from_se2(SE2(*map(float, pose_at(np.array(PERIOD_S * k))))) for k in range(count)]


@pytest.fixture(scope="module")
def skewed() -> list[Sweep]:
    return drive(-1)


@pytest.mark.parametrize("spin", [-1, 1])
def test_points_lie_where_they_were_when_the_lidar_looked_ahead(spin: int) -> None:
    world_m = street()
    behind = np.abs(np.arctan2(world_m[:, 1], world_m[:, 0])) > 3.0  # the seam
    world_m = world_m[(np.hypot(*world_m[:, :2].T) < 38) & ~behind]
    time_s = np.zeros(len(world_m))
    for _ in range(8):
        seen = seen_from(world_m, time_s)
        time_s = spin * PERIOD_S * np.arctan2(seen[:, 1], seen[:, 0]) / math.tau
    skewed = Sweep(seen.astype(np.float32), np.zeros(len(seen), np.float32))
    x_m, y_m, heading = pose_at(np.array(PERIOD_S))
    turn = Turn.level(SE2(float(x_m), float(y_m), float(heading)))
    found = put_together(skewed, spin, turn)
    off_m = np.linalg.norm(found.points_sensor_m - seen_from(world_m, np.array(0.0)), axis=1)
    assert np.linalg.norm(skewed.points_sensor_m - seen_from(world_m, np.array(0.0)), axis=1).max() > 0.5
    assert np.quantile(off_m, 0.999) < 0.02  # next to the vehicle azimuths change while it passes
    assert put_together(skewed, 0, turn) is skewed


@pytest.mark.parametrize("quarters", [1, 3])
def test_axes_that_move_sideways_have_their_seam_behind_the_motion(quarters: int, skewed: list[Sweep]) -> None:
    """The same sweeps with x to the right, or to the left: what is put together is turned, and nothing else."""
    moved = turns(poses(len(skewed)))[7]
    cos, sin = round(math.cos(quarters * math.pi / 2)), round(math.sin(quarters * math.pi / 2))
    turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)
    other = Turn(turned @ moved.translation_m, turned @ moved.rotation_rad)
    found = put_together(Sweep(skewed[7].points_sensor_m @ turned.T, skewed[7].intensity), -1, other)
    wanted = put_together(skewed[7], -1, moved).points_sensor_m @ turned.T
    np.testing.assert_allclose(found.points_sensor_m, wanted, atol=1e-4)


@pytest.mark.parametrize("spin", [-1, 0, 1])
def test_the_way_is_told_by_the_sweeps(spin: int, skewed: list[Sweep]) -> None:
    sweeps = skewed if spin == -1 else drive(spin)
    assert spin_of(lambda k: sweeps[k], poses(len(sweeps))) == spin
    finder = SpinFinder()
    for sweep, pose, turn in zip(sweeps, poses(len(sweeps)), turns(poses(len(sweeps))), strict=True):
        finder.add(sweep, pose.to_se2(), turn)
    assert finder.spin == spin


def test_no_sweep_takes_longer_than_one_way_of_a_pair(skewed: list[Sweep], monkeypatch: pytest.MonkeyPatch) -> None:
    import small_gicp

    count, align = 0, small_gicp.align

    def counted(*args: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        return align(*args, **more)

    monkeypatch.setattr(small_gicp, "align", counted)
    finder, before, each = SpinFinder(), 0, list[int]()
    for sweep, pose, turn in zip(skewed, poses(len(skewed)), turns(poses(len(skewed))), strict=True):
        finder.add(sweep, pose.to_se2(), turn)
        each.append(count - before)
        before = count
    assert max(each) == 1
    assert count >= 3 * 6  # as many pairs as tell


def test_sweeps_put_together_need_no_more(skewed: list[Sweep]) -> None:
    moved = turns(poses(len(skewed)))
    together = [put_together(sweep, -1, turn) for sweep, turn in zip(skewed, moved, strict=True)]
    assert spin_of(lambda k: together[k], poses(len(skewed))) == 0


def test_files_of_sweeps_are_put_together_when_they_are_read(skewed: list[Sweep], tmp_path: Path) -> None:
    for number, sweep in enumerate(skewed):
        rows = np.column_stack([sweep.points_sensor_m, sweep.intensity])
        (tmp_path / f"{number:06d}.bin").write_bytes(rows.astype("<f4").tobytes())
    write_kitti_poses(tmp_path / "poses.txt", poses(len(skewed)))
    drive, plain = (open_drive(tmp_path, tmp_path / "poses.txt", deskew=deskew) for deskew in (True, False))
    assert [one.provenance()["deskewed"] for one in (drive, plain)] == ["clockwise", "none"]
    wanted = put_together(skewed[7], -1, turns(poses(len(skewed)))[7])
    np.testing.assert_allclose(drive.sweeps[7].points_sensor_m, wanted.points_sensor_m, atol=1e-5)
    np.testing.assert_array_equal(drive.sweeps.chosen([3, 7])[1].points_sensor_m, drive.sweeps[7].points_sensor_m)
    np.testing.assert_array_equal(plain.sweeps[7].points_sensor_m, skewed[7].points_sensor_m)


@pytest.mark.parametrize("named", ["{:06d}.bin", "day1_{}.bin", "stamps"])
def test_names_tell_that_sweeps_were_left_out(skewed: list[Sweep], tmp_path: Path, named: str) -> None:
    """Every second sweep, poses without times: two revolutions lie between, by frames' numbers or by stamps."""
    every = poses(len(skewed))
    for number in range(0, len(skewed), 2):
        name = named.format(number) if named != "stamps" else f"{1_600_000_000_000_000_000 + number * 10**8}.bin"
        rows = np.column_stack([skewed[number].points_sensor_m, skewed[number].intensity])
        (tmp_path / name).write_bytes(rows.astype("<f4").tobytes())
    write_kitti_poses(tmp_path / "poses.txt", every[::2])
    drive = open_drive(tmp_path, tmp_path / "poses.txt")
    assert drive.provenance()["deskewed"] == "clockwise"
    wanted = put_together(skewed[14], -1, turns(every)[14])
    np.testing.assert_allclose(drive.sweeps[7].points_sensor_m, wanted.points_sensor_m, atol=0.02)


@pytest.mark.parametrize("deskew", [True, False])
def test_a_journey_puts_sweeps_together_once_they_have_told(deskew: bool, skewed: list[Sweep]) -> None:
    journey, every = Journey(Layers(), None, JourneySettings(deskew=deskew)), poses(len(skewed))
    for number, sweep in enumerate(skewed):
        if number:
            moved = (every[number - 1].inverse() @ every[number]).to_se2()
            journey.step(OdometryEvent(PERIOD_S * number, moved))
        seen = journey.at_once(SweepEvent(PERIOD_S * number, sweep))
    last = put_together(skewed[-1], -1, turns(every)[-1]) if deskew else skewed[-1]
    assert isinstance(seen, Sweep)
    np.testing.assert_allclose(seen.points_sensor_m, last.points_sensor_m, atol=0.02)
    assert journey.at_once(SweepEvent(PERIOD_S * number, skewed[-1], at_once=True)) is skewed[-1]


def test_a_slow_or_short_drive_is_left_as_it_is(skewed: list[Sweep]) -> None:
    slow = [SE3.from_se2(SE2(0.1 * k, 0.0, 0.0)) for k in range(len(skewed))]
    read = list[int]()
    assert spin_of(lambda k: read.append(k), slow) == 0
    assert spin_of(lambda k: skewed[k], poses(len(skewed))[:12]) == 0
    assert spin_of(lambda k: skewed[k], []) == 0
    assert read == []


def test_what_few_sweeps_do_not_tell_is_as_of_the_map(skewed: list[Sweep]) -> None:
    every = poses(len(skewed))
    assert spin_of(lambda k: skewed[k], every[:12], otherwise=-1) == -1
    plain = drive(0)
    assert spin_of(lambda k: plain[k], every, otherwise=-1) == 0
    for sweeps, first, told in ((plain, -1, 0), (skewed, 2, 2)):  # of a map of skewed sweeps: left alone
        finder = SpinFinder(first)
        for number, (sweep, pose, turn) in enumerate(zip(sweeps, every, turns(every), strict=True)):
            finder.add(sweep, pose.to_se2(), turn)
            assert finder.spin == first or number > 14
        assert finder.spin == told
    assert put_together(skewed[5], 2, turns(every)[5]) is skewed[5]


def test_a_short_drive_of_another_lidar_is_not_taken_for_the_maps() -> None:
    """A lidar that spins the other way in a map that says clockwise: three pairs are too few to tell, not to doubt."""
    sweeps, every = drive(1, 20), poses(20)
    assert spin_of(lambda k: sweeps[k], every, otherwise=1) == 1
    finder = SpinFinder(-1)
    for sweep, pose, turn in zip(sweeps, every, turns(every), strict=True):
        finder.add(sweep, pose.to_se2(), turn)
    assert finder.spin == 0


def test_revolutions_of_sweeps_that_come_seldom_are_a_tenth_of_a_second() -> None:
    every, times_s = poses(40), PERIOD_S * np.arange(40.0)
    one, fifth = turns(every, times_s)[20], turns(every[::5], times_s[::5])[4]
    np.testing.assert_allclose(fifth.translation_m, one.translation_m, atol=0.02)
    np.testing.assert_allclose(fifth.rotation_rad, one.rotation_rad, atol=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("place", "independent", "spin"),
    [("joint/kitti-drive0001", True, -1), ("lidar/kitti-hdl64", True, 2), ("lidar/kitti-hdl64", False, -1)],
)
def test_recorded_lidars_spin_clockwise(place: str, independent: bool, spin: int) -> None:
    """The HDL-64E of KITTI's raw recordings; poses of kitti-hdl64 are odometry of its sweeps as they are."""
    if not (SHARED / place).is_dir():
        pytest.skip("the recordings are not here")
    recorded = open_drive(SHARED / place / "sweeps", SHARED / place / "poses.txt", deskew=False)
    assert spin_of(recorded.sweep, recorded.world_SE3_sensors, independent=independent) == spin
