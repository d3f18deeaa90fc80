"""Poses and sweeps that do not belong together are refused; what real drives do is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scene import cast
from scipy.spatial.transform import Rotation

from foldmap.errors import FoldmapError, PoseInputError, SweepInputError
from foldmap.geometry import SE3
from foldmap.lidar.mapping.alignment import Outline, compare_sweeps, outline
from foldmap.lidar.mapping.belonging import (
    check_alignment,
    check_digits,
    check_ground,
    check_poses,
    pairs_to_compare,
    probed,
    storeys_note,
)
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.events import Event, OdometryEvent, SweepEvent
from foldmap.localize.journey.laid import LaidSweeps

BOXES = [
    (6.0 + 9 * k, 8.0 + 9 * k, (-1) ** k * 6.0 + k % 3, (-1) ** k * 6.0 + k % 3 + 1.5, 3.0, 0.3) for k in range(-4, 7)
]


def turned(
    roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0, at_m: tuple[float, float, float] = (0, 0, 0)
) -> SE3:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("ZYX", [yaw, pitch, roll], degrees=True).as_matrix()
    matrix[:3, 3] = at_m
    return SE3(matrix)


def drive(count: int = 12, step_m: float = 0.8, heading_deg: float = 25.0, turn_deg: float = 2.0) -> list[SE3]:
    """A vehicle that drives a bend, sensor 1.73 m above the ground."""
    poses, x, y = [], 0.0, 0.0
    for k in range(count):
        yaw = heading_deg + turn_deg * k
        poses.append(turned(yaw=yaw, at_m=(x, y, 1.73)))
        x, y = x + step_m * math.cos(math.radians(yaw)), y + step_m * math.sin(math.radians(yaw))
    return poses


@pytest.fixture(scope="module")
def sweeps() -> list[Sweep]:
    return [cast(pose, BOXES, seed=k, rings=32, azimuths=500)[0] for k, pose in enumerate(drive())]


_SEEN: dict[int, tuple[Sweep, Outline]] = {}


def seen_in(sweep: Sweep) -> Outline:
    """Its outline; sweeps of the fixture are asked with many poses."""
    if id(sweep) not in _SEEN:
        _SEEN[id(sweep)] = sweep, outline(sweep)  # held, so that no other sweep gets its number
    return _SEEN[id(sweep)][1]


def check(sweeps: list[Sweep], poses: list[SE3], quaternions: bool = True) -> None:
    """All that a drive's door checks."""
    check_poses(poses, "poses.txt")
    some = probed(len(poses))
    check_ground([sweeps[i] for i in some], [poses[i] for i in some], "sweeps")
    seen = [seen_in(sweep) for sweep in sweeps]
    check_alignment(
        [(seen[i], seen[j], poses[i], poses[j]) for i, j in pairs_to_compare(poses)],
        "poses.txt",
        quaternions=quaternions,
    )


def every(change: Callable[[np.ndarray], np.ndarray]) -> list[SE3]:
    return [SE3(change(pose.matrix.copy())) for pose in drive()]


def moved(matrix: np.ndarray, scale: float) -> np.ndarray:
    matrix[:3, 3] *= scale
    return matrix


def w_first(matrix: np.ndarray) -> np.ndarray:
    """The pose read from a quaternion that was written qw first."""
    x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    matrix[:3, :3] = Rotation.from_quat([w, x, y, z]).as_matrix()
    return matrix


FLAT, DEEP = np.float32([1, 1, 0]), np.float32([0, 0, 30])
CAMERA = np.array([[0.0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1]])

WRONG = {
    "camera": (
        lambda: every(lambda m: CAMERA @ np.linalg.inv(drive()[0].matrix) @ m @ np.linalg.inv(CAMERA)),
        "calibration",
    ),
    "camera, world up": (lambda: every(lambda m: m @ np.linalg.inv(CAMERA)), "calibration"),
    "qw first": (lambda: every(w_first), "qw"),
    "z down": (lambda: every(lambda m: m @ np.diag([1.0, -1, -1, 1])), "hangs upside down is turned about x"),
    "inverse": (lambda: every(np.linalg.inv), "sensor_T_world"),
    "millimetres": (lambda: every(lambda m: moved(m, 1000.0)), "times too large: give metres"),
    "centimetres": (lambda: every(lambda m: moved(m, 100.0)), "times too large: give metres"),
    "feet": (lambda: every(lambda m: moved(m, 1 / 0.3048)), "times too large: give metres"),
    "kilometres": (lambda: every(lambda m: moved(m, 0.001)), "not degrees or kilometres"),
    "degrees": (lambda: every(lambda m: moved(m, 9e-6) + np.pad([[8.4], [49.0]], [(0, 2), (3, 0)])), "not degrees"),
    "reversed": (lambda: drive()[::-1], "reverse order"),
    "another yaw": (lambda: every(lambda m: m @ turned(yaw=90.0).matrix), "x forward"),
    "left-handed": (lambda: every(lambda m: np.diag([1.0, -1, 1, 1]) @ m @ np.diag([1.0, -1, 1, 1])), "left-handed"),
    "left-handed, westward": (
        lambda: every(lambda m: np.diag([1.0, -1, 1, 1]) @ turned(yaw=209.5).matrix @ m @ np.diag([1.0, -1, 1, 1])),
        "left-handed",
    ),
    "one pose for all": (lambda: [drive()[0]] * 12, "barely change"),
}


