"""Libraries that only some formats need: imported when a file of such a format is met."""

from __future__ import annotations

import importlib
from typing import Any

from foldmap.errors import MissingExtraError


def extra(module: str, what: str, name: str = "street") -> Any:
    """Import a module of the extra called ``name``; a MissingExtraError names ``what`` needs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        said = f"{what} needs {module.split('.')[0]}, which is not installed"
        raise MissingExtraError(said, f"pip install 'foldmap[{name}]'") from error
