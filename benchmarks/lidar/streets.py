"""Rows 11 and 12: the paper's figures on two real streets, for the default code and the best simple ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.context import Board
from benchmarks.lidar.hdl64 import StreetProtocol
from benchmarks.lidar.simple import HALF_M, by_overlap, matched, raw_and_sparse
from benchmarks.lines import Line, RowSkipped, at_most, information
from foldmap.bench.lidar.baselines.image_codecs import ThresholdMapCodec
from foldmap.bench.lidar.baselines.ncc_matcher import NccMatcher
from foldmap.bench.lidar.cases import Method
from foldmap.bench.lidar.learned import EmbeddingMatcher, LearnedCodec
from foldmap.bench.lidar.marks import MarksCodec
from foldmap.bench.lidar.methods import ncc_of, online_of
from foldmap.bench.lidar.online_protocol import OnlineProtocol, online_row, run_online
from foldmap.bench.lidar.predict import Prediction, Predictions
from foldmap.bench.lidar.tables import errors_of, matching_row
from foldmap.types import DoubleArray

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
_BLOCK, _REPLICATES = 5, 2000
"""Queries that are drawn together in a bootstrap, as neighbours see the same ground; and how often they are drawn."""


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
        resolution_m = self.asked.resolution_m
        codecs = raw_and_sparse(board, resolution_m)
        methods = matched(board, resolution_m, codecs, ncc=False)
        methods += by_overlap(board, resolution_m, [one for one in codecs if not one.name.startswith("sparse")])
        code = self.asked.code(board)
        if code.recipe.lines > 0:  # what marks leave out of lines, others leave out, too
            less = code.recipe.lines
            methods += by_overlap(board, resolution_m, raw_and_sparse(board, resolution_m, less), less)
        one_bit = ThresholdMapCodec(0.4)  # with plain correlation it tells more along a street than others do
        methods.append(Method(one_bit, ncc_of(one_bit)))
        if self.learned:
            try:
                bundle = board.bundle(self.asked.resolution_m)
            except RowSkipped as skipped:
                yield Line(self.number, "the learned code", None, note=str(skipped))
            else:
                methods.insert(0, Method(LearnedCodec(bundle), EmbeddingMatcher(*HALF_M)))
        methods.insert(0, Method(MarksCodec(code), EmbeddingMatcher(*HALF_M)))
        alone = dict(zip((m.name for m in methods), self.asked.answers(board, methods), strict=True))
        localized: dict[str, tuple[Predictions, Predictions]] = {}
        for method in methods:
            is_plain = isinstance(method.matcher, NccMatcher)
            name = method.name if is_plain or method.matcher.name != "localizer" else method.codec.name
            yield from self._told(method, name, matching_row(alone[method.name]), MATCHED)
            drive = self._drive(board, method)
            yield from self._told(method, f"{name}, {'tracking' if is_plain else 'filter'}", online_row(drive), DRIVEN)
            if not is_plain:
                localized[name] = alone[method.name], drive
                yield from self._posed(name, drive)
                for how, answers in (("", alone[method.name]), (", filter", drive)):
                    yield self._wrong(method, f"{name}{how}: answers ok and off by more than 0.5 m", answers)
        if self.most_lateral_cm is not None:
            own = next(iter(localized))
            others = [two for name, two in localized.items() if not name.startswith("foldmap")]
            for k, how in enumerate(("", ", filter")):
                name = f"{own}{how}: along the street, against the best simple code"
                yield self._along(name, localized[own][k], [two[k] for two in others])

    def _along(self, name: str, own: Predictions, others: Sequence[Predictions]) -> Line:
        """The median along the street, against the best of others; the note says what chance leaves of that."""
        along_cm = [100 * np.abs(errors_of(one).longitudinal_m) for one in (own, *others)]
        medians = [float(np.median(one)) for one in along_cm]
        best = 1 + int(np.argmin(medians[1:]))
        low, high = difference_of_medians(along_cm[0], along_cm[best])
        apart = medians[0] - medians[best]
        note = f"{apart:+.1f} cm to {others[best - 1].method}, 95 % interval {low:+.1f} to {high:+.1f}, paired"
        detail = {"along_cm": {one.method: median for one, median in zip((own, *others), medians, strict=True)}}
        return at_most(self.number, name, medians[0], medians[best], "cm", note=note, detail=detail)

    def _posed(self, name: str, drive: Predictions) -> Iterator[Line]:
        """What of a drive is answered with a pose, and how well; the other figures count every frame."""
        errors = errors_of(drive)
        posed = np.array([row.diagnostics.get("status") in ("ok", "degraded") for row in drive.rows])
        yield information(self.number, f"{name}, filter: frames answered ok or degraded", 100 * posed.mean(), "%")
        for what, off_m in (("across", errors.lateral_m), ("along", errors.longitudinal_m)):
            median = 100 * float(np.median(np.abs(off_m[posed]))) if posed.any() else math.inf
            yield information(self.number, f"{name}, filter: {what} the street, median of those", median, "cm")

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
        # A map serves the frames between two queries: with more of them it would leave more sweeps out than queries do.
        protocol = OnlineProtocol(drive, asked.resolution_m, asked.sweeps, asked.guard, asked.every, seed=asked.seed)
        report = board.report(f"{asked.recording}, driving with {method.codec.name}")
        return run_online(method.codec, online_of(method, HALF_M), protocol, report)


def difference_of_medians(own: DoubleArray, other: DoubleArray, seed: int = 0) -> tuple[float, float]:
    """Between what lies the difference of the medians of two paired series, in 95 of 100: a bootstrap of blocks.

    Künsch, "The jackknife and the bootstrap for general stationary observations", 1989.
    """
    count = len(own)
    block = min(_BLOCK, count)
    starts = np.random.default_rng(seed).integers(0, count - block + 1, (_REPLICATES, math.ceil(count / block)))
    drawn = (starts[..., None] + np.arange(block)).reshape(_REPLICATES, -1)[:, :count]
    with np.errstate(invalid="ignore"):  # infinite minus infinite
        apart = np.median(own[drawn], 1) - np.median(other[drawn], 1)
    low, high = np.quantile(apart, (0.025, 0.975), method="nearest")
    return float(low), float(high)


def _off_m(row: Prediction) -> float:
    """Distance of an answer from the truth; infinite without one."""
    return math.dist(row.pose[:2], row.true_pose[:2]) if row.pose is not None else math.inf


def paper_figures() -> list[PaperFigures]:
    """Of the streets that are recorded."""
    second = StreetProtocol("kitti-drive0001")
    return [
        PaperFigures(11, "drive0001", second, most_bit_m2=1.5, most_lateral_cm=5.0, learned=False),
        PaperFigures(12, "paper", StreetProtocol()),
    ]
