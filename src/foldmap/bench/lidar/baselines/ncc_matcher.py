"""Masked normalized cross-correlation of the query's raster with the map: the classical matcher.

Points are drawn afresh at every heading, which keeps sparse pixels sharp; all headings share the map's transforms.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import next_fast_len, rfft2

from foldmap.bench.lidar.baselines.contrast import local_contrast
from foldmap.bench.lidar.cases import BenchQuery, Match, Search
from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar.source import RasterMap
from foldmap.types import AnyArray, BoolArray, DoubleArray, FloatArray

_HEADING_STEP_RAD = math.radians(1.0)
"""Of the first scan over heading; it is refined around the best to a quarter of this."""
_MIN_OVERLAP = 0.25
"""Share of the query's pixels that must lie on observed map, else the matcher declines."""


@dataclass(frozen=True)
class NccMatcher:
    """Exhaustive search over x and y at several headings, masked NCC, parabolic peak."""

    name = "ncc"
    margin_px: int = 2  # how far beyond the search radius shifts are scored, so that a peak on the rim is a peak
    is_contrast: bool = False  # the maps hold local contrast; so does the query then

    def match(self, query: BenchQuery, decoded_map: RasterMap, search: Search) -> Match:
        """Score all poses around the prior; see `Matcher`."""
        if self.is_contrast:
            query = contrast_query(query, decoded_map.grid.resolution_m)
        scene = _Scene(query, decoded_map, search, self)
        steps = max(0, math.ceil(search.heading_rad / _HEADING_STEP_RAD))
        turns = np.linspace(-search.heading_rad, search.heading_rad, 2 * steps + 1) if steps else np.zeros(1)
        scored = {float(turn): scene.best(float(turn)) for turn in turns}
        turn_rad = max(scored, key=lambda t: scored[t].score)
        if steps:
            turn_rad = _refined_turn(scored, turn_rad, float(turns[1] - turns[0]), scene.best)
        peak = scored.get(turn_rad) or scene.best(turn_rad)
        if not math.isfinite(peak.score):
            return Match(None, -1.0, {"status": "no_overlap"})
        prior = query.world_SE2_prior
        pose = SE2(prior.x_m + peak.east_m, prior.y_m + peak.north_m, prior.heading_rad + turn_rad)
        return Match(pose, peak.score, {"overlap": peak.overlap})


@dataclass(frozen=True)
class _Peak:
    score: float
    east_m: float
    north_m: float
    overlap: float


def _refined_turn(
    scored: dict[float, _Peak], best_rad: float, step_rad: float, score: Callable[[float], _Peak]
) -> float:
    """Halve the heading step twice around the best, then take the vertex of the last three scores."""
    for _ in range(2):
        step_rad /= 2
        for turn in (best_rad - step_rad, best_rad + step_rad):
            scored[turn] = score(turn)
        best_rad = max((best_rad, best_rad - step_rad, best_rad + step_rad), key=lambda t: scored[t].score)
    for turn in (best_rad - step_rad, best_rad + step_rad):
        if turn not in scored:
            scored[turn] = score(turn)
    low, mid, high = (scored[best_rad + k * step_rad].score for k in (-1, 0, 1))
    return best_rad + step_rad * _vertex(low, mid, high)


def _vertex(low: float, mid: float, high: float) -> float:
    """Position of a parabola's top through three equidistant values, within +-0.5 steps of the middle one."""
    bend = low - 2 * mid + high
    if not (math.isfinite(bend) and bend < 0):
        return 0.0
    return float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5))


class _Scene:
    """One query over its piece of map, whose transforms are shared by all headings."""

    def __init__(self, query: BenchQuery, raster: RasterMap, search: Search, matcher: NccMatcher) -> None:
        self.query, self.matcher = query, matcher
        resolution_m = raster.grid.resolution_m
        self.resolution_m = resolution_m
        self.radius_px = math.ceil(search.radius_m / resolution_m) + matcher.margin_px
        reach_m = float(np.hypot(*query.points_vehicle_m.T).max())
        half_px = math.ceil(reach_m / resolution_m) + 1
        prior = query.world_SE2_prior
        row, col = np.rint(raster.grid.pixel_of(np.array([[prior.x_m, prior.y_m]])))[0].astype(int)
        outer_px = half_px + self.radius_px
        piece = raster.read(row - outer_px, col - outer_px, 2 * outer_px + 1, 2 * outer_px + 1)
        self.template_grid = piece.grid.window(self.radius_px, self.radius_px, 2 * half_px + 1, 2 * half_px + 1)
        self.size = next_fast_len(2 * outer_px + 1, real=True)
        # NCC ignores offset and scale; taking the mean off keeps float32 sums of squares exact enough.
        values = _standardized(piece.intensity, piece.observed)
        self.spectra = [
            rfft2(image, (self.size, self.size)) for image in (piece.observed.astype(np.float32), values, values**2)
        ]

    def best(self, turn_rad: float) -> _Peak:
        """Find the best shift at one heading."""
        template, weight, residual_m = self._template(turn_rad)
        count, scores = masked_ncc_window(self.spectra, template, weight, self.size, 2 * self.radius_px + 1)
        overlap = count / max(1.0, float(weight.sum()))
        scores = np.where(overlap >= _MIN_OVERLAP, scores, -np.inf)
        row, col = np.unravel_index(int(scores.argmax()), scores.shape)
        if not np.isfinite(scores[row, col]):
            return _Peak(-math.inf, 0.0, 0.0, 0.0)
        padded = np.pad(scores, 1, constant_values=-np.inf)
        around = padded[row : row + 3, col : col + 3]
        down = row - self.radius_px + _vertex(*(float(v) for v in around[:, 1]))
        right = col - self.radius_px + _vertex(*(float(v) for v in around[1]))
        east_m = right * self.resolution_m + residual_m[0]
        north_m = -down * self.resolution_m + residual_m[1]
        return _Peak(float(scores[row, col]), east_m, north_m, float(overlap[row, col]))

    def _template(self, turn_rad: float) -> tuple[FloatArray, BoolArray, DoubleArray]:
        """Image and mask of the query at the prior turned so, and by how much rounding to pixels displaced it."""
        prior = self.query.world_SE2_prior
        pose = SE2(prior.x_m, prior.y_m, prior.heading_rad + turn_rad)
        points = pose.apply(self.query.points_vehicle_m.astype(np.float64))
        image, observed, residual_m = draw(points, self.query.intensity, self.template_grid)
        return _standardized(image, observed), observed, residual_m


