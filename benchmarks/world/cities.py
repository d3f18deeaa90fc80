"""Row of whole cities: a town in many rasters, folded by one process and by two, killed and taken up, localized in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import rasterio

from benchmarks.context import Board
from benchmarks.lines import Line, at_least, at_most, information
from benchmarks.processes import Ran, run_measured
from benchmarks.town import TownMap, town_map
from foldmap.atlas import FoldFile
from foldmap.formats.raster.write import tiled_profile
from foldmap.geometry import SE2
from foldmap.lidar.folded import open_lidar
from foldmap.lidar.observation import Observation, extent_of
from foldmap.localize.estimate import Status
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.town import TownWorld

RASTER_PX = 3840


@dataclass(frozen=True)
class Cities:
    """Row 5: rasters of a generated town, squares of as many.

    Attributes:
        resolution_m: of them.
        codec: as of ``foldmap fold``.
        sides: rasters a side of a small and of a large city.
        seed: of the town.
        places: where the large one is localized in, by what was seen on another day.
    """

    number: ClassVar[int] = 5
    name: ClassVar[str] = "cities"
    title: ClassVar[str] = "a city folded in parts"
    resolution_m: float = 0.33
    codec: str = "learned"
    sides: tuple[int, int] = (2, 4)
    seed: int = 29
    places: int = 20

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        n, folder = self.number, Path(os.environ.get("FOLDMAP_CITY", "out/board/city"))
        folder.mkdir(parents=True, exist_ok=True)
        km2 = [(side * RASTER_PX * self.resolution_m) ** 2 / 1e6 for side in self.sides]
        few, many = (self._rasters(board, folder, side) for side in self.sides)
        board.report(f"folding {km2[0]:.1f} km2 by one process")(0, 1)
        one = self._fold(few, folder / "one.fold", 1)
        board.report(f"folding {km2[0]:.1f} km2 by two")(0, 1)
        two = self._fold(few, folder / "two.fold", 2)
        board.report(f"folding {km2[0]:.1f} km2 by two, killed once")(0, 1)
        again = self._killed(few, folder / "again.fold", 0.5 * two.seconds)
        yield at_least(n, "two processes over one, by the clock", one.seconds / two.seconds, 1.7, "x")
        yield information(n, "processor time of two processes over that of one", two.cpu_s / one.cpu_s, "x")
        same = len({(folder / f"{name}.fold").read_bytes() for name in ("one", "two", "again")}) == 1
        yield at_least(n, "one process, two, and two killed and taken up: the same bytes", same, 1)
        yield information(n, "processor time of what was left after the kill, share", again.cpu_s / two.cpu_s, "")
        board.report(f"folding {km2[1]:.1f} km2 by two")(0, 1)
        large = self._fold(many, folder / "large.fold", 2)
        each = [run.cpu_s / area for run, area in zip((two, large), km2, strict=True)]
        apart = abs(each[1] / each[0] - 1)
        yield at_most(n, f"core-seconds a km2, {km2[1]:.1f} km2 against {km2[0]:.1f}: apart by", 100 * apart, 10, "%")
        yield information(n, f"core-seconds a km2 of {km2[1]:.1f} km2", each[1], "s")
        yield at_most(n, "peak memory of the large over the small", large.peak_mb / two.peak_mb, 1.1, "x")
        yield information(n, "peak memory of a process", large.peak_mb, "MB")
        size = (folder / "large.fold").stat().st_size
        yield information(n, f"bytes a km2 of {km2[1]:.1f} km2", size / km2[1], "B")
        road_km = self._road_km()
        yield information(n, "kilometres of road a km2", road_km / km2[1], "km")
        yield information(n, "core-seconds a kilometre of road", large.cpu_s / road_km, "s")
        yield information(n, "bytes a kilometre of road", size / road_km, "B")
        yield from self._localized(folder / "large.fold", RASTER_PX * self.sides[1])

    def _road_km(self) -> float:
        """Kilometres of streets in the large city."""
        half_m = 0.5 * self.sides[1] * RASTER_PX * self.resolution_m
        total_m = 0.0
        for street in TownWorld(self.seed, 2 * half_m).streets_near(-half_m, -half_m, half_m, half_m):
            inside = np.asarray((np.abs(street.points_m) < half_m).all(axis=1))
            total_m += float(np.diff(street.arc_m)[inside[:-1] & inside[1:]].sum())
        return total_m / 1000

    def _rasters(self, board: Board, folder: Path, side: int) -> list[Path]:
        """Squares of the town about its middle, north-west first, written where they are not there yet."""
        reach, report = max(self.sides) * RASTER_PX, board.report("rendering the town")
        town = town_map(reach * self.resolution_m, self.resolution_m, self.seed)
        first = (max(self.sides) - side) // 2
        places = [(first + row, first + col) for row in range(side) for col in range(side)]
        paths = []
        for done, (row, col) in enumerate(places, start=1):
            paths.append(folder / f"town-{self.seed}-{row}-{col}.tif")
            if not paths[-1].exists():
                part, grid = paths[-1].with_suffix(".part"), town.grid
                square = town.read(row * RASTER_PX, col * RASTER_PX, RASTER_PX, RASTER_PX)
                values = np.clip(np.rint(254 * square.intensity), 0, 254)
                placed = grid.window(row * RASTER_PX, col * RASTER_PX, RASTER_PX, RASTER_PX)
                with rasterio.open(part, "w", **tiled_profile(placed, 1, "uint8", 255, 512)) as dataset:
                    dataset.write(np.where(square.observed, values, 255).astype(np.uint8), 1)
                part.replace(paths[-1])
            report(done, len(places))
        return paths

    def _fold(
        self, rasters: Sequence[Path], output: Path, workers: int, kill_s: float | None = None, anew: bool = True
    ) -> Ran:
        """Run it to its end, from the beginning; or, with a time, kill it then."""
        if anew:
            for left in (output, output.with_name(f".{output.name}.parts")):
                left.unlink(missing_ok=True)
        command = [sys.executable, "-m", "foldmap", "fold", *map(str, rasters), "-o", str(output)]
        command += ["--codec", self.codec, "--workers", str(workers)]
        return run_measured(command, kill_s)

    def _killed(self, rasters: Sequence[Path], output: Path, kill_s: float) -> Ran:
        """Killed, and taken up: what that took."""
        self._fold(rasters, output, 2, kill_s)
        return self._fold(rasters, output, 2, anew=False)

    def _localized(self, path: Path, reach_px: int) -> Iterator[Line]:
        """Windows of the town of another day, at places on it, asked from priors half a metre off."""
        rng, res = np.random.default_rng(self.seed), self.resolution_m
        other_day = TownMap(TownWorld(self.seed, reach_px * res), res, day_seed=self.seed + 1)
        half = extent_of(res)
        width, length = (round(2 * one / res) for one in (half[1], half[0]))
        errors, asked, answered = [], 0, 0
        with FoldFile.open(path) as file:
            localizer = LidarLocalizer.open(open_lidar(file))
            while asked < self.places:
                row, col = (int(one) for one in rng.integers(0, reach_px - max(width, length), 2))
                seen = other_day.read(row, col, width, length)
                if seen.observed.mean() < 0.3:
                    continue
                asked += 1
                west, north = seen.grid.west_m, seen.grid.north_m
                truth = np.array([west + 0.5 * length * res, north - 0.5 * width * res])
                off_m = rng.uniform(-0.5, 0.5, 2)
                where = SE2(float(truth[0] + off_m[0]), float(truth[1] + off_m[1]), 0.0)
                found = localizer.localize(Observation(seen.intensity, seen.observed, res, *half), where)
                if found.pose is not None:
                    answered += found.status is Status.OK
                    errors.append(float(np.hypot(found.pose.x_m - truth[0], found.pose.y_m - truth[1])))
        yield information(self.number, f"of {asked} places of the large city answered", len(errors))
        yield at_least(self.number, f"of {asked} places of the large city answered ok", answered, 1)
        worst = max(errors, default=float("inf"))
        yield at_most(self.number, "largest error there", worst, 3 * res, "m")


@dataclass(frozen=True)
class FineCities(Cities):
    """Row 6: the same at 5 cm, in marks, on less ground."""

    number: ClassVar[int] = 6
    name: ClassVar[str] = "cities-fine"
    title: ClassVar[str] = "a quarter folded in parts, at 5 cm"
    resolution_m: float = 0.05
    codec: str = "marks"
    seed: int = 31
