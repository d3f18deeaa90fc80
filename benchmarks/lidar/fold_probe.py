"""Fold a piece of a generated town in a process of its own, and print how long it took and how much memory.

python -m benchmarks.lidar.fold_probe MODEL EXTENT_M RESOLUTION_M SEED THREADS
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.processes import own_peak_mb
from benchmarks.town import town_map
from foldmap.atlas import FoldWriter
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.source import RasterMap, RasterSource


class Timed:
    """A raster that knows how long reading it took: rendering a town is not folding it."""

    def __init__(self, source: RasterSource) -> None:
        self._source, self.seconds = source, 0.0

    @property
    def grid(self) -> MetricGrid:
        """Of the raster."""
        return self._source.grid

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        """Read a window and count the time."""
        begin_s = time.perf_counter()
        window = self._source.read(row, col, height_px, width_px)
        self.seconds += time.perf_counter() - begin_s
        return window


def probe(model: Path, extent_m: float, resolution_m: float, seed: int, threads: int) -> dict[str, float]:
    """Fold and measure; peak memory is of the whole process."""
    torch.set_num_threads(threads)
    bundle = Bundle.from_bytes(model.read_bytes())
    source = Timed(town_map(extent_m, resolution_m, seed))
    with tempfile.TemporaryDirectory() as folder:
        begin_s = time.perf_counter()
        path = Path(folder) / "town.fold"
        with FoldWriter(path) as writer:
            made = fold_lidar(writer, source, LidarPlan(bundle))
        file_bytes = path.stat().st_size
        seconds = time.perf_counter() - begin_s
    return {
        "map_km2": extent_m**2 / 1e6,
        "observed_km2": made.observed_m2 / 1e6,
        "seconds": seconds,
        "rendering_s": source.seconds,
        "peak_mb": own_peak_mb(),
        "payload_bytes": made.payload_bytes,
        "file_bytes": file_bytes,
        "threads": threads,
    }


if __name__ == "__main__":
    model_path, extent, pixel, town_seed, thread_count = sys.argv[1:]
    print(json.dumps(probe(Path(model_path), float(extent), float(pixel), int(town_seed), int(thread_count))))
