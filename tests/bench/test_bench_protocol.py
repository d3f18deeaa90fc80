"""Protocols: maps really leave the neighbours out, priors are where they are said to be, answers are kept honestly."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_scene import apart, painted_drive, painted_raster
from scipy.fft import next_fast_len, rfft2

from benchmarks.lidar.remade import Negatives
from foldmap.bench.common.tables import to_json
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec
from foldmap.bench.lidar.baselines.ncc_matcher import NccMatcher, masked_ncc_window
from foldmap.bench.lidar.cases import BenchQuery, Match, Method, Search
from foldmap.bench.lidar.drive import LeaveOutMaps, load_drive
from foldmap.bench.lidar.online_protocol import OnlineProtocol, Step, TrackingLocalizer, online_row, run_online
from foldmap.bench.lidar.predict import predict, predict_all
from foldmap.bench.lidar.protocol import DriveProtocol, GivenMapProtocol
from foldmap.bench.lidar.raster_protocol import RasterProtocol
from foldmap.bench.lidar.tables import family_of, matching_row, projected_rows
from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2, SE3, MetricGrid
from foldmap.lidar.source import RasterMap, Sweep
from foldmap.metrics import LA_COUNTY


def _protocol(**changes: Any) -> DriveProtocol:
    settings: dict[str, Any] = {"resolution_m": 0.1, "sweeps": 3, "every": 5, "guard": 4, "half_length_m": 7.0}
    settings |= {"half_width_m": 6.0, "search": Search(0.6), **changes}
    return DriveProtocol(painted_drive(), **settings)


def test_maps_hold_the_other_frames_and_nothing_else() -> None:
    # Each frame paints its own number, so that a map's pixels say which frames made them.
    drive = painted_drive(frames=20, points=1500)
    frames = tuple(
        replace(f, intensity=np.full_like(f.intensity, 2.0**-k, dtype=np.float32)) for k, f in enumerate(drive.frames)
    )
    numbered = replace(drive, frames=frames)
    protocol = replace(_protocol(guard=4), drive=numbered)
    for case, first in zip(protocol.cases(), protocol.first_frames, strict=True):
        grid = case.raster.grid
        total, count = np.zeros(grid.shape), np.zeros(grid.shape)
        for k, frame in enumerate(frames):
            if first - 4 <= k <= first + 2 + 4:
                continue  # what the map must do without: three frames and four on each side
            cells = np.rint(grid.pixel_of(frame.points_world_m())).astype(int)
            np.add.at(total, tuple(cells.T), 2.0**-k)
            np.add.at(count, tuple(cells.T), 1)
        assert (case.raster.observed == (count > 0)).all()
        expected = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
        assert np.abs(case.raster.intensity - expected).max() < 1e-6


def test_queries_hold_their_frames_in_the_middle_one() -> None:
    protocol = _protocol()
    case = next(iter(protocol.cases()))
    assert case.world_SE2_true == protocol.drive.frames[1].world_SE2_vehicle
    world = np.concatenate([f.points_world_m() for f in protocol.drive.frames[:3]])
    local = case.world_SE2_true.inverse().apply(world)
    inside = (np.abs(local) <= (7.0, 6.0)).all(1)
    assert len(case.query.points_vehicle_m) == pytest.approx(inside.sum(), abs=2)
    assert np.abs(case.query.points_vehicle_m).max(0) == pytest.approx((7.0, 6.0), abs=0.05)


def test_priors_are_seeded_uniform_and_within_the_search() -> None:
    protocol = _protocol(search=Search(0.6, math.radians(5)), every=1)
    again = _protocol(search=Search(0.6, math.radians(5)), every=2)
    priors = {case.name: case for case in protocol.cases()}
    for case in again.cases():  # a query's prior does not depend on the others
        assert priors[case.name].query.world_SE2_prior == case.query.world_SE2_prior
    offsets = np.array(
        [
            (
                c.query.world_SE2_prior.x_m - c.world_SE2_true.x_m,
                c.query.world_SE2_prior.heading_rad - c.world_SE2_true.heading_rad,
            )
            for c in priors.values()
        ]
    )
    assert np.abs(offsets[:, 0]).max() <= 0.6
    assert np.abs(offsets[:, 1]).max() <= math.radians(5)
    assert np.abs(offsets[:, 0]).max() > 0.4
    other = next(iter(_protocol(seed=1, search=Search(0.6, math.radians(5))).cases()))
    assert other.query.world_SE2_prior != priors[other.name].query.world_SE2_prior


def test_impossible_protocols_are_refused() -> None:
    with pytest.raises(ConfigError, match="leave no map"):
        _protocol(guard=11)
    with pytest.raises(ConfigError, match="leaves no map"):
        LeaveOutMaps(painted_drive(frames=3), 0.1).without(0, 5)


def test_the_coefficient_is_that_of_the_commonly_observed_pixels() -> None:
    """Every shift of the window against `numpy.corrcoef`."""
    rng = np.random.default_rng(5)
    image, seen = rng.random((40, 40)).astype(np.float32), rng.random((40, 40)) < 0.7
    own, own_seen = rng.random((30, 30)).astype(np.float32), rng.random((30, 30)) < 0.5
    size = next_fast_len(40, real=True)
    values = np.where(seen, image, 0).astype(np.float32)
    spectra = [rfft2(a, (size, size)) for a in (seen.astype(np.float32), values, values**2)]
    count, scores = masked_ncc_window(spectra, np.where(own_seen, own, 0).astype(np.float32), own_seen, size, 11)
    for row, col in np.ndindex(11, 11):
        window = np.s_[row : row + 30, col : col + 30]
        both = own_seen & seen[window]
        assert count[row, col] == pytest.approx(both.sum(), abs=1e-2)
        assert scores[row, col] == pytest.approx(np.corrcoef(image[window][both], own[both])[0, 1], abs=1e-4)


def test_ncc_finds_the_pose_with_and_without_heading() -> None:
    for heading_deg, limit_m in ((0.0, 0.04), (4.0, 0.06)):
        protocol = _protocol(search=Search(0.6, math.radians(heading_deg)))
        for case in protocol.cases():
            match = NccMatcher().match(case.query, case.raster, protocol.search)
            assert match.world_SE2_vehicle is not None
            assert apart(match.world_SE2_vehicle, case.world_SE2_true) < limit_m
            turn = match.world_SE2_vehicle.heading_rad - case.world_SE2_true.heading_rad
            assert abs(turn) < 0.1 / 7.0  # one pixel at the rim of the query


def test_ncc_declines_off_the_map() -> None:
    case = next(iter(_protocol().cases()))
    query = BenchQuery(case.query.points_vehicle_m, case.query.intensity, SE2(500.0, 0.0, 0.0))
    assert NccMatcher().match(query, case.raster, Search(0.6)).world_SE2_vehicle is None


class _Renamed(NccMatcher):
    """The same matcher under another name."""

    @property
    def name(self) -> str:
        return "other"


class _Counting:
    """A codec that counts how often it folds."""

    def __init__(self) -> None:
        self.folded = 0
        self._codec = ImageMapCodec("png16")

    @property
    def name(self) -> str:
        return "counting"

    def encode(self, raster: RasterMap) -> bytes:
        self.folded += 1
        return self._codec.encode(raster)

    def decode(self, payload: bytes) -> RasterMap:
        return self._codec.decode(payload)


def test_answers_are_kept_and_other_configurations_refused(tmp_path: Path) -> None:
    codec = _Counting()
    protocol = _protocol()
    method = Method(codec, NccMatcher())
    first = predict(method, protocol, tmp_path)
    assert codec.folded == len(protocol) == len(first.rows)
    again = predict(method, protocol, tmp_path)
    assert codec.folded == len(protocol)
    assert again == first
    with pytest.raises(ConfigError, match="other seed"):
        predict(method, _protocol(seed=9), tmp_path)
    with pytest.raises(ConfigError, match="other settings"):
        predict(replace(method, settings={"checkpoint": "b"}), protocol, tmp_path)
    with pytest.raises(ConfigError, match="other matcher"):
        predict(Method(codec, NccMatcher(margin_px=3)), protocol, tmp_path)


def test_damaged_answers_are_refused(tmp_path: Path) -> None:
    protocol, method = _protocol(every=9), Method(_Counting(), NccMatcher())
    predict(method, protocol, tmp_path)
    (file,) = tmp_path.iterdir()
    document = json.loads(file.read_text())
    for damage in ("not json", json.dumps([1]), json.dumps({**document, "rows": [{"name": 1}]})):
        file.write_text(damage)
        with pytest.raises(ConfigError, match="does not hold answers"):
            predict(method, protocol, tmp_path)


def test_a_map_is_folded_once_for_all_its_queries_and_matchers() -> None:
    codec = _Counting()
    protocol = GivenMapProtocol(
        painted_drive(frames=8), painted_raster(), "painted", search=Search(0.5), half_length_m=6.0
    )
    results = predict_all([Method(codec, NccMatcher()), Method(codec, _Renamed())], protocol)
    assert codec.folded == 1
    for result in results:
        assert len(result.rows) == 8
        assert matching_row(result)["max_cm"] < 10.0
    with pytest.raises(ConfigError, match="share a name"):
        predict_all([Method(codec, NccMatcher())] * 2, protocol)


def test_shuffled_queries_come_from_elsewhere() -> None:
    benchmark = _protocol()
    cases = list(benchmark.cases())
    negatives = list(Negatives(benchmark, "shuffled").cases())
    assert len(negatives) == len(cases)
    for index, (case, negative) in enumerate(zip(cases, negatives, strict=True)):
        assert negative.world_SE2_true == case.world_SE2_true
        assert negative.query.world_SE2_prior == case.query.world_SE2_prior
        source = cases[(index + len(cases) // 2) % len(cases)]
        assert source.name != case.name
        assert np.array_equal(negative.query.points_vehicle_m, source.query.points_vehicle_m)
    assert Negatives(benchmark, "shuffled").configuration() != benchmark.configuration()


def test_blank_queries_have_no_contrast_and_ncc_scores_them_nothing() -> None:
    benchmark = _protocol(every=9)
    for case in Negatives(benchmark, "blank").cases():
        assert np.ptp(case.query.intensity) == 0
        assert NccMatcher().match(case.query, case.raster, benchmark.search).score < 0.05


def test_a_wrong_map_lies_under_the_prior() -> None:
    benchmark = _protocol(every=9)
    here = painted_raster()
    # The same kind of ground, turned, so that nothing in it is where the query saw it.
    other = RasterMap(here.grid, np.rot90(here.intensity).copy(), np.rot90(here.observed).copy())
    for case in Negatives(benchmark, "wrong-map", other).cases():
        prior = case.query.world_SE2_prior
        row, col = case.raster.grid.pixel_of(np.array([prior.x_m, prior.y_m]))
        assert (row, col) == pytest.approx((119.5, 119.5))
        assert case.raster.intensity is other.intensity
        match = NccMatcher().match(case.query, case.raster, benchmark.search)
        right = NccMatcher().match(case.query, benchmark.maps.without(0, 0), benchmark.search)
        assert match.score < right.score - 0.2
    for kind, raster in (("wrong-map", None), ("blank", other), ("upside-down", None)):
        with pytest.raises(ConfigError):
            Negatives(benchmark, kind, raster)


class _Fixed:
    """A matcher that answers the prior, or nothing at every second call."""

    name = "fixed"

    def __init__(self) -> None:
        self._calls = 0

    def match(self, query: BenchQuery, decoded_map: RasterMap, search: Search) -> Match:
        self._calls += 1
        return Match(query.world_SE2_prior if self._calls % 2 else None, 0.5)


def test_scores_are_worked_by_hand() -> None:
    protocol = _protocol()
    result = predict(Method(ImageMapCodec("raw16"), _Fixed()), protocol)
    row = matching_row(result)
    cases = list(protocol.cases())
    distances = [
        apart(c.query.world_SE2_prior, c.world_SE2_true) if k % 2 == 0 else math.inf for k, c in enumerate(cases)
    ]
    assert row["answered_pct"] == pytest.approx(100 * np.isfinite(distances).mean(), rel=1e-5)
    assert row["beyond_50_cm_pct"] == pytest.approx(100 * (np.array(distances) > 0.5).mean(), rel=1e-5)
    assert row["max_cm"] == math.inf
    assert row["bits_per_px"] == pytest.approx(16.0, rel=0.01)
    ground_m2 = np.mean([c.raster.observed.sum() * 0.01 for c in cases])
    assert row["bits_per_m2"] == pytest.approx(row["payload_bytes_mean"] * 8 / ground_m2, rel=1e-4)
    assert projected_rows([row], [LA_COUNTY], 0.05)[0]["LA County"] == pytest.approx(900e9 * 16 / 4.9358, rel=0.02)


def test_families_join_qualities() -> None:
    assert family_of("webp-20 + ncc") == family_of("webp-5 + ncc") == "webp + ncc"
    assert family_of("1bit-jxl-40cm + ncc") == "1bit-jxl + ncc"
    assert family_of("foldmap-8x + learned") == "foldmap-8x + learned"


def test_raster_queries_come_from_the_scored_side_and_the_offset_from_the_other() -> None:
    raster = painted_raster(resolution_m=0.2, size_px=240, west_m=-24.0, north_m=24.0)
    # The same ground seen from a frame that is off by 0.6 m east and -0.4 m north, on a lattice of its own.
    grid = MetricGrid(-24.0 - 0.6, 24.0 + 0.4, 0.2, 240, 240)
    other = RasterMap(grid, raster.intensity * 0.5 + 0.1, raster.observed)
    protocol = RasterProtocol(raster, other, "pair", size_m=8.0, stride_m=4.0, search=Search(1.5))
    assert protocol.alignment_m == pytest.approx((0.6, -0.4), abs=0.02)
    cases = list(protocol.cases())
    assert len(cases) == len(protocol) > 5
    divide = protocol.divide_m
    assert min(c.world_SE2_true.x_m - 0.6 for c in cases) >= divide + 4.0 + 1.5
    result = predict(Method(ImageMapCodec("raw16"), NccMatcher()), protocol)
    # Drawing a crop on the map's lattice moves all its points by one fraction of a pixel, which must be undone.
    assert matching_row(result)["median_cm"] < 2.5
    assert matching_row(result)["max_cm"] < 10.0  # half a pixel
    with pytest.raises(ConfigError, match="no side"):
        RasterProtocol(raster, other, "pair", scored="up")


def test_online_blocks_leave_all_their_frames_out() -> None:
    protocol = OnlineProtocol(painted_drive(frames=30), 0.1, sweeps=2, guard=3, block=4)
    for frame in protocol.frames:
        first, last = protocol.left_out(frame)
        assert first <= frame - 1 - 3
        assert last >= frame + 3
    assert len({protocol.left_out(frame) for frame in protocol.frames}) == math.ceil(29 / 4)


def test_online_drive_is_tracked_and_scored() -> None:
    drive = painted_drive(frames=18, points=3000)
    protocol = OnlineProtocol(drive, 0.1, sweeps=2, guard=2, block=8, half_length_m=6.0, half_width_m=6.0)
    localizer = TrackingLocalizer(NccMatcher(), Search(0.6, math.radians(0.8)))
    result = run_online(ImageMapCodec("png16"), localizer, protocol)
    row = online_row(result)
    assert row["frames"] == 17
    assert row["median_cm"] < 4.0
    assert row["p99_cm"] < 15.0
    assert row["fail_end_pct"] == 0.0
    assert row["segment_m"] == pytest.approx(8.0, abs=0.1)
    assert math.isnan(row["fail_100_m_pct"])
    assert json.loads(to_json([row]))[0]["fail_100_m_pct"] is None  # not measured is not zero


def test_odometry_without_noise_ends_at_the_truth() -> None:
    drive = painted_drive(frames=30, points=50)
    clean = OnlineProtocol(drive, 0.1, sweeps=1, guard=3, block=4, odometry_noise=(0.0, 0.0))
    steps = [clean.step_at(frame) for frame in clean.frames]
    pose = drive.frames[0].world_SE2_vehicle
    for step in steps:
        pose = pose @ step.previous_SE2_current
    assert apart(pose, drive.frames[-1].world_SE2_vehicle) < 1e-9


def test_sweeps_are_laid_together_by_odometry() -> None:
    drive = painted_drive(frames=30, points=50)
    noisy = OnlineProtocol(drive, 0.1, sweeps=3, guard=3, block=4, odometry_noise=(0.05, 0.01))
    truly, last = OnlineProtocol(drive, 0.1, sweeps=3, guard=3, block=4, odometry_noise=(0.0, 0.0)), 12
    seen, true = noisy.step_at(last), truly.step_at(last)
    np.testing.assert_array_equal(seen.points_vehicle_m[-1], true.points_vehicle_m[-1])  # the newest is where it is
    before = drive.frames[last - 1].points_vehicle_m.astype(np.float64)
    moved = seen.previous_SE2_current.inverse().apply(before)
    inside = moved[(np.abs(moved) <= (noisy.half_length_m, noisy.half_width_m)).all(1)]
    apart_m = np.linalg.norm(seen.points_vehicle_m[None] - inside[:, None], axis=2).min(1)
    assert apart_m.max() < 1e-4


def test_a_localizer_must_be_started() -> None:
    step = Step(np.zeros((1, 2), np.float32), np.ones(1, np.float32), SE2(0, 0, 0))
    with pytest.raises(ConfigError, match="not started"):
        TrackingLocalizer(NccMatcher()).step(step, painted_raster())


def test_sweeps_become_ground_frames() -> None:
    rng = np.random.default_rng(0)
    ground = np.column_stack([rng.uniform(-20, 20, (4000, 2)), np.full(4000, -1.7)])
    wall = np.column_stack([rng.uniform(5, 6, (500, 2)), rng.uniform(0.5, 2.0, 500)])
    points = np.concatenate([ground, wall]).astype(np.float32)
    sweep = Sweep(points, np.full(4500, 0.5, np.float32))
    pose = SE3.from_se2(SE2(3.0, 4.0, 0.5))
    drive = load_drive("made", [sweep, sweep], [pose, pose], max_range_m=15.0)
    assert len(drive.frames) == 2
    inside = np.hypot(*ground[:, :2].T) <= 15.0
    assert len(drive.frames[0].intensity) == pytest.approx(inside.sum(), rel=0.02)
    assert drive.fingerprint == load_drive("made", [sweep, sweep], [pose, pose], max_range_m=15.0).fingerprint
    assert drive.fingerprint != load_drive("made", [sweep, sweep], [pose, pose], max_range_m=14.0).fingerprint
    with pytest.raises(PoseInputError, match="2 sweeps and 3 poses"):
        load_drive("made", [sweep, sweep], [pose] * 3)
    with pytest.raises(PoseInputError, match="more sweeps"):
        load_drive("made", [sweep, sweep], [pose])
