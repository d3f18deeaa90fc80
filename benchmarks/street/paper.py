"""Row 8: the tables of Pix2Map on held-out tiles: retrieval beside generators, image against graph, library sizes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.context import Board, Row
from benchmarks.lines import Line, RowSkipped, information
from benchmarks.street.coding import SOURCES, read_source
from benchmarks.street.data import StreetBoard, street
from foldmap.bench.street.benchmark import StreetBenchSettings, StreetModels, run_street
from foldmap.bench.street.generators.common import PRESETS, GeneratorSettings
from foldmap.bench.street.generators.generator import GENERATORS
from foldmap.bench.street.retrieval import RetrievalSettings
from foldmap.errors import MissingExtraError
from foldmap.street.source import StreetMap

SHOWN = (
    "method", "library", "count", "more", "way_pct", "chamfer_m", "rand_loss", "mmd", "density_error", "reach_error_m",
    "connectivity_error", "topo_f",
)  # fmt: skip
"""What is kept of the tables' rows: the paper's six metrics among them."""


@dataclass(frozen=True)
class PaperTables:
    """One table; the figure of a line is its mean Chamfer distance.

    Attributes:
        table: "main", "modal" or "size".
        queries, images: at most; images train generators and are searched among by nearest images.
        generator: how the paper's rivals are trained.
        seed: of the draws.
    """

    number: int
    name: str
    table: str
    queries: int = 200
    images: int = 2000
    generator: GeneratorSettings = PRESETS["small"]
    seed: int = 0
    when_named: bool = True

    @property
    def title(self) -> str:
        """For people."""
        return f"the {self.table} table of Pix2Map on held-out aerial tiles"

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = street(board)
        data = board.split(board.training_names(), board.held_out)
        spent = Spent(board)
        spent.begin("foldmap")
        used = board.model("fresh")
        asked = RetrievalSettings(self.queries, images=self.images, generator=self.generator)
        settings = StreetBenchSettings(tables=(self.table,), seed=self.seed, retrieval=asked)
        more = _more(board) if self.table == "size" else []
        try:
            found = run_street(
                data, StreetModels(main=used.model), board.tables, settings, more=more, stage=spent.begin
            )
        except MissingExtraError as error:
            raise RowSkipped(f"skipped: {error.message} ({error.cure})") from error
        spent.begin("")
        for row in found[self.table]:
            name = str(row["library"] if self.table == "size" else row["method"])
            kept = {key: row[key] for key in SHOWN if row.get(key) is not None} | {"method": name}
            detail = {"table": self.table, **kept, "trained": self._trained(board, name, spent)}
            if self.table == "size":
                del detail["library"]
            note = used.note if name == "foldmap" else ""
            yield information(self.number, f"{name}: Chamfer", float(row["chamfer_m"]), "m", note=note, detail=detail)

    def _trained(self, board: StreetBoard, name: str, spent: Spent) -> str:
        """How long a row's network was trained, in steps and, where it was in this run, in seconds of processor."""
        if name in GENERATORS:
            steps = self.generator.epochs * -(-self.images // self.generator.batch)
        elif name == "foldmap":
            steps = board.recipe("fresh").settings.steps
        else:
            return ""
        seconds = spent.seconds(name)
        return f"{steps} steps" + (f", {seconds:.0f} s" if seconds > 1 else "")


class Spent:
    """Processor time between the beginnings of stages."""

    def __init__(self, board: StreetBoard) -> None:
        self._board, self._name, self._since_s = board, "", time.process_time()
        self._spent_s: dict[str, float] = {}

    def begin(self, name: str) -> Callable[[int, int], None]:
        """A stage; the one before it ends."""
        now_s = time.process_time()
        self._spent_s[self._name] = self._spent_s.get(self._name, 0.0) + now_s - self._since_s
        self._name, self._since_s = name, now_s
        return self._board.report(name)

    def seconds(self, name: str) -> float:
        """Of the stages of a name, or that end with it after the data's."""
        return sum(value for stage, value in self._spent_s.items() if stage == name or stage.endswith(f": {name}"))


def _more(board: StreetBoard) -> list[StreetMap]:
    """Maps that come without any image."""
    maps: list[StreetMap] = []
    for source in SOURCES:
        if source != "aerial":
            maps += read_source(board.data, source)
    return maps


def paper_rows() -> list[Row]:
    """Each table."""
    return [PaperTables(8, f"paper-{table}", table) for table in ("main", "modal", "size")]
