"""Which keypoints of several photographs of one plane are the same spot: by place, scale and direction, never by look.

Choosing by geometry alone keeps the hard cases, in which one spot looks different from two sides.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree

from benchmarks.descriptors.photographs import LeafView, map_points
from foldmap.types import AnyArray, DoubleArray, IntArray

_NEAR_PX, _SCALE_RATIO, _ANGLE_RAD = 1.5, 1.35, 0.35


def group_keypoints(views: list[LeafView], keypoints: list[AnyArray]) -> list[IntArray]:
    """Number the physical spots.

    Args:
        views: photographs of one canvas.
        keypoints: for each, float (N, 4): x, y in COLMAP pixels, scale in px, direction in rad.

    Returns:
        For each photograph, int64 (N,): the spot's number, the same in all photographs.
    """
    spots = np.zeros((0, 4))
    numbers = []
    for view, keys in zip(views, keypoints, strict=True):
        placed = _on_canvas(view, keys)
        number = np.full(len(keys), -1, np.int64)
        if len(spots) and len(keys):
            number = _match(placed, spots)
        fresh = np.flatnonzero(number < 0)
        number[fresh] = len(spots) + np.arange(len(fresh))
        spots = np.concatenate([spots, placed[fresh]])
        numbers.append(number)
    return numbers


def _on_canvas(view: LeafView, keys: AnyArray) -> DoubleArray:
    """Keypoints (N, 4) in the canvas: x, y, scale, direction."""
    xy, scale, angle = np.asarray(keys[:, :2], np.float64), keys[:, 2], keys[:, 3]
    step = 0.5 * np.column_stack([np.cos(angle), np.sin(angle)])
    across = np.column_stack([-step[:, 1], step[:, 0]])
    here = map_points(view.canvas_H_view, xy)
    along = map_points(view.canvas_H_view, xy + step) - map_points(view.canvas_H_view, xy - step)
    side = map_points(view.canvas_H_view, xy + across) - map_points(view.canvas_H_view, xy - across)
    area = np.abs(along[:, 0] * side[:, 1] - along[:, 1] * side[:, 0])
    return np.column_stack([here, scale * np.sqrt(area), np.arctan2(along[:, 1], along[:, 0])])


def _match(placed: DoubleArray, spots: DoubleArray) -> IntArray:
    """The nearest compatible spot of each keypoint, each spot given once; -1 where there is none."""
    number = np.full(len(placed), -1, np.int64)
    away, which = cKDTree(spots[:, :2]).query(placed[:, :2], k=6, distance_upper_bound=3.0 * _NEAR_PX)
    found = np.isfinite(away)
    near = spots[np.where(found, which, 0)]
    turn = np.abs(np.mod(near[..., 3] - placed[:, None, 3] + math.pi, 2 * math.pi) - math.pi)
    ratio = np.abs(np.log(near[..., 2] / placed[:, None, 2]))
    room = _NEAR_PX * np.maximum(1.0, 0.5 * placed[:, None, 2])
    cost = away / room + ratio / math.log(_SCALE_RATIO) + turn / _ANGLE_RAD
    fits = found & (away < room) & (ratio < math.log(_SCALE_RATIO)) & (turn < _ANGLE_RAD)
    cost = np.where(fits, cost, np.inf)
    best = np.argmin(cost, axis=1)
    rows = np.arange(len(placed))
    price = cost[rows, best]
    taken: set[int] = set()
    for row in np.argsort(price, kind="stable"):
        if not np.isfinite(price[row]):
            break
        spot = int(which[row, best[row]])
        if spot not in taken:
            taken.add(spot)
            number[row] = spot
    return number
