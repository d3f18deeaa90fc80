"""Training pairs: aligned, repeatable, and near to what real sweeps look like."""

from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import ConfigError
from foldmap.lidar.relief import FLAT_M2, SHARE
from foldmap.town.lidar.pairs import LEVELS, PairCache, write_pairs
from foldmap.town.lidar.pairs import _draw as draw
from foldmap.town.lidar.sampling import TrainingPair, sample_pair

SMALL = {"map_size_px": (320, 360), "sweep_size_px": (240, 260)}
COARSE = {"map_size_px": (128, 128), "sweep_size_px": (96, 96), "resolution_m": 0.33}


def _sample(seed: int) -> TrainingPair:
    return sample_pair(np.random.default_rng(seed), **SMALL)  # type: ignore[arg-type]


def _peak(pair: TrainingPair, reach: int = 4) -> tuple[int, int]:
    """Shift of the map against the query with the highest correlation over shared pixels, counted out plainly."""
    height, width = pair.sweep_intensity.shape
    top, left = ((m - s) // 2 for m, s in zip(pair.map.grid.shape, (height, width), strict=True))
    scores = {}
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            window = np.s_[top + i : top + i + height, left + j : left + j + width]
            both = pair.map.observed[window] & pair.sweep_observed
            scores[i, j] = np.corrcoef(pair.map.intensity[window][both], pair.sweep_intensity[both])[0, 1]
    return max(scores, key=lambda shift: scores[shift])


def test_same_state_same_pair() -> None:
    a, b, c = _sample(5), _sample(5), _sample(6)
    assert a.map.intensity.tobytes() == b.map.intensity.tobytes()
    assert a.sweep_intensity.tobytes() == b.sweep_intensity.tobytes()
    assert a.offset_px == b.offset_px
    assert a.sweep_intensity.tobytes() != c.sweep_intensity.tobytes()


def test_truth_is_centre_on_centre() -> None:
    shifts = np.array([_peak(_sample(seed)) for seed in range(6)])
    assert (np.abs(shifts) <= 1).all(axis=1).mean() >= 0.8
    assert np.abs(np.median(shifts, axis=0)).max() == 0


def test_pairs_vary_and_hold_sane_values() -> None:
    pairs = [_sample(seed) for seed in range(20, 25)]
    shares = [p.map.observed.mean() for p in pairs]
    assert min(shares) > 0.02
    assert max(shares) - min(shares) > 0.1
    for pair in pairs:
        assert 0.0 <= pair.sweep_intensity.min() <= pair.sweep_intensity.max() <= 1.0
        assert not pair.sweep_intensity[~pair.sweep_observed].any()
        assert max(abs(o) for o in pair.offset_px) <= 0.5


def test_relief_shows_what_stands_and_changes_nothing_else() -> None:
    plain, relief = (
        sample_pair(np.random.default_rng(5), relief=mixes, **COARSE)  # type: ignore[arg-type]
        for mixes in (False, True)
    )
    for seen, image, before in (
        (relief.map.observed, relief.map.intensity, plain.map.intensity),
        (relief.sweep_observed, relief.sweep_intensity, plain.sweep_intensity),
    ):
        flat = (1 - SHARE) * np.clip(before, 0, 1) + SHARE * FLAT_M2**0.25
        assert (image[seen] >= flat[seen] - 1e-6).all()
        assert np.median((image - flat)[seen]) < 0.02  # the road
        assert image[seen].max() > 0.5  # facades, poles
        assert not image[~seen].any()
    np.testing.assert_array_equal(relief.map.observed, plain.map.observed)
    np.testing.assert_array_equal(relief.sweep_observed, plain.sweep_observed)


def test_a_query_larger_than_the_crop_is_refused() -> None:
    with pytest.raises(ConfigError, match="larger map crop"):
        sample_pair(np.random.default_rng(0), map_size_px=(100, 100), sweep_size_px=(120, 80))


def test_cache_gives_back_what_was_drawn(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2, seed=2, coarse=True)
    cache = PairCache(tmp_path)
    assert len(cache) == 2
    assert cache.resolution_m == 0.33
    again = tmp_path / "again"
    write_pairs(again, 1, seed=2, coarse=True)
    for name in ("map_intensity", "map_observed", "sweep_intensity", "sweep_observed", "shift_px"):
        np.testing.assert_array_equal(getattr(cache[0], name), getattr(PairCache(again)[0], name))
    drawn = draw(2, 0, True)
    first = cache[0]
    assert first.map_intensity.shape == first.map_observed.shape == (192, 192)
    assert first.sweep_intensity.shape == first.sweep_observed.shape == (128, 128)
    np.testing.assert_array_equal(first.sweep_observed, drawn.sweep_observed)
    # The content was displaced by the offset, so the centre lies the other way.
    np.testing.assert_allclose(first.shift_px, (-drawn.offset_px[0], -drawn.offset_px[1]))
    stored = first.sweep_intensity * LEVELS
    np.testing.assert_allclose(stored, np.round(stored), atol=1e-3)


def test_pairs_of_other_pixels_show_the_same_ground(tmp_path: Path) -> None:
    write_pairs(tmp_path, 1, seed=2, resolution_m=0.2)
    cache = PairCache(tmp_path)
    assert cache.resolution_m == 0.2
    assert (cache[0].map_observed.shape, cache[0].sweep_observed.shape) == ((160, 190), (120, 150))
    fine = draw(2, 0, False, resolution_m=0.2)
    np.testing.assert_array_equal(cache[0].map_observed, fine.map.observed)
    for pixels_m in (0.02, 0.33):
        with pytest.raises(ConfigError, match=f"in pixels of {pixels_m:g} m"):
            write_pairs(tmp_path / "none", 1, seed=2, resolution_m=pixels_m)
    assert not (tmp_path / "none").exists()


def test_an_empty_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no pairs"):
        PairCache(tmp_path)


@pytest.mark.shared
def test_queries_look_like_real_ones(shared_data: Path) -> None:
    """Share of observed pixels and spread of intensity of five aggregated HDL-64E sweeps, against the town's."""
    laspy = pytest.importorskip("laspy")
    folder = shared_data / "lidar" / "kitti-hdl64"
    poses = np.loadtxt(folder / "poses.txt").reshape(-1, 3, 4)
    real_share, real_spread = [], []
    for middle in (30, 85):
        middle_SE3_world = np.linalg.inv(np.vstack([poses[middle], [0, 0, 0, 1]]))
        sums, counts = np.zeros(480 * 600), np.zeros(480 * 600)
        for index in range(middle - 2, middle + 3):
            sweep = laspy.read(folder / "sweeps" / f"{index:06d}.laz")
            xyz = np.stack([sweep.x, sweep.y, sweep.z, np.ones(len(sweep.x))])
            x, y, z = (middle_SE3_world @ np.vstack([poses[index], [0, 0, 0, 1]]) @ xyz)[:3]
            keep = (np.abs(z + 1.73) < 0.35) & (np.abs(x) < 15) & (np.abs(y) < 12)
            pixel = ((12 - y[keep]) // 0.05).astype(int) * 600 + ((x[keep] + 15) // 0.05).astype(int)
            sums += np.bincount(pixel, np.asarray(sweep.intensity)[keep] / 65535, 480 * 600)
            counts += np.bincount(pixel, minlength=480 * 600)
        real_share.append((counts > 0).mean())
        real_spread.append((sums[counts > 0] / counts[counts > 0]).std())
    pairs = [sample_pair(np.random.default_rng(seed)) for seed in range(4)]
    share = np.median([p.sweep_observed.mean() for p in pairs])
    spread = np.median([p.sweep_intensity[p.sweep_observed].std() for p in pairs])
    assert share == pytest.approx(np.mean(real_share), abs=0.12)
    assert spread == pytest.approx(np.mean(real_spread), rel=0.4)
