"""Matching by marks: every shift and heading is scored, with a few hundred points instead of two images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.geometry import SE2
from foldmap.lidar.marks.score import values_at, window_scores
from foldmap.lidar.marks.unfold import MarksMap
from foldmap.lidar.match.exhaustive import coarse_headings_rad
from foldmap.lidar.observation import Observation
from foldmap.localize.lidar.blocks import block_side_px
from foldmap.localize.lidar.chance import MIRRORS, RADIUS_M, Chance, chance_of, heading_range, trials_of
from foldmap.localize.lidar.dense import modes_of
from foldmap.localize.lidar.search import (
    FINE_RADIUS_PX,
    Overlap,
    WindowMatch,
    fine_headings,
    heading_of,
    judged,
    peak_of,
)
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray

_POOL = 4
_TURNS_RAD = np.radians(np.arange(-0.75, 0.76, 0.25))  # around a peak
_REPLICATES, _LEAST_PARTS = 64, 4
_BRIGHT = 0.5  # contrast
_FEW = 30.0  # marks that say as much as there is said beforehand
_SAMPLED_PX = 8  # what is known of the map is looked up once in so many pixels


@dataclass(frozen=True)
class _View:
    """Marks near a prior, (N, 2) in its axes, x forward and y left in metres; and the contrast of an observation."""

    marks_m: DoubleArray
    image: FloatArray
    resolution_m: float

    def inside(self) -> _View:
        """The marks that the observation would see from the prior itself.

        The same for every pose: marks that come into view or go are noise between the scores of poses.
        """
        row, col = self.pixels(0.0)
        height, width = self.image.shape
        seen = (row >= 0) & (row <= height - 1) & (col >= 0) & (col <= width - 1)
        return _View(self.marks_m[seen], self.image, self.resolution_m)

    def pixels(
        self, heading_rad: DoubleArray | float, offset_m: tuple[DoubleArray | float, DoubleArray | float] = (0.0, 0.0)
    ) -> tuple[DoubleArray, DoubleArray]:
        """Rows and columns (N,) of the marks in the image, seen from the prior turned and moved so in its axes.

        Of many poses, (S, 1) each, (S, N).
        """
        cos, sin = np.cos(heading_rad), np.sin(heading_rad)
        x, y = self.marks_m[:, 0] - offset_m[0], self.marks_m[:, 1] - offset_m[1]
        height, width = self.image.shape
        row = 0.5 * (height - 1) - (cos * y - sin * x) / self.resolution_m
        return row, 0.5 * (width - 1) + (cos * x + sin * y) / self.resolution_m

    def scores(self, heading_rad: float, radius_px: int, part_N: IntArray | None = None, parts: int = 1) -> FloatArray:
        """Sums over the marks of each part for every shift, (P, 2 R + 1, 2 R + 1): the pose's x along columns, y up."""
        cos, sin = math.cos(heading_rad), math.sin(heading_rad)
        reach = math.ceil(radius_px * (abs(cos) + abs(sin))) + 1
        row, col = self.pixels(heading_rad)
        of = np.zeros(len(row), np.int64) if part_N is None else part_N
        found = np.zeros((parts, 2 * reach + 1, 2 * reach + 1), np.float32)
        window_scores(self.image, row, col, of, found)
        # A pose moved by o sees the marks moved by -o, in its own axes.
        right, up = np.meshgrid(np.arange(-radius_px, radius_px + 1.0), np.arange(radius_px, -radius_px - 1.0, -1.0))
        down = (cos * up - sin * right).ravel() + reach
        along = reach - (cos * right + sin * up).ravel()
        turned = np.empty((parts, *right.shape), np.float32)
        for one, into in zip(found, turned, strict=True):
            into[:] = values_at(one, down, along).reshape(right.shape)
        return turned


