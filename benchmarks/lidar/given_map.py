"""Row 3: single sweeps in a folded map that others made of other drives."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.lidar.coders import MAP
from benchmarks.lidar.folding import run_python
from benchmarks.lines import Line, at_most, information
from foldmap.atlas import FoldFile
from foldmap.bench.lidar.cases import Search, perturbed
from foldmap.formats.sweeps.drives import open_drive
from foldmap.lidar.folded import open_lidar
from foldmap.lidar.observation import SweepStack
from foldmap.localize.lidar.localizer import LidarLocalizer

RECORDING = "kitti-odometry00"


@dataclass(frozen=True)
class GivenMap:
    """Row 3: folded by the command line, relief mixed in; asked by sweeps of another recording.

    A query that the localizer refuses to answer has an infinite error.

    Attributes:
        radius_m: priors are off by up to this in x and in y.
        heading_deg: and by up to this in heading.
        priors: a sweep.
        relief_band: of the map.
        length_km: of the streets in the map.
        seed: of the priors.
        most_median_cm: the target.
        most_kb_per_km: of the file.
    """

    number: ClassVar[int] = 3
    name: ClassVar[str] = "given-map"
    title: ClassVar[str] = "kitti-odometry00 sweeps in folded kitti_00.tif"
    radius_m: float = 2.0
    heading_deg: float = 5.0
    priors: int = 4
    relief_band: int = 3
    length_km: float = 3.7
    seed: int = 0
    most_median_cm: float = 12.0
    most_kb_per_km: float = 25.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        raster = board.recordings(MAP)
        board.recordings(RECORDING)
        n = self.number
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "map.fold"
            begin_s = time.perf_counter()
            run_python("foldmap", "fold", str(raster), "-o", str(path), "--relief-band", f"{self.relief_band}")
            seconds, size = time.perf_counter() - begin_s, path.stat().st_size
            yield at_most(n, "file a km of street", size / 1000 / self.length_km, self.most_kb_per_km, "KB/km")
            with FoldFile.open(path) as file:
                off_m, statuses, name = self._asked(board, file)
        off_cm = 100 * np.array(off_m)
        ok = [off for off, status in zip(off_cm, statuses, strict=True) if status == "ok"]
        detail = {"off_cm": list(off_cm), "statuses": statuses, "model": name, "fold_s": seconds}
        yield at_most(n, "median error", float(np.median(off_cm)), self.most_median_cm, "cm", detail=detail)
        yield information(n, "95th percentile of the error", float(np.percentile(off_cm, 95, method="higher")), "cm")
        yield information(n, "answered ok", 100 * len(ok) / len(statuses), "%")
        yield information(n, "answered ok and off by more than 0.5 m", sum(off > 50 for off in ok))

    def _asked(self, board: Board, file: FoldFile) -> tuple[list[float], list[str], str]:
        """Errors in metres and statuses of all queries, and the code's name."""
        folded, report = open_lidar(file), board.report(RECORDING)
        localizer, search = LidarLocalizer.open(folded), Search(self.radius_m, math.radians(self.heading_deg))
        recorded = board.recordings(RECORDING)
        drive = open_drive(recorded / "sweeps", recorded / "poses.txt")
        poses = list(drive.world_SE3_sensors)
        off_m, statuses = list[float](), list[str]()
        for index, (sweep, pose) in enumerate(zip(drive.sweeps, poses, strict=True)):
            observation = SweepStack(folded.grid.resolution_m, 1, relief=folded.relief).add(sweep, pose)
            truth = pose.to_se2()
            for prior in range(self.priors):
                begun = perturbed(truth, search, np.random.default_rng((self.seed, index, prior)))
                found = localizer.localize(observation, begun, self.radius_m, search.heading_rad)
                here = found.pose
                away = math.inf if here is None else math.hypot(here.x_m - truth.x_m, here.y_m - truth.y_m)
                off_m.append(away)
                statuses.append(found.status.value)
            report(index + 1, len(poses))
        return off_m, statuses, folded.model.name
