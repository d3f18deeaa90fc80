"""A flat world to learn from: bright lanes on dark ground, as ortho tiles with their maps."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.ndimage import distance_transform_edt

from foldmap.geometry import MetricGrid
from foldmap.street.graph.chains import resample
from foldmap.street.images.ground_image import GroundImage
from foldmap.street.paper.pairs import GroundTile
from foldmap.street.source import LaneGraph, StreetMap

SIDE_M = 120.0
PIXEL_M = 0.5


@cache
def tile(seed: int) -> GroundTile:
    """Straight lanes of random direction, painted 2 m wide, with a fading edge towards where they lead."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(5):
        middle, angle = rng.uniform(30, 90, 2), rng.uniform(0, 2 * np.pi)
        way = np.array([np.cos(angle), np.sin(angle)])
        lines.append(middle + np.linspace(-55, 55, 3)[:, None] * way)
    graph = resample(LaneGraph.from_polylines(lines))
    size = int(SIDE_M / PIXEL_M)
    free = np.ones((size, size), bool)
    fine = resample(graph, 0.2).vertices_m
    row, column = ((SIDE_M - fine[:, 1]) / PIXEL_M).astype(int), (fine[:, 0] / PIXEL_M).astype(int)
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    free[row[inside], column[inside]] = False
    bright = 60 + 150 * (distance_transform_edt(free) * PIXEL_M < 1.0)
    image = np.repeat(bright[..., None], 3, 2).astype(np.uint8)
    return GroundTile(
        GroundImage(image, MetricGrid(0.0, SIDE_M, PIXEL_M, size, size)), StreetMap(f"tile-{seed}", graph)
    )
