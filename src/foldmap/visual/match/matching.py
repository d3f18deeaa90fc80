"""Query descriptors against map descriptors: nearest neighbours, and the ratio that says how distinct they are."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from foldmap.types import BoolArray, FloatArray, IntArray

_EXACT_POINTS = 30_000  # up to so many the search is exact; beyond, an inverted file is searched in part
_TRAINED_ON = 20_000
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
    """Map descriptors, unit rows float32 (P, D), ready to be searched; of an inverted file in ``probes`` lists."""

    def __init__(self, descriptors: FloatArray, probes: int = 12) -> None:
        self.descriptors = np.ascontiguousarray(descriptors, dtype=np.float32)
        count, dimension = self.descriptors.shape
        if count <= _EXACT_POINTS:
            self._index: Any = faiss.IndexFlatIP(dimension)
        else:
            lists = int(np.sqrt(count))
            self._index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, lists, faiss.METRIC_INNER_PRODUCT)
            self._index.cp.niter, self._index.cp.max_points_per_centroid = 6, max(39, _TRAINED_ON // lists)
            self._index.nprobe = probes
            # every so many-th point, so that the same map gives the same lists
            self._index.train(self.descriptors[:: max(1, count // _TRAINED_ON)])
        self._index.add(self.descriptors)

    def __len__(self) -> int:
        return len(self.descriptors)

    def match(self, descriptors: FloatArray) -> Matches:
        """Nearest point of each keypoint, unit rows float32 (N, D), by ratio.

        A point keeps its most distinct keypoint only, since it is seen once in an image.
        """
        if not len(descriptors) or not len(self):
            return Matches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        with _LOCK:  # FAISS splits a search over its own threads; two at once would only fight
            rows = np.ascontiguousarray(descriptors, dtype=np.float32)
            similarity, nearest = self._index.search(rows, min(2, len(self)))
        distance = np.sqrt(np.maximum(2.0 - 2.0 * similarity, 0.0))
        second = distance[:, 1] if distance.shape[1] > 1 else np.full(len(distance), np.sqrt(2.0))
        ratio = (distance[:, 0] / np.maximum(second, 1e-6)).astype(np.float32)
        order = np.argsort(ratio, kind="stable")
        order = order[nearest[order, 0] >= 0]
        _, firsts = np.unique(nearest[order, 0], return_index=True)
        order = order[np.sort(firsts)]
        return Matches(order.astype(np.int64), nearest[order, 0].astype(np.int64), ratio[order])


def mutual(matches: Matches, query: FloatArray, descriptors: FloatArray) -> BoolArray:
    """Which matches are nearest neighbours in both directions; descriptors of a query (N, D) and of a map (P, D)."""
    index = faiss.IndexFlatIP(query.shape[1])
    index.add(np.ascontiguousarray(query, dtype=np.float32))
    _, back = index.search(np.ascontiguousarray(descriptors[matches.point], dtype=np.float32), 1)
    return np.asarray(back[:, 0] == matches.keypoint)
