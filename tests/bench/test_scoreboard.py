"""The scoreboard: lines, skips, and its rows on a painted square instead of recordings."""

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bench_scene import painted_drive, painted_raster
from test_bench_learned import tiny_bundle, tiny_marks

from benchmarks import scoreboard
from benchmarks.context import Board
from benchmarks.lidar.adapting import Adaptation, adapted_model
from benchmarks.lidar.coders import Coders, codes_of
from benchmarks.lidar.fold_probe import probe
from benchmarks.lidar.folding import Overhead
from benchmarks.lidar.hdl64 import AgainstClassical, Street, StreetProtocol, bits_at_error
from benchmarks.lidar.paper import ImageCodecs
from benchmarks.lidar.remade import Remade, elsewhere, scrambled
from benchmarks.lidar.roundabout import training_pairs, training_part
from benchmarks.lidar.stepping import poses_over, random_map, step_times_s
from benchmarks.lidar.streets import PaperFigures, difference_of_medians
from benchmarks.lines import Line, RowSkipped, at_least, at_most, information, number
from foldmap.api.training.trained_places import drive_place
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec
from foldmap.bench.lidar.baselines.town_fits import TownFits
from foldmap.bench.lidar.cases import Search
from foldmap.bench.lidar.protocol import GivenMapProtocol
from foldmap.bench.lidar.raster_protocol import RasterProtocol
from foldmap.formats.poses.trajectories import read_poses
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import encode_raster, global_spread
from foldmap.training.places import recorded


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (at_most(1, "a", 3.0, 3), "met"),
        (at_most(1, "a", 3.01, 3), "short"),
        (at_most(1, "a", math.nan, 3), "short"),
        (at_least(1, "a", math.inf, 3), "met"),
        (at_least(1, "a", math.nan, 3), "short"),
        (information(1, "a", 3), "info"),
        (Line(1, "a", None, note="skipped: nothing"), "skipped: nothing"),
    ],
)
def test_a_line_says_what_it_is(line: Line, verdict: str) -> None:
    assert line.verdict == verdict
    assert line.text().rstrip().endswith(verdict)
    plain = json.loads(json.dumps(line.to_dict(), allow_nan=False))
    assert plain["verdict"] == verdict


def test_numbers_are_readable() -> None:
    assert [number(v) for v in (0, 3.0, 0.0123456, 12.3456, 12345.6, -2.5, math.inf)] == [
        "0", "3", "0.01235", "12.35", "12346", "-2.5", "inf"
    ]  # fmt: skip


def test_bits_at_an_error_lie_on_the_front() -> None:
    law = [(100 / error**2, error) for error in (1.0, 2.0, 5.0, 10.0)]
    dominated = [(60.0, 9.0), (400.0, 1.5)]
    for error in (1.0, 1.7, 3.0, 9.9):
        bits, note = bits_at_error(law + dominated, error)
        assert bits == pytest.approx(100 / error**2)
        assert note == ""
    bits, note = bits_at_error(law, 0.5)
    assert bits == pytest.approx(100)
    assert "most accurate" in note
    bits, note = bits_at_error(law, 20.0)
    assert bits == pytest.approx(1.0)
    assert "smallest" in note


def test_rows_without_recordings_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = [word for row in ("1", "ratio", "3", "4", "5") for word in ("--only", row)]
    status = scoreboard.main(
        ["--data", str(tmp_path / "none"), "-o", str(tmp_path / "b.json"), "--quiet", "--threads", "1", *only]
    )
    printed = capsys.readouterr().out.strip().splitlines()
    assert status == 0
    assert len(printed) == 5
    assert all(f"skipped: no recordings at {tmp_path}" in line for line in printed)
    kept = json.loads((tmp_path / "b.json").read_text())
    assert [row["row"] for row in kept["rows"]] == [1, 2, 3, 4, 5]
    assert kept["rows"][0]["parameters"]["asked"]["guard"] == 15
    assert all(line["measured"] is None for row in kept["rows"] for line in row["lines"])


