"""What a lidar layer holds, drawn: its codes, and the embedding that is decoded from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foldmap.atlas import FoldFile
from foldmap.lidar.folded import open_lidar
from foldmap.lidar.shipped import LAYER
from foldmap.report.strips import code_mosaic, embedding_image, strip

if TYPE_CHECKING:
    from foldmap.lidar.marks.unfold import FoldedMarks
    from foldmap.lidar.unfold import FoldedLidar

PICTURE_PX = 2048


def codes_png(file: FoldFile) -> bytes:
    """The binary channels of the lidar layer; of a map larger than 2048 px around its richest tile."""
    folded = open_lidar(file)
    return code_mosaic(folded.code_image(*picture_window(file, folded)), title=file.path.name)


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
