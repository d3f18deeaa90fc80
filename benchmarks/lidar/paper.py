"""Rows 14 to 16: image codecs of the paper, matched and driven, and networks that train for a short, stated time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.context import Board, Row
from benchmarks.lidar.ablations import with_matcher
from benchmarks.lidar.hdl64 import StreetProtocol
from benchmarks.lidar.simple import HALF_M
from benchmarks.lines import Line, RowSkipped, information
from foldmap.atlas.whole import write_whole
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec
from foldmap.bench.lidar.baselines.tuning import TrainingPlaces
from foldmap.bench.lidar.cases import Method
from foldmap.bench.lidar.learned import EmbeddingMatcher, LearnedCodec
from foldmap.bench.lidar.marks import MarksCodec
from foldmap.bench.lidar.methods import ncc_of, online_of
from foldmap.bench.lidar.online_protocol import OnlineProtocol, online_row, run_online
from foldmap.bench.lidar.predict import predict_all
from foldmap.bench.lidar.tables import matching_row, stored_px_m
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.fit_coder import fit_coder
from foldmap.lidar.model import LidarModel
from foldmap.lidar.pairs.sampling import SomePairs
from foldmap.lidar.presets import preset_named
from foldmap.lidar.train import LidarTrainer
from foldmap.town.lidar.pairs import PairCache, write_pairs
from foldmap.training.loop import train

LEVELS = (50, 20, 10, 5)
CODECS = (ImageMapCodec("png16"), *(ImageMapCodec(family, level) for family in ("jpeg", "webp") for level in LEVELS))
"""Of the paper's tables 2 and 3."""
REDUCED = tuple(ImageMapCodec(*level, reduction) for reduction in (2, 3) for level in (("png16", 0), ("jpeg", 50)))
"""Of its table 6: with pixels of 10 and 15 cm."""
NETWORKS = (("small-8x", "recon"), ("small-16x", "recon"), ("small-8x", "match"), ("small-16x", "match"))
"""Of its tables 1 and 4: preset and objective."""
LARGEST = ("paper-16x", "match")
KEPT = (
    "median_cm", "lateral_median_cm", "longitudinal_median_cm", "p95_cm", "beyond_50_cm_pct", "top1_px_pct",
    "top9_px_pct", "fail_100_m_pct", "fail_500_m_pct", "fail_end_pct", "bits_per_px", "bits_per_m2",
)  # fmt: skip


@dataclass(frozen=True)
class ImageCodecs:
    """Image codecs of the paper with plain correlation, beside marks and the learned code with the localizer.

    Attributes:
        asked: how the street is asked.
        driven: whether the drive is localized along, or queries are matched without memory.
    """

    number: int
    name: str
    asked: StreetProtocol
    driven: bool
    when_named: bool = True

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.asked.recording}: image codecs of the paper, {'driven' if self.driven else 'matched'}"

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        self.asked.protocol(board)  # missing recordings are the first thing to say
        reach, table = self.asked.resolution_m, "online" if self.driven else "matching"
        methods = [Method(codec, ncc_of(codec)) for codec in (*CODECS, *REDUCED)]
        if not self.driven:  # driven, they are rows of `benchmarks.lidar.streets`
            methods.append(Method(LearnedCodec(board.bundle(reach)), EmbeddingMatcher(*HALF_M)))
            methods.append(Method(MarksCodec(self.asked.code(board)), EmbeddingMatcher(*HALF_M)))
        for method in methods:
            row = self._driven(board, method) if self.driven else self._matched(board, method)
            px_cm = round(100 * stored_px_m(method, reach))
            detail = {"table": table, "method": method.codec.name, "px_cm": px_cm, **_kept(row)}
            yield information(self.number, f"{method.codec.name}: median error", row["median_cm"], "cm", detail=detail)

    def _matched(self, board: Board, method: Method) -> dict[str, Any]:
        folder = None if _folder(board) is None else _folder(board) / f"matched-{self.asked.every}"  # type: ignore[operator]
        report = board.report(f"{self.asked.recording}, {method.name}")
        return matching_row(predict_all([method], self.asked.protocol(board), folder, report)[0])

    def _driven(self, board: Board, method: Method) -> dict[str, Any]:
        folder = _folder(board)
        path = None if folder is None else folder / f"driven-{method.codec.name.replace('/', '-')}.json"
        if path is not None and path.is_file():
            return dict(json.loads(path.read_text(encoding="utf-8")))
        asked, drive = self.asked, self.asked.protocol(board).drive
        protocol = OnlineProtocol(drive, asked.resolution_m, asked.sweeps, asked.guard, seed=asked.seed)
        report = board.report(f"{asked.recording}, driving with {method.codec.name}")
        row = _kept(online_row(run_online(method.codec, online_of(method, HALF_M), protocol, report)))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(row))
        return row


