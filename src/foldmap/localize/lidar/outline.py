"""Where by what stands beside the road: the upright returns of a sweep, laid on a map's outline.

Sweeps tell where they are without a prior: walls, poles and trees within 40 m lie so in one place of a town alone.
Where paint is the same along a whole street, they also say how far along it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from foldmap.geometry import SE2, SE3, MetricGrid
from foldmap.lidar.mapping.ground import height_above_ground
from foldmap.lidar.mapping.lean import upright as set_upright
from foldmap.lidar.mapping.moving import upright
from foldmap.lidar.marks.unfold import MarksMap
from foldmap.lidar.observation import OWN_VEHICLE_M
from foldmap.lidar.source import Sweep
from foldmap.localize.lidar.whole_map import Coarse, WholeMap
from foldmap.types import DoubleArray, FloatArray

SIGHT_M = 40.0
"""Returns farther away are left out, as they are of maps."""
_POINT_M = 0.25
_LEAST_POINTS = 60  # in cells: open country tells no place
_AROUND_M = 8.0  # what stands is weighed against how much stands around
_COARSE = Coarse(0.8, 160, SIGHT_M, SIGHT_M)
_TURN_RAD = math.radians(0.75)
_STANDS, _FITS = 0.7, 0.45
"""Shares of what is seen standing that stands in the map, too: from which on a match is sure, and is one at all.

Right places of two recorded streets give 0.71 to 0.88, at a map's very ends 0.53; other places of the same street up to
0.66, the best places of the other street's whole map 0.25 and 0.43.
"""
_SIGMA_M, _MOST_SIGMA_M, _SIGMA_RAD = 0.1, 2.0, math.radians(0.5)


@dataclass(frozen=True)
class OutlineMatch:
    """A pose (world_SE2_vehicle) by what stands, its covariance (3, 3), and which share of what is seen the map has."""

    pose: SE2
    covariance: DoubleArray
    explained: float

    @property
    def fits(self) -> bool:
        """Whether it is a match at all."""
        return self.explained >= _FITS

    @property
    def sure(self) -> bool:
        """Whether no other place explains as much."""
        return self.explained >= _STANDS


def standing_points(sweep: Sweep) -> DoubleArray:
    """What stands around a sweep: centres (N, 2) of the cells of a quarter metre that are full, in its vehicle frame.

    Several sweeps laid together say no more: what is far is seen from one side, and a little differently from each.
    """
    points = set_upright(sweep, SE3.from_se2(SE2(0.0, 0.0, 0.0))).points_sensor_m
    range_m = np.hypot(points[:, 0], points[:, 1])
    kept = upright(height_above_ground(points)) & (range_m > OWN_VEHICLE_M) & (range_m < SIGHT_M)
    cells = np.unique(np.floor(points[kept, :2].astype(np.float64) / _POINT_M), axis=0)
    points_m: DoubleArray = (cells + 0.5) * _POINT_M
    return points_m


class OutlineMatcher:
    """Lays what a vehicle sees standing on a map's outline."""

    def __init__(self, folded: MarksMap) -> None:
        self.folded = folded
        self._drawn: tuple[float, float, FloatArray] | None = None

    def match(self, points_m: DoubleArray, prior: SE2, radius_m: float = 1.0, turns: int = 4) -> OutlineMatch | None:
        """Find the best pose within a radius of a prior (of its axes) and so many steps of 0.75 degrees to each side.

        ``points_m`` are `standing_points`. None where too little is seen.
        """
        if len(points_m) < _LEAST_POINTS:
            return None
        west_m, north_m, image = self._window(prior, radius_m)
        reach = math.ceil(radius_m / _POINT_M)
        headings_rad = prior.heading_rad + _TURN_RAD * np.arange(-turns, turns + 1)
        scores = np.stack(
            [_scores(points_m, SE2(prior.x_m, prior.y_m, turn), west_m, north_m, image, reach) for turn in headings_rad]
        )
        best = [int(one) for one in np.unravel_index(int(scores.argmax()), scores.shape)]
        (turn, down, right), curved = _peak(scores, best)
        pose = SE2(
            prior.x_m + (right - reach) * _POINT_M,
            prior.y_m - (down - reach) * _POINT_M,
            float(prior.heading_rad + _TURN_RAD * (turn - turns)),
        )
        return OutlineMatch(pose, _covariance(curved), float(scores.max()))

    def _window(self, prior: SE2, radius_m: float) -> tuple[float, float, FloatArray]:
        """West and north of a square around a prior, and the map's outline in it: 1 where a cell is full."""
        half_m = SIGHT_M + radius_m + 4.0
        if self._drawn is not None:
            west_m, north_m, image = self._drawn
            inside = min(prior.x_m - west_m, north_m - prior.y_m) - (SIGHT_M + radius_m + 1.0)
            beyond = len(image) * _POINT_M - max(prior.x_m - west_m, north_m - prior.y_m) - (SIGHT_M + radius_m + 1.0)
            if min(inside, beyond) >= 0:
                return self._drawn
        cell_m, grid = self.folded.cell_m, self.folded.grid
        cells = math.ceil(2 * half_m / cell_m)
        row = math.floor((grid.north_m - prior.y_m - half_m) / cell_m)
        col = math.floor((prior.x_m - half_m - grid.west_m) / cell_m)
        window = grid.window(row, col, cells, cells)
        drawn, _ = self.folded.embedding(window)
        image = _finer(drawn[0], cell_m, window)
        self._drawn = window.west_m, window.north_m, image
        return self._drawn


