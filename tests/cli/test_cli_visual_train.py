"""``foldmap train visual``: layers of one's own, that `fold` takes as they are or adapts."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from cli_place import Run
from scene_place import room_scene, write_scene

from foldmap.api.training.visual import scene_descriptors
from foldmap.atlas import FoldFile
from foldmap.training.places import places_of, town_place
from foldmap.visual.dpq.serialize import StoredLayer, read_layer


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes with SIFT of 128 numbers, and one with descriptors of 32."""
    folder = tmp_path_factory.mktemp("rooms")
    write_scene(room_scene(0), folder / "a")
    write_scene(room_scene(1), folder / "b")
    write_scene(room_scene(dimension=32), folder / "other", "other")
    return folder


def test_a_layer_of_two_scenes_folds_either(run: Run, rooms: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", "visual", rooms / "a", rooms / "b", "-o", out, "--parts", "2", "--epochs", "2", "--json"]
    ran = run(*arguments).done()
    summary, payload = json.loads(ran.out), (out / "model.safetensors").read_bytes()
    assert (summary["parts"], summary["epochs"], summary["model_bytes"]) == (2, 2, len(payload))
    assert summary["points"] > 1500
    rows = list(csv.DictReader((out / "curve.csv").read_text().splitlines()))
    assert [float(row["epoch"]) for row in rows] == [1, 2]
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "train.settings.json").read_text())["codec"] == "dpqed+"
    assert read_layer(out / "model.safetensors").shape.additive
    for name in ("a", "b"):
        folded = tmp_path / f"{name}.fold"
        ran = run(
            "fold", rooms / name, "-o", folded, "--points", "200", "--model", out / "model.safetensors", "--json"
        ).done()
        assert json.loads(ran.out)["codec"] == {"codec": "dpqed", "parts": 2}
        with FoldFile.open(folded) as file:
            assert file.model("visual", "codec") == payload
    assert run(*arguments).status == 0  # a finished run is finished
    assert (out / "model.safetensors").read_bytes() == payload
    run(*arguments, "--seed", "1").refused("other settings")
    assert run(*arguments, "--seed", "1", "--anew").status == 0
    assert (out / "model.safetensors").read_bytes() != payload
    run("fold", rooms / "other", "-o", tmp_path / "x.fold", "--model", out / "model.safetensors").refused(
        "descriptors of 128 numbers"
    )


def test_the_papers_layer_begins_with_another_and_is_adapted(run: Run, rooms: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for out, more in ((first, []), (second, ["--start", first / "model.safetensors", "--precision", "half"])):
        run("train", "visual", rooms / "a", "-o", out, "--codec", "dpqed", "--smoke", *more).done()
    one, other = (read_layer(folder / "model.safetensors").tensors["codebooks"] for folder in (first, second))
    assert 0 < np.abs(one - other).max() < 0.2
    run(
        "fold", rooms / "b", "-o", tmp_path / "b.fold", "--points", "200", "--codec", "dpqed", "--epochs", "1",
        "--decoder", second / "model.safetensors",
    ).done()  # fmt: skip


def test_a_layer_learns_from_generated_towns_and_says_so(run: Run, rooms: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycolmap", reason="the town's photos are described by COLMAP's SIFT")
    out, folded = tmp_path / "town", tmp_path / "a.fold"
    summary = run(
        "train", "visual", "--town", "2", "-o", out, "--codec", "dpqed", "--learn-on", "image-descriptors",
        "--smoke", "--json",
    ).told()  # fmt: skip
    assert summary["places"] == ["town 300", "town 301"]
    assert summary["learned_on"] == "image-descriptors"
    model = out / "model.safetensors"
    assert places_of(model.read_bytes()) == [town_place(300), town_place(301)]
    words = ["fold", rooms / "a", "-o", folded, "--points", "200", "--codec", "dpqed", "--epochs", "1"]
    run(*words, "--decoder", model).done()
    with FoldFile.open(folded) as file:
        adapted, base = StoredLayer.from_bytes(file.model("visual", "codec")), read_layer(model)
    np.testing.assert_allclose(adapted.tensors["codebooks"], base.tensors["codebooks"], atol=2e-3)  # int8 of both
    assert np.abs(adapted.tensors["first.weight"] - base.tensors["first.weight"]).max() > 1e-4


def test_scenes_are_joined_point_by_point(rooms: Path) -> None:
    a, b = (scene_descriptors([rooms / name]).descriptors for name in ("a", "b"))
    learned = scene_descriptors([rooms / "a", rooms / "b"])
    both = learned.descriptors
    assert [(place.kind, place.name) for place in learned.places] == [("scene", "a"), ("scene", "b")]
    points = len(a.mean_PD)
    np.testing.assert_array_equal(both.mean_PD, np.concatenate([a.mean_PD, b.mean_PD]))
    own = both.seen_OD[both.first[points + 5] : both.first[points + 6]]
    np.testing.assert_array_equal(own, b.seen_OD[b.first[5] : b.first[6]])
    few = both.take(300)
    assert len(few.mean_PD) == 300
    np.testing.assert_array_equal(few.seen_OD[few.first[-2] :], both.seen_OD[both.first[-2] :])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["A", "--codec", "pq"], "'pq' are not trained"),
        (["A", "--parts", "0"], "--parts 0"),
        (["A", "--parts", "7", "--codec", "dpqed"], "7 equal parts"),
        (["A", "--precision", "int2"], "not stored in 'int2'"),
        (["A", "--start", "gone"], "gone cannot be read"),
        (["A", "--start", "gone", "--parts", "4"], "leave --parts out"),
        (["A", "--features", "f.h5", "--features", "g.h5"], "2 --features for 1 scenes"),
        (["A", "OTHER"], "descriptors of 32 numbers"),
        (["gone"], "gone"),
        ([], "give SCENES, or --town COUNT"),
        (["A", "--town", "2"], "give SCENES, or --town COUNT"),
        (["--town", "0"], "give 1 or more"),
        (["A", "--learn-on", "photos"], "nothing is learned on 'photos'"),
    ],
)
def test_what_cannot_be_trained(run: Run, rooms: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    filled = [{"A": rooms / "a", "OTHER": rooms / "other"}.get(argument, argument) for argument in arguments]
    run("train", "visual", *filled, "-o", tmp_path / "run", "--epochs", "1").refused(message)
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--codec", "pq"], "layer of foldmap train visual"),
        (["--parts", "4", "--codec", "dpqed+"], "taken as it is"),
        ([], "model.safetensors cannot be read"),
    ],
)
def test_what_a_model_does_not_go_with(run: Run, rooms: Path, tmp_path: Path, more: list[str], message: str) -> None:
    run("fold", rooms / "a", "-o", tmp_path / "a.fold", "--model", tmp_path / "model.safetensors", *more).refused(
        message
    )
