"""The trained street models that ship with the package: they have seen generated towns alone.

To train them again::

    foldmap train street --town --steps 3000 -o FOLDER
    foldmap train street --town --steps 1200 --update --start FOLDER/model.safetensors -o OTHER
"""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from foldmap.atlas.shelf import Shelf
from foldmap.errors import ModelError

if TYPE_CHECKING:
    from foldmap.street.field.model import FieldEmbedding

NAMES = {False: "street-field-1", True: "street-update-1"}
"""Files of the shipped models: the one that embeds, and the one that compares images with a map."""

LEAST_CHANGE = 0.6
"""Confidence from which the shipped model's changes count where it doubts lanes (`changes.detect.doubt`), as it does in
ortho images: it has seen generated towns alone. Set on seven of the recorded tiles, scored on the other seven.
"""
READ = 0.012
"""Where it doubts the map's lanes no more than this it reads what it sees, and less confidence is enough."""


def weights_folder() -> Path:
    """Where the shipped models lie."""
    return Path(str(resources.files("foldmap.street"))) / "weights"


def shelf() -> Shelf:
    """The shipped models, which files name instead of holding."""
    return Shelf(weights_folder())


def default_model(update: bool = False, folder: Path | None = None) -> FieldEmbedding:
    """Load a shipped model: the one that embeds, or with `update` the one whose network takes a map and finds changes.

    It is read from `folder` where one is given. ModelError: it is not installed, it is damaged, or it is the other one.
    """
    from foldmap.street.field.model import FieldEmbedding

    path = (folder or weights_folder()) / f"{NAMES[update]}.safetensors"
    more = " --update" if update else ""
    cure = f"train one (foldmap train street{more} -o DIR) and give it with --model"
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the default street model {NAMES[update]} is not installed", cure) from error
    model = FieldEmbedding.from_payload(payload)
    if model.network.shape.with_map != update:
        raise ModelError(f"{path.name} is {'no' if update else 'a'} model that takes a map", cure)
    return replace(model, least_change=LEAST_CHANGE, reads=READ) if update else model
