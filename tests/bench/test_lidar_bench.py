"""`foldmap bench lidar`: the learned matcher on classical maps, ablations, two maps, one page of every table."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from bench_scene import painted_drive, painted_raster
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from benchmarks.lidar.ablations import Variants, train_variants
from foldmap.api.training.trained_places import raster_place
from foldmap.bench.lidar.baselines.embedded import LearnedRasterMatcher, RasterEmbedding
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec, ThresholdMapCodec
from foldmap.bench.lidar.baselines.ncc_matcher import NccMatcher
from foldmap.bench.lidar.baselines.town_fits import TownFits
from foldmap.bench.lidar.baselines.tuning import RecodedPairs, TrainingPlaces, through_codec, tune_matcher
from foldmap.bench.lidar.benchmark import BenchSettings, LidarBenchData, run_bench
from foldmap.bench.lidar.cases import Method, Search
from foldmap.bench.lidar.methods import Choice, chosen_bundles, chosen_codecs, classical_methods
from foldmap.bench.lidar.online_protocol import OnlineProtocol, TrackingLocalizer, online_row, run_online
from foldmap.bench.lidar.predict import predict_all
from foldmap.bench.lidar.protocol import DriveProtocol
from foldmap.bench.lidar.tables import (
    ablation_rows,
    matching_row,
    projected_rows,
    reduced_rows,
    representatives,
    with_online,
)
from foldmap.cli.app import app
from foldmap.coding.context import ContextModel
from foldmap.errors import ConfigError, ModelError
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import Decoder, global_spread
from foldmap.lidar.model import LidarModel
from foldmap.lidar.normalize import network_input
from foldmap.lidar.presets import PRESETS
from foldmap.lidar.source import RasterMap
from foldmap.metrics import LA_COUNTY
from foldmap.training.places import recorded

TINY = PRESETS["tiny-8x"]
MATCHED = ("ncc", "localizer", "learned", "learned-on-output")


def bundle_of(model: LidarModel, name: str, resolution_m: float) -> Bundle:
    codes = np.random.default_rng(0).integers(0, TINY.group_channels + 1, (TINY.groups, 16, 16)).astype(np.uint8)
    return Bundle(model.eval(), ContextModel.fit([codes], TINY.group_channels), resolution_m, 1.0, name)


def random_bundle() -> Bundle:
    """Untrained networks."""
    torch.manual_seed(0)
    return bundle_of(LidarModel(TINY), "random", 0.1)


def plain_bundle(resolution_m: float = 0.1) -> Bundle:
    """Embeddings that hand the normalized intensity through, max(x, 0) - max(-x, 0): matching is plain correlation."""
    torch.manual_seed(0)
    model = LidarModel(TINY)
    net = model.map_embedding
    keep, mix = net.down[0].keep, net.up[-1].mix
    with torch.no_grad():
        for name, value in net.named_parameters():
            if value.ndim == 4 or name.startswith("head"):
                value.zero_()
        for channel, sign in ((0, 1.0), (1, -1.0)):
            keep[0][0].weight[channel, 0, 1, 1] = sign
            keep[1][0].weight[channel, channel, 1, 1] = 1.0
            mix[0].weight[channel, channel, 1, 1] = 1.0
            net.head.weight[0, channel, 1, 1] = sign
    model.sweep_embedding.load_state_dict(net.state_dict())
    return bundle_of(model, "plain", resolution_m)


@dataclass(frozen=True)
class Seen:
    """A place seen twice."""

    map_intensity: np.ndarray
    map_observed: np.ndarray
    sweep_intensity: np.ndarray
    sweep_observed: np.ndarray
    shift_px: tuple[float, float] = (1.0, -2.0)


def seen_twice(count: int = 24) -> list[Seen]:
    pairs = []
    for index in range(count):
        rng = np.random.default_rng((7, index))
        ground = gaussian_filter(rng.standard_normal((96, 96)), 2.0)
        ground = (0.4 + 0.1 * ground / ground.std()).clip(0, 1).astype(np.float32)
        sweep = ground[17:81, 14:78]
        pairs.append(Seen(ground, rng.random(ground.shape) < 0.95, sweep, np.ones(sweep.shape, bool)))
    return pairs


def places() -> TrainingPlaces:
    return TrainingPlaces(seen_twice(), 0.1, "noise", sweep_px=48, map_px=80, radius_px=8, batch=2)


def drive_protocol() -> DriveProtocol:
    drive = painted_drive(frames=20, points=20000)
    return DriveProtocol(drive, 0.1, 3, 7, guard=2, half_length_m=7.0, half_width_m=7.0, search=Search(0.6))


def test_windows_are_cut_from_one_embedding_of_the_raster() -> None:
    bundle, raster = random_bundle(), painted_raster(size_px=400)
    # The plain network over the whole raster, surrounded by enough of nothing.
    around = raster.read(-128, -128, 656, 656)
    with torch.inference_mode():
        x = torch.from_numpy(network_input(around, global_spread(raster)))[None]
        whole = bundle.model.map_embedding(x)[0, :, 128:-128, 128:-128]
    embedded = RasterEmbedding(bundle, Decoder(bundle), raster)
    for row, col, height, width in ((0, 0, 150, 140), (133, 77, 101, 90), (350, 340, 80, 90)):
        window, known = embedded.embedding(raster.grid.window(row, col, height, width))
        inside = np.s_[: min(height, 400 - row), : min(width, 400 - col)]
        expected = whole[:, row : row + height, col : col + width]
        np.testing.assert_allclose(window[(slice(None), *inside)], expected.numpy(), rtol=1e-3, atol=1e-3)
        seen = raster.read(row, col, height, width).observed
        assert known[seen].mean() > 0.97
    handed = RasterEmbedding(plain_bundle(), Decoder(plain_bundle()), raster).embedding(raster.grid)[0]
    plain = network_input(around, global_spread(raster))[:1, 128:-128, 128:-128]
    np.testing.assert_allclose(handed, plain, rtol=1e-3, atol=1e-3)
    away, known = embedded.embedding(raster.grid.window(4000, -4000, 32, 48))
    assert not known.any()
    assert not away.any()


def test_the_learned_matcher_finds_the_pose_in_classical_maps(tmp_path: Path) -> None:
    protocol, matcher = drive_protocol(), LearnedRasterMatcher(plain_bundle(), (7.0, 7.0))
    codecs = [ImageMapCodec("raw16"), ImageMapCodec("webp", 50)]
    raw, webp = predict_all([Method(codec, matcher.another()) for codec in codecs], protocol, tmp_path)
    assert raw.method == "raw16 + learned"
    assert matching_row(raw)["median_cm"] < 10
    assert matching_row(webp)["median_cm"] < 20
    assert matching_row(webp)["bits_per_m2"] < matching_row(raw)["bits_per_m2"] / 5


def test_a_localizing_half_cannot_embed_maps() -> None:
    half = Bundle.from_bytes(random_bundle().to_bytes(localize_only=True))
    with pytest.raises(ConfigError, match="not fold"):
        LearnedRasterMatcher(half)


def test_pairs_pass_through_the_codec() -> None:
    pair = seen_twice(1)[0]
    exact = through_codec(pair, ImageMapCodec("png16"), 0.1)
    assert exact is not None
    np.testing.assert_array_equal(exact.map_observed, pair.map_observed)
    np.testing.assert_allclose(exact.map_intensity, np.where(pair.map_observed, pair.map_intensity, 0), atol=1e-4)
    assert exact.shift_px == pair.shift_px
    bits = through_codec(pair, ThresholdMapCodec(0.4), 0.1)
    assert bits is not None
    kept = np.stack([bits.map_intensity[pair.map_observed], pair.map_intensity[pair.map_observed]])
    assert 0.3 < np.corrcoef(kept)[0, 1] < 0.99
    empty = replace(pair, map_observed=np.zeros_like(pair.map_observed))
    assert through_codec(empty, ImageMapCodec("webp", 5), 0.1) is None
    coded = RecodedPairs([empty, pair], ImageMapCodec("png16"), 0.1)
    assert len(coded) == 1
    np.testing.assert_array_equal(coded[0].map_observed, pair.map_observed)
    np.testing.assert_allclose(coded[0].map_intensity, exact.map_intensity, atol=1e-5)
    np.testing.assert_array_equal(coded[0].sweep_intensity, pair.sweep_intensity)


def test_tuning_changes_the_embeddings_alone_and_repeatably(tmp_path: Path) -> None:
    bundle, codec = random_bundle(), ImageMapCodec("webp", 5)
    before = bundle.to_bytes()
    tuned = tune_matcher(bundle, codec, places(), 3, tmp_path / "a")
    again = tune_matcher(bundle, codec, places(), 3, tmp_path / "b")
    read = tune_matcher(bundle, codec, places(), 3, tmp_path / "a")
    other = tune_matcher(bundle, ImageMapCodec("png16"), places(), 3, tmp_path / "a")
    assert tuned.to_bytes() == again.to_bytes() == read.to_bytes()
    assert bundle.to_bytes() == before
    assert tuned.name == "random-on-webp-5"
    assert tuned.provenance["tuned"] == {"codec": "webp-5", "steps": 3, "on": "noise"}
    old, new, third = (dict(b.model.named_parameters()) for b in (bundle, tuned, other))
    changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"map_embedding", "sweep_embedding", "log_temperature"}
    assert any(not torch.equal(new[name], third[name]) for name in new)


def test_ablations_start_from_one_matcher(tmp_path: Path) -> None:
    lender = random_bundle()
    variants = Variants(2, presets=("tiny-8x",))
    recon, match = train_variants(variants, places(), tmp_path, [lender])
    assert [b.name for b in (recon, match)] == ["ablation-recon-8x", "ablation-match-8x"]
    assert recon.provenance["matcher"] == "random"
    # Reconstruction trains the codec alone: its embeddings are the lender's, up to the 8 bits that bundles keep.
    expected = Bundle.from_bytes(lender.to_bytes()).model.map_embedding.head.weight
    assert torch.equal(recon.model.map_embedding.head.weight, expected)
    assert not torch.equal(match.model.map_embedding.head.weight, expected)
    assert recon.rate_bit_m2 > 0
    own = train_variants(replace(variants, matcher_steps=2, modes=("recon",)), places(), tmp_path)
    assert own[0].provenance["matcher"] == "2 steps"
    rows = [{"method": name, "median_cm": 1.0} for name in ("b", "other", "a")]
    table = ablation_rows({"a": recon, "b": match}, rows)
    assert [(row["method"], row["objective"], row["downsample"]) for row in table] == [
        ("a", "recon", 8),
        ("b", "match", 8),
    ]


def test_presets_of_an_ablation_share_a_matcher() -> None:
    with pytest.raises(ConfigError, match="embed differently"):
        Variants(5, presets=("small-8x", "tiny-8x"))


def test_methods_are_every_codec_with_every_matcher(tmp_path: Path) -> None:
    choice = Choice(0.1, (7.0, 7.0), wanted=("raw16", "webp-5/"), train_matchers=1)
    bundle = random_bundle()
    names = [method.name for method in classical_methods(choice, bundle, places(), tmp_path)]
    codecs = [codec.name for codec in chosen_codecs(choice, TownFits(0.1, (7.0, 7.0)))]
    assert codecs == ["raw16", "webp-5/2x", "webp-5/4x", "webp-5/8x"]
    assert names == [f"{codec} + {matcher}" for matcher in MATCHED for codec in codecs]
    assert chosen_bundles(replace(choice, matchers=("ncc",)), None) == []
    with pytest.raises(ConfigError, match="pairs"):
        classical_methods(choice, bundle, None, tmp_path)
    with pytest.raises(ConfigError, match="pairs have"):
        classical_methods(choice, bundle, replace(places(), resolution_m=0.4), tmp_path)
    with pytest.raises(ModelError, match="needs a model"):
        classical_methods(choice, None, places(), tmp_path)
    with pytest.raises(ModelError, match=r"random \(0.1 m\)"):
        chosen_bundles(replace(choice, resolution_m=0.5), [bundle])
    with pytest.raises(ConfigError, match="no matcher orb"):
        replace(choice, matchers=("orb",))


def test_driving_in_a_given_map() -> None:
    raster = painted_raster(size_px=360, west_m=-10.0, north_m=14.0)
    drive = replace(painted_drive(frames=8, points=4000), name="other day")
    protocol = OnlineProtocol(drive, 0.1, 2, half_length_m=7.0, half_width_m=7.0, raster=raster)
    assert {protocol.left_out(frame) for frame in protocol.frames} == {(0, -1)}
    codec = ImageMapCodec("png16")
    row = online_row(run_online(codec, TrackingLocalizer(NccMatcher()), protocol))
    assert row["median_cm"] < 5
    assert row["fail_end_pct"] == 0
    # One map for the whole drive: its size over its pixels, however many frames asked.
    assert row["bits_per_px"] == pytest.approx(8 * len(codec.encode(raster)) / 360**2)
    assert protocol.configuration()["protocol"] == "online-given-map"
    with pytest.raises(ConfigError, match="leave no map"):
        replace(protocol, raster=None)


def test_tables_are_worked_by_hand() -> None:
    methods = [Method(ImageMapCodec("jpeg", 50, 4), NccMatcher()), Method(ThresholdMapCodec(0.8), NccMatcher())]
    rows = [
        {"method": method.name, "bits_per_px": 0.02, "bits_per_m2": 7.0, "median_cm": 5.0 + k}
        for k, method in enumerate(methods)
    ]
    reduced = reduced_rows(rows, methods, 0.1)
    assert [row["px_cm"] for row in reduced] == pytest.approx([40.0, 80.0])
    assert reduced[0]["bits_per_raster_m2"] == pytest.approx(0.02 * 100)
    fine, coarse = (projected_rows(rows[:1], [LA_COUNTY], resolution_m)[0]["LA County"] for resolution_m in (0.05, 0.1))
    # The paper's PNG of 4.9358 bpp takes 900 GB at 5 cm; pixels twice as large are a quarter as many.
    assert fine == pytest.approx(900e9 * 0.02 / 4.9358, rel=1e-3)
    assert coarse == pytest.approx(fine / 4)
    online = [{"method": "jpeg-50/4x + tracking-ncc", "median_cm": 9.0, "fail_end_pct": 50.0}]
    merged = with_online(rows, online)
    assert merged[0]["online_median_cm"] == 9.0
    assert merged[0]["fail_end_pct"] == 50.0
    assert "fail_end_pct" not in merged[1]
    crowd = [
        {"method": f"webp-{q}/{f}x + ncc", "bits_per_m2": q / f, "median_cm": f * f * 1.0}
        for q in (5, 9)
        for f in (2, 4)
    ]
    crowd += [{"method": f"foldmap-{k} + localizer", "bits_per_m2": 2.0, "median_cm": math.inf} for k in range(12)]
    assert representatives(crowd) == ["webp-5/2x + ncc", *(row["method"] for row in crowd[4:])]


def run(folder: Path) -> list[dict[str, object]]:
    data = LidarBenchData(drive=painted_drive(frames=14, points=2000), bundles=[plain_bundle(0.2)])
    settings = BenchSettings(
        resolution_m=0.2,
        guard=1,
        sweeps=2,
        every=7,
        methods=("foldmap", "webp-5"),
        matchers=("ncc",),
        online=True,
        quick=True,
    )
    return run_bench(data, folder, settings, command="foldmap bench lidar --quick")


def test_one_page_holds_every_table_and_figure(tmp_path: Path) -> None:
    rows = run(tmp_path / "a")
    assert [row["method"] for row in rows] == ["foldmap-plain + localizer", "webp-5 + ncc"]
    assert rows[1]["median_cm"] < 5  # type: ignore[operator]
    files = {path.name for path in (tmp_path / "a").iterdir() if path.is_file()}
    for name in ("matching", "reduced", "storage", "online"):
        assert {f"{name}.json", f"{name}.csv"} <= files
    assert {"top1.svg", "failures.svg", "online-failures.svg", "strip-foldmap-plain-0.png"} <= files
    page = (tmp_path / "a" / "index.html").read_text()
    for said in ("Table 1", "Tables 2 and 3", "Table 5", "Table 6", "Figure 1", "Figure 4", "figure 13"):
        assert said in page, said
    assert "foldmap bench lidar --quick" in page
    assert json.loads((tmp_path / "a" / "matching.json").read_text())[1]["method"] == "webp-5 + ncc"
    run(tmp_path / "b")
    for name in sorted(files):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda drive, raster: LidarBenchData(), "no queries"),
        (lambda drive, raster: LidarBenchData(query_raster=raster), "another map"),
        (lambda drive, raster: LidarBenchData(drive, raster, raster), "both sweeps"),
    ],
)
def test_data_that_asks_nothing_is_refused(data: Callable[..., LidarBenchData], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        data(painted_drive(frames=2, points=20), painted_raster(size_px=16))


def write_tif(path: Path, raster: RasterMap) -> Path:
    grid = raster.grid
    placement = rasterio.Affine(grid.resolution_m, 0, grid.west_m, 0, -grid.resolution_m, grid.north_m)
    profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "nodata": -1.0, "transform": placement}
    with rasterio.open(path, "w", height=grid.height_px, width=grid.width_px, **profile) as dataset:
        dataset.write(np.where(raster.observed, raster.intensity, -1).astype(np.float32), 1)
    return path


def test_one_map_in_another_from_the_command_line(tmp_path: Path) -> None:
    raster = painted_raster(resolution_m=0.2, size_px=200, west_m=-20.0, north_m=20.0)
    moved = replace(raster, grid=replace(raster.grid, west_m=raster.grid.west_m + 0.6))
    first, second = write_tif(tmp_path / "a.tif", raster), write_tif(tmp_path / "b.tif", moved)
    model = tmp_path / "plain.safetensors"
    model.write_bytes(plain_bundle(0.2).to_bytes())
    words = ["bench", "lidar", "--map", str(first), "--map-query", str(second), "-o", str(tmp_path / "out"), "--json"]
    words += ["--crop", "7", "--stride", "8", "--radius", "1", "--heading", "0", "--model", str(model)]
    words += ["--methods", "foldmap", "--methods", "raw16", "--matchers", "ncc", "--matchers", "learned"]
    printed = CliRunner().invoke(app, words, prog_name="foldmap")
    assert printed.exit_code == 0, printed.stderr
    assert "Matching" in printed.stderr
    rows = {row["method"]: row for row in json.loads(printed.stdout)}
    assert list(rows) == ["foldmap-plain + localizer", "raw16 + ncc", "raw16 + learned"]
    assert rows["raw16 + ncc"]["queries"] >= 2
    assert rows["raw16 + ncc"]["median_cm"] < 3
    assert rows["raw16 + learned"]["median_cm"] < 20
    page = (tmp_path / "out" / "index.html").read_text()
    assert "offset (-0.60, 0.00) m" in page
    assert "foldmap bench lidar --output" in page
    assert "--methods foldmap --methods raw16" in page
    assert "--seed" not in page
    model.write_bytes(recorded(model.read_bytes(), [raster_place(second)]))
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2
    assert "plain.safetensors was trained on raster b.tif" in " ".join(refused.stderr.split())
    refused = CliRunner().invoke(app, ["bench", "lidar", "--sweeps", "x", "-o", str(tmp_path)])
    assert refused.exit_code == 2
    assert "belong together" in refused.stderr
