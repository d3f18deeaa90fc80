"""Results that appear only when they are whole: a killed run leaves the former one, or none."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from copy import copy
from pathlib import Path
from typing import Self

from foldmap.errors import ConfigError, WriteError

if sys.platform != "win32":
    import fcntl


class Sibling:
    """An empty ``.NAME.partial`` beside the target, locked against other writers of the same target.

    The name is fixed, so what a killed writer left behind is taken over by the next one. A symbolic link is followed,
    so that the link survives. A WriteError where the folder is missing or read-only, another writer is at work, or the
    target is no file.
    """

    def __init__(self, target: Path) -> None:
        self.target = Path(os.path.realpath(target))
        self.path = self.target.with_name(f".{self.target.name}.partial")
        self._handle = -1
        if self.target.is_dir():
            raise WriteError(f"{target} is a folder", "give a file name")
        if self.target.exists() and not self.target.is_file():  # a rename would put a file in place of /dev/null
            raise WriteError(f"{target} is no file but a device or a pipe", "give a file name")
        self._handle = _locked(self.path, target, "writer", lambda: os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666))
        os.ftruncate(self._handle, 0)

    def take(self, made: Path) -> None:
        """A file on the same disk becomes the sibling, in one rename; it is locked before, as the sibling is."""
        handle = os.open(made, os.O_RDWR)
        if sys.platform != "win32":
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.replace(made, self.path)
        os.close(self._handle)
        self._handle = handle

    def replace(self) -> None:
        """Make the sibling the target, durably; within `together` at its end."""
        with suppress(FileNotFoundError):
            os.fchmod(self._handle, stat.S_IMODE(os.stat(self.target).st_mode))
        os.fsync(self._handle)
        waiting = _WAITING.get()
        if waiting is not None:
            waiting.append(self._kept())
            return
        os.replace(self.path, self.target)
        folder = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        os.close(self._handle)
        self._handle = -1

    def close(self) -> None:
        """Remove the sibling if it did not become the target."""
        if self._handle >= 0:
            with suppress(OSError):
                self.path.unlink()
            os.close(self._handle)
            self._handle = -1

    def _kept(self) -> Self:
        """The same with its lock, which this one gives up: whoever wrote it may close it."""
        kept = copy(self)
        self._handle = -1
        return kept


_WAITING: ContextVar[list[Sibling] | None] = ContextVar("waiting", default=None)


@contextmanager
def together() -> Iterator[None]:
    """Files that this thread writes within appear at its end, in their order; where an error leaves it, none does.

    Until then they are on the disk, whole and under other names: what is left are renames. Nothing within can read
    them yet, nor write one twice. What is no regular file is written at once.
    """
    waiting: list[Sibling] = []
    before = _WAITING.set(waiting)
    try:
        try:
            yield
        finally:
            _WAITING.reset(before)
        for one in waiting:
            try:
                one.replace()
            except OSError as error:
                cure = "check the folder and its rights"
                raise WriteError(f"{one.target} cannot be written: {error.strerror}", cure) from error
    finally:
        for one in waiting:
            one.close()


def write_whole(path: Path | str, content: bytes | str) -> None:
    """Write a file beside its place and put it there in one rename; text as UTF-8.

    What is no regular file, like ``/dev/null`` or a pipe, is written directly. Raises `WriteError`: the folder is
    missing or read-only, the disk is full, or another writer is at work on the file.
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


def put_whole(made: Path, path: Path) -> None:
    """Put a finished file of the same disk in its place, in one rename; a WriteError as `write_whole`'s, an OSError."""
    sibling = Sibling(path)
    try:
        sibling.take(made)
        sibling.replace()
    finally:
        sibling.close()


def make_folder(folder: Path) -> None:
    """Make a folder for results, and those above it; a ConfigError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror or error}", "choose another folder") from error


@contextmanager
def scratch_beside(target: Path, doing: str) -> Iterator[Path]:
    """Give an empty folder ``.NAME.DOING`` beside a target, on its disk; it is gone afterwards.

    The name is fixed and the folder is locked, so what a killed run left in it is cleared by the next run for the same
    target, and by no other while a run is at work: that one gets a WriteError.
    """
    place = Path(os.path.realpath(target))
    folder = place.with_name(f".{place.name}.{doing}")

    def make() -> int:
        folder.mkdir(exist_ok=True)
        return os.open(folder, os.O_RDONLY)

    handle = _locked(folder, target, "run", make)
    try:
        _empty(folder, target)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _empty(folder: Path, target: Path) -> None:
    try:
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    except OSError as error:
        raise WriteError(f"{target} cannot be written: {error.strerror}", f"remove {folder}") from error


def _locked(path: Path, target: Path, who: str, make: Callable[[], int]) -> int:
    """The handle that `make` opens at a path, once it holds its lock.

    Raises `WriteError`: it cannot be made for the target, or another writer or run holds it.
    """
    while True:
        handle = -1
        try:
            handle = make()
            if sys.platform != "win32":
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the one before may have renamed or removed it between our open and our lock
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(path)):
                    return handle
            os.close(handle)
        except OSError as error:
            if handle >= 0:
                os.close(handle)
            if isinstance(error, BlockingIOError):
                raise WriteError(f"another {who} is at work on {target}", "wait until it is done") from error
            cure = "check the folder and its rights"
            raise WriteError(f"{target} cannot be written: {error.strerror}", cure) from error


def file_identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to, however it is spelled; None where there is none, or where it is no file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def files_below(folder: Path) -> Iterator[Path]:
    """Files below a folder, through links too, each folder once."""
    walked: set[str] = set()
    for inner, folders, files in os.walk(folder, followlinks=True):
        if os.path.realpath(inner) in walked:
            folders.clear()
            continue
        walked.add(os.path.realpath(inner))
        yield from (Path(inner, name) for name in files)
