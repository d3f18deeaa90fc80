"""Fields of single windows laid together in the map's frame: what a whole drive says about each place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from foldmap.errors import LimitError
from foldmap.geometry import SE2
from foldmap.street.field.lane_field import FieldSpec, heading_weights
from foldmap.types import DoubleArray, FloatArray, IntArray

MAX_CELLS = 1 << 25


@dataclass(frozen=True)
class WorldField:
    """Mean of a field over the windows that cover each cell; cell (0, 0) has its corner at (`west_m`, `south_m`).

    `value` float32 (headings, X, Y) is at the cells' centres, 0 where no window was; `windows` int64 (X, Y) is how many
    cover a cell.
    """

    west_m: float
    south_m: float
    cell_m: float
    value: FloatArray
    windows: IntArray

    def at(self, x_m: DoubleArray, y_m: DoubleArray, heading_rad: DoubleArray) -> DoubleArray:
        """Interpolated values for lanes through points with a heading; 0 outside."""
        place = np.stack([(x_m - self.west_m) / self.cell_m - 0.5, (y_m - self.south_m) / self.cell_m - 0.5])
        planes = np.stack([map_coordinates(plane, place, order=1, cval=0.0) for plane in self.value], 1)
        result: DoubleArray = (heading_weights(heading_rad, len(self.value)) * planes).sum(1)
        return result


def lay_together(fields_NCRS: Sequence[FloatArray], poses: Sequence[SE2], spec: FieldSpec) -> WorldField:
    """Average fields (headings, rows, columns) of windows at their poses, world_SE2_ego, in the map's frame.

    LimitError: the windows span more than 33 million cells.
    """
    reach = spec.window.radius_m + spec.cell_m
    centres = np.array([(pose.x_m, pose.y_m) for pose in poses])
    west, south = np.floor((centres.min(0) - reach) / spec.cell_m) * spec.cell_m
    east, north = centres.max(0) + reach
    size = (int(np.ceil((east - west) / spec.cell_m)), int(np.ceil((north - south) / spec.cell_m)))
    if size[0] * size[1] * spec.headings > MAX_CELLS:
        raise LimitError(f"a drive that spans {east - west:.0f} x {north - south:.0f} m", "give it in parts")
    total = np.zeros((spec.headings, *size), np.float32)
    windows = np.zeros(size, np.int64)
    for field, pose in zip(fields_NCRS, poses, strict=True):
        low = np.floor((np.array([pose.x_m, pose.y_m]) - reach - (west, south)) / spec.cell_m).astype(int).clip(0)
        high = np.minimum(low + int(np.ceil(2 * reach / spec.cell_m)) + 1, size)
        here = np.s_[low[0] : high[0], low[1] : high[1]]
        added, covered = _laid(field, pose, spec, (west, south), low, high)
        total[:, here[0], here[1]] += added
        windows[here] += covered
    mean: FloatArray = np.asarray(total / np.maximum(windows, 1), np.float32)
    return WorldField(float(west), float(south), spec.cell_m, mean, windows)


def _laid(
    field: FloatArray, pose: SE2, spec: FieldSpec, corner: tuple[float, float], low: IntArray, high: IntArray
) -> tuple[FloatArray, IntArray]:
    """One window on the cells from `low` to `high`: its field in world headings, and which cells it covers."""
    x = corner[0] + (np.arange(low[0], high[0]) + 0.5) * spec.cell_m
    y = corner[1] + (np.arange(low[1], high[1]) + 0.5) * spec.cell_m
    points = np.stack(np.broadcast_arrays(x[:, None], y[None, :]), -1).reshape(-1, 2)
    ego = pose.inverse().apply(points)
    headings, rows, columns = spec.shape
    row = (spec.window.ahead_m - ego[:, 0]) / spec.cell_m - 0.5
    column = (spec.window.left_m - ego[:, 1]) / spec.cell_m - 0.5
    covered = (row > -0.5) & (row < rows - 0.5) & (column > -0.5) & (column < columns - 0.5)
    out = np.zeros((headings, len(points)), np.float32)
    turn = pose.heading_rad / (2 * np.pi) * headings  # world channel c is ego channel c - turn
    low_turn = int(np.floor(turn))
    share = turn - low_turn
    place = np.stack([row[covered], column[covered]])
    own = np.stack([map_coordinates(plane, place, order=1, mode="nearest") for plane in field])
    out[:, covered] = (1 - share) * np.roll(own, low_turn, 0) + share * np.roll(own, low_turn + 1, 0)
    shape = (len(x), len(y))
    return out.reshape(headings, *shape), covered.reshape(shape).astype(np.int64)