@pytest.mark.parametrize("name", WRONG)
def test_poses_that_cannot_be_the_sweeps_are_refused(sweeps: list[Sweep], name: str) -> None:
    poses, cure = WRONG[name]
    with pytest.raises(FoldmapError) as caught:
        check(sweeps, poses())
    assert cure in caught.value.cure


def test_matrices_are_not_told_of_quaternions(sweeps: list[Sweep]) -> None:
    poses = every(lambda m: m @ turned(yaw=90.0).matrix)
    for quaternions in (True, False):
        with pytest.raises(FoldmapError) as caught:
            check(sweeps, poses, quaternions)
        assert quaternions or "quaternion" not in caught.value.cure


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_right_poses_pass_and_short_drives_too(sweeps: list[Sweep], count: int) -> None:
    check(sweeps[:count], drive()[:count])


def test_a_lidar_that_hangs_is_turned_as_the_cure_says() -> None:
    pose = turned(roll=175.0, pitch=3.0, yaw=40.0)
    x, y, z, w = Rotation.from_matrix(pose.matrix[:3, :3]).as_quat()
    upright = Rotation.from_quat([w, z, -y, -x]).as_matrix()
    points_m = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose((points_m * (1, -1, -1)) @ upright.T, pose.apply(points_m), atol=1e-12)
    np.testing.assert_allclose(pose.matrix[:3, :3] * (1, -1, -1), upright, atol=1e-12)
    assert upright[2, 2] > 0.99


def test_places_that_went_through_float32_are_told() -> None:
    def at(origin_m: tuple[float, float], kind: type) -> list[SE3]:
        return every(lambda m: moved_to(m, origin_m, kind))

    def moved_to(matrix: np.ndarray, origin_m: tuple[float, float], kind: type) -> np.ndarray:
        matrix[:2, 3] = (matrix[:2, 3] + origin_m).astype(kind)
        return matrix

    utm_m = (456789.12, 5428765.43)
    with pytest.raises(PoseInputError, match=r"y goes in steps of 0\.5 m, as float32"):
        check_digits(at(utm_m, np.float32), "poses.txt")
    check_digits(at(utm_m, np.float64), "poses.txt")
    check_digits(at((100.0, 200.0), np.float32), "poses.txt")
    check_digits([turned(at_m=(2.0**22 + 0.5 * k, 0.0, 0.0)) for k in range(5)], "made of even steps")
    check_digits([], "none")


def test_a_lidar_that_draws_little_ahead_of_it_contradicts_no_poses() -> None:
    """Where it looks along a wall the same few pixels are drawn at each place, and fit best where it never moved."""
    rng = np.random.default_rng(2)
    bit = [
        Outline(np.c_[rng.uniform(10, 20, 60), np.full(60, 6.0), np.ones(60)], np.zeros((0, 3)), np.zeros(0))
        for _ in "ab"
    ]
    assert not compare_sweeps(*bit, turned(at_m=(10.0, 0.0, 0.0))).contradicted


def test_a_drive_whose_lidar_was_turned_is_told_so(sweeps: list[Sweep]) -> None:
    """By its motion alone; one that is right is told nothing."""
    for mount_deg, told in ((0.0, ""), (90.0, "turned by about 90 degrees"), (-135.0, "turned by about -135 degrees")):
        laid, mount = LaidSweeps(), turned(yaw=mount_deg).inverse()
        poses = [pose.to_se2() for pose in drive()]
        events: list[Event] = []
        for k, sweep in enumerate(sweeps):
            step = poses[max(k - 1, 0)].inverse() @ poses[k]
            askew = Sweep(mount.apply(sweep.points_sensor_m).astype(np.float32), sweep.intensity)
            events += [OdometryEvent(0.1 * k, step), SweepEvent(0.1 * k, askew)]
        assert list(laid.watch(events)) == events
        assert told in laid.contradiction()
        assert bool(laid.contradiction()) == bool(told)


def test_any_gauge_passes(sweeps: list[Sweep]) -> None:
    for gauge in (turned(yaw=130.0, at_m=(512345.67, 5412345.67, 110.0)), turned(roll=8.0, pitch=-11.3)):
        check(sweeps, [gauge @ pose for pose in drive()])


