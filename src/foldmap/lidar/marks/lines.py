"""What goes on along a line counts less: rails, kerbs and lane lines, of which each metre tells the same.

    contrast --which way lines run around here--> direction --mean over 4 m along it--> line --a share of it off--> rest

A stripe tells where one is across it, and fills any budget of marks with that; what tells the place along a street is
faint beside it. With a share of the stripes taken off, it can compete. A prediction along the street, so to say; the
rest is left, as stripes have to tell across. What is matched with a map keeps its lines: fewer of them meet marks.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from foldmap.lidar.marks.contrast import box_sums, odd
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray

LINE_M = 4.0
"""Length of a line whose mean is taken."""
AROUND_M = 6.4
"""Half side of the square in which lines run one way."""
REACH_M = AROUND_M + LINE_M
"""How far from a cell its value depends on others, besides a cell or two."""
_DIRECTIONS = 24  # in half a turn
_STEP_M = 0.3  # between the values that make a mean: nearer ones say the same
_LEAST_HELD = 0.25  # share of a line that must be seen, lest a value be its own mean
_EVERY = 2  # cells: of so many rows and columns one says which way lines run
_UNIT = 1024  # whole numbers add up alike in any order


def less_lines(bright: FloatArray, seen: BoolArray, cell_m: float, share: float) -> FloatArray:
    """Contrast (H, W) less a share of the mean along the line through each cell, float32.

    Lines run the way in which their means are largest, of 24, in the square of `AROUND_M` around a cell.

    Args:
        bright: local contrast; of cells that are not seen 0.
        seen: where there is any (H, W).
        cell_m: side of a cell.
        share: of the mean, 0 to 1.
    """
    step, side = max(1.0, _STEP_M / cell_m), odd(2 * AROUND_M / (_EVERY * cell_m))
    reach = max(1, round(0.5 * LINE_M / (step * cell_m)))
    angles = np.pi / _DIRECTIONS * np.arange(_DIRECTIONS)
    steps = np.stack([step * np.sin(angles), step * np.cos(angles)], 1)
    some = tuple(-(-side // _EVERY) for side in bright.shape)
    most, ways = np.full(some, -1, np.int64), np.zeros(some, np.int64)
    for way in range(_DIRECTIONS):
        means = _line_means(bright, seen, steps, np.full(some, way), reach, _EVERY)
        energy = box_sums(np.rint(means * means * _UNIT).astype(np.int64), side)
        ways[energy > most] = way
        np.maximum(most, energy, out=most)
    lines = _line_means(bright, seen, steps, ways, reach, 1)
    return np.asarray(bright - np.float32(share) * lines, np.float32)


@numba.njit(nogil=True, cache=True)
def _line_means(
    values: FloatArray, seen: BoolArray, steps: DoubleArray, ways: IntArray, reach: int, every: int
) -> FloatArray:
    """Mean of what is seen of the 2 reach + 1 values of a line; 0 where that is less than `_LEAST_HELD` of them.

    Of lines through the pixels whose row and column are multiples of ``every``. ``ways`` says of squares of `_EVERY`
    pixels which row of ``steps``, down and right, leads from a value to the next.
    """
    height, width = values.shape
    means = np.zeros((-(-height // every), -(-width // every)), np.float32)
    rows, cols = np.empty((len(steps), 2 * reach + 1), np.int64), np.empty((len(steps), 2 * reach + 1), np.int64)
    for way in range(len(steps)):
        for k in range(2 * reach + 1):
            rows[way, k] = math.floor((k - reach) * steps[way, 0] + 0.5)
            cols[way, k] = math.floor((k - reach) * steps[way, 1] + 0.5)
    enough = _LEAST_HELD * (2 * reach + 1)
    for row in range(0, height, every):
        for col in range(0, width, every):
            if not seen[row, col]:
                continue
            way = ways[row // _EVERY, col // _EVERY]
            total, count = np.float32(0), 0
            for k in range(2 * reach + 1):
                r, c = row + rows[way, k], col + cols[way, k]
                if 0 <= r < height and 0 <= c < width and seen[r, c]:
                    total += values[r, c]
                    count += 1
            if count >= enough:
                means[row // every, col // every] = total / count
    return means
