"""Painted streets: images whose lane graphs are known, in the ego frame."""

from functools import cache
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from foldmap.street.graph.window import AROUND, Window
from foldmap.street.source import LaneGraph
from foldmap.types import ByteArray, DoubleArray


def paint(lines_m: list[DoubleArray], window: Window = AROUND, side_px: int = 64) -> ByteArray:
    """Bright lanes on dark ground, redder towards where they lead; row 0 is ahead, column 0 left."""
    length, width = window.size_m
    rows, columns = np.mgrid[:side_px, :side_px]
    place = np.stack(
        [window.ahead_m - (rows + 0.5) * length / side_px, window.left_m - (columns + 0.5) * width / side_px], -1
    )
    image = np.full((side_px, side_px, 3), 40, np.uint8)
    for line in lines_m:
        dense = np.concatenate([np.linspace(a, b, 60) for a, b in pairwise(line)])
        share = np.linspace(0, 1, len(dense))
        apart, nearest = cKDTree(dense).query(place)
        on, along = apart < 1.0, share[nearest]
        image[on] = np.stack([80 + 150 * along, np.full_like(along, 160), 230 - 150 * along], -1)[on]
    return image


def lanes(offset_m: float) -> list[DoubleArray]:
    """A lane ahead on the right, one against it on the left."""
    return [
        np.array([[-20.0, offset_m - 4], [20.0, offset_m - 4]]),
        np.array([[20.0, offset_m + 4], [-20.0, offset_m + 4]]),
    ]


def streets(count: int, seed: int) -> tuple[ByteArray, list[LaneGraph]]:
    """Images (N, 64, 64, 3) of two-lane streets at random offsets, and their graphs; the caller's own."""
    images, graphs = _painted(count, seed)
    return images.copy(), list(graphs)


@cache
def _painted(count: int, seed: int) -> tuple[ByteArray, list[LaneGraph]]:
    rng = np.random.default_rng(seed)
    scenes = [lanes(float(offset)) for offset in rng.uniform(-8, 8, count)]
    return np.stack([paint(scene) for scene in scenes]), [LaneGraph.from_polylines(scene) for scene in scenes]
