"""Greedy K-cover: choose points so that every image sees at least K of them, then more.

    f(S) = sum over elements e of  value_e * min(capacity_e, sum over points p of S that cover e of weight_p)

Elements are images, or cells of images where points are to be spread within each. f is monotone and submodular, so the
greedy choice of n points reaches at least 1 - 1/e of the best choice of n at given capacities. When no point gains any
more, all capacities are doubled and the choice goes on: a prefix of the order is the choice of fewer points.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, allow-any-generics
# (compiled loops: numba infers their types)
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from foldmap.errors import ConfigError, MapInputError
from foldmap.types import AnyArray, DoubleArray, IntArray
from foldmap.visual.select.gamma import Selection, checked_count

MOST_GROWTH = 200
"""Capacities grow at most so often: then points that cover nothing of value are all that is left."""


@dataclass(frozen=True)
class Coverage:
    """Which elements a point covers.

    Attributes:
        first: int64 (P + 1,), entries of point p are first[p] to first[p + 1].
        element: int32 or int64 (N,), which element.
        capacity: float64 (E,), how much of each element counts to begin with.
        value: float64 (E,), what one unit of it is worth.
    """

    first: IntArray
    element: AnyArray
    capacity: DoubleArray
    value: DoubleArray

    def __post_init__(self) -> None:
        first, element, elements = self.first, self.element, len(self.capacity)
        if len(first) < 2 or first[0] != 0 or first[-1] != len(element) or (np.diff(first) < 0).any():
            raise MapInputError("rows of the visibility do not add up", "first must ascend from 0 to its length")
        if len(element) and not (element.min() >= 0 and element.max() < elements):
            raise MapInputError(f"visibility names element {element.max()} of {elements}", "check the tracks")
        good = np.isfinite(self.capacity).all() and (self.capacity > 0).all() and (self.value >= 0).all()
        if len(self.value) != elements or not (good and np.isfinite(self.value).all()):
            raise ConfigError("capacities or values are not usable", "give a positive capacity and a value an element")


def by_image(first: IntArray, image: AnyArray, images: int, per_image: float) -> Coverage:
    """Elements are images, each to be covered `per_image` times."""
    return Coverage(first, image, np.full(images, float(per_image)), np.ones(images))


def by_cell(
    first: IntArray, image: AnyArray, xy_px: AnyArray, size_px: AnyArray, cells: int, per_image: float, per_cell: float
) -> Coverage:
    """Elements are images and the cells of a grid on each, so that points spread within every image.

    Args:
        first: int64 (P + 1,).
        image: int64 (O,), image of an observation.
        xy_px: (O, 2), where it is, COLMAP pixels.
        size_px: (I, 2), width and height of the images.
        cells: cells along the width and along the height.
        per_image: how often an image is to be covered to begin with.
        per_cell: how often a cell of it.

    Raises:
        ConfigError: fewer than one cell.
    """
    if cells < 1:
        raise ConfigError(f"{cells} cells along an image", "give 1 or more")
    images = len(size_px)
    at = np.clip(np.asarray(xy_px, np.float64) / np.asarray(size_px, np.float64)[image] * cells, 0, cells - 1).astype(
        np.int64
    )
    cell = images + (np.asarray(image, np.int64) * cells + at[:, 1]) * cells + at[:, 0]
    element = np.stack([np.asarray(image, np.int64), cell], axis=1).ravel()
    capacity = np.concatenate([np.full(images, float(per_image)), np.full(images * cells * cells, float(per_cell))])
    return Coverage(np.asarray(first) * 2, element, capacity, np.ones(len(capacity)))


def k_cover(
    coverage: Coverage,
    count: int | None = None,
    *,
    budget_bytes: float | None = None,
    weights: AnyArray | None = None,
    cost_bytes: AnyArray | None = None,
    growth: float = 2.0,
) -> Selection:
    """Choose points greedily by what they add to the cover, per byte where they cost bytes.

    Gains only fall while capacities stand, so a heap of old gains is enough: the top one is renewed and taken if it
    still is the top (lazy greedy). Ties go to the point that covers more (times its weight), then to the earlier one.

    Args:
        coverage: what each point covers.
        count: how many to choose.
        budget_bytes: what they may cost together; points that no longer fit are passed over. Give count, this, or both.
        weights: (P,) quality, positive: a point of weight 2 covers like two; 1 by default.
        cost_bytes: (P,) positive; 1 by default.
        growth: by which factor capacities grow when nothing gains any more, 1.1 to 1000.

    Returns:
        The selection; `objective` is f at the last capacities, `iterations` how often capacities grew, and `order` is
        the order of choice.

    Raises:
        ConfigError: neither count nor budget, one out of range, or weights or costs that are not positive.
    """
    points = len(coverage.first) - 1
    if count is None and budget_bytes is None:
        raise ConfigError("give a count or a budget", "say how many points or bytes")
    most = points if count is None else checked_count(count, points)
    weight, cost = _positive("weights", weights, points), _positive("costs", cost_bytes, points)
    budget = np.inf if budget_bytes is None else float(budget_bytes)
    if not budget >= cost.min():
        raise ConfigError(f"a budget of {budget_bytes} bytes holds no point", f"give at least {cost.min():g}")
    if not 1.1 <= growth <= 1000:
        raise ConfigError(f"capacities grow by {growth}", "give a factor from 1.1 to 1000")
    covering = np.diff(coverage.first) * weight
    rank = np.empty(points, np.int64)
    rank[np.lexsort((np.arange(points), -covering))] = np.arange(points)
    order, objective, grown = _greedy(
        coverage.first, coverage.element, coverage.capacity, coverage.value, weight, cost, rank, most, budget, growth
    )
    mask = np.zeros(points)
    mask[order] = 1
    return Selection(np.sort(order), mask, float(objective), 0.0, int(grown), order)


def _positive(what: str, values: AnyArray | None, points: int) -> DoubleArray:
    if values is None:
        return np.ones(points)
    array = np.asarray(values, np.float64)
    if array.shape != (points,) or not (np.isfinite(array).all() and (array > 0).all()):
        raise ConfigError(f"{what} have shape {array.shape} or are not all positive", "give a positive one a point")
    return array


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
def _gain(point, first, element, value, left, weight):
    gain = 0.0
    for k in range(first[point], first[point + 1]):
        e = element[k]
        gain += value[e] * min(weight[point], left[e])
    return gain


@njit(cache=True)
def _heap(heap, free, score, rank, first, element, value, left, weight, cost):
    """Renew all gains and build the heap; returns its size."""
    size = 0
    for p in range(len(free)):
        if free[p]:
            score[p] = _gain(p, first, element, value, left, weight) / cost[p]
            heap[size] = p
            size += 1
    for at in range(size // 2 - 1, -1, -1):
        _sink(heap, size, at, score, rank)
    return size


@njit(cache=True)
def _greedy(first, element, capacity, value, weight, cost, rank, count, budget, growth):
    """Order of choice, objective and how often the capacities grew."""
    points = len(first) - 1
    left, covered = capacity.copy(), np.zeros(len(capacity))
    score, free = np.empty(points), np.ones(points, np.bool_)
    order, heap = np.empty(count, np.int64), np.empty(points, np.int64)
    chosen, spent, grown, factor, stale = 0, 0.0, 0, 1.0, 0
    size = _heap(heap, free, score, rank, first, element, value, left, weight, cost)
    while size > 0 and chosen < count:
        top = heap[0]
        fresh = _gain(top, first, element, value, left, weight) / cost[top]
        if fresh < score[top]:
            stale += 1
            score[top] = fresh
            _sink(heap, size, 0, score, rank)
            # Past some renewals one by one, renewing all in memory order is cheaper.
            if stale > 1000 + points // 16:
                size = _heap(heap, free, score, rank, first, element, value, left, weight, cost)
                stale = 0
            continue
        if fresh <= 0.0 and grown < MOST_GROWTH:
            # The best gains nothing: every point's elements are full. Capacities grow until somebody gains again;
            # points that cover nothing of value never do, and are taken last in order of rank.
            while grown < MOST_GROWTH and score[heap[0]] <= 0.0:
                factor *= growth
                grown += 1
                for e in range(len(capacity)):
                    left[e] = max(0.0, factor * capacity[e] - covered[e])
                size = _heap(heap, free, score, rank, first, element, value, left, weight, cost)
            continue
        free[top] = False
        size -= 1
        heap[0] = heap[size]
        if size > 0:
            _sink(heap, size, 0, score, rank)
        if spent + cost[top] <= budget:
            for k in range(first[top], first[top + 1]):
                e = element[k]
                covered[e] += weight[top]
                left[e] = max(0.0, factor * capacity[e] - covered[e])
            order[chosen] = top
            chosen += 1
            spent += cost[top]
    objective = 0.0
    for e in range(len(capacity)):
        objective += value[e] * min(factor * capacity[e], covered[e])
    return order[:chosen], objective, grown