@dataclass(frozen=True)
class Networks:
    """Networks of the paper's objectives and sizes after a short training on a generated town, matched on a street.

    The small ones get their matcher from the shipped network and train the codec alone; the paper's size begins from
    nothing. How long a step takes is measured, so that what a full training takes can be told.

    Attributes:
        asked: how the street is asked.
        pairs: places of the town that are drawn.
        steps, largest_steps: of training.
        seed: of the pairs and of training.
    """

    number: int = 16
    name: str = "tables-networks"
    asked: StreetProtocol = StreetProtocol(every=18)  # noqa: RUF009 - frozen
    pairs: int = 48
    steps: int = 60
    largest_steps: int = 4
    seed: int = 0
    when_named: bool = True

    @property
    def title(self) -> str:
        """For people."""
        return "networks of the paper after a short training"

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        self.asked.protocol(board)
        folder = _folder(board)
        if folder is None:
            raise RowSkipped("skipped: this row needs a folder to keep its pairs in (--kept)")
        write_pairs(folder / "pairs", self.pairs, self.seed)
        cache = PairCache(folder / "pairs")
        pairs = [cache[k] for k in range(len(cache))]
        places = TrainingPlaces(pairs, self.asked.resolution_m, seed=self.seed)
        lender = board.bundle(self.asked.resolution_m)
        for preset, mode in (*NETWORKS, LARGEST):
            steps = self.largest_steps if (preset, mode) == LARGEST else self.steps
            bundle, step_s = _trained(places, preset, mode, steps, None if steps == self.largest_steps else lender)
            codec = LearnedCodec(bundle)
            method = Method(codec, EmbeddingMatcher(*HALF_M))
            row = matching_row(predict_all([method], self.asked.protocol(board), None, board.report(bundle.name))[0])
            detail = {"table": "networks", "method": bundle.name, **_kept(row), "trained": f"{steps} steps"}
            yield information(self.number, f"{bundle.name}: top-1 px", row["top1_px_pct"], "%", detail=detail)
            yield information(self.number, f"{bundle.name}: a step of training", step_s, "s")


def _trained(places: TrainingPlaces, preset: str, mode: str, steps: int, lender: Bundle | None) -> tuple[Bundle, float]:
    """A network after some steps, and the median processor time of one."""
    start = None if lender is None else with_matcher(preset, lender.model)
    before = steps // 2 if start is None else 0
    settings = places.settings(mode=mode, matcher_steps=before, codec_steps=steps - before)
    trainer = LidarTrainer(
        preset_named(preset), *places.samplers(places.pairs), settings, places.resolution_m, start=start
    )
    at_s = [time.process_time()]
    for _ in train(trainer, None, lambda progress: at_s.append(time.process_time())):
        pass
    model: LidarModel = trainer.network
    pairs = SomePairs(places.pairs, range(min(len(places.pairs), 24)))
    bundle = fit_coder(model, pairs, places.resolution_m, f"{preset}, {mode}", {"mode": mode, "steps": steps}).bundle
    return bundle, float(np.median(np.diff(at_s)))


def _kept(row: dict[str, Any]) -> dict[str, float]:
    return {key: float(row[key]) for key in KEPT if key in row}


def _folder(board: Board) -> Path | None:
    return board.kept_folder and board.kept_folder / "lidar-tables"


def table_rows() -> list[Row]:
    """All of them."""
    few = StreetProtocol(every=9)
    return [ImageCodecs(14, "tables-matching", few, False), ImageCodecs(15, "tables-online", few, True), Networks()]