def test_hills_askew_sensors_noise_and_standing_pass() -> None:
    slope = turned(pitch=-11.3)  # 20 %, up the hill
    for mount in (turned(), turned(pitch=8.0), turned(roll=-6.0, yaw=180.0)):
        poses = [slope @ pose @ mount for pose in drive(6)]
        flat = [cast(pose @ mount, BOXES, seed=k, rings=32, azimuths=500)[0] for k, pose in enumerate(drive(6))]
        check(flat, poses)
    rng = np.random.default_rng(3)
    standing = [turned(yaw=3.0, at_m=(*rng.normal(0, 0.03, 2), 1.73)) for _ in range(6)]
    check([cast(pose, BOXES, seed=k)[0] for k, pose in enumerate(standing)], standing)
    # Nothing stands and nothing is drawn on the ground: nothing can be known, and nothing is said.
    bare = [Sweep(cast(pose, [], seed=k)[0].points_sensor_m, np.full(1, 0.5, np.float32).repeat(n)) for k, pose in
            enumerate(drive(6)) if (n := len(cast(pose, [], seed=k)[0].intensity))]  # fmt: skip
    check(bare, drive(6)[::-1])


def test_open_ground_is_told_by_its_texture() -> None:
    rng = np.random.default_rng(5)
    patches = rng.random((200, 200))

    def look(pose: SE3, seed: int) -> Sweep:
        points = cast(pose, [], seed=seed)[0].points_sensor_m
        world = pose.apply(points)
        cell = np.floor(world[:, :2] / 0.7).astype(int) % 200
        return Sweep(points, patches[cell[:, 0], cell[:, 1]].astype(np.float32))

    poses = drive(8, 1.5)
    check([look(pose, k) for k, pose in enumerate(poses)], poses)
    with pytest.raises(PoseInputError, match="do not lie on each other"):
        check([look(pose, k) for k, pose in enumerate(poses)], poses[::-1])


def test_displacements_are_measured(sweeps: list[Sweep]) -> None:
    poses = drive()
    truth = (poses[2].inverse() @ poses[6]).translation_m[:2]
    measured = compare_sweeps(seen_in(sweeps[2]), seen_in(sweeps[6]), poses[2].inverse() @ poses[6])
    assert measured.by_sweeps_m is not None
    np.testing.assert_allclose(measured.by_sweeps_m, truth, atol=0.4)
    assert not measured.contradicted


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda p: p + np.float32([512345.67, 5412345.67, 110.0]), "5,436.5 km from the sensor .*sensor's frame"),
        (lambda p: p * np.float32(1000), "from the sensor all around .*metres"),
        (lambda p: p * np.float32([1, -1, -1]), "1.7[0-9] m above the sensor"),
        (lambda p: p + np.float32([3.0, 2.0, 1.73]), r"points' origin.*base_link.*world's frame"),
        # another axis up: walls, and few far returns that look like ground
        (lambda p: np.where(np.arange(len(p))[:, None] % 20, p[:, [2, 0, 1]], p * FLAT - DEEP), "turn their axes"),
    ],
)
def test_sweeps_of_another_frame(sweeps: list[Sweep], change: Callable[[np.ndarray], np.ndarray], match: str) -> None:
    other = [Sweep(change(sweep.points_sensor_m), sweep.intensity) for sweep in sweeps[:3]]
    with pytest.raises(SweepInputError, match=match):
        check(other, drive()[:3])


def test_poses_above_each_other_are_told() -> None:
    """Two storeys of a car park, and a ramp of 15 % that is driven once: of that each place has one height."""
    above = [turned(at_m=(*pose.translation_m[:2], pose.translation_m[2] + 2.8)) for pose in drive()]
    assert "2.8 m above each other" in storeys_note([*drive(), *above])
    assert storeys_note([turned(at_m=(k * 1.0, 0.0, 0.15 * k)) for k in range(60)]) == storeys_note([]) == ""


@pytest.mark.shared
@pytest.mark.parametrize("name", ["lidar/kitti-hdl64", "lidar/kitti-odometry00", "joint/kitti-drive0001"])
def test_real_drives_pass_and_their_inverses_do_not(shared_data: Path, tmp_path: Path, name: str) -> None:
    from foldmap.formats.sweeps.drives import open_drive

    folder = shared_data / name
    recorded = open_drive(folder / "sweeps", folder / "poses.txt", deskew=False)
    for other in ([p.inverse() for p in recorded.world_SE3_sensors], recorded.world_SE3_sensors[::-1]):
        np.savetxt(tmp_path / "other.txt", [pose.matrix[:3].ravel() for pose in other])
        with pytest.raises(PoseInputError, match="do not lie on each other"):
            open_drive(folder / "sweeps", tmp_path / "other.txt")