class MarksMatcher:
    """Matches by marks. The contrast of the observation that it saw last is kept."""

    def __init__(self, folded: MarksMap) -> None:
        self.folded = folded
        self._drawn: tuple[Observation, FloatArray] | None = None

    def match(
        self, observation: Observation, prior: SE2, radius_px: int, headings_rad: DoubleArray, least_known: float
    ) -> WindowMatch | None:
        """See `WindowMatcher.match`."""
        if not np.isfinite([prior.x_m, prior.y_m, prior.heading_rad]).all():
            raise PoseInputError(f"the prior {prior} is not finite", "give a finite pose")
        if float(self._known(observation, prior)[0].mean()) < least_known:
            return None
        resolution_m = self.folded.grid.resolution_m
        view = self._view(observation, prior, 0.0).inside()
        volume = np.concatenate([view.scores(float(turn), radius_px) for turn in headings_rad])
        t, row, col = (int(i) for i in np.unravel_index(volume.argmax(), volume.shape))
        shift_m = (col - radius_px) * resolution_m, (radius_px - row) * resolution_m
        fine = fine_headings(headings_rad, t)
        near = [_View(view.marks_m - shift_m, view.image, resolution_m).scores(float(h), FINE_RADIUS_PX) for h in fine]
        heading = heading_of(np.array([one.max() for one in near]), fine)
        part_N, parts = _parts(view, heading, shift_m)
        blocks_KHW = view.scores(heading, radius_px, part_N, parts)
        row, col = peak_of(blocks_KHW)
        shift_m = (col - radius_px) * resolution_m, (radius_px - row) * resolution_m
        best = _refined(view, SE2(*shift_m, heading), part_N, parts)
        known, observed = self._known(observation, prior @ SE2(*shift_m, heading))
        overlap = Overlap(
            score=_correlation(view, heading, shift_m, self.folded.cell_px, _share(known, observed)),
            heading_spread_rad=best.heading_spread_rad,
            observed_fraction=float((known & observed).mean()),
            known_fraction=float(known.mean()),
            chance=_chance(view, float(blocks_KHW.sum(0).max()), radius_px, headings_rad),
            explained=_explained(view, heading, shift_m),
        )
        found = judged(volume, headings_rad, heading, blocks_KHW, resolution_m, overlap)
        return replace(found, offset=best.offset or found.offset)

    def candidates(self, observation: Observation, prior: SE2, radius_m: float, heading_range_rad: float) -> list[SE2]:
        """See `WindowMatcher.candidates`: every shift of a quarter of the resolution."""
        step_m = _POOL * self.folded.grid.resolution_m
        fine = self._view(observation, prior, radius_m)
        height, width = (side // _POOL * _POOL for side in fine.image.shape)
        top, left = (fine.image.shape[0] - height) // 2, (fine.image.shape[1] - width) // 2
        small = fine.image[top : top + height, left : left + width]
        small = small.reshape(height // _POOL, _POOL, width // _POOL, _POOL).mean((1, 3), dtype=np.float32)
        view = _View(fine.marks_m, small, step_m)
        if len(view.marks_m) == 0:
            return []
        headings = coarse_headings_rad(heading_range_rad, 2 * math.ceil(heading_range_rad / math.radians(1.5)) + 1)
        radius_px = math.ceil(radius_m / step_m)
        volume = np.concatenate([view.scores(float(turn), radius_px) for turn in headings])
        return [prior @ one for one in modes_of(volume, headings, radius_px, step_m)]

    def peak(self, observation: Observation, prior: SE2, radius_px: int, headings_rad: DoubleArray) -> float:
        """The best score of a small window, with nothing that judges it."""
        view = self._view(observation, prior, 0.0).inside()
        return max(float(view.scores(float(turn), radius_px).max()) for turn in headings_rad)

    def _view(self, observation: Observation, prior: SE2, radius_m: float) -> _View:
        if self._drawn is None or self._drawn[0] is not observation:
            self._drawn = observation, self.folded.embed_observation(observation)[0]
        image, resolution_m = self._drawn[1], self.folded.grid.resolution_m
        reach_m = 0.5 * math.hypot(*image.shape) * resolution_m + 1.5 * radius_m
        marks_m = self.folded.marks_near(prior.x_m, prior.y_m, reach_m)
        cos, sin = math.cos(prior.heading_rad), math.sin(prior.heading_rad)
        x, y = marks_m[:, 0] - prior.x_m, marks_m[:, 1] - prior.y_m
        return _View(np.stack([cos * x + sin * y, cos * y - sin * x], 1), image, resolution_m)

    def _known(self, observation: Observation, pose: SE2) -> tuple[BoolArray, BoolArray]:
        """Where there is map under an observation, and where something was observed, of one pixel in 8 x 8."""
        height, width = observation.observed.shape
        row, col = (axis.ravel() for axis in np.mgrid[:height:_SAMPLED_PX, :width:_SAMPLED_PX])
        ahead, left = (col - 0.5 * (width - 1)), (0.5 * (height - 1) - row)
        points = pose.apply(np.stack([ahead, left], 1) * observation.resolution_m)
        return self.folded.known_at(points), observation.observed[row, col]


def _parts(view: _View, heading_rad: float, shift_m: tuple[float, float]) -> tuple[IntArray, int]:
    """Which block of the observation each mark lies in, numbered without gaps; those off the image are in the last."""
    row, col = view.pixels(heading_rad, shift_m)
    height, width = view.image.shape
    side = max(1, block_side_px(height, width) // 3)
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    block = np.where(inside, (row // side) * (width // side + 1) + col // side, -1).astype(np.int64)
    held, part_N = np.unique(block[inside], return_inverse=True)
    part = np.full(len(row), len(held), np.int64)
    part[inside] = part_N
    return part, len(held) + (not inside.all())


class _Refined(NamedTuple):
    """Where scores peak between the poses that were tried, if they do, and the spread of that over blocks."""

    offset: SE2 | None
    heading_spread_rad: float


def _refined(view: _View, near: SE2, part_N: IntArray, parts: int) -> _Refined:
    """Fit a paraboloid in x, y and heading to the scores of each part around a pose.

    A peak of a few hundred marks is ragged at the size of a pixel; the paraboloid's is that of all poses around it. It
    is linear in the scores, so resampling the parts (bootstrap) costs nothing, and the spread of its headings has what
    shifts and turns have in common.
    """
    if parts < _LEAST_PARTS:
        return _Refined(None, float(_TURNS_RAD[-1]))
    shifts, turns = np.arange(-FINE_RADIUS_PX, FINE_RADIUS_PX + 1) * view.resolution_m, _TURNS_RAD
    turn, up, right = (axis.ravel() for axis in np.meshgrid(turns, shifts, shifts, indexing="ij"))
    moves_m = (near.x_m + right)[:, None], (near.y_m + up)[:, None]
    row, col = view.pixels((near.heading_rad + turn)[:, None], moves_m)
    values = values_at(view.image, row.ravel(), col.ravel()).reshape(row.shape).astype(np.float64)
    scores_KP = np.stack([values[:, part_N == part].sum(1) for part in range(parts)])
    units = np.array([shifts[-1], shifts[-1], turns[-1]])
    x, y, t = right / units[0], up / units[1], turn / units[2]
    terms = np.stack([np.ones_like(x), x, y, t, x * x, y * y, t * t, x * y, x * t, y * t], 1)
    fit_KC = scores_KP @ np.linalg.pinv(terms).T
    (peak,), (is_peak,) = _vertices(fit_KC.sum(0)[None])
    weights = np.random.default_rng(0).multinomial(parts, np.full(parts, 1 / parts), size=_REPLICATES)
    others, are_peaks = _vertices(weights @ fit_KC)
    apart = np.where(are_peaks & is_peak, others[:, 2] - peak[2], 1.0)
    moved = peak * units
    offset = SE2(near.x_m + moved[0], near.y_m + moved[1], near.heading_rad + moved[2]) if is_peak else None
    return _Refined(offset, float(np.sqrt((apart**2).mean()) * units[2]))


def _vertices(fits_BC: DoubleArray) -> tuple[DoubleArray, BoolArray]:
    """Peaks (B, 3) of paraboloids, at most a unit from the middle along each axis, and which have one."""
    _, x, y, t, xx, yy, tt, xy, xt, yt = fits_BC.T
    bend = np.stack([2 * xx, xy, xt, xy, 2 * yy, yt, xt, yt, 2 * tt], 1).reshape(-1, 3, 3)
    concave = np.linalg.eigvalsh(bend).max(1) < 0
    bend[~concave] = -np.eye(3)
    found = np.linalg.solve(bend, -np.stack([x, y, t], 1)[..., None])[..., 0]
    return np.clip(np.where(concave[:, None], found, 0.0), -1.0, 1.0), np.asarray(concave)


def _chance(view: _View, peak: float, radius_px: int, headings_rad: DoubleArray) -> Chance:
    """How unlikely the peak is by chance: by the scores of the marks mirrored, at the prior's heading."""
    reach_px = math.ceil(RADIUS_M / view.resolution_m)
    scores = [replace(view, marks_m=view.marks_m * np.array(mirror)).scores(0.0, reach_px) for mirror in MIRRORS]
    trials = trials_of(radius_px * view.resolution_m, heading_range(headings_rad), view.resolution_m)
    return chance_of(peak, scores, trials)


def _explained(view: _View, heading_rad: float, shift_m: tuple[float, float]) -> float:
    """Share of the marks on observed ground that show as bright; of few marks nearer to one half."""
    under = values_at(view.image, *view.pixels(heading_rad, shift_m))
    under = under[under != 0]
    return float(((under > _BRIGHT).sum() + 0.5 * _FEW) / (len(under) + _FEW))


def _share(known: BoolArray, observed: BoolArray) -> float:
    """Share of what is observed that lies on known map."""
    return float((known & observed).sum() / max(int(observed.sum()), 1))


def _correlation(
    view: _View, heading_rad: float, shift_m: tuple[float, float], cell_px: int, known_share: float
) -> float:
    """Correlation coefficient of the contrast with the image that is 1 in the marks and 0 elsewhere.

    Of what is observed on known map, of which there is that share.
    """
    seen = view.image[view.image != 0].astype(np.float64)
    under = values_at(view.image, *view.pixels(heading_rad, shift_m))
    under = under[under != 0].astype(np.float64)
    if len(seen) == 0 or len(under) == 0 or seen.std() == 0:
        return 0.0
    share = min(len(under) * cell_px**2 / max(known_share * len(seen), 1.0), 0.5)
    return float((under.mean() - seen.mean()) / seen.std() * math.sqrt(share / (1 - share)))
