"""Whether two sweeps lie on each other where their poses put them: what stands there, or the ground's texture, tells.

Both sweeps are drawn from above, and one is slid over the other. What stands on the road (walls, poles, parked cars)
correlates at one displacement only, or along a line where there are only rails; on open ground the texture does. Poses
are contradicted where the sweeps fit well elsewhere and badly where the poses put them. That is never so for noise:
where nothing fits, nothing is said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter

from foldmap.geometry import SE3
from foldmap.lidar.mapping.ground import height_above_ground
from foldmap.lidar.mapping.moving import upright
from foldmap.lidar.source import Sweep
from foldmap.types import AnyArray, BoolArray, DoubleArray

_PX_M = 0.25
_SIDE = 256
_PADDED = 320  # at least a side and the reach: what is slid over the edge comes in again beyond it
_REACH_PX = 48
_SELF_M = 3.0
_GROUND_M = 0.12
_NEAR_M = 0.75
_APART_M = 1.0
_STRAIGHT = math.cos(math.radians(0.5))
_STANDING_FITS = 0.5
_BEYOND_FITS = 0.7
_TEXTURE_FITS = 20.0
_LEAST_OVERLAP_PX = 200
_LEAST_STANDING_PX = 150
"""So few bits of walls fit anywhere along a street: a lidar whose rosette looks ahead alone draws 10 to 110."""
_CONTRADICTED = 0.7  # where right poses put them, real sweeps fit best of all: 0.6 to 0.9 for what stands
_TEXTURE_CONTRADICTED = 0.45


@dataclass(frozen=True)
class Displacement:
    """How far (x, y) a sensor moved between two sweeps, in the first one's frame; None by sweeps that fit nowhere.

    Poses are contradicted where the sweeps fit well elsewhere, and badly where the poses put them.
    """

    by_poses_m: DoubleArray
    by_sweeps_m: DoubleArray | None
    contradicted: bool

    @property
    def telling(self) -> bool:
        """Whether other poses would have been contradicted: something fits, and the sensor moved."""
        return self.by_sweeps_m is not None and bool(np.hypot(*self.by_sweeps_m) >= _APART_M or self.contradicted)


@dataclass(frozen=True)
class Outline:
    """What of a sweep can be laid on another: returns that stand (N, 3), and the ground (M, 3), in the sensor's frame.

    The ground's brightness (M,) is without what depends on the range alone.
    """

    standing_m: DoubleArray
    ground_m: DoubleArray
    brightness: DoubleArray


class _Drawing:
    """A sweep seen from above: what stands, 0 all over where that is little; the ground where that is asked for."""

    def __init__(self, sweep: Outline, turned: DoubleArray) -> None:
        self._sweep, self._turned = sweep, turned
        stands = _counts(sweep.standing_m, turned) > 0
        standing = gaussian_filter((stands & (stands.sum() >= _LEAST_STANDING_PX)).astype(np.float64), 1.0)
        self.standing: DoubleArray = standing - gaussian_filter(standing, 6.0)

    @cached_property
    def ground(self) -> tuple[AnyArray, AnyArray, AnyArray]:
        """Spectra of its texture, of that squared, and of 1 where it was seen."""
        count = _counts(self._sweep.ground_m, self._turned)
        total = _counts(self._sweep.ground_m, self._turned, self._sweep.brightness)
        mean = np.divide(total, count, out=np.zeros_like(count), where=count > 0)
        texture = _texture(mean, count > 0)
        return _spectrum(texture), _spectrum(texture**2), _spectrum((count > 0).astype(np.float64))


def outline(sweep: Sweep) -> Outline:
    """Take from a sweep what `compare_sweeps` needs."""
    points = sweep.points_sensor_m
    height_m = height_above_ground(points)
    range_m = np.hypot(points[:, 0], points[:, 1])
    near = (range_m > _SELF_M) & (range_m < _SIDE * _PX_M)
    ground = near & (np.abs(height_m) <= _GROUND_M)
    value = sweep.intensity[ground].astype(np.float64)
    ring = (range_m[ground] / _PX_M).astype(np.int64)
    mean = np.bincount(ring, value) / np.maximum(np.bincount(ring), 1)
    standing, ground_m = (points[of].astype(np.float64) for of in (near & upright(height_m), ground))
    return Outline(standing, ground_m, value - mean[ring])


def compare_sweeps(first: Outline, second: Outline, first_SE3_second: SE3) -> Displacement:
    """Measure the displacement between two sweeps, at most about ten metres apart, and compare it with their poses'."""
    given_m, turned = first_SE3_second.translation_m[:2].copy(), first_SE3_second.matrix[:3, :3]
    ways = [turned]
    if turned[0, 0] < _STRAIGHT:  # what the poses call a turn may be none, or one to the other side
        ways += [np.eye(3), turned.T]
    a = _Drawing(first, np.eye(3))
    drawings = [_Drawing(second, way) for way in ways]
    axis = np.arange(-_REACH_PX, _REACH_PX + 1) * _PX_M
    reach = np.stack(np.meshgrid(axis, axis))  # east and north of every displacement that is searched, (2, 97, 97) m
    scores = [_correlate(a.standing, b.standing) for b in drawings]
    best = max(scores, key=np.max)
    found, score = _peak(best, reach)
    here = _around(scores[0], reach, given_m)
    fits, contradicted = (_STANDING_FITS if here is not None else _BEYOND_FITS), _CONTRADICTED
    if score < _STANDING_FITS:
        # A lidar's rings differ in brightness, and their pattern moves with the sensor: no displacement is no evidence.
        scores = [np.where(np.hypot(*reach) > _NEAR_M, _significance(a, b), 0.0) for b in drawings]
        best = max(scores, key=np.max)
        found, score = _peak(best, reach)
        here = _around(scores[0], reach, given_m)
        fits, contradicted = _TEXTURE_FITS, _TEXTURE_CONTRADICTED
    if score < fits:
        return Displacement(given_m, None, False)
    apart = best is not scores[0] or float(np.hypot(*(found - given_m))) > _APART_M
    return Displacement(given_m, found, apart and (here or 0.0) < contradicted * score)


