"""Pose tables whose numbers are in other units than their columns say, judged by the motion."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import PoseInputError
from foldmap.formats.crs import about, to_lonlat
from foldmap.formats.street.observations.poses import read_pose_table


def drive(count: int = 30, step_m: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Positions and headings of a drive round a bend."""
    heading = 0.3 + np.linspace(0, 2.2, count)
    xy = np.cumsum(step_m * np.stack([np.cos(heading), np.sin(heading)], 1), axis=0)
    return xy, heading


def table(path: Path, column: str, xy: np.ndarray, heading: np.ndarray) -> Path:
    rows = [f"{x:.9f},{y:.9f},{h:.6f}" for (x, y), h in zip(xy, heading, strict=True)]
    path = path / "poses.csv"
    path.write_text("\n".join([f"x_m,y_m,{column}", *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("column", "wrong", "message"),
    [
        ("heading_rad", np.degrees, "degrees, counter-clockwise from x"),
        ("heading_deg", lambda heading: heading, "radians, counter-clockwise from x"),
        ("heading_rad", lambda heading: math.pi / 2 - heading, "radians, clockwise from north"),
        ("heading_deg", lambda heading: 90 - np.degrees(heading), "degrees, clockwise from north"),
        ("heading_rad", lambda heading: 90 - np.degrees(heading), "degrees, clockwise from north"),
    ],
)
def test_headings_that_the_motion_contradicts(tmp_path: Path, column: str, wrong: object, message: str) -> None:
    xy, heading = drive()
    with pytest.raises(PoseInputError, match=message) as caught:
        read_pose_table(table(tmp_path, column, xy, wrong(heading)))  # type: ignore[operator]
    assert caught.value.cure
    right = heading if column == "heading_rad" else np.degrees(heading)
    found = read_pose_table(table(tmp_path, column, xy, right))
    assert found.heading_rad == pytest.approx(heading, abs=1e-6)


def test_headings_that_nothing_contradicts(tmp_path: Path) -> None:
    xy, heading = drive()
    rng = np.random.default_rng(0)
    turns = heading + 2 * math.pi  # counted on over a turn, and the motion agrees
    assert read_pose_table(table(tmp_path, "heading_rad", xy, turns)).heading_rad == pytest.approx(heading, abs=1e-5)
    backwards = heading - math.pi
    assert len(read_pose_table(table(tmp_path, "heading_rad", xy, backwards))) == len(xy)
    scattered = rng.uniform(-300, 300, (30, 2))
    assert len(read_pose_table(table(tmp_path, "heading_deg", scattered, rng.uniform(-3, 3, 30)))) == 30
    straight = np.stack([np.arange(30.0), np.zeros(30)], 1)
    assert len(read_pose_table(table(tmp_path, "heading_deg", straight, rng.uniform(-3, 3, 30)))) == 30
    with pytest.raises(PoseInputError, match=r"beyond a turn, such as 6\.4"):
        read_pose_table(table(tmp_path, "heading_rad", scattered, np.full(30, 6.4)))
    with pytest.raises(PoseInputError, match="beyond a turn"):
        read_pose_table(table(tmp_path, "heading_rad", scattered[:1], np.array([90.0])))


@pytest.mark.parametrize("swapped", [False, True])
def test_positions_in_degrees(tmp_path: Path, swapped: bool) -> None:
    xy, heading = drive()
    place = to_lonlat(xy, about(np.array([[8.4, 49.0]])))
    with pytest.raises(PoseInputError, match="are degrees, not metres"):
        read_pose_table(table(tmp_path, "heading_rad", place[:, ::-1] if swapped else place, heading))
    tum = tmp_path / "poses.txt"
    tum.write_text("".join(f"{k} {x:.9f} {y:.9f} 0 0 0 0 1\n" for k, (x, y) in enumerate(place)))
    with pytest.raises(PoseInputError, match="are degrees, not metres"):
        read_pose_table(tum)


def test_a_vehicle_that_stands_is_in_metres(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    xy = rng.normal([8.4, 49.0], 0.002, (60, 2))
    assert len(read_pose_table(table(tmp_path, "heading_rad", xy, np.zeros(60)))) == 60
    one = read_pose_table(table(tmp_path, "heading_rad", np.array([[8.4, 49.0]]), np.zeros(1)))
    assert one.xy_m.tolist() == [[8.4, 49.0]]
    creeping, heading = drive(step_m=1e-4)
    assert len(read_pose_table(table(tmp_path, "heading_rad", creeping, heading))) == 30
