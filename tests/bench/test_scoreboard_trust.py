"""Rows of trust on answers that are made up: what counts as wrong, what is met, what is skipped and why."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "visual"))

from point_shell import CAMERA, photo, pose_at, scene

from benchmarks.lines import Line
from benchmarks.scoreboard import measure_row, rows_of
from benchmarks.trust import sigma
from benchmarks.trust.board import TrustBoard
from benchmarks.trust.photos import PhotoMaps, hostile_lines
from foldmap.atlas import FoldWriter
from foldmap.bench.trust.answers import Answer, Expect, answer_of, counted, kind_rows
from foldmap.bench.trust.photos import Taken
from foldmap.geometry import SE2
from foldmap.localize.estimate import Diagnostics, Estimate, Status
from foldmap.localize.tail import Tail
from foldmap.localize.visual.estimate import CameraDiagnostics, CameraEstimate
from foldmap.visual.codes.codecs import raw_for
from foldmap.visual.fold import VisualPlan, fold_visual
from foldmap.visual.scene.average import track_means

ASKED = {"map_name": "m", "layer": "lidar", "kind": "as driven", "query": "1"}


def estimate(offset_m: float, sigma_m: float = 0.1, tail: Tail | None = None, status: Status = Status.OK) -> Estimate:
    """A vehicle that is answered so far east of the origin."""
    return Estimate(status, SE2(offset_m, 0.0, 0.0), np.diag([sigma_m**2] * 3), Diagnostics(), errors=tail)


def test_an_answer_is_wrong_beyond_what_it_says() -> None:
    near = answer_of(estimate(0.2), SE2(0.0, 0.0, 0.0), **ASKED, expect=Expect.BOUND)
    far = answer_of(estimate(0.4), SE2(0.0, 0.0, 0.0), **ASKED, expect=Expect.BOUND)
    assert (near.beyond, far.beyond) == (False, True)  # three sigma of two axes are 3.44 a side
    assert far.position == pytest.approx(0.4)
    assert far.squared == pytest.approx(16.0)
    tail = Tail.of(np.random.default_rng(0).rayleigh(1.5, 500))
    levelled = answer_of(estimate(0.4, tail=tail), SE2(0.0, 0.0, 0.0), **ASKED, expect=Expect.BOUND)
    assert levelled.level > 0.4
    assert not levelled.beyond
    nowhere = answer_of(estimate(0.0), None, **ASKED, expect=Expect.REFUSED)
    assert nowhere.beyond
    refused = Estimate.without_pose(Status.NO_MATCH, Diagnostics(reason="nothing"))
    assert not answer_of(refused, None, **ASKED, expect=Expect.REFUSED).beyond
    turned = answer_of(estimate(0.0), SE2(0.0, 0.0, 0.5), **ASKED, expect=Expect.BOUND)
    assert turned.beyond
    assert turned.rotation_rad == pytest.approx(0.5)


def test_errors_of_photos_are_those_of_scipy() -> None:
    true, pose = np.eye(4), np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0.0, 0.02, 0.0]).as_matrix()
    pose[:3, 3] = -pose[:3, :3] @ [0.3, 0.0, 0.0]
    camera = CameraEstimate(Status.OK, pose, np.diag([0.01] * 3 + [1e-4] * 3), CameraDiagnostics())
    asked = {"map_name": "m", "layer": "visual", "kind": "as taken", "query": "1"}
    found = answer_of(camera, true, **asked, expect=Expect.RIGHT)
    assert found.position == pytest.approx(0.3)
    assert found.squared == pytest.approx(9.0)
    assert found.rotation_rad == pytest.approx(0.02)
    assert found.squared_turn == pytest.approx(4.0)


def made_up(scale: float, count: int = 400) -> list[Answer]:
    """Answers whose errors are so many times what they say, of a calibrated map."""
    rng = np.random.default_rng(2)
    tail = Tail.of(np.linalg.norm(rng.normal(size=(1000, 2)), axis=1))
    found = []
    for off in rng.normal(0, 0.1 * scale, (count, 3)):
        pose = Estimate(Status.OK, SE2(*map(float, off)), np.eye(3) * 0.01, Diagnostics(), errors=tail)
        found.append(answer_of(pose, SE2(0.0, 0.0, 0.0), **ASKED, expect=Expect.RIGHT))
    return found


def lines_of(row: object, board: TrustBoard) -> dict[str, Line]:
    return {line.name: line for line in measure_row(row, board)}  # type: ignore[arg-type]


@pytest.mark.parametrize(("scale", "met"), [(1.0, True), (3.0, False)])
def test_sigma_and_levels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scale: float, met: bool) -> None:
    answers = made_up(scale)
    monkeypatch.setattr(sigma, "right_of", lambda board: {"sweeps": lambda: sigma.answers_of([lambda: answers])})
    board = TrustBoard(tmp_path, quiet=True)
    lines = lines_of(sigma.SigmaRow(), board)
    assert [lines[f"sweeps: within {k} sigma"].met for k in (1, 2, 3)] == [met] * 3
    assert lines["sweeps: answers"].met
    level = lines_of(sigma.LevelRow(), board)
    assert level["sweeps: beyond the level, of 400"].met is met
    uncalibrated = [replace(one, level=float("nan")) for one in answers]
    monkeypatch.setattr(sigma, "right_of", lambda board: {"sweeps": lambda: sigma.answers_of([lambda: uncalibrated])})
    told = lines_of(sigma.LevelRow(), board)["sweeps: beyond the level"]
    assert told.met is False
    assert told.note == "not calibrated"
    board.close()


def test_answers_are_held_against_the_whole_map_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording's pose that is off by 0.2 is off beside the folded map, and not beside the map as it was built."""
    model, board, asked = scene(3, points=800, images=12), TrustBoard(tmp_path, quiet=True), list[Taken]()
    means, features = track_means(model), dict[object, object]()
    for seed in range(3):
        pose = pose_at(np.array([0.1 * seed, 0.0, 0.0]), 0.7 * seed)
        features["shell", "", str(seed), 0, False] = photo(model.points_world, means, pose, seed)[0].features
        given = pose_at(np.array([0.1 * seed + 0.2, 0.0, 0.0]), 0.7 * seed)
        asked.append(Taken(str(seed), lambda: np.zeros((480, 640), np.uint8), CAMERA, given))
    kept = {("asked", "s"): asked, ("features", "s"): features, ("scene", "s", "shell"): tmp_path}
    for key, value in kept.items():
        board.shared(key, lambda value=value: value)  # type: ignore[misc]
    monkeypatch.setattr("benchmarks.trust.board.read_scene", lambda folder: model)
    with FoldWriter(tmp_path / "map.fold") as writer:
        fold_visual(writer, model, VisualPlan(np.arange(len(means)), raw_for(means)), means=means)
    monkeypatch.setattr(board, "file", lambda *_: tmp_path / "map.fold")
    monkeypatch.setattr(board, "photos_of", lambda scene: tmp_path)
    beside = PhotoMaps().beside_whole_map(board, "s", "shell", 60)
    right = PhotoMaps().right(board, "s", "shell", 60)
    assert [one.query for one in beside] == [one.query for one in right] == ["0", "1", "2"]
    assert all(one.position < 0.02 for one in beside)
    assert all(one.position == pytest.approx(0.2, abs=0.02) for one in right)
    board.close()


