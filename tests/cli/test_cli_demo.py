"""``foldmap demo`` and ``bench`` on the smallest input that has all parts."""

import json
import re
from pathlib import Path

import pytest
from cli_place import Run, make_bundle, tum, write_sweeps

from foldmap.atlas import FoldFile
from foldmap.cli.demo.run import run_demo
from foldmap.cli.demo.settings import DemoPhotoSettings, DemoSettings
from foldmap.errors import ConfigError, MissingExtraError


def test_demo_writes_map_file_estimates_and_page(tmp_path: Path) -> None:
    settings = DemoSettings(seed=3, length_m=12.0, spacing_m=3.0, steps=2, aggregate=2, photos=None, streets=None)
    summary = run_demo(tmp_path, [make_bundle()], settings)
    assert summary["folded_file_bytes"] == (tmp_path / "map.fold").stat().st_size
    assert summary["steps"] == 2
    page = (tmp_path / "index.html").read_text()
    assert page.count("<img ") == 5
    assert not re.search(r"(?:src|href)=.(?!data:)", page)  # nothing is fetched from anywhere
    for row in ("PNG, 16 bit", "WebP, quality 50", "folded file on disk", f"{summary['folded_file_bytes']:,}"):
        assert row in page
    lines = (tmp_path / "estimates.txt.jsonl").read_text().splitlines()
    assert len(lines) == 2
    with pytest.raises(ConfigError):
        DemoSettings(steps=0)


def test_photos_join_the_file_of_the_lidar_layer(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap")
    photos = DemoPhotoSettings(map_photos=8, queries=2, strangers=1, size_px=(320, 240), points=400)
    settings = DemoSettings(seed=0, length_m=8.0, spacing_m=4.0, steps=1, aggregate=1, photos=photos, streets=None)
    summary = run_demo(tmp_path, [make_bundle()], settings)
    with FoldFile.open(tmp_path / "map.fold") as file:
        assert {layer.name: layer.kind for layer in file.layers()} == {"lidar": "lidar", "visual": "visual"}
    whole = (tmp_path / "map.fold").stat().st_size
    assert summary["file_bytes"] == whole
    assert summary["visual_layer_bytes"] == whole - summary["folded_file_bytes"]
    assert summary["photo_points"] <= 400
    # exact truth of the generated town: centimetres, or an honest refusal
    assert summary["photos_answered"] >= 1
    assert summary["median_photo_error_cm"] < 10 or summary["photos_answered"] < 2
    assert summary["strangers_refused"] == 1
    page = (tmp_path / "index.html").read_text()
    assert page.count("<img ") == 8
    assert "Photos in the same file" in page


def test_what_cannot_be_made_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise MissingExtraError("pycolmap is not installed", "pip install 'foldmap[sfm]'")

    monkeypatch.setattr("foldmap.cli.demo.visual.open_extractor", missing)
    monkeypatch.setattr("foldmap.street.defaults.weights_folder", lambda: tmp_path / "none")
    settings = DemoSettings(seed=3, length_m=8.0, spacing_m=4.0, steps=1, aggregate=1)
    summary = run_demo(tmp_path, [make_bundle()], settings)
    assert not {"photo_queries", "street_lane_km"} & set(summary)
    photos, lanes = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert photos == "photos left out: pycolmap is not installed (pip install 'foldmap[sfm]')"
    assert lanes.startswith("lanes left out: the default street model street-field-1 is not installed")
    assert (tmp_path / "index.html").read_text().count("<img ") == 5


def test_demo_without_weights_says_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldmap.lidar.defaults.weights_folder", lambda: tmp_path)
    run("demo", "-o", tmp_path / "out").refused("no default models")


def test_bench_composes_learned_and_classical(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldmap.bench.lidar.methods.QUICK_PAIRS", 3)
    frames = 9
    write_sweeps(tmp_path / "sweeps", frames)
    (tmp_path / "poses.txt").write_text(tum(frames))
    (tmp_path / "model.safetensors").write_bytes(make_bundle().to_bytes())
    out = tmp_path / "out"
    common = ["bench", "lidar", "--sweeps", tmp_path / "sweeps", "--poses", tmp_path / "poses.txt", "-o", out]
    small = ["--resolution", "0.2", "--guard", "1", "--aggregate", "2", "--every", "4", "--quick", "--heading", "1"]
    some = ["--methods", "foldmap", "--methods", "webp", "--model", tmp_path / "model.safetensors"]
    ran = run(*common, *small, *some, "--json").done()
    rows = {row["method"]: row for row in json.loads(ran.out)}
    assert set(rows) == {"foldmap-untrained + localizer", "webp-5 + ncc", "webp-5 + learned", "webp-5 + localizer"}
    assert all(row["queries"] == 2 for row in rows.values())
    # Every map here was driven over with the query's own ground truth: plain correlation finds it to a pixel.
    assert rows["webp-5 + ncc"]["median_cm"] < 20
    assert rows["foldmap-untrained + localizer"]["bits_per_m2"] > 0
    assert (out / "index.html").is_file()
    assert (out / "matching.csv").read_text().count("\n") == 5
    ran = run(*common, *small, "--methods", "telepathy", "--model", tmp_path / "model.safetensors")
    assert ran.status == 2
    assert "telepathy" in ran.err.splitlines()[-1]  # above it stands the name of the stage
