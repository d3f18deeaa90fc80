"""Codes and decoding: independent of tiles, of the window, and of what was not observed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from core_scene import RESOLUTION_M, TINY, blob_raster, random_bundle

from foldmap.errors import ConfigError, ModelError
from foldmap.geometry import MetricGrid
from foldmap.lidar.codec import (
    BLOCK_PX,
    DECODE_HALO,
    MIN_SHARE,
    Decoder,
    encode_block,
    encode_raster,
    global_spread,
    known_of,
    lattice_shape,
)
from foldmap.lidar.fold import encode_tiles
from foldmap.lidar.normalize import network_input, spread_of
from foldmap.lidar.presets import PRESETS, Preset
from foldmap.lidar.source import RasterMap

DEEPEST = Preset("deepest", (4, 4, 4, 4), 1, 4, (4, 4), (4, 4, 4, 4), 2, 8, 1, 8)


def _random_codes(preset: Preset, rows: int, cols: int, seed: int = 0) -> np.ndarray:
    high = preset.group_channels + 1
    return np.random.default_rng(seed).integers(0, high, (preset.groups, rows, cols)).astype(np.uint8)


def test_codes_are_the_threshold_of_the_grouped_softmax() -> None:
    bundle, raster = random_bundle(), blob_raster(96, 64)
    codes = encode_raster(bundle, raster, 0.1)
    with torch.inference_mode():
        logits = (
            bundle.model.encoder(bundle.model.map_embedding(torch.from_numpy(network_input(raster, 0.1))[None]))[0]
            .double()
            .numpy()
        )
    share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    on = share >= 0.5
    seen = raster.observed.reshape(12, 8, 8, 8).mean(axis=(1, 3)) >= MIN_SHARE
    expected = np.where(on.any(axis=1), on.argmax(axis=1) + 1, 0) * seen
    sure = np.abs(share - 0.5).min(axis=1) > 1e-5
    np.testing.assert_array_equal(codes[sure], expected[sure])
    assert (codes[:, ~seen] == 0).all()
    assert len(np.unique(codes)) > 3


def test_codes_do_not_depend_on_the_tiling() -> None:
    bundle, raster = random_bundle(), blob_raster(1100, 700)
    cells = BLOCK_PX // TINY.downsample
    whole = {}
    for tile_blocks in (1, 2, 3):
        canvas = np.zeros((TINY.groups, 6 * cells, 6 * cells), np.uint8)
        side = tile_blocks * cells
        for tile in encode_tiles(bundle, raster, 0.1, tile_blocks):
            canvas[:, tile.row * side : (tile.row + 1) * side, tile.column * side : (tile.column + 1) * side] = (
                tile.codes
            )
        whole[tile_blocks] = canvas
    np.testing.assert_array_equal(whole[1], whole[2])
    np.testing.assert_array_equal(whole[1], whole[3])
    assert whole[1].any()
    with pytest.raises(ConfigError, match="blocks a tile"):
        next(encode_tiles(bundle, raster, 0.1, 0))


def test_an_empty_block_is_none_and_unobserved_cells_are_zero() -> None:
    bundle = random_bundle()
    raster = blob_raster(512, 1024, holes=False)
    observed = raster.observed.copy()
    observed[:, 300:] = False
    raster = RasterMap(raster.grid, raster.intensity, observed)
    assert encode_block(bundle, raster, 0.1, 0, 1) is None
    block = encode_block(bundle, raster, 0.1, 0, 0)
    assert block is not None
    assert block.observed_px == 512 * 300
    assert (block.codes[:, :, 38:] == 0).all()


@pytest.mark.parametrize("preset", [TINY, PRESETS["small-16x"], PRESETS["small-8x"], DEEPEST], ids=lambda p: p.name)
def test_the_decoder_reaches_no_further_than_its_halo(preset: Preset) -> None:
    """Exactly: codes beyond DECODE_HALO cells of a window change no bit of it; nearer ones do."""
    decoder = Decoder(random_bundle(preset), fast=False)
    rows = 2 * DECODE_HALO + 4
    codes = _random_codes(preset, rows + 6, rows + 6)
    inner = slice(DECODE_HALO + 3, rows + 3 - DECODE_HALO)
    pixels = slice(inner.start * preset.downsample, inner.stop * preset.downsample)
    other = _random_codes(preset, rows + 6, rows + 6, seed=1)
    other[:, 3 : rows + 3, 3 : rows + 3] = codes[:, 3 : rows + 3, 3 : rows + 3]
    one, two = decoder.decode(codes), decoder.decode(other)
    np.testing.assert_array_equal(one[:, pixels, pixels], two[:, pixels, pixels])
    assert not np.array_equal(one, two)
    near = codes.copy()
    near[:, inner.start - 1] = (near[:, inner.start - 1] + 1) % (preset.group_channels + 1)
    assert not np.array_equal(decoder.decode(near)[:, pixels, pixels], one[:, pixels, pixels])


def test_a_window_alone_equals_the_cut_of_the_whole() -> None:
    decoder = Decoder(random_bundle(), fast=False)
    codes = _random_codes(TINY, 60, 70)
    whole = decoder.decode(codes)
    for top, left, rows, cols in ((8, 8, 10, 12), (20, 31, 7, 9), (40, 50, 12, 12)):
        part = codes[:, top - 8 : top + rows + 8, left - 8 : left + cols + 8]
        window = decoder.decode(part)[:, 64 : 64 + 8 * rows, 64 : 64 + 8 * cols]
        cut = whole[:, 8 * top : 8 * (top + rows), 8 * left : 8 * (left + cols)]
        np.testing.assert_allclose(window, cut, rtol=1e-5, atol=1e-6)


def test_the_fast_decoder_is_the_plain_network() -> None:
    bundle = random_bundle(PRESETS["small-8x"])
    codes = _random_codes(PRESETS["small-8x"], 16, 12)
    one_hot = np.zeros((1, 2, 16, 16, 12), np.float32)
    for symbol in range(1, 17):
        one_hot[0, :, symbol - 1] = codes == symbol
    raster = blob_raster(70, 90)
    x = network_input(raster, 0.1)
    padded = torch.zeros(1, 2, 80, 96)
    padded[..., :70, :90] = torch.from_numpy(x)
    with torch.inference_mode():
        plain = bundle.model.decoder(torch.from_numpy(one_hot))[0].numpy()
        embedded = bundle.model.sweep_embedding(padded)[0, :, :70, :90].numpy()
    exact, fast = Decoder(bundle, fast=False), Decoder(bundle)
    for ours, expected in ((exact.decode(codes), plain), (exact.embed(x), embedded)):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * float(np.abs(expected).max()))
    for ours, expected in ((fast.decode(codes), plain), (fast.embed(x), embedded)):
        assert ours.dtype == np.float32
        assert float(((ours - expected) ** 2).mean()) < 0.03**2 * float((expected**2).mean())
    assert "keep.0.1.running_mean" in "".join(bundle.model.sweep_embedding.state_dict())  # the bundle is left as it is


def test_codes_of_another_model_are_refused() -> None:
    decoder = Decoder(random_bundle())
    for codes in (np.full((1, 4, 4), 9, np.uint8), np.zeros((2, 4, 4), np.uint8)):
        with pytest.raises(ModelError, match="do not fit"):
            decoder.decode(codes)


def test_known_is_a_cell_and_its_neighbours() -> None:
    codes = np.zeros((2, 6, 7), np.uint8)
    codes[1, 0, 2] = 3
    expected = np.zeros((6, 7), bool)
    expected[0:2, 1:4] = True
    np.testing.assert_array_equal(known_of(codes, 8), np.kron(expected, np.ones((8, 8), bool)))


class _Dot:
    """A huge raster with one observed block."""

    def __init__(self, blocks: int, at: tuple[int, int]) -> None:
        self.grid = MetricGrid(0.0, 0.0, RESOLUTION_M, blocks * BLOCK_PX, blocks * BLOCK_PX)
        self._dot, self._at = blob_raster(BLOCK_PX, BLOCK_PX, holes=False), at

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        grid = self.grid.window(row, col, height_px, width_px)
        if (row // BLOCK_PX, col // BLOCK_PX) == self._at and height_px == BLOCK_PX:
            return RasterMap(grid, self._dot.intensity, self._dot.observed)
        return RasterMap(grid, np.zeros(grid.shape, np.float32), np.zeros(grid.shape, bool))


def test_the_spread_of_a_nearly_empty_map_is_found() -> None:
    dot = blob_raster(BLOCK_PX, BLOCK_PX, holes=False)
    expected = spread_of(dot.intensity, dot.observed, RESOLUTION_M)
    source = _Dot(25, (13, 7))  # 625 blocks, of which an even pick looks at 512
    missed = sorted(set(range(625)) - set(np.linspace(0, 624, 512).astype(int).tolist()))
    source._at = divmod(missed[40], 25)
    assert lattice_shape(source) == (25, 25)
    assert global_spread(source) == expected
    raster = blob_raster(700, 900)
    assert global_spread(raster) == global_spread(raster)
    assert 0.5 < global_spread(raster) / spread_of(raster.intensity, raster.observed, RESOLUTION_M) < 2
