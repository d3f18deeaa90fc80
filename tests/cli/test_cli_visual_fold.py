"""``foldmap fold`` of a scene, and ``show``, ``verify``, ``unfold`` of what it makes."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_place import Run
from scene_place import room_scene, write_scene
from scipy.spatial import cKDTree

from foldmap.atlas import FoldFile, FoldUpdater
from foldmap.formats.scenes import read_scene
from foldmap.visual.dpq.serialize import StoredLayer
from foldmap.visual.scene.average import track_means
from foldmap.visual.unfold import FoldedVisual


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sparse/ and features.h5; read only."""
    folder = tmp_path_factory.mktemp("scene")
    write_scene(room_scene(), folder)
    return folder


def _folded(run: Run, *arguments: object) -> dict[str, Any]:
    summary: dict[str, Any] = run("fold", *arguments, "--json").told(quiet=True)
    assert summary["file_bytes"] == Path(summary["file"]).stat().st_size == sum(summary["bytes"].values())
    return summary


@pytest.mark.parametrize("budget", [7000, 12_000, 24_000])
def test_the_file_keeps_its_budget_and_uses_it(run: Run, scene: Path, tmp_path: Path, budget: int) -> None:
    out = tmp_path / "scene.fold"
    summary = _folded(run, scene, "-o", out, "--budget", budget, "--step", "0.1")
    assert out.stat().st_size <= budget
    whole = len(read_scene(scene).points_world)
    assert summary["points"] == whole or out.stat().st_size > budget - 2048
    assert summary["observations_joined"] == 1.0
    settings = json.loads((tmp_path / "scene.fold.settings.json").read_text())
    assert settings["budget_bytes"] == budget
    assert settings["chosen"]["visual"]["points"] == summary["points"]


def test_points_lie_where_the_model_has_them(run: Run, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "scene.fold"
    summary = _folded(run, scene, "-o", out, "--points", "300", "--step", "0.05", "--keep-images")
    assert (summary["points"], summary["images"]) == (300, 24)
    model = read_scene(scene)
    with FoldFile.open(out) as file:
        whole = FoldedVisual(file).whole()
    away, which = cKDTree(model.points_world).query(whole.points_world)
    assert len(np.unique(which)) == 300
    # a third of the noise, as seen by a camera of 450 px at 4 units or more
    assert np.sqrt((away**2).mean()) < 3 * summary["error_px"] * 8 / 450
    assert (np.einsum("pd,pd->p", whole.descriptors, track_means(model)[which]) > 0.95).all()


def test_no_budget_is_too_small_without_saying_which_would_do(run: Run, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "scene.fold"
    out.write_bytes(b"old")
    ran = run("fold", scene, "-o", out, "--budget", "1kB", "--step", "0.1")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert out.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["scene.fold"]
    named = re.search(r"give at least ([0-9,]+) bytes", ran.err)
    assert named is not None
    least = int(named[1].replace(",", ""))
    # "budget_bytes" is written into the file, so that the digits of another budget may take some bytes more
    assert _folded(run, scene, "-o", out, "--budget", least, "--step", "0.1")["file_bytes"] <= least


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codec", "zip"], "no codec 'zip'"),
        (["--select", "best"], "'best'"),
        (["--alpha", "0.5"], "--alpha belongs to --select gamma"),
        (["--parts", "8"], "--parts belongs to a product code"),
        (["--codec", "pq", "--parts", "7"], "7 equal parts"),
        (["--points", "0"], "--points 0"),
        (["--rate", "2"], "is a scene, and --rate is for a raster"),
        (["--features", "gone.h5"], "there is no file of features gone.h5"),
        (["--photos", "gone"], "there is no folder gone"),
        (["--codec", "dpqed", "--decoder", "gone.safetensors"], "gone.safetensors cannot be read"),
    ],
)
def test_wrong_options_are_one_line(run: Run, scene: Path, tmp_path: Path, options: list[str], message: str) -> None:
    out = tmp_path / "scene.fold"
    run("fold", scene, "-o", out, *options).refused(message)
    assert not out.exists()


