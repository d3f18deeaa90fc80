"""A part of the map's plane: a box, or what lies near a drive; and which tiles it reaches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import ConfigError
from foldmap.types import AnyArray, BoolArray, DoubleArray

_SEGMENTS = 256


@dataclass(frozen=True)
class Area:
    """All that is within some metres of a path, in the map's frame; of a box the path is its diagonal and is not used.

    Attributes:
        path_m: float64 (N, 2) east, north, joined by straight lines; N >= 1.
        within_m: metres.
        box_m: west, south, east, north; None: what is near the path counts.
        said: what a user said, for records.
    """

    path_m: DoubleArray
    within_m: float
    box_m: tuple[float, float, float, float] | None
    said: dict[str, Any]

    @staticmethod
    def box(text: str) -> Area:
        """A box of ``west,south,east,north``, metres; a ConfigError where it is none."""
        words = [word for word in re.split(r"[,\s]+", text.strip()) if word]
        cure = "give west,south,east,north in the map's metres"
        try:
            west, south, east, north = map(float, words)
        except ValueError as error:
            raise ConfigError(f"{text!r} is no box", cure) from error
        corners = np.array([[west, south], [east, north]])
        if not np.isfinite(corners).all() or west >= east or south >= north:
            raise ConfigError(f"the box {text!r} holds nothing", cure)
        return Area(corners, 0.0, (west, south, east, north), {"bbox": [west, south, east, north]})

    @staticmethod
    def corridor(path: Path, within_m: float) -> Area:
        """What lies within some metres of the poses of a drive, KITTI or TUM; errors as `read_poses`."""
        from foldmap.formats.poses.trajectories import read_poses
        from foldmap.formats.street.observations.track import require_metres_of_track

        if not (np.isfinite(within_m) and within_m >= 0):
            raise ConfigError(f"a corridor within {within_m} m", "give metres from 0")
        places = np.array([pose.translation_m[:2] for pose in read_poses(path).world_SE3_sensors], np.float64)
        require_metres_of_track(path, places)
        return Area(places, within_m, None, {"corridor": path.name, "within_m": within_m})

    def reaches(self, boxes_m: DoubleArray) -> BoolArray:
        """Which boxes, float64 (N, 4) west, south, east, north, have a point in the area: bool (N,)."""
        if self.box_m is not None:
            west, south, east, north = self.box_m
            return np.asarray(
                (boxes_m[:, 0] <= east) & (boxes_m[:, 2] >= west) & (boxes_m[:, 1] <= north) & (boxes_m[:, 3] >= south)
            )
        near = np.zeros(len(boxes_m), np.bool_)
        starts, ends = (self.path_m[:-1], self.path_m[1:]) if len(self.path_m) > 1 else (self.path_m, self.path_m)
        for first in range(0, len(starts), _SEGMENTS):
            piece = np.s_[first : first + _SEGMENTS]
            low = np.minimum(starts[piece], ends[piece]).min(axis=0) - self.within_m
            high = np.maximum(starts[piece], ends[piece]).max(axis=0) + self.within_m
            about = (boxes_m[:, :2] <= high).all(axis=1) & (boxes_m[:, 2:] >= low).all(axis=1) & ~near
            some = np.flatnonzero(about)
            near[some] = _distances_m(boxes_m[some], starts[piece], ends[piece]).min(axis=1, initial=np.inf) <= (
                self.within_m
            )
        return near


def _distances_m(boxes_m: DoubleArray, starts_m: DoubleArray, ends_m: DoubleArray) -> DoubleArray:
    """How far N boxes are from S lines, float64 (N, S): 0 where they meet."""
    step = ends_m - starts_m
    low, high = boxes_m[:, None, :2], boxes_m[:, None, 2:]
    found = np.where(_meet(low, high, starts_m, step), 0.0, np.inf)
    for points in (starts_m, ends_m):
        out = np.maximum(np.maximum(low - points, points - high), 0.0)
        found = np.minimum(found, np.linalg.norm(out, axis=2))
    long = np.maximum((step**2).sum(axis=1), 1e-300)
    for x, y in ((0, 1), (0, 3), (2, 1), (2, 3)):
        corner = boxes_m[:, None, [x, y]]
        along = np.clip(((corner - starts_m) * step).sum(axis=2) / long, 0.0, 1.0)
        found = np.minimum(found, np.linalg.norm(starts_m + along[..., None] * step - corner, axis=2))
    return found


def _meet(low: AnyArray, high: AnyArray, starts_m: DoubleArray, step: DoubleArray) -> BoolArray:
    """Whether lines pass through boxes: the stretch between each pair of sides is cut from what is left of the line."""
    flat = np.abs(step) < 1e-12
    safe = np.where(flat, 1.0, step)
    one, other = (low - starts_m) / safe, (high - starts_m) / safe
    beside = flat & ((starts_m < low) | (starts_m > high))
    first = np.where(flat, -np.inf, np.minimum(one, other)).max(axis=2)
    last = np.where(flat, np.inf, np.maximum(one, other)).min(axis=2)
    return np.asarray((np.maximum(first, 0.0) <= np.minimum(last, 1.0)) & ~beside.any(axis=2))
