"""``foldmap evaluate``: what was named is what is read, paired by whole names and nearest times, and told so."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_place import Run
from scipy.spatial.transform import Rotation

from foldmap.api.results import trajectory_text
from foldmap.formats.hloc.results import write_results


def told(run: Run, *arguments: object) -> dict[str, Any]:
    shown: dict[str, Any] = run("evaluate", *arguments, "--json").told()
    return shown


def cameras(count: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, 0.1, (count, 3))).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(count, 3)) * 3
    return poses


def tum_row(time: str, world_SE3_camera: np.ndarray) -> str:
    values = [*world_SE3_camera[:3, 3], *Rotation.from_matrix(world_SE3_camera[:3, :3]).as_quat()]
    return " ".join([time, *(f"{value:.12f}" for value in values)]) + "\n"


def json_line(name: str, pose: np.ndarray | None, status: str = "ok") -> str:
    seven = None
    if pose is not None:
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
        seven = [float(value) for value in (w, x, y, z, *pose[:3, 3])]
    row = {"name": name, "status": status, "images": [name], "image_poses": None if seven is None else [seven]}
    return json.dumps(row) + "\n"


def test_sequences_with_equal_file_names(run: Run, tmp_path: Path) -> None:
    names = [f"seq-{1 + i % 3:02}/frame-{i // 3:06}.color.png" for i in range(12)]
    write_results(tmp_path / "e.txt", dict(zip(names, cameras(), strict=True)))
    for name, pose in zip(names, cameras(), strict=True):
        path = tmp_path / "chess" / name.replace(".color.png", ".pose.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, np.linalg.inv(pose), fmt="%.12e")
    shown = told(run, tmp_path / "e.txt", tmp_path / "chess", "--thresholds", "0.05,5")
    assert (shown["images"], shown["within_0.05_m_5_deg_percent"]) == (12, 100.0)
    assert shown["centre_median_m"] < 1e-8
    assert shown["paired"] == "12 of 12 by name"


def test_frame_numbers_against_a_trajectory(run: Run, tmp_path: Path) -> None:
    true = cameras(40)
    write_results(tmp_path / "e.txt", {f"{i:06}.png": pose for i, pose in enumerate(true)})
    rows = [tum_row(f"{i * 0.1:.6f}", np.linalg.inv(pose)) for i, pose in enumerate(true)]
    (tmp_path / "gt.tum").write_text("".join(rows))
    shown = told(run, tmp_path / "e.txt", tmp_path / "gt.tum", "--thresholds", "0.05,5")
    assert (shown["images"], shown["within_0.05_m_5_deg_percent"]) == (40, 100.0)
    assert shown["paired"] == "40 of 40 in the order of names"
    run("evaluate", tmp_path / "e.txt", tmp_path / "gt.tum", "--time-limit", "0.1").refused("not by time")


def test_sweeps_forty_microseconds_apart(run: Run, tmp_path: Path) -> None:
    """The same poses give the same errors, whatever the clock; each row has its own partner."""
    rng = np.random.default_rng(1)
    xy, off = np.cumsum(rng.uniform(0.5, 2.0, (8, 2)), axis=0), rng.normal(0, 0.03, (8, 2))
    shown = []
    for step in (0.1, 0.00004):
        for name, places in (("truth.txt", xy), ("estimates.txt", xy + off)):
            lines = [f"{i * step:.6f} {x} {y} 1.8 0 0 0 1\n" for i, (x, y) in enumerate(places)]
            (tmp_path / name).write_text("".join(lines))
        shown.append(told(run, tmp_path / "estimates.txt", tmp_path / "truth.txt"))
    assert (shown[1]["poses"], shown[1]["answered"]) == (8, 8)
    assert shown[1]["total_median_m"] == pytest.approx(float(np.median(np.linalg.norm(off, axis=1))))
    same = [key for key in shown[0] if key.endswith(("_m", "_deg"))]
    assert [shown[0][key] for key in same] == [shown[1][key] for key in same]
    assert "8 of 8 by time" in shown[1]["paired"]


def test_times_within_the_limit_that_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "truth.txt").write_text("".join(f"{i * 0.1:.6f} {i} 0 0 0 0 0 1\n" for i in range(9)))
    (tmp_path / "e.txt").write_text("".join(f"{i * 0.1 + 0.02:.6f} {i} 0 0 0 0 0 1\n" for i in range(2, 7)))
    run("evaluate", tmp_path / "e.txt", tmp_path / "truth.txt").refused("0.02 s from the nearest (limit 0.01 s)")
    shown = told(run, tmp_path / "e.txt", tmp_path / "truth.txt", "--time-limit", "0.03")
    assert (shown["answered"], shown["total_median_m"]) == (5, 0.0)
    assert shown["paired"] == "5 of 5 by time, at most 0.020000 s apart (limit 0.03 s)"


def test_a_neighbour_of_photos_is_not_believed_over_the_named_file(run: Run, tmp_path: Path) -> None:
    names, true = [f"{i}.jpg" for i in range(12)], cameras()
    truth, named = tmp_path / "truth.txt", tmp_path / "poses.txt"
    write_results(truth, dict(zip(names, true, strict=True)))
    moved = true.copy()
    moved[:, 0, 3] += 0.5
    lines = [json_line(name, pose) for name, pose in zip(names, true, strict=True)]
    Path(f"{named}.jsonl").write_text("".join([*lines[:11], json_line(names[11], None, "no_match")]))
    write_results(named, dict(zip(names[:11], true[:11], strict=True)))
    shown = told(run, named, truth)
    assert (shown["images"], shown["answered"], shown["by_status"]) == (12, 11, {"ok": 11, "no_match": 1})
    for poses in (dict(zip(names[:11], moved, strict=False)), dict(zip(names[:9], true, strict=False))):
        write_results(named, poses)
        shown = told(run, named, truth)
        assert shown["answered"] == len(poses)
        assert shown["centre_median_world"] == pytest.approx(0.5 if len(poses) == 11 else 0.0, abs=1e-9)
        assert "poses.txt.jsonl tells of other poses" in shown["beside"]
        assert "unknown" in shown["unanswered"]
        assert shown["by_status"] == {"answered": len(poses)}
    Path(f"{named}.jsonl").write_text('{"time_s": 0, "status": "ok", "pose": null}\n')
    assert "does not tell of these photos" in told(run, named, truth)["beside"]


def test_a_neighbour_of_sweeps_is_not_believed_over_the_named_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "truth.txt").write_text("".join(f"{i} {i} 0 0 0 0 0 1\n" for i in range(5)))
    told_of = [{"status": "ok", "pose": {"x_m": float(i), "y_m": 0.0, "heading_rad": 0.0}} for i in range(4)]
    lines = [json.dumps(row) for row in [*told_of, {"status": "no_match", "pose": None}]]
    (tmp_path / "e.txt.jsonl").write_text("\n".join(lines) + "\n")
    for shift, status in ((0.0, {"ok": 4, "no_match": 1}), (0.3, "unknown: e.txt.jsonl tells of other poses")):
        (tmp_path / "e.txt").write_text("".join(f"{i} {i + shift} 0 0 0 0 0 1\n" for i in range(4)))
        shown = told(run, tmp_path / "e.txt", tmp_path / "truth.txt")
        assert shown["longitudinal_median_m"] == pytest.approx(shift)
        assert shown["by_status"] == status or shown["by_status"].startswith(status)


@pytest.mark.parametrize("evidence", ["header", "tilt", "beside"])
def test_a_trajectory_of_cameras_is_judged_in_six_degrees(run: Run, tmp_path: Path, evidence: str) -> None:
    """Truth is 5 units off along z and turned by 20 degrees about x, which a plane does not see."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([np.radians(20.0), 0, 0]).as_matrix()
    estimates, truth = "", ""
    lines = []
    for i, pose in enumerate(cameras(8)):
        world = np.linalg.inv(pose)
        if evidence != "tilt":
            world[:3, :3] = Rotation.from_rotvec([0, 0, 0.1 * i]).as_matrix()
        time = f"{1305031102 + i / 10:.6f}"
        estimates += tum_row(time, world)
        lines.append(json_line(f"rgb/{time}.png", np.linalg.inv(world)))
        above = world @ turn
        above[2, 3] += 5.0
        truth += tum_row(time, above)
    head = "# t x y z qx qy qz qw, world_SE3_camera, world units\n" if evidence == "header" else ""
    (tmp_path / "v.txt.tum").write_text(head + estimates)
    (tmp_path / "gt.tum").write_text(truth)
    if evidence == "beside":
        (tmp_path / "v.txt.jsonl").write_text("".join(lines))
    shown = told(run, tmp_path / "v.txt.tum", tmp_path / "gt.tum")
    assert shown["centre_median_m"] == pytest.approx(5.0, abs=1e-6)
    assert shown["rotation_median_deg"] == pytest.approx(20.0, abs=1e-6)
    assert shown["judged"].startswith("photos, in 6 degrees of freedom")
    assert "8 of 8 by time" in shown["paired"]
    assert ("unanswered" in shown) == (evidence != "beside")


