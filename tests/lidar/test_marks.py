"""Marks: contrast, choice and scores against plain references, tiles against whole maps, files against a reader."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painted_ground import RESOLUTION_M, paint, painted_map, seen_from
from safetensors.numpy import load
from scipy.ndimage import gaussian_filter, uniform_filter

from coding.twin import decode_context
from foldmap.atlas import FoldFile, FoldUpdater, FoldWriter
from foldmap.coding.context import untrained
from foldmap.coding.pricing import prices_of
from foldmap.errors import LayerError, MapFormatError, MapInputError, ModelError
from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar.defaults import default_marks, marks_for, model_from_bytes
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.folded import open_lidar
from foldmap.lidar.marks.choose import MarkRecipe, _Cells, cells_of, map_level, marks_of
from foldmap.lidar.marks.contrast import box_sums, contrast, local_moments, odd, smoothed
from foldmap.lidar.marks.fit import marks_in_memory
from foldmap.lidar.marks.fold import MarkTiles
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.marks.score import values_at, window_scores
from foldmap.lidar.marks.telling import told_by
from foldmap.lidar.marks.thrift import thrifty
from foldmap.lidar.marks.unfold import FoldedMarks
from foldmap.lidar.source import RasterMap
from foldmap.lidar.update import update_lidar
from second_reader import named, read

SMALL_CELLS = 320
GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(scope="module")
def raster() -> RasterMap:
    return painted_map(3)


@pytest.fixture(scope="module")
def folded(raster: RasterMap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In tiles that are smaller than today's, as files of before have them."""
    path = tmp_path_factory.mktemp("marks") / "map.fold"
    with FoldWriter(path) as writer, pytest.MonkeyPatch.context() as patch:
        patch.setattr("foldmap.lidar.fold.MarkTiles", partial(MarkTiles, tile_cells=SMALL_CELLS))
        fold_lidar(writer, raster, LidarPlan(default_marks(RESOLUTION_M)))
    return path


def test_contrast_is_that_of_filters() -> None:
    rng = np.random.default_rng(0)
    values, observed = rng.random((90, 120)).astype(np.float32), rng.random((90, 120)) < 0.7
    mean, weight = smoothed(values, observed, 2.0)
    blur = [
        gaussian_filter(one.astype(float), 2.0, mode="constant", truncate=3.0) for one in (observed, values * observed)
    ]
    np.testing.assert_allclose(weight, blur[0], atol=1e-5)
    np.testing.assert_allclose(mean, blur[1] / blur[0], atol=1e-5)
    middle, spread = local_moments(values, observed.astype(np.float32), 11)
    share, first, second = (
        uniform_filter(one * 1.0, 11, mode="constant") for one in (observed, values * observed, values**2 * observed)
    )
    np.testing.assert_allclose(middle, first / share, atol=1e-5)
    np.testing.assert_allclose(spread, np.sqrt(np.maximum(second / share - (first / share) ** 2, 0)), atol=1e-4)
    assert (odd(0.4), odd(10.9), odd(11.2)) == (3, 11, 11)
    bright, _, floor = contrast(values * 7 + 3, observed, 0.05, 0.1, 0.55)
    alike, _, _ = contrast(values, observed, 0.05, 0.1, 0.55)
    np.testing.assert_allclose(bright, alike, atol=1e-3)  # of any gain and offset
    assert floor > 0


def test_cells_and_counts_are_sums() -> None:
    chosen = np.random.default_rng(1).random((30, 42)) < 0.3
    padded = np.pad(chosen, 2)
    plain = np.array([[padded[r : r + 5, c : c + 5].sum() for c in range(42)] for r in range(30)])
    np.testing.assert_array_equal(box_sums(chosen, 5), plain)
    np.testing.assert_array_equal(box_sums(chosen, 99), np.full(chosen.shape, chosen.sum()))  # a window beyond all
    plain = np.array([[chosen[3 * r : 3 * r + 3, 3 * c : 3 * c + 3].sum() for c in range(14)] for r in range(10)])
    np.testing.assert_array_equal(cells_of(chosen.astype(np.float32), 3), plain)


