"""Matching with a pose in hand: each point in view looks only near where it must appear.

A weak descriptor that is lost among all keypoints of an image is strong among the few within some pixels. The same
search at shifted places tells what chance alone finds there, which is what a pose is judged by.
"""

# mypy: allow-untyped-decorators

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from foldmap.types import AnyArray, DoubleArray, FloatArray, IntArray
from foldmap.visual.match.view import Cells, View


@dataclass(frozen=True)
class Nearby:
    """The best keypoint near each place, int64 (P,), and the cosine of the descriptors, float32 (P,); -1 for none."""

    keypoint: IntArray
    similarity: FloatArray


def best_nearby(
    view: View,
    xy_px: DoubleArray,
    descriptors: FloatArray,
    radius_px: float,
    rows: IntArray | None = None,
    keypoints: FloatArray | None = None,
) -> Nearby:
    """For each place (P, 2) of an image, the keypoint within a radius whose descriptor is most similar.

    What is looked for are unit rows float32 (P, D), or the ``rows`` of those of a whole map. The keypoints' own are
    the view's, or those given, float32 (N, D): see `foldmap.visual.decoded.MapPoints.compared`.
    """
    return best_within(view, xy_px, descriptors, (radius_px,), rows, keypoints)[0]


def best_within(
    view: View,
    xy_px: DoubleArray,
    descriptors: FloatArray,
    radii_px: Sequence[float],
    rows: IntArray | None = None,
    keypoints: FloatArray | None = None,
) -> list[Nearby]:
    """As `best_nearby` for each of several radii, in one pass."""
    wanted = np.arange(len(xy_px)) if rows is None else rows
    keypoint, similarity = _best_within(
        np.ascontiguousarray(xy_px, dtype=np.float64),
        np.ascontiguousarray(descriptors, dtype=np.float32),
        np.ascontiguousarray(wanted, dtype=np.int64),
        (view.xy_px, view.descriptors if keypoints is None else keypoints),
        view.cells,
        np.array(radii_px, dtype=np.float64),
    )
    return [Nearby(*each) for each in zip(keypoint, similarity, strict=True)]


def one_point_a_keypoint(nearby: Nearby) -> IntArray:
    """Rows that keep their keypoint when several want the same: the most similar of each; ascending int64."""
    found = np.flatnonzero(nearby.keypoint >= 0)
    best_first = found[np.argsort(-nearby.similarity[found], kind="stable")]
    _, firsts = np.unique(nearby.keypoint[best_first], return_index=True)
    return np.asarray(np.sort(best_first[firsts]))


def thinned(rows: IntArray, most: int) -> IntArray:
    """At most so many of the rows, evenly spread: neighbours in a folded map are neighbours in space."""
    if len(rows) <= most:
        return rows
    return rows[(np.arange(most) * len(rows)) // most]


# sums in any order: the products of a descriptor are then added eight or sixteen at a time
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _cosine(one: AnyArray, other: AnyArray) -> Any:
    total = np.float32(0.0)
    for d in range(one.shape[0]):
        total += one[d] * other[d]
    return total


@njit(cache=True, nogil=True)
def _best_within(
    xy: AnyArray,
    descriptors: AnyArray,
    wanted: AnyArray,
    keypoints: tuple[AnyArray, AnyArray],
    cells: Cells,
    radii: AnyArray,
) -> tuple[AnyArray, AnyArray]:
    keypoint_xy, keypoint_descriptor = keypoints
    (low_x, low_y), side, columns, rows, first, items = cells
    keypoint = np.full((len(radii), len(xy)), -1, np.int64)
    similarity = np.full((len(radii), len(xy)), np.float32(-1.0), np.float32)
    radius = radii.max()
    for p in range(len(xy)):
        left = max(0, int((xy[p, 0] - radius - low_x) // side))
        right = min(columns - 1, int((xy[p, 0] + radius - low_x) // side))
        top = max(0, int((xy[p, 1] - radius - low_y) // side))
        bottom = min(rows - 1, int((xy[p, 1] + radius - low_y) // side))
        if left > right:
            continue
        for row in range(top, bottom + 1):
            for at in range(first[row * columns + left], first[row * columns + right + 1]):
                k = items[at]
                dx, dy = keypoint_xy[k, 0] - xy[p, 0], keypoint_xy[k, 1] - xy[p, 1]
                apart = dx * dx + dy * dy
                if apart > radius * radius:
                    continue
                cosine = _cosine(descriptors[wanted[p]], keypoint_descriptor[k])
                for r in range(len(radii)):
                    if apart <= radii[r] * radii[r] and cosine > similarity[r, p]:
                        similarity[r, p], keypoint[r, p] = cosine, k
    return keypoint, similarity
