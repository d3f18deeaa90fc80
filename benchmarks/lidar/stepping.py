"""Row 7: how many steps a second the online localizer makes, tile decoding included."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_least, information
from benchmarks.town import town_raster
from foldmap.atlas import FoldFile, FoldWriter
from foldmap.bench.lidar.learned import UnfoldedPayload
from foldmap.coding.context import ContextModel
from foldmap.errors import MapInputError
from foldmap.geometry import SE2
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import DECODE_HALO, Decoder
from foldmap.lidar.defaults import default_bundles, step_of
from foldmap.lidar.fold import TILE_BLOCKS, LidarPlan, fold_lidar
from foldmap.lidar.marks.fit import marks_in_memory
from foldmap.lidar.marks.unfold import MarksMap
from foldmap.lidar.model import LidarModel
from foldmap.lidar.observation import Observation
from foldmap.lidar.pairs.from_raster import turned_cut
from foldmap.lidar.presets import preset_named
from foldmap.lidar.source import BLOCK_PX, RasterMap, ReducedRaster
from foldmap.lidar.unfold import FoldedLidar
from foldmap.localize.lidar.localizer import LidarLocalizer

_LENGTH_M, _WIDTH_M = 30.0, 24.0
_DRIVE_M = 20.0


@dataclass(frozen=True)
class Stepping:
    """Row 7: a step at the least window that the localizer has, +-1 m and 11 headings, along drives of 1 m a step.

    What a step reaches of the map for the first time is decoded in it; the slowest step decodes all. Beside it, in the
    same run, the same networks by torch's eager float32.

    The paper's networks have random weights and their map random codes: speed does not depend on what they are.

    Attributes:
        resolution_m: of the map.
        steps: timed, after three that are not; the median counts.
        extent_m: side of the town's map.
        seed: of the town, the poses and the random networks.
        paper_preset: the preset of the paper's size.
        code_share: share of the random codes that are not 0.
        least_marks_hz: the target with the shipped marks.
        least_small_hz: the target with the shipped model.
        least_paper_hz: the target with the paper's networks.
    """

    number: ClassVar[int] = 7
    name: ClassVar[str] = "step"
    title: ClassVar[str] = "one localizer step"
    resolution_m: float = 0.05
    steps: int = 21
    extent_m: float = 130.0
    seed: int = 22
    paper_preset: str = "paper-8x"
    code_share: float = 0.3
    least_marks_hz: float = 25.0
    least_small_hz: float = 15.0
    least_paper_hz: float = 3.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        raster = town_raster(self.extent_m, self.resolution_m, self.seed)
        poses = poses_over(raster, self.steps + 3, self.seed)
        try:
            marks = board.marks(self.resolution_m)
        except RowSkipped as skipped:
            yield Line(self.number, "steps with marks", None, note=str(skipped))
        else:
            yield from self._stepped(marks_in_memory(marks, raster)[0], raster, poses, self.least_marks_hz)[0]
        with tempfile.TemporaryDirectory() as folder:
            try:
                with FoldWriter(Path(folder) / "map.fold") as writer:
                    fold_lidar(writer, raster, LidarPlan(board.bundle(self.resolution_m)))
            except RowSkipped as skipped:
                yield Line(self.number, "steps with the shipped model", None, note=str(skipped))
            else:
                with FoldFile.open(Path(folder) / "map.fold") as file:
                    yield from self._timed(FoldedLidar(file), raster, poses, self.least_small_hz)
            yield from self._in_larger_pixels(Path(folder), raster, poses)
        paper = random_map(self.paper_preset, raster, self.code_share, self.seed)
        yield from self._timed(paper, raster, poses, self.least_paper_hz)

    def _in_larger_pixels(self, folder: Path, raster: RasterMap, poses: list[SE2]) -> Iterator[Line]:
        """Steps with shipped networks of larger pixels, in which they fold this map: the same ground, no target."""
        for bundle in default_bundles():
            step = step_of(bundle, self.resolution_m)
            if step > 1:
                path = folder / f"{bundle.name}.fold"
                with FoldWriter(path) as writer:
                    fold_lidar(writer, raster, LidarPlan(bundle))
                larger = ReducedRaster(raster, step)
                with FoldFile.open(path) as file:
                    lines = self._timed(FoldedLidar(file), larger.read(0, 0, *larger.grid.shape), poses, None)
                    pixels = f"{bundle.name} in pixels of {100 * larger.grid.resolution_m:g} cm"
                    yield from (replace(one, name=one.name.replace(bundle.name, pixels)) for one in lines)

    def _timed(
        self, decoded: FoldedLidar, raster: RasterMap, poses: list[SE2], least_hz: float | None
    ) -> Iterator[Line]:
        """Steps with networks, and the same networks by torch beside them."""
        lines, hz = self._stepped(decoded, raster, poses, least_hz)
        yield from lines
        eager_s, model = eager_networks_s(decoded.bundle), decoded.model.name
        yield information(self.number, f"networks of {model} by torch, eager float32", 1000 * eager_s, "ms")
        yield information(self.number, f"steps with {model} in the time of those", eager_s * hz, "")

    def _stepped(
        self, decoded: FoldedLidar | MarksMap, raster: RasterMap, poses: list[SE2], least_hz: float | None
    ) -> tuple[list[Line], float]:
        times_s, statuses, window = step_times_s(decoded, raster, poses)
        threads, model = torch.get_num_threads(), decoded.model.name
        detail = {"step_s": times_s, "threads": threads, "model": model, "statuses": statuses, "window": window}
        hz = 1 / float(np.median(times_s))
        named = f"steps with {model} on {threads} threads"
        return [
            at_least(self.number, named, hz, least_hz, "1/s", detail=detail),
            information(self.number, f"slowest step with {model}", 1000 * max(times_s), "ms"),
        ], hz


def random_map(preset_name: str, raster: RasterMap, code_share: float, seed: int) -> UnfoldedPayload:
    """A map of random codes under random networks, on a raster's grid; its tiles are coded like any other's."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    preset, side = preset_named(preset_name), TILE_BLOCKS * BLOCK_PX
    cells = side // preset.downsample
    tiles = {}
    for column in range(-(-raster.grid.width_px // side)):
        for row in range(-(-raster.grid.height_px // side)):
            codes = rng.integers(1, preset.group_channels + 1, (preset.groups, cells, cells))
            tiles[column, row] = np.where(rng.random(codes.shape) < code_share, codes, 0).astype(np.uint8)
    coder = ContextModel.fit(list(tiles.values())[:1], preset.group_channels)
    bundle = Bundle(LidarModel(preset).eval(), coder, raster.grid.resolution_m, 1.0, f"{preset_name} (random weights)")
    payloads = {place: coder.encode(codes) for place, codes in tiles.items()}
    return UnfoldedPayload(bundle, Decoder(bundle), raster.grid, payloads)


def eager_networks_s(bundle: Bundle, repeats: int = 5) -> float:
    """Median time of embedding one observation and decoding one window with the networks as they were trained."""
    model, preset, resolution_m = bundle.model, bundle.preset, bundle.resolution_m
    rows, columns = (-(-round(side / resolution_m) // 16) * 16 for side in (_WIDTH_M, _LENGTH_M))
    around = 2 * DECODE_HALO
    cells = -(-rows // preset.downsample) + around, -(-columns // preset.downsample) + around
    seen, code = torch.zeros(1, 2, rows, columns), torch.zeros(1, preset.groups, preset.group_channels, *cells)
    times_s = []
    with torch.inference_mode():
        for _ in range(repeats):
            begin_s = time.perf_counter()
            model.sweep_embedding(seen)
            model.decoder(code)
            times_s.append(time.perf_counter() - begin_s)
    return float(np.median(times_s))


def poses_over(raster: RasterMap, count: int, seed: int) -> list[SE2]:
    """Poses 1 m apart along random straight drives over observed ground, an observation's reach inside the map.

    Raises:
        MapInputError: there is no such ground.
    """
    rng = np.random.default_rng(seed)
    margin_px = math.ceil(math.hypot(_LENGTH_M, _WIDTH_M) / 2 / raster.grid.resolution_m)
    inner = raster.observed[margin_px:-margin_px, margin_px:-margin_px]
    rows, cols = np.nonzero(inner)
    if len(rows) == 0:
        raise MapInputError("the map is too small or shows no ground in its middle", "give a larger one")
    poses = list[SE2]()
    while len(poses) < count:
        pick = int(rng.integers(0, len(rows)))
        x_m, y_m = raster.grid.world_of(np.array([[rows[pick], cols[pick]]], np.float64) + margin_px)[0].tolist()
        start = SE2(x_m, y_m, float(rng.uniform(-math.pi, math.pi)))
        for gone_m in range(round(_DRIVE_M)):
            pose = start @ SE2(float(gone_m), 0.0, 0.0)
            row, col = np.round(raster.grid.pixel_of(np.array([[pose.x_m, pose.y_m]]))[0]).astype(int) - margin_px
            if not (0 <= row < inner.shape[0] and 0 <= col < inner.shape[1] and inner[row, col]):
                break
            poses.append(pose)
    return poses[:count]


def step_times_s(
    decoded: FoldedLidar | MarksMap, raster: RasterMap, poses: list[SE2]
) -> tuple[list[float], list[str], list[int]]:
    """Time one step of a fresh filter at each pose; the first three warm up and are left out.

    The observation is the ground as the raster has it, with noise; drawing it is not timed, embedding it is. What was
    decoded for a step serves the next ones; after the warming up all is forgotten.

    Returns:
        Seconds and statuses of the steps, and the filter's grid: headings, rows, columns.
    """
    resolution_m = raster.grid.resolution_m
    localizer = LidarLocalizer.open(decoded)
    shape = round(_WIDTH_M / resolution_m), round(_LENGTH_M / resolution_m)
    times_s, statuses, window = [], [], [0]
    for index, pose in enumerate(poses):
        intensity, observed = turned_cut(raster, pose, shape)
        noise = np.random.default_rng(index).normal(0, 0.02, shape)
        seen = np.where(observed, intensity + noise, 0).astype(np.float32)
        observation = Observation(seen, observed, resolution_m, _LENGTH_M / 2, _WIDTH_M / 2)
        running = localizer.start(pose, 0.1, math.radians(0.5))
        if index == 3:
            decoded.forget()
        window = list(running.belief.probability.shape)
        begin_s = time.perf_counter()
        estimate = running.step(observation, None, 0.1)
        if index >= 3:
            times_s.append(time.perf_counter() - begin_s)
            statuses.append(estimate.status.value)
    return times_s, statuses, window
