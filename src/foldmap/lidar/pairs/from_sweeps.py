"""Training pairs from a real drive: a few aggregated sweeps against the map of the drive's other frames."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2, SE3, MetricGrid
from foldmap.lidar.observation import aggregate, rasterize
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.lidar.source import RasterMap, Sweep
from foldmap.types import BoolArray, FloatArray

_KEPT_PAIRS = 256


@dataclass(frozen=True)
class _Frame:
    points_vehicle_m: FloatArray
    intensity: FloatArray
    world_SE2_vehicle: SE2


class SweepPairs(Sequence[RasterPair]):
    """One pair a frame: the frame with its neighbours as query, all frames but the nearest ones as map.

    Sweeps next to the query share rings and noise with it and would flatter whatever is trained, so ``guard`` frames on
    each side of the query stay out of its map. Of the sweeps (in driving order) ground returns up to ``max_range_m``
    are kept. Queries are taken from a share of the drive, from and to; maps always are of the whole drive.
    """

    def __init__(
        self,
        sweeps: Iterable[Sweep],
        world_SE3_sensors: Sequence[SE3],
        resolution_m: float,
        *,
        aggregate_sweeps: int = 5,
        guard: int = 15,
        map_px: int = 640,
        sweep_px: int = 480,
        max_range_m: float = 20.0,
        share: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        if aggregate_sweeps < 1 or guard < 0 or not 16 <= sweep_px <= map_px or not 0 <= share[0] < share[1] <= 1:
            raise ConfigError("the pairs' sizes are impossible", "give positive counts, and the map the larger crop")
        self._frames = [_ground(s, p, max_range_m) for s, p in _paired(sweeps, world_SE3_sensors)]
        self._resolution_m, self._aggregate, self._guard = resolution_m, aggregate_sweeps, guard
        self._map_px, self._sweep_px = map_px, sweep_px
        self._check_length()
        self._take(*share)

    def part(self, low: float, high: float) -> SweepPairs:
        """The pairs of a share of the drive, on the same frames."""
        other = copy.copy(self)
        other._take(low, high)
        return other

    def of_sizes(self, map_px: int, sweep_px: int) -> SweepPairs:
        """The same pairs with other sides of the crops, on the same frames."""
        other = copy.copy(self)
        other._map_px, other._sweep_px, other._kept = map_px, sweep_px, OrderedDict()
        return other

    def among_first(self, frames: int) -> SweepPairs:
        """The pairs of the first so many frames alone: neither queries nor maps know of the others.

        A ConfigError where they are too few.
        """
        other = copy.copy(self)
        other._frames = self._frames[:frames]
        other._check_length()
        other._take(0.0, 1.0)
        return other

    def ground(self) -> RasterMap:
        """The map of all frames, north up, in world coordinates."""
        points_m = np.concatenate(
            [f.world_SE2_vehicle.apply(f.points_vehicle_m.astype(np.float64)) for f in self._frames]
        )
        middle_m = 0.5 * (points_m.min(0) + points_m.max(0))
        half_m = 0.5 * np.ptp(points_m, axis=0) + self._resolution_m
        values = np.concatenate([frame.intensity for frame in self._frames])
        seen = rasterize(points_m - middle_m, values, self._resolution_m, float(half_m[0]), float(half_m[1]))
        west_m, north_m = middle_m[0] - seen.half_length_m, middle_m[1] + seen.half_width_m
        grid = MetricGrid(float(west_m), float(north_m), self._resolution_m, *seen.observed.shape)
        return RasterMap(grid, seen.intensity, seen.observed)

    def _check_length(self) -> None:
        if len(self._frames) <= self._aggregate + 2 * self._guard:
            raise ConfigError(
                f"{len(self._frames)} sweeps leave no map beside {self._aggregate} and guards of {self._guard}",
                "give a longer drive or a smaller guard",
            )

    def _take(self, low: float, high: float) -> None:
        starts = len(self._frames) - self._aggregate + 1
        self._starts = range(int(low * starts), max(int(high * starts), int(low * starts) + 1))
        self._kept: OrderedDict[int, RasterPair] = OrderedDict()

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: Any) -> Any:
        """One pair."""
        first = self._starts[index]
        if first not in self._kept:
            self._kept[first] = self._make(first)
            if len(self._kept) > _KEPT_PAIRS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(first)
        return self._kept[first]

    def left_out(self, first: int) -> range:
        """Frames that the map of the query starting at ``first`` does without."""
        low, high = first - self._guard, first + self._aggregate + self._guard
        return range(max(low, 0), min(high, len(self._frames)))

    def _make(self, first: int) -> RasterPair:
        anchor = self._frames[first + self._aggregate // 2].world_SE2_vehicle
        others = sorted(set(range(len(self._frames))) - set(self.left_out(first)))
        sweep = self._draw(range(first, first + self._aggregate), anchor, self._sweep_px)
        return RasterPair(*self._draw(others, anchor, self._map_px), *sweep)

    def _draw(self, frames: Iterable[int], anchor: SE2, side_px: int) -> tuple[FloatArray, BoolArray]:
        """Frames laid together in the vehicle frame of an anchor."""
        vehicle_SE2_world = anchor.inverse()
        half_m = 0.5 * side_px * self._resolution_m
        points, values = [np.zeros((0, 2))], [np.zeros(0, np.float32)]
        for index in frames:
            frame = self._frames[index]
            anchor_SE2_frame = vehicle_SE2_world @ frame.world_SE2_vehicle
            if max(abs(anchor_SE2_frame.x_m), abs(anchor_SE2_frame.y_m)) > 3 * half_m + 20:
                continue
            points.append(anchor_SE2_frame.apply(frame.points_vehicle_m.astype(np.float64)))
            values.append(frame.intensity)
        image = rasterize(np.concatenate(points), np.concatenate(values), self._resolution_m, half_m, half_m)
        return image.intensity, image.observed


def _paired(sweeps: Iterable[Sweep], poses: Sequence[SE3]) -> Iterable[tuple[Sweep, SE3]]:
    count = 0
    for count, sweep in enumerate(sweeps, start=1):
        if count > len(poses):
            break
        yield sweep, poses[count - 1]
    if count != len(poses):
        raise PoseInputError(f"{len(poses)} poses for {count} sweeps or more", "give one pose a sweep")


def _ground(sweep: Sweep, pose: SE3, max_range_m: float) -> _Frame:
    points, intensity = aggregate([sweep], [pose], 0)
    near = np.hypot(points[:, 0], points[:, 1]) <= max_range_m
    return _Frame(points[near, :2].astype(np.float32), intensity[near], pose.to_se2())
