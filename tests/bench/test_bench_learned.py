"""The learned codec and the localizer as the benchmarks see them."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bench_scene import apart, painted_drive, painted_raster

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.bench.lidar.cases import BenchQuery, Search, perturbed
from foldmap.bench.lidar.drive import LeaveOutMaps
from foldmap.bench.lidar.learned import EmbeddingMatcher, LearnedCodec
from foldmap.bench.lidar.marks import MarksCodec
from foldmap.bench.lidar.payload import placement
from foldmap.bench.lidar.protocol import GivenMapProtocol, drive_case
from foldmap.coding.context import ContextModel, untrained
from foldmap.errors import MapFormatError
from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.marks.choose import MarkRecipe
from foldmap.lidar.marks.fit import marks_in_memory
from foldmap.lidar.marks.fold import tiles_of
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.model import LidarModel
from foldmap.lidar.normalize import normalize, spread_of
from foldmap.lidar.observation import Observation
from foldmap.lidar.presets import preset_named
from foldmap.lidar.source import RasterMap
from foldmap.lidar.unfold import FoldedLidar


def tiny_bundle(resolution_m: float = 0.1, seed: int = 0) -> Bundle:
    """An untrained model with sharp codes, so that a good share of them is not 0."""
    torch.manual_seed(seed)
    preset = preset_named("tiny-8x")
    model = LidarModel(preset).eval()
    with torch.no_grad():
        kernels = [parameter for parameter in model.encoder.parameters() if parameter.ndim == 4]
        kernels[-1].mul_(300.0)  # logits far apart, so that most groups have a channel above one half
    blank = np.zeros((preset.groups, 4, 4), np.uint8)
    return Bundle(model, ContextModel.fit([blank], preset.group_channels), resolution_m, 1.0, "tiny")


def tiny_marks(resolution_m: float = 0.1) -> MarksModel:
    """Marks of twice the pixel size with coders that were fitted on nothing."""
    recipe = MarkRecipe(cell_m=2 * resolution_m)
    return MarksModel(recipe, untrained(1, 1), untrained(1, 1), resolution_m, 1.0, "tiny-marks")


def test_marks_of_a_payload_are_those_of_a_map_in_memory_and_are_localized_in() -> None:
    drive, codec = painted_drive(12), MarksCodec(tiny_marks(0.2))
    raster = LeaveOutMaps(drive, 0.2).without(5, 6)
    payload = codec.encode(raster)
    wanted, size = marks_in_memory(codec.model, raster)
    unfolded = codec.decode(payload)
    tiles = np.ndindex(*tiles_of(raster, wanted.tile_px))
    held = sum(wanted.tile(column, row) is not None for row, column in tiles)
    assert len(payload) == size + len(placement(raster.grid)) + 1 + 4 * held - (size < 128)
    assert len(placement(raster.grid)) <= 13
    assert unfolded.embedding(raster.grid)[0].sum() > 20
    np.testing.assert_array_equal(unfolded.embedding(raster.grid)[0], wanted.embedding(raster.grid)[0])
    case = drive_case(GivenMapProtocol(drive, raster, "painted"), 4, 7, 6, Search(0.6, math.radians(1.0)))
    match = EmbeddingMatcher(8.0, 8.0).match(case.query, unfolded, Search(0.6, math.radians(1.0)))
    assert match.world_SE2_vehicle is not None
    assert apart(match.world_SE2_vehicle, case.world_SE2_true) < 0.2
    assert {"status", "score", "evidence_sigma", "sigma_m"} <= set(match.diagnostics)
    with pytest.raises(MapFormatError):
        codec.decode(payload[:-1])


def test_payload_and_embedding_are_those_of_a_file(tmp_path: Path) -> None:
    raster, bundle = painted_raster(size_px=400), tiny_bundle()
    codec = LearnedCodec(bundle)
    payload = codec.encode(raster)
    with FoldWriter(tmp_path / "map.fold") as writer:
        report = fold_lidar(writer, raster, LidarPlan(bundle))
    assert (report.tiles, report.payload_bytes > 127) == (1, True)
    assert len(payload) == report.payload_bytes + len(placement(raster.grid)) + 1 + 4
    unfolded = codec.decode(payload)
    assert unfolded.grid == raster.grid
    window = raster.grid.window(100, 60, 200, 240)
    embedding, known = unfolded.embedding(window)
    with FoldFile.open(tmp_path / "map.fold") as file:
        wanted, wanted_known = FoldedLidar(file).embedding(window)
    assert wanted_known.any()
    np.testing.assert_array_equal(known, wanted_known)
    # The file's networks went through 8 bits, the codec's did not.
    assert len(np.unique(unfolded.codes(0, 0, 50, 50))) > 1
    error = float(np.abs(embedding - wanted).mean() / np.abs(wanted).mean())
    assert error < 0.1
    unfolded.forget()
    np.testing.assert_array_equal(unfolded.embedding(window)[0], embedding)


@pytest.mark.parametrize("cut", [10, 40, -1])
def test_a_payload_cut_short_is_refused(cut: int) -> None:
    codec = LearnedCodec(tiny_bundle())
    payload = codec.encode(painted_raster())
    with pytest.raises(MapFormatError):
        codec.decode(payload[:cut])


class PaintItself:
    """A map whose embedding is its normalized intensity, and that embeds observations alike."""

    def __init__(self, raster: RasterMap) -> None:
        self.raster, self.model = raster, SimpleNamespace(thresholds={})

    @property
    def grid(self) -> MetricGrid:
        return self.raster.grid

    def embedding(self, grid: MetricGrid) -> tuple[np.ndarray, np.ndarray]:
        row = round((self.grid.north_m - grid.north_m) / grid.resolution_m)
        col = round((grid.west_m - self.grid.west_m) / grid.resolution_m)
        piece = self.raster.read(row, col, *grid.shape)
        return self._seen(piece.intensity, piece.observed), piece.observed

    def embed_observation(self, observation: Observation) -> np.ndarray:
        return self._seen(observation.intensity, observation.observed)

    def _seen(self, intensity: np.ndarray, observed: np.ndarray) -> np.ndarray:
        resolution_m = self.grid.resolution_m
        spread = max(spread_of(intensity, observed, resolution_m), 1e-6)
        return normalize(intensity, observed, resolution_m, spread)[:1]


@pytest.mark.parametrize(("radius_m", "heading_deg"), [(1.0, 5.0), (5.0, 0.0)])
def test_the_matcher_finds_the_truth(radius_m: float, heading_deg: float) -> None:
    decoded = PaintItself(painted_raster(0.2, 300, -20.0, 30.0))
    drive = painted_drive(frames=12, points=20_000)
    search = Search(radius_m, math.radians(heading_deg))
    matcher = EmbeddingMatcher(7.0, 7.0)
    for frame in (3, 8):
        truth = drive.frames[frame].world_SE2_vehicle
        prior = perturbed(truth, search, np.random.default_rng(frame))
        query = BenchQuery(drive.frames[frame].points_vehicle_m, drive.frames[frame].intensity, prior)
        match = matcher.match(query, decoded, search)  # type: ignore[arg-type]
        assert match.world_SE2_vehicle is not None
        assert apart(match.world_SE2_vehicle, truth) < 0.2
        assert isinstance(match.diagnostics["status"], str)


def test_a_query_off_the_map_has_no_pose() -> None:
    decoded = PaintItself(painted_raster(0.2, 300, -20.0, 30.0))
    query = BenchQuery(np.ones((50, 2), np.float32), np.ones(50, np.float32), SE2(900.0, 0.0, 0.0))
    match = EmbeddingMatcher(7.0, 7.0).match(query, decoded, Search(1.0))  # type: ignore[arg-type]
    assert match.world_SE2_vehicle is None
    assert match.diagnostics["status"] in ("no_map", "no_observation")
