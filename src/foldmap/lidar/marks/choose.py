"""Which cells of a map are marks: the brightest of each neighbourhood, as many everywhere, in shapes that cost few bits.

A threshold of one contrast everywhere would spend all bits where there is much paint and leave nothing where there is
little. So each cell's threshold is the least contrast with which its neighbourhood keeps to the quota of marks. Among
what passes, a Markov random field over the eight neighbours trades contrast for company: a lone cell costs the coder
several times what one more cell of a stripe does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve, uniform_filter

from foldmap.lidar.marks.contrast import contrast, odd
from foldmap.lidar.source import RasterMap
from foldmap.types import BoolArray, FloatArray

_STEP = 0.2  # between the thresholds that are tried
_PASSES = 6
_COLOURS = ((0, 0), (0, 1), (1, 0), (1, 1))  # cells of one colour are no neighbours of each other


@dataclass(frozen=True)
class MarkRecipe:
    """How marks are chosen, and how an observation is drawn to be matched with them.

    Attributes:
        cell_m: side of a cell, about; it is a whole number of pixels.
        smooth_m, window_m: of the map's contrast; see `foldmap.lidar.marks.contrast`.
        quota_m2: marks a square metre of observed ground, at most.
        block_m: side of the neighbourhood that keeps to the quota.
        least: contrast below which nothing is a mark.
        side_cost, corner_cost: contrast that a neighbour of the other kind costs, beside and at a corner.
        query_smooth_m, query_window_m: of the observation's contrast.
    """

    cell_m: float = 0.15
    smooth_m: float = 0.15
    window_m: float = 1.6
    quota_m2: float = 1.25
    block_m: float = 6.4
    least: float = 1.5
    side_cost: float = 0.1
    corner_cost: float = 0.1
    query_smooth_m: float = 0.1
    query_window_m: float = 2.0

    def cell_px(self, resolution_m: float) -> int:
        """Pixels a cell."""
        return max(1, round(self.cell_m / resolution_m))

    def reach_m(self, resolution_m: float) -> float:
        """How far from a cell the map decides whether it is a mark."""
        cells = len(_COLOURS) * _PASSES + 1
        cell_m = self.cell_px(resolution_m) * resolution_m
        return 3 * self.smooth_m + 0.5 * (self.window_m + self.block_m) + cells * cell_m


def marks_of(raster: RasterMap, recipe: MarkRecipe, floor: float) -> BoolArray:
    """Cells that are marks, bool (H / c, W / c), of a raster whose sides are multiples of c pixels a cell.

    The first row and column of cells are even ones of the whole map. The floor is that of the whole map's spread.
    """
    resolution_m, cell = raster.grid.resolution_m, recipe.cell_px(raster.grid.resolution_m)
    fine, weight, _ = contrast(
        raster.intensity, raster.observed, resolution_m, recipe.smooth_m, recipe.window_m, floor
    )
    seen = cells_of(raster.observed.astype(np.float32), cell) > 0
    total = cells_of(weight, cell)
    bright = np.divide(cells_of(fine * weight, cell), total, out=np.zeros_like(total), where=total > 0)
    threshold = _thresholds(bright, seen, recipe, cell * resolution_m)
    lead = np.where(seen, bright - threshold, -np.inf)
    return _in_company(lead, seen, recipe)


def cells_of(image: FloatArray, cell_px: int) -> FloatArray:
    """Sums over cells, float32 (H / c, W / c)."""
    height, width = (side // cell_px for side in image.shape)
    total: FloatArray = image.reshape(height, cell_px, width, cell_px).sum((1, 3), dtype=np.float32)
    return total


def _thresholds(bright: FloatArray, seen: BoolArray, recipe: MarkRecipe, cell_m: float) -> FloatArray:
    """The least contrast, from 4 down, with which the neighbourhood of a cell keeps to the quota."""
    side = odd(recipe.block_m / cell_m)

    def share(chosen: BoolArray) -> FloatArray:
        return np.asarray(uniform_filter(chosen.astype(np.float64), side, mode="constant"))

    allowed = share(seen) * recipe.quota_m2 * cell_m**2 + 1e-9
    threshold = np.full(bright.shape, 4.0, np.float32)
    for step in range(1, 1 + math.floor((4.0 - recipe.least) / _STEP + 1e-9)):
        value = 4.0 - _STEP * step
        threshold[share(seen & (bright > value)) <= allowed] = value
    return threshold


def _in_company(lead: FloatArray, seen: BoolArray, recipe: MarkRecipe) -> BoolArray:
    """Iterated conditional modes, a colour of cells at a time: what each is, given its neighbours."""
    side, corner = recipe.side_cost, recipe.corner_cost
    kernel = np.array([[corner, side, corner], [side, 0, side], [corner, side, corner]])
    neighbours = convolve(seen.astype(np.float64), kernel, mode="constant")
    marks = lead > 0
    for _ in range(_PASSES):
        for row, column in _COLOURS:
            alike = 2 * convolve(marks.astype(np.float64), kernel, mode="constant") - neighbours
            one = np.s_[row::2, column::2]
            marks[one] = seen[one] & (lead[one] + alike[one] > 0)
    return marks
