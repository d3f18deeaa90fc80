"""Rows 8 to 10: speed and memory of folding, the demo's time, and what a file costs beyond its payloads."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.context import Board
from benchmarks.lidar.coders import three_maps
from benchmarks.lidar.hdl64 import StreetProtocol
from benchmarks.lines import Line, RowSkipped, at_least, at_most, information
from foldmap.atlas import FoldWriter
from foldmap.errors import FoldmapError
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.source import RasterMap


def run_python(*arguments: str, timeout_s: float = 3600.0) -> str:
    """Run a module of this package in a process of its own and return what it printed.

    Raises:
        FoldmapError: it failed or took too long; its last lines of stderr are in the message.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FoldmapError(f"{arguments[0]} took more than {timeout_s:g} s", "run it by itself") from error
    if done.returncode:
        last = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise FoldmapError(f"{' '.join(arguments)} failed: {last}", "run it by itself")
    return done.stdout


@dataclass(frozen=True)
class Folding:
    """Row 8, on towns that are rendered as they are read; speed leaves the rendering out, memory does not.

    Attributes:
        fine_m: resolution of the maps whose folding is timed.
        fine_km2: areas of a small and a large one.
        coarse_m: resolution of the maps whose memory is compared over a large range.
        coarse_km2: areas.
        seed: of the town.
        least_km2_min: the target speed, map area.
        most_memory_ratio: peak memory of the large map over that of the small one.
    """

    number: ClassVar[int] = 8
    name: ClassVar[str] = "folding"
    title: ClassVar[str] = "folding speed and memory"
    fine_m: float = 0.05
    fine_km2: tuple[float, float] = (0.02, 0.08)
    coarse_m: float = 0.33
    coarse_km2: tuple[float, float] = (0.5, 4.1)
    seed: int = 23
    least_km2_min: float = 0.05
    most_memory_ratio: float = 1.1

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        for resolution_m, areas, timed in (
            (self.fine_m, self.fine_km2, True),
            (self.coarse_m, self.coarse_km2, False),
        ):
            label = f"{100 * resolution_m:g} cm"
            try:
                bundle = board.bundle(resolution_m)
            except RowSkipped as skipped:
                yield Line(self.number, f"folding at {label}", None, note=str(skipped))
                continue
            small, large = (self._probe(board, bundle, resolution_m, area) for area in areas)
            yield from self._lines(label, bundle, small, large, timed)

    def _lines(
        self, label: str, bundle: Bundle, small: dict[str, float], large: dict[str, float], timed: bool
    ) -> Iterator[Line]:
        n, detail = self.number, {"small": small, "large": large, "model": bundle.name}
        folding_s = large["seconds"] - large["rendering_s"]
        speed = 60 * large["map_km2"] / folding_s
        name = f"{label}: map area folded a minute on {large['threads']} threads"
        if timed:
            yield at_least(n, name, speed, self.least_km2_min, "km2/min", detail=detail)
        else:
            yield information(n, name, speed, "km2/min", detail=detail)
        observed = 60 * large["observed_km2"] / folding_s
        yield information(n, f"{label}: the same, observed ground alone", observed, "km2/min")
        sizes = f"{large['map_km2']:.3g} km2 over {small['map_km2']:.3g} km2"
        ratio = large["peak_mb"] / small["peak_mb"]
        yield at_most(n, f"{label}: peak memory of {sizes}", ratio, self.most_memory_ratio, "x")
        yield information(n, f"{label}: peak memory of {large['map_km2']:.3g} km2", large["peak_mb"], "MB")

    def _probe(self, board: Board, bundle: Bundle, resolution_m: float, km2: float) -> dict[str, float]:
        board.report(f"folding {km2:g} km2 at {resolution_m:g} m")(0, 1)
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model.safetensors"
            model.write_bytes(bundle.to_bytes())
            printed = run_python(
                "benchmarks.lidar.fold_probe",
                str(model),
                repr(math.sqrt(km2 * 1e6)),
                repr(resolution_m),
                str(self.seed),
                str(board.threads),
            )
        result: dict[str, float] = json.loads(printed)
        return result


@dataclass(frozen=True)
class Demo:
    """Row 9: the demo as a newcomer runs it, in a process of its own; installs apart."""

    number: ClassVar[int] = 9
    name: ClassVar[str] = "demo"
    title: ClassVar[str] = "foldmap demo"
    resolution_m: float = 0.05
    most_s: float = 180.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        bundle = board.bundle(self.resolution_m)
        board.report("demo")(0, 1)
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model.safetensors"
            model.write_bytes(bundle.to_bytes())
            given = ("--model", str(model)) if any(bundle is model for model in board.models) else ()
            begin_s = time.perf_counter()
            printed = run_python("foldmap", "demo", "-o", f"{folder}/demo", "--json", *given)
            seconds = time.perf_counter() - begin_s
        summary: dict[str, Any] = json.loads(printed)
        summary.pop("report", None)
        yield at_most(self.number, "foldmap demo", seconds, self.most_s, "s", detail={"summary": summary})


@dataclass(frozen=True)
class Overhead:
    """Row 10: what a file weighs beyond its payloads (tiles and the model inside), against what it may.

    Attributes:
        asked: whose whole drive is one of the maps.
        town_extent_m: side of a town's map.
        town_seed: of the town.
        most_bytes: allowed apart from the share,
        most_share: and this share of the payloads.
    """

    number: ClassVar[int] = 10
    name: ClassVar[str] = "overhead"
    title: ClassVar[str] = "file overhead over the payloads"
    asked: StreetProtocol = field(default_factory=StreetProtocol)
    town_extent_m: float = 160.0
    town_seed: int = 21
    most_bytes: int = 16 << 10
    most_share: float = 0.03

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        for name, found in three_maps(board, self.asked, self.town_extent_m, self.town_seed):
            if isinstance(found, RowSkipped):
                yield Line(self.number, f"file of {name}", None, note=str(found))
            else:
                yield self._line(name, *found)

    def _line(self, name: str, raster: RasterMap, bundle: Bundle) -> Line:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "map.fold"
            with FoldWriter(path) as writer:
                made = fold_lidar(writer, raster, LidarPlan(bundle))
            file_bytes = path.stat().st_size
        model_bytes = len(bundle.to_bytes(localize_only=True))
        payload = made.payload_bytes + model_bytes
        allowed = self.most_bytes + self.most_share * payload
        over_kib, allowed_kib = (file_bytes - payload) / 1024, allowed / 1024
        detail = {"tile_bytes": made.payload_bytes, "model_bytes": model_bytes, "file_bytes": file_bytes}
        return at_most(self.number, f"{name}: file minus payloads", over_kib, allowed_kib, "KiB", detail=detail)
