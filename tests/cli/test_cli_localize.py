"""``foldmap localize`` and ``evaluate``: honest statuses, paired truth, one-line errors."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_place import Ran, Run, truth_of, tum

from foldmap.atlas import FoldFile
from foldmap.formats.poses.trajectories import read_poses
from foldmap.formats.sweeps.files import open_sweeps
from foldmap.lidar.observation import SweepStack
from foldmap.lidar.unfold import FoldedLidar


def localize(run: Run, place: Path, output: Path, *more: object, poses: Path | None = None) -> Ran:
    return run(
        "localize", place / "map.fold", place / "sweeps", "--poses", poses or place / "prior.txt", "-o", output, *more
    )


@pytest.mark.parametrize("more", [[], ["--online", "--aggregate", "1"]])
def test_every_sweep_has_a_status_and_only_answers_have_poses(
    run: Run, place: Path, tmp_path: Path, more: list[str]
) -> None:
    out = tmp_path / "estimates.txt"
    ran = localize(run, place, out, "--json", *more)
    summary = json.loads(ran.out)
    assert ran.status == (0 if summary["answered"] else 1)
    rows = [json.loads(line) for line in Path(f"{out}.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["000.bin", "001.bin", "002.bin"]
    assert [row["time_s"] for row in rows] == pytest.approx([100.0, 100.1, 100.2])
    assert sum(summary["by_status"].values()) == summary["observations"] == 3
    written = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    assert len(written) == summary["answered"] == sum(row["pose"] is not None for row in rows)
    for row in rows:
        assert (row["pose"] is not None) == (row["covariance"] is not None) == (row["status"] in ("ok", "degraded"))
    settings = json.loads(Path(f"{out}.settings.json").read_text())
    assert settings["model"] == "untrained"
    assert settings["online"] == ("--online" in more)


def test_an_observation_off_the_map_is_no_map(run: Run, place: Path, tmp_path: Path) -> None:
    (tmp_path / "far.txt").write_text(tum(3, (456_000.0, 5_428_000.0)))  # of another frame
    localize(run, place, tmp_path / "estimates.txt", poses=tmp_path / "far.txt").refused("the nearest prior lies 5,4")
    (tmp_path / "far.txt").write_text(tum(3, (5000.0, 0.0)))
    (tmp_path / "estimates.txt.settings.json").mkdir()  # the last output cannot be written, so none is
    localize(run, place, tmp_path / "estimates.txt", poses=tmp_path / "far.txt").refused(
        "estimates.txt.settings.json is a folder", notes=1
    )
    (tmp_path / "estimates.txt.settings.json").rmdir()
    assert [file.name for file in tmp_path.iterdir()] == ["far.txt"]
    ran = localize(run, place, tmp_path / "estimates.txt", "--json", poses=tmp_path / "far.txt")
    assert ran.status == 1
    assert json.loads(ran.out)["by_status"] == {"no_map": 3}
    assert all(line.startswith("#") for line in (tmp_path / "estimates.txt").read_text().splitlines())
    shown = run("evaluate", tmp_path / "estimates.txt", place / "truth.txt", "--json").told()
    assert (shown["answered"], shown["total_median_m"], shown["by_status"]) == (0, "inf", {"no_map": 3})


def test_observations_lie_in_the_frame_of_the_last_sweep(place: Path) -> None:
    poses = read_poses(place / "truth.txt").world_SE3_sensors
    with FoldFile.open(place / "map.fold") as file:
        resolution_m = FoldedLidar(file).grid.resolution_m
    from cli_place import brightness

    stack = SweepStack(resolution_m, 3)
    drawn = [stack.add(*one) for one in zip(open_sweeps(place / "sweeps"), poses, strict=True)]
    assert drawn[0].observed.sum() < drawn[2].observed.sum()
    last = drawn[2]
    x, y, heading = truth_of(2)
    rows, cols = np.nonzero(last.observed)
    ahead = (cols + 0.5) * resolution_m - last.half_length_m
    left = last.half_width_m - (rows + 0.5) * resolution_m
    east = x + math.cos(heading) * ahead - math.sin(heading) * left
    north = y + math.sin(heading) * ahead + math.cos(heading) * left
    error = last.intensity[rows, cols] - brightness(east, north)
    assert np.sqrt(np.mean(error**2)) < 0.05  # a heading or a shift that is off would leave the full contrast, 0.14


@pytest.mark.parametrize(
    ("poses", "message"),
    [
        ("", "holds no poses"),
        (tum(2), "2 poses for 3 sweeps"),
        ("\n".join(reversed(tum(3).splitlines())), "does not follow"),
        ("missing", "cannot be read"),
    ],
)
def test_bad_input_is_one_line(run: Run, place: Path, tmp_path: Path, poses: str, message: str) -> None:
    path = tmp_path / "poses.txt"
    if poses != "missing":
        path.write_text(poses)
    out = tmp_path / "estimates.txt"
    localize(run, place, out, poses=path).refused(message)
    assert not out.exists()


def copied(place: Path, folder: Path, names: Callable[[int], str] = lambda frame: f"{frame:03d}.bin") -> Path:
    """The place's sweeps in another folder, by other names."""
    folder.mkdir()
    for frame, path in enumerate(sorted((place / "sweeps").iterdir())):
        (folder / names(frame)).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("more", [[], ["--online"]])
