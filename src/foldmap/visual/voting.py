"""Retrieval without image descriptors: points that a query shows vote for the images that see them.

Costs no byte where a file's points and visibility are at hand anyway, e.g. in a tile that is always read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import faiss
import numpy as np
from scipy import sparse

from foldmap.coding.pq import checked_vectors, one_thread
from foldmap.errors import MapInputError
from foldmap.types import AnyArray, FloatArray, IntArray
from foldmap.visual.ranking import Ranking, best_first
from foldmap.visual.source import unit_descriptors

LEAST_SIMILARITY = 0.6


@dataclass(frozen=True)
class PointVotes:
    """Some points of a map, and the images that see them.

    Attributes:
        descriptors: float32 (P, D), unit rows.
        point: int64 (O,), index into `descriptors`.
        image: int64 (O,), an image that sees it.
        images: I.

    Raises:
        MapInputError: indices out of range.
    """

    descriptors: FloatArray
    point: IntArray
    image: IntArray
    images: int
    _seen: sparse.csr_matrix = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for what, index, size in (("point", self.point, len(self.descriptors)), ("image", self.image, self.images)):
            if len(index) != len(self.point) or (len(index) and not (index.min() >= 0 and index.max() < size)):
                raise MapInputError(f"observations name a {what} outside 0..{size - 1}", "check what made them")
        ones = np.ones(len(self.point), np.float32)
        seen = sparse.csr_matrix((ones, (self.image, self.point)), (self.images, len(self.descriptors)))
        seen.data[:] = 1.0  # an image sees a point once
        object.__setattr__(self, "_seen", seen)

    def rank(self, descriptors: AnyArray, most: int) -> Ranking:
        """The images whose points the query shows, by votes over the root of how many points an image sees.

        A point's vote is how distinct its best keypoint is: 1 - distance to it over distance to the second point.

        Args:
            descriptors: (N, D) of the query.
            most: images wanted.

        Raises:
            MapInputError: no descriptors, values that are not finite, or of another dimension.
        """
        rows = unit_descriptors(checked_vectors(descriptors))
        if not len(rows):
            raise MapInputError("an image without keypoints cannot be retrieved", "use an image that shows something")
        if len(self.descriptors) < 2:
            raise MapInputError(f"{len(self.descriptors)} points cannot vote", "give more points")
        if rows.shape[1] != self.descriptors.shape[1]:
            raise MapInputError(
                f"descriptors of {rows.shape[1]} numbers, the map's are of {self.descriptors.shape[1]}",
                "extract the features that the map was built with",
            )
        with one_thread():
            similarity, nearest = faiss.knn(rows, self.descriptors, 2, metric=faiss.METRIC_INNER_PRODUCT)
        distance = np.sqrt(np.maximum(2.0 - 2.0 * similarity, 1e-9))
        weight = np.where(similarity[:, 0] > LEAST_SIMILARITY, 1.0 - distance[:, 0] / distance[:, 1], 0.0)
        vote = np.zeros(len(self.descriptors), np.float32)
        np.maximum.at(vote, nearest[:, 0], weight.astype(np.float32))
        size = np.asarray(self._seen.sum(axis=1)).ravel()
        score = (self._seen @ vote) / np.sqrt(np.maximum(size, 1.0))
        return best_first(score.astype(np.float32), most)
