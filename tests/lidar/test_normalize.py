"""Normalization against a plain loop, and what it must not see."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foldmap.errors import MapInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.normalize import CLIP, SPREAD_FLOOR, WINDOW_CELLS, cell_px, network_input, normalize, spread_of
from foldmap.lidar.source import RasterMap


def _scene(seed: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 0.9, shape).astype(np.float32), rng.random(shape) > 0.3


def _normal(intensity: np.ndarray, observed: np.ndarray, resolution_m: float, spread: float) -> np.ndarray:
    return normalize(intensity.astype(np.float32), observed, resolution_m, spread)


def _cell_moments(intensity: np.ndarray, observed: np.ndarray, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of what is observed in the 9 x 9 cells around each cell."""
    rows, cols = (math.ceil(side / cell) for side in intensity.shape)
    mean, spread = np.zeros((rows, cols)), np.zeros((rows, cols))
    for r in range(rows):
        for c in range(cols):
            window = np.s_[max(r - 4, 0) * cell : (r + 5) * cell, max(c - 4, 0) * cell : (c + 5) * cell]
            values = intensity[window][observed[window]].astype(np.float64)
            if len(values):
                mean[r, c], spread[r, c] = values.mean(), values.std()
    return mean, spread


def _bilinear(cells: np.ndarray, cell: int, row: int, col: int) -> float:
    """Cell values at a pixel, cell centres as knots, flat beyond the outer ones."""
    at = [min(max((p + 0.5) / cell - 0.5, 0), n - 1) for p, n in zip((row, col), cells.shape, strict=True)]
    r, c = (min(int(a), n - 2) for a, n in zip(at, cells.shape, strict=True))
    v, u = at[0] - r, at[1] - c
    upper = (1 - u) * cells[r, c] + u * cells[r, c + 1]
    return float((1 - v) * upper + v * ((1 - u) * cells[r + 1, c] + u * cells[r + 1, c + 1]))


@pytest.mark.parametrize(("resolution_m", "cell", "shape"), [(0.33, 1, (23, 30)), (0.05, 8, (90, 100))])
def test_equals_the_plain_loop(resolution_m: float, cell: int, shape: tuple[int, int]) -> None:
    assert cell_px(resolution_m) == cell
    intensity, observed = _scene(1, shape)
    spread = 0.3
    got = _normal(intensity, observed, resolution_m, spread)
    mean, local = _cell_moments(intensity, observed, cell)
    for row in range(0, shape[0], 3):
        for col in range(0, shape[1], 3):
            scale = max(_bilinear(local, cell, row, col), SPREAD_FLOOR * spread)
            value = (intensity[row, col] - _bilinear(mean, cell, row, col)) / scale
            expected = np.clip(value, -CLIP, CLIP) if observed[row, col] else 0.0
            assert got[0, row, col] == pytest.approx(expected, abs=2e-4)
    np.testing.assert_array_equal(got[1], observed)


@pytest.mark.parametrize("resolution_m", [0.05, 0.33])
@pytest.mark.parametrize(("gain", "offset"), [(255.0, 0.0), (3.0, -0.5), (0.1, 0.2)])
def test_gain_and_offset_do_not_matter(resolution_m: float, gain: float, offset: float) -> None:
    intensity, observed = _scene(2, (80, 88))
    other = gain * intensity + offset
    spread, other_spread = (spread_of(image, observed, resolution_m) for image in (intensity, other))
    assert other_spread == pytest.approx(gain * spread, rel=1e-3)
    first = _normal(intensity, observed, resolution_m, spread)
    np.testing.assert_allclose(_normal(other, observed, resolution_m, other_spread), first, atol=2e-3)


@pytest.mark.parametrize("resolution_m", [0.05, 0.33])
def test_what_is_not_observed_has_no_influence(resolution_m: float) -> None:
    intensity, observed = _scene(3, (70, 75))
    clean = np.where(observed, intensity, 0)
    for junk in (1e9, -5.0, np.nan, np.inf):
        dirty = np.where(observed, intensity, np.float32(junk)).astype(np.float32)
        assert spread_of(dirty, observed, resolution_m) == spread_of(clean, observed, resolution_m)
        np.testing.assert_array_equal(
            _normal(dirty, observed, resolution_m, 0.2), _normal(clean, observed, resolution_m, 0.2)
        )


@pytest.mark.parametrize("resolution_m", [0.05, 0.2, 0.33])
def test_reaches_no_further_than_its_halo(resolution_m: float) -> None:
    intensity, observed = _scene(4, (160, 160))
    changed = intensity.copy()
    changed[:, 80:] = 1.0 - changed[:, 80:]
    far = 80 - (WINDOW_CELLS // 2 + 2) * cell_px(resolution_m)
    one, other = (_normal(image, observed, resolution_m, 0.2)[0, :, :far] for image in (intensity, changed))
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert (
        np.abs(_normal(intensity, observed, resolution_m, 0.2) - _normal(changed, observed, resolution_m, 0.2)).max()
        > 0.1
    )


def test_empty_and_flat_ground_is_zero_not_nan() -> None:
    nothing = np.zeros((40, 40), bool)
    flat = np.full((40, 40), 0.5, np.float32)
    assert spread_of(flat, nothing, 0.1) == 0.0
    for observed, spread in ((nothing, 0.0), (~nothing, 0.0), (~nothing, 0.1)):
        got = _normal(flat, observed, 0.1, spread)
        assert np.isfinite(got).all()
        assert np.abs(got[0]).max() <= (1e-3 if spread else CLIP)
    one = nothing.copy()
    one[3, 5] = True  # off the cells' first pixels
    assert np.isfinite(spread_of(flat, one, 0.1))
    assert np.isfinite(_normal(flat, one, 0.1, spread_of(flat, one, 0.1))).all()


@pytest.mark.parametrize("spread", [float("nan"), float("inf"), -1.0])
def test_an_unusable_spread_is_refused(spread: float) -> None:
    raster = RasterMap(MetricGrid(0, 0, 0.1, 8, 8), np.ones((8, 8), np.float32), np.ones((8, 8), bool))
    with pytest.raises(MapInputError, match="spread"):
        network_input(raster, spread)
