"""Row 3: single sweeps in a folded map that others made of other drives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.context import Board
from benchmarks.lidar.hdl64 import classical
from benchmarks.lines import Line, at_most, information
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec
from foldmap.bench.lidar.cases import Method, Search
from foldmap.bench.lidar.learned import EmbeddingMatcher, LearnedCodec
from foldmap.bench.lidar.predict import predict_all
from foldmap.bench.lidar.protocol import GivenMapProtocol
from foldmap.bench.lidar.tables import matching_row

MAP = "groundloc-maps/kitti_00.tif"


@dataclass(frozen=True)
class GivenMap:
    """Row 3.

    Attributes:
        radius_m: priors are off by up to this in x and in y.
        heading_deg: and by up to this in heading.
        priors: a sweep.
        half_m: half the side of an observation.
        max_range_m: of the ground returns.
        seed: of the priors.
        most_median_cm: the target.
    """

    number: ClassVar[int] = 3
    name: ClassVar[str] = "given-map"
    title: ClassVar[str] = "kitti-odometry00 sweeps in folded kitti_00.tif"
    radius_m: float = 2.0
    heading_deg: float = 5.0
    priors: int = 4
    half_m: float = 21.0
    max_range_m: float = 30.0
    seed: int = 0
    most_median_cm: float = 15.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        drive, raster = board.drive("kitti-odometry00", self.max_range_m), board.raster(MAP)
        bundle = board.bundle(raster.grid.resolution_m)
        search = Search(self.radius_m, math.radians(self.heading_deg))
        protocol = GivenMapProtocol(
            drive,
            raster,
            MAP,
            half_length_m=self.half_m,
            half_width_m=self.half_m,
            search=search,
            priors=self.priors,
            seed=self.seed,
        )
        methods = [
            Method(LearnedCodec(bundle), EmbeddingMatcher(self.half_m, self.half_m)),
            *classical([ImageMapCodec("raw16")]),
        ]
        own, raw = (matching_row(r) for r in predict_all(methods, protocol, None, board.report("kitti-odometry00")))
        n = self.number
        yield at_most(n, "median error", own["median_cm"], self.most_median_cm, "cm", detail={"row": own})
        yield information(n, "95th percentile of the error", own["p95_cm"], "cm")
        yield information(n, "largest error", own["max_cm"], "cm")
        yield information(n, "payload a m2 of observed ground", own["bits_per_m2"], "bit/m2")
        yield information(n, "answered ok", own.get("ok_pct", 0.0), "%")
        yield information(n, f"{raw['method']}: median error", raw["median_cm"], "cm", detail={"row": raw})
