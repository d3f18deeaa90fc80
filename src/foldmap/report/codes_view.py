"""What a lidar layer holds, drawn: its codes, and the embedding that is decoded from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foldmap.atlas import FoldFile
from foldmap.lidar.folded import open_lidar
from foldmap.lidar.shipped import LAYER
from foldmap.report.strips import code_mosaic, embedding_image, strip
from foldmap.types import ByteArray

if TYPE_CHECKING:
    from foldmap.lidar.marks.unfold import FoldedMarks
    from foldmap.lidar.unfold import FoldedLidar

PICTURE_PX = 2048


def codes_png(file: FoldFile) -> bytes:
    """The binary channels, cut to what is set; of a map larger than 2048 px around its richest tile."""
    folded = open_lidar(file)
    return code_mosaic(_cut(folded.code_image(*picture_window(file, folded))), title=file.path.name)


def _cut(codes: ByteArray) -> ByteArray:
    """The channels (K, h, w) without the empty rim."""
    rows, columns = (np.flatnonzero(codes.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    return codes[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else codes


def embedding_png(file: FoldFile) -> bytes:
    """The decoded embedding of the same window."""
    folded = open_lidar(file)
    decoded, _ = folded.embedding(folded.grid.window(*picture_window(file, folded)))
    return strip([("decoded embedding", embedding_image(decoded))], height_in=6.0)


def picture_window(file: FoldFile, folded: FoldedLidar | FoldedMarks) -> tuple[int, int, int, int]:
    """Row, column, height and width in pixels of what a picture shows."""
    grid = folded.grid
    if max(grid.shape) <= PICTURE_PX:
        return 0, 0, grid.height_px, grid.width_px
    side = folded.tile_px
    column, row = max(file.tiles(LAYER), key=lambda key: len(file.tile(LAYER, *key) or b""))
    height, width = min(PICTURE_PX, grid.height_px), min(PICTURE_PX, grid.width_px)
    top = min(max(0, row * side + side // 2 - height // 2), grid.height_px - height)
    left = min(max(0, column * side + side // 2 - width // 2), grid.width_px - width)
    return top, left, height, width
