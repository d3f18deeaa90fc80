"""The scoreboard's rows of the house: circles are found, files are counted, the suite runs only when it is named."""

from pathlib import Path

import pytest

from benchmarks import scoreboard
from benchmarks.context import Board
from benchmarks.house import tree
from benchmarks.house.tree import Folders, FrontDoor, Lines, circles


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two modules that ask for each other, one of them inside a function, and one that asks for both."""
    source = tmp_path / "src" / "house"
    (source / "room").mkdir(parents=True)
    (source / "__init__.py").write_text("from house.room import a\n")
    (source / "room" / "__init__.py").write_text("")
    (source / "room" / "a.py").write_text("def f():\n    from .b import g\n    return g\n")
    (source / "room" / "b.py").write_text("from house.room import a\n\n\ndef g():\n    return a\n")
    (source / "c.py").write_text("import house.room.a\nfrom house.room.b import g\n")
    monkeypatch.setattr(tree, "SOURCE", source)
    return source


def test_circles_are_found_through_lazy_imports(package: Path) -> None:
    assert circles(package) == [["house.room.a", "house.room.b"]]
    (package / "room" / "b.py").write_text("def g():\n    return 1\n")
    assert circles(package) == []


def test_the_tree_is_counted(package: Path, tmp_path: Path) -> None:
    board = Board(tmp_path, quiet=True)
    raw, longest = Lines(most=11).lines(board)
    assert (raw.measured, raw.verdict, longest.measured) == (11, "met", 5)
    assert raw.detail["rooms"] == {"__init__": 1, "c": 2, "room": 8}
    folder, found = Folders(most=2).lines(board)
    assert (folder.measured, folder.verdict, folder.note) == (3, "short", "house/room")
    assert (found.measured, found.verdict) == (1, "short")


def test_importing_takes_time(tmp_path: Path) -> None:
    (line,) = FrontDoor(repeats=1).lines(Board(tmp_path, quiet=True))
    assert line.measured is not None
    assert line.measured > 0


def test_the_whole_suite_runs_only_when_it_is_named() -> None:
    rows = scoreboard.rows_of("house")
    assert "all-tests" not in {row.name for row in scoreboard.chosen(rows, [])}
    assert [row.name for row in scoreboard.chosen(rows, ["all-tests", "lines"])] == ["lines", "all-tests"]
    assert len({row.number for row in rows}) == len(rows) == 9


def test_files_without_recordings_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--layer", "house", "--data", str(tmp_path / "none"), "--only", "lidar-file", "--quiet"]
    assert scoreboard.main(given) == 0
    assert "skipped: no recordings" in capsys.readouterr().out
