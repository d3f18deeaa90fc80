"""Results that appear only when they are whole: a killed run leaves the former one, or none."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from foldmap.atlas.sibling import Sibling
from foldmap.errors import WriteError

if sys.platform != "win32":
    import fcntl


def write_whole(path: Path | str, content: bytes | str) -> None:
    """Write a file beside its place and put it there in one rename; text as UTF-8.

    What is no regular file, like ``/dev/null`` or a pipe, is written directly.

    Raises:
        WriteError: the folder is missing or read-only, the disk is full, or another writer is at work on the file.
    """
    path = Path(path)
    try:
        payload = content.encode("utf-8") if isinstance(content, str) else content
        if path.exists() and not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            path.write_bytes(payload)
            return
        sibling = Sibling(path)
        try:
            sibling.path.write_bytes(payload)
            sibling.replace()
        finally:
            sibling.close()
    except UnicodeEncodeError as error:
        raise WriteError(f"{path} cannot be written: {error}", "rename what is no text") from error
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror or error}", "choose another place") from error


@contextmanager
def scratch_beside(target: Path, doing: str) -> Iterator[Path]:
    """Give an empty folder ``.NAME.DOING`` beside a target, on its disk; it is gone afterwards.

    The name is fixed and the folder is locked, so what a killed run left in it is cleared by the next run for the same
    target, and by no other while a run is at work.

    Raises:
        WriteError: the folder of the target is missing or read-only, or another run is at work on the target.
    """
    place = Path(os.path.realpath(target))
    folder = place.with_name(f".{place.name}.{doing}")
    try:
        handle = _locked(folder)
    except BlockingIOError as error:
        raise WriteError(f"another run is at work on {target}", "wait until it is done") from error
    except OSError as error:
        raise WriteError(f"{target} cannot be written: {error.strerror}", "check the folder and its rights") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked(folder: Path) -> int:
    """Make a folder, empty it once it is ours, and give the handle that holds its lock."""
    while True:
        folder.mkdir(exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            if sys.platform != "win32":
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the run before may have removed the folder between our open and our lock
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(folder)):
                    for left in folder.iterdir():
                        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
