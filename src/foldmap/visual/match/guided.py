"""Matching with a pose in hand: each point in view looks only near where it must appear.

A weak descriptor that is lost among all keypoints of an image is strong among the few within some pixels. The same
search at shifted places tells what chance alone finds there, which is what a pose is judged by.
"""

# mypy: allow-untyped-decorators

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foldmap.coding.jit import loop, sums
from foldmap.runtime.threads import share_out
from foldmap.types import AnyArray, DoubleArray, FloatArray, IntArray
from foldmap.visual.match.view import Cells, View, sort_into_cells

_SHARED_OUT = 2000  # places that are worth another thread


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
    keypoint = np.full((len(radii_px), len(xy_px)), -1, np.int64)
    similarity = np.full((len(radii_px), len(xy_px)), -1.0, np.float32)
    looked_for = np.ascontiguousarray(descriptors, dtype=np.float32), np.ascontiguousarray(wanted, dtype=np.int64)
    described = np.ascontiguousarray(view.descriptors if keypoints is None else keypoints)
    radii = np.array(radii_px, dtype=np.float64)
    given = (np.ascontiguousarray(view.xy_px), described), view.cells, (radii * radii, float(radii.max()))
    places = np.ascontiguousarray(xy_px, dtype=np.float64)

    def look(some: range) -> None:
        _best_within((some.start, some.step), places, looked_for, *given, (keypoint, similarity))

    if len(places) < _SHARED_OUT:
        look(range(len(places)))
    else:
        share_out(look, len(places))
    return [Nearby(*each) for each in zip(keypoint, similarity, strict=True)]


def one_point_a_keypoint(nearby: Nearby) -> IntArray:
    """Rows that keep their keypoint when several want the same: the most similar of each; ascending int64."""
    best = np.full(int(nearby.keypoint.max(initial=-1)) + 1, -1, np.int64)
    _most_similar(nearby.keypoint, nearby.similarity, best)
    return np.asarray(np.sort(best[best >= 0]))


def chosen_back(
    view: View, keypoint: IntArray, keypoints: FloatArray, xy_px: DoubleArray, descriptors: FloatArray, radius_px: float
) -> IntArray:
    """The other way round: of some keypoints, int64 (K,), the most similar place within a radius, (K,); -1 for none.

    Places (P, 2) have unit rows float32 (P, D), the view's keypoints ``keypoints``, float32 (N, D).
    """
    places = replace(view, xy_px=xy_px, descriptors=descriptors, cells=sort_into_cells(xy_px, radius_px))
    return best_nearby(places, view.xy_px[keypoint], keypoints, radius_px, keypoint).keypoint


def thinned(rows: IntArray, most: int) -> IntArray:
    """At most so many of the rows, evenly spread: neighbours in a folded map are neighbours in space."""
    if len(rows) <= most:
        return rows
    return rows[(np.arange(most) * len(rows)) // most]


@loop
def _most_similar(keypoint: AnyArray, similarity: AnyArray, best: AnyArray) -> None:
    """Of the rows that want a keypoint the most similar one, of equals the first, into ``best[keypoint]``."""
    for row in range(len(keypoint)):
        k = keypoint[row]
        if k >= 0 and (best[k] < 0 or similarity[row] > similarity[best[k]]):
            best[k] = row


# sums in any order: the products of a descriptor are then added eight or sixteen at a time
@sums
def _cosine(one: AnyArray, other: AnyArray) -> Any:
    total = np.float32(0.0)
    for d in range(one.shape[0]):
        total += one[d] * other[d]
    return total


@loop
def _best_within(
    some: tuple[int, int],
    xy: AnyArray,
    looked_for: tuple[AnyArray, AnyArray],
    keypoints: tuple[AnyArray, AnyArray],
    cells: Cells,
    reach: tuple[AnyArray, float],
    found: tuple[AnyArray, AnyArray],
) -> None:
    descriptors, wanted = looked_for
    keypoint_xy, keypoint_descriptor = keypoints
    (low_x, low_y), side, columns, rows, first, items = cells
    squares, radius = reach
    widest = radius * radius
    keypoint, similarity = found
    to_cell = 1.0 / side
    far = radius * to_cell + 1e-6  # cells that a rounding might miss are looked into, too: distances are what counts
    for p in range(some[0], len(xy), some[1]):
        x, y = (xy[p, 0] - low_x) * to_cell, (xy[p, 1] - low_y) * to_cell
        if not (x + far >= 0.0 and x - far < columns and y + far >= 0.0 and y - far < rows):
            continue
        left, right = max(0, int(x - far)), min(columns - 1, int(x + far))
        top, bottom = max(0, int(y - far)), min(rows - 1, int(y + far))
        sought = descriptors[wanted[p]]
        for row in range(top, bottom + 1):
            for at in range(first[row * columns + left], first[row * columns + right + 1]):
                k = items[at]
                dx, dy = keypoint_xy[k, 0] - xy[p, 0], keypoint_xy[k, 1] - xy[p, 1]
                apart = dx * dx + dy * dy
                if apart > widest:
                    continue
                cosine = _cosine(sought, keypoint_descriptor[k])
                for r in range(len(squares)):
                    if apart <= squares[r] and cosine > similarity[r, p]:
                        similarity[r, p], keypoint[r, p] = cosine, k
