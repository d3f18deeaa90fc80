"""The command line in a process of its own, asked again and again: torch is loaded and numba compiles once."""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import shlex
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

FOREIGN = 70
"""Exit status of a command that ended in another exception than foldmap's own."""


@dataclass(frozen=True)
class Answer:
    """What a command answered: exit status, stdout and stderr."""

    status: int
    out: str
    err: str

    @property
    def refused(self) -> bool:
        """Whether it ended in one of foldmap's own errors."""
        return self.status == 2 and "error:" in self.err.lower()

    @property
    def reason(self) -> str:
        """The last line that it wrote to stderr, shortened."""
        lines = [line for line in self.err.splitlines() if line.strip()] or [""]
        return lines[-1].strip()[:160]


class Commands:
    """Runs ``foldmap`` commands in one worker process; a worker that dies is replaced.

    Example:
        >>> with Commands() as commands:  # doctest: +SKIP
        ...     commands.run("show map.fold", folder)
    """

    def __init__(self) -> None:
        self._worker: subprocess.Popen[str] | None = None

    def __enter__(self) -> Commands:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.communicate()
            self._worker = None

    def run(self, line: str, folder: Path) -> Answer:
        """Run one command line, without the leading ``foldmap``, in a folder."""
        if self._worker is None:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps([str(folder), *shlex.split(line)]) + "\n")
        self._worker.stdin.flush()
        told = self._worker.stdout.readline()
        if not told:
            status = self._worker.wait()
            self._worker = None
            return Answer(FOREIGN, "", f"the process ended with status {status}")
        return Answer(*json.loads(told))


def answer(folder: str, words: list[str]) -> Answer:
    """Run a command in this process, as ``python -m foldmap`` would."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    os.chdir(folder)
    sys.argv = ["foldmap", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_module("foldmap", run_name="__main__")
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else int(left.code is not None)
        except BaseException:
            status = FOREIGN
            traceback.print_exc()
    return Answer(status, out.getvalue(), err.getvalue())


def serve() -> None:
    """Answer lines of JSON until there are none."""
    replies = sys.stdout
    for line in sys.stdin:
        folder, *words = json.loads(line)
        done = answer(folder, words)
        replies.write(json.dumps([done.status, done.out, done.err]) + "\n")
        replies.flush()


if __name__ == "__main__":
    serve()
