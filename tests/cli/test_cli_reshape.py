"""``foldmap merge``, ``extract``, ``diff`` and ``patch`` from the command line."""

import subprocess
import sys
from pathlib import Path

import pytest
from cli_place import Run

from fold_samples import contents
from foldmap.atlas import FoldUpdater
from tests.api.reshaped_town import town_bytes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("town")


@pytest.fixture
def town(place: Path, tmp_path: Path) -> Path:
    path = tmp_path / "town.fold"
    path.write_bytes(town_bytes(place))
    return path


def test_a_part_is_told_cut_and_put_back(run: Run, town: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.fold"
    asked = ("extract", str(town), "--bbox", "0,0,300,80")
    told = run(*asked, "--dry-run", "-o", str(part), "--json").told()
    assert not part.exists()
    done = run(*asked, "-o", str(part), "--json").told()
    assert told["file_bytes"] == done["file_bytes"] == part.stat().st_size
    assert 0 < done["lidar"]["tiles"] < done["lidar"]["of_tiles"]
    both = tmp_path / "both.fold"
    ran = run("merge", str(part), str(town), "-o", str(both), "--prefer", "last")
    assert (ran.status, "note: " in ran.err) == (0, True)
    assert contents(both)["tiles"]["lidar"] == contents(town)["tiles"]["lidar"]


def test_a_new_version_goes_out_as_a_patch(run: Run, town: Path, tmp_path: Path) -> None:
    new, patch = tmp_path / "new.fold", tmp_path / "new.foldpatch"
    with FoldUpdater(new, town) as updater:
        updater.put_tile("lidar", 0, 0, b"other ground")
    said = run("diff", str(town), str(new), "-o", str(patch), "--json").told()
    assert (said["tiles"], said["bytes"]) == (1, patch.stat().st_size)
    made = tmp_path / "made.fold"
    assert run("patch", str(town), str(patch), "-o", str(made)).status == 0
    assert made.read_bytes() == new.read_bytes()
    assert run("patch", str(town), str(patch)).status == 0
    assert town.read_bytes() == new.read_bytes()
    run("patch", str(town), str(patch)).refused("was put in already")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["extract", "town.fold", "-o", "o.fold"], "give --bbox or --corridor"),
        (["extract", "town.fold", "-o", "o.fold", "--bbox", "0,0,1,1", "--within", "3"], "--within is of --corridor"),
        (["extract", "town.fold", "--bbox", "0,0,1,1"], "give -o PART.fold, or --dry-run"),
        (["extract", "none.fold", "--bbox", "0,0,1,1", "--dry-run"], "there is no file none.fold"),
        (["extract", "town.fold", "--bbox", "0,0,1,1", "-o", "town.fold"], "also read"),
        (["merge", "town.fold", "-o", "town.fold"], "also read"),
        (["merge", "town.fold", "none.fold", "-o", "o.fold"], "there is no file none.fold"),
        (["merge", "town.fold", "town.fold", "-o", "o.fold", "--prefer", "x"], "give first or last"),
        (["diff", "town.fold", "town.fold", "-o", "town.fold"], "also read"),
        (["patch", "town.fold", "town.fold"], "is no patch"),
        (["patch", "town.fold", "none.foldpatch"], "cannot be read"),
    ],
)
def test_wrong_use_is_said_in_a_line(
    words: list[str], said: str, run: Run, town: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(town.parent)
    before = town.read_bytes()
    run(*words).refused(said)
    assert town.read_bytes() == before
    assert [path.name for path in town.parent.iterdir()] == ["town.fold"]


@pytest.mark.parametrize("verb", ["merge", "extract", "diff", "patch"])
def test_help_loads_nothing_heavy(verb: str) -> None:
    code = (
        "import sys; from foldmap.cli.app import app\n"
        f"try: app(['{verb}', '--help'])\nexcept SystemExit: pass\n"
        "print(sorted(set(sys.modules) & {'numpy', 'sqlite3', 'numba', 'torch', 'pyproj'}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.endswith("[]\n")
