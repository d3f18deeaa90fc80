"""``build lidar --fold``: sweeps held out of the map choose its code, a network is adapted, a page tells of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cli_place import RESOLUTION_M, Ran, Run, make_bundle, tum, write_sweeps

from foldmap.api.folding import drives, rasters
from foldmap.api.training import adapting
from foldmap.atlas import FoldFile
from foldmap.cli.build import lidar
from foldmap.cli.common import save_settings
from foldmap.errors import ConfigError, WriteError
from foldmap.formats.sweeps.drives import open_drive
from foldmap.lidar.folded import open_lidar
from foldmap.lidar.pairs.from_sweeps import SweepPairs

FRAMES = 76


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sweeps/ and poses.txt of a drive long enough to hold a part of it out."""
    folder = tmp_path_factory.mktemp("drive")
    write_sweeps(folder / "sweeps", FRAMES)
    (folder / "poses.txt").write_text(tum(FRAMES))
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The untrained tiny model ships, and places are few."""
    for module in (drives, rasters):
        monkeypatch.setattr(module, "default_bundle", lambda resolution_m: make_bundle())
    monkeypatch.setattr(drives, "_PLACES", 2)
    monkeypatch.setattr(adapting, "_FITTED", 4)
    monkeypatch.setattr(adapting, "_WRONG", 3)
    monkeypatch.setattr(adapting, "_SWEEPS", 3)


def built(run: Run, drive: Path, out: Path, *more: object) -> Ran:
    given = ["build", "lidar", drive / "sweeps", "--poses", drive / "poses.txt", "--resolution", RESOLUTION_M]
    return run(*given, "-o", out / "map.tif", *more)


@pytest.mark.usefixtures("small")
def test_an_adapted_network_is_one_more_code_and_what_was_tried_is_told(run: Run, drive: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "map.fold", tmp_path / "page"
    ran = built(run, drive, tmp_path, "--fold", out, "--adapt-steps", 2, "--report", page, "--json").done()
    folded = json.loads(ran.out)["folded"]
    assert [one["model"] for one in folded["tried"]] == ["untrained", "untrained-adapted"]
    assert {(one["sweeps"], one["places"]) for one in folded["tried"]} == {("held out", 2)}
    begins = int(0.7 * FRAMES)
    wanted = {"steps": 2, "seconds": None, "seed": 0, "first_sweeps": begins - 15, "adapted_from": "untrained"}
    assert folded["adapted"] == wanted
    assert folded["file_bytes"] == out.stat().st_size
    with FoldFile.open(out) as file:
        made = file.metadata()["provenance"]
        assert made["adapted"] == wanted
        assert made["tried"] == folded["tried"]
        assert open_lidar(file).model.name == folded["model"]
    words = (page / "raster.html").read_text()
    assert words.count("<img ") >= 1  # what the file holds; a plot where anything was matched
    assert "untrained-adapted" in words
    assert "without 15 sweeps on each side" in words
    assert json.loads((page / "raster.json").read_text())["tried"] == folded["tried"]
    assert json.loads((tmp_path / "map.fold.settings.json").read_text())["chosen"]["tried"] == folded["tried"]
    shown = run("show", out).out
    assert "[{" not in shown
    assert any(line.split()[:1] == ["untrained-adapted"] for line in shown.splitlines())
    assert run("verify", out).status == 0


@pytest.mark.usefixtures("small")
def test_the_steps_of_a_time_are_the_same_run_again(drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = open_drive(drive / "sweeps", drive / "poses.txt")
    poses = recorded.world_SE3_sensors
    pairs = SweepPairs(recorded.sweeps, poses, RESOLUTION_M, guard=3, map_px=96, sweep_px=64).among_first(14)
    monkeypatch.setattr(adapting, "_calibrating_s", lambda *given: 0.0)
    timed = adapting.adapt(make_bundle(), pairs, RESOLUTION_M, adapting.Adapting(seconds=1.5))
    assert timed.steps >= 1
    again = adapting.adapt(make_bundle(), pairs, RESOLUTION_M, adapting.Adapting(steps=timed.steps))
    assert again.bundle.to_bytes() == timed.bundle.to_bytes()
    more = adapting.adapt(make_bundle(), pairs, RESOLUTION_M, adapting.Adapting(steps=timed.steps + 1))
    assert more.bundle.to_bytes() != timed.bundle.to_bytes()
    monkeypatch.setattr(adapting, "_calibrating_s", lambda *given: 60.0)
    with pytest.raises(ConfigError, match="calibrating alone takes about 90 s"):
        adapting.adapt(make_bundle(), pairs, RESOLUTION_M, adapting.Adapting(seconds=30))


@pytest.mark.usefixtures("small")
def test_a_short_drive_is_folded_all_the_same(run: Run, tmp_path: Path) -> None:
    write_sweeps(tmp_path / "sweeps", 6)
    (tmp_path / "poses.txt").write_text(tum(6))
    ran = built(run, tmp_path, tmp_path, "--fold", tmp_path / "map.fold", "--adapt", "30s", "--json").done()
    assert "no network was adapted: the drive is too short" in ran.err
    assert "adapted" not in json.loads(ran.out)["folded"]
    assert run("verify", tmp_path / "map.fold").status == 0


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("full", "left"), [("map.tif", []), ("map.fold", ["map.tif", "map.tif.settings.json"])])
def test_a_map_appears_with_its_settings_or_not_at_all(
    full: str, left: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(output: Path, command: str, settings: Mapping[str, Any]) -> None:
        if output.name == full:
            raise WriteError("the disk is full", "make room")
        save_settings(output, command, settings)

    monkeypatch.setattr(lidar, "save_settings", save)
    write_sweeps(tmp_path / "sweeps", 6)
    (tmp_path / "poses.txt").write_text(tum(6))
    ran = built(run, tmp_path, tmp_path, "--fold", tmp_path / "map.fold")
    assert (ran.status, ran.err.splitlines()[-1]) == (2, "error: the disk is full (make room)")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [*left, "poses.txt", "sweeps"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--adapt", "5min"], "--adapt is of folding"),
        (["--report", "page"], "--report is of folding"),
        (["--fold", "x.fold", "--adapt", "5min", "--adapt-steps", "3"], "adapting takes a time or a number of steps"),
        (["--fold", "x.fold", "--adapt", "5 weeks"], "'5 weeks' is no time"),
        (["--fold", "x.fold", "--adapt-steps", "0"], "0 steps of adapting"),
        (["--fold", "DRIVE/poses.txt"], "poses.txt"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(
    run: Run, drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = (drive / "poses.txt").read_bytes()
    built(run, drive, tmp_path, *(word.replace("DRIVE", str(drive)) for word in more)).refused(message)
    assert list(tmp_path.iterdir()) == []
    assert (drive / "poses.txt").read_bytes() == before


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5min", 300), ("1h", 3600), (" 1.5 min", 90)])
def test_times(text: str, seconds: float) -> None:
    assert adapting.parse_seconds(text) == seconds
