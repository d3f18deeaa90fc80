"""Batches: seeded, and the turn and shift that they name are where the sweep matches the map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from core_scene import blob_pairs, blobs

from foldmap.errors import ConfigError
from foldmap.geometry import MetricGrid
from foldmap.lidar.match.exhaustive import match_fft
from foldmap.lidar.pairs.sampling import PairSampler, RasterPair, cell_weight
from foldmap.lidar.source import RasterMap, ReducedRaster


def _clean_pair(seed: int, sweep_px: int, shift: tuple[int, int]) -> RasterPair:
    ground = blobs(np.random.default_rng(seed), 200)
    top, left = (200 - sweep_px) // 2 + shift[0], (200 - sweep_px) // 2 + shift[1]
    sweep = ground[top : top + sweep_px, left : left + sweep_px].copy()
    return RasterPair(
        ground, np.ones_like(ground, bool), sweep, np.ones_like(sweep, bool), (float(shift[0]), float(shift[1]))
    )


def test_the_same_seed_gives_the_same_batches() -> None:
    pairs = blob_pairs(5, 1)
    first, second, other = (PairSampler(pairs, 0.2, 64, 112, seed) for seed in (7, 7, 8))
    for _ in range(3):
        one, two, three = first.batch(3), second.batch(3), other.batch(3)
        for name in ("map_B2HW", "sweep_B2HW", "turn_rad_B", "shift_px_B2"):
            assert torch.equal(getattr(one, name), getattr(two, name))
        assert not torch.equal(one.turn_rad_B, three.turn_rad_B)
    assert one.map_B2HW.shape == (3, 2, 112, 112)
    assert one.sweep_B2HW.shape == (3, 2, 64, 64)


@pytest.mark.parametrize(("whole", "crop"), [(96, 96), (110, 80)])
def test_the_sweep_matches_where_the_batch_says(whole: int, crop: int) -> None:
    """Over whole and cropped sweeps, all quadrants of the turn, and both branches of the mirror."""
    radius = 16
    pairs = [_clean_pair(seed, whole, (seed - 2, 3 - 2 * seed)) for seed in range(5)]
    sampler = PairSampler(pairs, 0.2, crop, 144, 3)
    turns = []
    for _ in range(6):
        batch = sampler.batch(4)
        window = crop + 2 * radius
        cut = (144 - window) // 2
        for one_map, sweep, turn, shift in zip(
            batch.map_B2HW, batch.sweep_B2HW, batch.turn_rad_B, batch.shift_px_B2, strict=True
        ):
            piece = one_map[:1, cut : cut + window, cut : cut + window].numpy()
            headings = float(turn) + np.deg2rad([-6.0, 0.0, 6.0])
            scores = match_fft(piece, sweep[:1].numpy(), headings, radius)
            t, row, col = np.unravel_index(scores.argmax(), scores.shape)
            assert t == 1
            assert np.abs(np.array([row, col]) - radius - shift.numpy()).max() <= 1.0
            turns.append(float(turn))
    assert min(turns) < -1.6
    assert max(turns) > 1.6
    assert min(np.abs(turns)) < 1.2


def test_mirrored_batches_are_among_them() -> None:
    """A mirrored batch matches its own map and not the turned, unmirrored one: both kinds must occur."""
    pair = _clean_pair(1, 96, (0, 0))
    sampler = PairSampler([pair], 0.2, 96, 144, 5)
    plain = torch.from_numpy(pair.sweep_intensity)
    kinds = []
    for _ in range(16):
        seen = sampler.batch(1).sweep_B2HW[0, 0]
        scores = [
            float(torch.corrcoef(torch.stack([seen.flatten(), image.flatten()]))[0, 1])
            for image in (plain, plain.flip(0))
        ]
        assert max(scores) > 0.7
        kinds.append(scores[1] > scores[0])
    assert 3 <= sum(kinds) <= 13


def test_a_sweep_smaller_than_the_crop_is_padded_as_unobserved() -> None:
    pair = _clean_pair(2, 50, (0, 0))
    batch = PairSampler([pair], 0.2, 64, 112, 1).batch(2)
    assert (batch.sweep_B2HW[:, 1].sum(dim=(1, 2)) == 2500).all()
    assert torch.isfinite(batch.map_B2HW).all()


def test_unusable_settings_are_refused() -> None:
    pairs = blob_pairs(1, 1)
    with pytest.raises(ConfigError, match="no training pairs"):
        PairSampler([], 0.2, 64, 112, 0)
    for sweep_px, map_px in ((60, 112), (64, 100), (112, 64)):
        with pytest.raises(ConfigError, match="multiples of 16"):
            PairSampler(pairs, 0.2, sweep_px, map_px, 0)


def test_cell_weight_marks_cells_with_any_ground() -> None:
    observed = (np.random.default_rng(0).random((2, 1, 32, 48)) > 0.985).astype(np.float32)
    expected = observed.reshape(2, 4, 8, 6, 8).any(axis=(2, 4))
    np.testing.assert_array_equal(cell_weight(torch.from_numpy(observed), 8).numpy(), expected)


def test_a_reduced_raster_is_the_mean_of_what_was_observed() -> None:
    rng = np.random.default_rng(3)
    observed = rng.random((23, 31)) < 0.4
    intensity = np.where(observed, rng.random((23, 31)), np.nan).astype(np.float32)
    small = ReducedRaster(RasterMap(MetricGrid(7.0, 9.0, 0.05, 23, 31), intensity, observed), 3)
    assert small.grid == MetricGrid(7.0, 9.0, 0.05 * 3, 8, 11)
    read = small.read(-1, 2, 9, 10)  # beyond the raster to every side
    assert read.grid == small.grid.window(-1, 2, 9, 10)
    for row in range(9):
        for column in range(10):
            down, right = 3 * (row - 1), 3 * (column + 2)
            of = np.s_[max(down, 0) : max(down + 3, 0), right : right + 3]
            assert read.observed[row, column] == observed[of].any()
            if observed[of].any():
                assert read.intensity[row, column] == pytest.approx(np.nanmean(intensity[of]), rel=1e-5)


@pytest.mark.parametrize("sizes", [(120, 80), (121, 80), (120, 83), (122, 79)])
@pytest.mark.parametrize("step", [2, 3])
def test_a_reduced_pair_shows_the_sweep_where_it_was(sizes: tuple[int, int], step: int) -> None:
    map_px, sweep_px = sizes
    ground = blobs(np.random.default_rng(1), map_px, 6.0)
    top, left = 19, 11
    sweep = ground[top : top + sweep_px, left : left + sweep_px]
    shift_px = tuple(corner + (sweep_px - map_px) / 2 for corner in (top, left))
    pair = RasterPair(ground, np.ones_like(ground, bool), sweep, np.ones_like(sweep, bool), shift_px)  # type: ignore[arg-type]
    small = pair.reduced(step)
    assert small.map_observed.shape == (map_px // step, map_px // step)
    # Where the sweep's corner lies on the map by the centres' distance, in the pixels it had.
    for axis, corner in enumerate((top, left)):
        sides = small.sweep_observed.shape[axis], small.map_observed.shape[axis]
        assert step * (small.shift_px[axis] - (sides[0] - sides[1]) / 2) == pytest.approx(corner)
