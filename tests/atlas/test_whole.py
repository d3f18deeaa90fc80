"""Files and scratch folders of results: whole or not at all, also after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foldmap.atlas import FoldWriter
from foldmap.atlas.whole import put_whole, scratch_beside, together, write_whole
from foldmap.errors import WriteError


def test_a_file_is_replaced_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "größer")
    write_whole(tmp_path / "a.txt", b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.txt", b"new")]


def test_a_link_stays_a_link_and_rights_stay(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


def test_a_device_is_written_and_not_replaced() -> None:
    write_whole("/dev/null", "gone")
    assert not Path("/dev/null").is_file()


def test_what_cannot_be_written_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("former")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match="No space left"):
        write_whole(tmp_path / "a", "new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a", "former")]
    with pytest.raises(WriteError, match="is a folder"):
        write_whole(tmp_path, "new")
    with pytest.raises(WriteError, match="cannot be written"):
        write_whole(tmp_path / "none" / "a", "new")


def test_files_written_together_appear_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("former")

    def found() -> dict[str, str]:
        return {file.name: file.read_text() for file in tmp_path.iterdir()}

    def write(last: Path) -> None:
        with together():
            write_whole(tmp_path / "a", "new")
            with together():
                write_whole(tmp_path / "b", "new")
            assert {name: text for name, text in found().items() if "partial" not in name} == {"a": "former"}
            write_whole(last, "new")

    with pytest.raises(WriteError, match="cannot be written"):
        write(tmp_path / "none" / "c")
    assert found() == {"a": "former"}
    write(tmp_path / "c")
    assert found() == dict.fromkeys("abc", "new")
    write_whole(tmp_path / "a", "alone")
    assert found() == {"a": "alone", "b": "new", "c": "new"}


def test_scratch_is_empty_locked_and_gone_afterwards(tmp_path: Path) -> None:
    with scratch_beside(tmp_path / "map", "building") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("")
        with pytest.raises(WriteError, match="another run is at work"), scratch_beside(tmp_path / "map", "building"):
            pass
        with scratch_beside(tmp_path / "other", "building") as other:
            assert other != folder
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), scratch_beside(tmp_path / "map", "building"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom foldmap.atlas.whole import scratch_beside\n"
        "with scratch_beside(Path(sys.argv[1]), 'building') as folder:\n"
        "    (folder / 'models').mkdir()\n    (folder / 'models' / 'big').write_text('x')\n"
        "    print('there', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "map")], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"there\n"
        with pytest.raises(WriteError, match="another run"), scratch_beside(tmp_path / "map", "building"):
            pass
        os.kill(run.pid, signal.SIGKILL)
    time.sleep(0.01)
    assert (tmp_path / ".map.building" / "models" / "big").is_file()
    with scratch_beside(tmp_path / "map", "building") as folder:
        assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_or_device_is_not_replaced_by_a_map(tmp_path: Path) -> None:
    """What is written beside and renamed would stand in its place, of /dev/null for every process there is."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "made").write_bytes(b"whole")
    (tmp_path / "link").symlink_to("pipe")
    for target in (tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(WriteError, match="is no file but a device or a pipe"):
            FoldWriter(target)
        with pytest.raises(WriteError, match="is no file but a device or a pipe"):
            put_whole(tmp_path / "made", target)
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "made", "pipe"]
