"""Imports go down the levels of the house only, found by walking the syntax trees: lazy imports count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "foldmap"

LEVELS = {
    "errors": 0, "types": 0,
    "geometry": 1, "coding": 1,
    "atlas": 2,
    "lidar": 3, "visual": 3, "street": 3,
    "localize": 4,
    "formats": 5, "town": 5, "metrics": 5,
    "report": 6, "bench": 6,
    "service": 7,
    "cli": 8, "__main__": 9,
}  # fmt: skip
SIDEWAYS = {("bench", "report")}
"""The one pair of siblings of which the first may import the second."""


def imports(tree: ast.AST, package: list[str]) -> Iterator[tuple[int, str]]:
    """``(line, dotted name)`` of every import of foldmap in a module of the given package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            whole = [*base, *(node.module.split(".") if node.module else [])]
            yield from ((node.lineno, ".".join([*whole, alias.name])) for alias in node.names)


def breaches(room: str, tree: ast.AST, package: list[str]) -> list[str]:
    """What a module of a room imports that it must not."""
    found = []
    for line, name in imports(tree, package):
        parts = name.split(".")
        if parts[0] != "foldmap" or parts[1:] == ["__version__"]:
            continue
        other = parts[1] if len(parts) > 1 else "the package itself"
        down = other in LEVELS and (LEVELS[other] < LEVELS[room] or other == room or (room, other) in SIDEWAYS)
        if not down:
            found.append(f"line {line}: {room} imports {other}")
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down(path: Path) -> None:
    inside = path.relative_to(SOURCE).with_suffix("").parts
    package = ["foldmap", *inside[:-1]]
    tree = ast.parse(path.read_text())
    if inside == ("__init__",):
        # the front door shows public names of every room but the service and the command line
        shown = {name.split(".")[1] for _, name in imports(tree, package) if name.startswith("foldmap.")}
        assert shown.isdisjoint({"service", "cli", "__main__"})
        return
    assert inside[0] in LEVELS, f"{inside[0]} has no level: give it one here and in docs/architecture.md"
    assert breaches(inside[0], tree, package) == []


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
        ("atlas", "from foldmap import __version__", 0),
        ("geometry", "import numpy", 0),
    ],
)
def test_the_walk_sees_what_it_must(room: str, code: str, bad: int) -> None:
    assert len(breaches(room, ast.parse(code), ["foldmap", room])) == bad
