"""``foldmap view``: what a recording holds, read back by rerun itself; what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_place import Run, truth_of, write_sweeps

FRAMES = 4


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view") / "drive"
    write_sweeps(folder / "sweeps", FRAMES)
    (folder / "sweeps.csv").write_text("time_s,file\n" + "".join(f"{k},sweeps/{k:03d}.bin\n" for k in range(FRAMES)))
    told = {"foldmap_drive": 1, "intensity_scale": 1.0, "sweeps": "sweeps.csv"}
    (folder / "drive.json").write_text(json.dumps(told))
    return folder


def write_run(folder: Path) -> None:
    """A run with a pose at the truth, and one moment without any."""
    folder.mkdir()
    rows = []
    for number in range(FRAMES):
        x_m, y_m, heading_rad = truth_of(number)
        lost = number == 2
        pose = None if lost else {"x_m": x_m, "y_m": y_m, "heading_rad": heading_rad}
        rows.append(
            {
                "name": f"sweep {number}",
                "time_s": float(number),
                "status": "no_match" if lost else "ok",
                "pose": pose,
                "covariance": None if lost else np.diag([4e-4, 1e-4, 1e-6]).tolist(),
                "protection_level": None if lost else {"position": 0.2},
                "diagnostics": {"reason": "score 0.1 < 0.4" if lost else ""},
            }
        )
    (folder / "estimates.txt.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_recording_holds_map_sweeps_and_answers(run: Run, place: Path, drive: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun is not installed (pip install 'foldmap[view]')")
    from rerun.chunk import RrdReader

    write_run(tmp_path / "run")
    truth = tmp_path / "truth.txt"
    truth.write_text("".join(f"{k} {truth_of(k)[0]} {truth_of(k)[1]} 0 0 0 0 1\n" for k in range(FRAMES)))
    out = tmp_path / "run.rrd"
    options = ("--run", tmp_path / "run", "--truth", truth, "--drive", drive, "-o", out, "--json")
    told = run("view", place / "map.fold", *options).told()
    assert (told["moments"], told["points"]["lidar"] > 100) == (FRAMES, True)
    chunks = [(chunk.entity_path, chunk.to_record_batch()) for chunk in RrdReader(out).stream()]

    def column(entity: str, ends: str) -> list[object]:
        batches = [batch for path, batch in chunks if path == entity]
        held = [
            batch.column(name).to_pylist() for batch in batches for name in batch.schema.names if name.endswith(ends)
        ]
        return [value for values in held for value in values if value]

    assert [state[0] for state in column("/status", "state")] == ["ok", "ok", "no_match", "ok"]
    here = [point[0][:2] for point in column("/map/estimate/here", "positions") if point]
    assert np.allclose(here, [truth_of(k)[:2] for k in (0, 1, 3)], atol=1e-4)
    assert np.allclose(column("/over_time/three_sigma", "scalars"), 0.06)
    (ground,) = column("/map/lidar", "positions")
    assert len(ground) == told["points"]["lidar"]
    sweeps = [np.array(points) for points in column("/map/sweep", "positions")]
    assert len(sweeps) == FRAMES - 1
    for number, points in zip((0, 1, 3), sweeps, strict=True):  # about the vehicle, on the map's plane
        assert np.abs(np.median(points[:, :2], axis=0) - truth_of(number)[:2]).max() < 5.0
        assert abs(np.median(points[:, 2])) < 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [(("-o", "view.html"), "name it .rrd"), (("--truth", "truth.txt", "-o", "view.rrd"), "give --run")],
)
def test_what_is_no_recording_is_refused(
    run: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "truth.txt").write_text("0 0 0 0 0 0 0 1\n")
    run("view", place / "map.fold", *words).refused(message)


def test_without_rerun_it_says_what_to_install(
    run: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rerun", None)
    run("view", place / "map.fold", "-o", tmp_path / "view.rrd").refused("pip install 'foldmap[view]'")
    assert list(tmp_path.iterdir()) == []
