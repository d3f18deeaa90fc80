"""A map of sweeps that bring no poses: what they tell of themselves, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from foldmap.api.sweep_motion import registered_poses
from foldmap.cli import app
from foldmap.errors import PoseInputError
from foldmap.formats.sweeps.drives import open_unposed
from foldmap.formats.sweeps.kitti import read_kitti_poses
from foldmap.geometry import SE2, SE3
from foldmap.lidar.source import Sweep
from tests.lidar.town_drive import town_drive

COUNT = 8


def write(folder: Path, sweeps: list[Sweep]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, sweep in enumerate(sweeps):
        rows = np.column_stack([sweep.points_sensor_m, np.clip(sweep.intensity, 0.0, 1.0)]).astype("<f4")
        rows.tofile(folder / f"{number:03d}.bin")
    return folder


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[SE3]]:
    sweeps, truth = town_drive(COUNT)
    return write(tmp_path_factory.mktemp("unposed") / "sweeps", sweeps), truth


def test_a_map_is_built_of_sweeps_alone(drive: tuple[Path, list[SE3]], tmp_path: Path) -> None:
    folder, truth = drive
    asked = ["build", "lidar", str(folder), "--intensity-scale", "1", "-o", str(tmp_path / "map.tif")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.stderr
    assert "the sweeps, registered to each other, say how the sensor moved" in done.stderr
    told = read_kitti_poses(tmp_path / "map.tif.poses.txt")
    assert len(told) == COUNT
    for at, true in zip(told, truth, strict=True):
        error = ((truth[0].inverse() @ true).inverse() @ (told[0].inverse() @ at)).to_se2()
        assert math.hypot(error.x_m, error.y_m) < 0.05
        assert abs(error.heading_rad) < math.radians(0.2)
    refused = CliRunner().invoke(app, [*asked, "--crs", "EPSG:25832"])
    assert (refused.exit_code, "--crs is of poses" in refused.stderr) == (2, True)


def test_the_first_pose_is_level(tmp_path: Path) -> None:
    sweeps, _ = town_drive(2)
    tilt, turned = math.radians(4.0), []
    rotation = np.array([[math.cos(tilt), 0, math.sin(tilt)], [0, 1, 0], [-math.sin(tilt), 0, math.cos(tilt)]])
    for sweep in sweeps:
        turned.append(Sweep((sweep.points_sensor_m @ rotation.T).astype(np.float32), sweep.intensity))
    first = registered_poses(write(tmp_path / "tilted", turned), 1.0)[0].matrix[:3, :3]
    up = first @ rotation @ np.array([0.0, 0.0, 1.0])
    assert math.degrees(math.acos(min(1.0, up[2]))) < 1.0
    (tmp_path / "tilted" / "00.bin").write_bytes(b"cut")  # the first that can be read is the origin
    assert (registered_poses(tmp_path / "tilted", 1.0)[1].matrix[:3, :3] == first).all()


def test_sweeps_of_two_places_are_refused(tmp_path: Path) -> None:
    (sweep,), _ = town_drive(1)
    mirrored = Sweep((sweep.points_sensor_m * [1.0, -1.0, 1.0]).astype(np.float32), sweep.intensity)
    with pytest.raises(PoseInputError, match=r"001\.bin does not lie on the sweeps before it"):
        registered_poses(write(tmp_path / "apart", [sweep, mirrored]), 1.0)


def test_a_drive_that_comes_back_is_refused(drive: tuple[Path, list[SE3]], monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter([SE3.from_se2(SE2(20.0 * k, 0.0, 0.0)) for k in (0, 1, 2, 3, 3, 2, 1, 0)])

    class Told:
        def add(self, sweep: Sweep) -> SE3:
            return next(steps)

    monkeypatch.setattr("foldmap.api.sweep_motion.SweepRegistration", Told)
    with pytest.raises(PoseInputError, match=r"006\.bin, after 100 m, the drive comes back to where it was"):
        registered_poses(drive[0], 1.0)


def test_sweeps_come_in_the_order_of_the_times_in_their_names(drive: tuple[Path, list[SE3]], tmp_path: Path) -> None:
    named = ["10.9.bin", "11.bin", "11.1.bin"]  # as files sort, 11.bin comes last
    for number, name in enumerate(named):
        (tmp_path / name).write_bytes((drive[0] / f"{number:03d}.bin").read_bytes())
    sweeps, times_s = open_unposed(tmp_path, 1.0)
    assert list(sweeps.names) == named
    assert times_s is not None
    assert times_s.tolist() == [10.9, 11.0, 11.1]
