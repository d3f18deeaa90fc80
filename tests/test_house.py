"""Rules that hold for every file: small ones, nothing unsafe to load, no path of anybody's machine."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
MOST_LINES_FILE = 450
MOST_LINES_FUNCTION = 90
MOST_IN_ROOM = 20
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".yml", ".yaml", ".cfg", ".sh", ".html", ".csv", ""}

UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}


def unsafe(tree: ast.AST) -> list[str]:
    """What a module uses that runs or may run what a file brings."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [f"line {node.lineno}: {name}" for name in names if name.split(".")[0] in UNSAFE_MODULES]
        elif isinstance(node, ast.Call):
            found += _unsafe_call(node)
    return found


def _unsafe_call(node: ast.Call) -> list[str]:
    last = getattr(node.func, "attr", getattr(node.func, "id", None))
    if last not in {*UNSAFE_CALLS, "load"} and all(word.arg != "allow_pickle" for word in node.keywords):
        return []  # to unparse every call takes seconds
    name = ast.unparse(node.func)
    given = {word.arg: ast.unparse(word.value) for word in node.keywords}
    bad = (
        name in UNSAFE_CALLS
        or given.get("allow_pickle", "False") != "False"
        or (name.endswith("torch.load") and given.get("weights_only") != "True")
        or (name.endswith("yaml.load") and "Safe" not in given.get("Loader", ""))
    )
    return [f"line {node.lineno}: {name}"] if bad else []


def faults(path: Path) -> list[str]:
    """What is wrong with one source file."""
    text = path.read_text()
    tree = ast.parse(text)
    found = [f"{text.count(chr(10))} lines"] if text.count("\n") > MOST_LINES_FILE else []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            found += [f"{node.name} has {length} lines"] if length > MOST_LINES_FUNCTION else []
    return found + unsafe(tree)


def test_sources_are_small_and_safe() -> None:
    assert {str(path.relative_to(ROOT)): bad for path in SOURCES if (bad := faults(path))} == {}


def test_rooms_are_small() -> None:
    sizes = Counter(str(path.parent.relative_to(ROOT)) for path in SOURCES)
    assert {room: size for room, size in sizes.items() if size > MOST_IN_ROOM} == {}


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        ("import pickle", 1),
        ("from joblib import load", 1),
        ("np.load(path)", 0),
        ("np.load(path, allow_pickle=True)", 1),
        ("np.load(path, allow_pickle=flag)", 1),
        ("torch.load(path)", 1),
        ("torch.load(path, weights_only=True)", 0),
        ("model.eval()", 0),
        ("eval(text)", 1),
        ("re.compile(text)", 0),
    ],
)
def test_the_check_sees_what_it_must(code: str, bad: int) -> None:
    assert len(unsafe(ast.parse(code))) == bad


def test_no_path_of_a_machine_in_the_tracked_texts() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    # put together here, so that this file does not find itself
    roots = "|".join(["tmp", "work", "home/[a-z]", "root", "Users/[A-Za-z]", "mnt"])
    pattern = re.compile(rf"""(?:^|[\s"'`(=:])/(?:{roots})(?:/|\b)""")
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in TEXT and path.is_file() and path.stat().st_size < 2_000_000:
            lines = path.read_text(errors="replace").splitlines()
            found += [f"{name}:{n}: {line.strip()[:80]}" for n, line in enumerate(lines, 1) if pattern.search(line)]
    assert found == []
