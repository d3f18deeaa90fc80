"""The map that is served: another that takes its place is opened, and requests end on the one they began with."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from foldmap.api.georeference import Georeference, georeference_of
from foldmap.api.opened import FoldedMap
from foldmap.atlas import FoldFile
from foldmap.errors import FoldmapError, NotAFoldFileError
from foldmap.geometry.geopose import Anchor
from foldmap.visual.features.extract import Extractor, ExtractorSettings, open_extractor

Identity = tuple[int, int, int, int]
_TRIES = 5


class ServedMap:
    """One version of the map, open until nobody uses it.

    Attributes:
        town: its layers; decoded by the localizing thread alone, the file itself may be read by any.
        seal: of the file, hexadecimal.
        place: where it lies on Earth, where that is known.
        handle: of the file, for its bytes as they are.
        size_bytes: of the file.
    """

    def __init__(self, path: Path, anchor: Anchor | None) -> None:
        for _ in range(_TRIES):
            self.handle = _handle_of(path)
            try:
                self.identity = _identity(os.fstat(self.handle))
                self.town = FoldedMap(FoldFile.open(path))
                if _identity(os.stat(path)) == self.identity:  # else another was put there between the two openings
                    break
                self.town.close()
            except BaseException:
                os.close(self.handle)
                raise
            os.close(self.handle)
        else:
            raise NotAFoldFileError(f"{path} changes faster than it can be opened", "put it there in one rename")
        self.seal, self.size_bytes = self.town.file.seal.hex(), self.identity[2]
        self.users, self.retired = 0, False
        self._extractor: Extractor | None = None
        try:
            self.place: Georeference | None = georeference_of(self.town.file, anchor)
        except BaseException:
            self.close()
            raise

    @property
    def intact(self) -> bool:
        """Whether nobody wrote into the file since it was opened."""
        return _identity(os.fstat(self.handle)) == self.identity

    def extractor(self, weights: Path | None, max_keypoints: int, max_side: int | None) -> Extractor:
        """What makes the features of photos; errors as `open_extractor`."""
        if self._extractor is None:
            settings = ExtractorSettings(max_keypoints, max_side)
            self._extractor = open_extractor(self.town.visual.feature, weights, settings)
        return self._extractor

    def close(self) -> None:
        """Close the file."""
        self.town.close()
        os.close(self.handle)


class MapHolder:
    """Gives the map to requests. A file that cannot be opened is not served: the one before it goes on being.

    Raises:
        FoldmapError: the map cannot be opened at the start.
    """

    def __init__(self, path: Path, anchor: Anchor | None = None, changed: Callable[[], None] = lambda: None) -> None:
        self._path, self._anchor, self._changed = path, anchor, changed
        self._lock = threading.Lock()
        self._current = ServedMap(path, anchor)
        self._refused: Identity | None = None
        self.problem = ""
        """Why what lies at the path is not served; empty where it is."""

    @property
    def path(self) -> Path:
        """Where the map lies."""
        return self._path

    @contextmanager
    def use(self) -> Iterator[ServedMap]:
        """Give the newest version, which stays open for as long as this lasts."""
        with self._lock:
            self._refresh()
            served = self._current
            served.users += 1
        try:
            yield served
        finally:
            with self._lock:
                served.users -= 1
                if served.retired and served.users == 0:
                    served.close()

    def close(self) -> None:
        """Close the map as soon as nobody uses it."""
        with self._lock:
            self._retire(self._current)

    def _refresh(self) -> None:
        try:
            there = _identity(os.stat(self._path))
        except OSError as error:
            self.problem = f"{self._path}: {error.strerror}"
            return
        if there == self._current.identity:
            self.problem, self._refused = "", None
            return
        if there == self._refused:
            return
        try:
            fresh = ServedMap(self._path, self._anchor)
        except FoldmapError as error:
            self.problem, self._refused = str(error), there
            return
        self._retire(self._current)
        self._current, self.problem, self._refused = fresh, "", None
        self._changed()

    def _retire(self, served: ServedMap) -> None:
        if not served.retired:
            served.retired = True
            if served.users == 0:
                served.close()


def _handle_of(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise NotAFoldFileError(f"{path} cannot be read: {error.strerror}", "check the path and its rights") from error


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
