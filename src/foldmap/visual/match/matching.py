"""Query descriptors against map descriptors: nearest neighbours, and the ratio that says how distinct they are."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numba import njit

from foldmap.runtime.threads import share_out, thread_count
from foldmap.types import AnyArray, BoolArray, FloatArray, IntArray

_EXACT_POINTS = 30_000  # up to so many the search is exact; beyond, an inverted file is searched in part
_TRAINED_ON = 20_000
_AT_ONCE = 512  # points whose products with all keypoints stay in the cache
_SHARED_OUT = 500  # keypoints that are worth another thread
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Matches:
    """Keypoint with point, int64 (N,), best first.

    The ratio, float32 (N,), is the distance to the nearest over that to the second nearest point: lower, more distinct.
    """

    keypoint: IntArray
    point: IntArray
    ratio: FloatArray

    def __len__(self) -> int:
        return len(self.keypoint)

    def take(self, kept: BoolArray | IntArray | slice) -> Matches:
        """Some of the matches."""
        return Matches(self.keypoint[kept], self.point[kept], self.ratio[kept])


class DescriptorIndex:
    """Map descriptors, unit rows float32 (P, D), ready to be searched.

    With a ``span``, orthonormal columns float32 (D, R), they are rows (P, R) of what lies in it: all there is of them.
    """

    def __init__(self, descriptors: FloatArray, span: FloatArray | None = None) -> None:
        self.descriptors, self._span = np.ascontiguousarray(descriptors, dtype=np.float32), span
        self._index = searchable(self.descriptors) if len(descriptors) > _EXACT_POINTS else None

    def __len__(self) -> int:
        return len(self.descriptors)

    def match(self, descriptors: FloatArray) -> Matches:
        """Nearest point of each keypoint, unit rows float32 (N, D), by ratio.

        A point keeps its most distinct keypoint only, since it is seen once in an image.
        """
        if not len(descriptors) or not len(self):
            return Matches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        rows = np.ascontiguousarray(descriptors if self._span is None else descriptors @ self._span, dtype=np.float32)
        if self._index is None:
            similarity, nearest = nearest_two(rows, self.descriptors)
        else:
            with _LOCK:  # FAISS splits a search over its own threads; two at once would only fight
                similarity, nearest = self._index.search(rows, 2)
        distance = np.sqrt(np.maximum(2.0 - 2.0 * similarity, 0.0))
        second = distance[:, 1] if len(self) > 1 else np.full(len(distance), np.sqrt(2.0))
        ratio = (distance[:, 0] / np.maximum(second, 1e-6)).astype(np.float32)
        order = np.argsort(ratio, kind="stable")
        order = order[nearest[order, 0] >= 0]
        _, firsts = np.unique(nearest[order, 0], return_index=True)
        order = order[np.sort(firsts)]
        return Matches(order.astype(np.int64), nearest[order, 0].astype(np.int64), ratio[order])


def searchable(descriptors: FloatArray, probes: int = 12) -> Any:
    """FAISS's index of rows float32 (P, D): exact, or of many an inverted file that is searched in so many lists."""
    count, dimension = descriptors.shape
    index: Any = faiss.IndexFlatIP(dimension)
    if count > _EXACT_POINTS:
        lists = int(np.sqrt(count))
        index = faiss.IndexIVFFlat(index, dimension, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.max_points_per_centroid = 6, max(39, _TRAINED_ON // lists)
        index.nprobe = probes
        # every so many-th point, so that the same map gives the same lists
        index.train(descriptors[:: max(1, count // _TRAINED_ON)])
    index.add(descriptors)
    return index


def nearest_two(query: FloatArray, descriptors: FloatArray) -> tuple[FloatArray, IntArray]:
    """The two most similar rows (P, D) of each of a query (N, D), float32: cosines and rows (N, 2), -1 where none is.

    As FAISS's exact search gives them, in a little more than half its time: that keeps heaps, where two will do.
    """
    similarity = np.full((len(query), 2), -np.inf, np.float32)
    nearest = np.full((len(query), 2), -1, np.int64)
    threads = thread_count() if len(query) >= _SHARED_OUT else 1

    def search(parts: range) -> None:
        for part in parts:
            rows = slice(part * len(query) // threads, (part + 1) * len(query) // threads)
            for start in range(0, len(descriptors), _AT_ONCE):
                products = query[rows] @ descriptors[start : start + _AT_ONCE].T
                _keep_two(products, start, similarity[rows], nearest[rows])

    share_out(search, threads)
    return similarity, nearest


@njit(cache=True, nogil=True)
def _keep_two(products: AnyArray, start: int, similarity: AnyArray, nearest: AnyArray) -> None:
    for row in range(products.shape[0]):
        first, second = similarity[row]
        at, then = nearest[row]
        for column in range(products.shape[1]):
            value = products[row, column]
            if value > second:
                if value > first:
                    second, then, first, at = first, at, value, start + column
                else:
                    second, then = value, start + column
        similarity[row, 0], similarity[row, 1], nearest[row, 0], nearest[row, 1] = first, second, at, then


def mutual(matches: Matches, query: FloatArray, descriptors: FloatArray) -> BoolArray:
    """Which matches are nearest neighbours in both directions; descriptors of a query (N, D) and of a map (P, D)."""
    index = faiss.IndexFlatIP(query.shape[1])
    index.add(np.ascontiguousarray(query, dtype=np.float32))
    _, back = index.search(np.ascontiguousarray(descriptors[matches.point], dtype=np.float32), 1)
    return np.asarray(back[:, 0] == matches.keypoint)
