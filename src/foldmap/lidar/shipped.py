"""What a lidar layer and its model are called, and where the models that ship with the package lie."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from foldmap.atlas.shelf import Shelf

LAYER, MODEL = "lidar", "localizer"


def weights_folder() -> Path:
    """The folder of the shipped models."""
    return Path(str(resources.files("foldmap.lidar"))) / "weights"


def shelf() -> Shelf:
    """The shipped models, which files name instead of holding."""
    return Shelf(weights_folder())
