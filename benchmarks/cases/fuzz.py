"""Changed inputs of every reader: right, or a FoldmapError, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_most, information
from foldmap.errors import FoldmapError

FUZZER = Path("tests/fuzz/fuzz_readers.py")
FAMILIES = 18


def _cases() -> int:
    return int(os.environ.get("FOLDMAP_FUZZ_CASES", "20000"))


@dataclass(frozen=True)
class Fuzzed:
    """Row 5: findings of the readers' fuzzers, run from a checkout.

    Attributes:
        cases: of all families together; $FOLDMAP_FUZZ_CASES (the figure is about 1,000,000).
        seed: of them.
    """

    number: ClassVar[int] = 5
    name: ClassVar[str] = "fuzz"
    title: ClassVar[str] = "fuzz cases of the readers"
    cases: int = field(default_factory=_cases)
    seed: int = 0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        if not FUZZER.is_file():
            raise RowSkipped(f"skipped: no {FUZZER} here (run it from a checkout)")
        each = -(-self.cases // FAMILIES)
        words = ["--cases", str(each), "--seconds", "1e9", "--seed", str(self.seed)]
        done = subprocess.run([sys.executable, str(FUZZER), *words], capture_output=True, text=True, check=False)
        told = re.search(r"^(\d+) cases, (\d+) findings$", done.stdout, re.MULTILINE)
        if told is None:
            raise FoldmapError(f"the fuzzer ended with status {done.returncode}", "run it by itself")
        first = [line.strip() for line in done.stdout.splitlines() if "FOUND" in line][:20]
        yield at_most(self.number, "foreign exceptions, hangs, gigabytes", int(told[2]), 0, detail={"first": first})
        yield information(self.number, "cases", int(told[1]))