def contrast_query(query: BenchQuery, resolution_m: float) -> BenchQuery:
    """The query with the local contrast of each point's pixel in place of its intensity."""
    points = query.points_vehicle_m.astype(np.float64)
    (west_m, south_m), (east_m, north_m) = points.min(0), points.max(0)
    rows, columns = (int(span_m / resolution_m) + 2 for span_m in (north_m - south_m, east_m - west_m))
    grid = MetricGrid(float(west_m), float(north_m) + resolution_m, resolution_m, rows, columns)
    image, observed, _ = draw(points, query.intensity, grid)
    row, col = np.clip(np.rint(grid.pixel_of(points)).astype(int), 0, np.array(grid.shape) - 1).T
    return replace(query, intensity=local_contrast(image, observed, resolution_m)[row, col])


def _standardized(image: FloatArray, observed: BoolArray) -> FloatArray:
    """Zero mean and unit spread over the observed pixels, 0 elsewhere."""
    mean, spread = (float(image[observed].mean()), float(image[observed].std())) if observed.any() else (0.0, 1.0)
    return np.where(observed, (image - mean) / (spread or 1.0), 0).astype(np.float32)


def draw(
    points_world_m: DoubleArray, intensity: FloatArray, grid: MetricGrid
) -> tuple[FloatArray, BoolArray, DoubleArray]:
    """Average points into pixels: intensity, observed (H, W), and mean pixel centre minus point (east, north)."""
    cells = np.rint(grid.pixel_of(points_world_m)).astype(np.int64)
    inside = ((cells >= 0) & (cells < np.array(grid.shape))).all(1)
    cells, values = cells[inside], intensity[inside]
    flat = cells[:, 0] * grid.width_px + cells[:, 1]
    size = grid.height_px * grid.width_px
    count = np.bincount(flat, minlength=size)
    total = np.bincount(flat, weights=values, minlength=size)
    mean = np.divide(total, count, out=np.zeros(size), where=count > 0)
    moved = grid.world_of(cells.astype(np.float64)) - points_world_m[inside]
    residual_m = moved.mean(0) if len(moved) else np.zeros(2)
    return mean.astype(np.float32).reshape(grid.shape), (count > 0).reshape(grid.shape), residual_m


def masked_ncc_window(
    map_spectra: list[AnyArray], template: FloatArray, weight: BoolArray, size: int, shifts: int
) -> tuple[DoubleArray, DoubleArray]:
    """Correlate a masked template with a masked map over a window of shifts (Padfield, IEEE TIP 2012).

    ``map_spectra`` are `rfft2` of map mask, map and squared map (both 0 outside the mask), each (size, size // 2 + 1),
    of a ``size`` of at least h + shifts - 1; the template (h, w) is 0 outside its mask ``weight``; ``shifts`` rows and
    columns are wanted, shift 0 first. Returns overlap in pixels and correlation coefficient, each (shifts, shifts); 0
    where the overlap has no contrast.
    """
    mask_F, image_F, square_F = map_spectra
    images = weight.astype(np.float32), template, template**2
    weight_F, template_F, template2_F = (rfft2(image, (size, size)).conj() for image in images)
    maps = mask_F, image_F, square_F, mask_F, mask_F, image_F
    templates = weight_F, weight_F, weight_F, template_F, template2_F, template_F
    products = [a * b for a, b in zip(maps, templates, strict=True)]
    down, across = _partial_inverse(size, shifts)
    n, sum_m, sum_mm, sum_t, sum_tt, sum_mt = ((down @ (p @ across)).real.astype(np.float64) for p in products)
    n = np.maximum(n, 1.0)
    covariance = sum_mt - sum_m * sum_t / n
    variance_m, variance_t = sum_mm - sum_m**2 / n, sum_tt - sum_t**2 / n
    usable = (variance_m > 1e-3 * n) & (variance_t > 1e-3 * n)
    scale = np.sqrt(np.where(usable, variance_m * variance_t, 1.0))
    return n, np.where(usable, covariance / scale, 0.0)


def _partial_inverse(size: int, shifts: int) -> tuple[AnyArray, AnyArray]:
    """The few wanted rows and columns of the inverse real DFT, as two small matrices."""
    lag = np.arange(shifts)
    frequency = np.arange(size // 2 + 1)
    weight = np.where((frequency == 0) | ((size % 2 == 0) & (frequency == size // 2)), 1.0, 2.0) / size
    across = weight[:, None] * np.exp(2j * np.pi / size * np.outer(frequency, lag))
    down = np.exp(2j * np.pi / size * np.outer(lag, np.arange(size))) / size
    return down.astype(np.complex64), across.astype(np.complex64)
