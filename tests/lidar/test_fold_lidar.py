"""Folding into a file and unfolding from it."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from core_scene import RESOLUTION_M, TINY, blob_raster, random_bundle

from foldmap.atlas import FoldFile, FoldUpdater, FoldWriter
from foldmap.errors import ConfigError, LayerError, LimitError, MapFormatError, MapInputError, ModelError
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle, quantized
from foldmap.lidar.codec import encode_block, global_spread
from foldmap.lidar.defaults import bundle_named, step_of
from foldmap.lidar.fold import LearnedTiles, LidarPlan, LidarReport, encode_tiles, fold_lidar, stored_model
from foldmap.lidar.match.warp import turned_crop
from foldmap.lidar.shipped import LAYER, MODEL
from foldmap.lidar.source import BLOCK_PX, RasterMap, RasterSource
from foldmap.lidar.unfold import FoldedLidar
from foldmap.lidar.update import LidarUpdate, update_lidar


def fold(path: Path, source: RasterSource, plan: LidarPlan) -> LidarReport:
    with FoldWriter(path) as writer:
        return fold_lidar(writer, source, plan)


def update(path: Path, source: RasterSource, **how: object) -> LidarUpdate:
    with FoldUpdater(path) as updater:
        return update_lidar(updater, source, **how)  # type: ignore[arg-type]


def tiles_in(path: Path) -> dict[tuple[int, int], bytes | None]:
    with FoldFile.open(path) as file:
        return {key: file.tile(LAYER, *key) for key in file.tiles(LAYER)}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return quantized(random_bundle())


@pytest.fixture(scope="module")
def raster() -> RasterMap:
    return blob_raster(1100, 900)


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, raster: RasterMap) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("folded")
    paths = {tile_blocks: folder / f"{tile_blocks}.fold" for tile_blocks in (1, 2)}
    for tile_blocks, path in paths.items():
        report = fold(path, raster, LidarPlan(bundle, tile_blocks))
        assert report.tiles == (6 if tile_blocks == 1 else 2)
        assert report.observed_m2 == pytest.approx(raster.observed_m2)
        assert report.raster_px == 1100 * 900
        assert report.bit_per_m2 == pytest.approx(8 * report.payload_bytes / raster.observed_m2)
        assert report.bpp == pytest.approx(8 * report.payload_bytes / (1100 * 900))
    return paths


def test_the_file_gives_the_codes_back(folded: dict[int, Path], bundle: Bundle, raster: RasterMap) -> None:
    spread = global_spread(raster)
    block = encode_block(bundle, raster, spread, 1, 0)
    assert block is not None
    for path in folded.values():
        with FoldFile.open(path) as file:
            layer = FoldedLidar(file)
            assert layer.grid == raster.grid
            assert layer.parameters["observed_px"] == int(raster.observed.sum())
            np.testing.assert_array_equal(layer.codes(64, 0, 64, 64), block.codes)
            assert (layer.codes(-20, -20, 20, 400) == 0).all()
            assert (layer.codes(400, 0, 30, 200) == 0).all()


def test_windows_do_not_depend_on_tiles(folded: dict[int, Path], raster: RasterMap) -> None:
    windows = [(480, 470, 90, 100), (1000, 830, 120, 90), (-30, -17, 60, 50), (3, 1, 700, 600), (505, 0, 14, 9)]
    with FoldFile.open(folded[1]) as one, FoldFile.open(folded[2]) as two:
        layers = [FoldedLidar(file, fast=False) for file in (one, two)]
        whole, whole_known = layers[0].embedding(raster.grid.window(-64, -64, 1100 + 128, 900 + 128))
        for row, col, height, width in windows:
            grid = raster.grid.window(row, col, height, width)
            (first, known), (second, other_known) = (layer.embedding(grid) for layer in layers)
            np.testing.assert_array_equal(first, second)
            np.testing.assert_array_equal(known, other_known)
            cut = np.s_[row + 64 : row + 64 + height, col + 64 : col + 64 + width]
            np.testing.assert_allclose(first, whole[(slice(None), *cut)], rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(known, whole_known[cut])
        assert float(np.abs(whole).max()) > 0


def test_a_window_touches_the_tiles_in_reach_and_each_once(
    folded: dict[int, Path], raster: RasterMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FoldFile.open(folded[1]) as file:
        layer = FoldedLidar(file)
        asked: list[tuple[int, int]] = []
        real = file.tile
        monkeypatch.setattr(
            file, "tile", lambda name, column, row: (asked.append((column, row)), real(name, column, row))[1]
        )
        layer.embedding(raster.grid.window(600, 100, 100, 100))
        assert asked == [(0, 1)]
        layer.embedding(raster.grid.window(500, 500, 30, 30))
        assert sorted(asked[1:]) == [(0, 0), (1, 0), (1, 1)]
        layer.forget()
        layer.embedding(raster.grid.window(600, 100, 100, 100))
        assert asked[4:] == [(0, 1)]


def test_far_from_the_map_nothing_is_known(folded: dict[int, Path], raster: RasterMap) -> None:
    with FoldFile.open(folded[2]) as file:
        embedding, known = FoldedLidar(file).embedding(raster.grid.window(9000, -9000, 40, 50))
        assert embedding.shape == (1, 40, 50)
        assert not embedding.any()
        assert not known.any()


def test_unusable_windows_are_refused(folded: dict[int, Path], raster: RasterMap) -> None:
    with FoldFile.open(folded[2]) as file:
        layer = FoldedLidar(file)
        for grid in (replace(raster.grid, west_m=100.07), replace(raster.grid, resolution_m=0.25)):
            with pytest.raises(MapInputError, match="pixels"):
                layer.embedding(grid)
        for height, width in ((1 << 14, 1 << 13), (1, 1 << 26)):
            with pytest.raises(LimitError):
                layer.embedding(raster.grid.window(0, 0, height, width))


def test_the_same_map_gives_the_same_file(tmp_path: Path, bundle: Bundle) -> None:
    raster = blob_raster(300, 560, seed=4)
    for name in ("a", "b"):
        fold(tmp_path / name, raster, LidarPlan(bundle))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_unusable_maps_are_refused_and_leave_no_file(tmp_path: Path, bundle: Bundle) -> None:
    raster = blob_raster(100, 100)
    empty = RasterMap(raster.grid, raster.intensity, np.zeros((100, 100), bool))
    coarse = RasterMap(replace(raster.grid, resolution_m=0.5), raster.intensity, raster.observed)
    path = tmp_path / "map.fold"
    for source, words in ((empty, "no observed ground"), (coarse, "0.5 m pixels")):
        with pytest.raises(MapInputError, match=words):
            fold(path, source, LidarPlan(bundle))
    with pytest.raises(ConfigError, match="not fold"):
        fold(path, raster, LidarPlan(Bundle.from_bytes(bundle.to_bytes(localize_only=True))))
    assert list(tmp_path.iterdir()) == []


def test_other_layers_and_broken_parameters_are_refused(tmp_path: Path, folded: dict[int, Path]) -> None:
    with FoldFile.open(folded[2]) as file:
        parameters = file.layer(LAYER).parameters
        with pytest.raises(LayerError):
            FoldedLidar(file, "elsewhere")
    broken: list[dict[str, object]] = [
        {"grid": None},
        {"grid": {**parameters["grid"], "resolution_m": -1.0}},
        {"grid": {**parameters["grid"], "height_px": "many"}},
        {"grid": {**parameters["grid"], "colour": 1}},
        {"tile_blocks": 0},
        {"tile_blocks": 1 << 30},
        {"tile_blocks": 2.0},
        {"block_px": 256},
    ]
    for index, change in enumerate([{}, *broken]):
        path = tmp_path / f"{index}.fold"
        with FoldWriter(path) as writer:
            writer.add_layer(LAYER, "visual" if index == 0 else "lidar", {**parameters, **change})
            writer.put_model(LAYER, MODEL, b"no model")
        with FoldFile.open(path) as file, pytest.raises(LayerError if index == 0 else MapFormatError):
            FoldedLidar(file)
    with FoldWriter(tmp_path / "model.fold") as writer:
        writer.add_layer(LAYER, "lidar", parameters)
        writer.put_model(LAYER, MODEL, b"no model")
    with FoldFile.open(tmp_path / "model.fold") as file, pytest.raises(ModelError):
        FoldedLidar(file)


def test_an_update_codes_the_tiles_in_reach_of_what_changed(
    tmp_path: Path, folded: dict[int, Path], bundle: Bundle, raster: RasterMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.fold"
    path.write_bytes(folded[1].read_bytes())
    intensity, observed = raster.intensity.copy(), raster.observed.copy()
    intensity[512:1024, :300] = intensity[512:1024, :300][::-1]
    observed[:512, 512:] = False
    changed = RasterMap(raster.grid, intensity, observed)
    before = tiles_in(path)
    coded: list[tuple[int, int]] = []
    code = LearnedTiles.tile
    monkeypatch.setattr(LearnedTiles, "tile", lambda *args: (coded.append(args[:1:-1]), code(*args))[1])
    done = update(path, changed, bundle=bundle, before=raster)
    # tile (1, 2) is as it was; the others lie within reach of what changed
    assert coded == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]
    assert ((0, 1) in done.changed, done.removed) == (True, ((1, 0),))
    after = tiles_in(path)
    with FoldFile.open(path) as file:
        layer = FoldedLidar(file)
        block = encode_block(bundle, changed, layer.parameters["spread"], 1, 0)
        assert block is not None
        np.testing.assert_array_equal(layer.codes(64, 0, 64, 64), block.codes)
        assert layer.parameters["observed_px"] == int(observed.sum())
    assert before.keys() - after.keys() == {(1, 0)}
    assert {key for key in after if after[key] != before[key]} == set(done.changed)


def test_an_update_that_does_not_fit_is_refused(tmp_path: Path, folded: dict[int, Path], bundle: Bundle) -> None:
    path = tmp_path / "map.fold"
    path.write_bytes(folded[1].read_bytes())
    raster = blob_raster(1100, 900)
    moved = RasterMap(replace(raster.grid, west_m=raster.grid.west_m + RESOLUTION_M), raster.intensity, raster.observed)
    half = Bundle.from_bytes(bundle.to_bytes(localize_only=True))
    empty = RasterMap(raster.grid, raster.intensity, np.zeros(raster.grid.shape, bool))
    for source, how, error in (
        (moved, {"bundle": bundle}, MapInputError),
        (raster, {"bundle": bundle, "before": moved}, MapInputError),
        (empty, {"bundle": bundle}, MapInputError),
        (raster, {"bundle": random_bundle(name="another")}, ModelError),
        (raster, {"bundle": half}, ConfigError),
    ):
        with pytest.raises(error):
            update(path, source, **how)
    assert path.read_bytes() == folded[1].read_bytes()


def test_an_update_finds_what_changed_and_gives_what_folding_anew_gives(
    tmp_path: Path, folded: dict[int, Path], bundle: Bundle, raster: RasterMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.fold"
    path.write_bytes(folded[1].read_bytes())
    # a file keeps its spread, which a new raster might change a little
    monkeypatch.setattr("foldmap.lidar.fold.global_spread", lambda source: global_spread(raster))
    done = update(path, raster, bundle=bundle)
    assert (done.changed, done.removed) == ((), ())
    assert path.read_bytes() == folded[1].read_bytes()
    intensity = raster.intensity.copy()
    intensity[700:860, 150:330] = intensity[700:860, 150:330][::-1]  # deep inside tile (0, 1)
    changed = RasterMap(raster.grid, intensity, raster.observed)
    assert update(path, changed, bundle=bundle).changed == ((0, 1),)
    fold(tmp_path / "anew.fold", changed, LidarPlan(bundle, 1))
    assert tiles_in(path) == tiles_in(tmp_path / "anew.fold")


def test_a_fine_map_is_folded_in_the_pixels_of_a_coarser_model(
    tmp_path: Path, bundle: Bundle, raster: RasterMap
) -> None:
    """As the reduced map is, but for the ground that counts as observed; and updated alike."""
    path, grid = tmp_path / "map.fold", raster.grid
    fine = RasterMap(replace(grid, resolution_m=RESOLUTION_M / 2), raster.intensity, raster.observed)
    seen = raster.observed.reshape(550, 2, 450, 2)
    count, total = seen.sum((1, 3)), (raster.intensity * raster.observed).reshape(550, 2, 450, 2).sum((1, 3))
    mean = (total / np.maximum(count, 1)).astype(np.float32)
    half = RasterMap(replace(grid, height_px=550, width_px=450), mean, count > 0)
    assert half.observed_m2 > 1.01 * fine.observed_m2
    report = fold(path, fine, LidarPlan(bundle, 1))
    fold(tmp_path / "half.fold", half, LidarPlan(bundle, 1))
    assert tiles_in(path) == tiles_in(tmp_path / "half.fold")
    assert len(tiles_in(path)) == 2
    assert report.observed_m2 == pytest.approx(fine.observed_m2)
    assert report.raster_px == 1100 * 900
    with FoldFile.open(path) as file:
        layer = FoldedLidar(file)
        assert layer.grid == half.grid
        observed_px = layer.parameters["observed_px"]
        assert observed_px * layer.grid.resolution_m**2 == pytest.approx(fine.observed_m2, rel=1e-4)
    done = update(path, fine, bundle=bundle)
    assert (done.changed, done.removed, done.kept) == ((), (), 2)
    intensity = raster.intensity.copy()
    intensity[400:560, 150:330] = intensity[400:560, 150:330][::-1]  # deep inside tile (0, 0), which is twice as large
    changed = RasterMap(fine.grid, intensity, raster.observed)
    assert update(path, changed, bundle=bundle, before=fine).changed == ((0, 0),)
    with FoldFile.open(path) as file:
        assert FoldedLidar(file).parameters["observed_px"] == observed_px
    with pytest.raises(MapInputError, match="another grid"):
        update(path, RasterMap(grid, raster.intensity, raster.observed), bundle=bundle)


def test_a_map_too_fine_or_too_coarse_for_a_model_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    raster = blob_raster(100, 100)
    steps = {0.15: 0, 0.25: 3, 1 / 3: 3, 0.55: 2, 1.0: 1, 1.59: 1, 1.7: 0}
    assert {by: step_of(bundle, RESOLUTION_M * by) for by in steps} == steps
    for by in (0.15, 1.7):
        other = RasterMap(replace(raster.grid, resolution_m=RESOLUTION_M * by), raster.intensity, raster.observed)
        with pytest.raises(MapInputError, match="m pixels, the model"):
            fold(tmp_path / "none.fold", other, LidarPlan(bundle))


def test_a_layer_is_replaced_whole_and_others_stay(tmp_path: Path, folded: dict[int, Path], bundle: Bundle) -> None:
    path = tmp_path / "map.fold"
    path.write_bytes(folded[1].read_bytes())
    small = blob_raster(300, 560, seed=4)
    with FoldUpdater(path) as updater:
        updater.add_layer("other", "street", {})
        updater.put_tile("other", 0, 0, b"kept")
    with FoldUpdater(path) as updater:
        fold_lidar(updater, small, LidarPlan(bundle))
    fold(tmp_path / "alone.fold", small, LidarPlan(bundle))
    assert tiles_in(path) == tiles_in(tmp_path / "alone.fold")
    with FoldFile.open(path) as file:
        assert FoldedLidar(file).grid == small.grid
        assert file.tile("other", 0, 0) == b"kept"


class _Endless:
    """Blobs repeated over any area, made window by window."""

    def __init__(self, height: int, width: int) -> None:
        self.grid = MetricGrid(0.0, 0.0, RESOLUTION_M, height, width)
        self._ground = blob_raster(256, 256, holes=False).intensity

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        rows, cols = np.arange(row, row + height_px), np.arange(col, col + width_px)
        inside = ((rows >= 0) & (rows < self.grid.height_px))[:, None] & ((cols >= 0) & (cols < self.grid.width_px))
        intensity = self._ground[rows[:, None] % 256, cols % 256] * inside
        return RasterMap(self.grid.window(row, col, height_px, width_px), intensity, inside)


def test_memory_does_not_grow_with_the_map(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of everything but the networks, whose work is the same for each block (they are replaced by a constant)."""
    codes = np.ones((TINY.groups, 96, 96), np.uint8)
    monkeypatch.setattr("foldmap.lidar.codec.encode_raster", lambda bundle, raster, spread: codes)
    peaks = {}
    for blocks in (4, 20):
        source = _Endless(blocks * BLOCK_PX, blocks * BLOCK_PX)
        tracemalloc.start()
        count = sum(1 for tile in encode_tiles(bundle, source, 0.1))
        peaks[blocks] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == (blocks // 2) ** 2
    area_km2 = (20 * BLOCK_PX * RESOLUTION_M) ** 2 / 1e6
    assert area_km2 > 4
    assert peaks[20] < 1.2 * peaks[4]


def test_a_shipped_model_is_named_and_one_of_your_own_held(tmp_path: Path, bundle: Bundle) -> None:
    shipped, blobs = bundle_named("fine-16x-3"), blob_raster(600, 500)
    raster = RasterMap(replace(blobs.grid, resolution_m=0.05), blobs.intensity, blobs.observed)
    sizes, codes = [], []
    for name, embed in (("named.fold", False), ("held.fold", True)):
        fold(tmp_path / name, raster, LidarPlan(shipped, embed_model=embed))
        sizes.append((tmp_path / name).stat().st_size)
        with FoldFile.open(tmp_path / name) as file:
            layer = FoldedLidar(file, fast=False)
            assert layer.bundle.to_bytes(localize_only=True) == shipped.to_bytes(localize_only=True)
            codes.append(layer.codes(0, 0, 40, 40))
    assert np.array_equal(*codes)
    assert sizes[0] <= 12_000 < 500_000 < sizes[1]
    assert stored_model(bundle) == bundle.to_bytes(localize_only=True)


def test_what_is_kept_of_the_decoded_map_does_not_depend_on_what_was_asked_before(
    folded: dict[int, Path], raster: RasterMap
) -> None:
    with FoldFile.open(folded[2]) as file:
        fresh, used = FoldedLidar(file), FoldedLidar(file)
        exact = FoldedLidar(file, fast=False)
        for row, col in ((0, 0), (300, 200), (950, 700)):
            used.embedding_for_crop(raster.grid.window(row - 40, col - 90, 330, 350), (150.0, 180.0), 1.1, (160, 170))
        for row, col, heading_rad in ((310, 190, 0.4), (930, 720, -2.0), (-60, 400, 0.0)):
            grid, centre = raster.grid.window(row, col, 300, 320), (149.3, 161.8)
            fresh.forget()
            one, known = fresh.embedding_for_crop(grid, centre, heading_rad, (140, 150))
            other, _ = used.embedding_for_crop(grid, centre, heading_rad, (140, 150))
            np.testing.assert_array_equal(one, other)
            whole, whole_known = exact.embedding(grid)
            np.testing.assert_array_equal(known, whole_known)
            crop, where = turned_crop(one, known, centre, heading_rad, (140, 150))
            expected, _ = turned_crop(whole, known, centre, heading_rad, (140, 150))
            error = np.sqrt(((crop - expected)[:, where] ** 2).mean() / (expected[:, where] ** 2).mean())
            assert where.any()
            assert error < 0.03
