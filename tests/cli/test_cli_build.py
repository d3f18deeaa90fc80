"""``foldmap build lidar`` from files on disk to the map, its settings and its picture."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cli_place import Ran, Run

from foldmap.formats.raster.geotiff import open_raster


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Four KITTI sweeps of a flat ground whose brightness follows x, one metre apart."""
    rng = np.random.default_rng(6)
    (tmp_path / "sweeps").mkdir()
    rows = []
    for i in range(4):
        xy = rng.uniform(-14, 14, (20_000, 2))
        brightness = 0.5 + 0.02 * (xy[:, 0] + i)
        cloud = np.column_stack([xy, rng.normal(-1.73, 0.01, 20_000), brightness]).astype("<f4")
        (tmp_path / "sweeps" / f"{i}.bin").write_bytes(cloud.tobytes())
        rows.append(f"1 0 0 {i} 0 1 0 0 0 0 1 0")
    (tmp_path / "poses.txt").write_text("\n".join(rows) + "\n")
    return tmp_path


def build(run: Run, drive: Path, *more: str) -> Ran:
    return run("build", "lidar", drive / "sweeps", "--poses", drive / "poses.txt", "-o", drive / "map.tif", *more)


def test_build(run: Run, drive: Path) -> None:
    summary = build(run, drive, "--resolution", "0.2", "--crs", "EPSG:25832", "--preview", "--json").told(quiet=True)
    assert summary["sweeps"] == 4
    assert summary["observed_m2"] == pytest.approx(28 * 31, rel=0.1)
    assert summary["bytes"] == (drive / "map.tif").stat().st_size
    with open_raster(drive / "map.tif") as raster:
        assert raster.grid.resolution_m == 0.2
        window = raster.read(0, 0, *raster.grid.shape)
        assert window.observed_m2 == pytest.approx(summary["observed_m2"], abs=0.01)
        rows, cols = np.nonzero(window.observed)
        east = raster.grid.world_of(np.stack([rows, cols], axis=1).astype(float))[:, 0]
        assert np.abs(window.intensity[window.observed] - (0.5 + 0.02 * east)).max() < 0.005
    with rasterio.open(drive / "map.tif") as dataset:
        assert dataset.crs.to_epsg() == 25832
    settings = json.loads((drive / "map.tif.settings.json").read_text())
    assert (settings["resolution_m"], settings["crs"], settings["pose_layout"]) == (0.2, "EPSG:25832", "kitti")
    assert (drive / "map.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(entry.name for entry in drive.iterdir()) == [
        "map.png",
        "map.tif",
        "map.tif.settings.json",
        "poses.txt",
        "sweeps",
    ]
    before = (drive / "map.tif").read_bytes()
    build(run, drive, "--resolution", "0.2", "--crs", "EPSG:25832").done()
    assert (drive / "map.tif").read_bytes() == before


def test_poses_with_errors_of_their_own_are_told(run: Run, drive: Path) -> None:
    """On ground without anything that stands: steps that change as no vehicle moves are enough."""
    cloud = (drive / "sweeps" / "0.bin").read_bytes()
    for wave_m, told in ((0.0, False), (0.4, True)):
        rows = [f"1 0 0 {i} 0 1 0 {wave_m * (-1) ** i} 0 0 1 0" for i in range(12)]
        for i in range(4, 12):
            (drive / "sweeps" / f"{i}.bin").write_bytes(cloud)
        (drive / "poses.txt").write_text("\n".join(rows) + "\n")
        ran = build(run, drive, "--resolution", "0.2").done()
        assert ("the map is blurred by that" in ran.err) == told


def test_table(run: Run, drive: Path) -> None:
    assert "observed m2" in build(run, drive, "--resolution", "0.2").done().out


@pytest.mark.parametrize(
    ("more", "poses", "message"),
    [
        (["--resolution", "-1"], None, "resolution_m is -1"),
        (["--crs", "EPSG:4326"], None, "not in metres"),
        (["--intensity-scale", "0.1"], None, "outside 0 to 1"),
        (["--time-limit", "-1"], None, "poses are paired by order"),
        ([], "1 0 0 0 0 1 0 0 0 0 1 0\n", "1 poses for 4 sweeps"),
        ([], "", "holds no poses"),
        ([], "1 0 0 nan 0 1 0 0 0 0 1 0\n" * 4, "line 1: NaN"),
        ([], "2 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n", "line 2: time 1 s does not follow"),
    ],
)
def test_bad_input_is_one_line(run: Run, drive: Path, more: list[str], poses: str | None, message: str) -> None:
    if poses is not None:
        (drive / "poses.txt").write_text(poses)
    build(run, drive, *more).refused(message)
    assert not (drive / "map.tif").exists()


@pytest.mark.parametrize(("data", "message"), [(b"", "is empty"), (b"\0" * 10, "not a multiple"), (None, "no points")])
def test_a_bad_sweep_is_left_out_and_named(run: Run, drive: Path, data: bytes | None, message: str) -> None:
    build(run, drive, "--resolution", "0.2", "--json").done()
    whole = open_raster(drive / "map.tif").read(0, 0, 512, 512).observed
    bad = np.full((2, 4), np.nan, "<f4").tobytes() if data is None else data
    (drive / "sweeps" / "2.bin").write_bytes(bad)
    ran = build(run, drive, "--resolution", "0.2", "--json")
    summary = ran.told()
    assert "1 of 4 sweeps were left out" in ran.err
    assert message in ran.err
    assert "2.bin" in ran.err
    assert (summary["sweeps"], summary["sweeps_left_out"]) == (3, 1)
    assert "2.bin" in json.loads((drive / "map.tif.settings.json").read_text())["sweeps_left_out"][0]
    rest = open_raster(drive / "map.tif").read(0, 0, 512, 512).observed
    assert not (rest & ~whole).any()
    for number in (0, 1):
        (drive / "sweeps" / f"{number}.bin").write_bytes(bad)
    (drive / "map.tif").unlink()
    build(run, drive).refused("3 of 4 sweeps cannot be used")
    assert not (drive / "map.tif").exists()
    (drive / "sweeps" / "3.bin").write_bytes(bad)
    assert build(run, drive).status == 2


KILLED = """
import os, signal, sys
import foldmap.formats.raster.write as writing
def killed(*arguments, **more):
    os.kill(os.getpid(), signal.SIGKILL)
writing.rasterio.shutil.copy = killed
from foldmap.cli import main
sys.argv = ["foldmap", *sys.argv[1:]]
main()
"""


def test_a_killed_build_leaves_the_former_map_and_the_next_build_clears_up(run: Run, drive: Path) -> None:
    arguments = ["build", "lidar", drive / "sweeps", "--poses", drive / "poses.txt", "-o", drive / "map.tif"]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    (drive / "map.tif").write_text("former")
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert (drive / "map.tif").read_text() == "former"
    assert len([entry for entry in drive.iterdir() if entry.name.startswith(".")]) == 2
    build(run, drive, "--resolution", "0.2").done()
    assert sorted(entry.name for entry in drive.iterdir()) == [
        "map.tif",
        "map.tif.settings.json",
        "poses.txt",
        "sweeps",
    ]


def test_a_failed_build_leaves_nothing(run: Run, drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import foldmap.formats.raster.write as writing

    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.rasterio.shutil, "copy", full)
    build(run, drive).refused("No space left")
    assert sorted(entry.name for entry in drive.iterdir()) == ["poses.txt", "sweeps"]