def test_ground_that_nobody_saw_changes_no_mark(raster: RasterMap) -> None:
    recipe = replace(MarkRecipe(), told=1.0)
    raster = raster.read(0, 0, 996, 996)
    around = raster.read(-126, -66, 1398, 1302)  # even numbers of cells of three pixels
    level = map_level(raster, recipe)
    bare, padded = marks_of(raster, recipe, level), marks_of(around, recipe, level)
    assert bare.marks.any()
    for one, other in zip(bare, padded, strict=True):
        np.testing.assert_array_equal(other[42:374, 22:354], one)
    # the same of all cells at once, without looking for where the ground is
    whole = _Cells.of(around, recipe, 3).chosen(recipe, level, 0.15)
    np.testing.assert_array_equal(padded.marks, whole.marks)
    np.testing.assert_array_equal(padded.lead, whole.lead)
    assert not padded.marks[:42].any()


def test_marks_lie_on_paint_and_are_as_many_as_asked(raster: RasterMap) -> None:
    recipe = replace(MarkRecipe(), marks_m2=0.1, quota_m2=0.65)
    level = map_level(raster, recipe)
    whole = raster.read(0, 0, 999, 999)
    marks = marks_of(whole, recipe, level).marks
    assert 0.05 < marks.sum() / (999 * RESOLUTION_M) ** 2 < 0.12
    painted = gaussian_filter((paint(3)[:999, :999] > 0.5).astype(float), 3).reshape(333, 3, 333, 3).max((1, 3)) > 0.05
    assert painted[marks].mean() > 0.8
    assert painted.mean() < 0.1
    scaled = RasterMap(raster.grid, raster.intensity * 200 + 5, raster.observed)
    np.testing.assert_array_equal(marks_of(scaled.read(0, 0, 999, 999), recipe, map_level(scaled, recipe)).marks, marks)


