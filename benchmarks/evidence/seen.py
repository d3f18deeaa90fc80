"""What a process really used of this repository: modules that it loaded, and files that it read as data."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.evidence.seals import ROOT, file_of, seals_of, tree_seals

UNSEEN = ("foldmap.version", "benchmarks.scoreboard", "benchmarks.evidence")
"""Modules that decide no figure: the version's number, and what runs the rows and keeps their results."""
_IGNORED = {"__pycache__", ".git", ".venv", "out"}


class Seen:
    """Hears, from its making on, which files of this repository the process opens for reading.

    A process cannot be made deaf again: make one in a process.
    """

    def __init__(self) -> None:
        self._read, self._started = set[Path](), False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if event != "open":  # first: some events are many
            if event == "subprocess.Popen":
                self._started |= given[0] is None or Path(os.fsdecode(given[0])).name.startswith("python")
            return
        if not isinstance(given[0], str | os.PathLike):
            return
        path = Path(os.path.abspath(given[0]))  # no look at the disk from within a hook
        writes = not str(given[1] or "r").startswith("r") or given[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or path.suffix in (".py", ".pyc") or not path.is_relative_to(ROOT):
            return
        if not _IGNORED & set(path.relative_to(ROOT).parts):
            self._read.add(path)

    def code(self) -> dict[str, str]:
        """Hashes of the files that decided what this process measured.

        What other processes of Python do is not heard: where it started any, the whole source counts.
        """
        loaded = [file_of(name) for name in list(sys.modules) if not name.startswith(UNSEEN)]
        found = seals_of({*filter(None, loaded), *filter(Path.is_file, self._read)})
        crews = {"multiprocessing.popen_spawn_posix", "multiprocessing.popen_fork"} & sys.modules.keys()
        return found | (tree_seals(("src",), by_code=True) if self._started or crews else {})