def test_sweeps_are_judged_in_the_plane(run: Run, tmp_path: Path) -> None:
    assert "world_T_vehicle" in trajectory_text([])
    rows = "".join(f"{i} {i} 0 0 0 0 0 1\n" for i in range(5))
    (tmp_path / "truth.txt").write_text("".join(f"{i} {i} 0 3 0.01 0.02 0 0.99975\n" for i in range(5)))
    for head in ("", trajectory_text([])):
        (tmp_path / "e.txt").write_text(head + rows)
        shown = told(run, tmp_path / "e.txt", tmp_path / "truth.txt")
        assert shown["judged"] == "sweeps, in the plane: x, y and heading"
        assert shown["total_median_m"] < 1e-9
    (tmp_path / "utm.txt").write_text("".join(f"{i} {456000 + i} 5428000 3 0 0 0 1\n" for i in range(5)))
    run("evaluate", tmp_path / "e.txt", tmp_path / "utm.txt").refused("give both in one frame")


@pytest.mark.parametrize(
    "names",
    [
        ["my photo 1.jpg", "my photo 2.jpg"],
        ["#1.jpg", "#2.jpg"],
        ["000001", "000002"],
        ["a,b.jpg", "ä ö.jpg"],
        ["x/1 2 3 4.jpg", "y z/1.jpg"],
    ],
)
def test_awkward_names_are_names(run: Run, tmp_path: Path, names: list[str]) -> None:
    true = cameras(2)
    write_results(tmp_path / "e.txt", dict(zip(names[:1], true, strict=False)))
    write_results(tmp_path / "truth.txt", dict(zip(names, true, strict=True)))
    (tmp_path / "q.txt").write_text("".join(f"./{name}\n" for name in names), encoding="utf-8")
    shown = told(run, tmp_path / "e.txt", tmp_path / "truth.txt", "--queries", tmp_path / "q.txt")
    assert (shown["images"], shown["answered"], shown["centre_median_world"]) == (2, 1, "inf")
    assert shown["paired"] == "2 of 2 by name"
    shown = told(run, tmp_path / "e.txt", tmp_path / "truth.txt")
    assert (shown["images"], shown["answered"]) == (1, 1)
    assert shown["centre_median_world"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("option", [["--segment", "10"], ["--limit", "2"], ["--calibration", "c.txt"]])
def test_options_of_the_other_kind_are_refused(run: Run, tmp_path: Path, option: list[str]) -> None:
    write_results(tmp_path / "e.txt", {"a.jpg": np.eye(4)})
    run("evaluate", tmp_path / "e.txt", tmp_path / "e.txt", *option).refused(f"leave {option[0]} out")
    (tmp_path / "s.txt").write_text("0 0 0 0 0 0 0 1\n1 1 0 0 0 0 0 1\n")
    run("evaluate", tmp_path / "s.txt", tmp_path / "s.txt", "--thresholds", "1,1").refused("leave --thresholds out")


@pytest.mark.parametrize(
    ("option", "said"), [("--segment 0", "metres"), ("--limit -1", "metres"), ("--limit nan", "--limit")]
)
def test_lengths_that_are_none_are_refused(run: Run, tmp_path: Path, option: str, said: str) -> None:
    (tmp_path / "s.txt").write_text("0 0 0 0 0 0 0 1\n1 1 0 0 0 0 0 1\n")
    run("evaluate", tmp_path / "s.txt", tmp_path / "s.txt", *option.split()).refused(said)


def test_the_truth_of_a_drive_takes_no_calibration(run: Run, tmp_path: Path) -> None:
    (tmp_path / "drive.json").write_text('{"foldmap_drive": 1, "truth": "truth.csv"}')
    (tmp_path / "s.txt").write_text("0 0 0 0 0 0 0 1\n1 1 0 0 0 0 0 1\n")
    run("evaluate", tmp_path / "s.txt", tmp_path, "--calibration", tmp_path / "c.txt").refused("takes no")
