"""Calibrating a map by a drive: what it then says of errors, against errors that were drawn."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drive_answers import COUNT, TOO_SMALL, answered_drive
from typer.testing import CliRunner

from foldmap.api.judging.answers import read_answers, true_positions
from foldmap.api.judging.calibrating import calibrate_map
from foldmap.api.results import LocalizedObservation, write_estimates
from foldmap.atlas import FoldFile, FoldWriter
from foldmap.cli.app import app
from foldmap.errors import ConfigError, LayerError, PoseInputError
from foldmap.formats.listing import ListedImage
from foldmap.geometry import SE2, SE3
from foldmap.lidar.defaults import default_marks
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.localize.estimate import Status
from foldmap.localize.evidence import MapCalibration
from foldmap.localize.tail import Tail
from foldmap.localize.visual.estimate import CameraDiagnostics, CameraEstimate
from tests.lidar.painted_ground import painted_map


def _map(path: Path, kind: str, calibration: MapCalibration | None = None) -> Path:
    with FoldWriter(path) as writer:
        stored = {} if calibration is None else {"calibration": calibration.to_dict()}
        writer.add_layer(kind, kind, {"codec": "x", **stored})
        writer.put_tile(kind, 0, 0, b"tile")
    return path


def _stored(path: Path, kind: str) -> MapCalibration | None:
    with FoldFile.open(path) as file:
        return MapCalibration.read(file.layer(kind).parameters, kind)


def test_a_map_learns_its_sigma(tmp_path: Path) -> None:
    estimates, truth = answered_drive(tmp_path / "drive")
    told = calibrate_map(_map(tmp_path / "a.fold", "lidar"), estimates, truth, tmp_path / "b.fold")
    made = _stored(tmp_path / "b.fold", "lidar")
    assert made is not None
    assert made.errors is not None
    assert made.answers == told["answers"] == COUNT - len(range(3, COUNT, 11))
    assert made.sigma_scale == pytest.approx(TOO_SMALL, rel=0.2)
    assert 2.5 < made.errors.exceeded_at(1e-3) < 6.0  # a Gaussian of two axes: 3.7
    one, two, three = told["other_half_within_1_2_3_sigma_percent"]
    assert 55 <= one <= 80
    assert two >= 90
    assert three >= 97
    assert told["other_half_beyond_level"] == 0
    assert told["median_level"] > told["median_error"]
    with FoldFile.open(tmp_path / "b.fold") as file:
        assert file.tile("lidar", 0, 0) == b"tile"
        assert file.layer("lidar").parameters["codec"] == "x"


def test_what_was_answered_by_a_calibrated_map_is_scaled_on(tmp_path: Path) -> None:
    estimates, truth = answered_drive(tmp_path / "drive")
    before = MapCalibration({"score": Tail(0.1, 0.02, 0.1, 50)}, 5.0, None, 0, 50)
    calibrate_map(_map(tmp_path / "a.fold", "lidar", before), estimates, truth, tmp_path / "b.fold")
    made = _stored(tmp_path / "b.fold", "lidar")
    assert made is not None
    assert made.sigma_scale == pytest.approx(5.0 * TOO_SMALL, rel=0.2)
    assert made.chance == before.chance


def test_a_drive_from_elsewhere_tells_what_chance_reaches(tmp_path: Path) -> None:
    estimates, truth = answered_drive(tmp_path / "drive")
    other, _ = answered_drive(tmp_path / "other", score=0.3)
    before = MapCalibration({"score": Tail(0.1, 0.02, 0.1, 50)})
    source = _map(tmp_path / "a.fold", "lidar", before)
    calibrate_map(source, estimates, truth, tmp_path / "b.fold", elsewhere=other)
    made = _stored(tmp_path / "b.fold", "lidar")
    assert made is not None
    assert made.chance["score"].level == pytest.approx(0.3)
    assert made.negatives == COUNT
    with pytest.raises(ConfigError, match="whose chance is calibrated"):
        calibrate_map(_map(tmp_path / "c.fold", "lidar"), estimates, truth, tmp_path / "d.fold", elsewhere=other)
    assert not (tmp_path / "d.fold").exists()


def test_photos_are_held_against_their_centres(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    answers, truth = [], []
    for number in range(60):
        true = SE3.from_se2(SE2(number, 2.0, 0.3 * number)).matrix
        pose = true.copy()
        pose[:3, 3] -= pose[:3, :3] @ (0.1 * rng.normal(size=3))  # moves the centre
        estimate = CameraEstimate(Status.OK, pose, np.diag([0.05**2] * 3 + [1e-6] * 3), CameraDiagnostics())
        name = f"{number}.jpg"
        answers.append(LocalizedObservation(name, f"{number}", estimate, photos=(ListedImage(name),)))
        half = 0.5 * 0.3 * number
        centre = " ".join(f"{value:.9f}" for value in true[:3, 3])
        truth.append(f"{name} {math.cos(half):.9f} 0 0 {math.sin(half):.9f} {centre}")
    write_estimates(tmp_path / "poses.txt", answers)
    (tmp_path / "truth.txt").write_text("\n".join(truth) + "\n")
    source = _map(tmp_path / "a.fold", "visual")
    told = calibrate_map(source, tmp_path / "poses.txt", tmp_path / "truth.txt", tmp_path / "b.fold")
    assert told["sigma_scale"] == pytest.approx(2.0, rel=0.25)
    lidar = _map(tmp_path / "lidar.fold", "lidar")
    with pytest.raises(LayerError, match="visual"):
        calibrate_map(lidar, tmp_path / "poses.txt", tmp_path / "truth.txt", tmp_path / "c.fold")
    assert not (tmp_path / "c.fold").exists()


def test_too_few_answers_and_broken_lines_are_refused(tmp_path: Path) -> None:
    source = _map(tmp_path / "a.fold", "lidar")
    estimates, truth = answered_drive(tmp_path / "drive", 15)
    with pytest.raises(PoseInputError, match="whose truth is known"):
        calibrate_map(source, estimates, truth, tmp_path / "b.fold")
    lines = Path(f"{estimates}.jsonl")
    row = json.loads(lines.read_text().splitlines()[0])
    for broken in ({"covariance": [[1.0]]}, {"status": 3}, {"diagnostics": None}):
        lines.write_text(json.dumps(row | broken) + "\n")
        with pytest.raises(PoseInputError, match="line 1"):
            calibrate_map(source, estimates, truth, tmp_path / "b.fold")
    assert not (tmp_path / "b.fold").exists()


def test_a_limit_of_times_is_refused_where_the_truth_has_none(tmp_path: Path) -> None:
    estimates, _ = answered_drive(tmp_path / "drive")
    rows = tmp_path / "kitti.txt"
    rows.write_text("".join(f"1 0 0 {x} 0 1 0 0 0 0 1 0\n" for x in range(COUNT)))
    with pytest.raises(ConfigError, match="has no times"):
        calibrate_map(_map(tmp_path / "a.fold", "lidar"), estimates, rows, tmp_path / "b.fold", limit_s=0.1)


def test_the_truth_of_another_frame_is_no_error(tmp_path: Path) -> None:
    estimates, truth = answered_drive(tmp_path / "drive")
    head, *rows = truth.read_text().splitlines()
    moved = [" ".join([t, x, str(float(y) + 500.0), *rest]) for t, x, y, *rest in map(str.split, rows)]
    truth.write_text("\n".join([head, *moved]) + "\n")
    with pytest.raises(PoseInputError, match=r"half of the answers .* sigma from"):
        calibrate_map(_map(tmp_path / "a.fold", "lidar"), estimates, truth, tmp_path / "b.fold")
    assert not (tmp_path / "b.fold").exists()


def test_truth_that_tells_of_few_answers_is_of_another_drive(tmp_path: Path) -> None:
    """Estimates that count sweeps, beside truth in fifths of a second: every fifth pose would be another sweep's."""
    estimates, truth = answered_drive(tmp_path / "drive")
    answers = read_answers(estimates)
    head, *rows = truth.read_text().splitlines()
    scaled = [" ".join([f"{float(t) * 0.2:.6f}", *rest]) for t, *rest in map(str.split, rows)]
    truth.write_text("\n".join([head, *scaled]) + "\n")
    with pytest.raises(PoseInputError, match="at the time of"):
        true_positions(answers, truth)
    turned = [" ".join([t, x, y, z, "0.5", "0.5", "0.5", "0.5"]) for t, x, y, z, *_ in map(str.split, rows)]
    truth.write_text("\n".join([head, *turned]) + "\n")
    with pytest.raises(PoseInputError, match="along its own z axis"):
        true_positions(answers, truth)


