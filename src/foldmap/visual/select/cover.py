"""Greedy K-cover: choose points so that every image sees at least K of them, then more.

    f(S) = sum over elements e of  min(capacity_e, sum over points p of S that cover e of weight_p)

Elements are images, or cells of images where points are to be spread within each. f is monotone and submodular, so the
greedy choice of n points reaches at least 1 - 1/e of the best choice of n at given capacities. When no point gains any
more, all capacities are doubled and the choice goes on: a prefix of the order is the choice of fewer points.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, allow-any-generics
# (compiled loops: numba infers their types)

from dataclasses import dataclass

import numpy as np
from numba import njit

from foldmap.types import AnyArray, DoubleArray, IntArray

_MOST_GROWTH = 200  # capacities grow at most so often: then points that cover nothing are all that is left


@dataclass(frozen=True)
class Coverage:
    """Which elements a point covers."""

    first: IntArray  # int64 (P + 1,), entries of point p are first[p] to first[p + 1]
    element: IntArray  # int64 (N,), which element
    capacity: DoubleArray  # float64 (E,), positive: how much of each element counts to begin with


def by_image(first: IntArray, image: IntArray, images: int, per_image: float) -> Coverage:
    """Elements are images, each to be covered `per_image` times."""
    return Coverage(first, image, np.full(images, float(per_image)))


def by_cell(
    first: IntArray, image: IntArray, xy_px: AnyArray, size_px: AnyArray, cells: int, per_image: float, per_cell: float
) -> Coverage:
    """Elements are images and the cells of a grid on each, so that points spread within every image.

    Of each observation are given its image, int64 (O,), and where it is, COLMAP pixels (O, 2); images have sizes (I, 2)
    and are cut into so many ``cells`` along the width and along the height. An image is to be covered ``per_image``
    times to begin with, a cell of it ``per_cell`` times.
    """
    images = len(size_px)
    at = np.clip(xy_px.astype(np.float64) / size_px[image] * cells, 0, cells - 1).astype(np.int64)
    cell = images + (image * cells + at[:, 1]) * cells + at[:, 0]
    capacity = np.concatenate([np.full(images, float(per_image)), np.full(images * cells * cells, float(per_cell))])
    return Coverage(first * 2, np.stack([image, cell], axis=1).ravel(), capacity)


def k_cover(coverage: Coverage, count: int, weights: DoubleArray | None = None) -> IntArray:
    """Choose points greedily by what they add to the cover; int64 (count,) in order of choice.

    Gains only fall while capacities stand, so a heap of old gains is enough: the top one is renewed and taken if it
    still is the top (lazy greedy). Ties go to the point that covers more (times its weight), then to the earlier one.

    A point of weight 2 covers like two; weights (P,) are positive.
    """
    points = len(coverage.first) - 1
    weight = np.ones(points) if weights is None else weights
    covering = np.diff(coverage.first) * weight
    rank = np.empty(points, np.int64)
    rank[np.lexsort((np.arange(points), -covering))] = np.arange(points)
    return np.asarray(_greedy(coverage.first, coverage.element, coverage.capacity, weight, rank, count))


@njit(cache=True, inline="always")
def _before(a, b, score, rank):
    """Whether point a is to be chosen before point b."""
    return score[a] > score[b] or (score[a] == score[b] and rank[a] < rank[b])


@njit(cache=True)
def _sink(heap, size, at, score, rank):
    """Restore the heap below a slot."""
    point = heap[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _before(heap[child + 1], heap[child], score, rank):
            child += 1
        if not _before(heap[child], point, score, rank):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = point


@njit(cache=True)
def _gain(point, first, element, left, weight):
    gain = 0.0
    for k in range(first[point], first[point + 1]):
        gain += min(weight[point], left[element[k]])
    return gain


@njit(cache=True)
def _heap(heap, free, score, rank, first, element, left, weight):
    """Renew all gains and build the heap; returns its size."""
    size = 0
    for p in range(len(free)):
        if free[p]:
            score[p] = _gain(p, first, element, left, weight)
            heap[size] = p
            size += 1
    for at in range(size // 2 - 1, -1, -1):
        _sink(heap, size, at, score, rank)
    return size


@njit(cache=True)
def _greedy(first, element, capacity, weight, rank, count):
    """Order of choice."""
    points = len(first) - 1
    left, covered = capacity.copy(), np.zeros(len(capacity))
    score, free = np.empty(points), np.ones(points, np.bool_)
    order, heap = np.empty(count, np.int64), np.empty(points, np.int64)
    chosen, grown, factor, stale = 0, 0, 1.0, 0
    size = _heap(heap, free, score, rank, first, element, left, weight)
    while size > 0 and chosen < count:
        top = heap[0]
        fresh = _gain(top, first, element, left, weight)
        if fresh < score[top]:
            stale += 1
            score[top] = fresh
            _sink(heap, size, 0, score, rank)
            # Past some renewals one by one, renewing all in memory order is cheaper.
            if stale > 1000 + points // 16:
                size = _heap(heap, free, score, rank, first, element, left, weight)
                stale = 0
            continue
        if fresh <= 0.0 and grown < _MOST_GROWTH:
            # The best gains nothing: every point's elements are full. Capacities double until somebody gains again;
            # points that cover nothing never do, and are taken last in order of rank.
            while grown < _MOST_GROWTH and score[heap[0]] <= 0.0:
                factor *= 2.0
                grown += 1
                for e in range(len(capacity)):
                    left[e] = max(0.0, factor * capacity[e] - covered[e])
                size = _heap(heap, free, score, rank, first, element, left, weight)
            continue
        free[top] = False
        size -= 1
        heap[0] = heap[size]
        if size > 0:
            _sink(heap, size, 0, score, rank)
        for k in range(first[top], first[top + 1]):
            e = element[k]
            covered[e] += weight[top]
            left[e] = max(0.0, factor * capacity[e] - covered[e])
        order[chosen] = top
        chosen += 1
    return order[:chosen]
