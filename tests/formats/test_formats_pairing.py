"""Sweeps and poses are paired by time where names are times, by order where order is certain, else not at all."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldmap.errors import ConfigError, PoseInputError
from foldmap.formats.name_times import frame_times_s, natural_key
from foldmap.formats.sweeps.drives import open_drive
from foldmap.formats.sweeps.pairing import pair_sweeps


def ordered(names: list[str]) -> list[str]:
    return [str(path) for path in sorted(map(Path, names), key=natural_key)]


def paired(
    names: list[str], times_s: list[float] | None, poses: int = 0, limit_s: float | None = None
) -> dict[str, int]:
    """Row of the pose of every name that has one."""
    times = None if times_s is None else np.array(times_s)
    names = ordered(names)
    found = pair_sweeps(names, poses or len(times_s or names), times, "poses.txt", limit_s)
    return {names[sweep]: pose for sweep, pose in zip(found.sweeps, found.poses, strict=True)}


EPOCH = 1305031102
SPELLINGS = {
    "decimal": lambda ms: f"{ms / 1000:g}.bin",
    "decimal, prefixed": lambda ms: f"lidar2_{ms / 1000:g}.pcd",
    "padded": lambda ms: f"{ms / 1000:013.6f}.bin",
    "sec.nanosec": lambda ms: f"{ms // 1000}.{ms % 1000 * 1_000_000}.bin",
    "sec_nanosec": lambda ms: f"cloud_{EPOCH + ms // 1000}_{ms % 1000 * 1_000_000:09d}.pcd",
    "nanoseconds": lambda ms: f"{(EPOCH * 1000 + ms) * 1_000_000}.bin",
    "microseconds": lambda ms: f"n015__LIDAR_TOP__{(EPOCH * 1000 + ms) * 1000}.pcd",
    "milliseconds": lambda ms: f"{EPOCH * 1000 + ms}.las",
    "seconds and fraction": lambda ms: f"{EPOCH + ms // 1000}.{ms % 1000:03d}.laz",
}


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(SPELLINGS)),
    st.lists(st.integers(1, 400), min_size=3, max_size=12),
    st.integers(8_000, 12_000),
    st.floats(-0.004, 0.004),
)
def test_every_spelling_of_a_time_finds_its_pose(spelling: str, steps: list[int], start: int, off_s: float) -> None:
    stamps = (start + 10 * np.cumsum(steps)).tolist()
    names = {SPELLINGS[spelling](ms): row for row, ms in enumerate(stamps)}
    base = EPOCH if str(EPOCH)[:6] in next(iter(names)) else 0
    assert paired(list(names), [base + ms / 1000 + off_s for ms in stamps]) == names


def test_whole_seconds_without_a_point() -> None:
    assert paired(["8.01.bin", "11.01.bin", "11.bin"], [8.01, 11.0, 11.01]) == {
        "8.01.bin": 0,
        "11.bin": 1,
        "11.01.bin": 2,
    }


def test_decimal_seconds_that_sort_wrongly() -> None:
    times = [10.9 + 0.05 * k for k in range(8)]
    names = {f"{round(time, 2)}.bin": row for row, time in enumerate(times)}
    assert ordered(list(names)) != list(names)
    assert paired(list(names), times) == names
    assert paired(list(names), None) == names  # as nanoseconds they would be 41 ns apart: no lidar
    nanoseconds = {f"900.{k * 50_000_000}.bin": k for k in range(8)}
    assert paired(list(nanoseconds), [900 + 0.05 * k for k in range(8)]) == nanoseconds


def test_an_order_that_the_names_do_not_tell_is_refused() -> None:
    names = ["900.0.bin", "900.50000000.bin", "900.100000000.bin", "900.150000000.bin"]
    with pytest.raises(PoseInputError, match="do not tell the order"):
        paired(names, None)
    assert paired([name.replace(".5", ".05") for name in names], None)["900.050000000.bin"] == 1


def test_some_sweeps_or_poses_more() -> None:
    names = {f"{5 + 0.1 * k:.1f}.bin": k for k in range(10)}
    times = [5 + 0.1 * k for k in range(10)]
    assert paired(list(names), times[2:]) == {name: k - 2 for name, k in names.items() if k >= 2}
    assert paired(list(names)[3:6], times) == {name: k for name, k in names.items() if 3 <= k < 6}
    found = pair_sweeps(ordered(list(names)), 8, np.array(times[2:]), "poses.txt")
    assert (found.how, [list(names)[i] for i in found.alone]) == ("time", ["5.0.bin", "5.1.bin"])
    assert "8 of 10 sweeps by time" in found.words


def test_the_limit_is_kept_and_named() -> None:
    names = [f"{5 + 0.1 * k:.2f}.bin" for k in range(6)]
    times = [5.03 + 0.1 * k for k in range(6)]
    with pytest.raises(PoseInputError, match=r"0 have a pose within 0\.01 s.*0\.03 s away") as caught:
        paired(names, times)
    assert "--time-limit" in caught.value.cure
    assert list(paired(names, times, limit_s=0.03).values()) == list(range(6))
    with pytest.raises(ConfigError):
        paired(names, times, limit_s=-1)


def test_another_clock_of_the_same_rate_goes_by_order_and_says_so() -> None:
    names = [f"{EPOCH + 0.1 * k:.6f}.bin" for k in range(6)]
    found = pair_sweeps(ordered(names), 6, np.array([0.1 * k for k in range(6)]), "poses.txt")
    assert (found.how, found.poses) == ("order", tuple(range(6)))
    assert "clock" in found.words
    with pytest.raises(PoseInputError, match="0 have a pose within"):
        paired(names, [0.0, 0.1, 0.2, 0.35, 0.4, 0.5])
    with pytest.raises(PoseInputError, match="0 have a pose within"):
        paired(names, [0.1 * k for k in range(5)])


def test_frame_numbers_are_no_times() -> None:
    names = [f"{k:06d}.bin" for k in (0, 10, 20, 30)]
    with pytest.raises(PoseInputError, match="1000 poses for 4 sweeps"):
        paired(names, [0.1 * k for k in range(1000)])
    assert list(paired(names, [0.0, 1.0, 2.0, 3.0]).values()) == [0, 1, 2, 3]
    assert list(paired(["s9.bin", "s10.bin"], None).values()) == [0, 1]


def test_files_of_one_name_in_two_folders_go_folder_by_folder() -> None:
    names = [f"{folder}/{k:03d}.bin" for folder in ("part1", "part2", "part10") for k in range(3)]
    assert ordered(names[::-1]) == names


def test_sweeps_between_two_rows_lie_between_them(tmp_path: Path) -> None:
    """A bend of 20 m at 13 m/s, poses at 100 Hz: the row nearest in time would be 5 cm off along the way."""
    rng, radius_m, rate = np.random.default_rng(4), 20.0, 13.0 / 20.0
    sweeps = tmp_path / "sweeps"
    sweeps.mkdir()
    taken_s = 100.004 + 0.1 * np.arange(5)
    for time_s in taken_s:
        points = np.column_stack([rng.uniform(-15, 15, (4000, 2)), np.full(4000, -1.73), rng.random(4000)])
        points.astype(np.float32).tofile(sweeps / f"{time_s:.3f}.bin")

    def row(time_s: float) -> str:
        angle = rate * (time_s - 100)
        place = f"{radius_m * math.sin(angle):.9f} {radius_m * (1 - math.cos(angle)):.9f} 1.73"
        return f"{time_s:.6f} {place} 0 0 {math.sin(angle / 2):.9f} {math.cos(angle / 2):.9f}\n"

    (tmp_path / "poses.txt").write_text("".join(row(99.9 + 0.01 * k) for k in range(80)))
    drive = open_drive(sweeps, tmp_path / "poses.txt", aligned=False)
    assert drive.times_s is not None
    np.testing.assert_allclose(drive.times_s, taken_s, atol=1e-6)
    for time_s, pose in zip(taken_s, drive.world_SE3_sensors, strict=True):
        angle, found = rate * (time_s - 100), pose.to_se2()
        here = [radius_m * math.sin(angle), radius_m * (1 - math.cos(angle)), angle]
        np.testing.assert_allclose([found.x_m, found.y_m, found.heading_rad], here, atol=3e-4)


def test_numbers_of_frames_are_times_where_they_ascend_in_small_steps() -> None:
    found = frame_times_s(["a/000010.laz", "a/000015.laz", "a/000020.laz", "a/000030.laz"])
    np.testing.assert_allclose(found, [0.0, 0.5, 1.0, 2.0])
    assert frame_times_s(["2011_drive_1.bin", "2011_drive_0.bin"]) is None  # not in the order that is given
    assert frame_times_s(["100.bin", "200.bin"]) is None  # milliseconds, perhaps
    assert frame_times_s(["first.bin", "second.bin"]) is None
    assert frame_times_s(["1.bin"]) is None


NAMES, TIMED = ["0.1.bin", "0.2.bin", "0.3.bin"], np.array([0.1, 0.2, 0.3])


@pytest.mark.parametrize("limit_s", [0.05, -1.0, math.inf])
def test_a_limit_that_nothing_heeds_is_refused(limit_s: float) -> None:
    with pytest.raises(ConfigError, match="has no times: sweeps and poses are paired by order"):
        pair_sweeps(NAMES, 3, None, "poses.txt", limit_s)
    with pytest.raises(ConfigError, match="names of the sweeps tell no times"):
        pair_sweeps(["a.bin", "b.bin", "c.bin"], 3, TIMED, "poses.txt", limit_s)
    assert pair_sweeps(NAMES, 3, None, "poses.txt", limit_s, others_heed=True).poses == (0, 1, 2)
    assert pair_sweeps(NAMES, 3, TIMED, "poses.txt", 0.05).how == "time"
