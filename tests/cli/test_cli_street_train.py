"""``foldmap train street``: small runs of every kind write models that the other verbs take; the rest is refused."""

import json
from pathlib import Path

import pytest
from cli_place import Run
from street_place import lines_of, poses_along, write_pairs, write_ring_frames, write_town

from foldmap.street.field.model import FieldEmbedding
from foldmap.street.model import read_street_model

SHORT = ["--preset", "tiny", "--steps", "2", "--batch", "2", "--random-start", "--json"]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("town")
    street = write_town(folder)
    write_pairs(folder / "pairs", street, poses_along(street.graph, 20.0)[:6])
    write_ring_frames(folder / "ring")
    return folder


def test_an_ortho_image_with_its_map(run: Run, town: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", "street", town / "ortho.tif", "--map", town / "town.geojson", "-o", out, *SHORT]
    summary = run(*arguments).told()
    assert (summary["steps"], summary["learned_from"], summary["semi_synthetic"]) == (2, ["town"], False)
    payload = (out / "model.safetensors").read_bytes()
    assert summary["model_bytes"] == len(payload)
    assert [line["step"] for line in lines_of(out / "log.jsonl")] == [1, 2]
    assert json.loads((out / "train.settings.json").read_text())["preset"] == "tiny"
    run(*arguments).done()  # a finished run is finished
    assert (out / "model.safetensors").read_bytes() == payload
    other = run(*arguments, "--seed", "1")
    assert (other.status, other.err.count("\n")) == (2, 1)
    run(
        "fold",
        town / "town.geojson",
        "-o",
        tmp_path / "m.fold",
        "--model",
        out / "model.safetensors",
        "--spacing",
        "90",
    ).done()


def test_a_model_with_a_map_begins_with_another(run: Run, town: Path, tmp_path: Path) -> None:
    out = tmp_path / "update"
    run(
        "train", "street", town / "pairs", "-o", out, "--update", "--start", town / "model.safetensors", *SHORT
    ).done()  # fmt: skip
    model = read_street_model(out / "model.safetensors")
    assert isinstance(model, FieldEmbedding)
    assert model.network.shape.with_map
    assert model.network.shape.width == 8  # that of the model it began with


def test_one_camera_over_flat_ground(run: Run, town: Path, tmp_path: Path) -> None:
    name = json.loads((town / "ring" / "ring.json").read_text())["cameras"][0]["name"]
    ran = run(
        "train", "street", town / "ortho.tif", "--map", town / "town.geojson", "-o", tmp_path / "run", "--ring",
        town / "ring" / "ring.json", "--camera", name, *SHORT,
    ).done()  # fmt: skip
    assert json.loads(ran.out)["semi_synthetic"]


def test_the_papers_networks(run: Run, town: Path, tmp_path: Path) -> None:
    ran = run("train", "street", town / "pairs", "-o", tmp_path / "run", "--model", "paper", *SHORT).done()
    assert json.loads(ran.out)["pairs"] == 6
    assert read_street_model(tmp_path / "run" / "model.safetensors").dim == 32
    run(
        "train",
        "street",
        town / "pairs",
        "-o",
        tmp_path / "x",
        "--start",
        tmp_path / "run" / "model.safetensors",
        *SHORT,
    ).refused("begin with a field model")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what is learned from"),
        (["PAIRS", "--town"], "say what is learned from"),
        (["gone"], "there is no file or folder gone"),
        (["EMPTY"], "neither tiles"),
        (["ORTHO"], "comes without a street map"),
        (["PAIRS", "--hold-out", "moon"], "no map 'moon' to hold out"),
        (["PAIRS", "--hold-out", "town"], "every map is held out"),
        (["PAIRS", "--preset", "huge"], "no street preset 'huge'"),
        (["PAIRS", "--model", "dream"], "no kind of model 'dream'"),
        (["PAIRS", "--model", "paper", "--update"], "compares with no map"),
        (["PAIRS", "--camera", "front"], "cameras belong to a ring"),
        (["PAIRS", "--ring", "RING"], "pairs bring images of their own"),
        (["ORTHO", "--ring", "RING", "--camera", "moon"], "no camera 'moon'"),
        (["PAIRS", "--batch", "64"], "less than a batch"),
        (["PAIRS", "--start", "gone.safetensors"], "gone.safetensors cannot be read"),
    ],
)
def test_what_cannot_be_trained(run: Run, town: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    paths = {"PAIRS": town / "pairs", "EMPTY": tmp_path / "empty", "ORTHO": town / "ortho.tif", "RING": town / "ring"}
    filled = [paths.get(argument, argument) for argument in arguments]
    run("train", "street", *filled, "-o", tmp_path / "run", "--random-start", "--steps", "2").refused(message)
    assert not (tmp_path / "run" / "model.safetensors").exists()
