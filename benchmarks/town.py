"""Maps of a generated town of any size, as many passes would give them, rendered window by window."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
from numba import njit

from foldmap.errors import ConfigError
from foldmap.geometry import MetricGrid
from foldmap.lidar.source import RasterMap
from foldmap.town.hashing import grain_normal, unit_hash, value_noise
from foldmap.town.traffic import parked_boxes
from foldmap.town.world import TownWorld
from foldmap.types import BoolArray, FloatArray

BLOCK_PX = 512
_KEPT_BLOCKS = 12


class TownMap:
    """A multi-pass intensity map of a town, lazily rendered; a `RasterSource`.

    Blocks are rendered when a window touches them and a few are kept: memory does not grow with the map, and a pixel is
    the same whichever window it is read through. Fewer ``passes`` (their mean number) leave more noise and more holes;
    the day decides noise and which parking places stayed taken. Raises ConfigError: passes or resolution are not
    positive.
    """

    def __init__(self, world: TownWorld, resolution_m: float = 0.05, *, passes: float = 8.0, day_seed: int = 0) -> None:
        if not (passes > 0 and resolution_m > 0):
            raise ConfigError(f"a map of {passes} passes at {resolution_m} m", "give positive numbers")
        size = max(1, round(world.extent_m / resolution_m))
        half = 0.5 * world.extent_m
        self._world, self._passes, self._day_seed = world, passes, day_seed
        self.grid = MetricGrid(-half, half, resolution_m, size, size)
        self._blocks: OrderedDict[tuple[int, int], tuple[FloatArray, BoolArray]] = OrderedDict()

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        """Render a window; pixels outside the map are unobserved."""
        intensity = np.zeros((height_px, width_px), np.float32)
        observed = np.zeros((height_px, width_px), bool)
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height_px, self.grid.height_px), min(col + width_px, self.grid.width_px)
        for i in range(top // BLOCK_PX, math.ceil(max(bottom, top) / BLOCK_PX)):
            for j in range(left // BLOCK_PX, math.ceil(max(right, left) / BLOCK_PX)):
                r0, r1 = max(top, i * BLOCK_PX), min(bottom, (i + 1) * BLOCK_PX)
                c0, c1 = max(left, j * BLOCK_PX), min(right, (j + 1) * BLOCK_PX)
                if r1 <= r0 or c1 <= c0:
                    continue
                value, seen = self._block(i, j)
                inside = np.s_[r0 - i * BLOCK_PX : r1 - i * BLOCK_PX, c0 - j * BLOCK_PX : c1 - j * BLOCK_PX]
                target = np.s_[r0 - row : r1 - row, c0 - col : c1 - col]
                intensity[target], observed[target] = value[inside], seen[inside]
        return RasterMap(self.grid.window(row, col, height_px, width_px), intensity, observed)

    def _block(self, i: int, j: int) -> tuple[FloatArray, BoolArray]:
        if (i, j) in self._blocks:
            self._blocks.move_to_end((i, j))
            return self._blocks[i, j]
        grid = self.grid.window(i * BLOCK_PX, j * BLOCK_PX, BLOCK_PX, BLOCK_PX)
        ground = self._world.ground(grid)
        side = BLOCK_PX * grid.resolution_m
        low = (grid.west_m, grid.north_m - side)
        streets = self._world.streets_near(low[0] - 5, low[1] - 5, low[0] + side + 5, low[1] + side + 5)
        boxes = parked_boxes(streets, self._day_seed, 0.75 / (1.0 + self._passes))
        rendered: tuple[FloatArray, BoolArray] = _average(
            ground.reflectance, ground.kerb_m, ground.obstacle_m, boxes, i * BLOCK_PX, j * BLOCK_PX, grid.west_m,
            grid.north_m, grid.resolution_m, self._passes, self._day_seed + 7919 * self._world.seed,
        )  # fmt: skip
        self._blocks[i, j] = rendered
        if len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return rendered


@njit(cache=True)
def _average(reflectance, kerb, obstacle, boxes, row0, col0, west, north, resolution, passes, seed):
    """What averaging the passes leaves: noise that falls with their number, streaks, ragged far edges, holes."""
    height, width = reflectance.shape
    value = np.zeros((height, width), np.float32)
    seen = np.zeros((height, width), np.bool_)
    for r in range(height):
        for c in range(width):
            if obstacle[r, c] > 0.0:
                continue
            x, y = west + (c + 0.5) * resolution, north - (r + 0.5) * resolution
            count = (
                passes * math.exp(0.5 * value_noise(x / 70.0, y / 70.0, seed)) * math.exp(-max(kerb[r, c], 0.0) / 9.0)
            )
            reach = 9.0 + 4.0 * value_noise(x / 6.0, y / 6.0, seed + 1)
            if kerb[r, c] > reach or unit_hash(row0 + r, col0 + c, seed + 2) < 0.6 * math.exp(-0.9 * count):
                continue
            streak = value_noise(x / 0.12 + 3.0 * y, y / 0.35, seed + 3)
            noise = 0.07 * grain_normal(row0 + r, col0 + c, seed + 4) + 0.03 * streak
            value[r, c] = max(reflectance[r, c] + noise / math.sqrt(1.0 + 3.0 * count), 0.0)
            seen[r, c] = True
    for b in range(len(boxes)):
        _cut_box(boxes[b], value, seen, west, north, resolution)
    return value, seen


@njit(cache=True)
def _cut_box(box, value, seen, west, north, resolution):
    """Leave out the ground below a vehicle that stood there on every pass."""
    height, width = seen.shape
    reach = box[4] + box[5]
    first_r, last_r = int((north - box[1] - reach) / resolution), int((north - box[1] + reach) / resolution)
    first_c, last_c = int((box[0] - reach - west) / resolution), int((box[0] + reach - west) / resolution)
    for r in range(max(first_r, 0), min(last_r + 1, height)):
        for c in range(max(first_c, 0), min(last_c + 1, width)):
            px, py = west + (c + 0.5) * resolution - box[0], north - (r + 0.5) * resolution - box[1]
            along, across = px * box[2] + py * box[3], -px * box[3] + py * box[2]
            if abs(along) < box[4] and abs(across) < box[5]:
                value[r, c] = 0.0
                seen[r, c] = False


def town_map(extent_m: float, resolution_m: float, seed: int) -> TownMap:
    """A square map around a town's origin, rendered where it is read."""
    return TownMap(TownWorld(seed, extent_m), resolution_m, day_seed=seed)


def town_raster(extent_m: float, resolution_m: float, seed: int) -> RasterMap:
    """The same in memory."""
    source = town_map(extent_m, resolution_m, seed)
    return source.read(0, 0, *source.grid.shape)
