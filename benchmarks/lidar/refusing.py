"""Row 5: queries without a right answer must not be answered ``ok``, right ones must."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from benchmarks.context import Board
from benchmarks.lidar.hdl64 import StreetProtocol
from benchmarks.lidar.remade import Negatives, Remade, elsewhere, scrambled
from benchmarks.lidar.roundabout import Roundabout
from benchmarks.lines import Line, RowSkipped, at_least, at_most, information
from benchmarks.town import town_raster
from foldmap.bench.lidar.cases import Benchmark, Method
from foldmap.bench.lidar.learned import EmbeddingMatcher, LearnedCodec
from foldmap.bench.lidar.marks import MarksCodec
from foldmap.bench.lidar.predict import predict
from foldmap.bench.lidar.protocol import GivenMapProtocol, raster_fingerprint
from foldmap.bench.lidar.raster_protocol import RasterProtocol
from foldmap.lidar.defaults import marks_for


@dataclass(frozen=True)
class Refusing:
    """Row 5: the shipped marks on the street, and the learned code of the roundabout's 33 cm map.

    Attributes:
        asked: the right queries, those of row 1.
        coarse: the right queries at 33 cm, those of row 4.
        every: a wrong query ends at every so many sweeps, for each of the kinds.
        wrong_map_priors: places in the wrong map a query.
        town_extent_m: side of the wrong map of the street; three times that at 33 cm.
        town_seed: of the wrong maps.
        seed: of priors and changes.
        least_wrong: how many wrong queries there must be.
        least_ok_pct: right queries that must be ``ok``.
    """

    number: ClassVar[int] = 5
    name: ClassVar[str] = "refusing"
    title: ClassVar[str] = "wrong map, other place, blank and scrambled queries"
    asked: StreetProtocol = field(default_factory=StreetProtocol)
    coarse: Roundabout = field(default_factory=Roundabout)
    every: int = 1
    wrong_map_priors: int = 8
    town_extent_m: float = 120.0
    town_seed: int = 20
    seed: int = 0
    least_wrong: int = 1000
    least_ok_pct: float = 95.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        self.asked.protocol(board)  # missing recordings are the first thing to say
        marks = MarksCodec(self.asked.code(board))
        right = [row.diagnostics["status"] for row in self.asked.marks(board).rows]
        asked = list[int]()
        for model in marks_for(self.asked.resolution_m):  # folding chooses among them
            yield from self._answered(board, Method(MarksCodec(model), EmbeddingMatcher()), self._wrong(board), asked)
        try:
            maps = self.coarse.protocol(board, self.coarse.relief_band)
            half_m = self.coarse.size_m / 2
            codec = LearnedCodec(board.bundle(maps.map_raster.grid.resolution_m))
        except RowSkipped as skipped:
            yield Line(self.number, "wrong queries at 33 cm", None, note=str(skipped))
        else:
            coarse = Method(codec, EmbeddingMatcher(half_m, half_m))
            yield from self._answered(board, coarse, self._coarsely_wrong(maps), asked)
        yield at_least(self.number, "wrong queries asked", sum(asked), self.least_wrong)
        ok_pct = 100 * right.count("ok") / len(right)
        detail = {"statuses": {str(status): right.count(status) for status in sorted(set(map(str, right)))}}
        yield at_least(
            self.number, f"{marks.name}: right queries answered ok", ok_pct, self.least_ok_pct, "%", detail=detail
        )

    def _answered(
        self, board: Board, method: Method, kinds: Iterator[tuple[Benchmark, str]], asked: list[int]
    ) -> Iterator[Line]:
        """What a method answers to wrong queries; their number is added to ``asked``."""
        name, ok = method.codec.name, list[dict[str, float | str]]()
        posed = list[Line]()
        for benchmark, kind in kinds:
            report = board.report(f"refusing, {name}, {kind}")
            answers = [row.diagnostics for row in predict(method, benchmark, None, report).rows]
            statuses = [str(answer["status"]) for answer in answers]
            ok += [{"kind": kind, **answer} for answer in answers if answer["status"] == "ok"]
            asked.append(len(answers))
            counted = {status: statuses.count(status) for status in sorted(set(statuses))}
            what = f"{name}, {kind}: of {len(answers)} answered ok or degraded"
            count = statuses.count("ok") + statuses.count("degraded")
            posed.append(information(self.number, what, count, detail={"statuses": counted}))
        yield at_most(self.number, f"{name}: wrong queries answered ok", len(ok), 0, detail={"ok": ok})
        yield from posed

    def _coarsely_wrong(self, right: RasterProtocol) -> Iterator[tuple[Benchmark, str]]:
        """The kinds of wrong queries at 33 cm."""
        towns = town_raster(3 * self.town_extent_m, right.map_raster.grid.resolution_m, self.town_seed)
        yield Negatives(right, "shuffled"), "of another place"
        yield Negatives(right, "blank"), "blank"
        yield Remade(right, "scrambled", scrambled, self.seed), "scrambled"
        yield Remade(right, f"wrong-map {raster_fingerprint(towns)}", elsewhere(towns), self.seed), "in a wrong map"

    def _wrong(self, board: Board) -> Iterator[tuple[Benchmark, str]]:
        """The kinds of wrong queries; all but the last are asked in the map of the whole drive, folded once each."""
        street = self.asked.protocol(board)
        whole = street.maps.without(0, -1)
        towns = town_raster(self.town_extent_m, self.asked.resolution_m, self.town_seed)

        def given(priors: int) -> GivenMapProtocol:
            return GivenMapProtocol(
                street.drive,
                whole,
                "whole drive",
                self.asked.sweeps,
                self.every,
                street.half_length_m,
                street.half_width_m,
                self.asked.search,
                priors,
                self.seed,
            )

        yield Negatives(given(1), "shuffled"), "of another place"
        yield Negatives(given(1), "blank"), "blank"
        yield Remade(given(1), "scrambled", scrambled, self.seed), "scrambled"
        kind = f"wrong-map {raster_fingerprint(towns)}"
        yield Remade(given(self.wrong_map_priors), kind, elsewhere(towns), self.seed), "in a wrong map"
