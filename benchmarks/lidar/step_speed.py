"""How long one localizer step takes, and where the time goes: `python -m benchmarks.lidar.step_speed`.

A step is what issue and paper count: 24 x 30 m at 5 cm against +-1 m and 11 headings, with the map's tiles read,
entropy-decoded and decoded anew. Weights are untrained and codes are drawn: neither changes what is computed.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, zoom

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.coding.context import ContextModel
from foldmap.errors import ConfigError
from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar import codec
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.fold import TILE_BLOCKS
from foldmap.lidar.model import LidarModel
from foldmap.lidar.observation import HALF_LENGTH_M, HALF_WIDTH_M, Observation
from foldmap.lidar.presets import PRESETS, Preset, preset_named
from foldmap.lidar.runtime import session
from foldmap.lidar.shipped import LAYER, MODEL
from foldmap.lidar.source import BLOCK_PX
from foldmap.lidar.unfold import FoldedLidar
from foldmap.localize.lidar import search, view
from foldmap.localize.lidar.attempt import LidarMatcher
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.runtime.allocator import keep_freed_memory
from foldmap.runtime.threads import use_threads
from foldmap.types import ByteArray

RESOLUTION_M = 0.05
TURN_RAD = math.radians(40)  # a map window turned so needs the most pixels
_TILES = 2

_STAGES: tuple[tuple[Any, str, str], ...] = (
    (FoldedLidar, "codes", "read and decode tiles"),
    (codec.Decoder, "decode_window", "decoder network"),
    (view, "turned_crop", "turn the map"),
    (codec, "observation_input", "normalize"),
    (codec.Decoder, "embed", "sweep network"),
    (session.OnnxDecoder, "decode_window", "decoder network"),
    (session, "observation_input", "normalize"),
    (session.OnnxDecoder, "embed", "sweep network"),
    (search, "turned_images", "turn to fine headings"),
    (search, "match_mirrored", "coarse headings, chance"),
    (search, "_local_scores", "fine headings"),
    (search, "spread_of_headings", "heading's spread"),
    (search, "block_scores", "scores of blocks"),
    (search, "block_statistics", "statistics of blocks"),
    (search, "entropy_of", "entropy"),
    (LidarMatcher, "attempt_window", "the rest"),
)


@dataclass
class StepTimes:
    """Times of localizer steps.

    Attributes:
        preset: name.
        threads: of torch, and of the localizer's own loops.
        wall_s: of each step.
        cpu_s: of each step, all threads together.
        stage_s: mean processor time a step of the threads that entered each stage, without the stages it calls. With
            more than one thread, what torch's own helpers did for a stage is not in it.
    """

    preset: str
    threads: int
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    stage_s: dict[str, float] = field(default_factory=dict)

    @property
    def steps_per_second(self) -> float:
        """One over the median wall time."""
        return 1.0 / float(np.median(self.wall_s))


def steps_per_second(preset_name: str, threads: int = 2, steps: int = 20) -> float:
    """Median localizer steps a second of a preset; errors as `step_times`."""
    return step_times(preset_name, threads, steps).steps_per_second


def step_times(
    preset_name: str, threads: int = 2, steps: int = 20, *, runtime: str | None = None, kept: bool = False
) -> StepTimes:
    """Time localizer steps.

    Args:
        preset_name: of `foldmap.lidar.presets`.
        threads: of torch and of the localizer's own loops, restored afterwards.
        steps: measured ones; two more warm up.
        runtime: of the networks, as of `FoldedLidar`.
        kept: whether what was decoded for one step serves the next, as along a drive, or is forgotten.

    Raises:
        ConfigError: no such preset, or a number below 1.
    """
    preset = preset_named(preset_name)
    if threads < 1 or steps < 1:
        raise ConfigError(f"{threads} threads and {steps} steps", "give at least one of each")
    before = torch.get_num_threads(), use_threads(threads)
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "untrained.fold"
            write_untrained(path, preset)
            with FoldFile.open(path) as file:
                return _measure(FoldedLidar(file, runtime=runtime), preset_name, threads, steps, kept=kept)
    finally:
        torch.set_num_threads(before[0])
        use_threads(before[1])


def _measure(decoded: FoldedLidar, preset_name: str, threads: int, steps: int, *, kept: bool) -> StepTimes:
    grid, observation = decoded.grid, synthetic_observation()
    side_m = grid.width_px * grid.resolution_m
    prior = SE2(grid.west_m + side_m / 2 + 0.013, grid.north_m - side_m / 2 + 0.021, TURN_RAD)
    times, localizer = StepTimes(preset_name, threads), LidarLocalizer.open(decoded)
    with _clocked() as clock:
        for step in range(steps + 2):
            if step == 2:
                clock.clear()
            if not kept:
                decoded.forget()
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            localizer.localize(replace(observation), prior, 1.0, math.radians(5.0), 11)  # what is new is embedded
            if step >= 2:
                times.wall_s.append(time.perf_counter() - wall_s)
                times.cpu_s.append(time.process_time() - cpu_s)
        times.stage_s = {stage: total / steps for stage, total in clock.items()}
    return times


def write_untrained(path: Path, preset: Preset, seed: int = 0) -> None:
    """Write a .fold file of four tiles with untrained networks, its codes drawn in patches."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    side_px = _TILES * TILE_BLOCKS * BLOCK_PX
    cells = side_px // preset.downsample
    codes = _drawn_codes(preset, cells, rng)
    coder = ContextModel.fit([codes], preset.group_channels)
    bundle = Bundle(LidarModel(preset).eval(), coder, RESOLUTION_M, 1.0, "untrained")
    grid = MetricGrid(0.0, side_px * RESOLUTION_M, RESOLUTION_M, side_px, side_px)
    with FoldWriter(path) as writer:
        parameters = {"grid": asdict(grid), "spread": 0.1, "tile_blocks": TILE_BLOCKS, "block_px": BLOCK_PX}
        writer.add_layer(LAYER, "lidar", parameters)
        writer.put_model(LAYER, MODEL, bundle.to_bytes(localize_only=True), role="localizer")
        side = cells // _TILES
        for row in range(_TILES):
            for column in range(_TILES):
                tile = codes[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
                writer.put_tile(LAYER, column, row, coder.encode(np.ascontiguousarray(tile)))


def _drawn_codes(preset: Preset, cells: int, rng: np.random.Generator) -> ByteArray:
    """Symbols that keep to their neighbours, half of them 0."""
    coarse = rng.integers(1, preset.group_channels + 1, (preset.groups, -(-cells // 3), -(-cells // 3)))
    symbols = zoom(coarse, (1, 3, 3), order=0)[:, :cells, :cells]
    drawn: ByteArray = np.where(rng.random(symbols.shape) < 0.5, symbols, 0).astype(np.uint8)
    return drawn


def synthetic_observation(seed: int = 0) -> Observation:
    """Smooth ground of the paper's extent with a third of its pixels unobserved."""
    rng = np.random.default_rng(seed)
    shape = (round(2 * HALF_WIDTH_M / RESOLUTION_M), round(2 * HALF_LENGTH_M / RESOLUTION_M))
    ground = gaussian_filter(rng.standard_normal(shape), 3)
    observed = rng.random(shape) < 2 / 3
    values = np.where(observed, 0.4 + 0.1 * ground / ground.std(), 0).astype(np.float32)
    return Observation(values, observed, RESOLUTION_M)


@contextmanager
def _clocked() -> Iterator[dict[str, float]]:
    """Time the stages while the context lasts: seconds inside each and in no stage below it on its thread."""
    total: dict[str, float] = defaultdict(float)
    inside = threading.local()
    lock = threading.Lock()

    def timed(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            above = getattr(inside, "below_s", 0.0)
            inside.below_s = 0.0
            begin_s = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent_s = time.thread_time() - begin_s
                with lock:
                    total[stage] += spent_s - inside.below_s
                inside.below_s = above + spent_s

        return run

    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in _STAGES]
    for owner, name, stage in _STAGES:
        setattr(owner, name, timed(getattr(owner, name), stage))
    try:
        yield total
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)


def report(times: StepTimes) -> str:
    """The result as lines of text."""
    wall_ms, cpu_ms = 1e3 * float(np.median(times.wall_s)), 1e3 * float(np.median(times.cpu_s))
    lines = [
        f"{times.preset}, {times.threads} threads: {times.steps_per_second:.1f} steps/s"
        f" (median of {len(times.wall_s)}: {wall_ms:.0f} ms, {cpu_ms:.0f} ms of processor time)"
    ]
    for stage, seconds in sorted(times.stage_s.items(), key=lambda item: -item[1]):
        lines.append(f"  {stage:<24}{1e3 * seconds:7.1f} ms")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Print steps per second and the profile."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lidar.step_speed", description=__doc__)
    parser.add_argument("--preset", action="append", help=f"one of {', '.join(PRESETS)}; may be repeated")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runtime", choices=session.RUNTIMES, help="of the networks; the faster one if not given")
    parser.add_argument("--kept", action="store_true", help="what was decoded for one step serves the next")
    given = parser.parse_args(arguments)
    keep_freed_memory()
    for name in given.preset or ["small-16x", "paper-16x"]:
        sys.stdout.write(
            report(step_times(name, given.threads, given.steps, runtime=given.runtime, kept=given.kept)) + "\n"
        )


if __name__ == "__main__":
    main()
