"""pycolmap, which is optional: loaded so that it lives in peace with other libraries, and one scene built with it."""

import importlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldmap.errors import MissingExtraError


def pycolmap_module() -> Any:
    """Import pycolmap.

    Its wheel exports the zlib it carries. A Pillow that is loaded later resolves to that one, and corrupts memory when
    it writes a PNG; loaded before, both work. So Pillow's core is imported first, always. And it takes SIGTERM for a
    crash, of which it writes a trace: whoever dealt with that before does so again. Raises `MissingExtraError`: it is
    not installed, or too old to know rigs and frames.
    """
    importlib.import_module("PIL.Image")
    ends = signal.getsignal(signal.SIGTERM)
    try:
        module = importlib.import_module("pycolmap")
    except ImportError as error:
        raise MissingExtraError("pycolmap is not installed", "pip install 'foldmap[sfm]'") from error
    if ends is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ends)
    if not hasattr(module, "FeatureExtractor"):
        raise MissingExtraError("this pycolmap is too old", "pip install --upgrade 'foldmap[sfm]'")
    return module


@dataclass(frozen=True)
class ColmapRun:
    """A scene being built."""

    pycolmap: Any  # the module
    photos: Path  # their folder
    names: tuple[str, ...]  # of the photos; image `i + 1` of the database is `names[i]`
    scratch: Path  # a folder for the database and for models
    seed: int  # of every random choice
    threads: int  # of matching
    mapping_threads: int  # of bundle adjustment

    @property
    def database(self) -> Path:
        """Cameras, images, features and matches."""
        return self.scratch / "scratch.db"

    def opened(self) -> Any:
        """The database, to read and write."""
        return self.pycolmap.Database.open(self.database)


@contextmanager
def quiet_pycolmap() -> Iterator[Any]:
    """Give pycolmap without its log on stderr; errors remain exceptions."""
    pycolmap = pycolmap_module()
    level = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = 3
    try:
        yield pycolmap
    finally:
        pycolmap.logging.minloglevel = level
