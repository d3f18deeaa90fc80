"""Prices of single cells: the same bits as the coder counts for whole tiles, and differences of those."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from foldmap.coding.context import ContextModel, untrained
from foldmap.coding.pricing import bits_around, flags_of, prices_of
from foldmap.errors import ModelError


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((height, width)), 1.2)
    return np.asarray(noise > 1.6 * noise.std(), np.uint8)


@pytest.fixture(scope="module", params=[4, 8])
def coder(request: pytest.FixtureRequest) -> ContextModel:
    return ContextModel.fit([blobs(seed, 96, 96)[None] for seed in range(8)], 1, block=request.param)


def test_a_tile_costs_what_the_coder_counts(coder: ContextModel) -> None:
    assert coder.tree_nodes.sum() > 10
    for seed, side in enumerate([(64, 64), (37, 50), (1, 9)]):
        tile = blobs(50 + seed, *side)
        counted = coder.cross_entropy_bits(tile[None], adaptive=False)
        prices = prices_of(coder)
        last_row, last_col = tile.shape[0] - 1, tile.shape[1] - 1
        bits = bits_around(tile, flags_of(tile, prices.block), 0, 0, last_row, last_col, True, prices)
        assert bits == pytest.approx(counted, abs=1e-6)


def test_a_change_costs_the_difference_of_whole_tiles(coder: ContextModel) -> None:
    prices, rng = prices_of(coder), np.random.default_rng(9)
    tile = blobs(60, 40, 44)
    for _ in range(150):
        row, col = (int(rng.integers(side)) for side in tile.shape)
        other = tile.copy()
        other[row, col] = 1 - other[row, col]
        here, there = (flags_of(one, prices.block) for one in (tile, other))
        blocks = bool((here != there).any())
        before = bits_around(tile, here, row, col, row, col, blocks, prices)
        after = bits_around(other, there, row, col, row, col, blocks, prices)
        whole = [coder.cross_entropy_bits(one[None], adaptive=False) for one in (tile, other)]
        assert after - before == pytest.approx(whole[1] - whole[0], abs=1e-6)
        tile = other


def test_other_coders_are_refused() -> None:
    with pytest.raises(ModelError, match="2 groups"):
        prices_of(untrained(2, 1))
