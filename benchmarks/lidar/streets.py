"""Rows 11 and 12: the paper's figures on two real streets, for the default code and the best simple ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.context import Board
from benchmarks.lidar.hdl64 import StreetProtocol
from benchmarks.lidar.simple import HALF_M, matched, raw_and_sparse
from benchmarks.lines import Line, RowSkipped, at_most, information
from foldmap.bench.lidar.baselines.image_codecs import ThresholdMapCodec
from foldmap.bench.lidar.baselines.ncc_matcher import NccMatcher
from foldmap.bench.lidar.cases import Method
from foldmap.bench.lidar.learned import EmbeddingMatcher, LearnedCodec
from foldmap.bench.lidar.marks import MarksCodec
from foldmap.bench.lidar.methods import ncc_of, online_of
from foldmap.bench.lidar.online_protocol import OnlineProtocol, online_row, run_online
from foldmap.bench.lidar.predict import Prediction, Predictions
from foldmap.bench.lidar.tables import matching_row

MATCHED = {
    "bits_per_m2": ("payload", "bit/m2"),
    "lateral_median_cm": ("across the street, median", "cm"),
    "longitudinal_median_cm": ("along the street, median", "cm"),
    "median_cm": ("median error", "cm"),
    "p95_cm": ("95th percentile", "cm"),
    "beyond_50_cm_pct": ("queries off by more than 0.5 m", "%"),
    "top1_px_pct": ("top-1 px", "%"),
    "top9_px_pct": ("top-9 px", "%"),
    "ok_pct": ("queries answered ok", "%"),
}
DRIVEN = {
    "lateral_median_cm": ("across the street, median", "cm"),
    "longitudinal_median_cm": ("along the street, median", "cm"),
    "p95_cm": ("95th percentile", "cm"),
    "fail_100_m_pct": ("segments that fail within 100 m", "%"),
    "fail_500_m_pct": ("segments that fail within 500 m", "%"),
    "fail_end_pct": ("segments that fail by the end", "%"),
}
WRONG_M = 0.5


@dataclass(frozen=True)
class PaperFigures:
    """One street, asked once a query without memory, and driven with the histogram filter.

    Nothing is adapted to the street or its sensor.

    Attributes:
        number: of the row.
        name: of the row.
        asked: how the street is asked; the drive leaves as many sweeps out.
        most_bit_m2: of marks; no target where None.
        most_lateral_cm: of their median across the street, with the filter; no target where None.
        learned: whether the learned code is measured, too.
    """

    number: int
    name: str
    asked: StreetProtocol
    most_bit_m2: float | None = None
    most_lateral_cm: float | None = None
    learned: bool = True

    @property
    def title(self) -> str:
        """See `Row`."""
        return f"{self.asked.recording} as the paper tells it: memoryless and driven, across and along"

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        self.asked.protocol(board)  # missing recordings are the first thing to say
        methods = matched(board, self.asked.resolution_m, raw_and_sparse(board, self.asked.resolution_m), ncc=False)
        one_bit = ThresholdMapCodec(0.4)  # with plain correlation it tells more along a street than others do
        methods.append(Method(one_bit, ncc_of(one_bit)))
        if self.learned:
            try:
                bundle = board.bundle(self.asked.resolution_m)
            except RowSkipped as skipped:
                yield Line(self.number, "the learned code", None, note=str(skipped))
            else:
                methods.insert(0, Method(LearnedCodec(bundle), EmbeddingMatcher(*HALF_M)))
        methods.insert(0, Method(MarksCodec(self.asked.code(board)), EmbeddingMatcher(*HALF_M)))
        alone = dict(zip((m.name for m in methods), self.asked.answers(board, methods), strict=True))
        along_cm: dict[str, float] = {}
        for method in methods:
            is_plain = isinstance(method.matcher, NccMatcher)
            name = method.name if is_plain else method.codec.name
            yield from self._told(method, name, matching_row(alone[method.name]), MATCHED)
            drive = self._drive(board, method)
            driven = online_row(drive)
            yield from self._told(method, f"{name}, {'tracking' if is_plain else 'filter'}", driven, DRIVEN)
            if not is_plain:
                along_cm[name] = float(driven["longitudinal_median_cm"])
                for how, answers in (("", alone[method.name]), (", filter", drive)):
                    yield self._wrong(method, f"{name}{how}: answers ok and off by more than 0.5 m", answers)
        own, *others = along_cm.values()
        if others and self.most_lateral_cm is not None:
            best = min(value for name, value in along_cm.items() if not name.startswith("foldmap"))
            name = f"{next(iter(along_cm))}, filter: along the street, against the best simple code"
            yield at_most(self.number, name, own, best, "cm", detail={"along_cm": along_cm})

    def _wrong(self, method: Method, name: str, answers: Predictions) -> Line:
        """Answers that say ``ok`` and are not."""
        wrong = [
            row.diagnostics for row in answers.rows if row.diagnostics.get("status") == "ok" and _off_m(row) > WRONG_M
        ]
        if isinstance(method.codec, MarksCodec):
            return at_most(self.number, name, len(wrong), 0, detail={"wrong": wrong})
        return information(self.number, name, len(wrong), detail={"wrong": wrong})

    def _told(
        self, method: Method, name: str, row: dict[str, Any], figures: dict[str, tuple[str, str]]
    ) -> Iterator[Line]:
        """Every figure of a row, those of marks against their targets."""
        is_own, detail = isinstance(method.codec, MarksCodec), {"row": row}
        targets = {"bits_per_m2": self.most_bit_m2 if figures is MATCHED else None}
        targets["lateral_median_cm"] = self.most_lateral_cm if figures is DRIVEN else None
        for key, (what, unit) in figures.items():
            measured, limit = float(row.get(key, 0.0)), targets.get(key) if is_own else None
            if limit is None:
                yield information(self.number, f"{name}: {what}", measured, unit, detail=detail)
            else:
                yield at_most(self.number, f"{name}: {what}", measured, limit, unit, detail=detail)
            detail = {}

    def _drive(self, board: Board, method: Method) -> Any:
        asked, drive = self.asked, self.asked.protocol(board).drive
        protocol = OnlineProtocol(drive, asked.resolution_m, asked.sweeps, asked.guard, seed=asked.seed)
        report = board.report(f"{asked.recording}, driving with {method.codec.name}")
        return run_online(method.codec, online_of(method, HALF_M), protocol, report)


def _off_m(row: Prediction) -> float:
    """Distance of an answer from the truth; infinite without one."""
    return math.dist(row.pose[:2], row.true_pose[:2]) if row.pose is not None else math.inf
