"""The scoreboard's cases: what is right, what is short, and that both can be told apart."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from benchmarks import scoreboard
from benchmarks.cases.lidar import likeness
from benchmarks.cases.rows import Case, CasesRow, Right, found, summary
from benchmarks.cases.worker import FOREIGN, Answer, Commands
from benchmarks.context import Board


class Told(Commands):
    """Commands whose answers are known."""

    def __init__(self, **answers: Answer) -> None:
        super().__init__()
        self._answers = answers

    def run(self, line: str, folder: Path) -> Answer:
        return self._answers[line]


ANSWERS = {
    "long": Answer(0, '{"lane_km": 0.31, "deep": {"one": 2}}', "note: 2 lanes left out"),
    "bad": Answer(2, "", "error: a.tif holds -3.4e38, which looks like\nnodata (set it)"),
    "crash": Answer(FOREIGN, "", "Traceback\nKeyError: 1"),
}


@pytest.mark.parametrize(
    ("right", "met", "measured"),
    [
        (Right("length", "long", summary("lane_km", 1000), 310, 0.6), True, 310),
        (Right("length", "long", summary("lane_km", 1000), 260, 0.6), False, 310),
        (Right("length", "long", summary("lane_km", 1000), 260, 0.6, noted="left out"), True, 1),
        (Right("deep", "long", summary("deep/one"), 2), True, 2),
        (Right("no such key", "long", summary("none"), 2), False, 0),
        (Right("refused", "long", refused="x"), False, 0),
        (Right("refused", "bad", refused=r"a\.tif & like nodata"), True, 1),
        (Right("refused for something else", "bad", refused="mercator"), False, 0),
        (Right("must answer", "bad", summary("lane_km"), 1), False, 0),
        (Right("either", "bad", summary("lane_km"), 1, refused="NODATA"), True, 1),
        (Right("foreign", "crash", refused="KeyError"), False, 0),
        (Right("what comes before", "long", summary("lane_km"), 0.31, before=("bad",)), False, 0),
    ],
)
def test_a_right_value_is_met_or_short(tmp_path: Path, right: Right, met: bool, measured: float) -> None:
    line = right.line(1, right.what, tmp_path, Told(**ANSWERS))
    assert (line.met, line.measured) == (met, measured)


def test_every_part_of_a_pattern_must_be_there() -> None:
    assert found("33,?600 & 1,?000", "33600 declared,\n1,000 there")
    assert not found("33,?600 & 1,?000", "33600 declared")


def test_the_worker_answers_as_the_command_does(tmp_path: Path) -> None:
    with Commands() as commands:
        version = commands.run("--version", tmp_path)
        assert version.status == 0
        assert version.out.strip()
        lost = commands.run("show nothing.fold", tmp_path)
        assert lost.refused
        assert "nothing.fold" in lost.reason


def test_a_case_is_made_in_a_copy(tmp_path: Path) -> None:
    case = tmp_path / "group" / "one"
    case.mkdir(parents=True)
    (tmp_path / "group" / "gen.py").write_text("VALUE = 3\n")
    (case / "make.py").write_text("from gen import *\nopen('made.txt', 'w').write(str(VALUE))\n")
    figure = Right("made", "--version", lambda folder, _: float((folder / "made.txt").read_text()), 3.0)
    more = Right("scripted", "--version", lambda folder, _: float((folder / "more.txt").read_text()), 4.0)
    cases = (
        Case("group/one", (figure, more), ("make.py",), "open('more.txt', 'w').write(str(VALUE + 1))"),
        Case("group/one", (figure,), script="no such name"),
        Case("group/none", (figure,)),
    )
    board = Board(tmp_path, quiet=True)
    board.shared("commands", lambda: Told(**{"--version": Answer(0, "", "")}))
    lines = list(CasesRow(1, "sham", "a sham row", cases).lines(board))
    assert [line.verdict.split(":")[0] for line in lines] == ["met", "met", "short", "skipped"]
    assert "SyntaxError" in lines[2].note
    assert sorted(path.name for path in case.iterdir()) == ["make.py"]


def test_without_the_cases_rows_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = [word for row in ("lidar", "street", "visual", "outputs") for word in ("--only", row)]
    given = ["--layer", "cases", "--data", str(tmp_path / "none"), "-o", str(tmp_path / "b.json")]
    status = scoreboard.main([*given, *only])
    assert status == 0
    assert all("skipped: no cases" in line for line in capsys.readouterr().out.strip().splitlines())
    assert json.loads((tmp_path / "b.json").read_text())["layer"] == "cases"


def test_every_folder_of_the_cases_is_asked(shared_data: Path) -> None:
    folder = shared_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    asked = {case.folder for row in scoreboard.rows_of("cases") if isinstance(row, CasesRow) for case in row.cases}
    there = {str(path.relative_to(folder)) for path in folder.glob("*/*") if path.is_dir()} - {"street-maps"}
    assert {name for name in there if "__" not in name} <= asked
    files = {path.name for path in (folder / "street-maps").iterdir() if path.suffix != ".txt"}
    commands = " ".join(
        right.command + " ".join(right.before)
        for row in scoreboard.rows_of("cases")
        if isinstance(row, CasesRow)
        for case in row.cases
        for right in case.rights
    )
    assert [name for name in files if name not in commands] == []


def test_maps_of_one_ground_are_alike_wherever_they_begin(tmp_path: Path) -> None:
    ground = np.random.default_rng(0).random((60, 60)).astype(np.float32)
    for name, top, left in (("one", 0, 0), ("lower", 2, 1), ("other", 0, 0), ("far", 9, 5)):
        place = rasterio.Affine(0.5, 0, 0.5 * left, 0, -0.5, 100 - 0.5 * top)
        profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "height": 50, "width": 50, "transform": place}
        with rasterio.open(tmp_path / f"{name}.tif", "w", nodata=-1, **profile) as file:
            file.write((ground.T if name == "other" else ground)[top : top + 50, left : left + 50], 1)
    paths = {name: str(tmp_path / f"{name}.tif") for name in ("one", "lower", "other", "far")}
    assert likeness(paths["one"], paths["one"]) == pytest.approx(1)
    assert likeness(paths["one"], paths["other"]) < 0.2
    assert likeness(paths["one"], paths["lower"]) == likeness(paths["lower"], paths["one"]) == pytest.approx(1)
    assert likeness(paths["one"], paths["far"]) == 0  # too little ground in common
