"""Classical codecs: exact where they promise it, close where they do not, and complete payloads."""

import imagecodecs
import numpy as np
import pytest
from bench_scene import painted_raster
from scipy.ndimage import gaussian_filter

from foldmap.bench.lidar.baselines.image_codecs import (
    ImageMapCodec,
    ThresholdMapCodec,
    decode_mask,
    encode_mask,
    standard_codecs,
)
from foldmap.bench.lidar.baselines.rasters import block_sum, enlarge, inpaint, local_mean, reduce_observed
from foldmap.errors import ConfigError, MapFormatError, MapInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.source import RasterMap


def _psnr_db(raster: RasterMap, decoded: RasterMap) -> float:
    seen = raster.observed
    error = (raster.intensity - decoded.intensity)[seen].astype(np.float64)
    return float(10 * np.log10(np.ptp(raster.intensity[seen]) ** 2 / np.mean(error**2)))


@pytest.mark.parametrize("family", ["raw16", "png16"])
def test_lossless_codecs_are_exact_to_16_bit(family: str) -> None:
    raster = painted_raster()
    codec = ImageMapCodec(family)
    decoded = codec.decode(codec.encode(raster))
    assert decoded.grid == raster.grid
    assert (decoded.observed == raster.observed).all()
    step = np.ptp(raster.intensity[raster.observed]) / 65534
    assert np.abs(decoded.intensity - raster.intensity).max() <= 0.51 * step
    again = codec.decode(codec.encode(decoded))
    assert np.abs(again.intensity - decoded.intensity).max() <= 0.01 * step


@pytest.mark.parametrize(
    ("family", "level", "psnr_db"),
    [("jpeg", 50, 20), ("webp", 50, 20), ("jxl", 50, 20), ("avif", 50, 22), ("jpeg2000", 34, 28), ("avif", 5, 14)],
)
def test_lossy_codecs_stay_close(family: str, level: int, psnr_db: float) -> None:
    raster = painted_raster()
    codec = ImageMapCodec(family, level)
    payload = codec.encode(raster)
    decoded = codec.decode(payload)
    assert decoded.grid == raster.grid
    assert decoded.observed[raster.observed].all()
    assert psnr_db < _psnr_db(raster, decoded) < 60
    assert len(payload) < len(ImageMapCodec("png16").encode(raster)) / 3
    assert payload == codec.encode(raster)


