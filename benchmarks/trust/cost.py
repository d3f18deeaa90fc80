"""Row 11: what trust costs, against an earlier foldmap: bytes of maps and time of queries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_most
from benchmarks.trust.board import KB, TrustBoard, trust
from benchmarks.trust.sweeps import GIVEN

BEFORE = "FOLDMAP_BEFORE"


@dataclass(frozen=True)
class Cost:
    """Row 11: the same maps folded and asked by this foldmap and by the one in ``$FOLDMAP_BEFORE`` (its ``src``).

    Maps are folded without a budget, so that they hold the same points and codes.
    """

    number: ClassVar[int] = 11
    name: ClassVar[str] = "cost"
    title: ClassVar[str] = "bytes of maps and time of queries, against an earlier foldmap"
    scene: str = "bonsai"
    points: int = 60 * KB // 20
    most_bytes_pct: float = 5.0
    most_time_pct: float = 10.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board, before = trust(board), os.environ.get(BEFORE)
        if not before or not Path(before, "foldmap").is_dir():
            raise RowSkipped(f"skipped: set {BEFORE} to the src folder of an earlier foldmap")
        now = str(Path(__file__).parents[2] / "src")
        for what, fold, ask in (self._photos(board), self._sweeps(board)):
            size, seconds = {}, {}
            for when, source in (("before", before), ("now", now)):
                path = board.scratch / f"cost-{what}-{when}.fold"
                run(source, [*fold, "-o", str(path)])
                size[when] = path.stat().st_size
                answers = board.scratch / f"cost-{what}-{when}.txt"
                told = json.loads(run(source, ["localize", str(path), *ask, "-o", str(answers), "--json"]))
                seconds[when] = told["median_time_s"]
            detail = {"bytes": size, "median_time_s": seconds}
            more = 100.0 * (size["now"] / size["before"] - 1.0)
            yield at_most(self.number, f"{what}: more bytes", more, self.most_bytes_pct, "%", detail=detail)
            more = 100.0 * (seconds["now"] / max(seconds["before"], 1e-9) - 1.0)
            yield at_most(self.number, f"{what}: more time a query", more, self.most_time_pct, "%", detail=detail)

    def _photos(self, board: TrustBoard) -> tuple[str, list[str], list[str]]:
        photos, folder = board.photos_of(self.scene), board.scene(self.scene, "sift")
        names = board.scratch / "cost-names.txt"
        names.write_text("".join(f"{one.name}\n" for one in board.asked(self.scene)), encoding="utf-8")
        ask = ["--photos", str(photos), "--queries", str(names), "--model", str(photos.parent / "sparse")]
        return "photos", ["fold", str(folder), "--points", str(self.points)], ask

    def _sweeps(self, board: TrustBoard) -> tuple[str, list[str], list[str]]:
        folder = board.recordings(GIVEN)
        raster = board.recordings("groundloc-maps/kitti_00.tif")
        ask = [str(folder / "sweeps"), "--poses", str(folder / "poses.txt")]
        return "sweeps", ["fold", str(raster), "--relief-band", "3"], ask


def run(source: str, words: Sequence[str]) -> str:
    """Run a command of a foldmap, this one or an earlier one; what it prints. Exit status 1 is an answer, too.

    Raises:
        RowSkipped: it refused, as an earlier one may what it does not know.
    """
    environment = {**os.environ, "PYTHONPATH": source}
    done = subprocess.run(
        [sys.executable, "-m", "foldmap", *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode > 1:
        raise RowSkipped(f"skipped: foldmap {words[0]} of {source}: {done.stderr.strip()[-200:]}")
    return done.stdout
