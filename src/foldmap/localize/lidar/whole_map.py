"""Where in a whole map of marks: one observation at every place and heading, coarsely, some headings at a time.

The marks, counted in cells of 0.4 m, are correlated with the pooled contrast of the observation (FFT, in blocks). A
score is divided by the root of the marks around: where there are many, chance gives more. The best are scored again at
full resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import fft

from foldmap.geometry import SE2, MetricGrid, wrap_rad
from foldmap.lidar.marks.unfold import MarksMap
from foldmap.lidar.match.rotate import turned_images
from foldmap.lidar.observation import Observation, extent_of
from foldmap.localize.lidar.marks import MarksMatcher
from foldmap.types import AnyArray, FloatArray

AROUND_M = 100.0
MOST_BLOCKS = 16
_BLOCK_PX = 1024
_SPOT_PX = 16  # of so many cells square, at one heading, only the best counts
_SPOTS = 4  # of a block at one heading
_EVEN_MARKS = 50.0
_COARSE, _CANDIDATES = 64, 16
_FINE_M, _FINE_RAD = 0.4, np.radians((-1.0, 0.0, 1.0))
_SAME_M, _SAME_RAD = 3.0, 0.3


@dataclass(frozen=True)
class Coarse:
    """How coarsely a whole map is searched.

    Attributes:
        cell_m, headings: that are searched.
        sight_m: how far an observation reaches to any side; that of ground where None.
        disk_m: radius in which the marks around a place are counted.
    """

    cell_m: float = 0.4
    headings: int = 240
    sight_m: float | None = None
    disk_m: float = 12.0


class _Block(NamedTuple):
    """A square of map: its marks' transform, one over the root of the marks around each centre, and its corner."""

    transform: AnyArray
    scale: FloatArray
    west_m: float
    north_m: float


_AROUND = Coarse(headings=120)


