"""What decides a run's figures, as hashes: the recordings it reads, and the files of this repository that it uses.

Code is compared without comments, docstrings and layout: telling more about a function is no reason to measure again.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LENGTH = 8
"""Of a kept file's hash, in digits of 16: they tell a change, they guard against nobody."""
CODE, BYTES = "**", "**bytes"
"""Stand for all files of a folder: compared as code, or byte by byte."""
_UNFOLLOWED = ("foldmap", "foldmap.version", "benchmarks.scoreboard")
PACKAGES = {"foldmap": ROOT / "src" / "foldmap", "benchmarks": ROOT / "benchmarks"}


@cache
def folder_seal(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder and their names."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    seal = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file() and "__pycache__" not in one.parts):
        seal.update(f"{file.relative_to(path).as_posix()}\0{folder_seal(file)}\n".encode())
    return seal.hexdigest()


def reachable(module: str) -> list[str]:
    """Modules of this repository that a module imports, directly or through others, itself included, sorted.

    The front door and the scoreboard's own file are not followed: they name everything. The version decides nothing.
    """
    found, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name in found or name in _UNFOLLOWED or (path := file_of(name)) is None:
            continue
        found.add(name)
        waiting += _imported(name, path)
    return sorted(found)


def seals_of(paths: Iterable[Path]) -> dict[str, str]:
    """Short hashes of files of this repository, by their path in it: of what code does, and of other files' bytes."""
    return {path.relative_to(ROOT).as_posix(): _seal(path)[:LENGTH] for path in sorted(paths)}


def tree_seals(folders: Iterable[str], by_code: bool = False) -> dict[str, str]:
    """Short hashes of whole folders, or of single files: of all bytes, or (`by_code`) as `seals_of` has them."""
    return {f"{one}/{CODE if by_code else BYTES}": _tree_seal(ROOT / one, by_code)[:LENGTH] for one in folders}


def changed(kept: dict[str, str]) -> list[str]:
    """Files and folders whose hashes are others by now, of those that `seals_of` and `tree_seals` gave."""
    found = []
    for name, seal in kept.items():
        path = ROOT / name
        if path.name in (CODE, BYTES):
            path = path.parent
            now = _tree_seal(path, name.endswith(CODE)) if path.exists() else ""
        else:
            now = _seal(path) if path.is_file() else ""
        if not now.startswith(seal):
            found.append(path.relative_to(ROOT).as_posix())
    return found


def code_seal(module: str, also: Iterable[str] = ()) -> str:
    """SHA-256 of the code that a module can reach, and of the data that lies in the rooms it reaches.

    Args:
        module: dotted name.
        also: files or folders of the repository that matter besides, relative to it.
    """
    names = reachable(module)
    seal = hashlib.sha256(f"python {sys.version_info.major}.{sys.version_info.minor}\n".encode())
    for path in filter(None, map(file_of, names)):
        seal.update(f"{path.relative_to(ROOT).as_posix()}\0{_code(path)}\n".encode())
    rooms = {name.split(".")[1] for name in names if name.startswith("foldmap.")}
    held = [path for room in sorted(rooms) for path in _data(PACKAGES["foldmap"] / room)]
    for path in [*held, *(ROOT / one for one in also)]:
        seal.update(f"{path.relative_to(ROOT).as_posix()}\0{folder_seal(path)}\n".encode())
    return seal.hexdigest()


def file_of(name: str) -> Path | None:
    """Where a module of this repository lies; None for any other name."""
    first, *rest = name.split(".")
    if first not in PACKAGES:
        return None
    path = PACKAGES[first].joinpath(*rest)
    return next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)


@cache
def _imported(name: str, path: Path) -> list[str]:
    """What a module imports, with the packages around it."""
    from benchmarks.house.tree import asked_modules  # here: who asks for hashes alone does not load the house's rows

    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    asked = (one.split(".") for one in asked_modules(ast.parse(path.read_text(encoding="utf-8")), package))
    return [".".join(parts[:count]) for parts in asked for count in range(2, len(parts) + 1)]


@cache
def _code(path: Path) -> str:
    """A module's code without docstrings, comments and layout, hashed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _seal(path: Path) -> str:
    return _code(path) if path.suffix == ".py" else folder_seal(path)


@cache
def _tree_seal(path: Path, by_code: bool) -> str:
    if not by_code:
        return folder_seal(path)
    files = (one for one in path.rglob("*") if one.is_file() and "__pycache__" not in one.parts)
    told = (f"{one.relative_to(path).as_posix()}\0{_seal(one)}\n" for one in sorted(files) if one.name != "version.py")
    return hashlib.sha256("".join(told).encode()).hexdigest()


def _data(room: Path) -> Iterator[Path]:
    """Files of a room that are not code: trained models, tables; what Python and numba keep there is neither."""
    files = (path for path in room.rglob("*") if path.is_file() and path.suffix != ".py")
    yield from sorted(path for path in files if "__pycache__" not in path.parts)
