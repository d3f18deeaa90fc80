"""What stands on the road: its returns are kept out of the map, and where it always stands there is no ground.

Within a sweep, ground returns beside anything upright (wheels, bumpers, feet) are dropped, wherever it moves. Over the
sweeps, every cell counts how often it was seen as ground and how often something stood there: a cell that is ground
more often has only been crossed and stays; a cell that is occupied more often is a wall, a hedge or a parked car and is
left out.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from foldmap.types import AnyArray, BoolArray, FloatArray

CELL_M = 0.25
LEAST_STANDING = 3
"""Sweeps that must have seen a cell full before it is said to stand: a car that passes fills one twice at most."""
_REACH_M = 80.0


def upright(height_m: FloatArray) -> BoolArray:
    """Returns between 0.3 and 2.5 m above the ground: what occupies the road, not the canopy above it."""
    return np.asarray((height_m > 0.3) & (height_m < 2.5))


@njit(cache=True)
def beside_upright(points: AnyArray, obstacle: AnyArray) -> AnyArray:
    """Mark the returns within one cell (0.25 m) of an upright one (``obstacle``), seen from above."""
    side = 2 * int(_REACH_M / CELL_M) + 2
    taken, half = np.zeros((side, side), np.bool_), side / 2
    for i in range(points.shape[0]):
        if obstacle[i]:
            row, col = int(np.floor(points[i, 1] / CELL_M + half)), int(np.floor(points[i, 0] / CELL_M + half))
            if 0 < row < side - 1 and 0 < col < side - 1:
                taken[row - 1 : row + 2, col - 1 : col + 2] = True
    beside = np.zeros(points.shape[0], np.bool_)
    for i in range(points.shape[0]):
        row, col = int(np.floor(points[i, 1] / CELL_M + half)), int(np.floor(points[i, 0] / CELL_M + half))
        if 0 <= row < side and 0 <= col < side:
            beside[i] = taken[row, col]
    return beside


def mostly_occupied(
    row: AnyArray, col: AnyArray, sweep: AnyArray, occupied: AnyArray, tile_px: int, cell_px: int
) -> tuple[BoolArray, BoolArray]:
    """Find the pixels of a tile that stand full more often than they are seen as ground, bool (tile_px, tile_px).

    And those among them that `LEAST_STANDING` sweeps saw full. Returns come in the order of their sweeps; votes are
    counted by cells of ``cell_px``.
    """
    cells = -(-tile_px // cell_px)
    ground, full = _count_sweeps(row, col, sweep, occupied, cells, cell_px)
    often = full > ground
    whole = np.ones((cell_px, cell_px), np.bool_)
    mostly, stands = (np.kron(one, whole)[:tile_px, :tile_px] for one in (often, often & (full >= LEAST_STANDING)))
    return mostly, stands


@njit(cache=True)
def _count_sweeps(
    row: AnyArray, col: AnyArray, sweep: AnyArray, occupied: AnyArray, cells: int, cell_px: int
) -> AnyArray:
    """Sweeps (not returns) that voted ground [0] and occupied [1] in each cell."""
    votes = np.zeros((2, cells, cells), np.int32)
    last = np.full((2, cells, cells), -1, np.int64)
    for i in range(row.size):
        kind = 1 if occupied[i] else 0
        r, c = row[i] // cell_px, col[i] // cell_px
        if last[kind, r, c] != sweep[i]:
            last[kind, r, c] = sweep[i]
            votes[kind, r, c] += 1
    return votes
