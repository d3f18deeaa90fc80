"""What a lidar layer and its model are called, and where the models that ship with the package lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from foldmap.atlas.shelf import Shelf
from foldmap.training.places import PROVENANCE

LAYER, MODEL = "lidar", "localizer"
OUTLINE, UPRIGHT = "outline", "upright"
"""The layer of what stands beside the road, and the word in its parameters that says so."""


def told_training(name: str, payload: bytes, own: Mapping[str, Any]) -> dict[str, Any]:
    """How a model was trained: of a shipped one what ``weights/provenance.json`` says, else its own provenance.

    Args:
        name: of the model.
        payload: its file.
        own: provenance in the model itself; that of a shipped model tells of the machine that it was made on.
    """
    path = weights_folder() / PROVENANCE
    said = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if name in said and said[name]["sha256"] == hashlib.sha256(payload).hexdigest():
        return {"recipe": said[name]["recipe"]}
    return dict(own)


def weights_folder() -> Path:
    """The folder of the shipped models."""
    return Path(str(resources.files("foldmap.lidar"))) / "weights"


def shelf() -> Shelf:
    """The shipped models, which files name instead of holding."""
    return Shelf(weights_folder())
