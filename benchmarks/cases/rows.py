"""Inputs that once went wrong, asked again: each must give its right value, or the right refusal.

A case is a folder below ``shared/cases``. It is copied, its input made there, and foldmap's commands are run on it;
what they answer is held against the right values that its README tells.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases.worker import Answer, Commands
from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, number
from foldmap.errors import FoldmapError

Figure = Callable[[Path, Answer], float]


@dataclass(frozen=True)
class Right:
    """One right value of a case: a figure, a refusal that says certain words, or either of them.

    Attributes:
        what: its name on the scoreboard.
        command: foldmap's words; the figure is taken from its answer.
        figure: from the case's folder and the answer; None where the command must refuse.
        value: of the figure, right within ``within``.
        within: of it.
        refused: pattern of a right refusal; None where the command must not refuse.
        noted: pattern of a note that makes the answer right whatever the figure; None where none does.
        before: commands that must be answered first.
    """

    what: str
    command: str
    figure: Figure | None = None
    value: float = 1.0
    within: float = 0.0
    refused: str | None = None
    noted: str | None = None
    before: tuple[str, ...] = ()

    def line(self, row: int, name: str, folder: Path, commands: Commands) -> Line:
        """Run the commands and judge the last."""
        for before in self.before:
            done = commands.run(before, folder)
            if done.status not in (0, 1):
                return self._short(row, name, f"{before.split()[0]} before it: {done.reason}")
        done = commands.run(self.command, folder)
        if done.refused:
            right = self.refused is not None and found(self.refused, done.err)
            if right:
                return Line(row, name, 1, "refused", "refused", True)
            return self._short(row, name, done.reason)
        if done.status not in (0, 1):
            return self._short(row, name, done.reason)
        if self.noted is not None and found(self.noted, done.out + done.err):
            return Line(row, name, 1, "noted", "noted", True)
        if self.figure is None:
            return self._short(row, name, "answered, not refused")
        try:
            measured = float(self.figure(folder, done))
        except (OSError, ValueError, KeyError, TypeError, IndexError, FoldmapError) as error:
            return self._short(row, name, f"no figure: {type(error).__name__} {error}"[:160])
        return Line(row, name, measured, "", f"= {number(self.value)}", abs(measured - self.value) <= self.within)

    def _short(self, row: int, name: str, why: str) -> Line:
        target = "refused" if self.figure is None else f"= {number(self.value)}"
        return Line(row, name, 0, "", target, False, note=why)


def found(pattern: str, text: str) -> bool:
    """Whether a pattern occurs, letters of any case, across lines; ``a & b`` asks for both."""
    return all(re.search(part, " ".join(text.split()), re.IGNORECASE) for part in pattern.split(" & "))


@dataclass(frozen=True)
class Case:
    """One folder of ``shared/cases``.

    Attributes:
        folder: its name there.
        rights: what it must give.
        files: its own generators that are run first.
        script: Python that makes the rest of the input, with the group's ``gen`` imported.
    """

    folder: str
    rights: tuple[Right, ...]
    files: tuple[str, ...] = ()
    script: str = ""

    def lines(self, row: int, cases: Path, commands: Commands) -> Iterator[Line]:
        """Make the input in a copy and hold each right value against what is answered."""
        if not (cases / self.folder).exists():
            raise RowSkipped(f"skipped: no case at {cases / self.folder}")
        with tempfile.TemporaryDirectory(prefix="foldmap-case-") as scratch:
            group = Path(scratch) / "group"
            group.mkdir()
            for path in (cases / self.folder).parent.glob("*.py"):
                shutil.copyfile(path, group / path.name)
            folder = Path(shutil.copytree(cases / self.folder, group / "case", copy_function=shutil.copyfile))
            folder.chmod(0o755)
            for words in [
                *((name,) for name in self.files),
                *([("-c", PROLOGUE + self.script)] if self.script else []),
            ]:
                made = python(words, folder, group)
                if made is not None:
                    yield Line(row, f"{self.folder}: input", 0, "", "made", False, note=made)
                    return
            for right in self.rights:
                yield right.line(row, f"{self.folder.split('/')[-1]}: {right.what}", folder, commands)


PROLOGUE = "from gen import *\nimport os, json, shutil\n"


def python(words: tuple[str, ...], folder: Path, group: Path) -> str | None:
    """Run Python in the copy, with the group's modules at hand; the last line of its complaint where it fails."""
    paths = os.pathsep.join([str(group), *filter(None, [os.environ.get("PYTHONPATH")]), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.strip().splitlines() or [""]
    return lines[-1][:160] if done.returncode else None


@dataclass(frozen=True)
class CasesRow:
    """A group of cases as one row of the scoreboard."""

    number: int
    name: str
    title: str
    cases: tuple[Case, ...] = field(repr=False)

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`; ``board.data`` is the folder of cases."""
        if not board.data.is_dir():
            raise RowSkipped(f"skipped: no cases at {board.data}")
        with board.shared("commands", Commands) as commands:
            for case in self.cases:
                try:
                    yield from case.lines(self.number, board.data, commands)
                except RowSkipped as skipped:
                    yield Line(self.number, case.folder, None, note=str(skipped))


def summary(key: str, factor: float = 1.0) -> Figure:
    """A number of the JSON summary that a command prints."""

    def figure(_: Path, done: Answer) -> float:
        values: dict[str, Any] = json.loads(done.out)
        for part in key.split("/"):
            values = values[part]
        return factor * float(values)  # type: ignore[arg-type]

    return figure


def answered(_: Path, done: Answer) -> float:
    """1 where a command was answered at all."""
    return 1.0 if done.status == 0 else 0.0
