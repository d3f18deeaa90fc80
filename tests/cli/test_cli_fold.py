"""``foldmap fold``, ``show``, ``verify`` and ``unfold``."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cli_place import Run, ground, make_bundle, write_tif

from foldmap.atlas import FoldFile
from foldmap.cli import fold
from foldmap.errors import WriteError
from foldmap.formats.raster.geotiff import open_raster
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import encode_block
from foldmap.lidar.unfold import FoldedLidar


def test_fold_counts_what_is_on_disk(run: Run, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.fold"
    summary = run("fold", place / "map.tif", "-o", out, "--model", place / "model.safetensors", "--json").told(
        quiet=True
    )
    assert summary["file_bytes"] == out.stat().st_size
    assert summary["observed_m2"] == pytest.approx((ground() >= 0).sum() * 0.2**2)
    assert summary["bit_per_m2"] == pytest.approx(8 * summary["payload_bytes"] / summary["observed_m2"])
    assert summary["bpp_of_raster"] == pytest.approx(8 * summary["payload_bytes"] / 400**2)
    assert json.loads((tmp_path / "map.fold.settings.json").read_text())["chosen"]["lidar"]["model"] == "untrained"
    assert summary["tiles"] == 1


def test_fold_without_default_weights_says_so(
    run: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldmap.lidar.defaults.weights_folder", lambda: tmp_path)
    run("fold", place / "map.tif", "-o", tmp_path / "map.fold").refused("no default models are installed")
    assert not (tmp_path / "map.fold").exists()


def test_defaults_are_chosen_by_resolution_and_rate(
    run: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    for name, rate, resolution_m in (("rich", 9.0, 0.2), ("usual", 3.2, 0.2), ("lean", 0.4, 0.2), ("other", 3.0, 0.05)):
        bundle = make_bundle(name, resolution_m=resolution_m)
        bundle.rate_bit_m2 = rate
        (weights / f"{name}.safetensors").write_bytes(bundle.to_bytes())
    monkeypatch.setattr("foldmap.lidar.defaults.weights_folder", lambda: weights)
    monkeypatch.setattr("foldmap.api.folding.rasters._PLACES", 3)
    out = tmp_path / "map.fold"

    def chosen(*more: object) -> str:
        ran = run("fold", place / "map.tif", "-o", out, "--json", *more).done()
        return str(json.loads(ran.out)["model"])

    assert chosen() == "usual"
    assert chosen("--budget", "10MB") == "rich"
    run("fold", place / "map.tif", "-o", out, "--rate", "0.1").refused("leanest spends about 0.4")


def test_budget_names_the_smallest_size_and_leaves_the_old_file(run: Run, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.fold"
    out.write_bytes(b"old")
    ran = run("fold", place / "map.tif", "-o", out, "--model", place / "model.safetensors", "--budget", "2kB")
    assert (ran.status, ran.out) == (2, "")
    named = int(re.search(r"smallest size reached is ([0-9,]+) bytes", ran.err)[1].replace(",", ""))  # type: ignore[index]
    assert named == pytest.approx((place / "map.fold").stat().st_size, rel=0.05)
    assert out.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.fold"]


def test_a_map_appears_with_its_settings_or_not_at_all(
    run: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise WriteError("the disk is full", "make room")

    monkeypatch.setattr(fold, "save_settings", full)
    out = tmp_path / "map.fold"
    out.write_bytes(b"old")
    ran = run("fold", place / "map.tif", "-o", out, "--model", place / "model.safetensors")
    assert (ran.status, ran.err) == (2, "error: the disk is full (make room)\n")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("map.fold", b"old")]


def test_update_folds_what_changed_and_nothing_else(run: Run, tmp_path: Path) -> None:
    values = np.tile(np.abs(ground()), (2, 4))[:600, :1400]
    values[:, 1100:] = -1.0
    write_tif(tmp_path / "old.tif", values)
    model = tmp_path / "model.safetensors"
    model.write_bytes(make_bundle().to_bytes())
    out = tmp_path / "map.fold"
    assert run("fold", tmp_path / "old.tif", "-o", out, "--model", model, "--tile-blocks", 1).status == 0
    changed = values.copy()
    changed[100:200, 1000:1090] = 1.0 - changed[100:200, 1000:1090]
    write_tif(tmp_path / "new.tif", changed)
    with FoldFile.open(out) as file:
        before = {key: file.tile("lidar", *key) for key in file.tiles("lidar")}
    ran = run("fold", "--update", out, tmp_path / "new.tif", "--model", model, "--json").done()
    with FoldFile.open(out) as file, open_raster(tmp_path / "new.tif") as source:
        after = {key: file.tile("lidar", *key) for key in file.tiles("lidar")}
        folded = FoldedLidar(file)
        assert set(after) == set(before)
        differing = {key for key in after if after[key] != before[key]}
        assert json.loads(ran.out)["tiles_changed"] == len(differing) >= 1
        assert all(column >= 1 and row == 0 for column, row in differing)
        bundle = Bundle.from_bytes(model.read_bytes())
        for column, row in after:  # each tile holds the codes of its block of the new raster
            block = encode_block(bundle, source, folded.parameters["spread"], row, column)
            assert block is not None
            np.testing.assert_array_equal(folded.codes(row * 64, column * 64, 64, 64), block.codes)
    other = tmp_path / "other.safetensors"
    other.write_bytes(make_bundle("another", seed=1).to_bytes())
    run("fold", "--update", out, tmp_path / "new.tif", "--model", other).refused("is not the one")


def test_kinds_are_mixed_and_each_layer_is_said(run: Run, place: Path, tmp_path: Path) -> None:
    (tmp_path / "lanes.csv").write_text("line,x_m,y_m\n0,0,0\n0,40,0\n0,80,9\n")
    out, model = tmp_path / "town.fold", place / "model.safetensors"
    both = [place / "map.tif", tmp_path / "lanes.csv"]
    ran = run("fold", *both, "-o", out, "--model", model)
    assert (ran.status, ran.err) == (
        2,
        "error: --model could be for raster or street (fold one of them later, with --into)\n",
    )
    assert run("fold", place / "map.tif", "-o", out, "--model", model).status == 0
    ran = run("fold", tmp_path / "lanes.csv", "--into", out, "--spacing", "0", "--json")
    assert json.loads(ran.out)["lane_km"] == pytest.approx(0.081, abs=0.001)
    assert json.loads((tmp_path / "town.fold.settings.json").read_text())["into"] is True
    ran = run("fold", *both, "-o", out, "--budget", "1MB", "--spacing", "0", "--band", "1", "--rate", "50")
    assert (ran.status, "0.2 m pixels" in ran.err) == (2, True)  # no shipped model is for such
    with FoldFile.open(out) as file:
        assert {layer.name for layer in file.layers()} == {"lidar", "street"}
    (tmp_path / "lanes.csv").write_text("line,x_m,y_m\n0,0,0\n0,40,0\n")
    summary = run("fold", "--update", out, tmp_path / "lanes.csv", "--json").told()
    assert (summary["regions"], summary["tiles_changed"]) == (["lanes"], 1)
    run("fold", "--update", out, tmp_path / "lanes.csv", "--error", "0.2").refused("leave --error out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.tif", "-o", "x.fold"], "there is no file or folder missing.tif"),
        (["map.tif"], "say where the map goes"),
        (["map.tif", "-o", "x.fold", "--budget", "many"], "is no size"),
        (["map.tif", "-o", "x.fold", "--rate", "-1"], "a rate of -1"),
        (["map.tif", "-o", "none/x.fold"], "there is no folder"),
        (["map.tif", "-o", "x.fold", "--model", "missing"], "cannot be read"),
        (["map.tif", "-o", "x.fold", "--model", "map.tif"], "the model"),
        (["map.tif", "-o", "x.fold", "--band", "3", "--model", "model.safetensors"], "has no band 3"),
        (["map.tif", "-o", "x.fold", "--band", "0", "--model", "model.safetensors"], "has no band 0, only 1 to 1"),
        (["map.tif", "-o", "x.fold", "--tile-blocks", "17"], "17 blocks a tile"),
        (["rotated.tif", "-o", "x.fold", "--model", "model.safetensors"], "rotated"),
        (["empty.tif", "-o", "x.fold", "--model", "model.safetensors"], "no observed ground"),
        (["coarse.tif", "-o", "x.fold", "--model", "model.safetensors"], "1 m pixels"),
        (["map.tif", "--update", "missing.fold", "--model", "model.safetensors"], "there is no file"),
        (["map.tif", "--update", "map.tif", "--model", "model.safetensors"], "map.tif"),
    ],
)
def test_bad_input_is_one_line(
    run: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "map.tif").write_bytes((place / "map.tif").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((place / "model.safetensors").read_bytes())
    write_tif(tmp_path / "rotated.tif", ground(), transform=rasterio.Affine(0.2, 0.05, 5, 0.05, -0.2, 7))
    write_tif(tmp_path / "empty.tif", np.full((40, 40), -1.0))
    write_tif(tmp_path / "coarse.tif", ground(), transform=rasterio.Affine(1, 0, 5, 0, -1, 7))
    run("fold", *arguments).refused(message)
    assert not (tmp_path / "x.fold").exists()


def test_show_adds_up(run: Run, place: Path, tmp_path: Path) -> None:
    codes, embedding = tmp_path / "codes.png", tmp_path / "embedding.png"
    shown = run("show", place / "map.fold", "--json", "--codes", codes, "--embedding", embedding).told(quiet=True)
    layer = shown["layers"]["lidar"]
    assert shown["file_bytes"] == (place / "map.fold").stat().st_size
    assert shown["file_bytes"] == layer["tile_bytes"] + sum(layer["model_bytes"].values()) + shown["overhead_bytes"]
    assert layer["bit_per_m2"] == pytest.approx(8 * layer["tile_bytes"] / layer["observed_m2"], rel=1e-3)
    assert shown["provenance"]["map"] == str(place / "map.tif")
    assert codes.read_bytes().startswith(b"\x89PNG")
    assert embedding.read_bytes().startswith(b"\x89PNG")
    words = run("show", place / "map.fold").done()
    assert "file bytes" in words.out


def test_verify(run: Run, place: Path, tmp_path: Path) -> None:
    assert run("verify", place / "map.fold").status == 0
    data = bytearray((place / "map.fold").read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "bad.fold").write_bytes(data)
    ran = run("verify", tmp_path / "bad.fold", "--json")
    assert ran.status == 1
    assert json.loads(ran.out)["faults"]
    (tmp_path / "text.fold").write_text("no map")
    assert run("verify", tmp_path / "text.fold").status == 1
    ran = run("verify", tmp_path / "missing.fold")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)


def test_verify_decodes_every_tile(run: Run, place: Path, tmp_path: Path) -> None:
    from foldmap.atlas import FoldUpdater

    path = tmp_path / "sealed.fold"
    path.write_bytes((place / "map.fold").read_bytes())
    with FoldUpdater(path) as updater:  # every checksum is right, the payload is rubbish
        updater.put_tile("lidar", 0, 0, b"\xff" * 9)
        updater.put_tile("lidar", 7, 7, b"\xff" * 9)
    ran = run("verify", path)
    assert ran.status == 1
    assert "tile (0, 0) does not decode" in ran.out
    assert "tile (7, 7) lies off the map" in ran.out


def test_unfold_is_the_embedding(run: Run, place: Path, tmp_path: Path) -> None:
    ran = run("unfold", place / "map.fold", "-o", tmp_path / "embedding.tif", "--json")
    assert (ran.status, ran.err) == (0, "")
    with FoldFile.open(place / "map.fold") as file, rasterio.open(tmp_path / "embedding.tif") as dataset:
        folded = FoldedLidar(file)
        expected, known = folded.embedding(folded.grid)
        values = dataset.read()
        assert dataset.transform == rasterio.Affine(0.2, 0, -40, 0, -0.2, 40)
        assert np.array_equal(np.isfinite(values[0]), known)
        assert 0.6 < known.mean() < 0.85
        np.testing.assert_allclose(values[:, known], expected[:, known], atol=0.02, rtol=0.02)


def test_a_file_of_another_layer(run: Run, place: Path, tmp_path: Path) -> None:
    path = tmp_path / "street.fold"
    (tmp_path / "lane.csv").write_text("line,x_m,y_m\n0,0,0\n0,40,0\n")
    assert run("fold", tmp_path / "lane.csv", "-o", path, "--embeddings", "none").status == 0
    for command in (
        ["unfold", path, "-o", tmp_path / "x.tif"],
        ["localize", path, place / "sweeps", "--poses", place / "prior.txt", "-o", tmp_path / "x.txt"],
        ["show", path, "--codes", tmp_path / "x.png"],
    ):
        ran = run(*command)
        assert ran.status == 2
        assert ran.err.count("\n") == 1
        assert "lidar" in ran.err or "holds street maps, which cannot be unfolded as .tif" in ran.err
    assert run("verify", path).status == 0


@pytest.mark.parametrize("name", ["x.osm", "x.ply", "x.txt", "x"])
def test_unfold_names_what_the_file_holds_and_how_it_is_written(
    run: Run, place: Path, tmp_path: Path, name: str
) -> None:
    ran = run("unfold", place / "map.fold", "-o", tmp_path / name)
    assert ran.status == 2
    assert ran.err.startswith(f"error: {place / 'map.fold'} holds a lidar map, which cannot be unfolded ")
    assert ran.err.endswith("(name the output .tif, .tiff)\n")
    assert list(tmp_path.iterdir()) == []


def test_fold_names_what_it_was_given_and_what_it_takes(run: Run, place: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to fold")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "notes.txt").write_text("nothing to fold")
    (tmp_path / "damaged.tif").write_text("no GeoTIFF")
    takes = "give a GeoTIFF, a folder with a scene, or a street map of Argoverse 2, Lanelet2 (.osm), "
    for source, message in (
        (tmp_path / "notes.txt", f"notes.txt is no map: neither a raster nor a street map ({takes}"),
        (place / "model.safetensors", f"model.safetensors is no map: neither a raster nor a street map ({takes}"),
        (place / "map.fold", "map.fold is folded already (see what it holds with foldmap show"),
        (tmp_path / "empty", "empty holds no COLMAP model, no kapture and no street maps (give a folder with cameras"),
        (tmp_path / "texts", "texts holds no COLMAP model, no kapture and no street maps (give a folder with cameras"),
        (tmp_path / "none.osm", "there is no file or folder "),
        (tmp_path / "damaged.tif", "damaged.tif cannot be opened as a raster"),
    ):
        run("fold", source, "-o", tmp_path / "out.fold").refused(message)
    assert not (tmp_path / "out.fold").exists()