def test_levels_over_errors_are_of_each_map_in_its_own_unit() -> None:
    """Two maps of the same answers, one in millimetres: together they have the ratio of each."""
    one = [replace(answer, map="metres") for answer in made_up(1.0, 100)]
    other = [replace(a, map="millimetres", position=1e3 * a.position, level=1e3 * a.level) for a in one]
    together, each = sigma.ratios([*one, *other])
    alone = np.median([a.level for a in one]) / np.median([a.position for a in one])
    assert together == pytest.approx(alone)
    assert each == pytest.approx({"metres": alone, "millimetres": alone})


def test_hostile_answers_are_counted() -> None:
    wrong = answer_of(estimate(0.0), None, **ASKED, expect=Expect.REFUSED)
    doubted = answer_of(estimate(0.0, status=Status.DEGRADED), None, **ASKED, expect=Expect.REFUSED)
    right = answer_of(estimate(0.0), SE2(0.0, 0.0, 0.0), **ASKED, expect=Expect.RIGHT)
    lines = list(hostile_lines(1, "all", [wrong, doubted, right], least=2))
    assert [line.measured for line in lines] == [1, 50.0, 2]
    assert [line.met for line in lines] == [False, False, True]
    assert counted([wrong, doubted, right]) == {
        "asked": 3, "ok_right": 1, "ok_beyond": 1, "degraded": 1, "degraded_beyond": 1, "refused": 0,
    }  # fmt: skip
    (row,) = kind_rows([right, right])
    assert (row["asked"], row["ok_right"]) == (2, 2)


def test_rows_without_recordings_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOLDMAP_BEFORE", raising=False)
    board = TrustBoard(tmp_path, quiet=True)
    town = {"sweeps", "right-sweeps", "sigma", "level"}  # measure a generated town where nothing is recorded
    for row in rows_of("trust"):
        if row.name not in town:
            (line,) = measure_row(row, board)
            assert line.verdict.startswith("skipped"), line
    board.close()
