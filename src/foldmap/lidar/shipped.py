"""Where the models that ship with the package lie; files name them instead of holding them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from foldmap.atlas.shelf import Shelf


def weights_folder() -> Path:
    """The folder of the shipped models."""
    return Path(str(resources.files("foldmap.lidar"))) / "weights"


def shelf() -> Shelf:
    """The shipped models, which files name instead of holding."""
    return Shelf(weights_folder())
