"""``--relief-band``, from the GeoTIFF to the localized sweep."""

import json
from pathlib import Path

import numpy as np
import rasterio
from cli_place import Run

from foldmap.atlas import FoldFile
from foldmap.lidar.unfold import FoldedLidar


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
    run("fold", "--update", out, tmp_path / "two.tif", *model).refused("--relief-band")
    ran = run("localize", out, place / "sweeps", "--poses", place / "prior.txt", "-o", tmp_path / "seen.txt")
    assert ran.status in (0, 1), ran.err
    assert len((tmp_path / "seen.txt.jsonl").read_text().splitlines()) >= 3


def test_maps_to_train_and_measure_on_have_relief(run: Run, place: Path, tmp_path: Path) -> None:
    from foldmap.api.training.lidar_pairs import pairs_of_raster
    from foldmap.cli.bench.inputs import read_raster
    from foldmap.lidar.relief import mixed

    with rasterio.open(place / "map.tif") as source:
        profile, intensity = source.profile, source.read(1)
    variance = np.random.default_rng(0).gamma(0.2, 0.05, intensity.shape).astype(intensity.dtype)
    path = tmp_path / "two.tif"
    with rasterio.open(path, "w", **{**profile, "count": 2}) as bands:
        bands.write(np.stack([intensity, variance]))
    observed = intensity >= 0
    wanted = np.where(observed, mixed(intensity, variance, observed), 0)
    read = read_raster(path, 2)
    assert read is not None
    np.testing.assert_array_equal(read.intensity, wanted)
    pairs = pairs_of_raster(path, path, (0.0, 0.0), 4, 0, smoke=True, relief_band=2)
    values = np.unique(wanted[observed])
    pair = pairs.training[0]
    assert np.isin(pair.map_intensity[pair.map_observed], values).all()
    assert np.isin(pair.sweep_intensity[pair.sweep_observed], values).all()
    for verb, more in (("train", ["--sweeps", "x", "--poses", "y"]), ("bench", ["--map", path])):
        run(verb, "lidar", "-o", tmp_path / "out", "--relief-band", 2, *more).refused("--relief-band is of")
