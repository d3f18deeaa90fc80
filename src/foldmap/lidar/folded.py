"""The lidar layer of a .fold file, whatever its codec: marks, which need no network, or a learned code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foldmap.atlas import FoldFile
from foldmap.lidar.marks.model import CODEC
from foldmap.lidar.marks.unfold import FoldedMarks
from foldmap.lidar.shipped import LAYER

if TYPE_CHECKING:
    from foldmap.lidar.unfold import FoldedLidar


def open_lidar(file: FoldFile, layer: str = LAYER, *, fast: bool = True) -> FoldedLidar | FoldedMarks:
    """Open a lidar layer; ``fast`` is of learned codes.

    A LayerError where there is no such layer; a MapFormatError or ModelError where its parameters or model do not fit.
    """
    if file.layer(layer).parameters.get("codec") == CODEC:
        return FoldedMarks(file, layer)
    from foldmap.lidar.unfold import FoldedLidar  # loads the runtime of networks

    return FoldedLidar(file, layer, fast=fast)
