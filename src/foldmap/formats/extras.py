"""Libraries that only some of the package needs: imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from foldmap.errors import MissingExtraError


def extra(module: str, what: str, group: str = "street") -> Any:
    """Import a module of an extra, a ``group`` of pyproject.toml; a MissingExtraError names ``what`` needs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        said = f"{what} needs {module.split('.')[0]}, which is not installed"
        raise MissingExtraError(said, f"pip install foldmap[{group}]") from error