def test_a_tile_holds_what_the_whole_map_does(raster: RasterMap) -> None:
    model = marks_for(RESOLUTION_M)[-1]
    coder = MarkTiles(model, raster, tile_cells=SMALL_CELLS)
    side, reach = coder.side_px, coder.halo_px
    level = map_level(raster, model.recipe)
    size = 2 * side + 2 * reach
    grown = raster.read(-reach, -reach, size // 3 * 3, size // 3 * 3)  # reach is an even number of cells
    whole = marks_of(grown, model.recipe, level)
    assert model.recipe.told > 0
    cells = model.recipe.cell_px(RESOLUTION_M)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        tile, chosen = coder.tile(raster, row, column), coder.chosen(raster, row, column)
        assert tile is not None
        assert chosen is not None
        marks, known = model.decode(tile.payload, side // cells)
        top, left = (reach + row * side) // cells, (reach + column * side) // cells
        for mine, all_ in zip((chosen.marks, chosen.lead), whole, strict=True):
            np.testing.assert_allclose(mine, all_[top : top + side // cells, left : left + side // cells], atol=1e-5)
        np.testing.assert_array_equal(marks, chosen.worth(model))
        seen = raster.read(row * side, column * side, side, side).observed
        square = cells * model.known_cells
        np.testing.assert_array_equal(known, cells_of(seen.astype(np.float32), square) > 0)


def test_marks_that_are_not_worth_their_bits_are_left() -> None:
    """No cell that is taken or left alone would do better, by what the coder itself asks for the whole tile."""
    coder = marks_for(RESOLUTION_M)[-1].marks_coder
    rng = np.random.default_rng(4)
    lead = gaussian_filter(rng.standard_normal((48, 40)), 1.0) * 4 - 0.6
    lead[:, 20:22], lead[30, 5], lead[:4, :4] = 0.4, 0.5, -np.inf  # a stripe, a lone cell, and what nobody saw
    lead[28:33, 3:8] = np.where(np.arange(25).reshape(5, 5) == 12, 0.5, -2.0)
    found = thrifty(lead > 0, lead.astype(np.float32), price := 0.08, prices_of(coder))

    def worth(marks: np.ndarray[Any, Any]) -> float:
        bits = coder.cross_entropy_bits(marks[None].astype(np.uint8), adaptive=False)
        return float(lead[marks].sum() - price * bits)

    assert found[:, 20:22].mean() > 0.9
    assert not found[30, 5]
    assert not found[:4, :4].any()
    assert worth(found) > worth(lead > 0) + 1
    for row, col in np.argwhere(found)[::7]:
        other = found.copy()
        other[row, col] = False
        assert worth(other) < worth(found) + 1e-4


def test_a_spot_tells_more_than_the_middle_of_a_stripe() -> None:
    bright = np.zeros((100, 100), np.float32)
    bright[:, 48:51], bright[20:22, 20:22], bright[70:72, 70:72] = 2.0, 2.0, 2.0
    seen = np.ones_like(bright, np.bool_)
    seen[68:73, 68:73] = False
    told = told_by(bright, seen, bright > 1, 0.15)
    assert told[21, 21] > told[50, 49] + 0.3
    assert told[50, 49] > told[50, 80]
    assert (told[68:73, 68:73] == -1).all()
    turned = told_by(bright[::-1].T.copy(), seen[::-1].T.copy(), (bright > 1)[::-1].T.copy(), 0.15)
    np.testing.assert_allclose(turned, told[::-1].T, atol=1e-2)


def test_scores_are_correlations_of_images() -> None:
    rng = np.random.default_rng(2)
    image, reach = rng.standard_normal((40, 50)).astype(np.float32), 6
    row, col = rng.uniform(-8, 48, 30), rng.uniform(-8, 58, 30)
    scores = np.zeros((2, 2 * reach + 1, 2 * reach + 1), np.float32)
    part = rng.integers(0, 2, 30)
    window_scores(image, row, col, part, scores)
    padded, plain = np.pad(image, 20), np.zeros_like(scores)
    for r, c, p in zip(np.floor(row + 0.5).astype(int) + 20, np.floor(col + 0.5).astype(int) + 20, part, strict=True):
        plain[p] += padded[r - reach : r + reach + 1, c - reach : c + reach + 1]
    np.testing.assert_allclose(scores, plain, atol=1e-4)
    np.testing.assert_allclose(
        values_at(image, np.array([3.0, 3.5]), np.array([7.0, 7.0])), [image[3, 7], image[3:5, 7].mean()], rtol=1e-5
    )


def test_the_second_reader_finds_the_same_marks(folded: Path) -> None:
    assert agree(folded) > 100
    assert agree(GOLDEN / "v1-marks.fold") == json.loads((GOLDEN / "v1-marks.json").read_text())["marks"]


def agree(path: Path) -> int:
    """Read marks as section 9 of docs/format.md says, compare with the package's, and count them."""
    held = read(path)
    (layer, _, parameters) = held["layers"][0]
    _, payload = held["models"][layer]["localizer"]
    if named(payload):
        payload = model_bytes(json.loads(payload)["name"])
    arrays = load(payload)
    coders = {
        name: {k.removeprefix(f"{name}."): v for k, v in arrays.items() if k.startswith(name)}
        for name in ("marks", "known")
    }
    side, squares = parameters["tile_cells"], parameters["tile_cells"] // parameters["known_cells"]
    grid, cell_m = parameters["grid"], parameters["cell_px"] * parameters["grid"]["resolution_m"]
    centres, total = [], 0
    with FoldFile.open(path) as file:
        opened = FoldedMarks(file, layer)
        for (column, row), tile in held["tiles"][layer].items():
            (size,) = struct.unpack_from("<H", tile)
            known = decode_context(coders["known"], tile[2 : 2 + size], (1, squares, squares))[0]
            marks = decode_context(coders["marks"], tile[2 + size :], (1, side, side))[0]
            found = opened.tile(column, row)
            assert found is not None
            np.testing.assert_array_equal(found[0], marks > 0)
            np.testing.assert_array_equal(found[1], known > 0)
            for down, right in np.argwhere(marks > 0):
                east = grid["west_m"] + (column * side + right + 0.5) * cell_m
                centres.append((east, grid["north_m"] - (row * side + down + 0.5) * cell_m))
            total += int((marks > 0).sum())
        mine = opened.marks_near(0.0, 0.0, 1e4)
    np.testing.assert_allclose(sorted(map(tuple, mine)), sorted(centres), atol=1e-9)
    return total


def model_bytes(name: str) -> bytes:
    from foldmap.lidar.shipped import weights_folder

    return (weights_folder() / f"{name}.safetensors").read_bytes()


def test_models_come_back_and_damaged_ones_are_refused() -> None:
    for model in marks_for(RESOLUTION_M):
        payload = model.to_bytes()
        back = model_from_bytes(payload)
        assert isinstance(back, MarksModel)
        assert back.to_bytes() == payload
        assert payload == model_bytes(model.name)
        with pytest.raises(ModelError):
            MarksModel.from_bytes(payload[:-7])
    with pytest.raises(ModelError, match="recipe"):
        MarksModel.from_bytes(payload.replace(b"window_m", b"windov_m"))
    with pytest.raises(ModelError, match="cell_m"):
        MarksModel.from_bytes(replace(model, recipe=MarkRecipe(cell_m=-1.0)).to_bytes())
    with pytest.raises(ModelError, match="groups"):
        MarksModel.from_bytes(replace(model, marks_coder=untrained(2, 1)).to_bytes())


def test_damaged_tiles_are_refused(folded: Path) -> None:
    model = default_marks(RESOLUTION_M)
    with FoldFile.open(folded) as file:
        (key, *_) = file.tiles("lidar")
        payload, cells = file.tile("lidar", *key) or b"", open_lidar(file).parameters["tile_cells"]
    for wrong in (payload[:-1], payload + b"\0", b"", payload[:1], b"\xff\xff" + payload[2:]):
        with pytest.raises(MapFormatError):
            model.decode(wrong, cells)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cell_px", 0),
        ("cell_px", 2.0),
        ("cell_px", 7),
        ("tile_cells", 321),
        ("tile_cells", 10**6),
        ("known_cells", 16),
        ("grid", {}),
    ],
)
def test_parameters_that_do_not_fit_are_refused(folded: Path, tmp_path: Path, name: str, value: Any) -> None:
    path = tmp_path / "map.fold"
    path.write_bytes(folded.read_bytes())
    with FoldUpdater(path) as updater:
        parameters = updater.before.layer("lidar").parameters
        updater.set_parameters("lidar", {**parameters, name: value})
    with FoldFile.open(path) as file, pytest.raises(MapFormatError):
        open_lidar(file)
    with FoldFile.open(folded) as file, pytest.raises(LayerError):
        FoldedMarks(file, "nothing")


def test_an_update_writes_what_changed(raster: RasterMap, folded: Path, tmp_path: Path) -> None:
    path = tmp_path / "map.fold"
    path.write_bytes(folded.read_bytes())
    intensity = raster.intensity.copy()
    intensity[980:, 980:] = intensity[980:, 980:][::-1]
    changed = RasterMap(raster.grid, intensity, raster.observed)
    with FoldUpdater(path) as updater:
        done = update_lidar(updater, changed, before=raster)
    assert (done.removed, done.kept) == ((), 4 - len(done.changed))
    assert set(done.changed) <= {(1, 1), (0, 1), (1, 0), (0, 0)}
    with FoldFile.open(path) as file:
        opened = open_lidar(file)
        assert opened.tile_px == MarkTiles(default_marks(RESOLUTION_M), changed, tile_cells=SMALL_CELLS).side_px
    with FoldUpdater(path) as updater:
        assert update_lidar(updater, changed, before=changed).changed == ()


@pytest.mark.parametrize(("name", "value"), [("spread", "much"), ("spread", None), ("contrast", True)])
def test_an_update_refuses_levels_that_are_no_numbers(
    raster: RasterMap, folded: Path, tmp_path: Path, name: str, value: Any
) -> None:
    path = tmp_path / "map.fold"
    path.write_bytes(folded.read_bytes())
    with FoldUpdater(path) as updater:
        updater.set_parameters("lidar", {**updater.before.layer("lidar").parameters, name: value})
    with FoldUpdater(path) as updater, pytest.raises(MapFormatError, match="spread and contrast"):
        update_lidar(updater, raster)


def test_maps_without_marks(tmp_path: Path) -> None:
    grid = MetricGrid(0.0, 50.0, RESOLUTION_M, 1000, 1000)
    flat = RasterMap(grid, np.full(grid.shape, 0.4, np.float32), np.ones(grid.shape, bool))
    opened, _ = marks_in_memory(default_marks(RESOLUTION_M), flat)
    assert len(opened.marks_near(25.0, 25.0, 40.0)) == 0
    assert opened.known_at(np.array([[25.0, 25.0], [500.0, 25.0]])).tolist() == [True, False]
    unseen = RasterMap(grid, np.zeros(grid.shape, np.float32), np.zeros(grid.shape, bool))
    with FoldWriter(tmp_path / "a.fold") as writer, pytest.raises(MapInputError, match="no observed ground"):
        fold_lidar(writer, unseen, LidarPlan(default_marks(RESOLUTION_M)))


def test_neither_opening_nor_localizing_needs_torch(folded: Path, tmp_path: Path) -> None:
    observation = seen_from(3, SE2(0.5, 0.3, 0.2))
    np.savez(tmp_path / "seen.npz", intensity=observation.intensity, observed=observation.observed)
    code = (
        "import sys, numpy as np, foldmap\n"
        "from foldmap.lidar.observation import Observation\n"
        f"seen = np.load({str(tmp_path / 'seen.npz')!r})\n"
        f"with foldmap.open({str(folded)!r}) as town:\n"
        "    sweep = Observation(seen['intensity'], seen['observed'], 0.05)\n"
        "    found = town.localize(sweep, foldmap.SE2(0.0, 0.0, 0.2))\n"
        "sys.exit(str(found) if found.pose is None or 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