@pytest.mark.parametrize("wrong", [["--layer", "sound"], ["--only", "eleven"], ["--threads", "0"], ["--model", "none"]])
def test_bad_arguments_say_so(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert scoreboard.main(wrong) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.fixture
def asked() -> StreetProtocol:
    return StreetProtocol(resolution_m=0.2, every=20, guard=3, radius_m=0.6, heading_deg=1.0)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A board whose street is painted."""
    made = Board(tmp_path, [tiny_bundle(0.2)], 1, quiet=True)
    made.shared(("drive", "kitti-hdl64", 20.0), lambda: painted_drive(40))
    made.shared(("bundle", 0.05), lambda: made.models[0])
    made.shared(("marks", 0.2), lambda: tiny_marks(0.2))
    return made


@cache
def town_fits() -> TownFits:
    """Three places, and what is fitted on them, for whoever asks."""
    return TownFits(0.2, (7.0, 7.0), 3)


def test_the_street_rows(board: Board, asked: StreetProtocol, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {line.name: line for line in Street(asked=asked).lines(board)}
    detail = lines["payload a m2 of observed ground"].detail["row"]
    rows = asked.marks(board).rows
    size, ground = (sum(getattr(row, name) for row in rows) for name in ("payload_bytes", "observed_m2"))
    assert lines["payload a m2 of observed ground"].measured == pytest.approx(8 * size / ground, rel=1e-4)
    away = [math.dist(row.true_pose[:2], row.pose[:2]) for row in rows if row.pose]
    assert detail["queries"] == len(rows) == 2
    assert lines["median error"].measured == pytest.approx(100 * float(np.median(away)), rel=1e-4)
    # The raw map of an ideal scanner is matched to half a pixel, whatever an untrained network does.
    assert lines["raw16 + ncc: median error"].measured < 10.0
    monkeypatch.setattr("benchmarks.lidar.simple.HALF_M", (7.0, 7.0))
    board.shared(("town fits", 0.2), town_fits)
    monkeypatch.setattr("benchmarks.lidar.simple.BEST", (("sparse", 0.4),))
    ratio, *others = AgainstClassical(asked=asked).lines(board)
    assert ratio.measured is not None
    assert ratio.measured > 0
    told = {line.name: line.measured for line in others}
    payloads = {name: told[f"1bit-jxl-40cm + {name}: payload"] for name in ("ncc", "localizer")}
    assert payloads["ncc"] == payloads["localizer"]
    assert told["sparse-40cm + ncc: payload"] < payloads["ncc"]


def test_the_paper_s_figures_of_a_street(board: Board, asked: StreetProtocol, monkeypatch: pytest.MonkeyPatch) -> None:
    board.shared(("town fits", 0.2), town_fits)
    monkeypatch.setattr(
        "benchmarks.lidar.streets.raw_and_sparse", lambda board, resolution_m, lines=0.0: [ImageMapCodec("raw16")]
    )
    row = PaperFigures(11, "painted", asked, most_bit_m2=1e9, most_lateral_cm=0.0)
    lines = {line.name: line for line in row.lines(board)}
    assert lines["foldmap-tiny-marks: payload"].verdict == "met"
    assert lines["foldmap-tiny-marks, filter: across the street, median"].verdict == "short"
    assert lines["foldmap-tiny-marks: answers ok and off by more than 0.5 m"].verdict == "met"
    assert lines["foldmap-tiny: payload"].verdict == "info"
    along = lines["foldmap-tiny-marks, filter: along the street, against the best simple code"]
    simple = [lines[f"{name}, filter: along the street, median"] for name in ("raw16", "raw16 + localizer by overlap")]
    assert along.target == f"<= {number(min(line.measured or 0.0 for line in simple))}"
    assert (
        " cm to raw16 + localizer" in lines["foldmap-tiny-marks: along the street, against the best simple code"].note
    )
    assert lines["raw16, filter: frames answered ok or degraded"].unit == "%"
    across, along, total = (lines[f"raw16: {what}"].measured for what in (
        "across the street, median", "along the street, median", "median error"
    ))  # fmt: skip
    assert across is not None
    assert along is not None
    assert total is not None
    assert max(across, along) <= total + 1e-6
    assert total < 20
    assert lines["raw16: payload"].verdict == "info"
    assert {"1bit-jxl-40cm + ncc: median error", "1bit-jxl-40cm + ncc, tracking: 95th percentile"} <= set(lines)
    # The painted drive is 20 m: one segment, which ends before 100 m.
    assert math.isnan(lines["raw16, filter: segments that fail within 100 m"].measured or 0.0)
    assert lines["raw16, filter: segments that fail by the end"].measured in (0, 100)


def test_a_difference_of_medians_is_of_pairs() -> None:
    rng = np.random.default_rng(0)
    own = rng.exponential(40.0, 35)
    assert difference_of_medians(own + 3.0, own) == pytest.approx((3.0, 3.0))
    low, high = difference_of_medians(own, own[::-1])
    assert low < 0 < high
    low, high = difference_of_medians(own + 500.0, rng.exponential(40.0, 35))
    assert 400 < low < high < 600
    assert math.isinf(difference_of_medians(np.full(6, np.inf), own[:6])[0])


def test_image_codecs_are_matched_and_driven(
    board: Board, asked: StreetProtocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.lidar.paper.CODECS", (ImageMapCodec("png16"),))
    monkeypatch.setattr("benchmarks.lidar.paper.REDUCED", (ImageMapCodec("jpeg", 50, 2),))
    board.kept_folder = tmp_path / "kept"
    matched = {line.detail["method"]: line for line in ImageCodecs(14, "matched", asked, False).lines(board)}
    assert list(matched) == ["png16", "jpeg-50/2x", "foldmap-tiny", "foldmap-tiny-marks"]
    assert [line.detail["px_cm"] for line in matched.values()] == [20, 40, 20, 20]
    assert matched["png16"].measured < 10.0  # an ideal scanner's map, see above
    assert matched["png16"].detail["bits_per_px"] > matched["jpeg-50/2x"].detail["bits_per_px"]
    row = ImageCodecs(15, "driven", asked, True)
    driven = {line.detail["method"]: line.detail for line in row.lines(board)}
    assert set(driven) == {"png16", "jpeg-50/2x"}
    assert driven["png16"]["median_cm"] < 20
    kept = tmp_path / "kept" / "lidar-tables" / "driven-png16.json"
    kept.write_text(kept.read_text().replace('"median_cm": ', '"median_cm": 1'))
    again = next(iter(row.lines(board)))  # a run that was stopped goes on with what it has
    assert again.measured != driven["png16"]["median_cm"]


def test_recordings_of_several_sensors_are_found_beside_the_layer(tmp_path: Path) -> None:
    (tmp_path / "joint" / "street").mkdir(parents=True)
    board = Board(tmp_path / "lidar", quiet=True)
    assert board.recordings("street") == tmp_path / "joint" / "street"
    with pytest.raises(RowSkipped, match="lidar"):
        board.recordings("other")


def test_the_coder_and_overhead_rows(board: Board, asked: StreetProtocol) -> None:
    coder = {line.name: line for line in Coders(asked=asked, town_extent_m=40.0, repeats=1).lines(board)}
    street = coder["kitti-hdl64: smaller than Huffman + RLE by"]
    sizes = street.detail["measured"]["coders"]
    wanted = 100 * (1 - sizes["context"]["payload_bytes"] / sizes["huffman-rle"]["payload_bytes"])
    assert street.measured == pytest.approx(wanted)
    assert coder["codes of kitti_00.tif"].verdict.startswith("skipped: no recordings")
    for line in Overhead(asked=asked, town_extent_m=40.0).lines(board):
        assert line.met or line.verdict.startswith("skipped")


def test_codes_are_those_of_the_encoder() -> None:
    raster, bundle = painted_raster(0.2, 256), tiny_bundle(0.2)
    (tile,) = codes_of(bundle, raster)
    wanted = encode_raster(bundle, raster.read(-128, -128, 768, 768), global_spread(raster))
    np.testing.assert_array_equal(tile[:, :32, :32], wanted[:, 16:48, 16:48])


def test_wrong_queries_are_wrong() -> None:
    drive, raster = painted_drive(6), painted_raster(0.2, 300, -20.0, 30.0)
    given = GivenMapProtocol(drive, raster, "painted", every=2, half_length_m=8.0, half_width_m=8.0)
    right = list(given.cases())
    mixed = list(Remade(given, "scrambled", scrambled).cases())
    for one, other in zip(right, mixed, strict=True):
        before, after = one.query.points_vehicle_m, other.query.points_vehicle_m
        shift = (after - before) / 0.8
        np.testing.assert_allclose(shift, np.rint(shift), atol=1e-4)  # whole blocks
        assert (np.abs(shift).max(1) > 0.5).mean() > 0.9
        blocks = [set(map(tuple, np.floor(p / 0.8 + 1e-5).astype(int))) for p in (before, after)]
        assert len(blocks[0] ^ blocks[1]) <= 0.1 * len(blocks[0])
    away = list(Remade(given, "elsewhere", elsewhere(raster)).cases())
    again = list(Remade(given, "elsewhere", elsewhere(raster)).cases())
    for case, same in zip(away, again, strict=True):
        prior = case.query.world_SE2_prior
        assert prior == same.query.world_SE2_prior
        row, col = np.rint(raster.grid.pixel_of(np.array([prior.x_m, prior.y_m]))).astype(int)
        assert raster.observed[row, col]


@pytest.mark.parametrize("scored", ["east", "west", "north", "south"])
def test_training_ground_ends_before_scored_queries(scored: str) -> None:
    raster = painted_raster(0.2, 300, -20.0, 30.0)
    protocol = RasterProtocol(raster, raster, "same", 6.0, 6.0, scored, search=Search(2.0))
    part = training_part(raster, protocol, gap_m=3.0)
    axis, sign = (0 if scored in ("east", "west") else 1), (1 if scored in ("east", "north") else -1)
    corners = part.grid.world_of(np.array([[-0.5, -0.5], [part.grid.height_px - 0.5, part.grid.width_px - 0.5]]))
    reach = (sign * corners[:, axis]).max()
    assert reach <= sign * protocol.divide_m - 3.0 + 1e-9
    assert reach > sign * protocol.divide_m - 3.3
    for case in protocol.cases():
        points = case.query.points_vehicle_m[:, axis] + (case.world_SE2_true.x_m, case.world_SE2_true.y_m)[axis]
        assert (sign * points).min() >= sign * protocol.divide_m + 2.0 - 0.2


def test_adapting_trains_on() -> None:
    raster = painted_raster(0.2, 300, -20.0, 30.0)
    protocol = RasterProtocol(raster, raster, "same", 6.0, 3.0, search=Search(1.0))
    settings = Adaptation(
        steps=2, pairs=4, batch=2, map_px=64, query_px=48, map_crop_px=48, query_crop_px=32, radius_px=4, gap_m=1.0
    )
    bundle, seen = tiny_bundle(0.2), []
    training, validation = training_pairs(protocol, settings)
    assert len(training) == 4
    made = [
        adapted_model(bundle, training, validation, 0.2, settings, lambda done, _: seen.append(done)) for _ in range(2)
    ]
    first, second = (model.state_dict() for model, _ in made)
    before = bundle.model.state_dict()
    assert seen == [1, 2, 1, 2]
    assert all(bool((first[key] == second[key]).all()) for key in first)
    assert any(bool((first[key] != before[key]).any()) for key in first)
    assert made[0][1]["step"] == 2


def test_steps_are_timed_in_the_window_asked_for() -> None:
    raster = painted_raster(0.2, 400, -40.0, 40.0)
    decoded = random_map("tiny-8x", raster, 0.3, seed=1)
    assert decoded.codes(0, 0, 50, 50).any()
    times_s, statuses, window = step_times_s(decoded, raster, poses_over(raster, 5, 0))
    assert len(times_s) == len(statuses) == 2
    assert min(times_s) > 0
    assert window == [11, 11, 11]  # +-1 m at 0.2 m
    assert len(decoded._tiles) > 0


def test_folding_is_probed(tmp_path: Path) -> None:
    bundle: Bundle = replace(tiny_bundle(0.2), name="probe")
    (tmp_path / "model.safetensors").write_bytes(bundle.to_bytes())
    found = probe(tmp_path / "model.safetensors", 60.0, 0.2, 3, 1)
    assert found["map_km2"] == pytest.approx(0.0036)
    assert 0 < found["observed_km2"] <= found["map_km2"]
    assert 0 < found["rendering_s"] < found["seconds"]
    assert found["file_bytes"] > found["payload_bytes"] > 0
    assert found["peak_mb"] > 50


def test_a_model_that_was_trained_on_a_recording_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "lidar" / "street"
    (folder / "sweeps").mkdir(parents=True)
    (folder / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 2 0 1 0 1 0 0 1 0\n")
    poses = read_poses(folder / "poses.txt").world_SE3_sensors
    model = tmp_path / "own.safetensors"
    model.write_bytes(recorded(tiny_bundle().to_bytes(), [drive_place("mine", poses[1:])]))
    status = scoreboard.main(["--data", str(tmp_path / "lidar"), "--model", str(model), "--only", "hdl64", "--quiet"])
    assert status == 2
    assert "own.safetensors was trained on drive mine, and drive street is asked of it" in capsys.readouterr().err
