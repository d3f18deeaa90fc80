"""``foldmap localize MAP BAG -o RUN/`` and ``foldmap show BAG``: the same answers as of the drive's folder."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from cli_place import Run, truth_of, write_sweeps

from foldmap.formats.bags.write import write_bag
from foldmap.formats.drives.read import read_drive
from foldmap.formats.drives.write import write_drive
from foldmap.formats.sweeps.files import read_sweep
from foldmap.geometry import SE2
from foldmap.localize.journey.events import FixEvent, OdometryEvent, SweepEvent

FRAMES = 6
NAMES = ("drive.mcap", "drive.bag", "bag")


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """folder/, and the same as a bag of each kind."""
    root = tmp_path_factory.mktemp("bags")
    write_sweeps(root / "sweeps", FRAMES)
    truth = [SE2(*truth_of(frame)) for frame in range(FRAMES)]
    events: list = []
    for k, (before, pose) in enumerate(itertools.pairwise([truth[0], *truth])):
        events.append(OdometryEvent(0.1 * k, before.inverse() @ pose))
        events.append(SweepEvent(0.1 * k, read_sweep(root / "sweeps" / f"{k:03d}.bin")))
        events.append(FixEvent(0.1 * k, pose.x_m, pose.y_m, 0.2))
    write_drive(root / "folder", events)
    for name in NAMES:
        write_bag(root / name, read_drive(root / "folder").events())
    return root


@pytest.fixture(scope="module")
def answers(place: Path, drives: Path) -> list[dict]:
    """Lines of the folder's run."""
    import foldmap
    from foldmap.api.localizing_drives import localize_drive

    with foldmap.open(place / "map.fold") as town:
        return [one.line() for one in localize_drive(town, drives / "folder").observations]


@pytest.mark.parametrize("name", NAMES)
def test_a_bag_gives_the_same_poses(
    run: Run, place: Path, drives: Path, answers: list[dict], tmp_path: Path, name: str
) -> None:
    told = run(
        "localize", place / "map.fold", drives / name, "-o", tmp_path / "run", "--json", "--topic", "fix=/gnss/pose"
    ).told()
    assert told["topics"] == {"/points": "lidar", "/odom": "odometry", "/gnss/pose": "fix"}
    assert told["brings"] == ["sweeps", "fixes", "odometry"]
    rows = [json.loads(line) for line in (tmp_path / "run" / "estimates.txt.jsonl").read_text().splitlines()]
    assert len(rows) == len(answers) == 2 * FRAMES
    assert sum(row["pose"] is not None for row in rows) > FRAMES
    for row, wanted in zip(rows, answers, strict=True):
        assert (row["name"], row["time_s"], row["status"]) == (wanted["name"], wanted["time_s"], wanted["status"])
        if row["pose"] is not None:
            np.testing.assert_allclose(list(row["pose"].values()), list(wanted["pose"].values()), atol=1e-6)
            np.testing.assert_allclose(row["covariance"], wanted["covariance"], atol=1e-6)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"estimates.txt", "estimates.csv", "kitti.txt", "kitti_times.txt", "poses.mcap"} <= names
    kitti = np.loadtxt(tmp_path / "run" / "kitti.txt").reshape(-1, 3, 4)
    poses = list({row["time_s"]: row["pose"] for row in rows if row["pose"] is not None}.values())  # the last of each
    np.testing.assert_allclose(kitti[:, :2, 3], [[pose["x_m"], pose["y_m"]] for pose in poses], atol=1e-6)
    assert len((tmp_path / "run" / "kitti_times.txt").read_text().splitlines()) == len(poses)


def test_what_a_bag_holds_is_shown(run: Run, drives: Path, tmp_path: Path) -> None:
    told = run("show", drives / "bag", "--json").told()
    assert (told["messages"], told["base_frame"], told["seconds"]) == (3 * FRAMES + 1, "base_link", 0.1 * (FRAMES - 1))
    rows = {row["topic"]: row for row in told["topics"]}
    assert (rows["/points"]["used_as"], rows["/points"]["messages"]) == ("lidar", FRAMES)
    assert "--topic fix=/gnss/pose" in rows["/gnss/pose"]["used_as"]
    assert "sensor_msgs/PointCloud2" in run("show", drives / "drive.bag").out
    run("show", drives / "bag", "--picture", tmp_path / "a.png").refused("a bag has none")


def test_options_of_bags_are_refused_of_a_folder(run: Run, place: Path, drives: Path, tmp_path: Path) -> None:
    asked = "localize", place / "map.fold", drives / "folder", "-o", tmp_path / "run"
    for option in (("--topic", "lidar=/points"), ("--base-frame", "base_link")):
        run(*asked, *option).refused("are of bags")
    run(
        "localize", place / "map.fold", drives / "drive.mcap", "-o", tmp_path / "run", "--topic", "lidar=/odom"
    ).refused("which is no lidar")


def test_a_map_is_built_of_a_bag(run: Run, drives: Path, tmp_path: Path) -> None:
    """The same map as of the sweeps with the poses that odometry tells."""
    import rasterio

    start = SE2(*truth_of(0)).inverse()
    rows = ["# t x y z qx qy qz qw"]
    for frame in range(FRAMES):
        pose = start @ SE2(*truth_of(frame))
        turn = math.sin(pose.heading_rad / 2), math.cos(pose.heading_rad / 2)
        rows.append(f"{0.1 * frame:.6f} {pose.x_m:.12g} {pose.y_m:.12g} 0 0 0 {turn[0]:.12g} {turn[1]:.12g}")
    (tmp_path / "poses.txt").write_text("\n".join(rows) + "\n")
    of_bag = run(
        "build", "lidar", drives / "drive.mcap", "-o", tmp_path / "bag.tif", "--resolution", "0.2", "--json"
    ).done()
    assert json.loads(of_bag.out)["sweeps"] == FRAMES
    plain = "build", "lidar", drives / "sweeps", "-o", tmp_path / "plain.tif", "--resolution", "0.2"
    run(*plain, "--poses", tmp_path / "poses.txt", "--intensity-scale", "1").done()
    with rasterio.open(tmp_path / "bag.tif") as one, rasterio.open(tmp_path / "plain.tif") as other:
        assert one.transform == other.transform
        np.testing.assert_allclose(one.read(), other.read(), atol=1e-4)
    settings = json.loads((tmp_path / "bag.tif.settings.json").read_text())
    assert settings["sweeps"] == str(drives / "drive.mcap")
    assert settings["poses"] == "odometry of the bag"
    assert not list(tmp_path.glob(".*"))
    run(*plain).refused("--poses")
