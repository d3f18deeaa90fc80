"""The qualitative pictures of one query: the strip of figures 5 to 12 and the binary channels of figure 13."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from foldmap.bench.lidar.baselines.embedded import RasterEmbedding
from foldmap.bench.lidar.cases import Case, Search
from foldmap.bench.lidar.learned import LearnedCodec, observe
from foldmap.geometry import MetricGrid
from foldmap.lidar.codec import Decoder
from foldmap.lidar.match.exhaustive import coarse_headings_rad, match_fft
from foldmap.localize.lidar.view import cut
from foldmap.report import code_mosaic, embedding_image, heatmap, intensity_image, strip

_GUARD_PX = 3


def query_strip(case: Case, codec: LearnedCodec, half_m: tuple[float, float], search: Search) -> bytes:
    """One row of figures 5 to 12 as PNG: map, its embedding, the decoded one, the query, its embedding, the scores."""
    unfolded = codec.decode(codec.encode(case.raster))
    window = window_around(case, half_m)
    row, col = case.raster.grid.offset_of(window)
    crop = case.raster.read(row, col, *window.shape)
    panels = [("map", intensity_image(crop.intensity, crop.observed))]
    if codec.bundle.can_fold:
        embedded = RasterEmbedding(codec.bundle, Decoder(codec.bundle), case.raster)
        panels.append(("its embedding", embedding_image(embedded.embedding(window)[0])))
    decoded, _ = unfolded.embedding(window)
    seen = observe(case.query.points_vehicle_m, case.query.intensity, window.resolution_m, half_m)
    own = unfolded.embed_observation(seen)
    radius_px = math.ceil(search.radius_m / window.resolution_m) + _GUARD_PX
    prior = case.query.world_SE2_prior
    around = cut(unfolded, prior, seen.observed.shape, radius_px)
    heading_rad = max(search.heading_rad, math.radians(0.5))
    headings = coarse_headings_rad(heading_rad, max(3, 2 * math.ceil(math.degrees(search.heading_rad)) + 1))
    scores = match_fft(around.embedding_CHW, own, headings, radius_px).max(axis=0)
    estimate = None
    if scores.max() > scores.min():  # without evidence there is no estimate to show
        best_row, best_col = (int(i) for i in np.unravel_index(int(scores.argmax()), scores.shape))
        estimate = (best_col - radius_px) * window.resolution_m, (radius_px - best_row) * window.resolution_m
    panels.append(("decoded embedding", embedding_image(decoded)))
    panels.append(("query", intensity_image(seen.intensity, seen.observed)))
    panels.append(("its embedding", embedding_image(own)))
    offset = prior.inverse() @ case.world_SE2_true
    found = heatmap(scores, window.resolution_m, (offset.x_m, offset.y_m), estimate, "scores at the prior")
    return strip([*panels, found])


def query_codes(case: Case, codec: LearnedCodec, half_m: tuple[float, float]) -> bytes:
    """The binary channels of the map around one query as a mosaic (figure 13), PNG."""
    unfolded = codec.decode(codec.encode(case.raster))
    window = window_around(case, half_m)
    row, col = case.raster.grid.offset_of(window)
    scale, channels = unfolded.scale, codec.bundle.preset.group_channels
    codes = unfolded.codes(row // scale, col // scale, window.height_px // scale, window.width_px // scale)
    bits = codes[:, None] == np.arange(1, channels + 1, dtype=np.uint8)[:, None, None]
    return code_mosaic(bits.reshape(-1, *codes.shape[1:]), title=codec.name)


def window_around(case: Case, half_m: tuple[float, float]) -> MetricGrid:
    """The square of map around a query's true position, on the map's pixels."""
    grid = case.raster.grid
    side = max(1, round(2 * max(half_m) / grid.resolution_m))
    row, col = grid.pixel_of(np.array([[case.world_SE2_true.x_m, case.world_SE2_true.y_m]]))[0]
    return grid.window(round(float(row)) - side // 2, round(float(col)) - side // 2, side, side)


def spread_cases(cases: Iterable[Case], total: int, wanted: int) -> Sequence[Case]:
    """Some of a benchmark's cases, even over it."""
    picks = {round((k + 0.5) * total / wanted - 0.5) for k in range(min(wanted, total))}
    chosen = []
    for index, case in enumerate(cases):
        if index in picks:
            chosen.append(case)
        if len(chosen) == len(picks):
            break
    return chosen