@pytest.mark.parametrize("family", ["jpeg", "webp", "jxl", "avif"])
def test_lower_quality_is_smaller(family: str) -> None:
    raster = painted_raster()
    sizes = [len(ImageMapCodec(family, level).encode(raster)) for level in (50, 20, 10, 5)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


def test_reduction_shrinks_and_keeps_positions() -> None:
    # A smooth ramp survives reduction and enlargement without a shift; a shift of half a coarse pixel would show.
    grid = MetricGrid(0.0, 0.0, 0.05, 160, 200)
    rows, cols = np.mgrid[:160, :200]
    intensity = (0.2 + 0.002 * cols + 0.001 * rows).astype(np.float32)
    raster = RasterMap(grid, intensity, np.ones(grid.shape, bool))
    sizes = []
    for reduction in (1, 2, 4, 8):
        codec = ImageMapCodec("png16", 0, reduction)
        payload = codec.encode(raster)
        sizes.append(len(payload))
        inner = np.s_[16:-16, 16:-16]
        assert np.abs(codec.decode(payload).intensity - intensity)[inner].max() < 2e-4
    assert sizes[-1] < sizes[0] / 4


def test_unobserved_ground_costs_almost_nothing() -> None:
    raster = painted_raster()
    holes = np.zeros(raster.grid.shape, bool)
    holes[60:180, 60:180] = True
    sparse = RasterMap(raster.grid, np.where(holes, 0, raster.intensity), raster.observed & ~holes)
    codec = ImageMapCodec("jxl", 50)
    share = sparse.observed.sum() / raster.observed.sum()
    assert len(codec.encode(sparse)) < len(codec.encode(raster)) * (share + 0.1)


def test_threshold_bits_are_the_local_contrast() -> None:
    raster = painted_raster(resolution_m=0.1)
    codec = ThresholdMapCodec(pixel_m=0.2, sigma_m=1.0, quantile=0.7)
    payload = codec.encode(raster)
    decoded = codec.decode(payload)
    # Independent: block means by reshape, local mean by SciPy on the fully observed part.
    coarse = raster.intensity.reshape(120, 2, 120, 2).mean((1, 3))
    detail = coarse - gaussian_filter(coarse, 5.0)
    inner = np.s_[75:110, 75:110]
    bits = decoded.intensity.reshape(120, 2, 120, 2).mean((1, 3))[inner] > 0.5
    expected = detail[inner] > np.quantile(detail[inner], 1 - bits.mean())
    assert (bits == expected).mean() > 0.93
    assert len(payload) < 120 * 120 / 8


def test_threshold_needs_a_multiple_of_the_resolution() -> None:
    with pytest.raises(ConfigError, match="multiple"):
        ThresholdMapCodec(pixel_m=0.25).encode(painted_raster(resolution_m=0.1))


def test_mask_covers_all_observed_pixels_and_little_else() -> None:
    raster = painted_raster()
    mask = decode_mask(encode_mask(raster.observed, 0.1), raster.grid)
    assert mask[raster.observed].all()
    assert mask.mean() < raster.observed.mean() + 0.05
    rows = -(-240 // 8)
    assert (
        mask.reshape(rows, 8, rows, 8).any((1, 3)).sum() == (block_sum(raster.observed.astype(np.float32), 8) > 0).sum()
    )


@pytest.mark.parametrize("codec", [ImageMapCodec("webp", 20, 2), ThresholdMapCodec(0.2), ImageMapCodec("png16")])
def test_a_map_of_nothing_is_refused(codec: ImageMapCodec | ThresholdMapCodec) -> None:
    raster = painted_raster()
    empty = RasterMap(raster.grid, np.zeros_like(raster.intensity), np.zeros(raster.grid.shape, bool))
    with pytest.raises(MapInputError):
        codec.encode(empty)


def test_foreign_payloads_are_refused() -> None:
    codec = ImageMapCodec("webp", 20)
    with pytest.raises(MapFormatError):
        codec.decode(b"short")
    payload = codec.encode(painted_raster())
    other = ImageMapCodec("webp", 20, 2)
    with pytest.raises(MapFormatError):
        other.decode(payload)


def test_names_are_distinct_and_unknown_families_refused() -> None:
    names = [codec.name for codec in standard_codecs()]
    assert len(names) == len(set(names)) == 1 + 4 * (1 + 16 + 4) + 3
    with pytest.raises(ConfigError, match="no image format"):
        ImageMapCodec("gif")


def test_avif_gets_colour_because_grey_is_lossless() -> None:
    # The reason why baselines pass RGB: the grey path ignores the level.
    grey = (painted_raster().intensity * 255).astype(np.uint8)
    coded = imagecodecs.avif_encode(np.repeat(grey[..., None], 3, 2), level=5, speed=6)
    assert len(coded) < grey.size / 10


def test_reduce_ignores_unobserved_pixels() -> None:
    intensity = np.array([[1.0, 9.0, 5.0], [3.0, 9.0, 5.0]], np.float32)
    weight = np.array([[1.0, 0.0, 2.0], [1.0, 0.0, 0.0]], np.float32)
    mean, weights = reduce_observed(intensity, weight, 2)
    assert mean.tolist() == [[2.0, 5.0]]
    assert weights.tolist() == [[2.0, 2.0]]


def test_inpainting_keeps_what_is_known_and_stays_between() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((37, 53)).astype(np.float32)
    observed = rng.random((37, 53)) < 0.2
    filled = inpaint(image, observed)
    assert (filled[observed] == image[observed]).all()
    assert filled.min() >= image[observed].min() - 1e-6
    assert filled.max() <= image[observed].max() + 1e-6
    assert (inpaint(image, np.zeros_like(observed)) == 0).all()
    constant = np.full((9, 9), 0.4, np.float32)
    assert inpaint(np.where(np.eye(9) > 0, constant, 0).astype(np.float32), np.eye(9) > 0) == pytest.approx(0.4)


def test_enlarging_reproduces_a_ramp() -> None:
    ramp = np.arange(12, dtype=np.float32)[None].repeat(9, 0)
    large = enlarge(ramp, 4, (36, 48))
    expected = (np.arange(48) + 0.5) / 4 - 0.5
    assert np.abs(large[:, 8:-8] - expected[8:-8]).max() < 1e-5


def test_local_mean_is_normalized() -> None:
    observed = np.zeros((40, 40), bool)
    observed[:, :20] = True
    mean = local_mean(np.where(observed, 0.7, 0).astype(np.float32), observed, 3.0)
    assert mean[20, 25] == pytest.approx(0.7, abs=1e-5)
