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
from foldmap.lidar.mapping.spin import EITHER, Turn, put_together, spin_named, thinned
from foldmap.lidar.marks.unfold import MarksMap
from foldmap.lidar.observation import OWN_VEHICLE_M
from foldmap.lidar.source import Sweep
from foldmap.localize.lidar.whole_map import Coarse, WholeMap
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray

SIGHT_M = 40.0
"""Returns farther away are left out, as they are of maps."""
_POINT_M = 0.25
_LEAST_POINTS = 60  # in cells: open country tells no place
_AROUND_M = 8.0  # what stands is weighed against how much stands around
_COARSE = Coarse(0.8, 160, SIGHT_M, SIGHT_M)
TURN_RAD = math.radians(0.75)
"""Between the headings at which a sweep is laid on an outline."""
_GROUND_M, _CELL_M, _SIDE = 0.12, 0.5, 168
_SEEN_THROUGH = 4.0  # as much as what is seen is what the map has and one sees through
_SURE, _FITS = (0.5, 0.95), (0.4, 0.9)
"""Least shares, explained and confirmed, of a match that is sure, and of one at all.

Right places of `kitti-drive0001` are confirmed by 0.98 and more, wherever in the map they are; other places of that
street, which explain up to 0.73, by 0.92 at most.
"""
_CLOSE = 0.7
"""Share explained from which on a pose is worth its covariance: at a map's end what is far alone is laid on it."""
_SIGMA_M, _MOST_SIGMA_M, _SIGMA_RAD = 0.08, 2.0, math.radians(0.5)


@dataclass(frozen=True)
class Around:
    """What is around a vehicle within 40 m, in its frame, x ahead and y left.

    Standing is the centres (N, 2) of the cells of a quarter metre in which something stands. Of cells of half a metre,
    bool (S, S), x first, the vehicle in the middle, full says that something stands there or beside, open that it is
    ground.
    """

    standing_m: DoubleArray
    full: BoolArray
    open: BoolArray

    @staticmethod
    def of(sweep: Sweep) -> Around:
        """Look around in one sweep; more of them laid together say no more, as each sees what is far a little else."""
        points = set_upright(sweep, SE3.from_se2(SE2(0.0, 0.0, 0.0))).points_sensor_m
        range_m = np.hypot(points[:, 0], points[:, 1])
        near, height_m = (range_m > OWN_VEHICLE_M) & (range_m < SIGHT_M), height_above_ground(points)
        xy = points[:, :2].astype(np.float64)
        standing, ground = xy[near & upright(height_m)], xy[near & (np.abs(height_m) < _GROUND_M)]
        cells = (np.unique(np.floor(standing / _POINT_M), axis=0) + 0.5) * _POINT_M
        return Around(cells, ndimage.binary_dilation(_drawn(standing), np.ones((3, 3))), _drawn(ground))

    @property
    def tells(self) -> bool:
        """Whether there is enough to tell a place by."""
        return len(self.standing_m) >= _LEAST_POINTS


@dataclass(frozen=True)
class OutlineMatch:
    """A pose (world_SE2_vehicle) by what stands, and its covariance (3, 3).

    Explained is the share of what is seen standing that stands in the map; confirmed is, of what stands in the map and
    is in view, the share that is seen standing. Where a place only looks alike, one sees through much of the map's.
    """

    pose: SE2
    covariance: DoubleArray
    explained: float
    confirmed: float

    @property
    def fits(self) -> bool:
        """Whether it is a match at all."""
        return self._reaches(_FITS)

    @property
    def sure(self) -> bool:
        """Whether no other place looks so."""
        return self._reaches(_SURE)

    @property
    def close(self) -> bool:
        """Whether the covariance can be relied on."""
        return self.sure and self.explained >= _CLOSE

    @property
    def worth(self) -> float:
        """By which matches of one sweep are compared."""
        return self.explained - _SEEN_THROUGH * (1.0 - self.confirmed)

    def _reaches(self, least: tuple[float, float]) -> bool:
        return self.explained >= least[0] and self.confirmed >= least[1]


