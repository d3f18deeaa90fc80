"""``foldmap train lidar``: a tiny run end to end, resumed, and what it refuses."""

import csv
import json
from pathlib import Path

import pytest
from cli_place import Run

from foldmap.api.training.lidar_pairs import Alternating, LidarPairs, mixed_pairs
from foldmap.errors import ConfigError
from foldmap.lidar.bundle import Bundle


def test_a_run_makes_a_model_that_folds(run: Run, place: Path, tmp_path: Path) -> None:
    arguments = ["train", "lidar", "-o", tmp_path, "--map", place / "map.tif", "--smoke", "--device", "cpu", "--json"]
    ran = run(*arguments)
    summary = ran.told()
    payload = (tmp_path / "model.safetensors").read_bytes()
    bundle = Bundle.from_bytes(payload)
    assert "tiny-8x where none is named" in ran.err
    assert (bundle.resolution_m, bundle.model.preset.name, bundle.can_fold) == (0.2, "tiny-8x", True)
    assert summary["rate_bit_m2"] == bundle.rate_bit_m2 > 0
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert [int(float(row["step"])) for row in rows] == [8, 16, 24]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    settings = json.loads((tmp_path / "train.settings.json").read_text())
    assert (settings["preset"], settings["seed"], settings["source"]) == ("tiny-8x", 0, str(place / "map.tif"))
    run("fold", place / "map.tif", "-o", tmp_path / "map.fold", "--model", tmp_path / "model.safetensors").done()
    # A finished run resumes to the same model; another seed in the same folder is refused.
    assert run(*arguments).status == 0
    assert (tmp_path / "model.safetensors").read_bytes() == payload
    ran = run(*arguments, "--seed", "1")
    assert (ran.status, ran.err.count("\n")) == (2, 2)  # what --smoke trains, and what is wrong
    assert "other settings" in ran.err
    assert run(*arguments, "--seed", "1", "--anew").status == 0
    assert (tmp_path / "model.safetensors").read_bytes() != payload


def test_the_town_in_pixels_of_a_size(run: Run, tmp_path: Path) -> None:
    """Pairs of the asked size are drawn once; a model of another codec begins with what fits of the first."""
    arguments = ["train", "lidar", "--smoke", "--device", "cpu", "--pairs", tmp_path / "pairs", "--pair-count", "3"]
    ran = run(*arguments, "-o", tmp_path / "first", "--resolution", "0.2")
    assert ran.status == 0, ran.err
    model = tmp_path / "first" / "model.safetensors"
    assert Bundle.from_bytes(model.read_bytes()).resolution_m == 0.2
    other = run(*arguments, "-o", tmp_path / "other", "--resolution", "0.1")
    assert (other.status, other.out) == (2, "")
    assert "have 0.2 m pixels, 0.1 m are asked for" in other.err
    both = run(*arguments, "-o", tmp_path / "other", "--resolution", "0.1", "--coarse")
    assert (both.status, "two pixel sizes" in both.err) == (2, True)
    ran = run(*arguments, "-o", tmp_path / "second", "--start", model, "--preset", "small-8x")
    assert (ran.status, "cannot begin a model of small-8x" in ran.err) == (2, True)


def test_smoke_keeps_the_preset_that_is_named(run: Run, place: Path, tmp_path: Path) -> None:
    arguments = ["train", "lidar", "-o", tmp_path, "--map", place / "map.tif", "--smoke", "--device", "cpu"]
    ran = run(*arguments, "--preset", "small-8x", "--paper-objective", "--code-weight", "0.02").done()
    assert "tiny-8x" not in ran.err
    assert Bundle.from_bytes((tmp_path / "model.safetensors").read_bytes()).model.preset.name == "small-8x"
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert [float(row["code_weight"]) for row in rows] == pytest.approx([0.02] * len(rows))


def test_a_drive_and_the_town_alternate() -> None:
    real, town = list("ab"), list("12345")
    mixed = Alternating(real, town)
    assert "".join(mixed[i] for i in range(len(mixed))) == "a1b2a3b4a5"

    def pairs(resolution_m: float) -> LidarPairs:
        return LidarPairs([], [], resolution_m, 64, 112, "")

    with pytest.raises(ConfigError, match="drawn at"):
        mixed_pairs(pairs(0.05), pairs(0.33))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "no preset 'huge'"),
        (["--mode", "dream"], "no training mode"),
        (["--rate", "0"], "a rate of 0"),
        (["--device", "abacus"], "no device"),
        (["--town", "--map", "map.tif"], "several sources"),
        (["--resolution", "0.3"], "in pixels of 0.3 m"),
        (["--sweeps", "sweeps"], "belong together"),
        (["--map", "missing.tif"], "cannot be opened"),
        (["--sweeps", "missing", "--poses", "missing"], "no sweeps at"),
    ],
)
def test_bad_input_is_one_line(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    run("train", "lidar", "-o", tmp_path / "out", *arguments).refused(message)
