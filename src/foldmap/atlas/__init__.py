"""Level 2: the .fold file. `docs/format.md` specifies it."""

from foldmap.atlas.reader import KINDS, FoldFile, Layer, ModelInfo, TileKey
from foldmap.atlas.schema import APPLICATION_ID, FORMAT_VERSION
from foldmap.atlas.verify import verify
from foldmap.atlas.writer import FoldUpdater, FoldWriter, update

__all__ = [
    "APPLICATION_ID",
    "FORMAT_VERSION",
    "KINDS",
    "FoldFile",
    "FoldUpdater",
    "FoldWriter",
    "Layer",
    "ModelInfo",
    "TileKey",
    "update",
    "verify",
]