def test_the_verb_writes_a_map_and_never_over_its_input(tmp_path: Path) -> None:
    estimates, truth = answered_drive(tmp_path / "drive")
    source = _map(tmp_path / "a.fold", "lidar")
    words = ["calibrate", str(source), str(estimates), str(truth), "-o"]
    found = CliRunner().invoke(app, [*words, str(tmp_path / "b.fold"), "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)["answers"] == COUNT - len(range(3, COUNT, 11))
    before = source.read_bytes()
    assert CliRunner().invoke(app, [*words, str(source)]).exit_code == 2
    assert source.read_bytes() == before


def test_a_map_that_has_its_model_s_calibration_is_scaled_on_from_there(tmp_path: Path) -> None:
    estimates, truth = answered_drive(tmp_path / "drive")
    worth = MapCalibration({"distinction": Tail(1.0, 0.5, 0.1, 90)}, 2.0, None, 0, 90)
    model = replace(default_marks(0.05), name="own", calibration=worth.to_dict())
    with FoldWriter(tmp_path / "a.fold") as writer:
        fold_lidar(writer, painted_map(0), LidarPlan(model))
    calibrate_map(tmp_path / "a.fold", estimates, truth, tmp_path / "b.fold")
    made = _stored(tmp_path / "b.fold", "lidar")
    assert made is not None
    assert made.sigma_scale == pytest.approx(2.0 * TOO_SMALL, rel=0.2)
    assert made.chance == worth.chance