def test_rasters_take_no_options_of_scenes(run: Run, place: Path, scene: Path, tmp_path: Path) -> None:
    run("fold", place / "map.tif", "-o", tmp_path / "a.fold", "--codec", "pq").refused("a raster has no codec 'pq'")
    ran = run("fold", place / "map.tif", "-o", tmp_path / "a.fold", "--select", "gamma")
    assert "--select is for a scene" in ran.err
    assert run("fold", scene, "-o", tmp_path / "a.fold", "--into", tmp_path / "a.fold").status == 2
    assert run("fold", tmp_path, "-o", tmp_path / "a.fold").err.startswith(f"error: {tmp_path} holds no COLMAP model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codec", [["raw"], ["pq", "--parts", "4"], ["dpqed", "--parts", "4", "--epochs", "2"]])
def test_other_codecs_fold_and_decode(run: Run, scene: Path, tmp_path: Path, codec: list[str]) -> None:
    out = tmp_path / "scene.fold"
    summary = _folded(run, scene, "-o", out, "--points", "200", "--codec", *codec)
    assert summary["codec"]["codec"] == codec[0]
    assert summary["bytes"]["codes"] == 200 * {"raw": 128}.get(codec[0], 4)
    assert (summary["bytes"]["codec"] > 0) == (codec[0] != "raw")
    assert run("verify", out).out == f"{out} is sound\n"


def test_a_trained_decoder_is_adapted(run: Run, scene: Path, tmp_path: Path) -> None:
    first, decoder = tmp_path / "first.fold", tmp_path / "decoder.safetensors"
    trained = ("--points", "200", "--codec", "dpqed")
    _folded(run, scene, "-o", first, *trained, "--parts", "4", "--epochs", "1")
    with FoldFile.open(first) as file:
        decoder.write_bytes(file.model("visual", "codec"))
    _folded(run, scene, "-o", tmp_path / "second.fold", *trained, "--decoder", decoder, "--epochs", "40")
    with FoldFile.open(tmp_path / "second.fold") as file:
        start, adapted = (
            StoredLayer.from_bytes(held) for held in (decoder.read_bytes(), file.model("visual", "codec"))
        )
    np.testing.assert_allclose(adapted.tensors["codebooks"], start.tensors["codebooks"], atol=1e-3)
    change = adapted.tensors["second.weight"] - start.tensors["second.weight"]
    sizes = np.linalg.svd(change, compute_uv=False)
    assert sizes[0] > 4 * sizes[3]  # of rank 2, but for rounding to bytes
    write_scene(room_scene(dimension=32), tmp_path / "other", "other")
    run("fold", tmp_path / "other", "-o", tmp_path / "third.fold", *trained, "--decoder", decoder).refused(
        "descriptors of 128 numbers"
    )


def test_features_without_a_standard_basis_bring_their_own(run: Run, tmp_path: Path) -> None:
    write_scene(room_scene(dimension=32), tmp_path, "other")
    summary = _folded(run, tmp_path, "-o", tmp_path / "a.fold", "--points", "300", "--step", "0.1")
    assert summary["codec"]["basis"] == "own"
    assert summary["bytes"]["codec"] > 0
    assert run("verify", tmp_path / "a.fold").status == 0


def test_a_scene_goes_into_a_file_of_lidar_and_is_replaced_there(
    run: Run, place: Path, scene: Path, tmp_path: Path
) -> None:
    out = tmp_path / "map.fold"
    out.write_bytes((place / "map.fold").read_bytes())
    before = out.stat().st_size
    with FoldFile.open(out) as file:
        tiles = {key: file.tile("lidar", *key) for key in file.tiles("lidar")}
    first = _folded(run, scene, "--into", out, "--points", "600", "--step", "0.1", "--keep-images")
    assert first["file_bytes"] > before
    budget = before + 6000
    second = _folded(run, scene, "--into", out, "--budget", budget, "--step", "0.1")
    assert out.stat().st_size <= budget
    assert 50 < second["points"] < first["points"]
    with FoldFile.open(out) as file:
        assert {layer.name: layer.kind for layer in file.layers()} == {"lidar": "lidar", "visual": "visual"}
        assert {key: file.tile("lidar", *key) for key in file.tiles("lidar")} == tiles
        assert file.tiles("visual") == [(0, 0), (0, 3)]  # the images of the first folding are gone
        assert {"provenance", "visual"} <= set(file.metadata())
    assert run("verify", out).status == 0
    held = out.read_bytes()
    run("fold", scene, "--into", out, "--budget", before, "--step", "0.1").refused("other layers")
    assert out.read_bytes() == held
    run("fold", scene, "--into", tmp_path / "none.fold").refused("there is no file")