class WholeMap:
    """Searches all of a map, or a part of it, for an observation, again and again; `fits` says what is small enough."""

    def __init__(self, folded: MarksMap, coarse: Coarse | None = None, part: MetricGrid | None = None) -> None:
        self._folded, self._coarse = folded, coarse or Coarse()
        self._finely: Callable[[list[SE2]], list[SE2]] = lambda poses: poses[:_CANDIDATES]
        self._side = _sight_px(folded.grid.resolution_m, self._coarse)
        self._size, self._corners = _blocks_of(part or folded.grid, self._side, self._coarse.cell_m)
        self._blocks: list[_Block] | None = None  # made when they are first asked for
        self._turned: FloatArray | None = None
        self._next = 0
        self._found: list[tuple[float, SE2]] = []

    @property
    def fits(self) -> bool:
        """Whether the map has no more than `MOST_BLOCKS` blocks: of marks about 2.7 km2."""
        return len(self._corners) <= MOST_BLOCKS

    @property
    def idle(self) -> bool:
        """Whether nothing is being searched."""
        return self._turned is None

    def begin(self, observation: Observation) -> None:
        """Start with an observation, whatever was searched before."""
        pool = max(1, round(self._coarse.cell_m / observation.resolution_m))
        image = self._folded.embed_observation(observation)[0]
        height, width = (side // pool * pool for side in image.shape)
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        whole = image[top : top + height, left : left + width].reshape(height // pool, pool, width // pool, pool)
        self.begin_image(whole.mean((1, 3), dtype=np.float32), partial(_finely, self._folded, observation))

    def begin_image(self, image: FloatArray, finely: Callable[[list[SE2]], list[SE2]]) -> None:
        """Start with an image in cells, forward to the right; ``finely`` picks among what is found."""
        self._finely, self._turned, self._next, self._found = finely, image[None], 0, []

    def advance(self, headings: int) -> list[SE2]:
        """Search so many more headings; when all are done the best poses, the likeliest first, and `idle` again."""
        if self._turned is None:
            return []
        if self._blocks is None:
            self._blocks = [self._block(*corner) for corner in self._corners]
        numbers = range(self._next, min(self._next + headings, self._coarse.headings))
        turns_rad = [wrap_rad(number * math.tau / self._coarse.headings) for number in numbers]
        canvas = np.zeros((self._size, self._size), np.float32)
        for turn_rad, image in zip(turns_rad, turned_images(self._turned, turns_rad, (self._side,) * 2), strict=True):
            canvas[: self._side, : self._side] = image[0]
            template = np.conj(fft.rfft2(canvas))
            for block in self._blocks:
                self._best_of(block, template, turn_rad)
        self._next += len(numbers)
        if self._next < self._coarse.headings:
            return []
        self._turned = None
        return self._finely(self._apart())

    def _best_of(self, block: _Block, template: AnyArray, turn_rad: float) -> None:
        valid = block.scale.shape[0]
        scores = fft.irfft2(block.transform * template, s=(self._size,) * 2)[:valid, :valid] * block.scale
        spots = scores.reshape(valid // _SPOT_PX, _SPOT_PX, valid // _SPOT_PX, _SPOT_PX).transpose(0, 2, 1, 3)
        within = spots.reshape(*spots.shape[:2], -1)
        best = within.max(2)
        for flat in np.argpartition(best.ravel(), -_SPOTS)[-_SPOTS:]:
            down, right = divmod(int(flat), best.shape[1])
            row, col = divmod(int(within[down, right].argmax()), _SPOT_PX)
            centre = self._side // 2 + 0.5
            x_m = block.west_m + (right * _SPOT_PX + col + centre) * self._coarse.cell_m
            y_m = block.north_m - (down * _SPOT_PX + row + centre) * self._coarse.cell_m
            self._found.append((float(best[down, right]), SE2(x_m, y_m, turn_rad)))

    def _apart(self) -> list[SE2]:
        """The best poses, none near a better one."""
        kept: list[SE2] = []
        for _, pose in sorted(self._found, key=lambda one: -one[0]):
            if not any(
                math.hypot(pose.x_m - other.x_m, pose.y_m - other.y_m) <= _SAME_M
                and abs(wrap_rad(pose.heading_rad - other.heading_rad)) <= _SAME_RAD
                for other in kept
            ):
                kept.append(pose)
            if len(kept) == _COARSE:
                break
        return kept

    def _block(self, west_m: float, north_m: float) -> _Block:
        cell_m = self._coarse.cell_m
        half_m = 0.5 * self._size * cell_m
        marks_m = self._folded.marks_near(west_m + half_m, north_m - half_m, half_m)
        cells = np.floor(np.stack([north_m - marks_m[:, 1], marks_m[:, 0] - west_m]) / cell_m).astype(np.int64)
        image = np.zeros((self._size, self._size), np.float32)
        np.add.at(image, tuple(np.clip(cells, 0, self._size - 1)), 1.0)
        transform = fft.rfft2(image)
        middle = self._side // 2
        down, right = np.ogrid[: self._size, : self._size]
        disk = (down - middle) ** 2 + (right - middle) ** 2 <= (self._coarse.disk_m / cell_m) ** 2
        around = fft.irfft2(transform * np.conj(fft.rfft2(disk.astype(np.float32))), s=image.shape)
        valid = _valid_px(self._size, self._side)
        scale = 1.0 / np.sqrt(np.maximum(around[:valid, :valid], 0.0) + _EVEN_MARKS)
        return _Block(transform, scale.astype(np.float32), west_m, north_m)


def places_around(folded: MarksMap, observation: Observation, pose: SE2) -> list[SE2]:
    """The likeliest poses within `AROUND_M` of one, along both axes, and not near it: the likeliest first."""
    grid, reach_px = folded.grid, round(AROUND_M / folded.grid.resolution_m)
    middle = np.clip(np.rint(grid.pixel_of(np.array([[pose.x_m, pose.y_m]]))[0]), 0, grid.shape).astype(int)
    first, end = np.maximum(middle - reach_px, 0), np.minimum(middle + reach_px, grid.shape)
    sides = np.maximum(end - first, 1)
    around = WholeMap(folded, _AROUND, grid.window(*first.tolist(), *sides.tolist()))
    around.begin(observation)
    found = around.advance(_AROUND.headings)
    return [one for one in found if math.hypot(one.x_m - pose.x_m, one.y_m - pose.y_m) > _SAME_M]


def _finely(folded: MarksMap, observation: Observation, poses: list[SE2]) -> list[SE2]:
    """The best of poses by what is seen of the map's marks at its own resolution."""
    radius_px, matcher = math.ceil(_FINE_M / observation.resolution_m), MarksMatcher(folded)
    peaks = []
    for pose in poses:
        near = len(folded.marks_near(pose.x_m, pose.y_m, Coarse.disk_m))
        peaks.append(matcher.peak(observation, pose, radius_px, _FINE_RAD) / math.sqrt(near + _EVEN_MARKS))
    return [poses[one] for one in np.argsort(-np.array(peaks), kind="stable")[:_CANDIDATES]]


def _sight_px(resolution_m: float, coarse: Coarse) -> int:
    """Side of a square that holds an observation at any heading, odd."""
    sight_m = math.hypot(*extent_of(resolution_m)) if coarse.sight_m is None else coarse.sight_m
    return math.ceil(2 * sight_m / coarse.cell_m) | 1


def _valid_px(size: int, side: int) -> int:
    """Places of a block that its own marks tell of, in whole spots."""
    return (size - side + 1) // _SPOT_PX * _SPOT_PX


def _blocks_of(grid: MetricGrid, side: int, cell_m: float) -> tuple[int, list[tuple[float, float]]]:
    """Side of a block in cells, and the west and north of each; together their places are those of the map.

    ``side`` is that of an observation.
    """
    lengths_px = [count * grid.resolution_m / cell_m for count in (grid.width_px, grid.height_px)]
    wanted = math.ceil(max(lengths_px)) + side + _SPOT_PX
    size = min(int(fft.next_fast_len(wanted, real=True)), _BLOCK_PX)
    valid_m, before_m = _valid_px(size, side) * cell_m, side // 2 * cell_m
    across, down = (math.ceil(length_px * cell_m / valid_m) for length_px in lengths_px)
    return size, [
        (grid.west_m - before_m + col * valid_m, grid.north_m + before_m - row * valid_m)
        for row, col in product(range(down), range(across))
    ]
