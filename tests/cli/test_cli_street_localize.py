"""``foldmap localize``: with a reader that errs in nothing it finds a drive, and says what it cannot find."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from cli_place import Run
from PIL import Image
from street_place import (
    PerfectReader,
    lines_of,
    pose_rows,
    town_map,
    write_numbered,
    write_ring_frames,
    write_town,
)

from foldmap.formats.poses.trajectories import read_tum_poses
from foldmap.geometry import SE2
from foldmap.localize.street.lane_places import lane_places
from foldmap.street.source import StreetMap

STEP_M, FRAMES = 6.0, 9


def a_drive(street: StreetMap) -> list[SE2]:
    """Poses 6 m apart along lanes, one after the other, in the middle of the town."""
    places = lane_places(street.graph, 1.0)
    rng = np.random.default_rng(5)
    inside = (np.abs(places.positions_m) < 80).all(1)
    best: list[int] = []
    for start in np.flatnonzero(inside)[::25]:
        path = [int(start)]
        while len(path) < 6 * FRAMES:
            after = places.follow[places.follow_offset[path[-1]] : places.follow_offset[path[-1] + 1]]
            after = [int(k) for k in after if inside[k] and k not in path]
            if not after:
                break
            path.append(after[int(rng.integers(len(after)))])
        best = max(best, path, key=len)
    drive = [places.pose(k) for k in best[:: int(STEP_M)]]
    assert len(drive) >= FRAMES - 1
    return drive


@pytest.fixture(scope="module")
def street() -> StreetMap:
    return town_map()


@pytest.fixture(scope="module")
def drive(street: StreetMap) -> list[SE2]:
    return a_drive(street)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, drive: list[SE2]) -> Path:
    """map.fold, crops/ of a drive, truth.csv, odometry.csv in a frame of its own, prior.csv 20 m off; read only."""
    from foldmap.api.folding import StreetOptions, fold

    folder = tmp_path_factory.mktemp("town")
    write_town(folder)
    options = StreetOptions(model=folder / "model.safetensors", spacing=60.0)
    fold(folder / "town.geojson", folder / "map.fold", street=options)
    write_numbered(folder / "crops", len(drive))
    names = [f"crop{k}.png" for k in range(len(drive))]
    (folder / "truth.csv").write_text(pose_rows(drive, names))
    elsewhere = SE2(1000.0, -500.0, 1.0)
    (folder / "odometry.csv").write_text(pose_rows([elsewhere @ pose for pose in drive]))
    off = [SE2(pose.x_m + 12, pose.y_m - 16, pose.heading_rad) for pose in drive]
    (folder / "prior.csv").write_text(pose_rows(off, names))
    return folder


@pytest.fixture
def perfect(monkeypatch: pytest.MonkeyPatch, street: StreetMap, drive: list[SE2]) -> None:
    PerfectReader(street.graph, drive).install(monkeypatch)


def test_a_drive_is_found(run: Run, town: Path, tmp_path: Path, drive: list[SE2], perfect: None) -> None:
    out = tmp_path / "estimates.txt"
    # a perfect reader deserves a sharper likelihood, and 50 m are a short drive to be sure of
    summary = run(
        "localize", town / "map.fold", town / "crops", "-o", out, "--drive", town / "odometry.csv", "--truth",
        town / "truth.csv", "--picture", tmp_path / "heat.png", "--temperature", "0.02", "--json",
    ).told(quiet=True)  # fmt: skip
    lines = lines_of(tmp_path / "estimates.txt.jsonl")
    guess = [line["guess"] for line in lines]
    away = [math.hypot(g["x_m"] - p.x_m, g["y_m"] - p.y_m) for g, p in zip(guess, drive, strict=True)]
    assert away[-1] < 3  # it may take some frames, the last one knows
    assert summary["last_guess_error_m"] == pytest.approx(away[-1], abs=1e-3)
    for limit in (1, 3, 5, 10):
        assert summary["recall_at_m"][str(limit)] == pytest.approx(np.mean(np.array(away) <= limit), abs=1e-4)
    answered = [line for line in lines if line["pose"] is not None]
    assert summary["answered"] == len(answered) > 0
    assert {line["status"] for line in answered} <= {"ok", "degraded"}
    assert all(np.linalg.eigvalsh(np.array(line["covariance"])).min() > 0 for line in answered)
    times, poses = read_tum_poses(out)
    assert [int(time) for time in times] == [k for k, line in enumerate(lines) if line["pose"] is not None]
    last = answered[-1]["pose"]
    assert (poses[-1].to_se2().x_m, poses[-1].to_se2().y_m) == pytest.approx((last["x_m"], last["y_m"]), abs=1e-3)
    assert summary["median_heading_error_deg"] < 5
    assert (tmp_path / "heat.png").read_bytes()[:4] == b"\x89PNG"


def test_single_images_with_a_prior(run: Run, town: Path, tmp_path: Path, drive: list[SE2], perfect: None) -> None:
    out = tmp_path / "estimates.csv"
    ran = run(
        "localize", town / "map.fold", town / "crops", "-o", out, "--prior", town / "prior.csv", "--radius",
        "30", "--compass", "20", "--truth", town / "truth.csv", "--temperature", "0.01", "--json",
    )  # fmt: skip
    assert ran.status in (0, 1)
    summary = json.loads(ran.out)
    assert summary["recall_at_m"]["10"] >= 0.6
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["name"] for row in rows] == [f"crop{k}.png" for k in range(len(drive))]
    for row, line in zip(rows, lines_of(Path(f"{out}.jsonl")), strict=True):
        assert row["status"] == line["status"]
        assert (row["x_m"] == "") == (line["pose"] is None)
        assert line["diagnostics"]["prior_distance_m"] <= 30
    settings = json.loads(Path(f"{out}.settings.json").read_text())
    assert (settings["radius_m"], settings["localizer"]["temperature"]) == (30, 0.01)


def test_what_cannot_be_answered_has_no_pose(
    run: Run, town: Path, tmp_path: Path, drive: list[SE2], perfect: None
) -> None:
    off_map = [SE2(5000.0, 5000.0, 0.0) for _ in drive]
    (tmp_path / "prior.csv").write_text(pose_rows(off_map))
    out = tmp_path / "estimates.txt"
    ran = run("localize", town / "map.fold", town / "crops", "-o", out, "--prior", tmp_path / "prior.csv")
    assert ran.status == 1
    assert {line["status"] for line in lines_of(tmp_path / "estimates.txt.jsonl")} == {"no_map"}
    assert out.read_text().count("\n") == 1  # the header alone
    strict = ["--min-similarity", "1.0", "--prior", town / "prior.csv"]
    ran = run("localize", town / "map.fold", town / "crops", "-o", out, *strict)
    assert {line["status"] for line in lines_of(tmp_path / "estimates.txt.jsonl")} == {"no_match"}
    assert ran.status == 1


def test_one_camera_of_a_ring(run: Run, town: Path, tmp_path: Path) -> None:
    names = write_ring_frames(tmp_path / "ring")
    (tmp_path / "ring" / names[0] / "0.png").unlink()
    out = tmp_path / "e.txt"
    run("localize", town / "map.fold", tmp_path / "ring", "--camera", names[0], "-o", out, "--step", "20")
    lines = lines_of(tmp_path / "e.txt.jsonl")
    assert (lines[0]["status"], lines[0]["pose"]) == ("no_observation", None)
    assert lines[1]["status"] != "no_observation"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CROPS", "--prior", "gone.csv"], "gone.csv cannot be read"),
        (["CROPS", "--prior", "SHORT"], "holds 1 poses for"),
        (["CROPS", "--truth", "NOHEADING"], "has no headings"),
        (["CROPS", "--truth", "NAN"], "line 2"),
        (["CROPS", "--truth", "DEGREES"], "call the column heading_deg"),
        (["CROPS", "--truth", "LATLON"], "no column x_m"),
        (["CROPS", "--radius", "0"], "a prior of 0.0 m"),
        (["CROPS", "--compass", "5"], "a compass belongs to a prior"),
        (["CROPS", "--region", "moon"], "no region 'moon'"),
        (["CROPS", "--picture-of", "99", "--picture", "x.png"], "no observation 99"),
        (["CROPS", "--picture-of", "2"], "give --picture too"),
        (["DARK", "--temperature", "0"], "temperature of 0"),
    ],
)
def test_what_cannot_be_localized(
    run: Run, town: Path, tmp_path: Path, drive: list[SE2], arguments: list[str], message: str
) -> None:
    texts = {
        "SHORT": "x_m,y_m\n1,2\n",
        "NOHEADING": "x_m,y_m\n" + "1,2\n" * len(drive),
        "NAN": "x_m,y_m,heading_rad\n1,nan,0\n",
        "DEGREES": "x_m,y_m,heading_rad\n1,2,270\n",
        "LATLON": "name,lat,lon\na,49,8\n",
    }
    paths: dict[str, Path] = {"CROPS": town / "crops", "DARK": tmp_path / "dark.png"}
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "dark.png")
    for name, text in texts.items():
        paths[name] = tmp_path / f"{name}.csv"
        paths[name].write_text(text)
    filled = [paths.get(argument, argument) for argument in arguments]
    run("localize", town / "map.fold", *filled, "-o", tmp_path / "x.txt", "--step", "20").refused(message)
    assert not (tmp_path / "x.txt").exists()