def test_show_says_where_every_byte_is(run: Run, scene: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "scene.fold", tmp_path / "scene.png"
    _folded(run, scene, "-o", out, "--points", "400", "--step", "0.1", "--keep-images")
    shown = run("show", out, "--json", "--picture", picture).told()
    layer = shown["layers"]["visual"]
    assert sum(layer["bytes"].values()) + shown["overhead_bytes"] == out.stat().st_size == shown["file_bytes"]
    with FoldFile.open(out) as file:
        sizes = {key: len(file.tile("visual", *key) or b"") for key in file.tiles("visual")}
    assert layer["bytes"]["images"] == sizes[0, 1]
    assert layer["bytes"]["geometry"] + layer["bytes"]["codes"] < sizes[0, 0]
    assert (layer["points"], layer["images"], layer["feature"]) == (400, 24, "sift")
    assert 0.3 < layer["noise_px"] < 0.7  # generated with 0.5
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "scene" in shown["visual"]


def test_verify_finds_tiles_that_do_not_decode(run: Run, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "scene.fold"
    _folded(run, scene, "-o", out, "--points", "200", "--step", "0.1", "--keep-images")
    with FoldUpdater(out) as updater:  # sound rows and checksums, senseless contents
        updater.put_tile("visual", 0, 0, b"\1" * 40)
        updater.put_tile("visual", 0, 1, b"no images")
        updater.put_tile("visual", 7, 7, b"what is this")
    ran = run("verify", out)
    assert ran.status == 1
    assert "tile (0, 0) does not decode" in ran.out
    assert "images does not decode" in ran.out
    assert "tile (7, 7) belongs to nothing" in ran.out


def test_unfold_writes_points_that_others_read(run: Run, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "scene.fold"
    _folded(run, scene, "-o", out, "--points", "200", "--step", "0.1", "--keep-images")
    assert run("unfold", out, "-o", tmp_path / "points.ply").status == 0
    assert run("unfold", out, "-o", tmp_path / "points.npz").status == 0
    with FoldFile.open(out) as file:
        points_world = FoldedVisual(file).whole().points_world
    head, body = (tmp_path / "points.ply").read_bytes().split(b"end_header\n", 1)
    assert head.startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex 200\n")
    np.testing.assert_array_equal(np.frombuffer(body, "<f8").reshape(-1, 3), points_world)
    with np.load(tmp_path / "points.npz", allow_pickle=False) as held:
        np.testing.assert_array_equal(held["points_world"], points_world)
        assert held["descriptors"].shape == (200, 128)
        truth = read_scene(scene)
        assert tuple(held["image_names"]) == truth.image_names
        np.testing.assert_allclose(held["camera_SE3_world"], truth.camera_SE3_world, atol=0.03)


def test_the_report_holds_a_curve(run: Run, scene: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "scene.fold", tmp_path / "report"
    run("fold", scene, "-o", out, "--budget", "9kB", "--report", folder, "--json").done()
    curve = json.loads((folder / "curve.json").read_text())
    assert len(curve["candidates"]) >= 6
    assert all(one["file_bytes"] <= 9000 for one in curve["candidates"])
    best = min((one for one in curve["candidates"] if one["file_bytes"] > 4600), key=lambda one: one["loss"])
    # what cannot be told from the best goes to the finer codes
    assert best["loss"] <= curve["chosen"]["loss"] < best["loss"] + 0.1
    assert max(one["answered"] for one in curve["candidates"]) == 1.0
    assert "data:image/svg+xml" in (folder / "index.html").read_text()


def test_the_same_scene_gives_the_same_bytes(run: Run, scene: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        _folded(run, scene, "-o", tmp_path / name, "--points", "200", "--codec", "pq", "--parts", "4", "--seed", "3")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
