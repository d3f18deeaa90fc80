"""pycolmap, which is optional, loaded so that it lives in peace with the other libraries."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from foldmap.errors import MissingExtraError


def pycolmap_module() -> Any:
    """Import pycolmap.

    Its wheel exports the zlib it carries. A Pillow that is loaded later resolves to that one, and corrupts memory when
    it writes a PNG; loaded before, both work. So Pillow's core is imported first, always.

    Raises:
        MissingExtraError: it is not installed, or too old to know rigs and frames.
    """
    importlib.import_module("PIL.Image")
    try:
        module = importlib.import_module("pycolmap")
    except ImportError as error:
        raise MissingExtraError("pycolmap is not installed", "pip install foldmap[sfm]") from error
    if not hasattr(module, "FeatureExtractor"):
        raise MissingExtraError("this pycolmap is too old", "pip install --upgrade foldmap[sfm]")
    return module


@contextmanager
def quiet() -> Iterator[Any]:
    """Give pycolmap without its log on stderr; errors remain exceptions."""
    pycolmap = pycolmap_module()
    level = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = 3
    try:
        yield pycolmap
    finally:
        pycolmap.logging.minloglevel = level
