"""Which cells of a map are marks: the brightest of each neighbourhood, in shapes that cost few bits.

A mark's contrast is above the map's level, which is found for each map so that it holds a given number of marks: what
is much on smooth asphalt is little on cobbles. Where there is much paint, the threshold of a neighbourhood is higher,
lest all bits go there. Among what passes, a Markov random field over the eight neighbours trades contrast for company,
and what tells of the place along the street counts for more than its contrast (`foldmap.lidar.marks.telling`). What the
coder asks for each is weighed later, tile by tile (`foldmap.lidar.marks.thrift`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np

from foldmap.errors import MapFormatError
from foldmap.lidar.marks.contrast import box_sums, local_moments, median_spread, odd, smoothed
from foldmap.lidar.marks.lines import REACH_M as LINES_REACH_M
from foldmap.lidar.marks.lines import less_lines
from foldmap.lidar.marks.telling import REACH_M, told_by
from foldmap.lidar.source import RasterMap, RasterSource, cells_of, median_by_weight, some_blocks
from foldmap.types import BoolArray, FloatArray

_STEP = 0.2  # between the thresholds of neighbourhoods that are tried
_TOP = 4.0  # the highest of them
_LEVELS = np.arange(3.9, 0.3, -0.1)  # of a map
_PASSES = 6
_FULL_WEIGHT = 0.3  # of the Gaussian on observed pixels; what is seen through less counts less
_LEAST_HELD = 0.5  # share of a cell's window that must be observed, lest the cell be no mark
_EPSILON = 1e-6
_CLIP = 6.0  # spreads: of a reflector its line would be all


@dataclass(frozen=True)
class MarkRecipe:
    """How marks are chosen, and how an observation is drawn to be matched with them.

    Attributes:
        cell_m: side of a cell, about; it is a whole number of pixels.
        smooth_m, window_m: of the map's contrast; see `foldmap.lidar.marks.contrast`.
        marks_m2: marks a square metre of observed ground, in the whole map, before their bits are weighed.
        quota_m2: cells a square metre that may be above the threshold of a neighbourhood.
        block_m: side of the neighbourhood that keeps to the quota.
        side_cost, corner_cost: contrast that a neighbour of the other kind costs, beside and at a corner.
        query_smooth_m, query_window_m: of the observation's contrast.
        told: contrast that it is worth to tell twice as much of the place as the marks around; 0 in older models.
        price: contrast that a bit of the tile must bring; 0 in older models: bits are not weighed.
        lines: share of what goes on along a line that is taken off (`foldmap.lidar.marks.lines`); 0 in older models.
    """

    cell_m: float = 0.15
    smooth_m: float = 0.15
    window_m: float = 1.6
    marks_m2: float = 0.4
    quota_m2: float = 2.6
    block_m: float = 6.4
    side_cost: float = 0.1
    corner_cost: float = 0.1
    query_smooth_m: float = 0.1
    query_window_m: float = 2.0
    told: float = 0.0
    price: float = 0.0
    lines: float = 0.0

    def cell_px(self, resolution_m: float) -> int:
        """Pixels a cell."""
        return max(1, round(self.cell_m / resolution_m))

    def reach_m(self, resolution_m: float) -> float:
        """How far from a cell the map decides whether it is a mark."""
        cell_m = self.cell_px(resolution_m) * resolution_m
        company_m = (4 * _PASSES + 1) * cell_m
        once_m = 3 * self.smooth_m + 0.5 * (self.window_m + self.block_m) + company_m
        once_m += LINES_REACH_M if self.lines > 0 else 0.0
        return once_m + (REACH_M + 4 * cell_m + company_m if self.told > 0 else 0.0)


@dataclass(frozen=True)
class MapLevel:
    """Two numbers of a whole map, so that its tiles fold independently.

    Attributes:
        spread: the median of the local spread of its intensity, in the raster's unit: the floor of each.
        contrast: below which nothing is a mark.
    """

    spread: float
    contrast: float

    @staticmethod
    def of_layer(parameters: dict[str, Any]) -> MapLevel:
        """Read what a folded layer says of its map; a MapFormatError where it is no such numbers."""
        spread, contrast = (parameters.get(name) for name in ("spread", "contrast"))
        for value in (spread, contrast):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                wrong = f"the lidar layer's spread and contrast are {spread!r} and {contrast!r}"
                raise MapFormatError(wrong, "fold the map again")
        return MapLevel(float(spread or 0), float(contrast or 0))


def map_level(source: RasterSource, recipe: MarkRecipe) -> MapLevel:
    """Find the level at which a map holds `MarkRecipe.marks_m2`, on blocks even over it."""
    resolution_m = source.grid.resolution_m
    cell = recipe.cell_px(resolution_m)
    blocks = []
    for block in some_blocks(source):
        rows, columns = (side // cell * cell for side in block.grid.shape)
        blocks.append(_Cells.of(block.read(0, 0, rows, columns), recipe, cell))
    if not blocks:
        return MapLevel(0.0, _TOP)
    counts = [int(one.seen.sum()) for one in blocks]
    spread = median_by_weight([median_spread(one.spread, one.seen) for one in blocks], counts)
    most = recipe.marks_m2 * (cell * resolution_m) ** 2 * sum(counts)
    levels = [round(float(level), 3) for level in _LEVELS]

    def fits(contrast: float) -> bool:
        at = MapLevel(spread, contrast)
        return sum(int(one.chosen(recipe, at, cell * resolution_m).marks.sum()) for one in blocks) <= most

    below = bisect_left(levels, True, key=lambda contrast: not fits(contrast))
    return MapLevel(spread, levels[below - 1] if below else _TOP)


class ChosenCells(NamedTuple):
    """Marks of cells, bool (h, w), and contrast above the threshold, float32 (h, w), -inf where nothing can be told."""

    marks: BoolArray
    lead: FloatArray


def marks_of(raster: RasterMap, recipe: MarkRecipe, level: MapLevel) -> ChosenCells:
    """Which cells are marks, (H / c, W / c), of a raster whose sides are multiples of c pixels a cell.

    The first row and column of cells are even ones of the whole map.
    """
    cell = recipe.cell_px(raster.grid.resolution_m)
    height, width = (side // cell for side in raster.observed.shape)
    whole = ChosenCells(np.zeros((height, width), bool), np.full((height, width), -np.inf, np.float32))
    box = observed_box(raster.observed, 2 * cell)  # an even number of cells, so that they keep their colours
    if box is None:
        return whole
    within = tuple(slice(side.start // cell, side.stop // cell) for side in box)
    down, across = box
    window = raster.read(down.start, across.start, down.stop - down.start, across.stop - across.start)
    found = _Cells.of(window, recipe, cell).chosen(recipe, level, cell * raster.grid.resolution_m)
    whole.marks[within], whole.lead[within] = found
    return whole


def observed_box(observed: BoolArray, unit_px: int) -> tuple[slice, slice] | None:
    """Rows and columns that hold all that was observed, from and to multiples of a unit; None where nothing was."""
    found = []
    for axis in (1, 0):
        some = np.flatnonzero(observed.any(axis))
        if not some.size:
            return None
        end = min(-(-int(some[-1] + 1) // unit_px) * unit_px, observed.shape[1 - axis])
        found.append(slice(int(some[0]) // unit_px * unit_px, end))
    return found[0], found[1]


@dataclass(frozen=True)
class _Cells:
    """Of each cell (h, w): smoothed intensity less the local mean, the local spread, whether both can be told."""

    excess: FloatArray
    spread: FloatArray
    seen: BoolArray

    @staticmethod
    def of(raster: RasterMap, recipe: MarkRecipe, cell_px: int) -> _Cells:
        resolution_m = raster.grid.resolution_m
        values, weight = smoothed(raster.intensity, raster.observed, recipe.smooth_m / resolution_m)
        seen = cells_of(raster.observed.astype(np.float32), cell_px) > 0
        weight = np.minimum(weight, _FULL_WEIGHT)
        total = np.where(seen, cells_of(weight, cell_px), 0)
        mean = np.divide(cells_of(values * weight, cell_px), total, out=np.zeros_like(total), where=total > 0)
        side = odd(recipe.window_m / (cell_px * resolution_m))
        middle, spread = local_moments(mean, total, side)
        # At the rim of what was observed a mean of few cells makes marks of nothing.
        held = box_sums(total > 0, side) >= _LEAST_HELD * side**2
        return _Cells(mean - middle, spread, (total > 0) & held)

    def chosen(self, recipe: MarkRecipe, level: MapLevel, cell_m: float) -> ChosenCells:
        bright = (self.excess / np.maximum(self.spread, level.spread + _EPSILON)).astype(np.float32)
        if recipe.lines > 0:
            bright = np.where(self.seen, np.clip(bright, -_CLIP, _CLIP), 0)
            bright = less_lines(bright, self.seen, cell_m, recipe.lines)
        threshold = _thresholds(bright, self.seen, recipe, level.contrast, cell_m)
        lead = np.where(self.seen, bright - threshold, -np.inf).astype(np.float32)
        marks = _in_company(lead, self.seen, recipe.side_cost, recipe.corner_cost)
        if recipe.told > 0:
            lead += np.float32(recipe.told) * told_by(bright, self.seen, marks, cell_m)
            marks = _in_company(lead, self.seen, recipe.side_cost, recipe.corner_cost)
        return ChosenCells(marks, lead)


def _thresholds(bright: FloatArray, seen: BoolArray, recipe: MarkRecipe, least: float, cell_m: float) -> FloatArray:
    """The least contrast, from 4 down to the map's level, with which the neighbourhood of a cell keeps to the quota."""
    side = odd(recipe.block_m / cell_m)
    allowed = box_sums(seen, side) * (recipe.quota_m2 * cell_m**2) + 1e-6
    threshold = np.full(bright.shape, _TOP, np.float32)
    for value in [*np.arange(_TOP - _STEP, least + 1e-6, -_STEP), least]:
        threshold[box_sums(seen & (bright > value), side) <= allowed] = value
    return threshold


@numba.njit(nogil=True, cache=True)
def _in_company(lead: FloatArray, seen: BoolArray, side_cost: float, corner_cost: float) -> BoolArray:
    """Iterated conditional modes: what each cell is, given its neighbours.

    Of four colours by even and odd row and column, a pass takes one after the other: cells of one are no neighbours.
    """
    height, width = lead.shape
    marks = lead > 0
    for _ in range(_PASSES):
        changed = False
        for colour in range(4):
            for row in range(colour // 2, height, 2):
                for col in range(colour % 2, width, 2):
                    if not seen[row, col]:
                        continue
                    gain = lead[row, col]
                    for i in range(max(row - 1, 0), min(row + 2, height)):
                        for j in range(max(col - 1, 0), min(col + 2, width)):
                            if seen[i, j] and (i != row or j != col):
                                cost = side_cost if i == row or j == col else corner_cost
                                gain += cost if marks[i, j] else -cost
                    changed |= marks[row, col] != (gain > 0)
                    marks[row, col] = gain > 0
        if not changed:
            break
    return marks
