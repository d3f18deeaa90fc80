"""Training pairs and how a batch is cut from them: crop, turn, mirror, change gain.

A pair is a map crop and a sweep image of one place, both with the vehicle's heading along the columns, centre on
centre. In use the map lies north up, so the map is turned by a random angle here (nearest pixel, which keeps its noise
as it is) and the sweep stays in the vehicle frame; the matcher turns the sweep's embedding, as the localizer does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn import functional

from foldmap.errors import ConfigError
from foldmap.lidar.normalize import normalize, spread_of
from foldmap.lidar.source import reduced
from foldmap.types import AnyArray, BoolArray, FloatArray


@dataclass(frozen=True)
class RasterPair:
    """One place seen twice, by the map's drives and by the vehicle; both images have the heading along the columns.

    Intensities are float32, what was observed is bool, (Hm, Wm) of the map and (Hs, Ws) of the sweep; shift_px is the
    row and column of the sweep's centre on the map, from the map's centre.
    """

    map_intensity: FloatArray
    map_observed: BoolArray
    sweep_intensity: FloatArray
    sweep_observed: BoolArray
    shift_px: tuple[float, float] = (0.0, 0.0)

    def reduced(self, step: int) -> RasterPair:
        """The same in pixels ``step`` times as large, less what is left over at the lower and right rims."""
        cut = [np.array(of.shape) % step for of in (self.map_observed, self.sweep_observed)]
        row_px, column_px = (np.array(self.shift_px) + 0.5 * (cut[0] - cut[1])) / step  # centres move with the rims
        maps = reduced(_whole(self.map_intensity, step), _whole(self.map_observed, step), step)
        sweeps = reduced(_whole(self.sweep_intensity, step), _whole(self.sweep_observed, step), step)
        return RasterPair(*maps, *sweeps, (float(row_px), float(column_px)))


def _whole(image: AnyArray, step: int) -> AnyArray:
    """What of an image is whole pixels of so many."""
    height, width = (side // step * step for side in image.shape)
    return image[:height, :width]


class SomePairs(Sequence[Any]):
    """Some of the pairs of a sequence, made when they are asked for: a pair takes a few MB."""

    def __init__(self, pairs: Sequence[RasterPair], indices: Sequence[int]) -> None:
        self._pairs, self._indices = pairs, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        """One pair."""
        return self._pairs[self._indices[index]]


@dataclass(frozen=True)
class Batch:
    """What one training step sees: normalized map crops, turned, and sweep crops in the vehicle frame.

    Turned counter-clockwise by turn_rad_B, a sweep's centre lies shift_px_B2 (row, column) from the map crop's centre.
    """

    map_B2HW: Tensor
    sweep_B2HW: Tensor
    turn_rad_B: Tensor
    shift_px_B2: Tensor


@njit(cache=True, nogil=True)
def _turned(
    intensity_HW: FloatArray, observed_HW: BoolArray, turn_rad: float, centre_rc: tuple[float, float], size_px: int
) -> FloatArray:
    """Cut a square around a centre, turned counter-clockwise, nearest pixel: (2, size, size), values and mask."""
    half = (size_px - 1) / 2
    cos, sin = math.cos(turn_rad), math.sin(turn_rad)
    height, width = intensity_HW.shape
    cut = np.zeros((2, size_px, size_px), np.float32)
    for row in range(size_px):
        for col in range(size_px):
            # Output (x right, v down) to source: R(-turn) with y = -v.
            right, down = col - half, row - half
            source_col = round(cos * right - sin * down + centre_rc[1])
            source_row = round(sin * right + cos * down + centre_rc[0])
            inside = 0 <= source_row < height and 0 <= source_col < width
            if inside and observed_HW[source_row, source_col]:
                cut[0, row, col] = intensity_HW[source_row, source_col]
                cut[1, row, col] = 1.0
    return cut


class PairSampler:
    """Draws batches from pairs, the same ones for the same seed.

    The sides of the square crops are multiples of 16, the map's larger by at least twice the search radius.
    """

    def __init__(self, pairs: Sequence[RasterPair], resolution_m: float, sweep_px: int, map_px: int, seed: int) -> None:
        if len(pairs) == 0:
            raise ConfigError("there are no training pairs", "generate or name some")
        if sweep_px % 16 or map_px % 16 or map_px < sweep_px:
            raise ConfigError(f"crops of {sweep_px} and {map_px} px", "give multiples of 16, the map's the larger")
        self._pairs, self._resolution_m, self._sweep_px, self._map_px = pairs, resolution_m, sweep_px, map_px
        self._rng = np.random.default_rng(seed)

    def batch(self, size: int) -> Batch:
        """Draw a batch of `size` pairs with replacement."""
        items = [self._one() for _ in range(size)]
        maps, sweeps, turns, shifts = zip(*items, strict=True)
        return Batch(torch.cat(maps), torch.cat(sweeps), torch.tensor(turns), torch.tensor(shifts, dtype=torch.float32))

    def _one(self) -> tuple[Tensor, Tensor, float, tuple[float, float]]:
        rng = self._rng
        pair = self._pairs[int(rng.integers(len(self._pairs)))]
        sweep_intensity, sweep_observed = pair.sweep_intensity, pair.sweep_observed
        height, width = sweep_observed.shape
        for _ in range(8):  # a crop that saw something
            row = int(rng.integers(0, max(height - self._sweep_px, 0) + 1))
            col = int(rng.integers(0, max(width - self._sweep_px, 0) + 1))
            cut = np.s_[row : row + self._sweep_px, col : col + self._sweep_px]
            if sweep_observed[cut].mean() > 0.1:
                break
        seen, observed = np.zeros((2, self._sweep_px, self._sweep_px), np.float32), sweep_observed[cut]
        seen[:, : observed.shape[0], : observed.shape[1]] = sweep_intensity[cut] * observed, observed
        # Where the crop's centre lies on the map, in map pixels (integer = pixel centre).
        centre_row = row + (self._sweep_px - 1) / 2 - (height - 1) / 2 + pair.shift_px[0]
        centre_col = col + (self._sweep_px - 1) / 2 - (width - 1) / 2 + pair.shift_px[1]
        map_height, map_width = pair.map_observed.shape
        on_map = centre_row + (map_height - 1) / 2, centre_col + (map_width - 1) / 2
        jitter = rng.uniform(-0.5, 0.5, size=2) + rng.integers(-8, 9, size=2)
        turn = float(rng.uniform(-math.pi, math.pi))
        centre = on_map[0] - jitter[0], on_map[1] - jitter[1]
        maps = _turned(pair.map_intensity, pair.map_observed, turn, centre, self._map_px)
        # The jitter, seen in the turned crop: rows go south, so turning counter-clockwise is R(-turn) on (row, col).
        cos, sin = math.cos(turn), math.sin(turn)
        shift = (cos * jitter[0] - sin * jitter[1], sin * jitter[0] + cos * jitter[1])
        if rng.random() < 0.5:  # mirror both: north becomes south, a turn changes its sign
            maps, seen = maps[:, ::-1].copy(), seen[:, ::-1].copy()
            turn, shift = -turn, (-shift[0], shift[1])
        return self._normal(maps), self._normal(seen), turn, (float(shift[0]), float(shift[1]))

    def _normal(self, image_2HW: FloatArray) -> Tensor:
        """Change the response curve (gain does not matter after normalization, gamma does a little) and normalize."""
        gamma = float(self._rng.uniform(0.7, 1.4))
        top = max(float(image_2HW[0].max()), 1e-6)
        values = (np.clip(image_2HW[0], 0, None) / np.float32(top)) ** np.float32(gamma)
        spread = spread_of(values, image_2HW[1] > 0, self._resolution_m)
        return torch.from_numpy(normalize(values, image_2HW[1] > 0, self._resolution_m, max(spread, 1e-6)))[None]


def cell_weight(observed_B1HW: Tensor, downsample: int) -> Tensor:
    """Cells of the code that hold any observed ground, (B, h, w) of 0 and 1."""
    return functional.max_pool2d(observed_B1HW, downsample)[:, 0]
