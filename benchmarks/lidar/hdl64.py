"""Rows 1 and 2: a real street at 5 cm in maps that leave its neighbourhood out, against the best classical codes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.lidar.simple import matched, strong_codecs
from benchmarks.lines import Line, at_least, at_most, information
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec, ThresholdMapCodec
from foldmap.bench.lidar.baselines.ncc_matcher import NccMatcher
from foldmap.bench.lidar.cases import Codec, Method, Search
from foldmap.bench.lidar.learned import EmbeddingMatcher, LearnedCodec
from foldmap.bench.lidar.marks import MarksCodec
from foldmap.bench.lidar.predict import Predictions, predict_all
from foldmap.bench.lidar.protocol import DriveProtocol
from foldmap.bench.lidar.tables import matching_row
from foldmap.lidar.marks.model import MarksModel

RECORDING = "kitti-hdl64"


@dataclass(frozen=True)
class StreetProtocol:
    """How the street is asked.

    Attributes:
        recording: a drive's folder.
        resolution_m: of the maps.
        sweeps: aggregated a query.
        every: a query starts at every so many sweeps.
        guard: sweeps left out of a query's map on each side of it.
        radius_m: priors are off by up to this in x and in y.
        heading_deg: and by up to this in heading.
        max_range_m: of the ground returns that maps and queries are made of.
        seed: of the priors.
    """

    recording: str = RECORDING
    resolution_m: float = 0.05
    sweeps: int = 5
    every: int = 3
    guard: int = 15
    radius_m: float = 1.0
    heading_deg: float = 5.0
    max_range_m: float = 20.0
    seed: int = 0

    @property
    def search(self) -> Search:
        """Around the priors."""
        return Search(self.radius_m, math.radians(self.heading_deg))

    def protocol(self, board: Board) -> DriveProtocol:
        """The benchmark; its maps are built once."""

        def make() -> DriveProtocol:
            drive = board.drive(self.recording, self.max_range_m)
            return DriveProtocol(
                drive,
                self.resolution_m,
                self.sweeps,
                self.every,
                guard=self.guard,
                search=self.search,
                seed=self.seed,
            )

        return board.shared(("street", self), make)  # type: ignore[no-any-return]

    def code(self, board: Board) -> MarksModel:
        """Those of the shipped marks that ``foldmap fold`` takes for the whole map."""
        whole = self.protocol(board).maps  # missing recordings are the first thing to say
        return board.shared(("code", self), lambda: board.marks_of(whole.without(0, -1)))  # type: ignore[no-any-return]

    def marks(self, board: Board) -> Predictions:
        """The answers of the default code."""
        return self.answers(board, [Method(MarksCodec(self.code(board)), EmbeddingMatcher())])[0]

    def learned(self, board: Board) -> Predictions:
        """The answers of the learned code as it ships."""
        self.protocol(board)
        return self.answers(board, [Method(LearnedCodec(board.bundle(self.resolution_m)), EmbeddingMatcher())])[0]

    def answers(self, board: Board, methods: Sequence[Method]) -> list[Predictions]:
        """Answers of methods, each asked once in this run."""
        protocol = self.protocol(board)
        kept: dict[str, Predictions] = board.shared(("answers", self), dict)
        missing = [method for method in methods if method.name not in kept]
        if missing:
            what = f"{self.recording}, {len(missing)} methods"
            for result in predict_all(missing, protocol, None, board.report(what)):
                kept[result.method] = result
        return [kept[method.name] for method in methods]


def classical(codecs: Sequence[Codec]) -> list[Method]:
    """Codecs with plain normalized cross-correlation."""
    return [Method(codec, NccMatcher()) for codec in codecs]


@dataclass(frozen=True)
class Street:
    """Row 1: the default code; the raw map, the one-bit map and the learned code of the same run beside it."""

    number: ClassVar[int] = 1
    name: ClassVar[str] = "hdl64"
    title: ClassVar[str] = "kitti-hdl64 at 5 cm, leave-out maps"
    asked: StreetProtocol = field(default_factory=StreetProtocol)
    most_bit_m2: float = 1.2
    most_median_cm: float = 6.0
    most_p95_cm: float = 13.0
    least_ok_pct: float = 95.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        row = matching_row(self.asked.marks(board))
        detail = {"row": row}
        n = self.number
        yield at_most(
            n, "payload a m2 of observed ground", row["bits_per_m2"], self.most_bit_m2, "bit/m2", detail=detail
        )
        yield at_most(n, "median error", row["median_cm"], self.most_median_cm, "cm")
        yield at_most(n, "95th percentile of the error", row["p95_cm"], self.most_p95_cm, "cm")
        yield at_most(n, "queries off by more than 0.5 m", row["beyond_50_cm_pct"], 0.0, "%")
        yield at_least(n, "queries answered ok", row.get("ok_pct", 0.0), self.least_ok_pct, "%")
        yield information(n, "largest error", row["max_cm"], "cm")
        yield information(n, "median heading error", row["heading_median_deg"], "deg")
        yield information(n, "queries", row["queries"])
        baselines = classical([ImageMapCodec("raw16"), ThresholdMapCodec(0.4)])
        for result in [*self.asked.answers(board, baselines), self.asked.learned(board)]:
            other = matching_row(result)
            yield information(n, f"{result.method}: payload", other["bits_per_m2"], "bit/m2", detail={"row": other})
            yield information(n, f"{result.method}: median error", other["median_cm"], "cm")
            yield information(n, f"{result.method}: 95th percentile", other["p95_cm"], "cm")


@dataclass(frozen=True)
class AgainstClassical:
    """Row 2: bits of marks and of the simple codes at the learned code's median error, over its own bits.

    They have the same coder and localizer; the better of the localizer and plain correlation counts for each.

    Attributes:
        asked: as row 1.
        least_ratio: the target.
        every_code: all kinds and sizes instead of the best known.
    """

    number: ClassVar[int] = 2
    name: ClassVar[str] = "ratio"
    title: ClassVar[str] = "bits against the best simple code at equal median error"
    asked: StreetProtocol = field(default_factory=StreetProtocol)
    least_ratio: float = 1.5
    every_code: bool = False

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        own = matching_row(self.asked.learned(board))
        resolution_m = self.asked.resolution_m
        methods = matched(board, resolution_m, strong_codecs(board, resolution_m, self.every_code))
        results = [self.asked.marks(board), *self.asked.answers(board, methods)]
        rows = [matching_row(result) for result in results]
        points = [(float(row["bits_per_m2"]), float(row["median_cm"])) for row in rows]
        bits, note = bits_at_error(points, float(own["median_cm"]))
        ratio = bits / float(own["bits_per_m2"])
        detail = {"learned": own, "classical": rows}
        yield at_least(
            self.number,
            "best simple code's bits over learned bits",
            ratio,
            self.least_ratio,
            "x",
            note=note,
            detail=detail,
        )
        yield information(self.number, "best simple code at that median", bits, "bit/m2", note=note)
        for row in rows:
            yield information(self.number, f"{row['method']}: median error", row["median_cm"], "cm")
            yield information(self.number, f"{row['method']}: 95th percentile", row["p95_cm"], "cm")
            yield information(self.number, f"{row['method']}: payload", row["bits_per_m2"], "bit/m2")


def bits_at_error(points: Sequence[tuple[float, float]], error: float) -> tuple[float, str]:
    """Bits that the best of some codes need for an error, between codes along the front in logarithms.

    Beyond the front's ends nothing is extrapolated: its most accurate code stands for anything more accurate (they
    would need more bits), its cheapest for anything less accurate (they would need fewer), and the note says so.

    Args:
        points: (bits, error) of the codes.
        error: wanted.

    Returns:
        Bits, and a note where the error lies beyond the front.
    """
    front: list[tuple[float, float]] = []
    for bits, value in sorted(points):
        if not front or value < front[-1][1]:
            front.append((bits, value))
    log_bits, log_errors = (np.log(np.array(column)) for column in zip(*front, strict=True))
    note = ""
    if error < front[-1][1]:
        note = "no simple code is as accurate; the most accurate one stands for it"
    elif error > front[0][1]:
        note = "all simple codes are more accurate; the smallest one stands for them"
    return float(np.exp(np.interp(math.log(error), log_errors[::-1], log_bits[::-1]))), note
