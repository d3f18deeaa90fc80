"""Codes of quantized local contrast: what they keep, what they cost, and the lidar localizer in them."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from bench_scene import painted_drive, painted_raster

from foldmap.bench.lidar.baselines.contrast import local_contrast, nearest_levels
from foldmap.bench.lidar.baselines.contrast_codec import KINDS, ContrastMapCodec
from foldmap.bench.lidar.baselines.contrast_localizer import ContrastLocalizer, ContrastMap
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec, ThresholdMapCodec
from foldmap.bench.lidar.baselines.ncc_matcher import contrast_query
from foldmap.bench.lidar.baselines.town_fits import TownFits
from foldmap.bench.lidar.cases import BenchQuery, Method, Search
from foldmap.bench.lidar.methods import (
    Choice,
    best_codecs,
    chosen_codecs,
    contrast_codecs,
    localizer_of,
    ncc_of,
    online_of,
)
from foldmap.bench.lidar.online_protocol import OnlineProtocol, TrackingLocalizer, online_row, run_online
from foldmap.bench.lidar.predict import predict_all
from foldmap.bench.lidar.protocol import DriveProtocol
from foldmap.bench.lidar.tables import matching_row
from foldmap.errors import ConfigError, MapFormatError, MapInputError
from foldmap.geometry import SE2
from foldmap.lidar.observation import rasterize
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.lidar.source import RasterMap
from foldmap.localize.lidar.confidence import ConfidenceThresholds

HALF_M = (7.0, 7.0)


def painted_pairs(count: int) -> list[RasterPair]:
    """Places of the paint, seen twice with their own noise."""
    pairs = []
    for index in range(count):
        rng = np.random.default_rng((5, index))
        west_m, north_m = rng.uniform(-30, 30, 2)
        raster = painted_raster(0.1, 200, float(west_m), float(north_m))
        ground = raster.intensity[30:170, 30:170]
        sweep = (ground + rng.normal(0, 0.02, ground.shape)).astype(np.float32)
        pairs.append(RasterPair(raster.intensity, raster.observed, sweep, rng.random(ground.shape) < 0.7))
    return pairs


@pytest.fixture(scope="module")
def fits() -> TownFits:
    return TownFits(0.1, HALF_M, pairs=painted_pairs(24))


def test_contrast_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    intensity = rng.random((60, 50)).astype(np.float32) + 5
    observed = rng.random((60, 50)) < 0.6
    found = local_contrast(intensity, observed, 0.25)
    moments = np.full((2, 60, 50), np.nan)
    for row, col in np.ndindex(60, 50):
        window = np.s_[max(0, row - 8) : row + 9, max(0, col - 8) : col + 9]
        values = intensity[window][observed[window]].astype(np.float64)
        moments[:, row, col] = values.mean(), values.std()
    floor = np.median(moments[1][observed])
    expected = np.where(observed, (intensity - moments[0]) / np.maximum(moments[1], floor), 0)
    np.testing.assert_allclose(found, expected.clip(-6, 6), atol=2e-4)
    np.testing.assert_allclose(local_contrast(3 * intensity - 7, observed, 0.25), found, atol=1e-3)
    assert not local_contrast(intensity, np.zeros_like(observed), 0.25).any()


def test_levels_without_smoothing_are_the_nearest_and_smoothing_never_costs_more() -> None:
    rng = np.random.default_rng(1)
    contrast, levels = rng.normal(0, 2, (3, 4)).astype(np.float32), (0.0, 4.0)
    seen = np.ones((3, 4), bool)
    np.testing.assert_array_equal(nearest_levels(contrast, seen, levels, 0.0), contrast > 2)

    def energy(labels: np.ndarray) -> float:
        differing = (labels[1:] != labels[:-1]).sum() + (labels[:, 1:] != labels[:, :-1]).sum()
        return float(((contrast - 4.0 * labels) ** 2).sum()) + 1.0 * float(differing)

    smooth = nearest_levels(contrast, seen, levels, 1.0)
    assert energy(smooth) <= energy((contrast > 2).astype(int))
    # A local minimum: no single pixel is better the other way round.
    for row, col in itertools.product(range(3), range(4)):
        flipped = smooth.copy()
        flipped[row, col] = 1 - flipped[row, col]
        assert energy(smooth) <= energy(flipped) + 1e-6
    hole = seen.copy()
    hole[1, 1] = False
    bright = np.full((3, 4), 4.0, np.float32)
    assert nearest_levels(np.where(hole, bright, 0), hole, levels, 1.0)[1, 1] == 1


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_payload_gives_back_its_levels(fits: TownFits, kind: str) -> None:
    raster = painted_raster(0.1, 240)
    codec = fits.codec(kind, 0.4)
    coded, payload = codec.quantize(raster), codec.encode(raster)
    decoded = codec.decode(payload)
    assert decoded.grid == raster.grid
    assert decoded.observed[raster.observed].all()
    centres = decoded.intensity[1::4, 1::4] / 4 + decoded.intensity[2::4, 2::4] / 4
    centres += decoded.intensity[1::4, 2::4] / 4 + decoded.intensity[2::4, 1::4] / 4
    levels = np.array(KINDS[kind].levels)
    inner = np.zeros(coded.codes.shape, bool)
    inner[1:-1, 1:-1] = decoded.observed[2::4, 2::4][1:-1, 1:-1]
    nearest = np.abs(centres[..., None] - levels).argmin(-1)
    assert (nearest == coded.codes)[inner].mean() > 0.9
    assert payload == codec.encode(raster)
    assert len(payload) < 36 + coded.codes.size * math.log2(len(levels)) / 8 + coded.mask.size / 8
    for bad in (b"short", payload[:-1], payload + b"\0"):
        with pytest.raises(MapFormatError):
            codec.decode(bad)
    with pytest.raises(MapInputError):
        codec.encode(replace(raster, observed=np.zeros_like(raster.observed)))


def test_the_coder_beats_the_image_codec_on_one_bit_maps(fits: TownFits) -> None:
    raster = painted_raster(0.1, 400, west_m=40.0)
    assert len(fits.codec("1bit", 0.4).encode(raster)) < len(ThresholdMapCodec(0.4).encode(raster))
    sizes = [len(fits.codec(kind, 0.4).encode(raster)) for kind in ("sparse", "ternary", "1bit")]
    assert sizes == sorted(sizes)


def test_a_query_takes_the_contrast_of_its_pixels() -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform(-5, 5, (4000, 2)).astype(np.float32)
    query = BenchQuery(points, (0.3 + 0.2 * (points[:, 0] > 3)).astype(np.float32), SE2(0, 0, 0))
    found = contrast_query(query, 0.2)
    assert found.intensity[(points[:, 0] > 3.4) & (points[:, 0] < 4)].mean() > 0.6
    assert abs(found.intensity[points[:, 0] < 0].mean()) < 0.1


def test_the_localizer_and_the_filter_find_their_way_in_simple_codes() -> None:
    fits = TownFits(0.1, HALF_M, pairs=painted_pairs(6))
    drive = painted_drive(frames=20, points=20000)
    search = Search(0.6, math.radians(1))
    protocol = DriveProtocol(drive, 0.1, 3, 7, 2, *HALF_M, search)
    codecs = [ImageMapCodec("raw16"), fits.codec("1bit", 0.2)]
    methods = [Method(c, make) for c in codecs for make in (ncc_of(c), localizer_of(c, fits, HALF_M))]
    rows = [matching_row(result) for result in predict_all(methods, protocol)]
    assert [row["method"] for row in rows] == [
        "raw16 + ncc", "raw16 + localizer", "1bit-20cm + ncc", "1bit-20cm + localizer"
    ]  # fmt: skip
    assert all(row["median_cm"] < 15 for row in rows)
    assert rows[2]["bits_per_m2"] < rows[0]["bits_per_m2"] / 20
    online = OnlineProtocol(replace(drive, frames=drive.frames[:12]), 0.1, 2, 2, 6, *HALF_M)
    assert isinstance(online_of(methods[0], HALF_M), TrackingLocalizer)
    result = run_online(codecs[1], online_of(methods[3], HALF_M), online)
    assert result.method == "1bit-20cm + histogram-filter"
    assert online_row(result)["median_cm"] < 15


def test_thresholds_are_fitted_once_a_code(fits: TownFits) -> None:
    codec = fits.codec("1bit", 0.2)
    found = fits.thresholds(codec, is_contrast=True)
    assert found is fits.thresholds(codec, is_contrast=True)
    assert ConfidenceThresholds.from_dict(found) != ConfidenceThresholds()
    matcher = localizer_of(codec, fits, HALF_M)
    raster = painted_raster(0.1, 300)
    folded = matcher.map_of(codec.decode(codec.encode(raster)))
    assert folded.thresholds == found
    few = TownFits(0.1, HALF_M, pairs=painted_pairs(4))
    assert few.thresholds(few.codec("1bit", 0.2), is_contrast=True) == {}  # too few to calibrate on: the defaults


def test_lines_are_taken_off_maps_as_of_marks(fits: TownFits) -> None:
    painted = painted_raster(0.1, 200)
    raster = RasterMap(painted.grid, painted.intensity, np.ones_like(painted.observed))
    rails = raster.intensity.copy()
    rails[90:93] += 0.5  # along the rows
    seen, every = (rails, raster.observed, 0.1), local_contrast(rails, raster.observed, 0.1)
    rail, less = every[91, 20:-20].mean(), local_contrast(*seen, 0.3)[91, 20:-20].mean()
    assert less == pytest.approx(0.7 * rail, rel=0.02)
    folded = ContrastMap(replace(raster, intensity=rails), lines=0.3)
    values, _ = folded.embedding(raster.grid)
    np.testing.assert_array_equal(np.asarray(values)[0], local_contrast(*seen, 0.3))
    codec = fits.codec("1bit", 0.2, 0.3)
    assert codec.name == "1bit-20cm, lines off"
    assert (codec.quantize(raster).codes != fits.codec("1bit", 0.2).quantize(raster).codes).any()
    assert localizer_of(codec, fits, HALF_M, lines=0.3).name == "localizer"  # the code says so
    assert localizer_of(ImageMapCodec("raw16"), fits, HALF_M, lines=0.3).name == "localizer, lines off"


def test_a_window_of_the_contrast_map() -> None:
    raster = painted_raster(0.1, 200)
    folded, whole = ContrastMap(raster), local_contrast(raster.intensity, raster.observed, 0.1)
    values, known = folded.embedding(raster.grid.window(150, -20, 80, 60))
    expected = np.zeros((80, 60), np.float32)
    expected[:50, 20:] = whole[150:, :40]
    np.testing.assert_array_equal(np.asarray(values)[0], expected)
    assert not known[50:].any()
    points = np.random.default_rng(0).uniform(-3, 3, (5000, 2))
    observation = rasterize(points, np.full(5000, 0.4, np.float32), 0.1, 4.0, 4.0)
    assert np.abs(np.asarray(folded.embed_observation(observation))).max() < 0.01  # rounding is not contrast


def test_the_default_list_is_short_and_names_open_the_long_one(fits: TownFits) -> None:
    choice = Choice(0.1, HALF_M)
    short = [codec.name for codec in chosen_codecs(choice, fits)]
    assert short == [codec.name for codec in best_codecs(fits)]
    assert {"raw16", "sparse-20cm", "1bit-jxl-40cm"} <= set(short)
    assert len(short) <= 10
    every = [codec.name for codec in chosen_codecs(replace(choice, every_codec=True), fits)]
    assert set(short) < set(every)
    assert {f"{kind}-{px}cm" for kind in KINDS for px in (10, 20, 40, 80)} < set(every)
    named = [codec.name for codec in chosen_codecs(replace(choice, wanted=("ternary",)), fits)]
    assert named == [f"ternary-{px}cm" for px in (10, 20, 40, 80)]
    coarse = TownFits(0.33, HALF_M, pairs=[])
    assert [codec.pixel_m for codec in contrast_codecs(coarse)][:2] == pytest.approx([0.33, 0.66])
    with pytest.raises(ConfigError, match="no kind"):
        ContrastMapCodec("orb", 0.4, fits.coders)
    assert isinstance(localizer_of(fits.codec("sparse", 0.2), fits, HALF_M), ContrastLocalizer)
