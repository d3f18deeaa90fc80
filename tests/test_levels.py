"""Imports go down the levels of the house only, found by walking the syntax trees: lazy imports count too."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

SOURCE = Path(__file__).resolve().parents[1] / "src" / "foldmap"

LEVELS = {
    "errors": 0, "types": 0, "version": 0,
    "geometry": 1, "coding": 1,
    "atlas": 2,
    "training": 3, "runtime": 3,
    "lidar": 4, "visual": 4, "street": 4,
    "localize": 5,
    "formats": 6, "town": 6, "metrics": 6,
    "report": 7, "bench": 7,
    "api": 8,
    "service": 9,
    "cli": 10, "__main__": 11,
}  # fmt: skip
SIDEWAYS = {("bench", "report")}
"""The one pair of siblings of which the first may import the second."""


STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def imports(tree: ast.AST, package: list[str]) -> Iterator[tuple[int, str]]:
    """``(line, dotted name)`` of every import of foldmap in a module of the given package."""
    waiting = [tree]
    for node in waiting:  # statements alone, wherever they stand
        waiting += [one for one in ast.iter_child_nodes(node) if isinstance(one, STATEMENTS)]
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            whole = [*base, *(node.module.split(".") if node.module else [])]
            yield from ((node.lineno, ".".join([*whole, alias.name])) for alias in node.names)


def breaches(room: str, asked: Iterable[tuple[int, str]]) -> list[str]:
    """What a module of a room imports that it must not."""
    found = []
    for line, name in asked:
        parts = name.split(".")
        if parts[0] != "foldmap":
            continue
        other = parts[1] if len(parts) > 1 else "the package itself"
        down = other in LEVELS and (LEVELS[other] < LEVELS[room] or other == room or (room, other) in SIDEWAYS)
        if not down:
            found.append(f"line {line}: {room} imports {other}")
    return found


def module_name(path: Path) -> str:
    parts = ("foldmap", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(path: Path) -> list[str]:
    return ["foldmap", *path.relative_to(SOURCE).parts[:-1]]


@cache
def asked() -> dict[Path, list[tuple[int, str]]]:
    """What every module of the package imports."""
    return {path: list(imports(ast.parse(path.read_text()), package_of(path))) for path in sorted(SOURCE.rglob("*.py"))}


def test_imports_go_down() -> None:
    found = {}
    for path, own in asked().items():
        room = path.relative_to(SOURCE).with_suffix("").parts[0]
        if room == "__init__":
            # the front door shows public names of every room but the service and the command line
            shown = {name.split(".")[1] for _, name in own if name.startswith("foldmap.")}
            assert shown.isdisjoint({"service", "cli", "__main__"})
            continue
        assert room in LEVELS, f"{room} has no level: give it one here and in docs/architecture.md"
        found[module_name(path)] = breaches(room, own)
    assert {name: bad for name, bad in found.items() if bad} == {}


def circles(asks: dict[str, set[str]]) -> list[list[str]]:
    """Modules that import each other, directly or through others: strongly connected components of more than one."""
    names = sorted(asks)
    place = {name: index for index, name in enumerate(names)}
    pairs = [(place[one], place[other]) for one in names for other in asks[one] if other in place and other != one]
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    graph = coo_matrix((np.ones(len(pairs)), (rows, columns)), shape=(len(names), len(names)))
    _, label = connected_components(graph, connection="strong")
    groups: dict[int, list[str]] = {}
    for name, one in zip(names, label.tolist(), strict=True):
        groups.setdefault(one, []).append(name)
    return sorted(group for group in groups.values() if len(group) > 1)


def test_no_circles_of_files() -> None:
    modules = {module_name(path) for path in asked()}
    asks = {}
    for path, own in asked().items():
        # `from foldmap.room import symbol` asks for the module that is there
        asks[module_name(path)] = {name if name in modules else name.rpartition(".")[0] for _, name in own}
    assert circles(asks) == []


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize(
    ("room", "code", "bad"),
    [
        ("lidar", "from foldmap.atlas import FoldFile", 0),
        ("lidar", "def f():\n    import foldmap.cli", 1),
        ("lidar", "from foldmap import visual", 1),
        ("lidar", "from ..street import codec", 1),
        ("lidar", "from .model import net", 0),
        ("lidar", "import foldmap", 1),
        ("bench", "from foldmap.report import page", 0),
        ("report", "from foldmap.bench import tables", 1),
        ("town", "from foldmap.formats import las", 1),
        ("atlas", "from foldmap import __version__", 1),
        ("geometry", "import numpy", 0),
    ],
)
def test_the_walk_sees_what_it_must(room: str, code: str, bad: int) -> None:
    assert len(breaches(room, imports(ast.parse(code), ["foldmap", room]))) == bad
