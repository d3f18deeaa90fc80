"""Rasters folded in parts: the bytes of a fold in turn, whoever works, killed or not, and what is done once."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window
from typer.testing import CliRunner

from foldmap.api.folding import LidarOptions, fold, parts
from foldmap.api.folding.kept_parts import KeptParts
from foldmap.atlas import FoldFile, FoldWriter
from foldmap.cli import app
from foldmap.errors import MapInputError
from foldmap.formats.raster.geotiff import open_rasters
from foldmap.lidar.bundle import quantized
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.marks.fold import CodedTile
from foldmap.lidar.shipped import LAYER
from foldmap.runtime.crew import Crew

sys.path.append(str(Path(__file__).resolve().parents[1] / "lidar"))
from core_scene import RESOLUTION_M, blob_raster, random_bundle

HEIGHT_PX, WIDTH_PX = 1100, 900
COUNT = 6  # parts, of one tile each


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_PX", 512)


def write_raster(path: Path, rows: slice) -> Path:
    raster = blob_raster(HEIGHT_PX, WIDTH_PX)
    values = np.where(raster.observed, raster.intensity, np.nan)[rows]
    grid = raster.grid.window(rows.start, 0, len(values), WIDTH_PX)
    place = rasterio.Affine(grid.resolution_m, 0, grid.west_m, 0, -grid.resolution_m, grid.north_m)
    profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "nodata": np.nan, "transform": place}
    blocks = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    with rasterio.open(path, "w", height=grid.height_px, width=WIDTH_PX, **profile, **blocks) as dataset:
        dataset.write(values.astype(np.float32), 1, window=Window(0, 0, WIDTH_PX, grid.height_px))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """north.tif and south.tif, model.safetensors, and whole.fold, folded in turn."""
    folder = tmp_path_factory.mktemp("parts")
    rasters = [write_raster(folder / "north.tif", slice(0, 600)), write_raster(folder / "south.tif", slice(600, 1100))]
    bundle = quantized(random_bundle())
    (folder / "model.safetensors").write_bytes(bundle.to_bytes())
    with open_rasters(rasters) as source, FoldWriter(folder / "whole.fold") as writer:
        fold_lidar(writer, source, LidarPlan(bundle, 1))
    return folder


def tiles_in(path: Path) -> dict[tuple[int, int], bytes | None]:
    with FoldFile.open(path) as file:
        return {key: file.tile(LAYER, *key) for key in file.tiles(LAYER)}


def folded(place: Path, output: Path, **how: Any) -> dict[str, Any]:
    options = {"model": place / "model.safetensors", "tile_blocks": 1, "gaps": how.pop("gaps", False)}
    sources = how.pop("sources", [place / "north.tif", place / "south.tif"])
    return fold(sources, output, lidar=LidarOptions(**options), **how)


def counted(monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> list[parts.Part]:
    """Parts that are coded; the one of that number is interrupted."""
    begun: list[parts.Part] = []
    code: Callable[[parts.Common, parts.Part], parts.DonePart] = parts.code_part

    def count(common: parts.Common, part: parts.Part) -> parts.DonePart:
        begun.append(part)
        if len(begun) - 1 == stop_at:
            raise KeyboardInterrupt
        return code(common, part)

    monkeypatch.setattr(parts, "code_part", count)
    return begun


def test_two_processes_write_the_same_bytes_as_one(place: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        folded(place, tmp_path / f"{workers}.fold", crew=Crew(workers=workers))
    assert tiles_in(tmp_path / "1.fold") == tiles_in(place / "whole.fold")
    assert (tmp_path / "1.fold").read_bytes() == (tmp_path / "2.fold").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.fold", "2.fold"]


def test_parts_are_reduced_as_the_whole_is(place: Path, tmp_path: Path) -> None:
    """For a model of pixels twice as large: a summary counts the ground as it was brought."""
    bundle = replace(quantized(random_bundle()), resolution_m=2 * RESOLUTION_M)
    (tmp_path / "larger.safetensors").write_bytes(bundle.to_bytes())
    rasters = [place / "north.tif", place / "south.tif"]
    with open_rasters(rasters) as source, FoldWriter(tmp_path / "whole.fold") as writer:
        fold_lidar(writer, source, LidarPlan(bundle, 1))
        observed_m2 = source.read(0, 0, *source.grid.shape).observed_m2
    options = LidarOptions(model=tmp_path / "larger.safetensors", tile_blocks=1)
    summary = fold(rasters, tmp_path / "parts.fold", lidar=options)
    assert tiles_in(tmp_path / "parts.fold") == tiles_in(tmp_path / "whole.fold") != {}
    assert summary["lidar"]["observed_m2"] == pytest.approx(observed_m2)


def test_what_was_killed_goes_on(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "map.fold"
    begun = counted(monkeypatch, stop_at=4)
    with pytest.raises(KeyboardInterrupt):
        folded(place, output)
    assert not output.exists()
    begun.clear()
    notes: list[str] = []
    folded(place, output, note=notes.append)
    assert len(begun) == COUNT - 4
    assert any(f"4 of {COUNT} parts were done before" in note for note in notes)
    assert tiles_in(output) == tiles_in(place / "whole.fold")
    assert [path.name for path in tmp_path.iterdir()] == ["map.fold"]


def test_parts_of_a_raster_that_changed_are_done_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [tmp_path / "north.tif", tmp_path / "south.tif"]
    for name in names:
        name.write_bytes((place / name.name).read_bytes())
    counted(monkeypatch, stop_at=COUNT - 1)
    with pytest.raises(KeyboardInterrupt):
        folded(place, tmp_path / "map.fold", sources=names)
    with rasterio.open(names[0], "r+") as dataset:
        dataset.update_tags(AGAIN="yes")
    begun = counted(monkeypatch)
    folded(place, tmp_path / "map.fold", sources=names)
    assert all(str(names[0]) in [name for name, _, _ in part.files] for part in begun[:-1])
    assert 3 <= len(begun) < COUNT  # those that the northern raster reaches, and the one that was interrupted


def test_tiles_that_fail_are_named(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = parts.RasterMosaic.read

    def spoilt(mosaic: Any, row: int, col: int, height_px: int, width_px: int) -> Any:
        """A raster whose last tile cannot be read."""
        if height_px > 512 and row > 800 and col > 300:
            raise MapInputError("south.tif cannot be read at row 1024", "write it again")
        return read(mosaic, row, col, height_px, width_px)

    monkeypatch.setattr(parts.RasterMosaic, "read", spoilt)
    with pytest.raises(
        MapInputError, match=r"1 tiles cannot be coded; tile \(1, 2\): south.tif cannot be read"
    ) as said:
        folded(place, tmp_path / "map.fold")
    assert "--gaps" in said.value.cure
    assert not (tmp_path / "map.fold").exists()
    begun = counted(monkeypatch)
    notes: list[str] = []
    summary = folded(place, tmp_path / "map.fold", gaps=True, note=notes.append)
    assert len(begun) == 1
    assert [(one["column"], one["row"]) for one in summary["lidar"]["failed"]] == [(1, 2)]
    assert any("tile (1, 2)" in note for note in notes)
    wanted = tiles_in(place / "whole.fold")
    assert wanted.pop((1, 2))
    assert tiles_in(tmp_path / "map.fold") == wanted


def test_kept_parts_that_are_damaged_count_as_missing(tmp_path: Path) -> None:
    target = tmp_path / "map.fold"
    tiles = [(0, 1, CodedTile(b"abc", 7)), (0, 0, None)]
    with KeptParts(target) as kept:
        kept.put(b"one", tiles)
        kept.put(b"two", tiles)
        kept._connection.execute("UPDATE tiles SET payload=x'00' WHERE part=x'6f6e65' AND col=1")
    with KeptParts(target) as kept:
        assert kept.get(b"one") is None
        assert kept.get(b"two") == sorted(tiles, key=lambda tile: tile[:2])
        assert kept.get(b"three") is None
        path = kept.path
    path.write_bytes(b"no database" * 100)
    with KeptParts(target) as kept:
        assert kept.get(b"two") is None
        kept.put(b"two", tiles)
        assert kept.get(b"two") is not None


def test_workers_are_of_rasters(place: Path, tmp_path: Path) -> None:
    lanes = tmp_path / "lanes.geojson"
    line = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "LineString", "coordinates": [[0, 0], [0, 0.001]]},
    }
    lanes.write_text(json.dumps({"type": "FeatureCollection", "features": [line]}))
    for words in ([lanes, "-o", tmp_path / "a.fold"], [place / "north.tif", "--update", place / "whole.fold"]):
        ran = CliRunner().invoke(app, ["fold", *map(str, words), "--workers", "2"])
        assert (ran.exit_code, "--workers is of rasters" in ran.output) == (2, True)