class WholeOutline:
    """Searches all of an outline for what a vehicle sees, some headings at a time."""

    def __init__(self, folded: MarksMap) -> None:
        self.matcher = OutlineMatcher(folded)
        self._whole = WholeMap(folded, _COARSE)

    @property
    def fits(self) -> bool:
        """Whether the map is small enough to be searched whole; any map is small enough to be looked at somewhere."""
        return self._whole.fits

    @property
    def idle(self) -> bool:
        """Whether nothing is being searched."""
        return self._whole.idle

    def begin(self, points_m: DoubleArray) -> bool:
        """Start with what is seen; False where it is too little to tell a place."""
        if len(points_m) < _LEAST_POINTS:
            return False
        side = math.ceil(2 * SIGHT_M / _COARSE.cell_m) | 1
        pixels = np.floor(np.stack([-points_m[:, 1], points_m[:, 0]]) / _COARSE.cell_m + 0.5 * side).astype(np.int64)
        image = np.zeros((side, side), np.float32)
        image[tuple(np.clip(pixels, 0, side - 1))] = 1.0
        even = ndimage.uniform_filter(image, 2 * round(_AROUND_M / _COARSE.cell_m) + 1)
        self._whole.begin_image(ndimage.gaussian_filter(image, 0.5) - even, lambda poses: self._finely(points_m, poses))
        return True

    def advance(self, headings: int) -> list[SE2]:
        """Search so many more headings; when all are done the best poses, the likeliest first, and `idle` again."""
        return self._whole.advance(headings)

    def _finely(self, points_m: DoubleArray, poses: list[SE2]) -> list[SE2]:
        found = [self.matcher.match(points_m, pose, 0.75, 2) for pose in poses]
        fitting = [one for one in found if one is not None and one.fits]
        return [one.pose for one in sorted(fitting, key=lambda one: -one.explained)[:4]]


def _finer(cells: FloatArray, cell_m: float, window: MetricGrid) -> FloatArray:
    """An outline in pixels of a quarter metre, from its window's corner on."""
    count = math.floor(window.width_px * cell_m / _POINT_M)
    at = np.minimum(((np.arange(count) + 0.5) * _POINT_M / cell_m).astype(np.int64), len(cells) - 1)
    fine: FloatArray = cells[np.ix_(at, at)]
    return fine


def _scores(
    points_m: DoubleArray, pose: SE2, west_m: float, north_m: float, image: FloatArray, reach: int
) -> FloatArray:
    """The share of points that lie in full cells, at every shift of pixels up to ``reach``: (2 reach + 1,) squared."""
    world_m = pose.apply(points_m)
    row = np.floor((north_m - world_m[:, 1]) / _POINT_M).astype(np.int64)
    col = np.floor((world_m[:, 0] - west_m) / _POINT_M).astype(np.int64)
    shifts = np.arange(-reach, reach + 1)
    flat = (row * image.shape[1] + col)[:, None] + shifts  # along rows; a window leaves room for all shifts
    counts = [np.take(image.ravel(), flat + down * image.shape[1], mode="clip").mean(0) for down in shifts]
    return np.stack(counts).astype(np.float32)


def _peak(scores: FloatArray, at: Sequence[int]) -> tuple[tuple[float, float, float], DoubleArray]:
    """The best index, refined by parabolas along each axis, and how the scores curve over rows and columns (2, 2)."""
    refined = list[float]()
    for axis in range(3):
        first, second = (one for k, one in enumerate(at) if k != axis)
        line, k = np.moveaxis(scores, axis, 0)[:, first, second], at[axis]
        shift = 0.0
        if 0 < k < len(line) - 1:
            before, here, after = (float(line[k + d]) for d in (-1, 0, 1))
            bend = 2 * here - before - after
            shift = 0.0 if bend <= 0 else 0.5 * (after - before) / bend
        refined.append(k + min(max(shift, -0.5), 0.5))
    plane = scores[at[0]]
    span = 2
    down = np.clip(np.arange(at[1] - span, at[1] + span + 1), 0, plane.shape[0] - 1)
    right = np.clip(np.arange(at[2] - span, at[2] + span + 1), 0, plane.shape[1] - 1)
    near = plane[np.ix_(down, right)].astype(np.float64)
    dy, dx = (one.ravel() for one in np.meshgrid(*[np.arange(-span, span + 1) * _POINT_M] * 2, indexing="ij"))
    fit = np.stack([np.ones_like(dx), dx, dy, dx * dx, dx * dy, dy * dy], 1)
    _, _, _, xx, xy, yy = np.linalg.lstsq(fit, near.ravel(), rcond=None)[0]
    curved = np.array([[-2 * xx, xy], [xy, -2 * yy]])  # north is up, rows go down
    return (refined[0], refined[1], refined[2]), curved / max(float(plane.max()), 1e-6)


def _covariance(curved: DoubleArray) -> DoubleArray:
    """By how sharply a match falls off along its two axes: 10 cm where it does within a cell, wide along bare walls."""
    values, axes = np.linalg.eigh(curved)
    sigmas_m = np.clip(_SIGMA_M / np.sqrt(np.maximum(values, 1e-6)), _SIGMA_M, _MOST_SIGMA_M)
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = axes @ np.diag(sigmas_m**2) @ axes.T
    covariance[2, 2] = _SIGMA_RAD**2
    return covariance
