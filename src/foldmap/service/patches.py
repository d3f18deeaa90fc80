"""Patches that lie beside the map: those that lead from what a client has to what is served."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from foldmap.atlas.patches.records import PatchReader
from foldmap.errors import FoldmapError

_MOST_FILES = 10_000


@dataclass(frozen=True)
class KnownPatch:
    """A patch, and the seals (hexadecimal) of the versions that it leads from and to."""

    path: Path
    base: str
    result: str
    size_bytes: int

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        name = self.path.name
        return {
            "name": name,
            "from": self.base,
            "to": self.result,
            "bytes": self.size_bytes,
            "href": f"/map/patches/{quote(name)}",
        }


class PatchFolder:
    """The patches of a folder, looked at anew whenever one is asked for; each file is read once."""

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._known: dict[tuple[str, int, int], KnownPatch | None] = {}

    def all(self) -> dict[str, KnownPatch]:
        """Patches by the names of their files; what is none, or damaged, is not among them."""
        if self._folder is None:
            return {}
        with self._lock:
            seen, found = {}, {}
            for path in sorted(self._folder.glob("*.foldpatch"))[:_MOST_FILES]:
                try:
                    status = os.stat(path)
                except OSError:
                    continue
                key = path.name, status.st_size, status.st_mtime_ns
                seen[key] = self._known[key] if key in self._known else _read(path)
                patch = seen[key]
                if patch is not None:
                    found[path.name] = patch
            self._known = seen
            return found

    def chain(self, since: str, seal: str) -> list[KnownPatch] | None:
        """The fewest patches from one seal to another, in the order they are put in; None where none lead there."""
        patches = list(self.all().values())
        ways: dict[str, list[KnownPatch]] = {since: []}
        frontier = [since]
        while frontier and seal not in ways:
            following = []
            for patch in patches:
                if patch.base in frontier and patch.result not in ways:
                    ways[patch.result] = [*ways[patch.base], patch]
                    following.append(patch.result)
            frontier = following
        return ways.get(seal)


def _read(path: Path) -> KnownPatch | None:
    try:
        with PatchReader(path) as reader:
            return KnownPatch(path, reader.base.hex(), reader.result.hex(), reader.size)
    except FoldmapError:
        return None
