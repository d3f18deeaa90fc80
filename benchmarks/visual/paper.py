"""Rows 11 and 12: the paper's tables on the recorded scenes, in its own pipeline and with foldmap's localizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.context import Row
from benchmarks.lines import Line, information
from benchmarks.visual.data import VisualBoard
from foldmap.bench.visual.benchmark import BenchScene, VisualBenchSettings, run_visual

SHOWN = (
    "table", "method", "map", "problem", "points", "file_bytes", "code_bytes", "codebook_bytes", "within_1_pct",
    "within_2_pct", "median", "median_deg", "plain_within_1_pct", "plain_within_2_pct", "plain_median", "cell", "plain",
)  # fmt: skip
"""What is kept of the tables' rows."""


@dataclass(frozen=True)
class PaperTables:
    """One scene's tables; the figure of a line is the share within the first threshold with the row's localizer."""

    number: int
    name: str
    scene: str
    table: str
    budgets: tuple[int, ...] = (300_000, 60_000)
    seed: int = 0
    when_named: bool = True

    @property
    def title(self) -> str:
        """For people."""
        return f"table {self.table} of D-PQED's paper on {self.scene}"

    def settings(self, board: VisualBoard) -> VisualBenchSettings:
        """Of the benchmark."""
        return VisualBenchSettings(tables=(self.table,), budgets=self.budgets, seed=self.seed)

    def lines(self, board: VisualBoard) -> Iterator[Line]:
        """See `Row`."""
        place = board.place(self.scene)
        settings = self.settings(board)
        folder = (board.kept or board.scratch) / f"{self.scene}-{self.seed}"  # tables share maps
        folder.mkdir(parents=True, exist_ok=True)
        found = run_visual([BenchScene(place.held_out, None)], folder, settings, stage=board.report)
        for name, rows in found.items():
            for row in rows:
                cells = {key.removeprefix(f"{self.scene}_"): value for key, value in row.items()}
                kept = {"table": name.rpartition("/")[2], "cell": row.get(self.scene), **cells}
                detail = {key: _rounded(kept[key]) for key in SHOWN if kept.get(key) is not None}
                widest = str(kept["cell"] or "nan").rpartition("/")[2]  # scene by scene the last of three is the share
                measured = float(row.get("within_1_pct", widest if _is_number(widest) else "nan"))
                yield information(self.number, f"{name}: {row['method']}", measured, "%", detail=detail)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rounded(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


def paper_rows() -> list[Row]:
    """Each table on both scenes."""
    scenes = ((11, "redkitchen"), (12, "bonsai"))
    tables = ("1", "2", "4", "s1", "s2", "select", "scenes")
    return [PaperTables(number, f"paper-{name}-{one}", name, one) for number, name in scenes for one in tables]  # type: ignore[misc]