class OutlineMatcher:
    """Lays what a vehicle sees standing on a map's outline."""

    def __init__(self, folded: MarksMap) -> None:
        self.folded = folded
        self._drawn: tuple[float, float, FloatArray] | None = None

    def match(self, seen: Around, prior: SE2, radius_m: float = 1.0, turns: int = 4) -> OutlineMatch | None:
        """Find the best pose within a radius of a prior (along the map's axes) and some turns of 0.75 degrees.

        None where too little is seen.
        """
        if not seen.tells:
            return None
        west_m, north_m, image = self._window(prior, radius_m)
        reach = math.ceil(radius_m / _POINT_M)
        headings_rad = prior.heading_rad + TURN_RAD * np.arange(-turns, turns + 1)
        scores = np.stack(
            [
                _scores(seen.standing_m, SE2(prior.x_m, prior.y_m, turn), west_m, north_m, image, reach)
                for turn in headings_rad
            ]
        )
        best = [int(one) for one in np.unravel_index(int(scores.argmax()), scores.shape)]
        (turn, down, right), curved = _peak(scores, best)
        pose = SE2(
            prior.x_m + (right - reach) * _POINT_M,
            prior.y_m - (down - reach) * _POINT_M,
            float(prior.heading_rad + TURN_RAD * (turn - turns)),
        )
        return OutlineMatch(pose, _covariance(curved), float(scores.max()), self._confirmed(seen, pose))

    def missing(self, sweep: Sweep, turn: Turn, near: SE2) -> list[float] | None:
        """Of what stands around near a pose, the share that the map has not, once put together each way (`EITHER`).

        None where no way makes a match that is sure.
        """
        ways = [Around.of(put_together(thinned(sweep), spin, turn)) for spin in EITHER]
        found = [one for seen in ways if (one := self.match(seen, near)) is not None]
        sure = len(found) == len(EITHER) and any(one.sure for one in found)
        return [1.0 - one.explained for one in found] if sure else None

    def _confirmed(self, seen: Around, pose: SE2) -> float:
        """Of what stands in the map and is in view, the share that is seen standing; 0 where none is in view."""
        marks_m = pose.inverse().apply(self.folded.marks_near(pose.x_m, pose.y_m, SIGHT_M))
        at = _cells_of(marks_m[np.hypot(marks_m[:, 0], marks_m[:, 1]) < SIGHT_M])
        full, through = int(seen.full[at].sum()), int((seen.open[at] & ~seen.full[at]).sum())
        return full / max(full + through, 1)

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
        self.spin = spin_named(folded.parameters.get("sweeps"))
        self._whole = WholeMap(folded, _COARSE)

    @property
    def fits(self) -> bool:
        """Whether the map is small enough to be searched whole; any map is small enough to be looked at somewhere."""
        return self._whole.fits

    @property
    def idle(self) -> bool:
        """Whether nothing is being searched."""
        return self._whole.idle

    def begin(self, seen: Around) -> bool:
        """Start with what is seen; False where it is too little to tell a place."""
        if not seen.tells:
            return False
        points_m = seen.standing_m
        side = math.ceil(2 * SIGHT_M / _COARSE.cell_m) | 1
        pixels = np.floor(np.stack([-points_m[:, 1], points_m[:, 0]]) / _COARSE.cell_m + 0.5 * side).astype(np.int64)
        image = np.zeros((side, side), np.float32)
        image[tuple(np.clip(pixels, 0, side - 1))] = 1.0
        even = ndimage.uniform_filter(image, 2 * round(_AROUND_M / _COARSE.cell_m) + 1)
        self._whole.begin_image(ndimage.gaussian_filter(image, 0.5) - even, lambda poses: self._finely(seen, poses))
        return True

    def advance(self, headings: int) -> list[SE2]:
        """Search so many more headings; when all are done the best poses, the likeliest first, and `idle` again."""
        return self._whole.advance(headings)

    def locate(self, seen: Around) -> list[OutlineMatch]:
        """All headings at once: the matches that fit, the best first."""
        poses = self.advance(_COARSE.headings) if self.begin(seen) else []
        return self._fitting(seen, poses, 1.0, 4)

    def _finely(self, seen: Around, poses: list[SE2]) -> list[SE2]:
        return [one.pose for one in self._fitting(seen, poses, 0.75, 2)[:4]]

    def _fitting(self, seen: Around, poses: list[SE2], radius_m: float, turns: int) -> list[OutlineMatch]:
        found = [self.matcher.match(seen, pose, radius_m, turns) for pose in poses]
        return sorted((one for one in found if one is not None and one.fits), key=lambda one: -one.worth)


def _drawn(points_m: DoubleArray) -> BoolArray:
    """The cells of half a metre that hold points."""
    image = np.zeros((_SIDE, _SIDE), np.bool_)
    image[_cells_of(points_m)] = True
    return image


def _cells_of(points_m: DoubleArray) -> tuple[IntArray, IntArray]:
    """Where points in sight lie in an image of cells of half a metre."""
    at = np.clip(np.floor(points_m / _CELL_M).astype(np.int64) + _SIDE // 2, 0, _SIDE - 1)
    return at[:, 0], at[:, 1]


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
    """By how sharply a match falls off along its two axes: 8 cm where it does within a cell, wide along bare walls."""
    values, axes = np.linalg.eigh(curved)
    sigmas_m = np.clip(_SIGMA_M / np.sqrt(np.maximum(values, 1e-6)), _SIGMA_M, _MOST_SIGMA_M)
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = axes @ np.diag(sigmas_m**2) @ axes.T
    covariance[2, 2] = _SIGMA_RAD**2
    return covariance
