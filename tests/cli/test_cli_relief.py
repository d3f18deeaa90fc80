"""``--relief-band``, from the GeoTIFF to the localized sweep."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from cli_place import Ran

from foldmap.atlas import FoldFile
from foldmap.lidar.unfold import FoldedLidar

Run = Callable[..., Ran]


def test_relief_is_folded_updated_and_localized_in(run: Run, place: Path, tmp_path: Path) -> None:
    """A map with a band of relief: another file than without, which sweeps are localized in all the same."""
    with rasterio.open(place / "map.tif") as source:
        profile, intensity = source.profile, source.read(1)
    variance = np.random.default_rng(0).gamma(0.2, 0.05, intensity.shape).astype(intensity.dtype)
    with rasterio.open(tmp_path / "two.tif", "w", **{**profile, "count": 2}) as bands:
        bands.write(np.stack([intensity, variance]))
    model = ["--model", place / "model.safetensors"]
    out, plain = tmp_path / "relief.fold", tmp_path / "plain.fold"
    assert run("fold", tmp_path / "two.tif", "-o", out, "--relief-band", 2, *model).status == 0
    assert run("fold", tmp_path / "two.tif", "-o", plain, *model).status == 0
    tiles = []
    for path in (out, plain):
        with FoldFile.open(path) as file:
            tiles.append(file.tile("lidar", 0, 0))
            assert FoldedLidar(file).relief is (path == out)
    assert tiles[0] != tiles[1]
    ran = run("fold", "--update", out, tmp_path / "two.tif", "--relief-band", 2, *model, "--json")
    assert (ran.status, json.loads(ran.out)["tiles_changed"]) == (0, 0)
    ran = run("fold", "--update", out, tmp_path / "two.tif", *model)
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "--relief-band" in ran.err
    ran = run("localize", out, place / "sweeps", "--poses", place / "prior.txt", "-o", tmp_path / "seen.txt")
    assert ran.status in (0, 1), ran.err
    assert len((tmp_path / "seen.txt.jsonl").read_text().splitlines()) >= 3
