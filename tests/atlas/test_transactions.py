"""Writes that are killed, fail or overlap, and readers meanwhile: the old map or the new one, never a mixture."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fold_samples import contents, write_large, write_small
from foldmap.atlas import FoldFile, FoldWriter, update, verify
from foldmap.errors import ChecksumError, WriteError

TESTS = Path(__file__).parents[1]


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=TESTS, timeout=600
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_point_leaves_old_or_new(tmp_path: Path) -> None:
    run = _python(str(TESTS / "atlas" / "kill_points.py"), str(tmp_path))
    assert run.returncode == 0, run.stderr
    left = json.loads(run.stdout)
    assert left["mixture"] == 0
    assert left["old"] > 50
    assert left["new"] > 0
    assert left["recovered"] == 1


FULL_DISK = """
import resource, sys
from foldmap.atlas import update
from foldmap.errors import WriteError
sys.dont_write_bytecode = True  # Python keeps half of it on a full disk, and reads that later
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    with update(sys.argv[1]) as updater:
        for column in range(50):
            updater.put_tile("ground", column, 900, bytes(range(256)) * 16)
except WriteError as error:
    print("refused", error.code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("limit", [0, 1000, 100_000, 220_000])
def test_a_full_disk_leaves_the_old_file(limit: int, tmp_path: Path) -> None:
    write_small(tmp_path / "a.fold")
    before = (tmp_path / "a.fold").read_bytes()
    run = _python("-c", FULL_DISK, str(tmp_path / "a.fold"), str(limit))
    # beyond 210 kB the update fits
    assert run.stdout == ("" if limit == 220_000 else "refused write\n"), run.stderr
    assert ((tmp_path / "a.fold").read_bytes() == before) == (limit < 220_000)
    assert [p.name for p in tmp_path.iterdir()] == ["a.fold"]


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
def test_a_failing_system_call_leaves_the_old_file(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_small(tmp_path / "a.fold")
    before = (tmp_path / "a.fold").read_bytes()

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(WriteError, match="Input/output"), update(tmp_path / "a.fold") as updater:
        updater.put_tile("ground", 0, 0, b"new")
    monkeypatch.undo()
    assert (tmp_path / "a.fold").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.fold"]


def test_an_exception_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    write_small(tmp_path / "a.fold")
    before = (tmp_path / "a.fold").read_bytes()
    with pytest.raises(KeyError), update(tmp_path / "a.fold") as updater:
        updater.put_metadata({}["missing"], "new")
    with pytest.raises(KeyError), FoldWriter(tmp_path / "b.fold") as writer:
        writer.put_metadata({}["missing"], "new")
    assert (tmp_path / "a.fold").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.fold"]


def test_updating_a_damaged_file_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    write_large(tmp_path / "a.fold", tiles=60)
    data = bytearray((tmp_path / "a.fold").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.fold").write_bytes(data)
    with pytest.raises(ChecksumError), update(tmp_path / "a.fold") as updater:
        updater.put_tile("ground", 500, 500, b"new")
    assert (tmp_path / "a.fold").read_bytes() == data
    assert [p.name for p in tmp_path.iterdir()] == ["a.fold"]


def test_two_writers_of_one_file(tmp_path: Path) -> None:
    write_small(tmp_path / "a.fold")
    with update(tmp_path / "a.fold") as first:
        first.put_tile("ground", 0, 0, b"first")
        with pytest.raises(WriteError, match="another writer"):
            FoldWriter(tmp_path / "a.fold")
    with update(tmp_path / "a.fold") as second:
        second.put_tile("ground", 0, 5, b"second")
    tiles = contents(tmp_path / "a.fold")["tiles"]["ground"]
    assert (tiles[0, 0], tiles[0, 5]) == (b"first", b"second")


def test_an_open_reader_keeps_the_old_map(tmp_path: Path) -> None:
    write_large(tmp_path / "a.fold", tiles=300)
    expected = contents(tmp_path / "a.fold")["tiles"]["ground"]
    with FoldFile.open(tmp_path / "a.fold") as reader:
        assert reader.tile("ground", 0, 0) == expected[0, 0]
        with update(tmp_path / "a.fold") as updater:
            for key in expected:
                updater.put_tile("ground", *key, b"new")
        assert {key: reader.tile("ground", *key) for key in expected} == expected
    assert set(contents(tmp_path / "a.fold")["tiles"]["ground"].values()) == {b"new"}


WRITE_VERSIONS = """
import sys, time
from foldmap.atlas import update
stop = time.monotonic() + 1.5
version = 1
while time.monotonic() < stop:
    version += 1
    with update(sys.argv[1]) as updater:
        updater.put_metadata("version", version)
        for column in range(60):
            updater.put_tile("g", column, 0, version.to_bytes(4, "little") * 700)
print(version)
"""


def test_readers_during_updates_see_one_version(tmp_path: Path) -> None:
    path = tmp_path / "a.fold"
    with FoldWriter(path) as writer:
        writer.put_metadata("version", 1)
        writer.add_layer("g", "lidar", {})
        for column in range(60):
            writer.put_tile("g", column, 0, (1).to_bytes(4, "little") * 700)
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_VERSIONS, str(path)], stdout=subprocess.PIPE, cwd=TESTS
    ) as child:
        seen = set()
        while child.poll() is None:
            with FoldFile.open(path) as fold:
                tiles = set()
                for column, row in fold.tiles("g"):
                    tiles.add(fold.tile("g", column, row))
                    time.sleep(0.0001)
                version = fold.metadata()["version"]
            assert tiles == {version.to_bytes(4, "little") * 700}
            seen.add(version)
        last = int(child.stdout.read())
    assert child.returncode == 0
    assert len(seen) > 3
    assert contents(path)["metadata"]["version"] == last


READ = """
import os, sys
from fold_samples import contents
if os.geteuid() == 0:
    os.setuid(65534)
print(sum(len(tiles) for tiles in contents(sys.argv[1])["tiles"].values()))
try:
    open(sys.argv[1], "r+b")
except PermissionError:
    print("read-only")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="rights of another kind")
def test_read_only_media() -> None:
    """A reader without the right to write the file or its folder, and nothing appears beside the file."""
    folder = Path(tempfile.mkdtemp())
    try:
        write_small(folder / "a.fold")
        (folder / "a.fold").chmod(0o444)
        folder.chmod(0o555)
        run = _python("-c", READ, str(folder / "a.fold"))
        assert run.stdout == "6\nread-only\n", run.stderr
        assert [p.name for p in folder.iterdir()] == ["a.fold"]
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_link_and_the_rights_of_the_file_survive_an_update(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write_small(tmp_path / "real" / "a.fold")
    (tmp_path / "real" / "a.fold").chmod(0o640)
    (tmp_path / "link.fold").symlink_to(tmp_path / "real" / "a.fold")
    with update(tmp_path / "link.fold") as updater:
        updater.put_tile("ground", 0, 0, b"new")
    assert (tmp_path / "link.fold").is_symlink()
    assert (tmp_path / "real" / "a.fold").stat().st_mode & 0o777 == 0o640
    assert contents(tmp_path / "real" / "a.fold")["tiles"]["ground"][0, 0] == b"new"
    assert verify(tmp_path / "link.fold") == []
