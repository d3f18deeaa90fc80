"""Row of a file of a gigabyte: opened, driven through, and merged, cut, compared, patched and killed by the command.

The file is a town's tiles over and over, at other places: every one is whole, and streets break off between them.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.journey.town import TownDrives
from benchmarks.lines import Line, RowSkipped, at_most, information
from benchmarks.processes import Ran, run_measured
from benchmarks.town import town_map
from foldmap.atlas import FoldFile, FoldWriter, update
from foldmap.atlas.drawn import Drawn
from foldmap.geometry import SE2, SE3
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.observation import Observation, SweepStack
from foldmap.town import TownWorld, build_lidar
from foldmap.town.lidar.drive import drive

RESOLUTION_M, TILE_M = 0.05, 96.0
_OPENED = 5  # times


@dataclass(frozen=True)
class Large:
    """Row 7: the whole tiles of a small town, repeated to a square.

    Attributes:
        megabytes: of the file, about.
        blocks: tiles a side of the town.
        places: where it is localized in, all over the map.
        changed: tiles of a patch.
        kills: of a patch that is put in, at equal shares of the time that it takes.
        seed: of the town.
    """

    number: ClassVar[int] = 7
    name: ClassVar[str] = "large"
    title: ClassVar[str] = "a file of a gigabyte"
    when_named: ClassVar[bool] = True
    megabytes: float = 1000.0
    blocks: int = 2
    places: int = 50
    changed: int = 100
    kills: int = 3
    seed: int = 5

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        folder = Path(os.environ.get("FOLDMAP_LARGE", "out/board/large"))
        if folder.exists():
            raise RowSkipped(f"skipped: {folder} is there, and would be removed")
        folder.mkdir(parents=True)
        try:
            small, large = folder / "small.fold", folder / "large.fold"
            self._fold(board, small)
            side = self._repeated(small, large)
            yield information(self.number, "the file", large.stat().st_size / 1e6, "MB", detail={"tiles": side**2})
            yield from self._driven(folder, small, large, side)
            yield from self._reshaped(folder, large, side)
        finally:
            shutil.rmtree(folder)

    def _fold(self, board: Board, small: Path) -> None:
        town = town_map(self.blocks * TILE_M, RESOLUTION_M, self.seed)
        with FoldWriter(small) as writer:
            fold_lidar(writer, town, LidarPlan(board.marks(RESOLUTION_M)))

    def _repeated(self, small: Path, large: Path) -> int:
        """Write the large file; tiles a side."""
        with FoldFile.open(small) as file, FoldWriter(large) as writer:
            there, parameters = file.directory("lidar"), dict(file.layer("lidar").parameters)
            side = round(math.sqrt(self.megabytes * 1e6 / (there.tile_bytes / len(there))))
            side -= side % self.blocks
            side_px = parameters["grid"]["height_px"] // self.blocks * side
            parameters["grid"] = parameters["grid"] | {"height_px": side_px, "width_px": side_px}
            rows, columns = np.divmod(np.arange(side**2), side)
            place = np.array([[there.find(column, row) for column in range(self.blocks)] for row in range(self.blocks)])
            writer.add_layer("lidar", "lidar", parameters)
            writer.draw("lidar", Drawn(file, "lidar", place[rows % self.blocks, columns % self.blocks], columns, rows))
            writer.commit()
        return side

    def _driven(self, folder: Path, small: Path, large: Path, side: int) -> Iterator[Line]:
        observation, pose = self._seen()
        shown = folder / "seen.npz"
        towns = np.random.default_rng(self.seed).integers(0, side // self.blocks, (self.places, 2))
        shifts_m = towns * self.blocks * TILE_M * [1.0, -1.0]  # the first tile's corner is that of the town
        few = np.repeat([[pose.x_m, pose.y_m, pose.heading_rad]], self.places, axis=0)
        places = few + np.pad(shifts_m, ((0, 0), (0, 1)))
        told: dict[str, dict[str, Any]] = {}
        for name, path, at in (("small", small, few), ("large", large, places)):
            np.savez(
                shown,
                intensity=observation.intensity,
                observed=observation.observed,
                places=at,
                resolution_m=RESOLUTION_M,
            )
            command = [sys.executable, "-m", "benchmarks.journey.large_probe", str(path), str(shown)]
            runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(_OPENED)]
            told[name] = min(runs, key=lambda one: float(one["open_s"]))
        n, found = self.number, told["large"]
        yield at_most(n, "opening it", found["open_s"], 0.2, "s")
        yield information(n, "opening it, processor time", found["open_cpu_s"], "s")
        yield at_most(n, "resident when it is open", found["open_mb"], 100, "MB")
        yield at_most(n, "resident at most, driving through it", found["peak_mb"], 100, "MB", detail=told)
        beyond = found["peak_mb"] - told["small"]["peak_mb"]
        yield information(n, "of it more than in a map of some tiles", beyond, "MB")
        yield information(n, "places found within 0.2 m", 100 * found["right"] / self.places, "%")

    def _seen(self) -> tuple[Observation, SE2]:
        """What is seen on another day in the middle of the town, and from where."""
        world = TownWorld(self.seed, self.blocks * TILE_M)
        way = TownDrives.way(world, self.blocks * TILE_M, 10, np.random.default_rng([self.seed, 67]))
        stack = SweepStack(RESOLUTION_M, 5)
        sensor = build_lidar("spinning64", np.random.default_rng([self.seed, 63]))
        for sweep, world_SE3_sensor, _ in drive(world, way, 1000, sensor, 8.0, 10.0, max_range_m=25.0):
            seen, pose = stack.add(sweep, SE3.from_se2(world_SE3_sensor.to_se2())), world_SE3_sensor.to_se2()
        return seen, pose

    def _reshaped(self, folder: Path, large: Path, side: int) -> Iterator[Line]:
        n, part, after, patch = (self.number, *(folder / name for name in ("part.fold", "after.fold", "one.foldpatch")))
        half_m = 0.5 * self.blocks * TILE_M
        box = ",".join(f"{at:g}" for at in (-half_m, half_m - 20 * TILE_M, 20 * TILE_M - half_m, half_m))
        ran = {"extract": _foldmap("extract", large, f"--bbox={box}", "-o", part)}
        with update(after, large) as writer:
            other = writer.before.tile("lidar", 1, 0)
            assert other is not None
            for number in range(self.changed):
                at = number * side // self.changed // self.blocks * self.blocks
                writer.put_tile("lidar", at, at, other)
            writer.commit()
        ran["diff"] = _foldmap("diff", large, after, "-o", patch)
        yield information(n, f"a patch of {self.changed} tiles", patch.stat().st_size / 1000, "kB")
        seals = _seal(large), _seal(after)
        after.unlink()
        ran["merge"] = _foldmap("merge", large, part, "-o", after)
        after.unlink()
        ran["patch"] = _foldmap("patch", large, patch, "-o", after)
        wrong = int(_seal(after) != seals[1])
        after.unlink()
        for number in range(self.kills):
            if _seal(large) == seals[0]:  # else it was done before it was killed
                _foldmap("patch", large, patch, kill_at_cpu_s=ran["patch"].cpu_s * (number + 1) / (self.kills + 1))
            wrong += _seal(large) not in seals
        if _seal(large) == seals[0]:
            _foldmap("patch", large, patch)
        wrong += _seal(large) != seals[1]
        for name, one in ran.items():
            yield at_most(n, f"{name}: memory", one.peak_mb, 200, "MB", detail={"processor s": one.cpu_s})
        yield at_most(n, f"neither old nor new, of {self.kills} patches killed and two not", wrong, 0)


def _seal(path: Path) -> bytes:
    with FoldFile.open(path) as file:
        return file.seal


def _foldmap(*words: str | Path, kill_at_cpu_s: float | None = None) -> Ran:
    """Run the command, to its end or to so much processor time."""
    return run_measured([sys.executable, "-m", "foldmap", *words], kill_cpu_s=kill_at_cpu_s)
