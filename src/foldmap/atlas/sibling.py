"""The file beside its target that becomes the target in one rename."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path

from foldmap.errors import WriteError

if sys.platform != "win32":
    import fcntl


class Sibling:
    """An empty ``.NAME.partial`` beside the target, locked against other writers of the same target.

    The name is fixed, so what a killed writer left behind is taken over by the next one.

    Args:
        target: the file that will be replaced; a symbolic link is followed, so that the link survives.

    Raises:
        WriteError: the folder is missing or read-only, or another writer is at work.
    """

    def __init__(self, target: Path) -> None:
        self.target = Path(os.path.realpath(target))
        self.path = self.target.with_name(f".{self.target.name}.partial")
        self._handle = -1
        if self.target.is_dir():
            raise WriteError(f"{target} is a folder", "give a file name")
        try:
            self._handle = self._lock()
        except BlockingIOError as error:
            raise WriteError(f"another writer is at work on {target}", "wait until it is done") from error
        except OSError as error:
            raise WriteError(
                f"{target} cannot be written: {error.strerror}", "check the folder and its rights"
            ) from error

    def _lock(self) -> int:
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if sys.platform != "win32":
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # the previous holder may have renamed or removed the file between our open and our lock
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(handle), os.stat(self.path)):
                        os.ftruncate(handle, 0)
                        return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def replace(self) -> None:
        """Make the sibling the target, durably.

        Raises:
            OSError: the disk or the folder do not let it.
        """
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(self._handle, stat.S_IMODE(os.stat(self.target).st_mode))
        os.fsync(self._handle)
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
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self._handle)
            self._handle = -1
