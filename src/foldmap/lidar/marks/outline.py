"""What stands beside the road, as a layer of its own: by it a drive finds where in the map it begins.

Walls, poles, trees and parked cars seen from above are as sparse as marks, and are coded as marks are: in cells of half
a metre, about 10 KB a kilometre of street. Where paint is the same along a whole street, what stands beside it is not.
"""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.geometry import MetricGrid
from foldmap.lidar.marks.fold import tiles_of
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.marks.unfold import FoldedMarks
from foldmap.lidar.shipped import MODEL, OUTLINE, UPRIGHT, shelf, weights_folder
from foldmap.lidar.source import RasterSource, cells_of

CELL_M = 0.5
TILE_CELLS = 256
_CODER = "marks-fine-6"


def fold_outline(writer: FoldWriter, source: RasterSource, sweeps: str = "") -> int:
    """Fold what stands (1 of a raster, 0 where there is ground) into an open file; gives the payloads' bytes.

    A layer that is there is replaced whole. Where nothing stands anywhere, no layer is written. ``sweeps`` says how the
    map's were put together (`foldmap.lidar.mapping.spin`), and so how those are that are localized in it.
    """
    payload = (weights_folder() / f"{_CODER}.safetensors").read_bytes()
    model = MarksModel.from_bytes(payload)
    grid, cell_px = source.grid, max(1, round(CELL_M / source.grid.resolution_m))
    coded = list[tuple[int, int, bytes]]()
    side = TILE_CELLS * cell_px
    for row, column in np.ndindex(*tiles_of(source, side)):
        raster = source.read(row * side, column * side, side, side)
        stands = cells_of(raster.intensity * raster.observed, cell_px) > 0
        if stands.any():
            known = cells_of(raster.observed.astype(np.float32), cell_px * model.known_cells) > 0
            coded.append((column, row, model.encode(stands, known)))
    if not coded:
        return 0
    cells = MetricGrid(
        grid.west_m,
        grid.north_m,
        cell_px * grid.resolution_m,
        math.ceil(grid.height_px / cell_px),
        math.ceil(grid.width_px / cell_px),
        grid.crs_wkt,
    )
    said = {"cell_px": 1, "tile_cells": TILE_CELLS, "known_cells": model.known_cells, UPRIGHT: True}
    how = {"sweeps": sweeps} if sweeps else {}
    kind = {"grid": asdict(cells), "model": model.name, "codec": model.codec}
    writer.put_layer(OUTLINE, "lidar", {**kind, **said, **how})
    writer.put_model(OUTLINE, MODEL, shelf().stored(payload, embed=False) or payload, role="localizer")
    for column, row, tile in coded:
        writer.put_tile(OUTLINE, column, row, tile)
    return sum(len(tile) for *_, tile in coded)


def is_outline(file: FoldFile, layer: str) -> bool:
    """Whether a lidar layer is of what stands, and no ground."""
    return file.layer(layer).parameters.get(UPRIGHT) is True


def open_outline(file: FoldFile) -> FoldedMarks | None:
    """The layer of what stands; None where a file has none. Errors as `FoldedMarks`."""
    found = next((one.name for one in file.layers() if one.kind == "lidar" and is_outline(file, one.name)), None)
    return None if found is None else FoldedMarks(file, found)
