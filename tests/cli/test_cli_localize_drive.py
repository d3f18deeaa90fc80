"""``foldmap localize`` with odometry and GPS: what lays sweeps together, where a drive begins, what is refused."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_place import Run, make_bundle, truth_of, write_sweeps

import foldmap
from foldmap.formats.sweeps.drives import open_drive
from foldmap.geometry import SE2

FRAMES = 12
ELSEWHERE = SE2(7.0, -3.0, 1.1)
"""Where odometry has its origin."""


def rows(poses: list[SE2]) -> str:
    text = []
    for frame, pose in enumerate(poses):
        turn = f"0 0 {math.sin(pose.heading_rad / 2):.12f} {math.cos(pose.heading_rad / 2):.12f}"
        text.append(f"{100 + 0.1 * frame:.3f} {pose.x_m:.9f} {pose.y_m:.9f} 1.73 {turn}")
    return "\n".join(text) + "\n"


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory, place: Path) -> Path:
    """Twelve sweeps, a map that answers by chance, priors with errors of their own, odometry and fixes."""
    from foldmap.api.folding import LidarOptions, fold
    from foldmap.localize.lidar.confidence import ConfidenceThresholds

    folder = tmp_path_factory.mktemp("drive")
    low = {name: -1e3 for name in vars(ConfidenceThresholds()) if name.startswith("reject_") and "observed" not in name}
    bundle = make_bundle()
    bundle.thresholds = ConfidenceThresholds(
        **{**low, "reject_sigma_m": 1e3, "warn_score": -1.0, "warn_distinction": -1.0}
    ).to_dict()
    (folder / "model.safetensors").write_bytes(bundle.to_bytes())
    fold(place / "map.tif", folder / "map.fold", lidar=LidarOptions(model=folder / "model.safetensors"))
    write_sweeps(folder / "sweeps", FRAMES)
    rng, truth = np.random.default_rng(0), [SE2(*truth_of(frame)) for frame in range(FRAMES)]
    (folder / "truth.txt").write_text(rows(truth))
    wrong = [pose @ SE2(*rng.normal(0.0, 0.3, 2), math.radians(rng.normal(0.0, 2.0))) for pose in truth]
    (folder / "prior.txt").write_text(rows(wrong))
    (folder / "first.txt").write_text(rows(wrong[:1]))
    (folder / "odometry.txt").write_text(rows([ELSEWHERE @ pose for pose in truth]))
    east_north = [(pose.x_m, pose.y_m) for pose in truth]
    fixes = [f"{100.01 + 0.1 * f:.3f},{x:.3f},{y:.3f},0.05" for f, (x, y) in enumerate(east_north)]
    (folder / "fixes.csv").write_text("time_s,east,north,sigma_m\n" + "\n".join(fixes))
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"{path}.jsonl").read_text().splitlines()]


def poses(path: Path) -> list[Any]:
    return [(row["status"], row["pose"], row["covariance"]) for row in lines(path)]


def test_odometry_of_any_frame_lays_sweeps_together(run: Run, drive: Path, tmp_path: Path) -> None:
    of, by = tmp_path / "of.txt", tmp_path / "by.txt"
    common = ("localize", drive / "map.fold", drive / "sweeps", "--json", "--aggregate", "3", "--poses")
    ran = run(*common, drive / "truth.txt", "-o", of)
    assert "laid together by the differences of" in ran.err
    ran = run(*common, drive / "truth.txt", "-o", by, "--odometry", drive / "odometry.txt")
    assert (ran.err, json.loads(ran.out)["motion"]) == ("", "odometry")
    for first, second in zip(lines(of), lines(by), strict=True):
        assert first["status"] == second["status"]
        assert first["diagnostics"]["score"] == pytest.approx(second["diagnostics"]["score"], abs=5e-3)


def test_priors_with_errors_of_their_own_do_not_smear(run: Run, drive: Path, tmp_path: Path) -> None:
    common = ("localize", drive / "map.fold", drive / "sweeps", "--poses", drive / "prior.txt", "--json")
    ran = run(*common, "-o", tmp_path / "five.txt")
    assert ran.err.count("\n") == 1
    assert "each sweep is taken alone" in ran.err
    assert json.loads((tmp_path / "five.txt.settings.json").read_text())["motion"] == "nothing"
    run(*common, "-o", tmp_path / "one.txt", "--aggregate", "1")
    assert poses(tmp_path / "five.txt") == poses(tmp_path / "one.txt")


def test_a_drive_of_fixes_and_odometry_is_tracked_as_by_the_library(run: Run, drive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    given = ("--odometry", drive / "odometry.txt", "--gps", drive / "fixes.csv")
    ran = run("localize", drive / "map.fold", drive / "sweeps", *given, "-o", out, "--json")
    said = json.loads(ran.out)
    assert "12 of 12 fixes by time" in said["fixes"]
    assert said["motion"] == "odometry"
    found = lines(out)
    assert [row["status"] for row in found[:2]] == ["ambiguous", "ambiguous"]
    assert "drive on" in found[1]["diagnostics"]["reason"]
    assert all(row["diagnostics"]["score"] is not None for row in found[5:])
    names = ("name", "time_s", "status", "pose", "covariance", "protection_level", "diagnostics")
    assert {tuple(row) for row in found} == {names}
    recorded = open_drive(drive / "sweeps", drive / "odometry.txt", deskew=False)
    at = [pose.to_se2() for pose in recorded.world_SE3_sensors]
    with foldmap.open(drive / "map.fold") as town:
        tracker = town.track(layer="lidar")
        for number, (sweep, row) in enumerate(zip(recorded.read(), found, strict=True)):
            moved = at[number - 1].inverse() @ at[number] if number else None
            x_m, y_m, _ = truth_of(number)
            late_m = math.hypot(0.8, 0.5) / 0.1 * 0.01
            fix = (round(x_m, 3), round(y_m, 3), math.hypot(0.05, late_m))
            estimate = tracker.step(sweep, moved, 100 + 0.1 * number, fix)
            assert estimate.status.value == row["status"]
            score = row["diagnostics"]["score"]
            assert estimate.diagnostics.score == (score if score is None else pytest.approx(score, abs=1e-4))


def test_a_prior_of_the_first_sweep_begins_a_drive(run: Run, drive: Path, tmp_path: Path) -> None:
    given = ("--odometry", drive / "odometry.txt", "--poses", drive / "first.txt")
    common = ("localize", drive / "map.fold", drive / "sweeps", *given, "-o", tmp_path / "out.txt")
    ran = run(*common, "--online")
    assert ran.err == ""
    assert lines(tmp_path / "out.txt")[0]["diagnostics"]["score"] is not None
    run(*common).refused("1 poses for 12 sweeps")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "sweeps need prior poses"),
        (("--gps", "fixes.csv"), "fixes alone do not say how the vehicle moves"),
        (("--poses", "truth.txt", "--gps-sigma", "3"), "--gps-sigma is of fixes"),
        (("--odometry", "odometry.txt", "--radius", "3"), "--radius is not heeded where a drive begins anywhere"),
        (("--time-limit", "-1"), "--time-limit is of poses, odometry and fixes"),
        (("--poses", "truth.txt", "--time-limit", "inf"), "tell no times: sweeps and poses are paired by order"),
        (("--poses", "truth.txt", "--gps", "degrees.csv", "--time-limit", "1"), "the map is in a local frame"),
        (("--poses", "truth.txt", "--sensor-height", "-1"), "sensor_height_m is -1"),
        (("--poses", "truth.txt", "--heading-range", "-5"), "and -5.0 degrees"),
        (("--poses", "truth.txt", "--gps", "degrees.csv"), "the map is in a local frame"),
        (("--poses", "truth.txt", "--gps", "far.csv"), "from the map"),
        (("--poses", "truth.txt", "--gps", "bad.csv"), "bad.csv, line 3: could not convert"),
        (("--poses", "truth.txt", "--gps", "late.csv"), "no fix lies within"),
        (("--poses", "truth.txt", "--gps", "few.csv"), "1 fixes for 12 sweeps"),
        (("--poses", "truth.txt", "--gps", "missing.csv"), "cannot be read"),
        (("--poses", "truth.txt", "--odometry", "bad.csv"), "bad.csv, line"),
    ],
)
def test_what_is_missing_or_bad_is_one_line(
    run: Run, drive: Path, tmp_path: Path, given: tuple[str, ...], message: str
) -> None:
    files = {
        "degrees.csv": "lat,lon\n" + "49,8\n" * FRAMES,
        "far.csv": "x,y\n" + "500000,5400000\n" * FRAMES,
        "bad.csv": "time,x,y\n100,1,1\n100.1,a,1\n",
        "late.csv": "5000 1 1 1\n",
        "few.csv": "x,y\n1,1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    named = [next((f / word for f in (drive, tmp_path) if (f / word).exists()), word) for word in given]
    out = tmp_path / "out.txt"
    run("localize", drive / "map.fold", drive / "sweeps", *named, "-o", out).refused(message)
    assert not out.exists()


def test_a_fix_is_the_less_sure_the_farther_one_drives_until_the_sweep(drive: Path, tmp_path: Path) -> None:
    from pyproj import Transformer

    from foldmap.api.sweep_inputs import SweepInputs
    from foldmap.geometry import MetricGrid

    there = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(458_000.0, 5_430_000.0)
    (tmp_path / "fixes.csv").write_text(f"timestamp,lat,lon\n100.02,{there[1]:.12f},{there[0]:.12f}\n")
    recorded = open_drive(drive / "sweeps", drive / "odometry.txt", deskew=False)
    inputs = SweepInputs(drive / "sweeps", None, drive / "odometry.txt", tmp_path / "fixes.csv", 2.0, None, None, 0.01)
    grid = MetricGrid(457_900.0, 5_430_100.0, 0.2, 1000, 1000, "EPSG:32632")
    found, _ = inputs.fixes(recorded, grid)
    assert found[1:] == [None] * (FRAMES - 1)
    assert found[0] == pytest.approx(
        (458_000.0, 5_430_000.0, math.hypot(2.0, math.hypot(0.8, 0.5) * 10 * 0.02)), abs=1e-3
    )
