"""Rows 4 to 9 of the house: the import, the source tree, its tests and its README."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_most, information
from foldmap.errors import FoldmapError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "foldmap"


@dataclass(frozen=True)
class FrontDoor:
    """Row 4: processor time of ``import foldmap``, the best of some fresh processes."""

    number: ClassVar[int] = 4
    name: ClassVar[str] = "import"
    title: ClassVar[str] = "import foldmap"
    most_s: float = 0.15
    repeats: int = 5

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        code = "import time; begin = time.process_time(); import foldmap; print(time.process_time() - begin)"
        seconds = [
            float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
            for _ in range(self.repeats)
        ]
        yield at_most(self.number, "import foldmap, processor time", min(seconds), self.most_s, "s")


@dataclass(frozen=True)
class Lines:
    """Row 5: raw lines of the package, docstrings and blank ones included."""

    number: ClassVar[int] = 5
    name: ClassVar[str] = "lines"
    title: ClassVar[str] = "raw lines in src"
    most: int = 60_000

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        count = {path: path.read_text(encoding="utf-8").count("\n") for path in sorted(SOURCE.rglob("*.py"))}
        rooms: dict[str, int] = {}
        for path, lines in count.items():
            room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
            rooms[room] = rooms.get(room, 0) + lines
        yield at_most(self.number, "raw lines in src", sum(count.values()), self.most, detail={"rooms": rooms})
        yield information(self.number, "lines of the longest file", max(count.values()))


@dataclass(frozen=True)
class Folders:
    """Row 6: modules in the largest folder, and circles of files, lazy imports counted."""

    number: ClassVar[int] = 6
    name: ClassVar[str] = "folders"
    title: ClassVar[str] = "modules in the largest folder, circles of files"
    most: int = 20

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        held = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in SOURCE.rglob("*.py")}}
        largest = max(held, key=lambda folder: (held[folder], str(folder)))
        note = str(largest.relative_to(SOURCE.parent))
        yield at_most(self.number, "modules in the largest folder", held[largest], self.most, note=note)
        found = circles(SOURCE)
        yield at_most(self.number, "circles of files", len(found), 0, detail={"circles": found})


@dataclass(frozen=True)
class Collecting:
    """Row 7: how long pytest takes to collect all tests."""

    number: ClassVar[int] = 7
    name: ClassVar[str] = "collecting"
    title: ClassVar[str] = "collecting the tests"
    most_s: float = 15.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        seconds, printed = _pytest("--collect-only", "-q", "-p", "no:cacheprovider")
        note = next((line for line in reversed(printed.splitlines()) if line.strip()), "")
        yield at_most(self.number, "collecting all tests", seconds, self.most_s, "s", note=note)


@dataclass(frozen=True)
class AllTests:
    """Row 8: the whole suite on two workers; minutes long, so it is measured only when it is named."""

    number: ClassVar[int] = 8
    name: ClassVar[str] = "all-tests"
    title: ClassVar[str] = "all tests, two workers"
    when_named: ClassVar[bool] = True
    most_min: float = 8.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        seconds, printed = _pytest("-n", "2", "-q")
        yield at_most(self.number, "all tests", seconds / 60, self.most_min, "min", note=printed.splitlines()[-1])


@dataclass(frozen=True)
class Readme:
    """Row 9: lines of the README, its first screen's picture."""

    number: ClassVar[int] = 9
    name: ClassVar[str] = "readme"
    title: ClassVar[str] = "README"
    most: int = 198
    first_screen: int = 30

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        told = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
        yield at_most(self.number, "lines of the README", len(told), self.most)
        picture = any("![" in line or "<img" in line for line in told[: self.first_screen])
        yield at_most(self.number, "pictures missing on its first screen", int(not picture), 0)


def _pytest(*options: str) -> tuple[float, str]:
    """Seconds of pytest in the repository, and what it printed.

    Raises:
        RowSkipped: the tests are not here.
        FoldmapError: they fail.
    """
    if not (ROOT / "tests").is_dir():
        raise RowSkipped(f"skipped: no tests at {ROOT}")
    begin_s = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - begin_s
    if done.returncode:
        last = " / ".join(done.stdout.strip().splitlines()[-3:])
        raise FoldmapError(f"pytest {' '.join(options)} failed: {last}", "run it by itself")
    return seconds, done.stdout


def circles(source: Path) -> list[list[str]]:
    """Modules of a package that import each other, directly or through others; imports inside functions count."""
    paths = {_module(source, path): path for path in sorted(source.rglob("*.py"))}
    names = list(paths)
    place = {name: index for index, name in enumerate(names)}
    pairs = []
    for name, path in paths.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for asked in asked_modules(ast.parse(path.read_text(encoding="utf-8")), package):
            while asked and asked not in place:
                asked = asked.rpartition(".")[0]
            # the front door shows rooms that may ask it for the version
            if asked and asked != name and source.name not in (asked, name):
                pairs.append((place[name], place[asked]))
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(names), len(names)))
    _, label = connected_components(graph, connection="strong")
    return [[names[index] for index in np.flatnonzero(label == one)] for one in np.flatnonzero(np.bincount(label) > 1)]


def _module(source: Path, path: Path) -> str:
    parts = (source.name, *path.relative_to(source).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def asked_modules(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{whole}.{alias.name}" for alias in node.names)