@pytest.mark.parametrize("frame", [0, 1])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"", "is empty"),
        (np.full((9, 4), np.nan, "<f4").tobytes(), "has no points"),
        (np.array([[1, 0, -1.7, 0]] * 9, "<f4").tobytes(), "no intensity"),
    ],
)
def test_a_bad_sweep_is_no_observation_and_the_rest_goes_on(
    run: Run, place: Path, tmp_path: Path, bad: bytes, reason: str, frame: int, more: list[str]
) -> None:
    folder = copied(place, tmp_path / "sweeps")
    (folder / f"{frame:03d}.bin").write_bytes(bad)
    out = tmp_path / "estimates.txt"
    ran = run(
        "localize", place / "map.fold", folder, "--poses", place / "prior.txt", "-o", out, "--aggregate", "1", *more
    )
    assert ran.status in (0, 1)
    assert ran.err.count("\n") == len(more)  # how the filter moves is said
    assert ("no --odometry" in ran.err) == bool(more)
    rows = [json.loads(line) for line in Path(f"{out}.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["000.bin", "001.bin", "002.bin"]
    assert rows[frame]["status"] == "no_observation"
    assert rows[frame]["pose"] is None
    assert reason in rows[frame]["diagnostics"]["reason"]
    assert f"{frame:03d}.bin" in rows[frame]["diagnostics"]["reason"]
    if not more:
        whole = tmp_path / "whole.txt"
        localize(run, place, whole, "--aggregate", "1")
        expected = [json.loads(line) for line in Path(f"{whole}.jsonl").read_text().splitlines()]
        assert [row["pose"] for i, row in enumerate(rows) if i != frame] == [
            row["pose"] for i, row in enumerate(expected) if i != frame
        ]


def test_sweeps_named_by_times_get_the_priors_of_their_times(run: Run, place: Path, tmp_path: Path) -> None:
    folder = copied(place, tmp_path / "sweeps", lambda frame: f"{100 + 0.1 * (frame + 1):g}.bin")
    out = tmp_path / "estimates.txt"
    ran = run(
        "localize", place / "map.fold", folder, "--poses", place / "prior.txt", "-o", out, "--aggregate", "1", "--json"
    )
    assert "2 of 3 sweeps by time" in json.loads(ran.out)["paired"]
    rows = [json.loads(line) for line in Path(f"{out}.jsonl").read_text().splitlines()]
    assert [(row["name"], row["time_s"]) for row in rows] == [
        ("100.1.bin", 100.1),
        ("100.2.bin", 100.2),
        ("100.3.bin", 100.3),
    ]
    assert (rows[2]["status"], rows[2]["pose"]) == ("no_observation", None)
    assert "no prior within 0.01 s" in rows[2]["diagnostics"]["reason"]


def test_a_file_that_is_no_map(run: Run, place: Path, tmp_path: Path) -> None:
    ran = run("localize", place / "map.tif", place / "sweeps", "--poses", place / "prior.txt", "-o", tmp_path / "x")
    assert (ran.status, ran.err.count("\n")) == (2, 1)


def test_evaluate_against_errors_known_beforehand(run: Run, tmp_path: Path) -> None:
    count, rows = 20, []
    (tmp_path / "truth.txt").write_text(tum(count))
    for frame, line in enumerate(tum(count).splitlines()):
        if frame == 7:
            continue
        time, x, y, z, *turn = line.split()
        heading = truth_of(frame)[2]
        ahead, left = 0.01 * frame, -0.02
        east = float(x) + math.cos(heading) * ahead - math.sin(heading) * left
        north = float(y) + math.sin(heading) * ahead + math.cos(heading) * left
        rows.append(" ".join([time, f"{east:.9f}", f"{north:.9f}", z, *turn]))
    (tmp_path / "estimates.txt").write_text("\n".join(rows))
    arguments = [tmp_path / "estimates.txt", tmp_path / "truth.txt"]
    shown = run("evaluate", *arguments, "--json", "--plot", tmp_path / "errors.svg").told(quiet=True)
    along = np.sort(np.r_[[0.01 * f for f in range(count) if f != 7], np.inf])
    assert shown["longitudinal_median_m"] == pytest.approx((along[9] + along[10]) / 2, abs=1e-5)
    assert shown["lateral_median_m"] == pytest.approx(0.02, abs=1e-5)
    assert shown["total_p99_m"] == "inf"
    assert shown["fail_at_end"] == 1.0  # no answer at frame 7
    assert (shown["poses"], shown["answered"]) == (20, 19)
    assert b"<svg" in (tmp_path / "errors.svg").read_bytes()[:600]
    (tmp_path / "estimates.txt").write_text("5 0 0 0 0 0 0 1\n")
    run("evaluate", *arguments).refused("no true pose at their time")
