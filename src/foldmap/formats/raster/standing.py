"""The band of a built map that says where something upright stands, as a source of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from foldmap.errors import MapInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.source import RasterMap

STANDING = "standing"
"""What the band is called in the file."""
SWEEPS = "SWEEPS"
"""The tag that says how sweeps were put together, where nothing told the times of their points."""


class StandingFiles:
    """The bands of some files on one grid as a `RasterSource`: 1 where something stands; where two are, either."""

    def __init__(self, grid: MetricGrid, datasets: Sequence[tuple[Any, int]]) -> None:
        self.grid, self._datasets = grid, datasets

    @property
    def sweeps(self) -> str:
        """How the sweeps of all files were put together (`foldmap.lidar.mapping.spin`); empty where nothing says so."""
        words = {str(dataset.tags().get(SWEEPS, "")) for dataset, _ in self._datasets}
        return words.pop() if len(words) == 1 else ""

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        """Read a window, which may reach beyond the files; a MapInputError where a file is damaged there."""
        stands, known = np.zeros((height_px, width_px), np.float32), np.zeros((height_px, width_px), np.bool_)
        wanted = self.grid.window(row, col, height_px, width_px)
        for dataset, band in self._datasets:
            left, _, _, top = dataset.bounds
            down = round((top - wanted.north_m) / self.grid.resolution_m)  # of the window's corner in this file
            right = round((wanted.west_m - left) / self.grid.resolution_m)
            rows = slice(max(down, 0), min(down + height_px, dataset.height))
            columns = slice(max(right, 0), min(right + width_px, dataset.width))
            if rows.start >= rows.stop or columns.start >= columns.stop:
                continue
            try:
                raw = dataset.read(band, window=Window.from_slices(rows, columns))
            except RasterioError as error:
                raise MapInputError(f"{dataset.name} cannot be read: {error}", "build the map again") from error
            inside = np.s_[rows.start - down : rows.stop - down, columns.start - right : columns.stop - right]
            known[inside] |= raw != dataset.nodata
            stands[inside][(raw != dataset.nodata) & (raw > 0)] = 1.0
        return RasterMap(wanted, stands, known)


@contextmanager
def open_standing(paths: Sequence[Path], grid: MetricGrid) -> Iterator[StandingFiles | None]:
    """Open the bands of maps that are on one grid; None where no map has one."""
    with ExitStack() as opened:
        datasets = [opened.enter_context(rasterio.open(path)) for path in paths]
        found = [
            (one, one.descriptions.index(STANDING) + 1)
            for one in datasets
            if STANDING in one.descriptions and one.nodata is not None
        ]
        yield StandingFiles(grid, found) if found else None
