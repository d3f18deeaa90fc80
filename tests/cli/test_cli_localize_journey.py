"""``foldmap localize MAP DRIVE -o RUN/``: what is read of a drive's folder, what is written, what is refused."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_place import Run, truth_of, write_sweeps

import foldmap
from foldmap.geometry import SE2

FRAMES = 30


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sweeps, odometry and fixes; no cameras."""
    folder = tmp_path_factory.mktemp("journey") / "drive"
    write_sweeps(folder / "sweeps", FRAMES)
    truth = [SE2(*truth_of(frame)) for frame in range(FRAMES)]
    steps = [SE2(0.0, 0.0, 0.0), *(a.inverse() @ b for a, b in itertools.pairwise(truth))]
    tables = {
        "sweeps": ("time_s,file", [f"{0.1 * k},sweeps/{k:03d}.bin" for k in range(FRAMES)]),
        "odometry": (
            "time_s,x_m,y_m,heading_rad",
            [f"{0.1 * k},{s.x_m},{s.y_m},{s.heading_rad}" for k, s in enumerate(steps)],
        ),
        "fixes": ("time_s,east_m,north_m,sigma_m", [f"{0.1 * k},{p.x_m},{p.y_m},0.2" for k, p in enumerate(truth)]),
    }
    tables["truth"] = (
        "time_s,x_m,y_m,heading_rad",
        [f"{0.1 * k},{p.x_m},{p.y_m},{p.heading_rad}" for k, p in enumerate(truth)],
    )
    for name, (header, rows) in tables.items():
        (folder / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
    told = {"foldmap_drive": 1, "intensity_scale": 1.0} | {name: f"{name}.csv" for name in tables}
    (folder / "drive.json").write_text(json.dumps(told))
    return folder


def test_a_run_is_written(run: Run, place: Path, drive: Path, tmp_path: Path) -> None:
    told = run("localize", place / "map.fold", drive, "-o", tmp_path / "run", "--json").told()
    assert told["observations"] == 2 * FRAMES
    assert sum(told["share_by_status"].values()) == pytest.approx(1.0, abs=1e-3)
    assert told["layers"] == ["lidar"]
    assert told["median_time_s"] > 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "estimates.txt.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * FRAMES
    assert {"phase", "spoke", "layers", "sigma_m"} <= set(rows[0]["diagnostics"])
    answered = [row for row in rows if row["pose"] is not None]
    assert answered
    for row in answered:
        x_m, y_m, _ = truth_of(round(row["time_s"] * 10))
        assert np.hypot(row["pose"]["x_m"] - x_m, row["pose"]["y_m"] - y_m) < 0.5
    assert rows[-1]["diagnostics"]["layers"]["gnss"]["status"] == "ok"
    settings = json.loads((tmp_path / "run" / "estimates.txt.settings.json").read_text())
    assert settings["brings"] == ["sweeps", "fixes", "odometry", "truth"]
    page = tmp_path / "run" / "page.html"
    shown = run("report", tmp_path / "run", "-o", page, "--truth", drive, "--json").done()
    assert json.loads(shown.out)["median_error"] < 0.5
    moments = [row.split()[0] for row in (tmp_path / "run" / "estimates.txt").read_text().splitlines()[1:]]
    assert sorted({f"{row['time_s']:.6f}" for row in answered}) == [f"{float(time):.6f}" for time in moments]
    for written in ("", "estimates.txt", "estimates.txt.jsonl"):  # a fix and a sweep of one moment are one pose
        judged = run("evaluate", tmp_path / "run" / written, drive, "--json").told()
        assert (judged["answered"], judged["by_status"]) == (len(moments), told["by_status"])
        assert judged["longitudinal_median_m"] < 0.5
    with foldmap.open(place / "map.fold") as town:
        from foldmap.api.localizing_drives import localize_drive

        again = localize_drive(town, drive)
    timed = ("time_s",)
    for one, row in zip(again.observations, rows, strict=True):
        line = one.line()
        for each in (line, row):
            each["diagnostics"] = {key: value for key, value in each["diagnostics"].items() if key not in timed}
        assert line == row


def test_a_drive_that_no_layer_takes(run: Run, place: Path, drive: Path, tmp_path: Path) -> None:
    told = json.loads((drive / "drive.json").read_text())
    other = tmp_path / "drive"
    other.mkdir()
    (other / "fixes.csv").write_text((drive / "fixes.csv").read_text())
    (other / "drive.json").write_text(json.dumps({"foldmap_drive": told["foldmap_drive"], "fixes": "fixes.csv"}))
    run("localize", place / "map.fold", other, "-o", tmp_path / "run").refused("no layer takes it")


def test_fixes_of_another_frame_than_the_map_are_told(run: Run, place: Path, drive: Path, tmp_path: Path) -> None:
    other = tmp_path / "drive"
    shutil.copytree(drive, other)
    truth = [SE2(*truth_of(frame)) for frame in range(FRAMES)]
    rows = [f"{0.1 * k},{500_000 + at.x_m},{5_400_000 + at.y_m},0.2" for k, at in enumerate(truth)]
    (other / "fixes.csv").write_text("\n".join(["time_s,east_m,north_m,sigma_m", *rows]) + "\n")
    run("localize", place / "map.fold", other, "-o", tmp_path / "run").refused("the nearest fix lies 5,4")


def test_a_run_is_not_written_into_its_drive(run: Run, place: Path, drive: Path) -> None:
    before = sorted(drive.rglob("*"))
    run("localize", place / "map.fold", drive, "-o", drive).refused("is the drive's own folder")
    assert sorted(drive.rglob("*")) == before


def test_options_of_one_layer_are_refused(run: Run, place: Path, drive: Path, tmp_path: Path) -> None:
    run("localize", place / "map.fold", drive, "-o", tmp_path / "run", "--aggregate", "3").refused("--aggregate")
