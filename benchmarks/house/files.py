"""Rows 1 to 3 of the house: what the demo's file, a folded lidar map and a folded street map weigh."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image

from benchmarks.cases.worker import Answer, Commands
from benchmarks.context import Board
from benchmarks.lidar.folding import run_python
from benchmarks.lines import Line, at_most, information
from foldmap.errors import FoldmapError
from foldmap.formats.street.geojson import write_geojson
from foldmap.street.images.observation import AerialCrop
from foldmap.street.paper.pairs import AerialPairs
from foldmap.town.street.map import town_street_map
from foldmap.town.street.ortho import town_tile
from foldmap.town.world import TownWorld


@dataclass(frozen=True)
class DemoFile:
    """Row 1: the demo as a newcomer runs it, all three layers in one file; what it localizes stands beside."""

    number: ClassVar[int] = 1
    name: ClassVar[str] = "demo-file"
    title: ClassVar[str] = "the demo's file, all three layers"
    most_bytes: int = 60_000
    most_s: float = 180.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        with tempfile.TemporaryDirectory() as folder:
            begin_s = time.perf_counter()
            summary = json.loads(run_python("foldmap", "demo", "-o", f"{folder}/demo", "--json"))
            seconds = time.perf_counter() - begin_s
            size = (Path(folder) / "demo/map.fold").stat().st_size
        yield at_most(self.number, "the demo's file", size, self.most_bytes, "B", detail={"summary": summary})
        yield at_most(self.number, "foldmap demo", seconds, self.most_s, "s")
        for key, what, unit in (
            ("median_error_cm", "its median error, lidar", "cm"),
            ("median_photo_error_cm", "its median error, photos", "cm"),
            ("street_median_error_m", "its median error, lanes", "m"),
        ):
            if summary.get(key) is not None:
                yield information(self.number, what, summary[key], unit)


@dataclass(frozen=True)
class LidarFile:
    """Row 2: a recorded drive, built into a map and folded by the command line; then its first estimate.

    Attributes:
        recording: of the lidar recordings.
        max_range_m: of the returns that the map is built of.
        most_bytes: of the folded map.
        most_s: of a process that opens it and localizes one sweep.
    """

    number: ClassVar[int] = 2
    name: ClassVar[str] = "lidar-file"
    title: ClassVar[str] = "a recorded lidar map, folded, and its first estimate"
    recording: str = "kitti-hdl64"
    max_range_m: float = 20.0
    most_bytes: int = 12_000
    most_s: float = 3.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        drive = board.recordings(self.recording)
        sweeps, poses = drive / "sweeps", drive / "poses.txt"
        with tempfile.TemporaryDirectory() as folder:
            tif, path = f"{folder}/map.tif", Path(folder) / "map.fold"
            run_python(
                "foldmap", "build", "lidar", str(sweeps), "--poses", str(poses), "--max-range", f"{self.max_range_m}",
                "-o", tif,
            )  # fmt: skip
            folded = json.loads(run_python("foldmap", "fold", tif, "-o", str(path), "--json"))
            yield at_most(
                self.number, f"{self.recording}, folded", path.stat().st_size, self.most_bytes, "B",
                detail={"summary": folded},
            )  # fmt: skip
            first = sorted(sweeps.iterdir())[0]
            prior = Path(folder) / "prior.txt"
            prior.write_text(poses.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
            asked = (str(path), str(first), "--poses", str(prior), "--aggregate", "1")
            seconds = []
            for number in range(3):
                begin_s = time.perf_counter()
                run_python("foldmap", "localize", *asked, "-o", f"{folder}/{number}.txt")
                seconds.append(time.perf_counter() - begin_s)
        note = "a whole process: imports, opening, one estimate; the best of 3"
        yield at_most(self.number, "opening and a first lidar estimate", min(seconds), self.most_s, "s", note=note)


@dataclass(frozen=True)
class StreetFile:
    """Row 3: the lanes of a generated town, folded and ready to retrieve in, and what the first retrieval takes.

    Attributes:
        half_m: half side of the square whose lanes are folded; 210 m hold 17 lane-km.
        most_bytes: of the file.
        most_s: of the first retrieval in a newly opened file, by a process that has retrieved in another one.
        seed: of the town; the other one's is the next.
    """

    number: ClassVar[int] = 3
    name: ClassVar[str] = "street-file"
    title: ClassVar[str] = "a street map, folded, and its first retrieval"
    half_m: float = 210.0
    most_bytes: int = 16_000
    most_s: float = 2.0
    seed: int = 0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        with tempfile.TemporaryDirectory() as name, Commands() as commands:
            folder = Path(name)
            km = _write_town(folder, "town", self.seed, self.half_m)
            _write_town(folder, "other", self.seed + 1, 60.0)
            for town in ("town", "other"):
                _told(commands.run(f"fold {town}.geojson -o {town}.fold --json", folder))
            yield at_most(
                self.number, f"{km:.1f} lane-km, folded, ready to retrieve",
                (folder / "town.fold").stat().st_size, self.most_bytes, "B",
            )  # fmt: skip
            _told(commands.run("street retrieve other.fold other.png -o warm.jsonl", folder))
            begin_s = time.perf_counter()
            _told(commands.run("street retrieve town.fold town.png -o first.jsonl", folder))
            seconds = time.perf_counter() - begin_s
        yield at_most(self.number, "first retrieval in a newly opened file", seconds, self.most_s, "s")


def _write_town(folder: Path, name: str, seed: int, half_m: float) -> float:
    """Write a town's lanes as NAME.geojson and an aerial crop of it as NAME.png; returns kilometres of lanes."""
    world = TownWorld(seed)
    lanes = town_street_map(world, -half_m, -half_m, half_m, half_m, name)
    write_geojson(lanes, folder / f"{name}.geojson")
    tile = town_tile(world, -60.0, -60.0, 120.0, 0.25, 2)
    seen = AerialPairs([tile], 5.0)[0].observation
    assert isinstance(seen, AerialCrop)
    Image.fromarray(seen.image).save(folder / f"{name}.png")
    return lanes.graph.length_m / 1000


def _told(answer: Answer) -> None:
    """Raise where a command failed; a retrieval that found nothing (status 1) was a retrieval, too."""
    if answer.status not in (0, 1):
        raise FoldmapError(f"foldmap failed: {answer.reason}", "run it by itself")