def _peak(score: DoubleArray, reach: DoubleArray) -> tuple[DoubleArray, float]:
    """Where the score is best, and how good it is there."""
    row, col = np.unravel_index(int(score.argmax()), score.shape)
    return reach[:, row, col], float(score[row, col])


def _around(score: DoubleArray, reach: DoubleArray, given_m: DoubleArray) -> float | None:
    """The best score around a displacement; None where that is beyond the search."""
    near = np.hypot(reach[0] - given_m[0], reach[1] - given_m[1]) <= _NEAR_M
    return float(score[near].max()) if near.any() else None


def _counts(points_m: DoubleArray, turned: DoubleArray, weights: DoubleArray | None = None) -> DoubleArray:
    """Points, or the sum of their weights, in each pixel seen from above."""
    cell = np.floor(points_m @ turned[:2].T / _PX_M).astype(np.int64) + _SIDE // 2
    inside = ((cell >= 0) & (cell < _SIDE)).all(axis=1)
    flat = cell[inside, 1] * _SIDE + cell[inside, 0]
    drawn = np.bincount(flat, None if weights is None else weights[inside], _SIDE * _SIDE)
    return drawn.reshape(_SIDE, _SIDE).astype(np.float64)


def _texture(mean: DoubleArray, seen: BoolArray) -> DoubleArray:
    """High-passed brightness in standard deviations, 0 where the ground was not seen."""
    if not seen.any():
        return mean
    level = gaussian_filter(mean, 4.0) / np.maximum(gaussian_filter(seen.astype(np.float64), 4.0), 1e-6)
    rough = np.where(seen, mean - level, 0.0)
    return np.clip(rough / max(float(rough[seen].std()), 1e-9), -3.0, 3.0)


def _spectrum(drawn: DoubleArray) -> AnyArray:
    spectrum: AnyArray = rfft2(drawn, (_PADDED, _PADDED))
    return spectrum


def _slide(a: AnyArray, b: AnyArray) -> DoubleArray:
    """Sum of ``a(x) b(x - d)`` for every displacement d that is searched, from their spectra."""
    index = np.arange(-_REACH_PX, _REACH_PX + 1)
    window: DoubleArray = irfft2(a * np.conj(b), (_PADDED, _PADDED))[np.ix_(index, index)]
    return window


def _correlate(a: DoubleArray, b: DoubleArray) -> DoubleArray:
    energy = float((a * a).sum() * (b * b).sum())
    return _slide(_spectrum(a), _spectrum(b)) / np.sqrt(energy) if energy > 0 else np.zeros((2 * _REACH_PX + 1,) * 2)


def _significance(a: _Drawing, b: _Drawing) -> DoubleArray:
    """Correlation of the textures where both were seen, in standard errors of as many unrelated pixels."""
    (one, one_squared, seen_a), (other, other_squared, seen_b) = a.ground, b.ground
    overlap = _slide(seen_a, seen_b)
    energy = np.maximum(_slide(one_squared, seen_b), 1.0) * np.maximum(_slide(seen_a, other_squared), 1.0)
    score = _slide(one, other) / np.sqrt(energy) * np.sqrt(np.maximum(overlap, 0.0))
    return np.where(overlap >= _LEAST_OVERLAP_PX, score, 0.0)
